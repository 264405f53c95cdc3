"""Searches of Pyserini's REST server, reranked: `GET /v1/{index}/search?query=…&rerank=true&depth=100`."""

import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse

from ..call import Call, during
from ..reranker import Reranker
from ..scoring.backend import BackendFault
from ..searcher import DEPTH
from .clients import CLIENT_GONE, ClientGone, while_client_waits
from .locked_backend import lock_backend
from .pyserini_search import reranked_search

if TYPE_CHECKING:
    from pyserini.server.backend import SharedSearchBackend

RERANK = "If true, rerank the candidates; each then has its rank and score in the first stage beside the new ones."
DEPTH_HELP = "The number of candidates to rerank, at least the number of hits. Only with rerank=true."

log = logging.getLogger(__name__)


def search_router(reranker: Reranker, *, depth: int | None = None, rerank: bool = True) -> APIRouter:
    """Make a router with Pyserini's two routes, search and doc, of which the first can rerank.

    It takes the place of Pyserini's own router, in an app whose ``state.search_backend`` is Pyserini's backend when the
    app starts. The answers and errors are those of Pyserini's routes, and each reranked candidate has its
    ``first_rank`` and ``first_score``.

    Parameters
    ----------
    reranker : Reranker
    depth : int, optional
        The number of candidates that are reranked unless a request says otherwise. By default the reranker's own depth,
        else 100.
    rerank : bool
        Whether a search is reranked that does not say so.

    Examples
    --------
    >>> app.state.search_backend = SharedSearchBackend()
    >>> app.include_router(search_router(reranker), prefix="/v1")
    """
    from pyserini.server.rest.routes import v1

    router = APIRouter(tags=["v1"], lifespan=_locked)

    async def search(request: Request, **given: Any) -> Any:
        wanted, bad = v1._parse_bool(given.pop("rerank"), rerank, "rerank")
        asked, bad_depth = v1._parse_optional_positive_int(given.pop("depth"), "depth")
        if bad or bad_depth:
            return bad or bad_depth
        if not wanted:
            return await v1.search_v1(request, **given)
        backend = _Reranked(request.app.state.search_backend, reranker, asked, depth)
        reranked = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(search_backend=backend)))
        call = Call()
        try:
            with during(call):
                answer = await while_client_waits(request, call, v1.search_v1(reranked, **given))
        except ClientGone:
            return Response(status_code=CLIENT_GONE)
        except FloatingPointError as error:
            log.error(str(error))
            return v1._error(500, str(error))
        except (BackendFault, OSError) as error:  # of a server or a file behind the model
            log.error(str(error))
            return v1._error(502, str(error))
        if isinstance(answer, dict):
            for candidate, found in zip(answer["candidates"], backend.candidates, strict=True):
                candidate |= {name: found[name] for name in ("first_rank", "first_score")}
        return answer

    search.__signature__ = _with_two_parameters(inspect.signature(v1.search_v1, eval_str=True))  # type: ignore[attr-defined]
    router.get("/{index:path}/search")(search)
    router.get("/{index:path}/doc/{docid}")(v1.get_document_v1)
    return router


def rerank_searches(app: FastAPI, reranker: Reranker, *, depth: int | None = None, rerank: bool = True) -> None:
    """Have the app that Pyserini's `create_app` made rerank its searches, and say so in its OpenAPI.

    Parameters
    ----------
    reranker, depth, rerank
        See `search_router`.
    """
    schema = _described(app.openapi(), depth or reranker.depth or DEPTH, rerank)
    routes, before = app.router.routes, len(app.router.routes)
    app.include_router(search_router(reranker, depth=depth, rerank=rerank), prefix="/v1")

    @app.get("/openapi.yaml", include_in_schema=False)
    async def openapi_yaml() -> PlainTextResponse:
        return PlainTextResponse(
            yaml.safe_dump(schema, sort_keys=False, allow_unicode=True), media_type="application/yaml; charset=utf-8"
        )

    app.openapi = lambda: schema  # type: ignore[method-assign]
    # The first route that fits answers.
    routes[:] = routes[before:] + routes[:before]


@asynccontextmanager
async def _locked(app: FastAPI) -> AsyncIterator[None]:
    """Put the app's backend behind Java's lock before the first request; its documents are read in Java as well."""
    lock_backend(app.state.search_backend)
    yield


class _Reranked:
    """Pyserini's backend for one request: its search reranks, and keeps the candidates with their first ranks."""

    def __init__(
        self, backend: "SharedSearchBackend", reranker: Reranker, depth: int | None, default_depth: int | None
    ) -> None:
        self.backend = backend
        self.reranker = reranker
        self.depths = {"depth": depth, "default_depth": default_depth}
        self.candidates: list[dict[str, Any]] = []

    def decode_path_segment(self, value: str) -> Any:
        return self.backend.decode_path_segment(value)

    def search(
        self, query: str, index: str, hits: int, qid: str, parse: bool, allow_local_index: bool, **options: Any
    ) -> dict[str, Any]:
        options |= {"qid": qid, "parse": parse, "allow_local_index": allow_local_index, **self.depths}
        payload = reranked_search(self.backend, self.reranker, query, index, hits, **options)
        self.candidates = payload["candidates"]
        return payload


def _with_two_parameters(signature: inspect.Signature) -> inspect.Signature:
    """Add `rerank` and `depth` to the parameters of Pyserini's route."""
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=Query(None, description=text), annotation=str | None
        )
        for name, text in (("rerank", RERANK), ("depth", DEPTH_HELP))
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *added])


def _described(schema: dict[str, Any], depth: int, rerank: bool) -> dict[str, Any]:
    """Add the two parameters, and the two fields of a candidate, to Pyserini's description of its API."""
    schema = deepcopy(schema)
    kinds = {
        "rerank": (RERANK, {"type": "boolean", "default": rerank}),
        "depth": (DEPTH_HELP, {"type": "integer", "minimum": 1, "default": depth}),
    }
    schema["paths"]["/{index}/search"]["get"]["parameters"] += [
        {"name": name, "in": "query", "required": False, "schema": kind, "description": text}
        for name, (text, kind) in kinds.items()
    ]
    schema["components"]["schemas"]["Candidate"]["properties"] |= {
        "first_rank": {"type": "integer", "minimum": 1, "description": "The rank in the first stage, if reranked."},
        "first_score": {"type": "number", "description": "The score in the first stage, if reranked."},
    }
    return schema
