# See pyserini-stubs/search/lucene.
from typing import Any

from pyserini_rerank import registration

from ._prf import DenseVectorAncePrf as DenseVectorAncePrf
from ._prf import DenseVectorAveragePrf as DenseVectorAveragePrf
from ._prf import DenseVectorRocchioPrf as DenseVectorRocchioPrf
from ._prf import PrfDenseSearchResult as PrfDenseSearchResult
from ._searcher import BinaryDenseFaissSearcher as _BinaryDenseFaissSearcher
from ._searcher import DenseSearchResult as DenseSearchResult
from ._searcher import FaissSearcher as _FaissSearcher

class FaissSearcher(_FaissSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

class BinaryDenseFaissSearcher(_BinaryDenseFaissSearcher, FaissSearcher): ...

def __getattr__(name: str) -> Any: ...
