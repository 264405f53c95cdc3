"""A searcher that reranks: it asks the first stage for candidates, shard by shard, and the reranker to order them."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .arguments import listed, whole
from .loading import load_models
from .passages import Passages
from .prefetch import prefetched
from .progress import bars_apart, queries_bar
from .reranker import SHARD
from .retrieval.candidates import Candidates
from .retrieval.hits import Hits
from .retrieval.queries import check_batch, query_text
from .retrieval.searcher_adapter import SearcherAdapter
from .scoring.door import close_all
from .texts.opening import open_source
from .texts.source import passages

#: The default number of candidates that are rescored.
DEPTH = 100


class _Reranked:
    """A method of `RerankingSearcher` that shows the signature of the wrapped searcher's method, to help() and to
    another RerankingSearcher. The bound method is made on each access: an attribute would keep its object alive."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __get__(self, instance: Any, kind: type | None = None) -> Any:
        if instance is None:
            return self.method
        wrapped = instance.first_stage.methods.get(self.method.__name__)
        if wrapped is None:
            return functools.partial(self.method, instance)  # raises when it is called
        reranked = functools.wraps(wrapped)(functools.partial(self.method, instance))
        reranked.reranks = True  # type: ignore[attr-defined]
        return reranked


class RerankingSearcher:
    """A searcher whose hits are reranked. It has the interface of the searcher that it wraps.

    All attributes but `search`, `batch_search` and `close` are those of the wrapped searcher (`doc`, `set_bm25` ...).
    `set_reranker` makes a RerankingSearcher and puts its two methods onto the searcher itself. As a context manager it
    closes the checkpoints that it has loaded. The searcher, and a reranker that was loaded before, stay open.

    Parameters
    ----------
    searcher
        Any object with Pyserini's `search`, or `search` and `batch_search`.
    reranker : str, path, list, dict or Reranker
        See `pyserini_rerank.load`.
    depth : int, optional
        How many candidates the first stage is asked for; all of them are rescored. The default is the depth of a
        cascade's first stage, else 100.
    texts : optional
        See `pyserini_rerank.texts.opening.resolve`.
    missing : str
        What to do about a hit without text: ``"error"`` raises, ``"skip"`` leaves the hit below the reranked ones.
    **options
        Passed on to `load` where `reranker` is a name or a folder.

    Raises
    ------
    ValueError, TypeError, OSError
        The depth is below 1, the model cannot be loaded, or the text source does not exist.
    """

    def __init__(
        self,
        searcher: Any,
        reranker: Any,
        *,
        depth: int | None = None,
        texts: Any = None,
        missing: str = "error",
        **options: Any,
    ) -> None:
        depth = None if depth is None else whole(depth, "depth", least=1)
        self.first_stage = searcher if isinstance(searcher, SearcherAdapter) else SearcherAdapter(searcher)
        self.texts = open_source(texts, self.first_stage.searcher, missing)
        self.reranker, self._loaded = load_models(reranker, **options)
        self.depth = depth or self.reranker.depth or DEPTH

    @_Reranked
    def search(
        self, *args: Any, rerank_query: str | None = None, rerank_depth: int | None = None, **kwargs: Any
    ) -> Any:
        """Search, and rerank the hits.

        Parameters
        ----------
        *args, **kwargs
            The arguments of the searcher's `search`; k hits come back.
        rerank_query : str, optional
            The text to rerank with, where the query is not text (a Lucene query, a vector, a dict). Where it is empty,
            the hits stay as the searcher gives them, and the query is counted.
        rerank_depth : int, optional
            How many candidates are rescored in this call, in place of `depth`. If the wrapped searcher reranks, too, it
            keeps its own depth.

        Returns
        -------
        Hits
            A list of the searcher's own hits. A result with vectors (`return_vector`) is passed through.

        Raises
        ------
        ValueError, TypeError
            k or `rerank_depth` is below 1; the query is not text.
        MissingText
            A hit has no text, and `missing` is not ``"skip"``.
        """
        stage, depth = self.first_stage, self.depth_of(rerank_depth)
        call = stage.prepare("search", depth, args, kwargs)
        if call.returns_vectors:
            return stage.methods["search"](*args, **kwargs)
        query = query_text(call.queries, rerank_query, stage.searcher)
        candidates = stage.search(call, depth, **({"rerank_query": query} if stage.reranks else {}))
        stage.warn_of_shortfall(call, [candidates.count])
        with self.reranker.counting() as counts, bars_apart():
            texts = passages([candidates], self.texts)
            return self.reranker.rerank_passages([query], [candidates], texts, call.k, counts)[0]

    @_Reranked
    def batch_search(
        self,
        *args: Any,
        rerank_queries: Iterable[str] | None = None,
        rerank_depth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Search for many queries, and rerank their hits.

        Parameters
        ----------
        *args, **kwargs
            The arguments of the searcher's `batch_search`; k hits a query come back. Queries and qids may be any
            iterables of one length.
        rerank_queries : iterable of str, optional
            The texts to rerank with, one a query, where the queries are not texts.
        rerank_depth : int, optional
            As for `search`.

        Returns
        -------
        dict
            From qid to `Hits`, in the order of the qids.

        Raises
        ------
        ValueError, TypeError
            As for `search`; the numbers of queries and qids differ; a qid comes twice, or is no string.
        MissingText
            As for `search`.
        """
        stage, depth = self.first_stage, self.depth_of(rerank_depth)
        call = stage.prepare("batch_search", depth, args, kwargs)
        if call.returns_vectors:
            return stage.methods["batch_search"](*args, **kwargs)
        check_batch(call.queries, call.qids)
        texts = [None] * len(call.qids) if rerank_queries is None else listed(rerank_queries, "rerank_queries")
        if len(texts) != len(call.qids):
            raise ValueError(f"there are {len(texts)} rerank_queries for {len(call.qids)} queries: give one a query.")
        queries = [query_text(query, text, stage.searcher) for query, text in zip(call.queries, texts, strict=True)]

        def fetch(shard: list[int]) -> tuple[list[Candidates], list[Passages]]:
            extra: dict[str, Any] = {"rerank_queries": [queries[i] for i in shard]} if stage.reranks else {}
            candidates = stage.batch_search(call, shard, depth, documents=self.texts.reads_documents, **extra)
            return candidates, passages(candidates, self.texts)

        results: dict[str, Hits] = {}
        candidate_counts: list[int] = []
        all_shards = shards(queries, call.wanted)
        with self.reranker.counting() as counts, queries_bar(len(queries), "reranking") as reach:
            fetched = prefetched(fetch, all_shards) if stage.prefetches else map(fetch, all_shards)
            for shard, (candidates, found) in zip(all_shards, fetched, strict=True):
                candidate_counts += [of_query.count for of_query in candidates]
                hits = self.reranker.rerank_passages([queries[i] for i in shard], candidates, found, call.k, counts)
                results.update(zip((call.qids[i] for i in shard), hits, strict=True))
                reach(len(results))
        stage.warn_of_shortfall(call, candidate_counts)
        return {qid: results[qid] for qid in call.qids}

    def depth_of(self, rerank_depth: int | None) -> int:
        """Give the depth of a call: `rerank_depth` if it is set, else that of the searcher."""
        return self.depth if rerank_depth is None else whole(rerank_depth, "rerank_depth", least=1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first_stage.searcher, name)

    def __enter__(self) -> "RerankingSearcher":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device of the checkpoints that were loaded here. The wrapped searcher stays open, and so does a
        reranker that was loaded before."""
        close_all(self._loaded)

    def __reduce__(self) -> Any:
        raise TypeError("a searcher with a reranker cannot be pickled: make one in each process.")


def shards(queries: Sequence[str], candidates: int) -> list[list[int]]:
    """Cut a batch's queries into shards of about `SHARD` candidates.

    The shards depend on the queries and `candidates` alone. So the model's batches, and with them the last bit of every
    score, depend only on the queries and their candidates.

    Parameters
    ----------
    queries
        The texts of the queries. Equal queries share a shard, so that equal pairs are scored once.
    candidates : int
        The largest number of candidates of a query.

    Returns
    -------
    list of lists of int
        The positions of each shard's queries.
    """
    positions_of: dict[str, list[int]] = {}
    for position, query in enumerate(queries):
        positions_of.setdefault(query, []).append(position)
    result: list[list[int]] = []
    for positions in positions_of.values():
        if not result or (len(result[-1]) + len(positions)) * candidates > SHARD:
            result.append([])
        result[-1] += positions
    return result
