"""A page in headless Chromium, by the DevTools protocol: what it holds, what it logs, how it looks."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

#: Chromium's sandbox does not work as root and in most containers; what is opened here is our own.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
START = 60


class Page:
    """A tab.

    Attributes
    ----------
    errors : list of str
        What its console said at the level of an error, exceptions that nothing caught, and what could not be loaded.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        self._socket = socket
        self._calls = 0
        self._loaded = False
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Open a file, and wait until it and its images are there."""
        self.errors.clear()
        self._loaded = False
        self._call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript to a JSON value; a promise is waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        data = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return message["result"]

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=START))
        event, parameters = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(str(parameters["args"]))
        return message


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """Start Chromium with its profile in `folder`, and open a tab."""
    command = ["chromium", *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "--window-size=1000,800"]
    with subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_address(folder, process), max_size=None, open_timeout=START) as socket:
                yield Page(socket)
        finally:
            process.terminate()


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Find the address of the tab, once Chromium has written down its port."""
    import urllib.request

    file, end = folder / "DevToolsActivePort", time.monotonic() + START
    while not file.is_file() or len(file.read_text().splitlines()) < 2:
        assert process.poll() is None and time.monotonic() < end, "Chromium does not start"
        time.sleep(0.1)
    port = file.read_text().splitlines()[0]
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START) as answer:
            for target in json.load(answer):
                if target["type"] == "page":
                    return str(target["webSocketDebuggerUrl"])
    raise AssertionError("Chromium has no tab")
