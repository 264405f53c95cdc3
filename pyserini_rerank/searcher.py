"""Reranking a search: the first stage, cut into shards, and the reranker."""

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

#: How many candidates are rescored where nobody says.
DEPTH = 100


class _Reranked:
    """A method of `RerankingSearcher` that has the signature of the searcher's own, as help() and the next
    RerankingSearcher see it. It is made when it is asked for: kept on its object, it would keep that alive."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __get__(self, searching: Any, kind: type | None = None) -> Any:
        if searching is None:
            return self.method
        searchers = searching.first_stage.methods.get(self.method.__name__)
        if searchers is None:
            return functools.partial(self.method, searching)  # which raises
        reranked = functools.wraps(searchers)(functools.partial(self.method, searching))
        reranked.reranks = True  # type: ignore[attr-defined]
        return reranked


class RerankingSearcher:
    """A searcher whose hits are reranked: has the interface of the searcher that it wraps.

    What is not `search`, `batch_search` or `close` (`doc`, `set_bm25` ...) reaches the searcher below.
    `set_reranker` makes one of these and puts its two methods onto the searcher itself. As a context manager it
    closes the reranker if it has loaded that itself; the searcher and a reranker that were given stay open.

    Parameters
    ----------
    searcher
        Any object with Pyserini's `search`, or `search` and `batch_search`.
    reranker : str, path, list, dict or Reranker
        See `pyserini_rerank.load`.
    depth : int, optional
        How many candidates the first stage is asked for; all of them are rescored. By default what the first stage
        of a cascade takes, else 100.
    texts : optional
        See `pyserini_rerank.texts.opening.resolve`.
    tokens : path, optional
        A token index of the documents, instead of texts; see `pyserini_rerank.texts.token_index.TokenIndex`.
    missing : str
        What becomes of a hit without text: ``"error"``, or ``"skip"``, which leaves it below the reranked ones.
    **options
        Passed on to `load` where `reranker` is a name or a folder.

    Raises
    ------
    ValueError, TypeError, OSError
        A depth below 1, a model that cannot be loaded, a text source that does not exist, a token index
        that is damaged, stale, or of another vocabulary.
    """

    def __init__(
        self,
        searcher: Any,
        reranker: Any,
        *,
        depth: int | None = None,
        texts: Any = None,
        tokens: Any = None,
        missing: str = "error",
        **options: Any,
    ) -> None:
        depth = None if depth is None else whole(depth, "depth", least=1)
        self.first_stage = searcher if isinstance(searcher, SearcherAdapter) else SearcherAdapter(searcher)
        self.texts = open_source(texts, tokens, self.first_stage.searcher, missing)
        self.reranker, self._loaded = load_models(reranker, **options)
        try:
            self.texts.check(self.reranker)
        except BaseException:
            self.close()
            raise
        self.depth = depth or self.reranker.depth or DEPTH

    @_Reranked
    def search(
        self, *args: Any, rerank_query: str | None = None, rerank_depth: int | None = None, **kwargs: Any
    ) -> Any:
        """Search, and rerank what was found.

        Parameters
        ----------
        *args, **kwargs
            The searcher's own; k hits come back.
        rerank_query : str, optional
            The text to rerank with, where the query is none (a Lucene query, a vector, a dict). Where it is empty,
            the hits are left as the searcher gives them, and counted.
        rerank_depth : int, optional
            How many candidates are rescored in this call, in place of `depth`. A reranking searcher below keeps its
            own depth.

        Returns
        -------
        Hits
            A list of the searcher's own hits; what it gives along with vectors (`return_vector`) is
            passed through.

        Raises
        ------
        ValueError, TypeError
            k or `rerank_depth` below 1; a query that is no text.
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
        """Search for many queries, and rerank what was found.

        Parameters
        ----------
        *args, **kwargs
            The searcher's own; k hits a query come back. Queries and qids may be any iterables of one length.
        rerank_queries : iterable of str, optional
            The texts to rerank with, one a query, where the queries are none.
        rerank_depth : int, optional
            As for `search`.

        Returns
        -------
        dict
            From qid to `Hits`, in the order of the qids.

        Raises
        ------
        ValueError, TypeError
            As for `search`; queries and qids of different number, a qid that comes twice or is no string.
        MissingText
            A hit has no text.
        """
        stage, depth = self.first_stage, self.depth_of(rerank_depth)
        call = stage.prepare("batch_search", depth, args, kwargs)
        if call.returns_vectors:
            return stage.methods["batch_search"](*args, **kwargs)
        check_batch(call.queries, call.qids)
        given = [None] * len(call.qids) if rerank_queries is None else listed(rerank_queries, "rerank_queries")
        if len(given) != len(call.qids):
            raise ValueError(f"there are {len(given)} rerank_queries for {len(call.qids)} queries.")
        queries = [query_text(*both, stage.searcher) for both in zip(call.queries, given, strict=True)]

        def fetch(shard: list[int]) -> tuple[list[Candidates], list[Passages]]:
            extra: dict[str, Any] = {"rerank_queries": [queries[i] for i in shard]} if stage.reranks else {}
            candidates = stage.batch_search(call, shard, depth, documents=self.texts.reads_documents, **extra)
            return candidates, passages(candidates, self.texts)

        results: dict[str, Hits] = {}
        found: list[int] = []
        cut = shards(queries, call.wanted)
        with self.reranker.counting() as counts, queries_bar(len(queries), "reranking") as reach:
            fetched = prefetched(fetch, cut) if stage.prefetches else map(fetch, cut)
            for shard, (candidates, texts) in zip(cut, fetched, strict=True):
                found += [of_query.count for of_query in candidates]
                hits = self.reranker.rerank_passages([queries[i] for i in shard], candidates, texts, call.k, counts)
                results.update(zip((call.qids[i] for i in shard), hits, strict=True))
                reach(len(results))
        stage.warn_of_shortfall(call, found)
        return {qid: results[qid] for qid in call.qids}

    def depth_of(self, rerank_depth: int | None) -> int:
        """Give the depth of a call."""
        return self.depth if rerank_depth is None else whole(rerank_depth, "rerank_depth", least=1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first_stage.searcher, name)

    def __enter__(self) -> "RerankingSearcher":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device of the checkpoints that were loaded here. The searcher below stays open, and so do
        rerankers that were given."""
        close_all(self._loaded)

    def __reduce__(self) -> Any:
        raise TypeError("a searcher with a reranker cannot be pickled: make one in each process.")


def shards(queries: Sequence[str], candidates: int) -> list[list[int]]:
    """Cut a batch's queries into shards of about `SHARD` candidates.

    They are cut by this alone, so that the model's batches, and with them the last bit of every score,
    depend on nothing but the queries and what they found.

    Parameters
    ----------
    queries
        The texts of the queries. Equal ones share a shard, so that equal pairs are scored once.
    candidates : int
        How many candidates a query has at most.

    Returns
    -------
    list of lists of int
        The positions of each shard's queries.
    """
    same: dict[str, list[int]] = {}
    for position, query in enumerate(queries):
        same.setdefault(query, []).append(position)
    cut: list[list[int]] = []
    for positions in same.values():
        if not cut or (len(cut[-1]) + len(positions)) * candidates > SHARD:
            cut.append([])
        cut[-1] += positions
    return cut
