"""Run files: TREC's format and MS MARCO's, read a query at a time."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..files import open_lines


@dataclass(frozen=True)
class RunHit:
    """A line of a run."""

    docid: str
    score: float
    """NaN where the file has no order."""
    text: str | None = None
    """The document's text, where the line has it (see `official`)."""


@dataclass
class Skipped:
    """How many lines and queries were left out, by reason."""

    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, count: int = 1) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + count


def read(path: str | Path, skipped: Skipped | None = None) -> Iterator[tuple[str, list[RunHit]]]:
    """Read a run a query at a time, in the order of the file.

    A line is TREC's (``qid Q0 docid rank score tag``, separated by white space) or MS MARCO's (``qid``,
    ``docid`` and ``rank``, separated by tabs), as the first line shows. Hits keep the order of their
    lines; equal scores are no trouble. Bad are: a line that does not parse; a score above the one before
    or a rank not above it, within a query; a docid that a query has already; a second tag, which is a
    second run; and a query whose lines are not together.

    Parameters
    ----------
    path : path
        A file, plain or gzipped.
    skipped : Skipped, optional
        Bad lines are left out and counted here; without it they are errors.

    Yields
    ------
    qid : str
    hits : list of RunHit
        An MS MARCO run has no scores: minus the rank stands for it.

    Raises
    ------
    ValueError
        A bad line; the message names the file, the line and the remedy. A gzipped file that is damaged.
    """
    done: set[str] = set()
    qid: str | None = None
    hits: list[RunHit] = []
    docids: set[str] = set()
    tag = None
    with open_lines(path) as lines:
        parse = None
        for number, line in enumerate(lines, 1):
            try:
                text = _text(line)
                parse = parse or _format(text)
                line_qid, hit, line_tag = parse(text)
                tag = tag or line_tag
                if line_tag != tag:
                    raise BadLine(f"has the tag {line_tag!r} after {tag!r}", "keep one run a file")
                if line_qid in done:
                    raise BadLine(f"goes back to query {line_qid}", "sort the run by query")
                if line_qid == qid and hit.docid in docids:
                    raise BadLine(f"repeats document {hit.docid} of query {qid}", "keep one of the two")
                if line_qid == qid and hit.score > hits[-1].score:
                    raise BadLine("has a better score or rank than the line before", "sort each query by score")
            except BadLine as bad:
                if skipped is None:
                    raise bad.error(path, number) from None
                skipped.add(bad.remedy)
                continue
            if line_qid != qid:
                if qid is not None:
                    yield qid, hits
                    done.add(qid)
                qid, hits, docids = line_qid, [], set()
            hits.append(hit)
            docids.add(hit.docid)
    if qid is None:
        raise ValueError(f"{path} has no line of a run.")
    yield qid, hits


def lines(qid: str, hits: Iterable[RunHit], tag: str) -> Iterator[str]:
    """Write a query's hits as lines of a TREC run, as Pyserini's own writer does."""
    for rank, hit in enumerate(hits, 1):
        yield f"{qid} Q0 {hit.docid} {rank} {hit.score:.6f} {tag}\n"


class BadLine(Exception):
    """What is wrong with a line, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy

    def error(self, path: str | Path, number: int | None) -> ValueError:
        place = f"{path}, line {number}" if number else str(path)
        what = " ".join(self.what.split())  # it may quote anything
        return ValueError(f"{place}: {what:.200}: {self.remedy}, or pass --skip-bad.")


def _text(line: bytes) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadLine("is no UTF-8", "correct the line") from None


def _format(line: str) -> Callable[[str], tuple[str, RunHit, str]]:
    if len(line.split()) == 6:
        return _trec
    if len(line.split("\t")) == 3:
        return _msmarco
    raise BadLine("is neither TREC's (6 columns) nor MS MARCO's (3, with tabs)", "name a run file")


def _trec(line: str) -> tuple[str, RunHit, str]:
    columns = line.split()
    if len(columns) != 6:
        raise BadLine(f"has {len(columns)} columns, not 6", "correct the line")
    qid, _, docid, _, text, tag = columns
    return qid, RunHit(docid, _number(text, "score")), tag


def _msmarco(line: str) -> tuple[str, RunHit, str]:
    columns = line.split("\t")
    if len(columns) != 3 or not all(columns):
        raise BadLine(f"has {len(columns)} columns, not 3", "correct the line")
    qid, docid, rank = columns
    return qid, RunHit(docid, -_number(rank, "rank")), ""


def _number(text: str, what: str) -> float:
    try:
        # Python would take "12_5" for 125, and the digits of any script.
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadLine(f"has the {what} {text!r}, which is no number", "correct the line")
    return number
