# See pyserini-stubs/search/lucene.
from typing import Any

from pyserini_rerank import registration

from ._searcher import HybridSearcher as _HybridSearcher

class HybridSearcher(_HybridSearcher):
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

def __getattr__(name: str) -> Any: ...
