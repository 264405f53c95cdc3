"""Starts Python programs quickly: as processes of their own, forked from one that has imported what is slow to import.

Importing torch and transformers takes 5 to 10 seconds a process. `python()` is used like `sys.executable`, and gives a
small program, which asks a server to fork itself, to run the module, code or script in the fork, and to tell how that
ended. The fork has the arguments, folder, variables, files and signals of whoever asks. Java, Pyserini, the package and
all of a model are its own. A test of what is imported, or said while importing, takes `sys.executable`.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

IMPORTED = [
    *("openai", "scipy.stats", "sklearn.preprocessing", "torch._dynamo", "transformers.modeling_utils"),
    *("transformers.models.bert.modeling_bert", "transformers.models.clip.modeling_clip"),
]
#: Variables that these and Python itself read at the start: with other ones than the server's, a program runs unforked.
READ_EARLY = ("HF_", "LC_", "OMP_", "PYTHONIO", "PYTHONUTF8", "PYTHONW", "TORCH_", "TRANSFORMERS_")
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys, time
early = {{name: value for name, value in os.environ.items() if name.startswith({read!r})}}
if early != {early!r} or (sys.argv[1:2] or ["-"])[0][:1] == "-" and sys.argv[1:2] not in (["-c"], ["-m"]):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for _ in range(1200):
    try:
        server.connect({address!r})
        break
    except OSError:  # it still imports
        time.sleep(0.1)
else:
    sys.exit("the server of tests/forking.py does not answer")
socket.send_fds(server, [json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()], [0, 1, 2])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
code = os.waitstatus_to_exitcode(int(server.recv(16)))
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def python() -> str:
    """Give the path of the program that asks the server; beside it is the package's command.

    The server is started by the first call, of this process or of one that started it.
    """
    if sys.platform != "linux":  # elsewhere it is not safe to fork after such imports
        return sys.executable
    if "FORKING_PYTHON" in os.environ:
        return os.environ["FORKING_PYTHON"]
    folder = tempfile.TemporaryDirectory(prefix="forking-")
    address, client, command = (str(Path(folder.name, name)) for name in ("socket", "python", "pyserini-rerank"))
    early = {name: value for name, value in os.environ.items() if name.startswith(READ_EARLY)}
    Path(client).write_text(CLIENT.format(python=sys.executable, address=address, read=READ_EARLY, early=early))
    Path(command).write_text(f'#!/bin/sh\nexec {client} -m pyserini_rerank "$@"\n')
    for path in (client, command):
        os.chmod(path, 0o755)
    os.environ["FORKING_PYTHON"] = client
    # A session of its own, so that Ctrl-C ends only the tests; it ends with its stdin.
    server = subprocess.Popen([sys.executable, __file__, address], stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)
    return client


def serve(address: str) -> socket.socket:
    """Import, and then fork for each program; only a fork returns, with the connection to whoever asks."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # neither collections nor the exit of a fork go through all of that again
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen()
    while listening in select.select([listening, 0], [], [])[0]:
        connection, _ = listening.accept()
        with warnings.catch_warnings(action="ignore"):  # pyarrow's allocator has a thread, and knows of forks
            process = os.fork()
        if process == 0:
            listening.close()
            return connection
        connection.close()
    sys.exit()


def program(connection: socket.socket) -> list[str]:
    """Fork again: return the words of the program in the fork, and here pass on signals to it until it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    words, folder, variables = json.loads(asked)
    process = os.fork()
    if process == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        return words
    for file in (1, 2, *files):
        os.close(file)
    handle = os.pidfd_open(process)
    while handle not in (ready := select.select([handle, connection, 0], [], [])[0]):
        number = b"" if 0 in ready else connection.recv(1)  # stdin ends with the tests, however they end
        signal.pidfd_send_signal(handle, number[0] if number else signal.SIGKILL)
    connection.send(str(os.waitpid(process, 0)[1]).encode())
    os._exit(0)


def run(words: list[str]) -> None:
    """Run a module, code or a script as Python does."""
    first = "" if words[0] == "-c" else os.getcwd() if words[0] == "-m" else str(Path(words[0]).resolve().parent)
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [first, *filter(None, before), *(path for path in sys.path if path not in STARTED_WITH)]
    sys.argv = [words[0], *words[2:]] if words[0] in ("-c", "-m") else words
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(words[1], vars(main))
    else:
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    STARTED_WITH = {sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    run(program(serve(sys.argv[1])))
