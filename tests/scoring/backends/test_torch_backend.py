"""The torch backend: the same scores whatever else is in a batch, bounded memory, clear errors."""

import gzip
import json
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyserini_rerank
import pytest
import torch
from pyserini_rerank.model import ModelReranker
from pyserini_rerank.scoring.backend import OutOfMemoryWarning
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.scoring.device import BATCH_TOKENS
from tiny_checkpoints import build, change_weights, read_weights, weights_file

DL19 = Path(__file__).parents[4] / "shared" / "data" / "dl19" / "bm25-top100.json.gz"
TINY = "cross-encoder/ms-marco-MiniLM-L-2-v2"

cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")]
mps = [pytest.mark.gpu, pytest.mark.skipif(not torch.backends.mps.is_available(), reason="torch sees no MPS device")]


@pytest.fixture(scope="session")
def pairs(documents, queries):
    """Two hundred real pairs: short passages of MS MARCO's where they are, else questions and docstrings."""
    if DL19.is_file():
        topics = json.loads(gzip.decompress(DL19.read_bytes()))
        found = [(topic["query"], hit["content"]) for topic in topics for hit in topic["hits"]]
    else:
        found = [(query, text) for text in documents.values() for query in queries]
    shortest = sorted(found, key=lambda pair: len(pair[1]))
    return shortest[:400:2]


@pytest.fixture(scope="session")
def few(pairs):
    """A dozen pairs, two longer ones and some very short ones among them."""
    query, long = pairs[0][0], " ".join(text for _, text in pairs[:6])
    short = [(query, "flea"), ("a", "b"), ("x", "?"), ("flea", "cat")]
    return [*pairs[:140:20], (query, long), (long[:300], "flea"), *short]


@pytest.fixture(scope="session")
def scores(reranker, pairs):
    return reranker.predict(pairs)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small checkpoint with random weights, for what does not depend on them."""
    return build(TINY, tmp_path_factory.mktemp("tiny"))


def load(folder, **options):
    return pyserini_rerank.load(folder, **{"device": "cpu", "dtype": "float32", **options})


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# ------------------------------------------------------------------------------------------------------- the scores


@pytest.fixture(scope="session")
def together(reranker, few):
    return reranker.predict(few)


def test_scores_do_not_depend_on_what_else_is_in_the_batch(reranker, few, together):
    alone = np.concatenate([reranker.predict([pair]) for pair in few])
    assert together.dtype == np.float32 and together.shape == (len(few),)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    assert together.std() > 1, "or the comparison says nothing"


def test_repetition_is_bit_identical(reranker, few, together):
    assert reranker.predict(few).tobytes() == together.tobytes()


def test_loading_again_is_bit_identical(tiny, few):
    assert load(tiny).predict(few).tobytes() == load(tiny).predict(few).tobytes()


def test_the_order_of_the_pairs_does_not_matter(reranker, few, together):
    order = np.random.default_rng(0).permutation(len(few))
    np.testing.assert_allclose(reranker.predict([few[i] for i in order]), together[order], rtol=0, atol=1e-4)


def test_equal_pairs_are_scored_once_and_get_equal_scores(reranker, few):
    before = (reranker.counts.pairs, reranker.counts.scored)
    doubled = reranker.predict([*few[:5], *few[:5][::-1], few[0]])
    assert (reranker.counts.pairs - before[0], reranker.counts.scored - before[1]) == (11, 5)
    assert doubled[:5].tobytes() == doubled[5:10][::-1].tobytes()
    assert doubled[0] == doubled[10]


@pytest.mark.parametrize(("batch_tokens", "batches"), [(256, range(3, 12)), (100_000, (1,))])
def test_the_batches_size_does_not_change_the_scores(few, together, batch_tokens, batches):
    reranker = load("bundled", batch_tokens=batch_tokens)
    assert len(reranker.backend.plan(few).batches) in batches
    np.testing.assert_allclose(reranker.predict(few), together, rtol=0, atol=1e-4)


def test_sentence_transformers_agrees(pairs, scores, reranker):
    from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
    from sentence_transformers import CrossEncoder

    assert len(pairs) == 200
    model = CrossEncoder(str(bundled.folder()), device="cpu", max_length=512, model_kwargs={"dtype": torch.float32})
    expected = model.predict(pairs, batch_size=16, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    assert np.abs(scores - expected).max() < 1e-3
    assert scores.std() > 0.5, "or the comparison says nothing"
    assert reranker.backend.dtype == torch.float32


def test_probability_is_the_cards_scale(reranker):
    texts = ["Fleas live for 75 days.", "Berlin"]
    raw = reranker.score("How long do fleas live?", texts)
    shown = reranker.score("How long do fleas live?", texts, probability=True)
    np.testing.assert_allclose(shown, torch.sigmoid(torch.tensor(raw)).numpy(), rtol=1e-5)
    assert shown.dtype == np.float32 and (shown > 0).all() and (shown < 1).all()


def test_no_texts_and_no_pairs(reranker):
    for nothing in (reranker.score("flea", []), reranker.predict([])):
        assert nothing.shape == (0,) and nothing.dtype == np.float32


# ------------------------------------------------------------------------------------------------------- max_length


@pytest.mark.parametrize("max_length", [5, 16, 33, 512])
def test_max_length(tiny, few, max_length):
    """Cut there, the scores are those of Hugging Face's model on Hugging Face's cut."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    few = [*few, (few[0][0], "flea cat " * 400)]
    reranker = load(tiny, max_length=max_length)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForSequenceClassification.from_pretrained(tiny).eval()
    with torch.no_grad():
        expected = [
            float(model(**tokenizer(*pair, truncation=True, max_length=max_length, return_tensors="pt")).logits[0, 0])
            for pair in few
        ]
    with pytest.warns(pyserini_rerank.CutWarning, match=f"were cut to {max_length} tokens"):
        np.testing.assert_allclose(reranker.predict(few), expected, rtol=0, atol=1e-4)
    assert reranker.backend.max_length == max_length


def test_the_usual_length_is_the_models_limit_and_512_at_most(tiny, reranker):
    assert reranker.backend.max_length == load(tiny).backend.max_length == 512


@pytest.mark.parametrize("max_length", [-1, 0, 1, 4, 513, 100_000])
def test_a_max_length_that_the_model_does_not_have(tiny, max_length):
    with pytest.raises(ValueError) as error:
        load(tiny, max_length=max_length)
    message = one_line(error)
    assert f"max_length is {max_length}:" in message and "pairs of 5 to 512 tokens" in message


def test_cut_queries_and_passages_are_counted_apart_and_warned_of_once(tiny):
    reranker = load(tiny)
    long = "flea " * 600
    with pytest.warns(pyserini_rerank.CutWarning) as caught:
        reranker.predict([("flea", long), ("cat", long), (long, "cat"), ("flea", "cat")])
        reranker.predict([(long, long)])
    assert (reranker.counts.cut_passages, reranker.counts.cut_queries) == (3, 2)
    [message] = [str(warning.message) for warning in caught]
    assert message.startswith("2 of 4 passages and 1 queries were cut to 512 tokens.")
    assert caught[0].filename == __file__


def test_passages_in_a_script_that_the_vocabulary_lacks_are_counted_and_warned_of(tiny):
    reranker = load(tiny)
    with pytest.warns(pyserini_rerank.UnknownTextWarning, match="2 of 3 passages are mostly unknown to the vocab"):
        reranker.predict([("flea", "ꙮ ༀ ༁"), ("flea", "༂ ༃ the"), ("flea", "the cat")])
    assert reranker.counts.unknown == 2


# --------------------------------------------------------------------------------------------------- device and dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_on_the_cpu_with_the_head_in_float32(few, together, dtype):
    half = load("bundled", dtype=dtype)
    model = half.backend.family.model
    assert {weight.dtype for weight in model.bert.parameters()} == {getattr(torch, dtype)}
    assert {weight.dtype for weight in model.classifier.parameters()} == {torch.float32}
    scores = half.predict(few[:3])
    assert scores.dtype == np.float32
    assert (torch.tensor(scores).to(getattr(torch, dtype)).float().numpy() != scores).any(), "scores in half precision"
    np.testing.assert_allclose(scores, together[:3], rtol=0, atol=0.3)


def test_the_dtype_that_is_stored_does_not_count(tiny, few, tmp_path):
    """transformers 5 loads the dtype that is stored."""
    folder = build(TINY, tmp_path)
    halves = {
        key: value.half() for key, value in read_weights(weights_file(folder)).items() if value.dtype.is_floating_point
    }
    change_weights(folder, lambda weights: weights.update(halves))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "float16", "dtype": "float16"}))
    reranker = pyserini_rerank.load(folder, device="cpu")
    assert {weight.dtype for weight in reranker.backend.family.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(reranker.predict(few), load(tiny).predict(few), rtol=0, atol=0.05)


def test_the_usual_dtype_on_a_cpu_is_float32(tiny):
    assert pyserini_rerank.load(tiny, device="cpu").backend.dtype == torch.float32


def test_the_usual_device(tiny):
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    reranker = pyserini_rerank.load(tiny)
    assert reranker.backend.device.type == best
    assert reranker.backend.budget == BATCH_TOKENS[best]


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "cuda:99"])
def test_a_cuda_device_that_is_not_there(tiny, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError) as error:
        load(tiny, device=device)
    assert one_line(error) == f"device='{device}' is not there: torch sees 0 CUDA devices. Take 'cpu'."


def test_the_second_of_one_cuda_device(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="device='cuda:1' is not there: torch sees 1 CUDA devices"):
        load(tiny, device="cuda:1")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_mps_that_is_not_there(tiny):
    with pytest.raises(ValueError) as error:
        load(tiny, device="mps")
    assert "device='mps' is not there" in one_line(error) and "Take 'cpu'" in str(error.value)


@pytest.mark.parametrize(
    "device",
    [
        torch.device("cpu"),
        ["cpu"],
        ("cpu",),
        [torch.device("cpu")],
        iter(["cpu"]),
        [None],
        " cpu ",
        torch.device("cpu", 0),
    ],
)
def test_a_device_as_torch_has_it(tiny, device):
    with load(tiny) as named, load(tiny, device=device, dtype=torch.float32) as given:
        if torch.cuda.is_available() and device == [None]:
            return
        assert given.backend.description == named.backend.description
        assert given.fingerprint == named.fingerprint


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_dtype_as_torch_has_it(tiny, dtype):
    with load(tiny, dtype=dtype) as given, load(tiny, dtype=str(dtype).removeprefix("torch.")) as named:
        assert given.backend.dtype == dtype and given.fingerprint == named.fingerprint
        assert given.backend.description == named.backend.description


@pytest.mark.parametrize(
    "device", [torch.device("cuda", 0), 0, 7, torch.device("cuda"), [0], (torch.device("cuda", 1), 0)]
)
def test_a_cuda_device_as_torch_has_it_that_is_not_there(tiny, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"^device='cuda(:\d)?' is not there: torch sees 0 CUDA devices. Take "):
        load(tiny, device=device)


@pytest.mark.parametrize("device", [1.5, True, b"cpu", {"cpu": 1.0}.values(), [["cpu"]], object(), -1, [], ()])
def test_what_names_no_device(tiny, device):
    with pytest.raises((TypeError, ValueError), match=r"^device=") as error:
        load(tiny, device=device)
    one_line(error)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, 32, float, np.float32, ["float32"]], ids=str)
@pytest.mark.parametrize("backend", ["torch", "sentence-transformers", "onnx"])
def test_what_names_no_dtype(tiny, dtype, backend):
    if (backend, dtype) == ("onnx", torch.int8):
        return  # it has that one
    with pytest.raises(ValueError, match=r"^dtype=.*(there are|has) float32") as error:
        pyserini_rerank.load(tiny, dtype=dtype, backend=backend)
    one_line(error)


@pytest.mark.parametrize("device", ["tpu", "gpu", "", "cuda:x", "meta", "xpu", "CPU"])
def test_what_is_no_device(tiny, device):
    with pytest.raises(ValueError) as error:
        load(tiny, device=device)
    message = one_line(error)
    assert f"device='{device}'" in message and "'cpu'" in message


@pytest.mark.parametrize("dtype", ["fp16", "int8", "", "double", "float64", "torch.float32"])
def test_a_bad_dtype(tiny, dtype):
    with pytest.raises(ValueError) as error:
        load(tiny, dtype=dtype)
    assert one_line(error) == f"dtype='{dtype}': there are float32, bfloat16, float16."


def test_a_backend_that_is_not_there(tiny):
    with pytest.raises(ValueError) as error:
        pyserini_rerank.load(tiny, backend="tensorflow")
    assert "there is no backend 'tensorflow': there are " in one_line(error) and "torch" in str(error.value)


def test_an_option_that_is_not_there(tiny):
    with pytest.raises(TypeError, match="batch_size"):
        load(tiny, batch_size=32)


@pytest.mark.parametrize("batch_tokens", ["much", 0, -5])
def test_a_bad_budget(tiny, batch_tokens):
    with pytest.raises(ValueError, match="batch_tokens") as error:
        load(tiny, batch_tokens=batch_tokens)
    one_line(error)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda), pytest.param("mps", marks=mps)])
def test_on_a_gpu(device, few, together):
    on_gpu = pyserini_rerank.load("bundled", device=device)
    first = on_gpu.predict(few)
    assert first.tobytes() == on_gpu.predict(few).tobytes()
    np.testing.assert_allclose(first, together, rtol=0, atol=0.3)
    exact = pyserini_rerank.load("bundled", device=device, dtype="float32")
    np.testing.assert_allclose(exact.predict(few), together, rtol=0, atol=2e-3)
    alone = np.concatenate([exact.predict([pair]) for pair in few])
    np.testing.assert_allclose(exact.predict(few), alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_closing_frees_the_gpu(device):
    before = torch.cuda.memory_allocated()
    on_gpu = pyserini_rerank.load("bundled", device=device)
    assert torch.cuda.memory_allocated() > before + 50_000_000
    on_gpu.close()
    assert torch.cuda.memory_allocated() <= before + 1_000_000


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.slow
def test_memory_is_bounded_by_the_budget_and_not_by_the_number_of_pairs(tiny):
    """100,000 pairs: the largest thing that the model sees at once fits the budget."""
    reranker = load(tiny, batch_tokens=2048)
    sizes = []

    class Model:
        def __call__(self, input_ids, position_ids, token_type_ids, packing):
            sizes.append(input_ids.numel())
            assert input_ids.shape == position_ids.shape == token_type_ids.shape
            sums = [own.sum() for own in input_ids[0].split(packing.bounds.diff().tolist())]
            return SimpleNamespace(logits=torch.stack(sums)[:, None].float())

    reranker.backend.family.model = Model()
    texts = [f"flea {i} " + "cat " * (i % 11) for i in range(100_000)]
    scores = reranker.score("flea", texts)
    assert scores.shape == (100_000,)
    assert max(sizes) <= 2048
    assert len(sizes) > 400
    direct = reranker.backend.encoder.pad(reranker.backend.encoder.encode([("flea", texts[777])]), 0)[0].sum()
    assert scores[777] == direct, "results are put back in order"


def limit_memory(monkeypatch, most):
    """Have the device run out of memory at more tokens than that, as torch says it; gives the shapes that fit."""
    plain, shapes = TorchBackend._forward, []

    def forward(self, pairs):
        tokens = len(pairs) * int(pairs.lengths.max())
        if tokens > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
        shapes.append(tokens)
        return plain(self, pairs)

    monkeypatch.setattr(TorchBackend, "_forward", forward)
    return shapes


def test_what_the_device_has_no_memory_for_goes_through_in_parts(tiny, few, monkeypatch):
    with load(tiny, batch_tokens=4000) as reranker:
        expected = reranker.predict(few)
        planned = [batch.positions.tolist() for batch in reranker.backend.plan(few).batches]
    shapes = limit_memory(monkeypatch, 900)
    with load(tiny, batch_tokens=4000) as reranker:
        with pytest.warns(OutOfMemoryWarning, match=r"cpu had no memory for 4,000 tokens: batches are cut") as said:
            scores = reranker.predict(few)
        assert len(said) == 1
        assert scores == pytest.approx(expected, abs=1e-5)
        fits = reranker.backend.fits
        assert max(shapes) <= fits <= 900 and reranker.backend.description["batch_tokens"] == str(fits)
        # The new budget is remembered; the plan is the one that it was.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(reranker.predict(few), scores)
        assert [batch.positions.tolist() for batch in reranker.backend.plan(few).batches] == planned


@pytest.mark.parametrize("most", [None, 600], ids=["", "memory gives out"])
def test_two_batches_at_once_as_on_a_gpu(tiny, few, most, monkeypatch):
    """Each waits for the other once, so that they are under way together."""
    with load(tiny, batch_tokens=1000) as reranker:
        expected = reranker.predict(few)
        assert len(reranker.backend.plan(few).batches) > 1
        shapes = limit_memory(monkeypatch, most) if most else None
        both, plain, first = threading.Barrier(2, timeout=60), TorchBackend.run, threading.local()

        def run(self, batch):
            if not hasattr(first, "done"):
                first.done = both.wait() is not None
            return plain(self, batch)

        monkeypatch.setattr(TorchBackend, "run", run)
        reranker.backend.workers = 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutOfMemoryWarning)
            scores = ModelReranker(reranker.backend, "").predict(few)
        if most:
            assert scores == pytest.approx(expected, abs=1e-5)
            assert max(shapes) <= most and reranker.backend.fits <= most
        else:
            assert scores.tobytes() == expected.tobytes()


def test_without_memory_for_one_pair_it_says_so(tiny, few, monkeypatch):
    limit_memory(monkeypatch, 1)
    with load(tiny) as reranker, pytest.raises(RuntimeError) as error:
        reranker.predict(few)
    assert "cpu has no memory for one pair of" in one_line(error)


def test_another_error_is_not_tried_again(tiny, few, monkeypatch):
    calls = []

    def forward(self, pairs):
        calls.append(pairs)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(TorchBackend, "_forward", forward)
    with load(tiny) as reranker, pytest.raises(RuntimeError, match="illegal memory"):
        reranker.predict(few)
    assert len(calls) == 1


def test_one_pair_longer_than_the_budget_is_a_batch_of_its_own(tiny):
    backend = load(tiny, batch_tokens=64).backend
    plan = backend.plan([("flea", "cat " * 200), ("flea", "cat"), ("flea", "dog")])
    assert [batch.positions.tolist() for batch in plan.batches] == [[0], [1, 2]]


def test_the_plan_is_a_function_of_the_pairs_alone(reranker, few):
    plans = [[batch.positions.tolist() for batch in reranker.backend.plan(few).batches] for _ in range(2)]
    assert plans[0] == plans[1]


def test_no_gradients_and_no_dropout(reranker):
    assert not reranker.backend.family.model.training
    [batch] = reranker.backend.plan([("flea", "cat")]).batches
    seen = []
    handle = reranker.backend.family.model.register_forward_hook(lambda *args: seen.append(args[2].logits))
    try:
        reranker.backend.run(batch)
    finally:
        handle.remove()
    assert not seen[0].requires_grad


# ------------------------------------------------------------------------------------------------------ bad weights


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number(tmp_path, value):
    folder = build(TINY, tmp_path)
    change_weights(folder, lambda weights: weights["classifier.bias"].fill_(value))
    reranker = load(folder)
    with pytest.raises(FloatingPointError) as error:
        reranker.score("how long do fleas live", ["a cat", "a dog"])
    message = one_line(error)
    assert str(folder) in message and f"scored {value} for 2 pairs" in message
    assert "'how long do fleas live'" in message and "'a cat'" in message and "dtype='float32'" in message


def test_one_score_of_many_that_is_no_number(tmp_path):
    """A single damaged word vector: the passage that has the word is named."""
    folder = build(TINY, tmp_path)
    reranker = load(folder)
    [position] = reranker.backend.encoder.tokenizer.encode("museum", add_special_tokens=False).ids
    reranker.backend.family.model.bert.embeddings.word_embeddings.weight.data[position] = float("nan")
    texts = ["the cat", "a dog", "a museum well known", "a bird"]
    with pytest.raises(FloatingPointError) as error:
        reranker.score("flea", texts)
    assert "scored nan for 1 pairs" in one_line(error) and "'a museum well known'" in str(error.value)
    assert np.isfinite(reranker.score("flea", [texts[0], texts[1], texts[3]])).all()


# ------------------------------------------------------------------------------------------------------------ closing


def test_a_closed_reranker(tiny):
    reranker = load(tiny)
    reranker.close()
    reranker.close()
    with pytest.raises(RuntimeError) as error:
        reranker.score("flea", ["cat"])
    assert "is closed: load it again" in one_line(error) and str(tiny) in str(error.value)


def test_several_threads(reranker, few):
    from concurrent.futures import ThreadPoolExecutor

    some = few[:12]
    expected = [reranker.predict(some[i : i + 3]) for i in range(0, 12, 3)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: reranker.predict(some[i : i + 3]), range(0, 12, 3)))
    assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]


def test_the_backend_follows_its_protocol(tiny):
    backend = TorchBackend(tiny, device="cpu")
    plan = backend.plan([("flea", "cat"), ("flea", "a dog")])
    scores = np.empty(2, dtype=np.float32)
    for batch in plan.batches:
        scores[batch.positions] = backend.run(batch)
    assert scores.tobytes() == load(tiny).predict([("flea", "cat"), ("flea", "a dog")]).tobytes()
    assert not any(map(len, (plan.cut_passages, plan.cut_queries, plan.unknown)))
