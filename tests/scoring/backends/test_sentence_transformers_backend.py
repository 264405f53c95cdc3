"""The sentence-transformers backend: that library's own scores, without its activation, in batches that repeat."""

import json
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import torch
from pyserini_rerank.scoring.backends.sentence_transformers_backend import SentenceTransformersBackend
from pyserini_rerank.testing import PAIRS, QUERIES
from sentence_transformers import CrossEncoder
from tiny_checkpoints import build, change_weights, read_weights, weights_file

ONE_LABEL, TWO_LABELS = "cross-encoder/ms-marco-MiniLM-L-2-v2", "nboost/pt-tinybert-msmarco"
LONG = (QUERIES[0], "flea cat " * 400)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ONE_LABEL, tmp_path_factory.mktemp("sbert"))


@pytest.fixture(scope="session")
def tiny_margin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(TWO_LABELS, tmp_path_factory.mktemp("sbert"))


def load(folder, **options):
    return pyserini_rerank.load(folder, backend="sentence-transformers", **{"device": "cpu", **options})


def direct(folder):
    """What sentence-transformers gives by itself, a pair at a time: (n, labels)."""
    model = CrossEncoder(str(folder), device="cpu")
    return np.stack([model.predict([pair], activation_fn=torch.nn.Identity()).reshape(-1) for pair in PAIRS])


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


def test_one_label(tiny):
    scores = load(tiny).predict(PAIRS)
    assert scores.dtype == np.float32 and np.ptp(scores) > 0.1
    np.testing.assert_allclose(scores, direct(tiny)[:, 0], rtol=0, atol=1e-4)


def test_two_labels_are_a_margin(tiny_margin):
    logits = direct(tiny_margin)
    assert logits.shape == (len(PAIRS), 2)
    scores = load(tiny_margin).predict(PAIRS)
    np.testing.assert_allclose(scores, logits[:, 1] - logits[:, 0], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
@pytest.mark.parametrize("name", [ONE_LABEL, TWO_LABELS])
@pytest.mark.parametrize("max_length", [16, 512])
def test_the_same_as_the_torch_backend(tmp_path, name, max_length):
    folder = build(name, tmp_path)
    pairs = [*PAIRS, LONG, (LONG[1], "cat"), (LONG[1], LONG[1])]
    ours = pyserini_rerank.load(folder, device="cpu", max_length=max_length)
    theirs = load(folder, max_length=max_length)
    np.testing.assert_allclose(theirs.predict(pairs), ours.predict(pairs), rtol=0, atol=1e-4)
    assert theirs.counts == ours.counts and theirs.counts.cut_passages
    assert theirs.backend.max_length == max_length


def test_the_same_batches_as_the_torch_backend(tiny):
    plans = [
        [batch.positions.tolist() for batch in loaded.backend.plan(PAIRS).batches]
        for loaded in (load(tiny, batch_tokens=300), pyserini_rerank.load(tiny, device="cpu", batch_tokens=300))
    ]
    assert plans[0] == plans[1] and len(plans[0]) > 3


def test_the_bundled_model(reranker):
    scores = load("bundled").predict(PAIRS[:4])
    np.testing.assert_allclose(scores, reranker.predict(PAIRS[:4]), rtol=0, atol=1e-4)


def test_another_number_of_labels(tmp_path):
    folder = build(TWO_LABELS, tmp_path)
    head = read_weights(weights_file(folder))
    config = json.loads((folder / "config.json").read_text())
    config.pop("num_labels", None)
    labels = {str(i): f"LABEL_{i}" for i in range(3)}
    config |= {"id2label": labels, "label2id": {label: int(i) for i, label in labels.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    for part in ("weight", "bias"):
        value = head[f"classifier.{part}"]
        change_weights(folder, lambda w, part=part, value=value: w.update({f"classifier.{part}": value[[0, 1, 1]]}))
    with pytest.raises(ValueError) as error:
        load(folder)
    assert "has 3 labels" in one_line(error) and str(folder) in str(error.value)


def test_weights_that_are_not_there_are_not_made_up(tmp_path):
    folder = build(ONE_LABEL, tmp_path)
    change_weights(folder, lambda weights: weights.pop("classifier.weight"))
    with pytest.raises(ValueError) as error:
        load(folder)
    assert one_line(error) == f"{folder} has no weights for classifier.weight: it is no cross-encoder."


# -------------------------------------------------------------------------------------------------------------- prompts


@pytest.fixture(scope="module")
def prompted(tiny, tmp_path_factory):
    """A checkpoint that sentence-transformers saved, with two prompts."""
    folder = tmp_path_factory.mktemp("prompted")
    prompts = {"web": "how long is the ", "fleas": "flea "}
    model = CrossEncoder(str(tiny), device="cpu", prompts=prompts, default_prompt_name="web")
    model.save_pretrained(str(folder))
    return folder


def test_the_checkpoints_prompt_goes_before_the_query(tiny, prompted):
    loaded = load(prompted)
    assert loaded.backend.added == 4
    expected = load(tiny).predict([(f"how long is the {query}", passage) for query, passage in PAIRS])
    np.testing.assert_allclose(loaded.predict(PAIRS), expected, rtol=0, atol=1e-4)
    assert np.abs(load(tiny).predict(PAIRS) - expected).max() > 1e-2, "or the comparison says nothing"


def test_another_of_its_prompts(tiny, prompted):
    expected = load(tiny).predict([(f"flea {query}", passage) for query, passage in PAIRS])
    np.testing.assert_allclose(load(prompted, prompt_name="fleas").predict(PAIRS), expected, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="'cats' not found in the configured prompts") as error:
        load(prompted, prompt_name="cats")
    assert one_line(error)


def test_a_prompt_counts_in_lengths_and_cuts(prompted):
    backend = load(prompted, max_length=16).backend
    fits, cut = ("cat", "cat " * 8), ("cat", "cat " * 9)  # 3 special tokens, 4 of the prompt, 1 of the query
    assert [len(backend.plan([pair]).cut_passages) for pair in (fits, cut)] == [0, 1]
    assert len(backend.model.preprocess([fits], prompt="how long is the ")["input_ids"][0]) == 16
    for budget, batches in ((32, 1), (31, 2)):
        backend.budget = budget
        assert len(backend.plan([fits, fits]).batches) == batches


# ---------------------------------------------------------------------------------------------------------- fingerprint


def test_the_fingerprint_changes_with_all_that_changes_scores(tiny, prompted, tmp_path):
    changed = build(ONE_LABEL, tmp_path)
    change_weights(changed, lambda weights: weights["classifier.bias"].add_(1))
    prints = [
        SentenceTransformersBackend(folder, device="cpu", **options).fingerprint
        for folder, options in [
            (tiny, {}),
            (tiny, {"max_length": 64}),
            (tiny, {"dtype": "bfloat16"}),
            (changed, {}),
            (prompted, {}),
            (prompted, {"prompt_name": "fleas"}),
        ]
    ]
    assert len(set(prints)) == len(prints) and all(prints)


def test_a_hub_name_without_a_commit_has_no_fingerprint(tiny):
    backend = SentenceTransformersBackend(tiny, device="cpu")
    backend._source = "org/name"
    assert backend.fingerprint == ""
    del backend.fingerprint
    backend.model.config._commit_hash = "0123abcd"
    assert len(backend.fingerprint) == 32


# -------------------------------------------------------------------------------------------------------------- options


def test_half_precision(tiny):
    half = load(tiny, dtype="bfloat16")
    assert {weight.dtype for weight in half.backend.model.parameters()} == {torch.bfloat16}
    scores = half.predict(PAIRS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, load(tiny).predict(PAIRS), rtol=0, atol=0.5)


@pytest.mark.parametrize("max_length", [-1, 0, 4, 513])
def test_a_max_length_that_the_model_does_not_have(tiny, max_length):
    with pytest.raises(ValueError) as error:
        load(tiny, max_length=max_length)
    assert f"max_length is {max_length}:" in one_line(error)


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (tmp_path, "no-such/checkpoint"):
        with pytest.raises((OSError, ValueError)) as error:
            load(name)
        assert f"sentence-transformers cannot load {name}:" in one_line(error)
