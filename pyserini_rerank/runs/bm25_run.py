"""The first stage of an experiment: topics are searched with BM25, a shard at a time, into a run file.

As in `rescoring`, the result of a shard depends on the shard alone, not on the process that searches it.
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
    """A BM25 search: its parameters, its index (a path or a prebuilt name), and the number of hits of a query.

    Raises
    ------
    ValueError
        A parameter is outside the range that Lucene accepts.
    """

    k1: float
    b: float
    index: str
    depth: int = 1000

    def __post_init__(self) -> None:
        # Numbers and paths of any type become those of the command line, so that Python and the command line can
        # resume each other's output.
        try:
            plain = {"k1": float(str(self.k1)), "b": float(str(self.b)), "index": os.fspath(self.index)}
        except ValueError:
            raise self._out_of_range() from None
        for name, value in {**plain, "depth": whole(self.depth, "depth", least=1)}.items():
            object.__setattr__(self, name, value)
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise self._out_of_range()

    def _out_of_range(self) -> ValueError:
        return ValueError(f"BM25 with k1={self.k1} and b={self.b}: give a k1 of 0 or more, and a b from 0 to 1.")

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
    """A first stage that searches shards of topics.

    Parameters
    ----------
    depth : int
        The number of hits of a query.
    open_stage : callable
        Opens the first stage. It is called when the first shard is searched.
    """

    def __init__(self, depth: int, open_stage: Callable[[], SearcherAdapter]) -> None:
        self.depth = depth
        self.open_stage = open_stage

    @cached_property
    def stage(self) -> SearcherAdapter:
        return self.open_stage()

    def search(self, topics: Topics) -> str:
        """Search a shard on all cores of the machine, and give its lines of a TREC run, as Pyserini writes them.

        Raises
        ------
        ValueError
            A docid has white space in it.
        """
        keywords = {"k": self.depth, "threads": os.cpu_count()}
        call = self.stage.prepare("batch_search", self.depth, (list(topics.values()), list(topics)), keywords)
        candidates_of_queries = self.stage.batch_search(call, range(len(topics)), self.depth, documents=False)
        run_lines: list[str] = []
        for qid, candidates in zip(topics, candidates_of_queries, strict=True):
            for docid in candidates.docids:
                check_name(docid, "the docid", "index the document under another one")
            docids_and_scores = zip(candidates.docids, candidates.first_scores().tolist(), strict=True)
            run_lines += lines(qid, (RunHit(docid, score) for docid, score in docids_and_scores), TAG)
        return "".join(run_lines)


#: A function that takes shards of topics, and gives the run lines of each shard in the order of the shards.
Search = Callable[[Iterator[Topics]], Iterator[str]]


def search_topics(work: ResumableOutput, topics: Mapping[str, str], depth: int, search: Search) -> None:
    """Write the first stage's run in shards of about `SHARD` hits. Committed shards are not searched again.

    Raises
    ------
    ValueError
        A qid or a docid has white space in it, or the search finds nothing.
    """
    for qid in topics:
        check_name(qid, "the qid", "rename the topic")
    size = max(1, SHARD // depth)
    shards = map(dict, batched(topics.items(), size))
    done = sum(len(shard) for shard in islice(shards, work.commits))
    with queries_bar(len(topics), "searching", done=done, leave=True) as reach:
        for run_lines in search(shards):
            work.commit([run_lines], {})
            done = min(done + size, len(topics))
            reach(done)
    if not work.path.stat().st_size:
        work.abandon()
        raise ValueError(
            f"the search finds nothing for any of the {len(topics):,} topics: name other topics, or another index."
        )
