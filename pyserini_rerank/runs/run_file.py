"""Run files in the formats of TREC, MS MARCO and ColBERT, read a query at a time."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from ..files.reading import lines_of

#: The names of the first column in a heading of topics or candidates.
HEADINGS = (b"qid", b"query_id", b"query-id", b"topic_id")
#: The number of lines from which the format of a file is told.
SNIFFED = 100
INTEGER = re.compile(rb"\s*[+-]?[0-9]+\s*")


@dataclass(frozen=True)
class RunHit:
    """A line of a run."""

    docid: str
    score: float
    """NaN if the file has no order."""
    text: str | None = None
    """The document's text, if the line has it (see `official_candidates`)."""


@dataclass
class Skipped:
    """Counts of the lines, queries and documents that were left out, by reason."""

    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, count: int = 1) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + count


def read(
    path: str | Path, skipped: Skipped | None = None, *, can_skip: bool = False
) -> Iterator[tuple[str, list[RunHit]]]:
    """Read a run a query at a time, in the order of the file.

    The first lines show the format: TREC's (``qid Q0 docid rank score tag``, separated by white space), MS MARCO's
    (``qid``, ``docid`` and ``rank``, separated by tabs) or ColBERT's (MS MARCO's with a score). White space is that of
    ASCII, as for trec_eval; other white space of Unicode may be part of a docid. Hits keep the order of their lines,
    and scores may be equal. A line is bad if

    - it does not parse,
    - its score is above, or its rank below, that of the line before it in the same query,
    - its query has its docid already,
    - it has another tag than the first line, since a second tag means a second run, or
    - other queries stand between it and an earlier line of its query.

    Parameters
    ----------
    path : path
        A file, plain or compressed.
    skipped : Skipped, optional
        Counts the bad lines, which are left out. Without it they are errors.
    can_skip : bool
        The caller takes `skip_bad`, which an error then names as another remedy.

    Yields
    ------
    qid : str
    hits : list of RunHit
        An MS MARCO run has no scores: the score of a hit is its negated rank.

    Raises
    ------
    ValueError
        A line is bad; the message names the file, the line and the remedy. Or a compressed file is damaged.
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
                raise bad.error(path, number, can_skip=can_skip) from None
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
    """Find the qids of a run for the total of a progress bar. Only the first column is read, also that of bad lines."""
    return {line.split(None, 1)[0].decode(errors="replace") for _, line in lines_of(path)}


def lines(qid: str, hits: Iterable[RunHit], tag: str) -> Iterator[str]:
    """Write a query's hits as lines of a TREC run, as Pyserini's own writer does. See also `check_name`."""
    for rank, hit in enumerate(hits, 1):
        yield f"{qid} Q0 {hit.docid} {rank} {hit.score:.6f} {tag}\n"


def check_name(name: str, what: str, remedy: str) -> None:
    """Check that a TREC run can hold a qid, a docid or a tag.

    Raises
    ------
    ValueError
        The name is empty, has white space of ASCII in it (which separates columns), or cannot be written in UTF-8.
    """
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {name!r:.60} cannot be written in UTF-8: {remedy}.") from None
    if data.split() != [data]:
        state = "has white space in it" if name else "is empty"
        raise ValueError(f"{what} {name!r:.60} {state}, and no TREC run can hold that: {remedy}.")


class BadLine(Exception):
    """A fault of a line and its remedy; the file and the line are added by `error`."""

    def __init__(self, fault: str, remedy: str) -> None:
        self.fault = fault
        self.remedy = remedy

    def error(self, path: str | Path, number: int | None, *, can_skip: bool = True) -> ValueError:
        place = f"{path}, line {number}" if number else str(path)
        fault = " ".join(self.fault.split())  # it may quote line breaks
        return ValueError(f"{place}: {fault:.200}: {self.remedy}{', or pass skip_bad=True' * can_skip}.")


def column(data: bytes, what: str) -> str:
    """Decode a column that a TREC run has to hold: it must not be empty or have white space in it."""
    text = text_of(data)
    if data.split() != [data]:
        raise BadLine(f"has the {what} {text!r:.50}, and a TREC run's has no white space in it", "correct the line")
    return text


def text_of(data: bytes) -> str:
    """Decode a part of a line; raises BadLine."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadLine("is no UTF-8", "correct the line") from None


def content_of_four_columns(lines: Iterable[bytes]) -> str | None:
    """Tell the content of lines with four columns, separated by tabs: ``run``, ``qrels``, ``texts`` or None.

    A run has ranks and scores, and texts are a query and a passage. Lines that hold nothing but numbers are no texts,
    whatever a heading above them says. None means that the lines are none of the three, or that most of them do not
    have four columns.
    """
    all_rows = [line.split(b"\t") for line in lines]
    rows = [row for row in all_rows if len(row) == 4]
    if 2 * len(rows) <= len(all_rows):
        return None
    if len(rows) > 1 and not any(map(_is_number, rows[0][2:])):
        del rows[0]  # it may be a heading; if it is not, the other lines suffice
    if all(row[1] in (b"0", b"Q0") and _is_number(row[3]) for row in rows):
        return "qrels"
    if not all(_is_number(cell) or not cell.strip() for row in rows for cell in row[2:]):
        return "texts"
    return "run" if all(INTEGER.fullmatch(row[2]) and row[3].strip() for row in rows) else None


def _format(lines: list[bytes]) -> Callable[[bytes], tuple[str, RunHit, str]]:
    """Tell a run's format from its first lines."""
    kind = content_of_four_columns(lines)  # first, since a text may have any number of words
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
    text_of(line)  # the columns that are not used have to be UTF-8, too
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
    """Tell whether a column is a number, nan and inf included."""
    try:
        float(data)
    except ValueError:
        return False
    return b"_" not in data  # Python reads "12_5" as 125
