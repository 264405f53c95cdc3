"""Asking the first stage for candidates: the searcher's own call, only deeper."""

import copy
import inspect
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np

from .candidates import Candidates, from_hits, from_java, java_lists

METHODS = ("search", "batch_search")
#: Parameters that limit how many hits a searcher can give, whatever its k.
LIMITS = ("k0", "binary_k")
#: Where Pyserini's own classes keep the Java object whose batch search gives all hits in one map.
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
    limit: str | None
    """The parameter, set by the user, that keeps the hits below what is asked for."""

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
    def wanted(self) -> int:
        """How many candidates the first stage is asked for."""
        return int(self.bound.arguments["k"])

    @property
    def returns_vectors(self) -> bool:
        """Does Faiss give vectors along with its hits? Such results are passed through."""
        return bool(self.bound.arguments.get("return_vector"))

    def part(self, positions: Sequence[int]) -> inspect.BoundArguments:
        """Bind the same batch call for some of its queries."""
        arguments = dict(self.bound.arguments)
        for name in self.names[:2]:
            whole = arguments[name]
            # Faiss takes a matrix of query vectors, which has to stay one.
            arguments[name] = whole[list(positions)] if hasattr(whole, "shape") else [whole[i] for i in positions]
        return inspect.BoundArguments(self.bound.signature, arguments)


class FirstStage:
    """A searcher as it is without a reranker.

    Its methods are taken as they are now: `set_reranker` shadows them on the instance afterwards.
    """

    def __init__(self, searcher: Any) -> None:
        self.searcher = searcher
        self.methods = {name: getattr(searcher, name) for name in METHODS if hasattr(searcher, name)}
        if "search" not in self.methods:
            raise TypeError(f"{type(searcher).__name__} has no `search` method: a reranker needs a Pyserini searcher.")
        self.patched = {name: vars(searcher)[name] for name in METHODS if name in vars(searcher)}
        self._java = _java_object(searcher)
        self._local = threading.local()

    @property
    def running(self) -> bool:
        """Is this thread inside the first stage? Then the searcher's methods are its own.

        A subclass whose `batch_search` calls `self.search` would be reranked twice otherwise.
        """
        return getattr(self._local, "running", False)

    def prepare(self, method: str, depth: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Bind a call to the searcher's signature and have it ask for max(k, depth) hits."""
        bound = inspect.signature(self.methods[method]).bind(*args, **kwargs)
        parameters = bound.signature.parameters
        if "k" not in parameters:
            raise TypeError(f"{type(self.searcher).__name__}.{method} takes no `k`: it is no Pyserini searcher's.")
        k = bound.arguments.get("k", parameters["k"].default)
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1 hit.")
        # Faiss pads what its index does not have, and its binary search overflows there.
        size = self.searcher.num_docs if hasattr(self.searcher, "index") else sys.maxsize
        wanted = min(max(k, depth), size)
        bound.arguments["k"] = wanted
        limit = None
        for name in LIMITS:
            if name in bound.arguments:
                limit = f"{name}={bound.arguments[name]}" if bound.arguments[name] < wanted else limit
            elif name in parameters:
                bound.arguments[name] = min(max(parameters[name].default, wanted), size)
        if type(self.searcher).__name__ == "LuceneHnswDenseSearcher":
            limit = "ef_search"  # fixed when the searcher was made
        return Call(method, bound, k, limit)

    def search(self, call: Call, depth: int) -> Candidates:
        """Run a `search` call."""
        return from_hits(_found(self.run(call.bound, "search"))[: call.wanted], depth)

    def batch_search(self, call: Call, positions: Sequence[int], depth: int) -> list[Candidates]:
        """Run a `batch_search` call for the queries at `positions`, in their order."""
        part = call.part(positions)
        qids = [call.qids[i] for i in positions]
        # Python's own RM3 and Rocchio search again after the Java batch.
        if self._java and not getattr(self.searcher, "rm3", None) and not getattr(self.searcher, "rocchio", None):
            lists = java_lists(self._java_results(part))
            return [from_java(lists[qid], depth) for qid in qids]
        results = self.run(part, "batch_search")
        return [from_hits(_found(results[qid])[: call.wanted], depth) for qid in qids]

    def run(self, bound: inspect.BoundArguments, method: str) -> Any:
        """Call the searcher's own method."""
        self._local.running = True
        try:
            return self.methods[method](*bound.args, **bound.kwargs)
        except Exception as error:
            raise self._explained(error, bound) from None
        finally:
            self._local.running = False

    def _java_results(self, bound: inspect.BoundArguments) -> Any:
        """Run Pyserini's own `batch_search`, but keep its hits in Java: one map, and no object a hit.

        It runs on a copy of the searcher whose Java object hands over the map that it returns.
        """
        handover = _Handover(getattr(self.searcher, self._java))
        searcher = copy.copy(self.searcher)
        setattr(searcher, self._java, handover)
        try:
            type(searcher).batch_search(searcher, *bound.args, **bound.kwargs)
        except Exception as error:
            raise self._explained(error, bound) from None
        return handover.results

    def _explained(self, error: Exception, bound: inspect.BoundArguments) -> Exception:
        """Give the error to raise for one of the first stage's: a clear one where the searcher is closed.

        A batch only says that not all of its queries ended, so the first query is asked alone for the cause.
        """
        if "completedTaskCount" in str(error):
            try:
                self.methods["search"](next(iter(bound.arguments.values()))[0], k=1)
            except Exception as cause:
                error = cause
        if "AlreadyClosedException" in str(error):
            return RuntimeError(f"this {type(self.searcher).__name__} is closed: open the index again.")
        return error

    def warn_of_shortfall(self, call: Call, found: Sequence[int]) -> None:
        """Say once a call how many queries got fewer candidates than asked for, and why.

        Parameters
        ----------
        found
            How many candidates each query got.
        """
        if call.limit is None:
            return
        wanted = min(call.wanted, _size(self.searcher)) if call.limit == "ef_search" else call.wanted
        short = [count for count in found if count < wanted]
        if short:
            warnings.warn(
                f"{call.limit} kept the first stage to {min(short)} of {wanted} candidates "
                f"for {len(short)} of {len(found)} queries: raise it, or lower the depth.",
                ShortfallWarning,
                stacklevel=4,
            )


class _Handover:
    """Stands in for a searcher's Java object and keeps the map that its batch search returns."""

    def __init__(self, java: Any) -> None:
        self._java = java
        self.results: Any = None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("batch_search"):
            return getattr(self._java, name)

        def call(*args: Any) -> Any:
            from pyserini.pyclass import JHashMap

            # pyjnius binds a method on the class, not on the object: between a look-up and a call of
            # Python's another thread could bind it to its own searcher. This does both at once.
            self.results = methodcaller(name, *args)(self._java)
            return JHashMap()  # leaves the caller nothing to convert

        return call


def _found(hits: Any) -> Any:
    """Leave out the padding that Faiss gives, with the largest float32 as score, where an index has too little."""
    if hits and isinstance(hits[0].score, np.float32):
        return [hit for hit in hits if abs(hit.score) < np.finfo(np.float32).max]
    return hits


def _java_object(searcher: Any) -> str:
    """Name the attribute with the Java object; empty where a method may be somebody else's."""
    kind = type(searcher)
    own = kind.__module__.startswith("pyserini.search.lucene") and not vars(searcher).keys() & vars(kind).keys()
    return JAVA_OBJECT.get(kind.__name__, "") if own else ""


def _size(searcher: Any) -> int:
    """Count the documents of a Lucene index, which its dense searchers do not tell."""
    from pyserini.index.lucene import LuceneIndexReader

    return int(LuceneIndexReader(searcher.index_dir).stats()["documents"])
