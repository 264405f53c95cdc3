# Pyserini's own types, and the three methods that its searchers gain. What is not named here has Pyserini's type where
# it is a module, and Any otherwise.
from typing import Any

from pyserini_rerank import registration

from ._hnsw_searcher import LuceneFlatDenseSearcher as _LuceneFlatDenseSearcher
from ._hnsw_searcher import LuceneHnswDenseSearcher as _LuceneHnswDenseSearcher
from ._impact_searcher import LuceneImpactSearcher as _LuceneImpactSearcher
from ._impact_searcher import SlimSearcher as _SlimSearcher
from ._searcher import LuceneFusionSearcher as _LuceneFusionSearcher
from ._searcher import LuceneSearcher as _LuceneSearcher
from ._searcher import LuceneSimilarities as LuceneSimilarities

class LuceneSearcher(_LuceneSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

class LuceneImpactSearcher(_LuceneImpactSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

class SlimSearcher(_SlimSearcher, LuceneImpactSearcher): ...

class LuceneFusionSearcher(_LuceneFusionSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

class LuceneHnswDenseSearcher(_LuceneHnswDenseSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

class LuceneFlatDenseSearcher(_LuceneFlatDenseSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

def __getattr__(name: str) -> Any: ...
