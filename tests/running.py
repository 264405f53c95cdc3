"""A real server on loopback, in a thread of the tests' process, and requests to it."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import urllib3
import uvicorn

POOL = urllib3.PoolManager(maxsize=100, retries=False)


class Reply(NamedTuple):
    status: int
    body: Any
    headers: Any


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Run an application, and give its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def post(url: str, body: Any, **headers: str) -> Reply:
    """Send a body, as JSON unless it is bytes; parse the answer where it is JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = POOL.request("POST", url, body=data, headers={"Content-Type": "application/json", **named})
    return Reply(answer.status, json.loads(answer.data), answer.headers)


def get(url: str) -> Reply:
    answer = POOL.request("GET", url)
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return Reply(answer.status, json.loads(answer.data) if is_json else answer.data.decode(), answer.headers)
