"""The options of a command: those of a backend by their names, and Python's arguments as options in errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from . import FAILURES

#: The arguments of Python's calls that are options of the same name.
ARGUMENTS = (
    *("run", "topics", "texts", "tokens", "depth", "output", "tag", "qrels", "measures", "level", "only_judged"),
    *("per_query", "plot", "cache", "skip_bad", "overwrite", "ray"),
)
HELP = "An option of the backend, such as api=tei or threads=4. May be repeated."
MEASURE_HELP = "A measure of ir-measures, such as 'RR(rel=2)@10'. May be repeated. Default: six usual ones."
Measures = Annotated[list[str] | None, typer.Option("--measure", metavar="MEASURE", help=MEASURE_HELP)]
SWEEP_HELP = "With --sweep: a measure of ir-measures. May be repeated. Default: nDCG@10."
SweepMeasures = Annotated[list[str] | None, typer.Option("--measure", metavar="MEASURE", help=SWEEP_HELP)]
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
        if name in ("backend", "name", "reranker", *ARGUMENTS):
            raise ValueError(f"{flag} {text}: the {name} has a place of its own, see --help.")
        if name in options:
            raise ValueError(f"{flag} {text}: the {name} is given twice, leave one out.")
        options[name] = read_value(value)
    return options


@contextmanager
def named_as_options(**others: str) -> Iterator[None]:
    """Have errors name the options of a command in place of Python's arguments: --skip-bad for ``skip_bad=True``.

    Parameters
    ----------
    **others : str
        The options of arguments that have another name.
    """
    options = {name: f"--{name.replace('_', '-')}" for name in ARGUMENTS} | others
    # A name with a value behind it is an example of Python's.
    argument = re.compile(rf"(?<![\w=.'\"/-])({'|'.join(options)})=(?:True\b|(?![\w'\"\[({{]))")
    try:
        yield
    except FAILURES as error:
        error.args = tuple(
            argument.sub(lambda found: options[found[1]], part) if isinstance(part, str) else part
            for part in error.args
        )
        if isinstance(error, ImportError):  # which shows its first argument as it was
            error.msg = error.args[0]
        raise


def texts_of(index: str | None, collection: Path | None) -> str | Path | None:
    """Give the texts that a command's options name; raises FileNotFoundError if there is no such collection."""
    if collection:
        collection.stat()  # another name is looked for among the prebuilt indexes
    return index or collection
