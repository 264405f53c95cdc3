"""The rerank server: a FastAPI router that answers in the forms of TEI, Infinity, vLLM, Jina and Cohere."""

import asyncio
import hmac
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from ..combining.cascade import Cascade
from ..ranking import LARGEST, Scores
from ..reranker import Reranker
from ..scales import probabilities
from ..scoring.backend import BackendFault
from ..version import __version__
from .async_reranker import AsyncReranker
from .clients import CLIENT_GONE, ClientGone, DeadlinePassed, while_client_waits
from .forms import Answered, Form, InfinityForm, Question, Scored, ScoreForm, TeiForm, V1Form, V2Form
from .limits import Admission, Limits, Refused, check, check_count, read_body
from .request_log import Record, RequestLog

log = logging.getLogger(__name__)

#: The kind of a refusal that is the fault of the model or of the server.
BACKEND = "Backend"
#: The header in which a client gives the seconds after which it needs no answer any more.
DEADLINE = "X-Request-Timeout"
REQUEST_ID = "X-Request-Id"
LONGEST_ID = 100


def rerank_router(
    reranker: AsyncReranker,
    *,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    key_env: str | None = None,
    log_texts: bool = False,
) -> APIRouter:
    """Make the routes of a rerank server, for a FastAPI application.

    Parameters
    ----------
    reranker : AsyncReranker
        It stays open.
    names : sequence of str
        The names of the model that a request may give; by default the checkpoint's own.
    limits : Limits, optional
    key_env : str, optional
        The environment variable with the key that a request has to send, as a bearer token. By default none is needed.
    log_texts : bool
        Log the queries and documents of every request.

    Raises
    ------
    ValueError
        The environment variable is not set; the reranker needs the scores of a first stage.
    """
    return _Server(reranker, names, limits or Limits(), key_env, log_texts).router()


def rerank_app(reranker: AsyncReranker, **options: Any) -> FastAPI:
    """Make the application that ``pyserini-rerank serve`` runs: see `rerank_router`."""
    app = FastAPI(title="pyserini-rerank", version=__version__, description=f"Reranks with {reranker.reranker.name}.")
    app.include_router(rerank_router(reranker, **options))
    return app


def check_needs_no_first_stage(reranker: Reranker) -> None:
    """Score a pair, as a server does; raises ValueError if the reranker needs the scores of a first stage."""
    try:
        reranker.score("what is reranked?", ["a passage"])
    except TypeError:
        raise ValueError(
            f"{reranker.name} needs the scores of a first stage, which a request does not have: serve a checkpoint, a "
            "cascade, an ensemble or windows."
        ) from None


class _Server:
    """The routes, and all that they share."""

    def __init__(
        self, reranker: AsyncReranker, names: Sequence[str], limits: Limits, key_env: str | None, log_texts: bool
    ) -> None:
        check_needs_no_first_stage(reranker.reranker)
        self.reranker = reranker
        # The documents of a request are in no order, so that each cascade has to score all of them first.
        self.limits = replace(limits, documents=min([limits.documents, *_depths(reranker.reranker)]))
        self.names = tuple(names) or (reranker.reranker.name,)
        self.key = _key(key_env)
        self.admission = Admission(limits, reranker.reranker.max_length)
        self.log = RequestLog(self.admission, shows_texts=log_texts)

    def router(self) -> APIRouter:
        router = APIRouter(tags=["rerank"])
        # TEI and Infinity have the same path, and differ in the name of the texts.
        self._add(router, TeiForm, InfinityForm)
        for form in (V1Form, V2Form, ScoreForm):
            self._add(router, form)
        router.add_api_route("/health", self.health, methods=["GET"])
        router.add_api_route("/info", self.info, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"])
        return router

    def _add(self, router: APIRouter, *forms: type[Form]) -> None:
        async def endpoint(request: Request) -> Response:
            return await self.answer(request, forms)

        schemas = [form.model_json_schema(ref_template="#/components/schemas/{model}") for form in forms]
        body = {"required": True, "content": {"application/json": {"schema": {"anyOf": schemas}}}}
        router.add_api_route(
            forms[0].path,
            endpoint,
            methods=["POST"],
            summary=" or ".join(form.__doc__ or "" for form in forms),
            openapi_extra={"requestBody": body},
            name=forms[0].__name__,
        )

    async def health(self) -> dict[str, str]:
        """Tell that the server is up."""
        return {"status": "ok"}

    async def metrics(self) -> Response:
        """Give the metrics for Prometheus."""
        return Response(self.log.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def info(self) -> dict[str, Any]:
        """Describe the model and the limits."""
        reranker, limits = self.reranker.reranker, self.limits
        return {
            "model_id": reranker.name,
            "names": self.names,
            "fingerprint": reranker.fingerprint,
            "scale": reranker.scale,
            "max_input_length": reranker.max_length,
            "max_client_batch_size": limits.documents,
            "max_characters": limits.characters,
            "max_queue_tokens": limits.tokens,
            **reranker.description,
            "version": __version__,
        }

    async def answer(self, request: Request, forms: Sequence[type[Form]]) -> Response:
        """Answer a request that has one of some forms: the way of every request."""
        record = Record(_id(request), forms[0].path)
        form = forms[0]
        try:
            self._check_key(request)
            body = _parsed(await read_body(request, self.limits))
            form = _form_of(body, forms)
            for documents in filter(lambda value: isinstance(value, list), body.values()):
                check_count(documents, self.limits)  # before each is looked at
            record.question = question = _question(form, body)
            check(question, self.limits)
            self._check_name(question)
            deadline = _deadline(request)
            with self.admission.admitted(question):
                scored = await self._scored(request, record, deadline)
            name = question.model or self.names[0]
            answered = Answered(question, scored, name, record.id, record.call.tokens, int(record.time))
            record.status, content = 200, form.answer(answered)
            return _response(record, content)
        except Exception as error:
            refused = _refused(error)
            record.status = refused.status
            record.error = type(error).__name__ if refused.kind == BACKEND else refused.kind
            content = form.refusal(refused.status, refused.message, refused.kind)
            return _response(record, content, refused.headers)
        except asyncio.CancelledError:
            record.status, record.error = CLIENT_GONE, "ClientGone"
            raise
        finally:
            self.log.write(record)

    async def _scored(self, request: Request, record: Record, deadline: float | None) -> list[Scored]:
        """Score a question, unless its client goes or its deadline passes: then its work is dropped."""
        assert record.question is not None
        work = _work(self.reranker.reranker, record.question)
        scoring = self.reranker.run(record.call, work)
        try:
            return await while_client_waits(request, record.call, scoring, deadline)
        except DeadlinePassed:
            reason = f"the scores were not ready within the {deadline:g} seconds of {DEADLINE}."
            raise Refused(504, reason, "Timeout") from None

    def _check_key(self, request: Request) -> None:
        if self.key is None:
            return
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(sent.strip().encode(), self.key):
            raise Refused(401, "the key is missing or wrong: send 'Authorization: Bearer KEY'.", "Unauthorized")

    def _check_name(self, question: Question) -> None:
        if question.model and question.model not in self.names:
            raise Refused(
                404, f"there is no model {question.model!r:.100} here: there is {', '.join(self.names)}.", "NotFound"
            )


def _depths(reranker: Reranker) -> Iterator[int]:
    """Give the first depth of each cascade in a reranker."""
    if isinstance(reranker, Cascade):
        yield reranker.depths[0]
    for part in reranker.parts:
        yield from _depths(part)


def _key(key_env: str | None) -> bytes | None:
    if key_env is None:
        return None
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise ValueError(
            f"the environment variable {key_env} is not set: set it to the key that requests have to send."
        )
    return key.encode()


def _id(request: Request) -> str:
    """Give the client's own id of the request, or a new one."""
    sent = request.headers.get(REQUEST_ID, "")
    return sent if 0 < len(sent) <= LONGEST_ID and sent.isascii() and sent.isprintable() else uuid.uuid4().hex


def _deadline(request: Request) -> float | None:
    text = request.headers.get(DEADLINE)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LARGEST:
        raise Refused(422, f"{DEADLINE} is {text!r:.50}: give seconds, more than 0.")
    return seconds


def _parsed(body: bytes) -> dict[str, Any]:
    """Parse a body; raises Refused if it is no JSON object."""
    try:
        parsed = orjson.loads(body)
    except ValueError:
        raise Refused(422, f"the body is no JSON: it begins with {body[:50].decode(errors='replace')!r}.") from None
    if not isinstance(parsed, dict):
        raise Refused(422, f"the body is a JSON {type(parsed).__name__}: send an object.")
    return parsed


def _form_of(body: dict[str, Any], forms: Sequence[type[Form]]) -> type[Form]:
    """Tell the form of a body by the name of its documents."""
    return next((form for form in forms if "documents" in body and "documents" in form.model_fields), forms[0])


def _question(form: type[Form], body: dict[str, Any]) -> Question:
    """Read a body; raises Refused if a key is missing, or has a wrong value."""
    try:
        return form.model_validate(body).question()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(422, f"{where or 'the body'}: {first['msg'].lower()}.") from None
    except ValueError as error:
        raise Refused(422, str(error)) from None


def _work(reranker: Reranker, question: Question) -> Callable[[], list[Scored]]:
    """Make the work of a question: its scores in the order of the answer."""
    is_probability = not question.is_raw and reranker.scale != "other"

    def converted(scores: Scores) -> list[float]:
        return list(map(float, probabilities(scores, reranker.scale, reranker.name) if is_probability else scores))

    def in_order() -> list[Scored]:
        queries = [*question.queries] * (len(question.texts) if len(question.queries) == 1 else 1)
        return list(enumerate(converted(reranker.predict(zip(queries, question.texts, strict=True)))))

    def ranked() -> list[Scored]:
        best = reranker.rank(question.queries[0], question.texts, question.top_n)
        scores = converted(np.array([text.score for text in best], dtype=np.float32))
        return list(zip((text.index for text in best), scores, strict=True))

    return ranked if question.is_ranked else in_order


def _refused(error: Exception) -> Refused:
    """Give the refusal that tells a client about an error of the library."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ClientGone | ClientDisconnect):
        return Refused(CLIENT_GONE, "the client has gone.", "ClientGone")
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FloatingPointError):
        return Refused(500, message, BACKEND)
    if isinstance(error, ValueError | TypeError) and not isinstance(error, BackendFault):
        return Refused(422, message)
    status = 502 if isinstance(error, OSError | BackendFault) else 500
    log.error("a request failed", exc_info=error)
    return Refused(status, f"{type(error).__name__}: {message}", BACKEND)


def _response(record: Record, content: Any, headers: dict[str, str] | None = None) -> Response:
    headers = {REQUEST_ID: record.id, **(headers or {})}
    return Response(orjson.dumps(content), record.status, headers, "application/json")
