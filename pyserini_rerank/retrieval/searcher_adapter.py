"""Asking the first stage for candidates, by the user's call of the searcher with a larger k."""

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import listed, whole
from ..caller import warn
from .candidates import Candidates, from_hits, from_java, java_lists
from .jvm import JAVA_LOCK
from .ownership import METHODS, attributes_of, guard, guarded_within, is_a, is_pyserinis

log = logging.getLogger(__name__)

#: Parameters that limit the number of hits of a searcher, whatever its k.
LIMITS = ("k0", "binary_k")
#: Searchers that search with Faiss.
WITH_FAISS = ("FaissSearcher", "HybridSearcher")
#: The largest number that Java and Faiss take.
MOST = 2**31 - 1
#: From Pyserini's classes to the attribute with the Java object whose batch search gives all hits in one map.
JAVA_OBJECT = {
    "LuceneSearcher": "object",
    "LuceneImpactSearcher": "object",
    "LuceneHnswDenseSearcher": "searcher",
    "LuceneFlatDenseSearcher": "searcher",
}


class ShortfallWarning(UserWarning):
    """The first stage gave fewer candidates than the depth asks for."""


@dataclass
class Call:
    """One call of `search` or `batch_search`, bound to the searcher's own signature."""

    method: str
    bound: inspect.BoundArguments
    k: int
    wanted: int
    """The number of candidates that the first stage is asked for."""
    limit: str | None
    """The parameter, set by the user, that may keep the number of hits below `wanted`."""

    @property
    def names(self) -> list[str]:
        return list(self.bound.signature.parameters)

    @property
    def queries(self) -> Any:
        """The first argument: the query, or the batch's queries."""
        return self.bound.arguments[self.names[0]]

    @property
    def qids(self) -> Any:
        """A batch's second argument, which Pyserini names `qids` here and `q_ids` there."""
        return self.bound.arguments[self.names[1]]

    @property
    def returns_vectors(self) -> bool:
        """Tell whether Faiss is asked for vectors along with its hits. Such results are passed through."""
        return bool(self.bound.arguments.get("return_vector"))

    def part(self, positions: Sequence[int]) -> inspect.BoundArguments:
        """Bind the same batch call for some of its queries."""
        arguments = dict(self.bound.arguments)
        for name in self.names[:2]:
            values = arguments[name]
            # Faiss takes the query vectors as a matrix, which has to stay a matrix.
            arguments[name] = values[list(positions)] if hasattr(values, "shape") else [values[i] for i in positions]
        return inspect.BoundArguments(self.bound.signature, arguments)


class SearcherAdapter:
    """A searcher, called as it was before a reranker was set on it.

    The adapter keeps the searcher's methods: `set_reranker` shadows them on the instance afterwards.
    """

    def __init__(self, searcher: Any) -> None:
        self.searcher = searcher
        self.methods = {name: getattr(searcher, name) for name in METHODS if hasattr(searcher, name)}
        if "search" not in self.methods:
            raise TypeError(f"{type(searcher).__name__} has no `search` method: a reranker needs a Pyserini searcher.")
        self.patched = {name: attributes_of(searcher)[name] for name in METHODS if name in attributes_of(searcher)}
        #: Whether the searcher itself reranks. Then it needs the query's text, too.
        self.reranks = getattr(self.methods["search"], "reranks", False)
        self._size = 0

    @property
    def prefetches(self) -> bool:
        """Whether another thread may fetch a batch's next candidates; only if the searcher holds Java's lock there."""
        return is_pyserinis(self._plain())

    def prepare(self, method: str, depth: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Bind a call to the searcher's signature and have it ask for max(k, depth) hits."""
        if method not in self.methods:
            raise AttributeError(f"{type(self.searcher).__name__} has no `{method}` to rerank: use `search`.")
        bound = inspect.signature(self.methods[method]).bind(*args, **kwargs)
        parameters = bound.signature.parameters
        if "k" not in parameters:
            raise TypeError(f"{type(self.searcher).__name__}.{method} takes no `k`: give it one, as Pyserini's have.")
        if method == "batch_search":
            for name in list(parameters)[:2]:
                values = bound.arguments.get(name)
                if not (isinstance(values, np.ndarray) and values.ndim == 2):  # Faiss takes a matrix of query vectors
                    bound.arguments[name] = list(map(_as_python, listed(values, name)))
        bound.arguments.update({name: _as_python(value) for name, value in bound.arguments.items()})
        k = whole(bound.arguments.get("k", parameters["k"].default), "k", least=1)
        # If asked for more than its index has, Faiss pads its results, and its binary search overflows. If asked for
        # very many more, it ends the process, since there is no memory.
        size = _size(self.searcher) if any(is_a(self.searcher, kind) for kind in WITH_FAISS) else MOST
        wanted = min(max(k, depth), size)
        bound.arguments["k"] = wanted
        limit = None
        for name in LIMITS:
            if name in bound.arguments:
                limit = f"{name}={bound.arguments[name]}" if bound.arguments[name] < wanted else limit
            elif name in parameters and isinstance(parameters[name].default, int):
                bound.arguments[name] = min(max(parameters[name].default, wanted), size)
        if is_a(self.searcher, "LuceneHnswDenseSearcher"):
            limit = "ef_search"  # it is fixed when the searcher is made
        if "k0" in bound.arguments and is_a(self.searcher, "HybridSearcher"):
            bound.arguments["k"] = 2 * bound.arguments["k0"]  # all hits of a hybrid: ties are broken before the cut
        return Call(method, bound, k, wanted, limit)

    def search(self, call: Call, depth: int, **extra: Any) -> Candidates:
        """Run a `search` call; `extra` has more arguments for a searcher that reranks, too."""
        searcher = guarded_within(self._plain())
        with guard(searcher):
            try:
                hits = self._run(searcher, call.method, call.bound, extra)
            except Exception as error:
                raise _clear(error, self.searcher, "the query") from None
        return self._read(hits, call.wanted, depth)

    def batch_search(
        self, call: Call, positions: Sequence[int], depth: int, *, documents: bool = True, **extra: Any
    ) -> list[Candidates]:
        """Run a `batch_search` call for the queries at `positions`, in their order.

        If `documents` is False, stored documents are not read from Java.
        """
        part = call.part(positions)
        queries, qids = list(part.arguments.values())[:2]
        searcher = guarded_within(self._plain())
        java = _java_object(searcher)
        with guard(searcher):
            try:
                results = _in_java(searcher, java, part) if java else self._run(searcher, call.method, part, extra)
            except Exception as error:
                raise _failure(searcher, queries, qids) or error from None
            if not isinstance(results, Mapping):
                raise TypeError(f"{type(searcher).__name__}.batch_search gave no dict from qid to hits.")
            if not results.keys() >= set(qids):  # Lucene's dense searchers drop a query that fails, in silence
                failure = _failure(searcher, queries, qids)
                if failure:
                    raise failure
                unknown = results.keys() - set(qids)
                if unknown:
                    problem = f"{type(searcher).__name__}.batch_search gave hits for {min(unknown, key=repr)!r}"
                    raise TypeError(f"{problem}, which is no qid that was asked for: its keys have to be the qids.")
            if java:
                return [from_java(results[qid], depth, documents=documents) for qid in qids]
        return [self._read(results.get(qid, []), call.wanted, depth) for qid in qids]

    def _plain(self) -> Any:
        """Give the searcher without the methods that `set_reranker` put onto it.

        A subclass whose `batch_search` calls `self.search` would be reranked twice otherwise.
        """
        attributes = attributes_of(self.searcher)
        if all(attributes.get(name) == self.patched.get(name) for name in METHODS):
            return self.searcher
        plain = copy.copy(self.searcher)
        for name in METHODS:
            vars(plain).pop(name, None)
        vars(plain).update(self.patched)
        return plain

    def _run(self, searcher: Any, method: str, bound: inspect.BoundArguments, extra: dict[str, Any]) -> Any:
        """Call a method of the searcher, or of a copy of it."""
        before = dict(attributes_of(searcher))
        try:
            return getattr(searcher, method)(*bound.args, **bound.kwargs, **extra)
        finally:
            # Attributes that the method has set on a copy are set on the searcher itself, too.
            after = attributes_of(searcher).items()
            attributes_of(self.searcher).update(
                {name: value for name, value in after if before.get(name, self) is not value}
            )

    def _read(self, hits: Any, wanted: int, depth: int) -> Candidates:
        """Read the first `wanted` hits of a searcher's result."""
        # Outside of the lock: the result may be a generator, which runs code that is not ours.
        hits = listed(hits, "the searcher's result")
        with JAVA_LOCK:
            return from_hits(self._cleaned(hits)[:wanted], depth)

    def _cleaned(self, hits: Any) -> Any:
        """Leave out Faiss's padding, and break a hybrid's ties.

        Faiss pads its results if an index has too few documents, with the largest float32 as score (half of that if
        scores are normalised to (1 + score) / 2). Hybrid search leaves ties in the order of a Python set, which
        differs between processes: they are ordered by docid.
        """
        if hits and isinstance(getattr(hits[0], "score", None), np.float32):
            hits = [hit for hit in hits if abs(hit.score) < np.finfo(np.float32).max / 4]
        if is_a(self.searcher, "HybridSearcher"):
            hits = sorted(hits, key=lambda hit: (-hit.score, hit.docid))
        return hits

    def warn_of_shortfall(self, call: Call, candidate_counts: Sequence[int]) -> None:
        """Warn, once for a call, if queries got fewer candidates than asked for and a parameter is the reason.

        Parameters
        ----------
        call : Call
        candidate_counts
            The number of candidates of each query.
        """
        total = len(candidate_counts)
        short = [count for count in candidate_counts if count < call.wanted]
        wanted = call.wanted
        if short and call.limit == "ef_search":
            self._size = self._size or _count_documents(self.searcher)
            wanted = min(wanted, self._size)
            short = [count for count in short if count < wanted]
        if short:
            log.debug("the first stage gave %d of %d queries fewer than %d candidates", len(short), total, wanted)
        if short and call.limit:
            warn(
                f"{call.limit} kept the first stage to {min(short)} of {wanted} candidates "
                f"for {len(short)} of {total} queries: raise it, or lower the depth.",
                ShortfallWarning,
            )


class _BatchInJava:
    """A stand-in for a searcher's Java object that keeps the map that its batch search returns."""

    def __init__(self, java: Any) -> None:
        self._java = java
        self.results: Any = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._java, name)
        if not name.startswith("batch_search"):
            return method

        def call(*args: Any) -> Any:
            from pyserini.pyclass import JHashMap

            self.results = method(*args)
            return JHashMap()  # the caller, which would convert the hits, gets an empty map

        return call


def _as_python(value: Any) -> Any:
    """Convert a whole number or text of numpy's to Python's own; Java and Faiss do not take numpy's."""
    return int(value) if isinstance(value, np.integer) else str.__str__(value) if isinstance(value, str) else value


def _in_java(searcher: Any, attribute: str, bound: inspect.BoundArguments) -> dict[str, Any]:
    """Run Pyserini's own `batch_search`, but leave its hits in Java, where none becomes a Python object.

    It runs on a copy of the searcher in which a stand-in takes the place of the Java object.
    """
    batch = _BatchInJava(getattr(searcher, attribute))
    clone = copy.copy(searcher)
    setattr(clone, attribute, batch)
    type(clone).batch_search(clone, *bound.args, **bound.kwargs)
    return java_lists(batch.results)


def _failure(searcher: Any, queries: Sequence[Any], qids: Sequence[str]) -> Exception | None:
    """Find out why a batch failed, which Pyserini does not say, by searching for its queries one by one."""
    for query, qid in zip(queries, qids, strict=True):
        try:
            searcher.search(query, k=1)
        except Exception as error:
            return _clear(error, searcher, f"query {qid!s:.50}")
    return None


def _clear(error: Exception, searcher: Any, query: str) -> Exception:
    """Replace an error of Lucene's that has a remedy by a clear one; other errors are returned as they are."""
    if "AlreadyClosedException" in str(error):
        return RuntimeError(f"this {type(searcher).__name__} is closed: open the index again.")
    if "TooManyClauses" in str(error) or "TooManyNestedClauses" in str(error):
        return ValueError(
            f"{query} has more than the 1024 different words that Lucene takes: search with fewer, and pass the "
            "whole text as rerank_query=."
        )
    if type(error).__name__ == "JavaException":
        return RuntimeError(f"{type(searcher).__name__} failed on {query}: {str(error).splitlines()[0]}")
    return error


def _java_object(searcher: Any) -> str:
    """Name the attribute with the Java object whose batch search gives the final hits; "" if Python changes them."""
    kind = type(searcher)
    patched = attributes_of(searcher).keys() & vars(kind).keys()
    is_unchanged = kind.__module__.startswith("pyserini.search.lucene") and not patched
    # RM3 and Rocchio in Python search again after the Java batch.
    feedback = getattr(searcher, "rm3", None) or getattr(searcher, "rocchio", None)
    return JAVA_OBJECT.get(kind.__name__, "") if is_unchanged and not feedback else ""


def _size(searcher: Any) -> int:
    """Tell how many documents a searcher has at most."""
    if is_a(searcher, "HybridSearcher"):
        return max(_size(part) for part in (searcher.sparse_searcher, searcher.dense_searcher))
    return int(getattr(searcher, "num_docs", MOST))


def _count_documents(searcher: Any) -> int:
    """Count the documents of a Lucene index; its dense searchers do not give the number."""
    from pyserini.index.lucene import LuceneIndexReader

    return int(LuceneIndexReader(searcher.index_dir).stats()["documents"])
