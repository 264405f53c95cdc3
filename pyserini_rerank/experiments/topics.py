"""Topics and qrels: from a file, or by the names that Pyserini and ir_datasets know."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..files import open_text

Qrels = dict[str, dict[str, int]]

#: Pyserini's reader of TREC's own topics.
TREC_READER = "io.anserini.search.topicreader.TrecTopicReader"
ELSEWHERE = (
    "is neither a file, nor a name that Pyserini knows, nor one of ir_datasets "
    "(which needs `pip install ir_datasets`): correct the name."
)


def load_topics(source: str) -> dict[str, str]:
    """Load topics: qid -> query.

    Parameters
    ----------
    source : str
        A file, plain or gzipped: TSV (qid, query), JSON lines (``qid``/``_id``/``id`` and
        ``query``/``text``/``title``) or TREC's own (``<top>``, of which the title counts); or a name of
        Pyserini's, such as ``dl19-passage``, or of ir_datasets', such as ``beir/scifact/test``.

    Raises
    ------
    FileNotFoundError
        There is no such file, and nobody knows topics of that name.
    ConnectionError
        They are known, but cannot be fetched.
    ValueError
        A line that does not parse, or a qid that comes twice.
    """
    if Path(source).is_file():
        return _topics_of_file(Path(source))
    from pyserini.search import get_topics

    try:
        return _titles(get_topics(source))
    except ValueError:  # Pyserini does not know it
        return _of_dataset(
            source, "topics", lambda data: {query.query_id: query.default_text() for query in data.queries_iter()}
        )
    except Exception as error:  # Java's own, in 2.3
        raise _unreachable(source, "topics", error) from None


def load_qrels(source: str) -> Qrels:
    """Load judgements: qid -> docid -> grade.

    Parameters
    ----------
    source : str
        A file in trec_eval's format, or a name of Pyserini's or of ir_datasets'.

    Raises
    ------
    As `load_topics`.
    """
    if Path(source).is_file():
        return _qrels_of_file(Path(source))
    from pyserini.search import get_qrels_file

    try:
        path = Path(get_qrels_file(source))
    except FileNotFoundError:  # Pyserini does not know it
        return _of_dataset(source, "qrels", lambda data: _collected(data.qrels_iter()))
    except Exception as error:
        raise _unreachable(source, "qrels", error) from None
    return _qrels_of_file(path)


def _topics_of_file(path: Path) -> dict[str, str]:
    with open_text(path) as file:
        lines = [line.rstrip("\n") for line in file]
    if next((line for line in lines if line.strip()), "").lstrip().startswith("<"):
        return _titles(_trec(path))
    topics: dict[str, str] = {}
    parse = _json if any(suffix in (".jsonl", ".json") for suffix in path.suffixes) else _tsv
    for number, line in enumerate(lines, 1):
        try:
            qid, query = parse(line)
        except (ValueError, KeyError, StopIteration):
            raise ValueError(
                f"{path}, line {number}: is no topic (qid, tab, query; or JSON): correct the line."
            ) from None
        if qid in topics:
            raise ValueError(f"{path}, line {number}: the qid {qid!r} comes twice: keep one of the two.")
        topics[qid] = query
    return topics


def _trec(path: Path) -> dict[str | int, dict[str, str]]:
    from pyserini import search

    if hasattr(search, "load_topics_from_file"):  # 2.4
        return search.load_topics_from_file(str(path), TREC_READER)  # type: ignore[no-any-return]
    return search.get_topics_with_reader(TREC_READER, str(path))  # type: ignore[no-any-return]


def _qrels_of_file(path: Path) -> Qrels:
    import ir_measures

    try:
        qrels = _collected(ir_measures.read_trec_qrels(str(path)))  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ValueError(f"the qrels {path} do not parse ({error}): a line is qid, 0, docid, grade.") from None
    if not qrels:
        raise ValueError(f"the qrels {path} are empty: name another file.")
    return qrels


def _collected(judgements: Iterator[Any]) -> Qrels:
    qrels: Qrels = {}
    for judgement in judgements:
        qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    return qrels


def _titles(topics: dict[str | int, dict[str, str]]) -> dict[str, str]:
    return {str(qid): topic["title"] for qid, topic in topics.items()}


def _of_dataset[T](source: str, what: str, read: Callable[[Any], T]) -> T:
    """Read something of the dataset that ir_datasets has by a name."""
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


def _tsv(line: str) -> tuple[str, str]:
    qid, tab, query = line.partition("\t")
    if not tab:
        raise ValueError
    return qid.strip(), query.strip()


def _json(line: str) -> tuple[str, str]:
    values = json.loads(line)
    qid = next(values[name] for name in ("qid", "_id", "id") if name in values)
    return str(qid), next(values[name] for name in ("query", "text", "title") if name in values)
