"""The model that is trained: which bases there are, and that it begins with their scores."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import tiny_architectures
import tiny_checkpoints as tiny
import tiny_families
import tiny_modular
import torch
from learnable import FAST, FOUR_LAYERS, NAME, student_of
from pyserini_rerank import train
from pyserini_rerank.training.quiet import quiet
from pyserini_rerank.training.student import make_student
from pyserini_rerank.training.training_data import TrainingData
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

PAIRS = [
    ("how many people live in Berlin", "Berlin is a big city with many people"),
    ("flea", "the long life cycle of a flea"),
    ("wine", "iron and gold"),
    ("Café Zürich", "red green blue paper the cafe"),
]


def scores(model: Any) -> np.ndarray:
    return np.array([model.predict([pair])[0] for pair in PAIRS])


def loaded(folder: Path, **options: Any) -> np.ndarray:
    with pyserini_rerank.load(folder, device="cpu", dtype="float32", **options) as reranker:
        return np.array([reranker.score(query, [text])[0] for query, text in PAIRS])


def saved(model: Any, folder: Path) -> Path:
    with quiet():
        model.save_pretrained(str(folder), create_model_card=False)
    return folder


def refusal(base: Any, **options: Any) -> str:
    with pytest.raises(ValueError) as error, quiet():
        make_student(base, options.get("max_length"))
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Bases


@pytest.mark.parametrize("name", [name for name in (*tiny.NAMES, *tiny.FURTHER) if not name.startswith("cross-enc")])
def test_a_checkpoint_of_the_catalogue(name: str, tmp_path: Path) -> None:
    """It begins with the scores that it has in this package, or is refused where transformers would draw weights."""
    base = tiny.build(name, tmp_path)
    if name.startswith(("Capreolus", "sebastian", "webis")):
        assert refusal(base).endswith(" is no plain cross-encoder: name an encoder such as BERT, or a classifier.")
        return
    model = student_of(base)
    right = loaded(base)
    assert np.abs(scores(model) - right).max() < 1e-5 and np.ptp(right) > 0.1
    assert np.abs(loaded(saved(model, tmp_path / "saved")) - right).max() < 1e-5


def test_two_labels_become_their_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tiny.build("nboost/pt-bert-base-uncased-msmarco", tmp_path)
    model = student_of(base)
    assert f"{base} has two labels: the difference of the two becomes its one label" in capsys.readouterr().err
    tokenizer, theirs = (kind.from_pretrained(base) for kind in (AutoTokenizer, AutoModelForSequenceClassification))
    with torch.no_grad():
        logits = [theirs(**tokenizer(*pair, return_tensors="pt")).logits[0] for pair in PAIRS]
    assert np.abs(scores(model) - [float(two[1] - two[0]) for two in logits]).max() < 1e-5
    assert AutoModelForSequenceClassification.from_pretrained(saved(model, tmp_path / "saved")).config.num_labels == 1


def test_three_labels(tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    tiny.change_weights(
        base, lambda w: w.update({key: w[key].repeat(3, *[1] * (w[key].dim() - 1)) for key in w if "classifier" in key})
    )
    labels = {str(label): f"LABEL_{label}" for label in range(3)}
    tiny_architectures.change(base, "config.json", num_labels=3, id2label=labels, label2id=None)
    assert refusal(base).endswith("has 3 labels: name a model with one or two, or without.")


@pytest.mark.slow
def test_an_encoder_gets_a_head(data: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one without a pooler, that is new as well; the seed decides the new weights, and with them the layers."""
    whole = tiny.build(FOUR_LAYERS, tmp_path / "whole")
    base = tmp_path / "encoder"
    AutoModel.from_pretrained(whole, add_pooling_layer=False).save_pretrained(base)
    AutoTokenizer.from_pretrained(whole).save_pretrained(base)
    made = [train(data, base, tmp_path / f"{n}", **{**FAST, "epochs": 0.3}, layers=2) for n in range(2)]
    assert f"{base} has no head: a new one is made, with random weights." in capsys.readouterr().err
    first, second = (tiny.read_weights(one.folder / "model.safetensors") for one in made if one)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not any("pooler" in key for key in tiny.read_weights(base / "model.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        *("roberta", "deberta-v2", "modernbert"),
        *(
            pytest.param(kind, marks=pytest.mark.stress)
            for kind in ("bert", "distilbert", "electra", "xlm-roberta", "deberta", "mpnet", "camembert")
        ),
    ],
)
def test_an_architecture_is_trained_and_loaded(kind: str, data: TrainingData, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    modern = kind == "modernbert"
    base = tiny_families.build(tiny_families.GTE, tmp_path) if modern else tiny_architectures.build(kind, tmp_path)
    before = loaded(base)
    assert np.abs(scores(student_of(base)) - before).max() < 1e-5
    precision = "float32" if kind == "deberta" else "bfloat16"
    options = {**FAST, "epochs": 0.3, "layers": 1 if not modern else 2, "precision": precision}
    made = train(data, base, tmp_path / "out", **options)
    assert made
    assert "float32_sdpa" not in (made.folder / "config.json").read_text()
    after = loaded(made.folder)
    assert np.abs(after - before).max() > 1e-3
    assert np.abs(scores(CrossEncoder(str(made.folder), device="cpu")) - after).max() < 1e-5


@pytest.mark.parametrize(
    "name", [tiny_families.MONOT5, tiny_families.QWEN3, tiny_families.MXBAI, tiny_families.COLBERT, "modular"]
)
@pytest.mark.parametrize("is_renamed", [False, True], ids=["known", "of an unknown name"])
def test_bases_that_are_no_plain_classifiers(name: str, is_renamed: bool, tmp_path: Path) -> None:
    base = tiny_modular.build(tmp_path) if name == "modular" else tiny_families.build(name, tmp_path)
    if is_renamed:
        base = base.rename(tmp_path / "unknown")
    said = refusal(base)
    assert "name an encoder such as BERT, or a" in said


def test_weights_that_are_lacking(tmp_path: Path) -> None:
    """transformers would draw them by chance: it says so in a report that nobody reads."""
    base = tiny.build("xpmir/cross-encoder-ELECTRA-DistillRankNET", tmp_path)
    tiny.change_weights(base, lambda weights: [weights.pop(key) for key in list(weights) if "classifier.dense" in key])
    assert "it lacks classifier.dense.bias, classifier.dense.weight" in refusal(base)
    encoder = tmp_path / "encoder"
    shutil.copytree(base, encoder)
    tiny_architectures.change(encoder, "config.json", architectures=["ElectraModel"])
    tiny.change_weights(encoder, lambda weights: weights.pop("electra.encoder.layer.1.output.dense.weight"))
    assert "it lacks electra.encoder.layer.1.output.dense.weight" in refusal(encoder)


def test_a_damaged_base(tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    tiny.weights_file(base).write_bytes(b"cut")
    assert "cannot be read" in refusal(base)
    tiny_architectures.change(base, "config.json", model_type="nothing-known")
    assert "cannot be read" in refusal(base)


def test_a_base_in_half_precision_is_trained_in_float32(tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "half")
    assert {weight.dtype for weight in student_of(tmp_path / "half").parameters()} == {torch.float32}


# Lengths


@pytest.mark.parametrize(("kind", "most"), [("bert", 64), ("roberta", 64), ("deberta-v2", 64)])
def test_the_length(kind: str, most: int, tmp_path: Path) -> None:
    """RoBERTa's kind has two positions more than it reads; by default a base is read to its end, to 512 at most."""
    base = tiny_architectures.build(kind, tmp_path)
    model = student_of(base)
    assert model[0].max_seq_length == most == model.tokenizer.model_max_length
    with quiet():
        short = make_student(base, 20)
    text = "the long life cycle of a flea " * 20
    folder = saved(short, tmp_path / "saved")
    with pytest.warns(pyserini_rerank.CutWarning), pyserini_rerank.load(folder, device="cpu") as reranker:
        assert abs(reranker.score("flea", [text])[0] - short.predict([("flea", text)])[0]) < 1e-5
        assert "cut to 20 tokens" in str(reranker) or reranker.counts.cut_passages == 1
    assert refusal(base, max_length=most + 1).endswith(f"reads pairs of 5 to {most} tokens.")
    assert "reads pairs of" in refusal(base, max_length=4)
