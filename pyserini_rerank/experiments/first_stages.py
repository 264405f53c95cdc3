"""The first stages of an experiment: a searcher, a run file, or hits already in hand, each asked by qid."""

import inspect
import json
import math
import os
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ..arguments import listed
from ..files.reading import is_input
from ..retrieval.candidates import Candidates, from_hits
from ..retrieval.hits import check_hit, rescored
from ..retrieval.searcher_adapter import SearcherAdapter
from ..runs import run_file
from ..runs.run_file import RunHit
from ..runs.topics import keyed


class FirstStage(Protocol):
    """Finds candidates for topics."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    @property
    def searches(self) -> bool:
        """Tell whether it finds hits now, so that its time says something; others have found them before."""

    @property
    def searcher(self) -> Any:
        """The searcher whose index has the texts of its hits; None where there is none."""

    def find(self, topics: Mapping[str, str], depth: int, *, documents: bool) -> list[Candidates]:
        """Find the best `depth` hits of each topic, in the order of the topics.

        The candidates are shared between systems: their hits are copied and never changed. Without `documents`, stored
        documents are not read.
        """


class SearchedStage:
    """A searcher, as it is without the reranker of an outer system."""

    searches = True

    def __init__(self, adapter: SearcherAdapter) -> None:
        self.adapter, self.searcher = adapter, adapter.searcher
        self.name = type(adapter.searcher).__name__

    def find(self, topics: Mapping[str, str], depth: int, *, documents: bool) -> list[Candidates]:
        queries, qids = list(topics.values()), list(topics)
        if "batch_search" in self.adapter.methods:
            found = self._in_a_batch(queries, qids, depth, documents)
        else:
            found = [self._one(query, depth) for query in queries]
        return [replace(candidates, rescored=rescored) for candidates in found]

    def _in_a_batch(self, queries: list[str], qids: list[str], depth: int, documents: bool) -> list[Candidates]:
        how: dict[str, Any] = {"k": depth}
        if "threads" in inspect.signature(self.adapter.methods["batch_search"]).parameters:
            how["threads"] = os.cpu_count()
        call = self.adapter.prepare("batch_search", depth, (queries, qids), how)
        extra = {"rerank_queries": queries} if self.adapter.reranks else {}
        found = self.adapter.batch_search(call, range(len(qids)), depth, documents=documents, **extra)
        self.adapter.warn_of_shortfall(call, [candidates.count for candidates in found])
        return found

    def _one(self, query: str, depth: int) -> Candidates:
        call = self.adapter.prepare("search", depth, (query,), {"k": depth})
        return self.adapter.search(call, depth, **({"rerank_query": query} if self.adapter.reranks else {}))


class RunFileStage:
    """A run file. Its hits are kept in a temporary file, so that memory does not grow with the run.

    Parameters
    ----------
    path : path
        See `pyserini_rerank.runs.run_file.read`.
    qids : collection of str
        Of no others hits are kept.

    Raises
    ------
    As `run_file.read`.
    """

    searcher, searches = None, False

    def __init__(self, path: str | os.PathLike[str], qids: Collection[str]) -> None:
        self.name = os.fspath(path)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self.close = self._file.close
        self._offsets: dict[str, int] = {}
        for qid, hits in run_file.read(Path(path)):
            if qid in qids:
                self._offsets[qid] = self._file.tell()
                self._file.write(json.dumps([(hit.docid, hit.score) for hit in hits]).encode() + b"\n")

    def find(self, topics: Mapping[str, str], depth: int, *, documents: bool) -> list[Candidates]:
        return [from_hits(self._hits(qid)[:depth], depth) for qid in topics]

    def _hits(self, qid: str) -> list[RunHit]:
        if qid not in self._offsets:
            return []
        self._file.seek(self._offsets[qid])
        return [RunHit(docid, score) for docid, score in json.loads(self._file.readline())]


class HitsStage:
    """Hits in hand: qid -> a list of hits in their order, or a mapping from docid to score."""

    name, searcher, searches = "hits", None, False

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.hits = {qid: _ordered(hits, qid) for qid, hits in keyed(results, "the hits").items()}

    def find(self, topics: Mapping[str, str], depth: int, *, documents: bool) -> list[Candidates]:
        return [from_hits(self.hits.get(qid, [])[:depth], depth) for qid in topics]


class FirstStages:
    """Opens first stages; one that is named several times is opened once.

    Parameters
    ----------
    qids : collection of str
        The topics.
    stack : ExitStack
        It closes what was opened.
    forms : str
        The remedy of an error: what there is to give.
    """

    def __init__(self, qids: Collection[str], stack: ExitStack, forms: str) -> None:
        self.qids, self.stack, self.forms = qids, stack, forms
        self._stages: dict[Any, FirstStage] = {}

    def open(self, given: Any) -> FirstStage:
        """Open a searcher, a run file or hits in hand, or find it if it is open.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        TypeError
            It is none of the three.
        As `run_file.read`.
        """
        if isinstance(given, str | os.PathLike):
            path = os.path.realpath(given)
            if not is_input(os.fspath(given)):
                raise FileNotFoundError(f"{os.fspath(given)!r} is no run file: {self.forms}.")
            if path not in self._stages:
                self._stages[path] = stage = RunFileStage(Path(given), self.qids)
                self.stack.callback(stage.close)
            return self._stages[path]
        if hasattr(given, "search"):
            if "_reranking" in vars_of(given):  # with a reranker: what it finds without it
                return self.searched(vars_of(given)["_reranking"].first_stage)
            return self.searched(SearcherAdapter(given))
        if hasattr(given, "items"):
            return self._stages.setdefault(id(given), HitsStage(given))
        raise TypeError(f"a {type(given).__name__} is no system: {self.forms}.")

    def searched(self, adapter: SearcherAdapter) -> FirstStage:
        return self._stages.setdefault(id(adapter.searcher), SearchedStage(adapter))


def _ordered(hits: Any, qid: str) -> list[Any]:
    """Read a query's hits; scores by docid are put in order, equal ones as they are given."""
    if not hasattr(hits, "items"):
        return listed(hits, f"the hits of {qid!s:.50}")
    scored = [RunHit(docid, score) for docid, score in keyed(hits, f"the hits of {qid!s:.50}").items()]
    for hit in scored:
        check_hit(hit)
        if math.isnan(hit.score):
            raise ValueError(
                f"the score of {hit.docid:.50} for query {qid:.50} is NaN: give a number, or hits in a list."
            )
    return sorted(scored, key=lambda hit: -hit.score)


def vars_of(given: Any) -> Mapping[str, Any]:
    """Give what is set on an object; nothing of one with `__slots__`."""
    held = getattr(given, "__dict__", {})
    return held if isinstance(held, Mapping) else {}
