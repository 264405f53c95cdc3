"""The inputs of an output, told apart by content. An output goes on, or is reported on, with the same inputs only.

A file that was touched, moved, or written anew with the same content is the same input; one with other content is
another, whatever its name, size and time.
"""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..arguments import mapped
from ..combining.maker import read_combination
from ..files.reading import digest, is_input, refuse_packed
from ..reranker import Reranker
from ..scoring.checkpoints.checkpoint import ALL_FILES
from ..texts.collection import AS_IT_LIES
from ..texts.index_documents import newest_commit
from ..texts.token_index import META

#: Files of a checkpoint that its scores may depend on, in its folder and in those of its modules.
CHECKPOINT = (*ALL_FILES, "*.onnx", "*/*.json", "*/*.onnx", "*/*.safetensors", "*/*.bin")


def of_value(value: Any) -> str:
    """Tell topics, judgements and the like apart, by their values as they were read."""
    return blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def of_texts(texts: Any, tokens: Path | None) -> str | None:
    """Tell the states of an index, a collection, a mapping or a token index apart, whichever is given."""
    if tokens is not None:
        return digest(tokens / META) if (tokens / META).is_file() else None
    if texts is None:
        return None
    if not isinstance(texts, str | os.PathLike):
        return of_value([[str(docid), str(text)] for docid, text in mapped(texts, "texts").items()])
    if is_input(path := Path(texts)):
        refuse_packed(path, AS_IT_LIES)
        return digest(path)
    return of_index(texts)


def of_index(index: str | os.PathLike[str]) -> str:
    """Tell the states of a Lucene index apart: one at a path, or a prebuilt one, which is fetched if it is not there.

    Raises
    ------
    FileNotFoundError
        There is no such index.
    As `pyserini_rerank.texts.stored.open_index`.
    """
    if os.path.isdir(index):
        return digest(newest_commit(Path(index)))
    from ..texts.stored import open_index

    searcher = open_index(index)
    folder = Path(searcher.index_dir)
    searcher.close()
    return digest(newest_commit(folder))


def of_model(name: Any) -> str:
    """Tell checkpoints apart, and combinations of them: by the files in their folders, else by their names.

    A reranker that is loaded is told by its fingerprint, and by its name where it has none.

    Raises
    ------
    ValueError
        A combination holds itself.
    """
    try:
        return of_value(_stated(name))
    except RecursionError:
        raise ValueError(f"the combination {name!s:.80} holds itself.") from None


def of_words(words: Sequence[str]) -> dict[str, str]:
    """Tell the states of the files and folders apart that a command's words name, except that of ``--output``."""
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    named = {word for before, word in zip(["", *split], split, strict=False) if before != "--output"}
    found = {word: _of_path(Path(word)) for word in sorted(named)}
    return {word: state for word, state in found.items() if state is not None}


def _of_path(path: Path) -> str | None:
    """Tell the states of a file or folder apart: of a Lucene index by its commit, of another one by its files."""
    if path.is_file():
        return digest(path)
    if not path.is_dir():
        return None
    if any(path.glob("segments_*")):
        return digest(newest_commit(path))
    return of_value([[file.name, digest(file)] for file in sorted(path.iterdir()) if file.is_file()])


def _stated(part: Any) -> Any:
    """Put the state of each file and folder into the place of its name."""
    if isinstance(part, Mapping):
        return {str(name): _stated(value) for name, value in part.items()}
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_stated(value) for value in part]
    if isinstance(part, Reranker):
        return {"loaded": [part.name, part.fingerprint]}
    if isinstance(part, os.PathLike):
        part = os.fspath(part)
    if not isinstance(part, str):
        return repr(part)
    try:
        written = read_combination(part)
    except ValueError:  # another text that begins like one, or one that load() will refuse
        written = part
    if written is not part:
        return _stated(written)
    path = Path(part).expanduser()
    if path.is_dir():
        files = sorted({file for pattern in CHECKPOINT for file in path.glob(pattern) if file.is_file()})
        return [[str(file.relative_to(path)), digest(file)] for file in files]
    return digest(path) if path.is_file() else part
