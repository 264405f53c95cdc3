"""Options of commands: NAME=VALUE options of a backend, and errors that name options instead of arguments."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from . import FAILURES

#: Arguments of the Python API that are options of the same name.
ARGUMENTS = (
    *("run", "topics", "texts", "depth", "output", "tag", "qrels", "measures", "level", "only_judged"),
    *("per_query", "plot", "cache", "skip_bad", "overwrite", "ray"),
)
HELP = "An option of the backend, such as api=tei or threads=4. May be repeated."
MEASURE_HELP = "A measure of ir-measures, such as 'RR(rel=2)@10'. May be repeated. Default: six common ones."
Measures = Annotated[list[str] | None, typer.Option("--measure", metavar="MEASURE", help=MEASURE_HELP)]
SWEEP_HELP = "With --sweep: a measure of ir-measures. May be repeated. Default: nDCG@10."
SweepMeasures = Annotated[list[str] | None, typer.Option("--measure", metavar="MEASURE", help=SWEEP_HELP)]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help=HELP)]
#: The options of a command that loads a reranker.
Model = Annotated[str, typer.Option(help="A hub name, a folder, 'bundled', or a combination in YAML.")]
Backend = Annotated[str, typer.Option(help="The scoring library; 'auto' measures which is fastest.")]
Device = Annotated[str | None, typer.Option(help="'cuda', 'mps', 'cpu', or several: 'cuda:0,cuda:1'.")]
Dtype = Annotated[str | None, typer.Option(help="'float32', 'bfloat16', 'float16', 'int8', 'auto'.")]
MaxLength = Annotated[int | None, typer.Option(min=5, help="Tokens beyond which a pair is cut.")]
Cache = Annotated[Path | None, typer.Option(help="A folder of scores, which runs may share.")]


def options_of(assignments: Sequence[str] | None, flags: dict[str, Any], flag: str = "--option") -> dict[str, Any]:
    """Join the options of ``--option NAME=VALUE`` with those that have a flag of their own.

    Parameters
    ----------
    assignments : sequence of str, optional
        NAME=VALUE each. The values are YAML: a number, true, null, a list in brackets; anything else is a string.
    flags : dict
        The options with a flag of their own. Flags that were not given are None, and are left out.
    flag : str
        The command's name of ``--option``, for the errors.

    Raises
    ------
    ValueError
        An assignment is no NAME=VALUE, or an option comes twice.
    """
    from ..combining.maker import read_value

    options = {name: value for name, value in flags.items() if value is not None}
    for text in assignments or ():
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ValueError(f"{flag} {text}: give NAME=VALUE, such as api=tei or threads=4.")
        if name in ("backend", "name", "reranker", *ARGUMENTS):
            raise ValueError(f"{flag} {text}: the {name} has an option of its own, see --help.")
        if name in options:
            raise ValueError(f"{flag} {text}: the {name} is given twice, leave one out.")
        options[name] = read_value(value)
    return options


@contextmanager
def named_as_options(*same: str, **others: str) -> Iterator[None]:
    """Replace Python's arguments in errors by the options of a command: ``skip_bad=True`` becomes ``--skip-bad``.

    Parameters
    ----------
    *same : str
        Further arguments, beside `ARGUMENTS`, that are options of the same name.
    **others : str
        The options of arguments that have another name, by argument.
    """
    options = {name: f"--{name.replace('_', '-')}" for name in (*ARGUMENTS, *same)} | others
    # A name with a value behind it is an example in Python, and stays.
    argument = re.compile(rf"(?<![\w=.'\"/-])({'|'.join(options)})=(?:True\b|(?![\w'\"\[({{]))")
    try:
        yield
    except FAILURES as error:
        error.args = tuple(
            argument.sub(lambda found: options[found[1]], part) if isinstance(part, str) else part
            for part in error.args
        )
        if isinstance(error, ImportError):  # its text is `msg`, not its arguments
            error.msg = error.args[0]
        raise


def texts_of(index: str | None, collection: Path | None) -> str | Path | None:
    """Give the index or the collection that was named; raises FileNotFoundError if there is no such collection."""
    if collection:
        collection.stat()  # otherwise the name would be looked up among prebuilt indexes
    return index or collection
