# See pyserini-stubs/search/lucene.
from typing import Any

from .._reranked import BatchReranked
from ._searcher import HybridSearcher as _HybridSearcher

class HybridSearcher(BatchReranked, _HybridSearcher): ...

def __getattr__(name: str) -> Any: ...
