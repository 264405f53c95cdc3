"""Topics and qrels, read from a mapping, a file, or by a name that Pyserini or ir_datasets knows."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

from ..arguments import mapped, whole
from ..files.reading import is_input, lines_of, named
from ..retrieval.queries import text_or_blank
from .run_file import HEADINGS

Qrels = dict[str, dict[str, int]]

#: Pyserini's reader of topics in TREC's own format.
TREC_READER = "io.anserini.search.topicreader.TrecTopicReader"
GRADE = re.compile("[+-]?[0-9]{1,9}")
ELSEWHERE = (
    "is neither a file, nor a name that Pyserini knows, nor one of ir_datasets "
    "(which needs `pip install ir_datasets`): correct the name."
)


def load_topics(source: Any) -> dict[str, str]:
    """Load topics: qid -> query.

    Parameters
    ----------
    source : str, path or mapping
        One of

        - a mapping from qid to query,
        - a file (plain or compressed) or a pipe, whose first line shows its format: TSV (qid, query), JSON lines
          (``qid``/``_id``/``id`` and ``query``/``text``/``title``) or TREC's own (``<top>``; the title is the query),
        - a name that Pyserini knows, such as ``dl19-passage``,
        - a name that ir_datasets knows, such as ``beir/scifact/test``.

    Raises
    ------
    FileNotFoundError
        There is no such file, and neither Pyserini nor ir_datasets knows the name.
    ConnectionError
        The topics are known, but cannot be fetched.
    ValueError
        A line does not parse, a qid comes twice, or there are no topics.
    TypeError
        The mapping has a value that is no query.
    """
    if not isinstance(source, str | os.PathLike):
        topics = {qid: _query(qid, query) for qid, query in keyed(source, "topics").items()}
        if not topics:
            raise ValueError("the topics are an empty mapping: give the topics of the run.")
        return topics
    source = os.fspath(source)
    if is_input(source):
        topics = _topics_of_file(Path(source))
        if not topics:
            raise ValueError(f"{source} has no topics: name another file.")
        return topics
    from pyserini.search import get_topics

    try:
        return _titles(get_topics(source))
    except ValueError:  # Pyserini does not know it
        return _of_dataset(
            source, "topics", lambda data: {query.query_id: query.default_text() for query in data.queries_iter()}
        )
    except Exception as error:  # Pyserini 2.3 raises Java's own exceptions
        raise _unreachable(source, "topics", error) from None


def load_qrels(source: Any) -> Qrels:
    """Load judgements: qid -> docid -> grade.

    Parameters
    ----------
    source : str, path or mapping
        A mapping from qid to a mapping from docid to grade; a file in trec_eval's format; or a name that Pyserini or
        ir_datasets knows.

    Raises
    ------
    As `load_topics`.
    """
    if not isinstance(source, str | os.PathLike):
        qrels = {qid: _grades(qid, of_qid) for qid, of_qid in keyed(source, "qrels").items()}
        if not qrels:
            raise ValueError("the qrels are an empty mapping: give the qrels of the run.")
        return qrels
    source = os.fspath(source)
    if is_input(source):
        return _qrels_of_file(Path(source))
    from pyserini.search import get_qrels_file

    try:
        path = Path(get_qrels_file(source))
    except FileNotFoundError:  # Pyserini does not know it
        return _of_dataset(source, "qrels", lambda data: _collected(data.qrels_iter()))
    except Exception as error:
        raise _unreachable(source, "qrels", error) from None
    return _qrels_of_file(path)


def keyed(values: Any, what: str) -> dict[str, Any]:
    """Make the keys of a caller's mapping strings. They are qids or docids, which may also be whole numbers."""
    by_text: dict[str, Any] = {}
    for key, value in mapped(values, what).items():
        if not isinstance(key, str | Integral) or isinstance(key, bool):
            raise TypeError(f"{what} has the key {key!r:.50}: give qids and docids as texts or whole numbers.")
        if str(key) in by_text:
            raise ValueError(f"{what} has {str(key)!r:.50} as a number and as a text: keep one of the two.")
        by_text[str(key)] = value
    return by_text


def _query(qid: str, query: Any) -> str:
    try:
        text_or_blank(query)
    except (TypeError, ValueError) as error:
        raise type(error)(f"topic {qid:.50}: {error}") from None
    return str(query)


def _grades(qid: str, grades: Any) -> dict[str, int]:
    by_docid = keyed(grades, f"the qrels of query {qid:.50}")
    return {docid: whole(grade, f"the grade of {docid:.50}") for docid, grade in by_docid.items()}


def _topics_of_file(path: Path) -> dict[str, str]:
    lines = list(lines_of(path))
    first = lines[0][1].lstrip() if lines else b""
    if first.startswith(b"<"):
        try:
            return _titles(_trec([line for _, line in lines]))
        except Exception as error:  # Java's own exception
            reason = " ".join(str(error).split())
            raise ValueError(f"the TREC topics {path} do not parse ({reason:.200}): correct the file.") from None
    topics: dict[str, str] = {}
    parse = _json if first.startswith(b"{") else _tsv
    for number, line in lines:
        try:
            qid, query = parse(line)
        except (ValueError, TypeError, AttributeError, RecursionError, StopIteration):
            raise ValueError(
                f"{path}, line {number}: is no topic (qid, tab, query; or JSON): correct the line."
            ) from None
        if qid in topics:
            raise ValueError(f"{path}, line {number}: the qid {qid!r} comes twice: keep one of the two.")
        topics[qid] = query
    return topics


def _trec(lines: Iterable[bytes]) -> dict[str | int, dict[str, str]]:
    """Let Anserini read topics; it needs an uncompressed file."""
    from pyserini import search

    with tempfile.NamedTemporaryFile(suffix=".trec") as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        if hasattr(search, "load_topics_from_file"):  # 2.4
            topics: dict[str | int, dict[str, str]] = search.load_topics_from_file(file.name, TREC_READER)
        else:
            topics = search.get_topics_with_reader(TREC_READER, file.name)
    return topics


def _qrels_of_file(path: Path) -> Qrels:
    qrels: Qrels = {}
    for number, line in lines_of(path):
        try:
            qid, docid, grade = _judgement(line)
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: is no judgement (qid, 0, docid, grade): correct the line."
            ) from None
        if qrels.setdefault(qid, {}).setdefault(docid, grade) != grade:
            raise ValueError(
                f"{path}, line {number}: {docid:.50} has another grade in an earlier line: keep one of the two."
            )
    if not qrels:
        raise ValueError(f"the qrels {path} are empty: name another file.")
    return qrels


def _judgement(line: bytes) -> tuple[str, str, int]:
    qid, _, docid, grade = (column.decode() for column in line.split())  # trec_eval splits at ASCII white space, too
    if not GRADE.fullmatch(grade):
        raise ValueError
    return qid, docid, int(grade)


def _collected(judgements: Iterator[Any]) -> Qrels:
    qrels: Qrels = {}
    for judgement in judgements:
        qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    return qrels


def _titles(topics: dict[str | int, dict[str, str]]) -> dict[str, str]:
    return {str(qid): topic["title"] for qid, topic in topics.items()}


def _of_dataset[T](source: str, what: str, read: Callable[[Any], T]) -> T:
    """Read topics or qrels of the dataset that ir_datasets knows by a name."""
    try:
        import ir_datasets

        dataset = ir_datasets.load(source)
    except (ImportError, KeyError):
        raise FileNotFoundError(f"{source!r}, named for the {what}, {ELSEWHERE}") from None
    try:
        return read(dataset)
    except OSError as error:
        raise _unreachable(source, what, error) from None


def _unreachable(source: str, what: str, error: Exception) -> ConnectionError:
    reason = str(error).strip().splitlines()[0]
    return ConnectionError(f"the {what} {source} cannot be fetched ({reason}): name a file, or connect to the network.")


def _tsv(line: bytes) -> tuple[str, str]:
    qid, query = line.split(b"\t")
    if not qid.strip() or qid.strip().lower() in HEADINGS:
        raise ValueError
    return qid.strip().decode(), query.decode().strip()


def _json(line: bytes) -> tuple[str, str]:
    values = json.loads(line.decode())
    query = next(values[name] for name in ("query", "text", "title") if values.get(name) is not None)
    if not isinstance(query, str):
        raise TypeError
    query.encode()  # half of a surrogate pair is no text
    return named(values, ("qid", "_id", "id")), query
