"""Listening on a port, and answering until a signal ends the server."""

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Raises
    ------
    OSError
        The port is in use, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise OSError(f"cannot listen on {host}, port {port}: {reason}. Choose another by --port.") from None
    return listening


def run(app: Any, listening: socket.socket, what: str) -> None:
    """Answer requests until SIGTERM or Ctrl-C; then take no new ones, and answer those that are under way.

    Parameters
    ----------
    app : ASGI application
    listening : socket
    what : str
        It is printed to standard error, with the address.
    """
    import uvicorn

    host, port = listening.getsockname()[:2]
    print(
        f"pyserini-rerank: {what} at http://{f'[{host}]' if ':' in host else host}:{port}", file=sys.stderr, flush=True
    )
    # Uvicorn raises the signal again once it has stopped; the process then goes on to free the devices.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
