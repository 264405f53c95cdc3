"""`pyserini-rerank serve-rest`: Pyserini's own REST server, whose searches are reranked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Backend, Cache, Device, Dtype, MaxLength, Model, Options
from .pyserini_server import Depth, check_port, loaded_reranker, replaced, run_main

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve_rest(
    context: typer.Context,
    model: Model,
    depth: Depth = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="What a search without `rerank` in its URL does.")
    ] = True,
    backend: Backend = "torch",
    device: Device = None,
    dtype: Dtype = None,
    max_length: MaxLength = None,
    option: Options = None,
    cache: Cache = None,
) -> None:
    """Run `python -m pyserini.server.rest` with its own flags, and rerank its searches.

    GET /v1/INDEX/search?query=TEXT&rerank=true&depth=100 is answered as by Pyserini, with first_rank and first_score
    beside each candidate. --host, --port, --config, --no-prebuilt-indexes and all other flags of Pyserini's are passed
    on.
    """
    check_port(context.args, "0.0.0.0", 8081)
    flags = {"device": device, "dtype": dtype, "max_length": max_length}
    with loaded_reranker(model, backend, option, cache, **flags) as reranker:
        from pyserini.server.rest import app as server

        from ..serving.rest_search import rerank_searches

        create_app = server.create_app

        def create_reranking_app(*args: Any, **kwargs: Any) -> "FastAPI":
            app: FastAPI = create_app(*args, **kwargs)
            rerank_searches(app, reranker, depth=depth, rerank=rerank)
            return app

        with replaced(server, "create_app", create_reranking_app):
            run_main(server.main, "serve-rest", context.args)
