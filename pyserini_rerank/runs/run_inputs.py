"""The inputs of a reranked run. They are opened, read if they are small, and have states that tell them apart."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.reading import at_rest, digest
from ..texts.opening import open_source
from ..texts.source import Source
from . import input_states
from .bm25_run import BM25
from .evaluation import coverage
from .judging import Judging
from .official_candidates import OfficialCandidates, is_official
from .resumable_output import ResumableOutput
from .run_file import RunHit, Skipped, qids, read
from .topics import load_topics

#: The settings on which a first stage's run depends.
SEARCH_SETTINGS = ("bm25", "index", "topics", "only_judged")


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a reranked run.

    Parameters
    ----------
    name : str
        The name of the run, or of the first stage, in messages and in the report.
    run : path, optional
        A file that can be read several times; None if `bm25` finds the candidates.
    bm25 : BM25, optional
    is_official : bool
        The run is a file of MS MARCO's candidates, with queries and texts.
    topics : dict
        qid -> query; empty for official candidates.
    texts
        See `open_texts`.
    judging : Judging
    """

    name: str
    run: Path | None
    bm25: BM25 | None
    is_official: bool
    topics: Mapping[str, str]
    texts: Any
    judging: Judging

    def states(self) -> dict[str, str | None]:
        """Give the states of the inputs; see `input_states`."""
        return {
            "run": digest(self.run) if self.run else None,
            "topics": input_states.of_value(self.topics) if self.topics else None,
            "texts": input_states.of_texts(self.texts),
            "only_judged": self.judging.state,
            "bm25": str(self.bm25) if self.bm25 else None,
            "index": input_states.of_index(self.bm25.index) if self.bm25 else None,
        }

    def first_stage(self, work: ResumableOutput) -> ResumableOutput:
        """Begin, or resume, the first stage's run in the folder of the growing output."""
        return ResumableOutput(work.folder / "first-stage", {name: work.settings[name] for name in SEARCH_SETTINGS})

    def candidates(
        self, run: Path, folder: Path, skipped: Skipped | None
    ) -> tuple[Iterable[tuple[str, list[RunHit]]], Mapping[str, str]]:
        """Give a run's queries with their hits, which are read one query at a time, and the topics.

        Parameters
        ----------
        run : path
            This run, or the first stage's.
        folder : path
            The folder in which official candidates are unpacked.
        skipped : Skipped, optional
            Counts the bad lines, which are left out. Without it they are errors.

        Raises
        ------
        ValueError
            None of the queries is judged; or, while the queries are read, a line is bad.
        """
        queries: Iterable[tuple[str, list[RunHit]]]
        if self.is_official:
            queries = official = OfficialCandidates(run, folder, skipped)
            topics: Mapping[str, str] = official.queries
        else:
            queries, topics = read(run, skipped, can_skip=True), self.topics
        judged = self.judging.judged
        if self.judging.only_judged:
            queries = ((qid, hits) for qid, hits in queries if qid in judged)
            topics = {qid: query for qid, query in topics.items() if qid in judged}
        elif judged:
            has_run = not (self.is_official or self.bm25)
            coverage((qids(run) & topics.keys() if has_run else ()) or topics, judged)
        return queries, topics

    def count(self, run: Path, topics: Mapping[str, str]) -> int:
        """Count a run's queries for a progress bar; the topics may have more."""
        if self.is_official:
            return len(topics)
        qids_of_run = qids(run)
        return len(qids_of_run & self.judging.judged.keys()) if self.judging.only_judged else len(qids_of_run)


@contextmanager
def open_inputs(run: Path | BM25, topics: Any, texts: Any, depth: int | None, judging: Judging) -> Iterator[RunInputs]:
    """Open the inputs of a reranked run, and read the topics and the judgements; see `rerank_run` in `job`.

    Raises
    ------
    ValueError
        Topics or texts are not named, or they are named although official candidates have them, or an input does not
        parse.
    OSError
        An input does not exist.
    """
    if isinstance(run, BM25):
        _check_named(topics, texts)
        yield RunInputs(str(run), None, run, False, load_topics(topics), texts, judging)
        return
    with at_rest(run) as path:
        is_candidates = is_official(path)
        if not is_candidates:
            _check_named(topics, texts)
        elif any(argument is not None for argument in (topics, texts, depth, judging.plot)):
            raise ValueError(
                "the run is one of MS MARCO's top-1000 files, with its own queries and texts and in no order: leave "
                "topics=, texts=, depth= and plot= out."
            )
        read_topics = {} if is_candidates else load_topics(topics)
        yield RunInputs(str(run), path, None, is_candidates, read_topics, texts, judging)


def open_texts(texts: Any) -> Source | None:
    """Open the texts of a run's documents; give None where there are none.

    Parameters
    ----------
    texts : str, path or mapping, optional
        A collection's file, the path or the prebuilt name of an index, or a mapping from docid to text.

    Raises
    ------
    As `pyserini_rerank.texts.opening.open_source` and `pyserini_rerank.texts.collection.Collection`.
    """
    return None if texts is None else open_source(texts, None)


def _check_named(topics: Any, texts: Any) -> None:
    named = {"the queries, by topics=": topics, "the texts, by texts=": texts}
    if lacking := [what for what, value in named.items() if value is None]:
        raise ValueError(f"name {', and '.join(lacking)}.")
