"""What a command says of a reranker: the options of its backend, and where its scores are kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..reranker import Reranker

HELP = "An option of the backend, such as api=tei or threads=4. May be repeated."
Options = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help=HELP)]


def options_of(given: Sequence[str] | None, flags: dict[str, Any], flag: str = "--option") -> dict[str, Any]:
    """Put the options of ``--option NAME=VALUE`` beside those that have flags of their own.

    Parameters
    ----------
    given : sequence of str, optional
        The values are YAML's: numbers, true, null, a list in brackets; anything else is a text.
    flags : dict
        None for a flag that was not given, which is left out.
    flag : str
        What the command calls ``--option``, for the errors.

    Raises
    ------
    ValueError
        One is no NAME=VALUE, or comes twice.
    """
    from ..combining.maker import read_value

    options = {name: value for name, value in flags.items() if value is not None}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ValueError(f"{flag} {text}: give NAME=VALUE, such as api=tei or threads=4.")
        if name in ("backend", "cache", "name"):
            raise ValueError(f"{flag} {text}: the {name} has a place of its own, see --help.")
        if name in options:
            raise ValueError(f"{flag} {text}: the {name} is given twice, leave one out.")
        options[name] = read_value(value)
    return options


def load_with_scores(model: str, *, cache: Path, is_asked_for: bool, **options: Any) -> "Reranker":
    """Load a reranker that keeps its scores in a folder.

    Where it cannot, since nothing stands for the model behind a server's URL, it does without, unless that folder is
    asked for. Raises as `pyserini_rerank.load`.
    """
    from .. import load
    from ..scoring.backends.cached_backend import NoFingerprintError

    try:
        return load(model, cache=cache, **options)
    except NoFingerprintError:
        if is_asked_for:
            raise
        return load(model, **options)
