"""Reading the files of a checkpoint: damage, and what is not supported, are errors of one line."""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def reading(what: str, path: Path) -> Iterator[None]:
    """Turn the exceptions of a library that reads files into a ValueError that names `what` is read.

    A library may raise any exception: KeyError for an unknown name, ZeroDivisionError for a size, the plain Exception
    of tokenizers.
    """
    try:
        yield
    except ImportError:
        raise
    except pickle.UnpicklingError:  # torch's own message asks the reader to trust the file
        raise ValueError(f"{what} cannot be read: a .bin is damaged, or holds code, which is not run.") from None
    except Exception as error:
        if isinstance(error, OSError) and str(path) in str(error):  # it names the file that is lacking
            raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{what} cannot be read: {type(error).__name__}: {reason:.200}") from None


def read_json(path: Path, kind: type[list[Any] | dict[str, Any]]) -> Any:
    """Read a JSON file as a list or a dict, which is empty if the file is not there."""
    with reading(str(path), path):
        facts = json.loads(path.read_bytes()) if path.is_file() else kind()
        if not isinstance(facts, kind):
            raise ValueError(f"it holds a {type(facts).__name__} and no {kind.__name__}")
    return facts


def not_read(name: str, what: str) -> ValueError:
    """Make the error of a checkpoint that has something which only sentence-transformers reads."""
    return ValueError(f"{name} has {what}, which this backend does not read: use backend='sentence-transformers'.")
