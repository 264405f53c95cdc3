"""What training data was made of: descriptions for its card, and states by which a call that goes on is the same."""

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..combining.maker import given_rerankers
from ..files.reading import digest
from ..retrieval.hits import check_hit
from ..runs.input_states import of_index, of_texts


def description(given: Any) -> str:
    """Describe a first stage or texts: a file or an index by its path, another by its class."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    if hasattr(given, "search"):
        return f"{type(given).__name__} {getattr(given, 'index_dir', '')}".strip()
    return f"a {type(given).__name__}"


def of_first_stage(given: Any) -> Any:
    """Give the state of a first stage: from a run file's content, from hits, or from a searcher's class and index."""
    if isinstance(given, Mapping):
        return _hashed((qid, [_hit(hit) for hit in hits]) for qid, hits in given.items())
    if isinstance(given, str | os.PathLike):
        return digest(os.fspath(given)) if os.path.isfile(given) else description(given)  # a pipe is read only once
    return _of_searcher(given)


def of_source(texts: Any) -> Any:
    """Give the state of texts, as `texts=` takes them."""
    if texts is None:
        return None
    if hasattr(texts, "keys") and hasattr(texts, "items"):
        return _hashed((str(docid), str(text)) for docid, text in texts.items())
    return of_texts(texts) if isinstance(texts, str | os.PathLike) else _of_searcher(texts)


def spec(teacher: Any) -> Any:
    """Give a teacher as `load` takes it; None for one that holds a reranker that is loaded."""
    if isinstance(teacher, os.PathLike):
        return os.fspath(teacher)
    return None if list(given_rerankers(teacher)) else teacher


def _of_searcher(given: Any) -> list[str]:
    folder = getattr(given, "index_dir", None)
    if isinstance(folder, str) and any(Path(folder).glob("segments_*")):
        return [description(given), of_index(folder)]
    return [description(given)]


def _hit(hit: Any) -> tuple[str, float]:
    check_hit(hit)
    return str(hit.docid), float(hit.score)


def _hashed(values: Iterable[Any]) -> str:
    """Hash values one after the other, so that they are not in memory once more."""
    state = blake2b(digest_size=16)
    for value in values:
        state.update(json.dumps(value).encode() + b"\n")
    return state.hexdigest()
