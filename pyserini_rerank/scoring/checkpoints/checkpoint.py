"""A checkpoint's files: where they are, whether they are complete, and their fingerprint."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path

from . import bundled
from .catalogue import Row, catalogue, row_of
from .hub import check_revision, fetch
from .modules import MODULES, POOLING, PROMPTS, WITH_WEIGHTS, Module, modules_of

FILES = ("*.json", "*.txt", "*.model", "*.jinja")
SAFETENSORS, BIN = "*.safetensors", "*.bin"
ALL_FILES = (*FILES, SAFETENSORS, BIN)
CONFIG, ADAPTER = "config.json", "adapter_config.json"
#: Any one of these makes a tokenizer, but vocab.json only with merges.txt beside it.
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model",
    "tokenizer.model",
)  # fmt: skip
#: The remedy for an adapter: how it and its model become a checkpoint.
MERGE = (
    "merge the two with peft, and save that: `AutoPeftModelForSequenceClassification.from_pretrained(...)"
    ".merge_and_unload()`"
)
#: Files that change the scores, in a repository that has them.
SETTINGS = (CONFIG, "tokenizer_config.json", MODULES, PROMPTS, "sentence_bert_config.json", ADAPTER)


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a checkpoint's files, and the row of the catalogue that says how to read them."""

    name: str
    folder: Path
    row: Row
    revision: str | None = None
    """The revision of the hub's repository that was asked for."""

    @property
    def modules(self) -> list[Module] | None:
        """Its modules, as sentence-transformers has saved them; None if it has none, or the catalogue's row counts."""
        return None if self.row.family else modules_of(self.folder)

    @property
    def is_modular(self) -> bool:
        """Whether modules follow its transformer: the transformer has no head then, and they are the head."""
        return len(self.modules or ()) > 1


def resolve(name: str | os.PathLike[str], known_as: str | None = None, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint's files and its row of the catalogue; fetch files that are not there from the hub.

    Parameters
    ----------
    name : str or path
        A hub name, a folder, or ``"bundled"``.
    known_as : str, optional
        The row that a folder holds, if its path does not end like the hub name.
    revision : str, optional
        A branch, a tag or a commit of the hub's repository.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or it is no checkpoint.
    ConnectionError
        The hub cannot be reached, and its cache does not have the checkpoint.
    ValueError
        `known_as` names no row; there is a `revision` for something that is not on the hub.
    """
    text = os.fspath(name)
    if known_as is not None and row_of(known_as) is None:
        raise ValueError(f"known_as={known_as!r} is not in the catalogue: `pyserini-rerank models` lists it.")
    check_revision(revision, text, is_local=text == bundled.NAME)
    if text == bundled.NAME:
        return Checkpoint(text, bundled.folder(), catalogue()[bundled.CHECKPOINT])
    folder = Path(text).expanduser()
    is_path = isinstance(name, os.PathLike) or folder.exists() or text.startswith((".", "~", os.sep))
    if is_path and not (folder / CONFIG).is_file():
        state = "a file" if folder.exists() else "not there"
        if folder.is_dir():
            state = f"no checkpoint (it has no {CONFIG})"
        if (folder / ADAPTER).is_file():
            state = f"an adapter without its model ({ADAPTER} alone; {MERGE})"
        raise FileNotFoundError(f"the folder {text} is {state}: name a folder with a checkpoint, or a hub name.")
    check_revision(revision, text, is_local=is_path)
    if not is_path:
        folder = _fetch_checkpoint(text, revision)
    names = [known_as] if known_as else [text, *_names(folder)]
    return Checkpoint(text, folder, next(filter(None, map(row_of, names)), Row(text)), revision)


def _names(folder: Path) -> Iterator[str]:
    """Give the hub names that a folder may have: the end of its path and, of a link, of each path that it leads to."""
    paths = [Path(os.path.abspath(folder))]
    while paths[-1].is_symlink():
        paths.append(Path(os.path.abspath(paths[-1].parent / paths[-1].readlink())))
    for path in (*paths, folder.resolve()):
        yield "/".join(path.parts[-2:])
        # The hub's own cache has models--organisation--name/snapshots/<commit>.
        home = path.parent.parent.name
        if path.parent.name == "snapshots" and home.startswith("models--"):
            yield home.removeprefix("models--").replace("--", "/")


def weights_of(folder: Path) -> list[Path]:
    """List the files of a checkpoint's weights, as transformers chooses them; a listed file may be missing.

    Raises
    ------
    ValueError
        The index of the files cannot be read.
    """
    for single in (folder / "model.safetensors", folder / "pytorch_model.bin"):
        if single.is_file():
            return [single]
        index = single.with_name(f"{single.name}.index.json")
        if index.is_file():
            try:
                return sorted({folder / name for name in json.loads(index.read_bytes())["weight_map"].values()})
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"{index} cannot be read: {type(error).__name__}: {error}") from None
    return []


def lacks_tokenizer(folder: Path) -> str:
    """Name the first file that a folder's tokenizer lacks; empty if it is complete."""
    there = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if there == ["vocab.json"] and not (folder / "merges.txt").is_file():
        return "merges.txt"
    return "" if there else "tokenizer.json"


def lacks_weights(folder: Path) -> str:
    """Name the first file that a folder's weights lack; empty if they are complete."""
    files = weights_of(folder)
    return next((file.name for file in files if not file.is_file()), "") if files else "model.safetensors"


def _lacks_module(folder: Path) -> str:
    """Name the first file that the modules after the transformer lack; empty if they are complete."""
    for module in (modules_of(folder) or ())[1:]:
        if module.kind in (POOLING, *WITH_WEIGHTS) and not (folder / module.path / CONFIG).is_file():
            return f"{module.path}/{CONFIG}"
        if module.kind in WITH_WEIGHTS and (lacking := lacks_weights(folder / module.path)):
            return f"{module.path}/{lacking}"
    return ""


def fingerprint_of(checkpoint: Checkpoint, facts: str) -> str:
    """Hash a checkpoint's files, its row's fields that say how to read them, and `facts` that change its scores."""
    # The row is in the hash because known_as= makes the same folder give other scores.
    row, folder = checkpoint.row, checkpoint.folder
    folders = {folder, *(folder / module.path for module in checkpoint.modules or ())}
    files = (path for place in folders for pattern in ALL_FILES for path in place.glob(pattern))
    told = f" {checkpoint.revision}" if checkpoint.revision else ""
    return fingerprint(f"{facts} {row.type} {row.body} {row.lower_case} {row.tokenizer}{told}", folder, files)


def fingerprint(facts: str, folder: Path, files: Iterable[Path]) -> str:
    """Hash files by path and content, and `facts` that change the scores as well."""
    digest = blake2b(facts.encode(), digest_size=16)
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(file_digest(file, blake2b).digest())
    return digest.hexdigest()


def _fetch_checkpoint(name: str, revision: str | None) -> Path:
    row = row_of(name)

    def lacks(folder: Path) -> str:
        if not (folder / CONFIG).is_file():
            return CONFIG
        return (
            lacks_weights(folder)
            or ("" if row and row.family else _lacks_module(folder))
            or ("" if row and row.tokenizer else lacks_tokenizer(folder))
        )

    # Old checkpoints have no safetensors. Of the others the same weights in a .bin are not fetched.
    return fetch(name, lacks, (*FILES, SAFETENSORS), (*FILES, BIN), settings=SETTINGS, revision=revision)
