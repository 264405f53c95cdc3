"""Writing a token index. It takes hours for a large collection, so finished chunks survive if the process is killed."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from ..files.growing import followed, growing_folder, read_state
from ..files.writing import append, replace
from ..progress import bar
from ..scoring.encoding.vocabulary import vocabulary
from ..scoring.encoding.text_tokenizer import TextTokenizer
from .token_index import (
    DOCUMENTS,
    FILES,
    FORMAT,
    HASHES,
    META,
    STARTS,
    checksum_of,
    hashes_of,
    is_source,
    key_of,
    record,
    source_of,
)

#: A row a document, in the documents' order: the hash of its docid, and the byte at which its record starts.
ROWS = "rows.bin"
STATE = "state.json"
ROW = np.dtype([("hash", "<u8"), ("start", "<u8")])

Chunk = list[tuple[str, str | None]]


class Documents(Protocol):
    """All documents of an index or a collection, in an order that stays the same."""

    location: Path
    """The index or collection."""
    file: Path
    """The file that changes whenever the documents do."""
    end: int
    """The position behind the last document."""
    unit: str
    """The unit of positions, for the progress bar."""

    def read(self, start: int) -> Iterator[tuple[int, Chunk]]:
        """Read (docid, text) in small chunks, each with the position behind it. The text is None if there is none, and
        "" if a document is empty."""


def write(output: Path, documents: Documents, tokenizer: Tokenizer, name: str) -> dict[str, Any]:
    """Tokenize all documents into a new token index.

    The index grows in ``OUTPUT.partial``. If a build is killed, the next one goes on behind the last chunk, and makes
    the same bytes.

    Parameters
    ----------
    output : path
    documents : Documents
    tokenizer
        Its truncation and padding are turned off.
    name : str
        The checkpoint of the tokenizer.

    Returns
    -------
    dict
        The contents of ``meta.json``; `without_text` counts the documents that are left out.

    Raises
    ------
    FileExistsError
        The output exists.
    ValueError
        The build was begun with other documents or another vocabulary; the documents changed meanwhile; none of them
        has a text.
    As `pyserini_rerank.files.growing.growing_folder`.
    """
    with growing_folder(output, partial(_check_is_new, output), (META, STATE, ROWS, *FILES)) as folder:
        try:
            return _write(followed(output), folder, documents, tokenizer, name)
        except Exception:
            if not any((folder / file).exists() for file in (STATE, META)):
                shutil.rmtree(folder)  # there is nothing to go on from
            raise


def _check_is_new(output: Path) -> None:
    if output.exists():
        raise FileExistsError(f"{output} exists: delete it, or name another output.")


def _write(output: Path, folder: Path, documents: Documents, tokenizer: Tokenizer, name: str) -> dict[str, Any]:
    """Write the index; go on if a build was begun before."""
    source = source_of(documents.location, documents.file)
    begun = {"format": FORMAT, "source": source, "vocabulary": vocabulary(tokenizer)}
    if not (folder / META).exists():  # else a build was killed before its last step, which renames the folder
        state = _append(folder, begun, documents, tokenizer, name)
        if not is_source(source):
            raise ValueError(f"{documents.location} changed while it was read: delete {folder} and begin anew.")
        if not state["documents"]:
            (folder / STATE).unlink(missing_ok=True)
            raise ValueError(
                f"none of the {state['without_text']:,} documents of {documents.location} has a text: name an index "
                "or a collection with texts."
            )
        _sort(folder)
        state["bytes"] = {file: (folder / file).stat().st_size for file in FILES}
        del state["position"]
        replace(folder / META, json.dumps(state | {"checksum": checksum_of(state)}, indent=2) + "\n")
    meta = _checked(folder / META, begun)
    for path in folder.iterdir():
        if path.name not in (*FILES, META):  # files that only a build needs, and files that a killed build has left
            path.unlink()
    folder.rename(output)
    return meta


def _append(
    folder: Path, begun: dict[str, Any], documents: Documents, tokenizer: Tokenizer, name: str
) -> dict[str, Any]:
    """Write the records of the documents that are still missing, and commit them chunk by chunk."""
    # The narrowest type that holds all ids of the vocabulary.
    dtype = np.min_scalar_type(max(tokenizer.get_vocab().values())).newbyteorder("<")
    fresh = {"tokenizer": name, "dtype": dtype.str, "position": 0, "documents": 0, "without_text": 0}
    state = begun | fresh | {"bytes": {DOCUMENTS: 0, ROWS: 0}}
    if (folder / STATE).exists():
        state = _checked(folder / STATE, begun)
    with (
        (folder / DOCUMENTS).open("ab") as records,
        (folder / ROWS).open("ab") as rows,
        bar(
            documents.end,
            f"tokenizing {documents.location.name}",
            documents.unit,
            initial=state["position"],
            unit_scale=True,
            leave=True,
        ) as progress,
    ):
        tokenize = TextTokenizer(tokenizer)
        # Data behind the last commit is cut off.
        records.truncate(state["bytes"][DOCUMENTS])
        rows.truncate(state["bytes"][ROWS])
        for position, chunk in documents.read(state["position"]):
            keys = [key_of(docid) for docid, text in chunk if text is not None]
            texts = [text for _, text in chunk if text is not None]
            ids = [
                ids_of_text.astype(dtype).tobytes()
                for ids_of_text in np.split(*(lambda t: (t.ids, t.offsets[1:-1]))(tokenize(texts)))
            ]
            new_records = [record(*document) for document in zip(keys, texts, ids, strict=True)]
            table = np.empty(len(keys), dtype=ROW)
            table["hash"] = hashes_of(keys)
            ends = np.cumsum([state["bytes"][DOCUMENTS], *map(len, new_records)])
            table["start"] = ends[:-1]
            append(records, b"".join(new_records))
            append(rows, table.tobytes())
            state["position"] = position
            state["documents"] += len(keys)
            state["without_text"] += len(chunk) - len(keys)
            state["bytes"] = {DOCUMENTS: int(ends[-1]), ROWS: rows.tell()}
            replace(folder / STATE, json.dumps(state, indent=2) + "\n")
            progress.update(position - progress.n)
    return state


def _sort(folder: Path) -> None:
    """Sort the rows by hash, into the tables of the index. If a docid comes twice, its first document comes first."""
    rows = np.fromfile(folder / ROWS, dtype=ROW)
    order = np.argsort(rows["hash"], kind="stable")
    for name, column in ((HASHES, "hash"), (STARTS, "start")):
        with (folder / name).open("wb") as file:
            append(file, rows[column][order].tobytes())


def _checked(path: Path, begun: dict[str, Any]) -> dict[str, Any]:
    """Read the state of an earlier build, and check that it has the same documents and vocabulary."""
    state = read_state(path)
    # A source whose file was touched or moved is still the same: only its content counts.
    same = {
        name: state[name]["digest"] == value["digest"] if name == "source" else state[name] == value
        for name, value in begun.items()
    }
    different = [name for name in same if not same[name]]
    if different:
        raise ValueError(
            f"{path.parent} was begun with another {' and '.join(different)}: delete it to begin anew, or go on with "
            "the same one."
        )
    return state
