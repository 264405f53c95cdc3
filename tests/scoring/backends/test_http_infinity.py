"""The http backend against a real server, Infinity, which has an environment of its own: it needs older libraries.

The environment is made on the first run (a minute), in the user's cache, from the package index; it takes torch
from here, which is 3 GB. The server runs on loopback with a checkpoint of the tests.
"""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import urllib3
from package_index import skip_or_fail
from pyserini_rerank.testing import PAIRS
from tiny_checkpoints import build

VERSION = "0.0.78"
KEY = "sk-of-the-tests"
#: What torch consists of on disk.
TORCH = ("torch", "torch-*", "torchgen", "functorch", "nvidia*", "triton*", "cuda*", "cuda")

pytestmark = pytest.mark.stress


@pytest.fixture(scope="module")
def infinity() -> Path:
    """The program, installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pyserini-rerank"
    target = cache / f"infinity-{VERSION}-python{sys.version_info[0]}.{sys.version_info[1]}"
    program = target / "bin" / "infinity_emb"
    if not (target / "installed").is_file() or not (target / "torch" / "torch").exists():
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
        links = target / "torch"
        links.mkdir()
        here = Path(sysconfig.get_path("purelib"))
        for path in {path for pattern in TORCH for path in here.glob(pattern)}:
            (links / path.name).symlink_to(path)
        [site] = target.glob("lib/python*/site-packages")
        (site / "torch.pth").write_text(f"{links}\n")
        pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        done = subprocess.run([*pip, f"infinity-emb[server,torch]=={VERSION}"], capture_output=True, text=True)
        if done.returncode:
            skip_or_fail(f"infinity-emb=={VERSION}", done)
        (target / "installed").touch()
    return program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("cross-encoder/ms-marco-MiniLM-L-2-v2", tmp_path_factory.mktemp("infinity"))


@pytest.fixture(scope="module")
def server(infinity, folder, tmp_path_factory):
    """A running server's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "infinity.log"
    options = {
        "model-id": folder, "served-model-name": "tiny", "engine": "torch", "device": "cpu", "dtype": "float32",
        "host": "127.0.0.1", "port": port,
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    environment = {**os.environ, **quiet, "INFINITY_API_KEY": KEY}
    with log.open("w") as file:
        process = subprocess.Popen(
            [infinity, "v2", *arguments, "--no-bettertransformer"], env=environment, stdout=file, stderr=file
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                urllib3.request("GET", f"{url}/health", retries=False, timeout=1)
                break
            except urllib3.exceptions.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def reranker(server, monkeypatch):
    monkeypatch.setenv("INFINITY_TEST_KEY", KEY)
    options = {"model": "tiny", "key_env": "INFINITY_TEST_KEY", "batch_size": 4}
    with pyserini_rerank.load(server, backend="http", api="infinity", **options) as loaded:
        yield loaded


def test_the_scores_are_those_of_the_torch_backend(reranker, folder):
    """Raw logits, each with the passage that it belongs to."""
    expected = pyserini_rerank.load(folder, device="cpu").predict(PAIRS)
    np.testing.assert_allclose(reranker.predict(PAIRS), expected, rtol=0, atol=1e-4)
    assert expected.min() < 0, "or they could be sigmoids"


def test_a_long_passage_is_cut(reranker, folder):
    long = ("flea", "cat " * 2000)
    with pytest.warns(pyserini_rerank.CutWarning):
        expected = pyserini_rerank.load(folder, device="cpu").predict([long])
    np.testing.assert_allclose(reranker.predict([long]), expected, rtol=0, atol=1e-4)


def test_a_key_that_it_does_not_take(reranker, monkeypatch):
    monkeypatch.setenv("INFINITY_TEST_KEY", "sk-wrong")
    with pytest.raises(ValueError, match="/rerank answered 401: .*Unauthorized"):
        reranker.score("flea", ["cat"])


def test_more_documents_than_it_takes(server, monkeypatch):
    monkeypatch.setenv("INFINITY_TEST_KEY", KEY)
    loaded = pyserini_rerank.load(server, backend="http", api="infinity", key_env="INFINITY_TEST_KEY", batch_size=3000)
    with pytest.raises(ValueError, match="/rerank answered 422: "):
        loaded.score("flea", [f"cat {i}" for i in range(2500)])
