"""The http backend: a reranker on a server, so that many notebooks share one GPU."""

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from urllib3 import PoolManager, Retry, Timeout, exceptions

from ...arguments import count_option
from ..backend import BackendFault, Batch, Pair, Plan, TextBackend
from ..rerank_apis import APIS

ONE_OR_MORE = "a whole number, 1 or more"
#: Statuses that may not come again at the next try: too many requests, and a server that fails or is not up.
RETRIED = (429, 500, 502, 503, 504)
#: Seconds before the second retry, which double for each further retry, and the longest wait.
BACKOFF, LONGEST_WAIT = 0.5, 60
LARGEST = float(np.finfo(np.float32).max)
LONGEST_LINE = 400
#: A batch has so many requests for each that may run at once: few, so that little is lost if a request fails.
ROUNDS = 4


class Request(NamedTuple):
    """A query, and passages that are scored for it in one request."""

    query: str
    passages: list[str]


class HttpBackend(TextBackend):
    """Scores pairs with a server's rerank API.

    Servers cut long texts without telling, so that `reranker.counts` counts no cuts. The scores are raw
    logits with ``tei``, ``infinity`` and ``vllm``, and from 0 to 1 with ``jina`` and ``cohere``. A server
    that puts the requests of several users into one batch need not give the same bits again.

    Parameters
    ----------
    name : str
        The server's URL without the API's path, such as ``"https://api.jina.ai"``. Certificates are checked,
        redirects are not followed.
    api : str
        ``"tei"``, ``"infinity"``, ``"vllm"``, ``"jina"`` or ``"cohere"``.
    model : str, optional
        The name of one of the server's models; some APIs need it.
    key_env : str, optional
        The environment variable that holds the key, which is sent as a bearer token; by default no key is sent.
    timeout : float
        Seconds without a byte from the server, after which a request is tried again.
    retries : int
        How often a request is tried again, after the statuses 429, 500, 502, 503 and 504 and after a failed
        connection. ``Retry-After`` is heeded, up to a minute.
    concurrency : int
        Requests at a time.
    batch_size : int, optional
        Documents of a request, at most; by default 1,000, and 32 for ``tei``, whose servers allow no more by default.
    fingerprint : str
        A name for the model behind the URL. Scores are cached only with it, since a server may change its model.

    Raises
    ------
    ValueError
        An option is out of range, the URL is invalid or holds a password, or the key is not set. Scoring raises it
        if the server refuses a request or gives a wrong answer.
    OSError
        (When scoring.) The server cannot be reached, or fails at every try.
    """

    max_length = 0
    #: A server makes batches of its own, of as many documents as a request may have.
    budget = 65_536

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        api: str,
        model: str | None = None,
        key_env: str | None = None,
        timeout: float = 60,
        retries: int = 5,
        concurrency: int = 4,
        batch_size: int | None = None,
        fingerprint: str = "",
    ) -> None:
        if not isinstance(api, str) or api not in APIS:
            raise ValueError(f"api={api!r}: there are {', '.join(APIS)}.")
        self.api = APIS[api]
        self.scale = self.api.scale
        self.url = _checked_url(os.fspath(name)).removesuffix(self.api.path) + self.api.path
        self.batch_size = count_option(self.api.most if batch_size is None else batch_size, "batch_size", ONE_OR_MORE)
        self.concurrency = count_option(concurrency, "concurrency", ONE_OR_MORE)
        retries = count_option(retries, "retries", "a whole number, 0 or more", least=0)
        self.timeout = timeout = _seconds("timeout", timeout)
        self.body = {**dict([self.api.raw] if self.api.raw else ()), **self.api.extra}
        if model is not None:
            self.body["model"] = model
        # The name of the variable is kept and not the key, so that no repr and no traceback can show it.
        self.key_env = key_env
        self._headers()
        digest = blake2b(f"{api}\n{model}\n{fingerprint}".encode(), digest_size=16)
        self.fingerprint = digest.hexdigest() if fingerprint else ""
        self._pool = PoolManager(
            maxsize=concurrency,
            timeout=Timeout(connect=timeout, read=timeout),
            retries=PatientRetry(
                total=retries,
                allowed_methods=None,  # scoring changes nothing on the server
                status_forcelist=RETRIED,
                backoff_factor=BACKOFF,
                backoff_max=LONGEST_WAIT,
                retry_after_max=LONGEST_WAIT,
                raise_on_status=False,
            ),
        )

    @property
    def description(self) -> dict[str, str]:
        """Where the scores are computed, for a report."""
        return {"device": self.url, **({"model": self.body["model"]} if "model" in self.body else {})}

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put the pairs of each query into requests, and several requests into each batch."""
        positions: dict[str, list[int]] = {}
        for position, (query, _) in enumerate(pairs):
            positions.setdefault(query, []).append(position)
        parts = [
            (query, rows[start : start + self.batch_size])
            for query, rows in positions.items()
            for start in range(0, len(rows), self.batch_size)
        ]
        batches = []
        for start in range(0, len(parts), ROUNDS * self.concurrency):
            of_batch = parts[start : start + ROUNDS * self.concurrency]
            rows = np.array([position for _, of_request in of_batch for position in of_request], dtype=np.intp)
            requests = [
                Request(query, [str(pairs[position][1]) for position in of_request]) for query, of_request in of_batch
            ]
            batches.append(Batch(rows, requests))
        return Plan(batches)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,); its requests run at the same time, `concurrency` of them."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            return np.concatenate(list(pool.map(self._scores, batch.inputs)))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _headers(self) -> dict[str, str]:
        """Give the headers of a request, with the key as the environment variable has it now."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_env is not None:
            if not isinstance(self.key_env, str):
                raise TypeError(f"key_env={self.key_env!r}: give the name of an environment variable.")
            key = os.environ.get(self.key_env, "")
            if not key or not key.isascii() or not key.isprintable() or " " in key:
                state = "holds no key (it has a blank, a line break or the like in it)" if key else "is not set"
                raise ValueError(f"key_env={self.key_env!r}: this environment variable {state}.")
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _scores(self, request: Request) -> NDArray[np.float32]:
        body = {**self.body, "query": request.query, self.api.documents: request.passages}
        data = self._post(json.dumps(body).encode())
        try:
            results = json.loads(data)
        except (ValueError, RecursionError):
            raise self._error(BackendFault, f"gave an answer that is no JSON: {_text(data)}") from None
        if self.api.results is not None:
            results = results.get(self.api.results) if isinstance(results, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise self._error(BackendFault, f"gave no list of results (is api= right?): {_text(data)}")
        if len(results) != len(request.passages):
            raise self._error(BackendFault, f"gave {len(results)} results for {len(request.passages)} documents.")
        scores = np.full(len(results), np.nan, dtype=np.float32)
        for result in results:
            index, score = result.get("index"), result.get(self.api.score)
            if type(index) is not int or not 0 <= index < len(results):
                raise self._error(BackendFault, f"gave the index {index!r} for {len(results)} documents.")
            if not np.isnan(scores[index]):
                raise self._error(BackendFault, f"gave the index {index} twice.")
            if type(score) not in (int, float) or not abs(score) <= LARGEST:
                raise self._error(BackendFault, f"gave the {self.api.score} {score!r}, which is no finite number.")
            scores[index] = score
        return scores

    def _post(self, body: bytes) -> bytes:
        """Send a request, again if that may help, and give the body of the answer."""
        try:
            response = self._pool.request("POST", self.url, body=body, headers=self._headers(), redirect=False)
        except (
            exceptions.HTTPError,
            OverflowError,
        ) as error:  # OverflowError: the answer says that it is longer than any memory
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, exceptions.TimeoutError) and not isinstance(reason, exceptions.NewConnectionError):
                raise self._error(TimeoutError, f"gave no answer within {self.timeout:g} seconds.") from None
            raise self._error(ConnectionError, f"cannot be reached: {reason}") from None
        if response.status == 200:
            return response.data
        target = response.headers.get("Location")
        reply = f"a redirect to {target}, which is not followed." if target else _text(response.data)
        kind = ConnectionError if response.status in RETRIED else BackendFault
        raise self._error(kind, f"answered {response.status}: {reply}")

    def _error(self, kind: type[Exception], what: str) -> Exception:
        """Make an error of one short line, without the key, which a server may have repeated in its answer."""
        key = os.environ.get(self.key_env or "", "")
        line = " ".join(f"{self.url} {what}".split())
        # The line is cut last: a part of the key would not be recognized.
        return kind((re.sub(_pattern_of(key), "***", line, flags=re.IGNORECASE) if key else line)[:LONGEST_LINE])


class PatientRetry(Retry):
    """Retries that ignore a server's `Retry-After` if it cannot be read."""

    def get_retry_after(self, response: Any) -> float | None:
        try:
            return super().get_retry_after(response)
        except exceptions.InvalidHeader:
            return None


def _seconds(option: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf:
        raise ValueError(f"{option}={value!r}: give seconds, more than 0.")
    return float(value)


def _pattern_of(key: str) -> str:
    """Make a pattern that matches a key, also with its special characters as URLs, JSON, HTML and Python write them."""
    escaped = r"(?:\\*{0}|%{1:02x}|\\+[ux](?:00)?{1:02x}|&#?\w+;)"
    return "".join(c if c.isalnum() else escaped.format(re.escape(c), ord(c)) for c in key)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the server's URL holds a password or a query: give it without, and the key with key_env=.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of a server: give one such as 'http://localhost:8080'.")
    return url.rstrip("/")
