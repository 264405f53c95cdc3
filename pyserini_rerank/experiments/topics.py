"""Topics and qrels, from a file or by the names that Pyserini and ir_datasets know."""

import json
from pathlib import Path


def load_topics(source: str) -> dict[str, str]:
    """Load topics: qid -> query.

    Parameters
    ----------
    source : str
        A file: TSV (qid, query), JSON lines (``qid``/``_id``/``id`` and ``query``/``text``/``title``), or
        the name of topics that Pyserini has, such as ``dl19-passage``.

    Raises
    ------
    FileNotFoundError
        There is no such file, and Pyserini knows no topics of that name.
    ValueError
        A line that does not parse, or a qid that comes twice.
    """
    path = Path(source)
    if path.is_file():
        return _read(path)
    from pyserini.search import get_topics

    try:
        found = get_topics(source)
    except ValueError:
        found = {}
    if not found:
        raise FileNotFoundError(f"the topics {source!r} are neither a file nor a name that Pyserini knows.")
    return {str(qid): topic["title"] for qid, topic in found.items()}


def _read(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            qid, query = _json(line) if path.suffix in (".jsonl", ".json") else _tsv(line)
        except (ValueError, KeyError, StopIteration):
            raise ValueError(
                f"{path}, line {number}: is no topic (qid, tab, query; or JSON): correct the line."
            ) from None
        if qid in topics:
            raise ValueError(f"{path}, line {number}: the qid {qid!r} comes twice: keep one of the two.")
        topics[qid] = query
    return topics


def _tsv(line: str) -> tuple[str, str]:
    qid, tab, query = line.partition("\t")
    if not tab:
        raise ValueError
    return qid.strip(), query.strip()


def _json(line: str) -> tuple[str, str]:
    values = json.loads(line)
    qid = next(values[name] for name in ("qid", "_id", "id") if name in values)
    return str(qid), next(values[name] for name in ("query", "text", "title") if name in values)
