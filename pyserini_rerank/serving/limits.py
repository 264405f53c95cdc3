"""The limits of a server: a request beyond them is refused with an answer that says so."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from math import ceil, inf
from typing import Any

from fastapi import Request

from ..model import SIZE_OF_TOKEN
from .forms import OVERLOADED, Question

#: A character takes up to twelve bytes in JSON, and the names of the keys take some.
BYTES_OF_CHARACTER, BYTES_OF_KEYS = 12, 100_000
LONGEST_RETRY = 60


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Parameters
    ----------
    documents : int
        The documents of a request.
    characters : int
        The characters of a request, its query and documents together.
    tokens : int
        The tokens of all requests that wait or are being scored, as far as they can be estimated by their characters.
    body_seconds : float
        Seconds in which the body of a request has to arrive.
    """

    documents: int = 1000
    characters: int = 4_000_000
    tokens: int = 1_000_000
    body_seconds: float = 30


class Refused(Exception):
    """A request is refused: an HTTP status, a sentence, a kind, and further headers of the answer."""

    def __init__(
        self, status: int, message: str, kind: str = "Validation", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.headers = headers or {}


async def read_body(request: Request, limits: Limits) -> bytes:
    """Read the body of a request.

    Raises
    ------
    Refused
        The body is too long, or does not arrive in time.
    """
    most = BYTES_OF_CHARACTER * limits.characters + BYTES_OF_KEYS
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise Refused(413, f"the body has more than {most:,} bytes: send fewer or shorter documents.")
    except TimeoutError:
        # Nobody reads the rest of the body, so the connection is of no further use.
        message = f"the body did not arrive within {limits.body_seconds:g} seconds: send it again."
        raise Refused(408, message, headers={"Connection": "close"}) from None
    return bytes(body)


def check(question: Question, limits: Limits) -> None:
    """Check a question, whose documents were counted before, against the limits; raises Refused."""
    if not question.texts:
        raise Refused(422, "there are no documents: send at least one.")
    if question.characters > limits.characters:
        raise Refused(
            413,
            f"{question.characters:,} characters are more than the {limits.characters:,} that a request may have: send "
            "fewer or shorter documents.",
        )


def check_count(documents: Sequence[Any], limits: Limits) -> None:
    """Check the number of documents; raises Refused."""
    if len(documents) > limits.documents:
        raise Refused(
            413,
            f"{len(documents):,} documents are more than the {limits.documents:,} that a request may have: send "
            "them in several requests.",
        )


class Admission:
    """Admits requests until the limit of tokens is reached.

    Parameters
    ----------
    limits : Limits
    max_length : int
        Tokens to which a pair is cut; 0 if that is not known.
    """

    def __init__(self, limits: Limits, max_length: int) -> None:
        self._limit = limits.tokens
        self._longest = max_length or inf
        self.requests = 0
        #: The estimated tokens of the requests that are under way.
        self.tokens = 0
        self._busy_since = 0.0
        self._finished = 0
        #: Tokens a second, as they were last known.
        self._speed = 0.0

    @contextmanager
    def admitted(self, question: Question) -> Iterator[None]:
        """Admit a request until it is answered. A request that is alone is always admitted.

        Raises
        ------
        Refused
            There is no room: the answer says when to try again.
        """
        tokens = self._estimate(question)
        if self.requests and self.tokens + tokens > self._limit:
            raise Refused(
                429,
                f"{self.tokens:,} tokens are waiting to be scored, and {self._limit:,} may: try again later.",
                OVERLOADED,
                {"Retry-After": str(self._seconds_until_room(tokens))},
            )
        if not self.requests:
            self._busy_since, self._finished = time.perf_counter(), 0
        self.requests += 1
        self.tokens += tokens
        try:
            yield
        finally:
            self.requests -= 1
            self.tokens -= tokens
            self._finished += tokens
            self._speed = self._finished / (time.perf_counter() - self._busy_since)

    def _estimate(self, question: Question) -> int:
        queries = question.queries if len(question.queries) > 1 else repeat(question.queries[0])
        sizes = (len(text) + len(query) for text, query in zip(question.texts, queries, strict=False))
        return sum(int(min(self._longest, 1 + size // SIZE_OF_TOKEN)) for size in sizes)

    def _seconds_until_room(self, tokens: int) -> int:
        """Estimate when there will be room for so many tokens, by the speed so far; a second where it is not known."""
        if not self._speed:
            return 1
        return ceil(min(LONGEST_RETRY, max(1, (self.tokens + tokens - self._limit) / self._speed)))
