"""The command line: its commands, and what a failure looks like."""

import sys

import typer

from . import demo, models, rerank, search

app = typer.Typer(
    name="pyserini-rerank",
    help="Rerank what Pyserini finds with a cross-encoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(models.models)
app.command()(rerank.rerank)
# What is not ours goes on to Pyserini.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(search.search)


def main() -> None:
    """Run the command line; a failure is one line on stderr and exit code 1, and Ctrl-C is 130."""
    try:
        app()
    except KeyboardInterrupt:
        print("pyserini-rerank: interrupted; the same command goes on from what was committed.", file=sys.stderr)
        sys.exit(130)
    except (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        print(f"pyserini-rerank: {error}", file=sys.stderr)
        sys.exit(1)
