"""Run files: TREC's format, MS MARCO's and ColBERT's, read a query at a time."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from ..files.reading import lines_of

#: What a heading calls the first column of topics and candidates.
HEADINGS = (b"qid", b"query_id", b"query-id", b"topic_id")
#: Lines that a file's format is told from.
SNIFFED = 100
INTEGER = re.compile(rb"\s*[+-]?[0-9]+\s*")


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

    A line is TREC's (``qid Q0 docid rank score tag``, separated by white space), MS MARCO's (``qid``, ``docid`` and
    ``rank``, separated by tabs) or ColBERT's (the same with a score), as the first lines show. White space is
    ASCII's, as for trec_eval: what Unicode has besides may be part of a docid. Hits keep the order of their
    lines; equal scores are no trouble. Bad are: a line that does not parse; a score above the one before
    or a rank not above it, within a query; a docid that a query has already; a second tag, which is a
    second run; and a query whose lines are not together.

    Parameters
    ----------
    path : path
        A file, plain or compressed.
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
        A bad line; the message names the file, the line and the remedy. A compressed file that is damaged.
    """
    done: set[str] = set()
    qid: str | None = None
    hits: list[RunHit] = []
    docids: set[str] = set()
    tag = None
    rest = lines_of(path)
    first = list(islice(rest, SNIFFED))
    parse = _format([line for _, line in first])
    for number, line in chain(first, rest):
        try:
            line_qid, hit, line_tag = parse(line)
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


def qids(path: str | Path) -> set[str]:
    """Find the queries of a run by the first column alone, bad lines included: for a bar's total."""
    return {line.split(None, 1)[0].decode(errors="replace") for _, line in lines_of(path)}


def lines(qid: str, hits: Iterable[RunHit], tag: str) -> Iterator[str]:
    """Write a query's hits as lines of a TREC run, as Pyserini's own writer does; see `check_name`."""
    for rank, hit in enumerate(hits, 1):
        yield f"{qid} Q0 {hit.docid} {rank} {hit.score:.6f} {tag}\n"


def check_name(name: str, what: str, remedy: str) -> None:
    """Check that a TREC run can hold a qid, a docid or a tag.

    Raises
    ------
    ValueError
        It is empty, has white space of ASCII's, which separates the columns, or cannot be written in UTF-8.
    """
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {name!r:.60} cannot be written in UTF-8: {remedy}.") from None
    if data.split() != [data]:
        state = "has white space in it" if name else "is empty"
        raise ValueError(f"{what} {name!r:.60} {state}, and no TREC run can hold that: {remedy}.")


class BadLine(Exception):
    """What is wrong with a line, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy

    def error(self, path: str | Path, number: int | None) -> ValueError:
        place = f"{path}, line {number}" if number else str(path)
        what = " ".join(self.what.split())  # it may quote anything
        return ValueError(f"{place}: {what:.200}: {self.remedy}, or pass skip_bad=True.")


def column(data: bytes, what: str) -> str:
    """Read a column that has to stand in a TREC run: not empty, and without white space."""
    text = text_of(data)
    if data.split() != [data]:
        raise BadLine(f"has the {what} {text!r:.50}, and there is no white space in a TREC run's", "correct the line")
    return text


def text_of(data: bytes) -> str:
    """Decode a part of a line."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadLine("is no UTF-8", "correct the line") from None


def four(lines: Iterable[bytes]) -> str | None:
    """Say what lines of four columns, with tabs, hold: a ``run`` with ranks and scores, judgements (``qrels``), or
    ``texts``, of a query and a passage; None where they hold none of them, or most have not four columns.

    Lines that hold nothing but numbers are no texts, whatever a heading above them says.
    """
    every = [line.split(b"\t") for line in lines]
    rows = [row for row in every if len(row) == 4]
    if 2 * len(rows) <= len(every):
        return None
    if len(rows) > 1 and not any(map(_is_number, rows[0][2:])):
        del rows[0]  # it may be a heading, and if not, the others tell as well
    if all(row[1] in (b"0", b"Q0") and _is_number(row[3]) for row in rows):
        return "qrels"
    if not all(_is_number(cell) or not cell.strip() for row in rows for cell in row[2:]):
        return "texts"
    return "run" if all(INTEGER.fullmatch(row[2]) and row[3].strip() for row in rows) else None


def _format(lines: list[bytes]) -> Callable[[bytes], tuple[str, RunHit, str]]:
    """Tell a run's format from its first lines."""
    kind = four(lines)  # first, since a text may have any number of words
    if kind:
        return _colbert if kind == "run" else _no_format
    for line in lines:
        if line.count(b"\t") == 2:
            return _msmarco
        if len(line.split()) == 6:
            return _trec
    return _no_format


def _no_format(line: bytes) -> tuple[str, RunHit, str]:
    text_of(line)
    raise BadLine("is neither TREC's (6 columns) nor MS MARCO's (3, with tabs; a fourth has scores)", "name a run file")


def _trec(line: bytes) -> tuple[str, RunHit, str]:
    columns = line.split()
    if len(columns) != 6:
        raise BadLine(f"has {len(columns)} columns, not 6", "correct the line")
    qid, _, docid, _, score, tag = columns
    text_of(line)  # all of it is text
    return text_of(qid), RunHit(text_of(docid), _number(score, "score")), text_of(tag)


def _msmarco(line: bytes) -> tuple[str, RunHit, str]:
    qid, docid, rank = _columns(line, 3)
    return column(qid, "qid"), RunHit(column(docid, "docid"), -_number(rank, "rank")), ""


def _colbert(line: bytes) -> tuple[str, RunHit, str]:
    qid, docid, _, score = _columns(line, 4)
    return column(qid, "qid"), RunHit(column(docid, "docid"), _number(score, "score")), ""


def _columns(line: bytes, count: int) -> list[bytes]:
    columns = line.split(b"\t")
    if len(columns) != count or not all(columns):
        raise BadLine(f"has {len(columns)} columns, not {count}", "correct the line")
    return columns


def _number(data: bytes, what: str) -> float:
    number = float(data) if _is_number(data) else math.nan
    if not math.isfinite(number):
        raise BadLine(f"has the {what} {text_of(data)!r:.50}, which is no number", "correct the line")
    return number


def _is_number(data: bytes) -> bool:
    """Is it a number, or what is written for one that is none, such as nan?"""
    try:
        float(data)
    except ValueError:
        return False
    return b"_" not in data  # Python would take "12_5" for 125
