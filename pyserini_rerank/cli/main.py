"""The command line: its commands, and the output of a failure."""

import io
import logging
import sys
import warnings
from typing import Annotated

import typer

from .. import __version__
from . import (
    FAILURES,
    bench,
    cache,
    demo,
    doctor,
    models,
    reproduce,
    rerank,
    sample,
    search,
    serve,
    serve_mcp,
    serve_rest,
    train,
    train_data,
    verify,
)

INTERRUPTED = 130
#: The commands that can be interrupted and resumed.
RESUMED = {"rerank", "search", "reproduce", "train-data", "train"}
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
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Rerank the results of Pyserini with a cross-encoder."""


app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(bench.bench)
app.command()(models.models)
app.add_typer(cache.app, name="cache")
app.command()(rerank.rerank)
app.command()(reproduce.reproduce)
app.command()(sample.sample)
app.command()(serve.serve)
app.command()(train_data.train_data)
app.command()(train.train)
app.command()(verify.verify)
# Options that these do not know are passed on to Pyserini.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command(context_settings=PASS_ON)(search.search)
app.command(context_settings=PASS_ON)(serve_rest.serve_rest)
app.command(context_settings=PASS_ON)(serve_mcp.serve_mcp)


def main() -> None:
    """Run the command line. A failure prints one line to stderr and exits with 1; Ctrl-C exits with 130."""
    # A terminal that lacks a character shows a question mark for it, so that no result is lost by an error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    warnings.formatwarning = _one_line
    if sys.stderr.isatty():
        _log_slow_steps()
    try:
        app()
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:  # the exit code that Typer gives to Ctrl-C
            goes_on = "; the same command goes on from what was committed" if set(sys.argv[1:2]) <= RESUMED else ""
            print(f"pyserini-rerank: interrupted{goes_on}.", file=sys.stderr)
        raise
    except FAILURES as error:
        # Errors of the operating system have a file and a reason; errors of this package are sentences.
        system = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
        # A file name may hold line breaks or bytes that are no text, and a message of a library may have many lines.
        message = " ".join(line.strip() for line in str(system or error).splitlines() if line.strip())
        print(f"pyserini-rerank: {message}".encode(errors="backslashreplace").decode(), file=sys.stderr)
        sys.exit(1)


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Format a warning of this package without its file and line, and any other warning as Python does."""
    is_own = category.__module__.startswith(f"{__package__.partition('.')[0]}.")
    return f"pyserini-rerank: {message}\n" if is_own else FORMAT(message, category, filename, lineno, line)


class _Lines(logging.Handler):
    """A handler that writes the package's log to stderr, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        from ..progress import say

        say(f"pyserini-rerank: {record.getMessage()}")


def _log_slow_steps() -> None:
    """Log what a command waits for to the terminal: imports and checkpoints."""
    log = logging.getLogger(__package__.partition(".")[0])
    log.setLevel(logging.INFO)
    log.addHandler(_Lines())
