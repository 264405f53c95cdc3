"""The command line: its commands, and what a failure looks like."""

import io
import logging
import sys
import warnings
from typing import Annotated

import typer

from .. import __version__
from . import FAILURES, bench, cache, demo, index_tokens, models, reproduce, rerank, search

INTERRUPTED = 130
FORMAT = warnings.formatwarning

app = typer.Typer(
    name="pyserini-rerank",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"pyserini-rerank {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and leave.")
    ] = False,
) -> None:
    """Rerank what Pyserini finds with a cross-encoder."""


app.command()(demo.demo)
app.command()(bench.bench)
app.command(name="index-tokens")(index_tokens.index_tokens)
app.command()(models.models)
app.add_typer(cache.app, name="cache")
app.command()(rerank.rerank)
app.command()(reproduce.reproduce)
# What is not ours goes on to Pyserini.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(search.search)


def main() -> None:
    """Run the command line; a failure is one line on stderr and exit code 1, and Ctrl-C is 130."""
    # A terminal that lacks a character shows a question mark for it: what was computed is not lost over that.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    warnings.formatwarning = _one_line
    if sys.stderr.isatty():
        _say_what_takes_long()
    try:
        app()
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:  # which is what Typer makes of Ctrl-C
            print("pyserini-rerank: interrupted; the same command goes on from what was committed.", file=sys.stderr)
        raise
    except FAILURES as error:
        # The system's own errors name a file and say what is wrong with it; ours are sentences.
        system = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
        # A name may hold the end of a line, or bytes that are no text, and another library's message several lines.
        said = " ".join(line.strip() for line in str(system or error).splitlines() if line.strip())
        print(f"pyserini-rerank: {said}".encode(errors="backslashreplace").decode(), file=sys.stderr)
        sys.exit(1)


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Show a warning of ours without its place, which is no line of the user's; others as Python does."""
    ours = category.__module__.startswith(f"{__package__.partition('.')[0]}.")
    return f"pyserini-rerank: {message}\n" if ours else FORMAT(message, category, filename, lineno, line)


class _Lines(logging.Handler):
    """Writes the package's log to stderr, above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        from ..progress import say

        say(f"pyserini-rerank: {record.getMessage()}")


def _say_what_takes_long() -> None:
    """Tell a person at a terminal what a command waits for: imports, checkpoints."""
    log = logging.getLogger(__package__.partition(".")[0])
    log.setLevel(logging.INFO)
    log.addHandler(_Lines())
