"""The figures of a server: a JSON line for each request, and metrics for Prometheus."""

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..call import Call
from .forms import Question
from .limits import Admission

#: Each request is a line of this log, in JSON.
log = logging.getLogger("pyserini_rerank.requests")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass
class Record:
    """One request, from its first byte to its answer."""

    id: str
    route: str
    status: int = 500
    question: Question | None = None
    error: str | None = None
    """The kind of the error; its text may hold a part of a document."""
    call: Call = field(default_factory=Call)
    began: float = field(default_factory=time.perf_counter)
    time: float = field(default_factory=time.time)


class RequestLog:
    """Keeps the figures of requests.

    Parameters
    ----------
    admission : Admission
        It tells how long the queue is.
    shows_texts : bool
        Log the queries and documents as well.
    """

    def __init__(self, admission: Admission, *, shows_texts: bool = False) -> None:
        self._shows_texts = shows_texts
        self._registry = CollectorRegistry()
        common: dict[str, Any] = {"namespace": "pyserini_rerank", "registry": self._registry}
        self._requests = Counter("requests", "Requests by route and status.", ["route", "status"], **common)
        self._errors = Counter("errors", "Requests without scores, by the kind of error.", ["kind"], **common)
        self._pairs = Counter("pairs", "Pairs of answered requests.", **common)
        self._tokens = Counter("tokens", "Tokens that the model read.", **common)
        self._cut = Counter("cut_passages", "Passages that were longer than the model reads.", **common)
        self._seconds = Histogram("seconds", "Seconds of a request by stage.", ["stage"], buckets=SECONDS, **common)
        queue = Gauge("queue_tokens", "Estimated tokens of requests that wait or are being scored.", **common)
        queue.set_function(lambda: admission.tokens)
        under_way = Gauge("queue_requests", "Requests that wait or are being scored.", **common)
        under_way.set_function(lambda: admission.requests)

    def metrics(self) -> bytes:
        """Give the metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def write(self, record: Record) -> None:
        """Count a request that is answered, and log it."""
        call, seconds = record.call, time.perf_counter() - record.began
        self._requests.labels(record.route, str(record.status)).inc()
        if record.error:
            self._errors.labels(record.error).inc()
        self._pairs.inc(call.pairs)
        self._tokens.inc(call.tokens)
        self._cut.inc(call.cut)
        stages = {"waited": call.waited, "tokenized": call.tokenized, "scored": call.scored, "seconds": seconds}
        for stage, value in stages.items() if record.error is None else ():
            self._seconds.labels("total" if stage == "seconds" else stage).observe(value)
        question = record.question
        line: dict[str, Any] = {
            "time": round(record.time, 3),
            "id": record.id,
            "route": record.route,
            "status": record.status,
            "documents": len(question.texts) if question else None,
            "pairs": call.pairs,
            "tokens": call.tokens,
            "cut": call.cut,
            **{stage: round(value, 4) for stage, value in stages.items()},
        }
        if record.error:
            line["error"] = record.error
        if self._shows_texts and question:
            line |= {"queries": list(question.queries), "texts": list(question.texts)}
        log.info(json.dumps(line))
