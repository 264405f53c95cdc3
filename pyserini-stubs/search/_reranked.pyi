# The methods that Pyserini's searchers gain, and those that take more arguments then. Their other arguments are
# Pyserini's own, which no type can take over.
from typing import Any

from pyserini_rerank import registration

class Reranked:
    set_reranker = registration.set_reranker
    unset_reranker = registration.unset_reranker
    is_using_reranker = registration.is_using_reranker

    def search(
        self,
        *args: Any,
        k: int = ...,
        rerank_query: str | None = ...,
        rerank_depth: int | None = ...,
        **kwargs: Any,
    ) -> Any: ...

class BatchReranked(Reranked):
    def batch_search(
        self,
        *args: Any,
        k: int = ...,
        rerank_queries: Any = ...,
        rerank_depth: int | None = ...,
        **kwargs: Any,
    ) -> Any: ...
