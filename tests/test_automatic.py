"""What `backend="auto"` and `dtype="auto"` choose, on real backends and a small checkpoint."""

import math
import re
import shutil
import sys

import numpy as np
import pyserini_rerank
import pytest
import tiny_checkpoints
from pyserini_rerank import automatic
from pyserini_rerank.runs.evaluation import per_query
from pyserini_rerank.runs.provenance import provenance
from pyserini_rerank.scoring.backends import openvino_backend
from pyserini_rerank.scoring.backends.openvino_backend import OpenVinoBackend
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled

NAME = "cross-encoder/ms-marco-MiniLM-L-2-v2"


class Careless(OpenVinoBackend):
    """Faster than any other, since it does not read the passages."""

    def run(self, batch):
        return np.zeros(len(batch.positions), dtype=np.float32)


class Failing(OpenVinoBackend):
    """Does not survive its first two calls, which are those that warm it up."""

    runs = 0

    def run(self, batch):
        self.runs += 1
        if self.runs > 2:
            raise RuntimeError("no memory\nis left.")
        return super().run(batch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoints.build(NAME, tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def asked(folder):
    """Six of the questions, answered by the passage that the small checkpoint likes best: it knows no other."""
    owners, texts, _ = (some[:60] if isinstance(some, list) else some for some in automatic.questions())
    scores = pyserini_rerank.load(folder, device="cpu", dtype="float32").predict(texts)
    best = {}
    for row in np.argsort(scores):
        best[owners[row][0]] = {owners[row][1]: 1}
    return owners, texts, best


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the exported graphs are."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def machine(asked, cache, monkeypatch):
    """A cache where nothing was chosen yet, and no ONNX Runtime, which torch exports to for 10 s and more."""
    for chosen in cache.glob("*/automatic-*"):
        shutil.rmtree(chosen)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(automatic, "questions", lambda: asked)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    # However busy the machine is, whatever survives its warm-up is measured.
    monkeypatch.setattr(automatic, "HOPELESS", math.inf)
    monkeypatch.delitem(sys.modules, "pyserini_rerank.scoring.backends.onnx_backend", raising=False)


@pytest.mark.slow
def test_it_picks_within_the_bar_and_says_so(folder, asked, capsys):
    owners, texts, qrels = asked
    reranker = pyserini_rerank.load(folder, backend="auto", dtype="auto", device="cpu")
    facts = provenance(reranker)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder} on cpu: ") and f": {facts['backend']} {facts['dtype']} is used" in line
    assert "onnx float32 cannot: this backend needs onnxruntime: `pip install 'pyserini-rerank[onnx]'`" in line
    run = {}
    for (qid, docid), score in zip(owners, reranker.predict(texts), strict=True):
        run.setdefault(qid, {})[docid] = float(score)
    assert min(per_query(run.items(), qrels)["nDCG@10"].values()) > 0
    assert np.mean(list(per_query(run.items(), qrels)["nDCG@10"].values())) >= 1 - automatic.LOSS


@pytest.mark.slow
def test_what_was_measured_is_remembered(folder, monkeypatch, capsys):
    options = {"backend": "auto", "dtype": "auto", "device": "cpu"}
    first = automatic.pick(folder, options)
    said = capsys.readouterr().err
    monkeypatch.setattr(automatic, "questions", lambda: pytest.fail("it measures again"))
    assert automatic.pick(folder, options) == first
    assert capsys.readouterr().err == said
    with pytest.raises(pytest.fail.Exception, match="it measures again"):
        automatic.pick(folder, {**options, "max_length": 64})


def test_the_fastest_is_refused_where_it_ranks_worse(folder, monkeypatch, capsys):
    monkeypatch.setattr(openvino_backend, "OpenVinoBackend", Careless)
    options = {"backend": "auto", "dtype": "float32", "device": "cpu"}
    assert automatic.pick(folder, options)["backend"] == "torch"
    assert "torch float32 1.0000, 1.00; openvino float32 0." in capsys.readouterr().err
    monkeypatch.setattr(automatic, "LOSS", 1)
    chosen = automatic.pick(folder, {**options, "max_length": 64})
    assert chosen == {"backend": "openvino", "dtype": "float32", "max_length": 64}, "it is not the fastest"


def test_nothing_that_is_fit(folder, monkeypatch):
    monkeypatch.setattr(openvino_backend, "OpenVinoBackend", Careless)
    with pytest.raises(
        ValueError, match="nothing that was asked for ranks .* as well as torch in float32: torch float32 1.0000"
    ):
        automatic.pick(folder, {"backend": "openvino", "dtype": "auto"})


def test_what_fails_on_the_way_is_left_out(folder, monkeypatch, capsys):
    monkeypatch.setattr(openvino_backend, "OpenVinoBackend", Failing)
    options = {"backend": "auto", "dtype": "float32", "device": "cpu", "batch_tokens": 10_000}
    assert automatic.pick(folder, options)["backend"] == "torch"
    assert "openvino float32 cannot: no memory is left." in capsys.readouterr().err


def test_what_is_slow_is_measured_no_further(folder, monkeypatch, capsys):
    monkeypatch.setattr(automatic, "HOPELESS", 0)
    automatic.pick(folder, {"backend": "auto", "dtype": "float32", "device": "cpu"})
    assert "openvino float32 takes " in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_given_stays(folder):
    assert automatic.pick(folder, {"backend": "openvino", "dtype": "auto"})["backend"] == "openvino"
    chosen = automatic.pick(folder, {"backend": "torch", "dtype": "auto", "device": "cpu", "max_length": 64})
    assert (chosen["backend"], chosen["device"], chosen["max_length"]) == ("torch", "cpu", 64)
    assert automatic.pick(folder, {"backend": "auto", "device": "cpu"})["dtype"] == "float32"


def test_without_a_choice_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(automatic, "questions", lambda: pytest.fail("it measures"))
    assert automatic.pick("none", {"backend": "auto", "dtype": "float16", "device": "cpu"})["backend"] == "torch"
    assert automatic.pick("none", {"backend": "http", "dtype": "auto"}) == {"backend": "http", "dtype": "auto"}
    with pytest.raises(ValueError, match="dtype='int4': backend='auto' on cpu chooses among float32"):
        pyserini_rerank.load("none", backend="auto", dtype="int4", device="cpu")


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere is not there"):
        pyserini_rerank.load(tmp_path / "nowhere", backend="auto", dtype="auto")


@pytest.mark.stress
def test_the_bundled_model(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    folder = bundled.folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pyserini_rerank.load(folder, backend="auto", dtype="auto", device="cpu").close()
    line = capsys.readouterr().err
    worth = {name: float(value) for name, value in re.findall(r"(\w+ \w+) (0\.\d{4}), ", line)}
    assert {"torch float32", "openvino int8"} <= worth.keys() and worth["torch float32"] > 0.6
    assert all(abs(value - worth["torch float32"]) <= 0.003 for value in worth.values())
