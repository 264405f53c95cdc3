"""The first stage of an experiment: topics searched with BM25, a shard at a time, into a run file.

As in `rescoring`, what a shard becomes is a function of the shard alone, whoever searches it.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import batched, islice

from ..arguments import whole
from ..progress import queries_bar
from ..reranker import SHARD
from ..retrieval.searcher_adapter import SearcherAdapter
from ..texts.stored import open_index
from .resumable_output import ResumableOutput
from .run_file import RunHit, check_name, lines

Topics = dict[str, str]
TAG = "bm25"


@dataclass(frozen=True)
class BM25:
    """A BM25 search: its parameters, the index (a path or a prebuilt name) and how many hits a query gets.

    Raises
    ------
    ValueError
        Lucene has no BM25 of such parameters.
    """

    k1: float
    b: float
    index: str
    depth: int = 1000

    def __post_init__(self) -> None:
        # Numbers and paths of any kind are written as the command line's are, so that either goes on with the other's.
        try:
            read = {"k1": float(str(self.k1)), "b": float(str(self.b)), "index": os.fspath(self.index)}
        except ValueError:
            raise self._wrong() from None
        for name, value in {**read, "depth": whole(self.depth, "depth", least=1)}.items():
            object.__setattr__(self, name, value)
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise self._wrong()

    def _wrong(self) -> ValueError:
        return ValueError(f"BM25 with {self.k1} and {self.b}: k1 is a number from 0 on, and b one from 0 to 1.")

    def __str__(self) -> str:
        return f"BM25(k1={self.k1}, b={self.b}) on {self.index}, {self.depth:,} deep"

    def open(self) -> SearcherAdapter:
        """Open the index.

        Raises
        ------
        As `pyserini_rerank.texts.stored.open_index`.
        """
        searcher = open_index(self.index)
        searcher.set_bm25(self.k1, self.b)
        return SearcherAdapter(searcher)


class TopicSearcher:
    """Searches shards of topics.

    Parameters
    ----------
    depth : int
        How many hits a query gets.
    open_stage : callable
        Opens the first stage, when the first shard is there.
    """

    def __init__(self, depth: int, open_stage: Callable[[], SearcherAdapter]) -> None:
        self.depth = depth
        self.open_stage = open_stage

    @cached_property
    def stage(self) -> SearcherAdapter:
        return self.open_stage()

    def search(self, topics: Topics) -> str:
        """Search a shard with all of the machine's cores; gives its lines of a TREC run, as Pyserini writes them.

        Raises
        ------
        ValueError
            A docid has white space in it.
        """
        how = {"k": self.depth, "threads": os.cpu_count()}
        call = self.stage.prepare("batch_search", self.depth, (list(topics.values()), list(topics)), how)
        found = self.stage.batch_search(call, range(len(topics)), self.depth, documents=False)
        written: list[str] = []
        for qid, candidates in zip(topics, found, strict=True):
            for docid in candidates.docids:
                check_name(docid, "the docid", "index the document under another one")
            scored = zip(candidates.docids, candidates.first_scores().tolist(), strict=True)
            written += lines(qid, (RunHit(docid, score) for docid, score in scored), TAG)
        return "".join(written)


#: What makes of shards of topics their lines, in their order.
Search = Callable[[Iterator[Topics]], Iterator[str]]


def search_topics(work: ResumableOutput, topics: Mapping[str, str], depth: int, search: Search) -> None:
    """Write the first stage's run, in shards of about `SHARD` hits; those that were committed are not done again.

    Raises
    ------
    ValueError
        A qid or a docid has white space in it; nothing is found.
    """
    for qid in topics:
        check_name(qid, "the qid", "rename the topic")
    size = max(1, SHARD // depth)
    shards = map(dict, batched(topics.items(), size))
    done = sum(len(shard) for shard in islice(shards, work.commits))
    with queries_bar(len(topics), "searching", done=done, leave=True) as reach:
        for written in search(shards):
            work.commit([written], {})
            done = min(done + size, len(topics))
            reach(done)
    if not work.path.stat().st_size:
        work.abandon()
        raise ValueError(f"none of the {len(topics):,} topics finds anything: name other topics, or another index.")
