"""Whatever state the caller's torch is in, a score has the same bits, and the state is left as it was."""

import gc
import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import pyserini_rerank
import pytest
import tiny_families
import torch
from pyserini_rerank.scoring.isolation import IsolatedThreads
from pyserini_rerank.testing import PAIRS
from tiny_checkpoints import build
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AlbertConfig, AlbertForSequenceClassification

BERT = "cross-encoder/ms-marco-MiniLM-L-2-v2"
precision, kernels = torch.backends, torch.backends.cuda


@contextmanager
def changed(read, write, value):
    """A setting of the whole process, for a time."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def attribute(holder, name, value):
    return changed(lambda: getattr(holder, name), lambda new: setattr(holder, name, new), value)


class Refuses(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} got into the caller's mode")


class RefusesFunctions(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.device:  # which is no computation
            return function(*args)
        raise AssertionError(f"{function} got into the caller's mode")


#: What a caller's torch may be in the midst of, each made anew for a test.
STATES = {
    "as it is": nullcontext,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast in float16": lambda: torch.autocast("cpu", torch.float16),
    "float64 by default": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "float16 by default": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float16),
    "a device context": lambda: torch.device("meta"),
    "another default device": lambda: changed(torch.get_default_device, torch.set_default_device, "meta"),
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference_mode": torch.inference_mode,
    "deterministic": lambda: changed(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 2),
    "medium precision": lambda: changed(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "bfloat16 in oneDNN": lambda: attribute(precision.mkldnn.matmul, "fp32_precision", "bf16"),
    "TF32 everywhere": lambda: attribute(precision, "fp32_precision", "tf32"),
    "without oneDNN": lambda: attribute(precision.mkldnn, "enabled", False),
    "one kernel of attention": lambda: sdpa_kernel(SDPBackend.MATH),
    "fake tensors": FakeTensorMode,
    "a mode of dispatch": Refuses,
    "a mode of functions": RefusesFunctions,
    "denormals flushed": lambda: changed(lambda: False, torch.set_flush_denormal, True),
    "anomalies looked for": lambda: torch.autograd.set_detect_anomaly(True, check_nan=True),
}
BACKENDS = {
    "packed": ("packed", {}),
    "unpacked": ("unpacked", {}),
    "sentence-transformers": ("packed", {"backend": "sentence-transformers"}),
    "onnx": ("packed", {"backend": "onnx"}),
    "openvino": ("packed", {"backend": "openvino"}),
    "late interaction": (tiny_families.COLBERT, {}),
    "prompted decoder": (tiny_families.QWEN3, {}),
    "prompted encoder and decoder": (tiny_families.MONOT5, {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("states")
    packed = build(BERT, parent)
    config = AlbertConfig(
        vocab_size=json.loads((packed / "config.json").read_text())["vocab_size"], embedding_size=16, hidden_size=32,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=1,
    )  # fmt: skip
    unpacked = parent / "unpacked"
    shutil.copytree(packed, unpacked)
    for file in (*unpacked.glob("*.safetensors"), *unpacked.glob("*.bin")):
        file.unlink()
    torch.manual_seed(1)
    AlbertForSequenceClassification(config).save_pretrained(unpacked)
    (unpacked / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    families = {name: tiny_families.build(name, parent) for name, _ in BACKENDS.values() if "/" in name}
    return {"packed": packed, "unpacked": unpacked, **families}


@pytest.fixture(scope="module")
def loaded(folders, tmp_path_factory):
    """Each backend's reranker, made on first use, and its scores."""
    made = {}

    def get(kind):
        if kind not in made:
            name, options = BACKENDS[kind]
            reranker = pyserini_rerank.load(folders[name], **({"backend": "torch"} | options))
            made[kind] = reranker, reranker.predict(PAIRS).tobytes()
        return made[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("graphs")))
        yield get
    for reranker, _ in made.values():
        reranker.close()


def state():
    """All of it that can be read."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "modes": [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")],
        "autocast": torch.get_autocast_dtype("cpu"),
        "deterministic": torch.get_deterministic_debug_mode(),
        "precision": [precision.fp32_precision, kernels.matmul.fp32_precision, kernels.matmul.allow_tf32],
        "mkldnn": [precision.mkldnn.enabled, precision.mkldnn.fp32_precision, precision.mkldnn.matmul.fp32_precision],
        "kernels": [kernels.flash_sdp_enabled(), kernels.mem_efficient_sdp_enabled(), kernels.math_sdp_enabled()],
        "threads": torch.get_num_threads(),
    }


#: The states in which `make test-all` tries the backends of other libraries; `make stress` tries them in all.
FEW_STATES = {"as it is", "autocast", "float64 by default", "another default device", "fake tensors"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=[pytest.mark.stress] * ("backend" in options and name not in FEW_STATES))
        for kind, (_, options) in BACKENDS.items()
        for name in STATES
    ],
)
def test_scores_and_loading_do_not_depend_on_it(folders, loaded, kind, name):
    reranker, expected = loaded(kind)
    folder, options = BACKENDS[kind]
    seed = torch.random.get_rng_state()
    with STATES[name]():
        before = None if "a mode of" in name else state()
        assert reranker.predict(PAIRS).tobytes() == expected
        with pyserini_rerank.load(folders[folder], **({"backend": "torch"} | options)) as another:
            assert another.predict(PAIRS).tobytes() == expected
            assert another.fingerprint == reranker.fingerprint
        assert before is None or state() == before
    assert torch.equal(torch.random.get_rng_state(), seed), "no random number is used up"


def test_in_the_cache_there_are_the_same_scores(folders, loaded, tmp_path):
    _, expected = loaded("unpacked")
    with (
        torch.autocast("cpu", torch.bfloat16),
        pyserini_rerank.load(folders["unpacked"], cache=tmp_path) as reranker,
    ):
        assert reranker.predict(PAIRS).tobytes() == expected
    with pyserini_rerank.load(folders["unpacked"], cache=tmp_path) as reranker:
        assert reranker.predict(PAIRS).tobytes() == expected and reranker.backend.known_scores == len(PAIRS)


def test_threads_of_the_callers_in_different_states(loaded):
    reranker, expected = loaded("unpacked")

    def work(name):
        with STATES[name]():
            return [reranker.predict(PAIRS).tobytes() for _ in range(3)]

    names = ["as it is", "autocast", "a device context", "inference_mode", "fake tensors", "no_grad"]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(work, names)) == [[expected] * 3] * len(names)


def test_a_setting_is_put_back_when_the_last_thread_is_done_unless_it_was_changed_meanwhile():
    inside, leave = threading.Barrier(3, timeout=30), threading.Event()

    def compute():
        assert torch.get_default_dtype() == torch.float32
        inside.wait()
        assert leave.wait(30)

    own = IsolatedThreads(2)
    for meanwhile, after in ((None, torch.float64), (torch.float16, torch.float16)):
        with changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64), ThreadPoolExecutor(2) as pool:
            leave.clear()
            both = [pool.submit(own, compute) for _ in range(2)]
            inside.wait()
            if meanwhile:
                torch.set_default_dtype(meanwhile)
            leave.set()
            assert [one.result() for one in both] == [None, None]
            assert torch.get_default_dtype() == after
    own.close()


def test_the_number_of_threads_is_that_of_the_load(folders, loaded):
    """And what the option asks for is nobody else's."""
    reranker, expected = loaded("unpacked")
    before = torch.get_num_threads()
    with changed(torch.get_num_threads, torch.set_num_threads, before + 2):
        assert reranker.predict(PAIRS).tobytes() == expected
        assert f", {before} threads" in reranker.backend.description["device"]
        assert torch.get_num_threads() == before + 2
    own = IsolatedThreads(1, 3)
    assert own(torch.get_num_threads) == 3
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before
    own.close()


@pytest.mark.parametrize("backend", ["torch", "sentence-transformers", "onnx", "openvino"])
def test_the_option_threads(folders, loaded, backend):
    kind = "packed" if backend == "torch" else backend
    _, expected = loaded(kind)
    with pyserini_rerank.load(folders["packed"], backend=backend, threads=3) as reranker:
        np.testing.assert_allclose(
            reranker.predict(PAIRS), np.frombuffer(expected, dtype=np.float32), rtol=0, atol=1e-4
        )
        assert ", 3 threads" in reranker.backend.description["device"]
    for threads in (0, -1, 2.0, "2", True):
        with pytest.raises(ValueError, match=r"^threads=.*: give a number of threads, or leave it out\.$"):
            pyserini_rerank.load(folders["packed"], backend=backend, threads=threads)


def test_models_that_begin_at_once_leave_the_number_of_threads():
    """Of torch's own, one for all threads to come, which each of them changes for a moment."""
    before = torch.get_num_threads()
    for _ in range(40):
        several = [IsolatedThreads(1, 1 + number % 4) for number in range(8)]
        with ThreadPoolExecutor(len(several)) as pool:
            counts = list(pool.map(lambda own: own(torch.get_num_threads), several))
        assert counts == [own.threads for own in several]
        for own in several:
            own.close()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == before


def test_a_batch_of_little_work_has_one_thread(folders, monkeypatch):
    """By the batch alone: its tokens, and what the model does with each."""
    from pyserini_rerank.scoring.backends import torch_backend as backend

    asked = []
    plain = backend.TorchBackend._forward

    def forward(self, pairs):
        asked.append((int(pairs.lengths.sum()), torch.get_num_threads()))
        return plain(self, pairs)

    monkeypatch.setattr(backend.TorchBackend, "_forward", forward)
    pairs = [("flea", "berlin " * words) for words in (1, 200, 300)]
    with changed(torch.get_num_threads, torch.set_num_threads, 2):
        for options, limit in (({}, 256), ({"threads": 2}, 0), ({"threads": 1}, 10_000)):
            with pyserini_rerank.load(folders["packed"], device="cpu", batch_tokens=1, **options) as reranker:
                reranker.predict(pairs)
            found, asked[:] = list(asked), []
            assert [threads for _, threads in found] == [1 if tokens <= limit else 2 for tokens, _ in found]
        monkeypatch.setattr(backend, "LITTLE_WORK", 1)
        with pyserini_rerank.load(folders["packed"], device="cpu") as reranker:
            reranker.predict(pairs[:1])
        assert asked[0][1] == 2


def test_a_call_that_is_interrupted_before_its_turn_is_not_computed():
    threads, begun, go_on, computed = IsolatedThreads(), threading.Event(), threading.Event(), []
    threading.Thread(target=threads, args=(lambda: (begun.set(), go_on.wait()),)).start()
    begun.wait()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            threads(computed.append, "interrupted")
    finally:
        go_on.set()
    threads(computed.append, "the next")
    threads.close()
    assert computed == ["the next"]


def test_threads_end_with_what_they_belong_to(folders):
    before = threading.active_count()
    reranker = pyserini_rerank.load(folders["packed"], device="cpu")
    reranker.predict(PAIRS)
    assert threading.active_count() > before
    del reranker
    gc.collect()
    until = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert threading.active_count() <= before  # others' may have ended, too
