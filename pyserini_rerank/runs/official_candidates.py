"""MS MARCO's official candidates: files with a query and a passage in every line, in no order.

Each line of ``msmarco-passagetest2019-top1000.tsv.gz`` or ``top1000.dev.tar.gz`` holds qid, docid, query and passage,
separated by tabs. The lines of a query are not together, and there is no rank and no score. The published figures were
measured on these texts.
"""

import math
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import file_digest
from itertools import islice
from pathlib import Path

import numpy as np

from ..files.reading import is_packed, open_lines
from ..progress import bar
from .run_file import HEADINGS, SNIFFED, BadLine, RunHit, Skipped, column, content_of_four_columns, text_of

COLUMNS = 4


def fetch(url: str, md5: str, path: Path) -> None:
    """Fetch an official file if it does not exist.

    Raises
    ------
    ConnectionError
        The file cannot be fetched.
    ValueError
        The existing or the fetched file has another MD5 sum.
    """
    if path.exists():
        with path.open("rb") as file:
            actual_md5 = file_digest(file, "md5").hexdigest()
        if actual_md5 != md5:
            raise ValueError(f"{path} is not the official file (its MD5 sum is {actual_md5}, not {md5}): move it away.")
        return
    import pooch

    try:
        pooch.retrieve(
            url, f"md5:{md5}", path.name, path.parent, progressbar=bar(1, f"fetching {path.name}", "B", unit_scale=True)
        )
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"{url} cannot be fetched ({reason}): save the file as {path}.") from None


def is_official(path: str | Path) -> bool:
    """Tell from a file's first lines whether it holds candidates with their texts."""
    with open_lines(path, archives=True) as lines:
        return content_of_four_columns(islice(filter(bytes.strip, lines), SNIFFED)) == "texts"


class OfficialCandidates:
    """The candidates of an official file, a query at a time; their texts are not held in memory.

    A first pass finds each query's lines and keeps 12 bytes a line. A compressed file is unpacked beside the output
    while it is read, since its lines have to be read out of order (3 GB for MS MARCO dev).

    Parameters
    ----------
    path : path
        A plain file, a compressed file, or a tar archive with one file.
    folder : path
        The folder in which a compressed file is unpacked.
    skipped : Skipped, optional
        Counts the lines that are left out: those that do not parse or repeat a docid of a query. Without it they are
        errors.

    Attributes
    ----------
    queries : dict
        qid -> query, in the order of their first lines.

    Raises
    ------
    ValueError
        A line is bad; the message names the file, the line and the remedy. Or the file is damaged.
    """

    def __init__(self, path: Path, folder: Path, skipped: Skipped | None = None) -> None:
        self.path = path
        self.skipped = skipped
        self.queries: dict[str, str] = {}
        self._plain = path
        numbers: dict[str, int] = {}
        self._query_of_line, self._offsets = array("i"), array("q")
        with ExitStack() as stack:
            lines = stack.enter_context(open_lines(path, archives=True))
            offset, spool = 0, None
            if is_packed(path):
                self._plain = folder / "candidates.tsv"
                spool = stack.enter_context(self._plain.open("wb"))
            else:
                offset = lines.tell()
            progress = stack.enter_context(bar(None, f"reading {path.name}", " lines"))
            for number, line in enumerate(lines, 1):
                if spool:
                    spool.write(line)
                try:
                    if not line.strip():
                        continue
                    qid, _, query, _ = _parse(line)
                    if self.queries.setdefault(qid, query) != query:
                        raise BadLine(f"has another query {qid:.50} than a line before", "keep one of the two")
                    self._query_of_line.append(numbers.setdefault(qid, len(numbers)))
                    self._offsets.append(offset)
                except BadLine as bad:
                    self._leave_out(bad, number)
                finally:
                    offset += len(line)
                    progress.update()
        if not self.queries:
            raise ValueError(f"{path} has no line of candidates.")

    def __iter__(self) -> Iterator[tuple[str, list[RunHit]]]:
        """Give each query's candidates, sorted by docid whatever the order of their lines, and without a score."""
        queries = np.array(self._query_of_line)
        offsets = np.array(self._offsets)[np.argsort(queries, kind="stable")]
        with self._plain.open("rb") as file:
            of_queries = np.split(offsets, np.cumsum(np.bincount(queries))[:-1])
            for qid, of_query in zip(self.queries, of_queries, strict=True):
                hits: dict[str, RunHit] = {}
                for offset in of_query.tolist():
                    file.seek(offset)
                    _, docid, _, passage = _parse(file.readline())
                    if docid in hits:
                        self._leave_out(
                            BadLine(f"repeats document {docid:.50} of query {qid:.50}", "keep one of the two")
                        )
                    else:
                        hits[docid] = RunHit(docid, math.nan, passage)
                yield qid, [hits[docid] for docid in sorted(hits)]

    def _leave_out(self, bad: BadLine, number: int | None = None) -> None:
        if self.skipped is None:
            raise bad.error(self.path, number)
        self.skipped.add(bad.remedy)


def _parse(line: bytes) -> tuple[str, str, str, str]:
    columns = line.rstrip(b"\r\n").split(b"\t")
    # A passage may be empty; it gets no score then.
    if len(columns) != COLUMNS or not all(column.strip() for column in columns[:3]):
        raise BadLine(f"has {len(columns)} columns, not qid, docid, query and passage", "correct the line")
    qid, docid, query, passage = columns
    if qid.lower() in HEADINGS:
        raise BadLine("is a heading", "delete the line")
    return column(qid, "qid"), column(docid, "docid"), text_of(query), text_of(passage)
