"""`pyserini-rerank serve`: a reranker for everybody on the network."""

import logging
import sys
from typing import Annotated

import typer

from .options import Backend, Cache, Device, Dtype, MaxLength, Model, Options, options_of


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 for a free one.")] = 8080,
    name: Annotated[
        list[str] | None, typer.Option(help="A name of the model in requests. May be repeated. Default: --model.")
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with the key of requests.")] = None,
    max_documents: Annotated[int, typer.Option(min=1, help="Documents of a request.")] = 1000,
    max_characters: Annotated[int, typer.Option(min=1, help="Characters of a request.")] = 4_000_000,
    max_queue_tokens: Annotated[int, typer.Option(min=1, help="Tokens of all requests that wait.")] = 1_000_000,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Log queries and documents as well.")] = False,
    cache: Cache = None,
    backend: Backend = "torch",
    device: Device = None,
    dtype: Dtype = None,
    max_length: MaxLength = None,
    option: Options = None,
) -> None:  # fmt: skip
    """Serve a reranker in the rerank APIs of TEI, Infinity, vLLM, Jina and Cohere.

    Requests that come at the same time share batches. SIGTERM and Ctrl-C end it once the requests that are under way
    are answered. Each request is a line of JSON on standard output.
    """
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise ImportError("serve needs prometheus-client: pip install 'pyserini-rerank[serve]'.") from None
    from ..serving.async_reranker import AsyncReranker
    from ..serving.limits import Limits
    from ..serving.listening import listen, run
    from ..serving.rerank_server import rerank_app

    options = options_of(option, {"device": device, "dtype": dtype, "max_length": max_length})
    listening = listen(host, port)
    with listening:
        reranker = AsyncReranker(model, backend=backend, cache=cache, **options)
        try:
            app = rerank_app(
                reranker,
                names=name or (),
                limits=Limits(max_documents, max_characters, max_queue_tokens),
                key_env=key_env,
                log_texts=log_texts,
            )
            _log_requests()
            run(app, listening, f"serving {reranker.reranker.name}")
        finally:
            reranker.close()


def _log_requests() -> None:
    """Print the log of requests, each a line of JSON."""
    log = logging.getLogger("pyserini_rerank.requests")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.StreamHandler(sys.stdout))
