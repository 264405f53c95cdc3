"""States of inputs: hashes of their content. An output is resumed, or reported on, only if its inputs are the same.

A file that was touched, moved, or written anew with the same content is the same input. A file with other content is
another input, whatever its name, size and time.
"""

import json
import os
import re
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

#: The name of a file that every commit of Lucene writes anew.
COMMIT = re.compile("segments_[0-9a-z]+")
#: Files of a checkpoint that its scores may depend on, in its folder and in its modules' folders.
CHECKPOINT = (*ALL_FILES, "*.onnx", "*/*.json", "*/*.onnx", "*/*.safetensors", "*/*.bin")


def of_value(value: Any) -> str:
    """Give the state of topics, judgements and the like: a hash of their values as they were read."""
    return blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def of_texts(texts: Any) -> str | None:
    """Give the state of the texts: of an index, a collection or a mapping; None without texts."""
    if texts is None:
        return None
    if not isinstance(texts, str | os.PathLike):
        state = blake2b(digest_size=16)
        for docid, text in mapped(texts, "texts").items():
            state.update(json.dumps([str(docid), str(text)]).encode())
        return state.hexdigest()
    if is_input(path := Path(texts)):
        refuse_packed(path, AS_IT_LIES)
        return digest(path)
    return of_index(texts)


def of_index(index: str | os.PathLike[str]) -> str:
    """Give the state of a Lucene index: one at a path, or a prebuilt one, which is fetched if it is not there.

    Raises
    ------
    FileNotFoundError
        There is no such index.
    As `pyserini_rerank.texts.stored.open_index`.
    """
    if os.path.isdir(index):
        return digest(_newest_commit(Path(index)))
    from ..texts.stored import open_index

    searcher = open_index(index)
    folder = Path(searcher.index_dir)
    searcher.close()
    return digest(_newest_commit(folder))


def of_model(name: Any) -> str:
    """Give the state of a checkpoint or a combination: from the files in its folders, else from the names.

    The state of a loaded reranker comes from its name and its fingerprint.

    Raises
    ------
    ValueError
        A combination holds itself.
    """
    try:
        return of_value(_with_states(name))
    except RecursionError:
        raise ValueError(f"the combination {name!s:.80} holds itself.") from None


def of_words(words: Sequence[str]) -> dict[str, str]:
    """Give the states of the files and folders that the words of a command name, except that of ``--output``."""
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    possible_paths = {word for before, word in zip(["", *split], split, strict=False) if before != "--output"}
    states = {word: _of_path(Path(word)) for word in sorted(possible_paths)}
    return {word: state for word, state in states.items() if state is not None}


def _of_path(path: Path) -> str | None:
    """Give the state of a file or folder: a Lucene index's from its commit, another folder's from its files."""
    if path.is_file():
        return digest(path)
    if not path.is_dir():
        return None
    if any(path.glob("segments_*")):
        return digest(_newest_commit(path))
    return of_value([[file.name, digest(file)] for file in sorted(path.iterdir()) if file.is_file()])


def _with_states(part: Any) -> Any:
    """Replace the name of each file and folder by its state."""
    if isinstance(part, Mapping):
        return {str(name): _with_states(value) for name, value in part.items()}
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_with_states(value) for value in part]
    if isinstance(part, Reranker):
        return {"loaded": [part.name, part.fingerprint]}
    if isinstance(part, os.PathLike):
        part = os.fspath(part)
    if not isinstance(part, str):
        return repr(part)
    try:
        combination = read_combination(part)
    except ValueError:  # another text that begins like a combination, or one that load() will refuse
        combination = part
    if combination is not part:
        return _with_states(combination)
    path = Path(part).expanduser()
    if path.is_dir():
        files = sorted({file for pattern in CHECKPOINT for file in path.glob(pattern) if file.is_file()})
        return [[str(file.relative_to(path)), digest(file)] for file in files]
    return digest(path) if path.is_file() else part


def _newest_commit(folder: Path) -> Path:
    """Find the file whose content identifies the state of an index.

    Every commit of Lucene's writes a new such file, with random ids, and never changes the other files.

    Raises
    ------
    FileNotFoundError
        The folder is no Lucene index.
    """
    commits = [path for path in folder.glob("segments_*") if COMMIT.fullmatch(path.name)]
    if not commits:
        raise FileNotFoundError(f"the folder {folder} is no Lucene index (it has no segments file): name another one.")
    return max(commits, key=lambda path: int(path.name.partition("_")[2], 36))
