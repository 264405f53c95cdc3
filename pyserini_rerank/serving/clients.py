"""Waiting for an answer as long as its client does."""

import asyncio
from collections.abc import Awaitable

from fastapi import Request

from ..call import Call

#: The status that a log gives to a request whose client has gone.
CLIENT_GONE = 499


class ClientGone(Exception):
    """The client has closed the connection."""


class DeadlinePassed(Exception):
    """The seconds are over after which the client needs no answer."""


async def while_client_waits[T](request: Request, call: Call, work: Awaitable[T], seconds: float | None = None) -> T:
    """Await the work of a call, unless its client goes or its time is over: then the work is dropped.

    Raises
    ------
    ClientGone, DeadlinePassed
    As the work.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone("the client has gone.") if gone.done() else DeadlinePassed
    finally:
        if not working.done():
            call.drop()
        working.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
