"""Running Pyserini's own servers with a reranker: what `serve-rest` and `serve-mcp` share."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import named_as_options, options_of

if TYPE_CHECKING:
    from ..reranker import Reranker

Depth = Annotated[
    int | None, typer.Option(min=1, help="The number of candidates to rerank. Default: 100, or a cascade's own.")
]


@contextmanager
def loaded_reranker(
    model: str, backend: str, option: Sequence[str] | None, cache: Path | None, **flags: Any
) -> Iterator["Reranker"]:
    """Load the reranker of a server, whose searches at the same time share batches; raises as `load`."""
    from ..loading import load
    from ..serving.shared_batches import with_shared_batches

    with named_as_options(reranker="--model"):
        loaded = load(model, backend=backend, cache=cache, **options_of(option, flags))
    with loaded, with_shared_batches(loaded) as shared:
        yield shared


def run_main(main: Callable[[], Any], command: str, arguments: Sequence[str]) -> None:
    """Run the main function of one of Pyserini's servers with its own flags."""
    with replaced(sys, "argv", [f"pyserini-rerank {command}", *arguments]):
        main()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def check_port(arguments: Sequence[str], host: str, port: int) -> None:
    """Check that the port is free before a model is loaded.

    Parameters
    ----------
    arguments : sequence of str
        The flags of Pyserini's server, which may name ``--host`` and ``--port``.
    host, port
        The defaults of the server.

    Raises
    ------
    OSError
        The port is in use, or the host is none of this machine's.
    """
    from ..serving.listening import listen

    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--host", default=host)
    parser.add_argument("--port", type=int, default=port)
    flags, _ = parser.parse_known_args(arguments)
    listen(flags.host, flags.port).close()
