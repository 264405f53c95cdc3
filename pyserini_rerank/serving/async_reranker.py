"""A reranker to be awaited: calls of one process that run at the same time share batches."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..call import Call, during
from ..caller import KeptWarning, kept_warnings, warn
from ..loading import load_models
from ..ranking import RankedText, Scores
from ..reranker import Reranker
from ..retrieval.hits import Hits
from ..scoring.door import close_all
from .shared_batches import CALLS, with_shared_batches


class AsyncReranker:
    """A reranker whose methods are awaited. Calls that run at the same time share batches.

    A batch takes pairs from all waiting calls in turn. If the task that awaits a call is cancelled, its pairs that wait
    are dropped. As an async context manager it closes the checkpoints that it has loaded; a reranker that was loaded
    before stays open.

    Parameters
    ----------
    reranker : str, path, list, dict or Reranker
        See `pyserini_rerank.load`.
    **options
        Passed on to `load` where `reranker` is a name or a folder.

    Attributes
    ----------
    reranker : Reranker
        The same reranker for threads. It shares batches with the awaited calls. A searcher takes it by `set_reranker`.

    Raises
    ------
    As `pyserini_rerank.load`.
    """

    def __init__(self, reranker: Any, **options: Any) -> None:
        loaded, self._loaded = load_models(reranker, **options)
        self.reranker: Reranker = with_shared_batches(loaded)
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="call")

    async def score(self, query: str, texts: Iterable[str], *, probability: bool = False) -> Scores:
        """Score passages for a query: see `Reranker.score`."""
        return await self.call(self.reranker.score, query, texts, probability=probability)

    async def rank(self, query: str, documents: Iterable[str], top_k: int | None = None) -> list[RankedText]:
        """Rank plain texts for a query, best first: see `Reranker.rank`."""
        return await self.call(self.reranker.rank, query, documents, top_k)

    async def predict(self, pairs: Iterable[tuple[str, str]]) -> Scores:
        """Score (query, passage) pairs: see `Reranker.predict`."""
        return await self.call(self.reranker.predict, pairs)

    async def rerank(
        self, query: str, hits: Iterable[Any], k: int | None = None, texts: Any = None, missing: str = "error"
    ) -> Hits:
        """Rerank hits that were retrieved before: see `Reranker.rerank`."""
        return await self.call(self.reranker.rerank, query, hits, k, texts, missing)

    async def search(self, searcher: Any, *args: Any, **kwargs: Any) -> Any:
        """Search with a searcher that was given `reranker`, by `set_reranker` or as a `RerankingSearcher`.

        Parameters
        ----------
        searcher
        *args, **kwargs
            The arguments of its `search`.
        """
        return await self.call(searcher.search, *args, **kwargs)

    async def call[T](self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function of yours in a thread, such as one that searches and then reranks.

        Pairs that it has `reranker` score are dropped if the task that awaits it is cancelled.

        Parameters
        ----------
        function : callable
        *args, **kwargs
            Its arguments.
        """
        return await self.run(Call(), partial(function, *args, **kwargs))

    async def run[T](self, call: Call, work: Callable[[], T]) -> T:
        """Do a call's work in a thread; `call` gets the figures."""
        try:
            result, kept = await asyncio.get_running_loop().run_in_executor(self._threads, _during, call, work)
        except asyncio.CancelledError:
            call.drop()
            raise
        for warning in kept:
            warn(*warning)
        return result

    async def __aenter__(self) -> "AsyncReranker":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Wait for the calls that are under way, and close the checkpoints that were loaded here."""
        self._threads.shutdown()
        close_all([*self._loaded, self.reranker])  # the last one first, which waits for its batches


def _during[T](call: Call, work: Callable[[], T]) -> tuple[T, list[KeptWarning]]:
    """Do a call's work, and keep its warnings. Then detach the thread from Java, which crashes if it ends attached."""
    try:
        with kept_warnings() as kept, during(call):
            return work(), kept
    finally:
        if "jnius" in sys.modules:
            sys.modules["jnius"].detach()
