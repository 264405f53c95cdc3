"""The layers of a base that a student keeps: those that are named, and those that are chosen."""

from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import tiny_architectures
import tiny_checkpoints as tiny
import tiny_families
import torch
from learnable import FAST, FOUR_LAYERS, NAME, student_of, write_data
from pyserini_rerank import train
from pyserini_rerank.training.layers import PAIRS, _pairs, choose_layers, keep_layers
from pyserini_rerank.training.loop import Trainer
from pyserini_rerank.training.quiet import quiet
from pyserini_rerank.training.training_data import TrainingData
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def kept_of(base: Path, layers: Any) -> Any:
    model = student_of(base)
    assert keep_layers(model, layers) == list(layers)
    return model


def pairs_of(data: TrainingData) -> list[tuple[str, str]]:
    return [(query.query, document.text) for query in data.queries("train") for document in query.documents]


def check_it_loads(model: Any, folder: Path, data: TrainingData) -> None:
    """Check that the files of a model have its scores."""
    with quiet():
        model.save_pretrained(str(folder), create_model_card=False)
    pairs = pairs_of(data)[:4]
    with pyserini_rerank.load(folder, device="cpu", dtype="float32") as reranker:
        assert np.abs(reranker.predict(pairs) - model.predict(pairs)).max() < 1e-5


def chosen_by_trying(base: Path, count: int, pairs: list[tuple[str, str]]) -> list[int]:
    """Choose layers as `choose_layers` says that it does it, by models that are made of the files."""
    kept = list(range(student_of(base)[0].model.config.num_hidden_layers))
    right = student_of(base).predict(pairs)
    while len(kept) > count:
        agreement = {
            left_out: np.corrcoef(right, kept_of(base, [n for n in kept if n != left_out]).predict(pairs))[0, 1]
            for left_out in kept[1:]
        }
        kept.remove(max(agreement, key=agreement.__getitem__))
    return kept


# Layers that are named


@pytest.mark.parametrize("layers", [[0], [3], [1, 2], (0, 3), np.array([0, 1, 2]), range(4)], ids=str)
def test_layers_are_kept(layers: Any, data: TrainingData, tmp_path: Path) -> None:
    base = tiny.build(FOUR_LAYERS, tmp_path)
    model = kept_of(base, layers)
    before = tiny.read_weights(tiny.weights_file(base))
    after = model[0].model.state_dict()
    key = "bert.encoder.layer.{}.output.dense.weight"
    for place, layer in enumerate(layers):
        assert torch.equal(after[key.format(place)], before[key.format(layer)])
    assert key.format(len(layers)) not in after and model[0].model.config.num_hidden_layers == len(layers)
    check_it_loads(model, tmp_path / "saved", data)


@pytest.mark.parametrize("layers", [[0, 1], [0, 1, 2], [0, 3], [0, 1, 3]], ids=str)
def test_layers_of_several_kinds(layers: list[int], tmp_path: Path) -> None:
    """ModernBERT's layers read all tokens or the near ones, and a layer that is kept reads what it did."""
    base = tiny_families.build(tiny_families.GTE, tmp_path)
    model = kept_of(base, layers)
    kinds = AutoModelForSequenceClassification.from_pretrained(base).config.layer_types
    assert model[0].model.config.layer_types == [kinds[layer] for layer in layers] and len(set(kinds)) == 2
    long = [("flea", "the long life cycle of a flea " * 10)]
    with quiet():
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    with pyserini_rerank.load(tmp_path / "saved", device="cpu", dtype="float32") as reranker:
        assert abs(reranker.predict(long)[0] - model.predict(long)[0]) < 1e-5
    with pytest.raises(ValueError, match="has a first layer unlike the others: keep it"):
        kept_of(base, [1, 2])


def test_layers_with_windows_of_their_own(data: TrainingData, tmp_path: Path) -> None:
    base = tiny_architectures.build("longformer", tmp_path)
    check_it_loads(kept_of(base, [1]), tmp_path / "saved", data)


def test_layers_of_a_base_in_half_precision(tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "half")
    model = kept_of(tmp_path / "half", [1])
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (0, "layers=0: give a number of layers, or a list of their numbers."),
        (3, "layers=3: the base has 2 layers."),
        (True, "layers=True: give a number of layers, or a list of their numbers."),
        ([], "layers=.*: give numbers from 0 to 1 in rising order."),
        ([0, 2], "give numbers from 0 to 1 in rising order."),
        ([1, 0], "give numbers from 0 to 1 in rising order."),
        ([0, 0], "give numbers from 0 to 1 in rising order."),
        ([-1, 0], "give numbers from 0 to 1 in rising order."),
        ("0,1", "layers is one string"),
        (1.5, "layers is a float"),
    ],
    ids=str,
)
def test_layers_that_there_are_not(layers: Any, said: str, data: TrainingData, tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    with pytest.raises((ValueError, TypeError), match=said):
        train(data, base, tmp_path / "out", **FAST, layers=layers)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("layers", [1, [0]], ids=str)
def test_layers_that_are_shared(layers: Any, data: TrainingData, tmp_path: Path) -> None:
    base = tiny_architectures.build("albert", tmp_path)
    with pytest.raises(ValueError, match="the base has no single stack of 2 layers: leave layers= out."):
        train(data, base, tmp_path / "out", **FAST, layers=layers)


# Layers that are chosen


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_layers_are_chosen_as_by_trying(count: int, data: TrainingData, tmp_path: Path) -> None:
    """The model is as it was afterwards."""
    base = tiny.build(FOUR_LAYERS, tmp_path)
    pairs = pairs_of(data)
    assert len(pairs) < PAIRS  # so all are scored
    model = student_of(base)
    before = model.predict(pairs[:3])
    kept = choose_layers(model, count, data)
    assert kept == chosen_by_trying(base, count, pairs) == choose_layers(student_of(base), count, data)
    np.testing.assert_array_equal(model.predict(pairs[:3]), before)
    assert model.tokenizer.model_max_length == model[0].max_seq_length == 512


@pytest.mark.parametrize("idle", [(1, 2), (1, 3), (2, 3)], ids=str)
def test_layers_that_do_nothing_are_left_out(idle: tuple[int, int], data: TrainingData, tmp_path: Path) -> None:
    base = tiny.build(FOUR_LAYERS, tmp_path)

    def silence(weights: dict[str, torch.Tensor]) -> None:
        for key, weight in weights.items():
            layer = f"{key}.".partition("encoder.layer.")[2].partition(".")[0]
            is_idle = layer.isdigit() and int(layer) in idle and "output" in key
            if "LayerNorm" in key:
                weight.fill_(float(key.endswith("weight")))
            elif is_idle:
                weight.zero_()

    tiny.change_weights(base, silence)
    assert choose_layers(student_of(base), 2, data) == [layer for layer in range(4) if layer not in idle]


@pytest.mark.parametrize(
    "kind",
    [
        "deberta-v2",
        *(
            pytest.param(kind, marks=pytest.mark.stress)
            for kind in ("roberta", "modernbert", "distilbert", "longformer", "mpnet")
        ),
    ],
)
def test_layers_of_an_architecture(kind: str, data: TrainingData, tmp_path: Path) -> None:
    is_modern = kind == "modernbert"
    base = tiny_families.build(tiny_families.GTE, tmp_path) if is_modern else tiny_architectures.build(kind, tmp_path)
    model = student_of(base)
    kept = choose_layers(model, 2, data) if is_modern else choose_layers(model, 1, data)
    assert kept == chosen_by_trying(base, len(kept), pairs_of(data))
    keep_layers(model, kept)
    check_it_loads(model, tmp_path / "saved", data)


def test_scores_that_tell_nothing(data: TrainingData, tmp_path: Path) -> None:
    """Of scores that are all the same, or no numbers, the first layers are as good as any."""
    base = tiny.build(FOUR_LAYERS, tmp_path)
    for value in (0.0, float("nan")):
        tiny.change_weights(base, lambda weights, value=value: weights["classifier.weight"].fill_(value))
        assert choose_layers(student_of(base), 2, data) == [0, 1]


@pytest.mark.parametrize("queries", [1, 2])
def test_few_queries(queries: int, tmp_path: Path) -> None:
    few = write_data(tmp_path / "data", queries=queries, hits=2, validation=0, test=0)
    kept = choose_layers(student_of(tiny.build(FOUR_LAYERS, tmp_path)), 2, few)
    assert len(kept) == 2 and kept[0] == 0


def test_pairs_are_drawn_from_all_of_many_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = write_data(tmp_path / "data", queries=60, validation=0, test=0)
    monkeypatch.setattr("pyserini_rerank.training.layers.PAIRS", 30)
    pairs = _pairs(many)
    topics = list(many.topics("train").values())
    places = sorted(topics.index(query) for query, _ in pairs)
    assert len(pairs) == len(set(places)) == 30 and places[0] < 10 and places[-1] >= 50
    assert set(pairs) < set(pairs_of(many)) and pairs == _pairs(many)
    monkeypatch.setattr("pyserini_rerank.training.layers.PAIRS", 200)
    assert len(_pairs(many)) == 3 * 60


# In a training


@pytest.mark.slow
def test_the_chosen_layers_are_trained_and_told(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted, it goes on with them, also by their numbers; with others it is refused."""
    base = tiny.build(FOUR_LAYERS, tmp_path)
    options = {**FAST, "epochs": 1, "learning_rate": 1e-9}
    kept = choose_layers(student_of(base), 2, data)
    assert f"layers {kept[0]}, {kept[1]} of 4 are kept; " in capsys.readouterr().err
    whole = train(data, base, tmp_path / "whole", **options, layers=np.int64(2))
    assert whole and f"- `layers`: {kept}\n" in (whole.folder / "README.md").read_text()
    pairs = pairs_of(data)[:4]
    with pyserini_rerank.load(whole.folder, device="cpu", dtype="float32") as reranker:
        assert np.abs(reranker.predict(pairs) - kept_of(base, kept).predict(pairs)).max() < 1e-4
    plain = Trainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(Trainer, "compute_loss", plain)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)
    with pytest.raises(KeyboardInterrupt):
        train(data, base, tmp_path / "out", **options, layers=2)
    with pytest.raises(ValueError, match="begun with another layers"):
        train(data, base, tmp_path / "out", **options, layers=3)
    again = train(data, base, tmp_path / "out", **options, layers=kept)
    assert again and again.log == whole.log
