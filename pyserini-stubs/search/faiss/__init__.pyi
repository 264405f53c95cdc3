# See pyserini-stubs/search/lucene.
from typing import Any

from .._reranked import BatchReranked
from ._prf import DenseVectorAncePrf as DenseVectorAncePrf
from ._prf import DenseVectorAveragePrf as DenseVectorAveragePrf
from ._prf import DenseVectorRocchioPrf as DenseVectorRocchioPrf
from ._prf import PrfDenseSearchResult as PrfDenseSearchResult
from ._searcher import BinaryDenseFaissSearcher as _BinaryDenseFaissSearcher
from ._searcher import DenseSearchResult as DenseSearchResult
from ._searcher import FaissSearcher as _FaissSearcher

class FaissSearcher(BatchReranked, _FaissSearcher): ...
class BinaryDenseFaissSearcher(FaissSearcher, _BinaryDenseFaissSearcher): ...

def __getattr__(name: str) -> Any: ...
