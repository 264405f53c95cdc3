"""Fetching files from the Hugging Face hub, or finding them in its cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def check_revision(revision: Any, name: str, *, is_local: bool) -> None:
    """Check that a revision is a text, and that its checkpoint is one of the hub's; raises ValueError."""
    if revision is None:
        return
    if not isinstance(revision, str) or not revision:
        raise ValueError(f"revision={revision!r}: give a branch, a tag or a commit of the hub, as a text.")
    if is_local:
        raise ValueError(f"revision={revision!r} is for names on the hub, and {name} is on this machine: leave it out.")


def commit_of(name: str, file: str, revision: str | None) -> str:
    """Give the commit of a repository that has a file in the hub's cache; empty if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, file, revision=revision)
    return Path(path).parent.name if isinstance(path, str) else ""


def fetch(
    name: str,
    lacks: Callable[[Path], str],
    *choices: Sequence[str],
    settings: Sequence[str] = (),
    revision: str | None = None,
) -> Path:
    """Fetch files from the hub; the network is not used if the cache has everything.

    Parameters
    ----------
    name : str
        The repository on the hub.
    lacks : callable
        It is given a folder and names a file that the folder lacks; empty if the folder is complete.
    *choices : sequence of str
        Patterns of files. One choice after another is fetched, until the folder is complete.
    settings : sequence of str
        Files that have to be in the folder as well, if the cache knows that the repository has them.
    revision : str, optional
        A branch, a tag or a commit; by default the branch ``main``.

    Raises
    ------
    ConnectionError
        The cache is incomplete, and the hub cannot be reached or does not have the lacking file.
    FileNotFoundError, ValueError
        The hub refuses the files; the name cannot be the name of a repository.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    what = name if revision is None else f"{name} at {revision}"
    state = f"is not in the cache {HF_HUB_CACHE}, and the hub cannot be reached"
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(settings), local_files_only=True))
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
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
        except LocalEntryNotFoundError:
            break
        except HfHubHTTPError as error:
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(f"the hub does not give {what}: {reason} Check the name, or log in.") from None
        except Exception as error:  # of the libraries that it uses, such as an error of a proxy
            reason = " ".join(str(error).split())
            raise ConnectionError(f"the hub does not give {what}: {type(error).__name__}: {reason:.200}") from None
        if not (lacking := lacks(folder)):
            return folder
        state = _partly(lacking)
    raise ConnectionError(
        f"{what} {state}. Without a network, give the path of a folder that holds the checkpoint and its tokenizer, "
        "or use 'bundled' (pip install 'pyserini-rerank[bundled-model]')."
    )


def _partly(lacking: str) -> str:
    return f"is in the cache without {lacking}, and the hub cannot be reached or does not have it"
