"""`pyserini-rerank serve-mcp`: Pyserini's own MCP server, with a tool that reranks."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import typer

from .options import Backend, Cache, Device, Dtype, MaxLength, Model, Options
from .pyserini_server import Depth, check_port, loaded_reranker, replaced, run_main


def serve_mcp(
    context: typer.Context,
    model: Model,
    depth: Depth = None,
    backend: Backend = "torch",
    device: Device = None,
    dtype: Dtype = None,
    max_length: MaxLength = None,
    option: Options = None,
    cache: Cache = None,
) -> None:
    """Run `python -m pyserini.server.mcp` with its own flags, and add the tool retrieve_and_rerank.

    --transport, --port and --config are passed on to Pyserini.
    """
    if _transport(context.args) == "http":
        check_port(context.args, "127.0.0.1", 8000)
    flags = {"device": device, "dtype": dtype, "max_length": max_length}
    with ExitStack() as while_serving:
        with _stdout_to_stderr():
            reranker = while_serving.enter_context(loaded_reranker(model, backend, option, cache, **flags))
            from pyserini.server.mcp import extension, mcpyserini

            from ..serving.locked_backend import in_turn
            from ..serving.mcp_tools import register_rerank_tool

        register_tools = mcpyserini.register_tools

        def register_all_tools(mcp: Any, search_backend: Any) -> None:
            register_tools(mcp, search_backend)
            register_rerank_tool(mcp, search_backend, reranker, depth=depth)

        while_serving.enter_context(replaced(mcpyserini, "register_tools", register_all_tools))
        # These two of Pyserini's functions ask Java without its backend.
        for name in ("get_qrels", "get_qrels_file"):
            while_serving.enter_context(replaced(extension, name, in_turn(getattr(extension, name))))
        run_main(mcpyserini.main, "serve-mcp", context.args)


def _transport(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--transport")
    return parser.parse_known_args(arguments)[0].transport


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what is printed while a model is loaded and Java starts to stderr: on stdout only the protocol is spoken.

    While it serves, MCP's own library does the same.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
