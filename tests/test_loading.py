"""What a user writes to a reranker."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyserini_rerank
import pytest
from collection import HashBackend
from pyserini_rerank import load
from pyserini_rerank.runs.provenance import provenance
from tiny_checkpoints import build

TEXTS = ["the flea lives long", "berlin is a city", "a cat and a dog"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    names = ["cross-encoder/ms-marco-TinyBERT-L-2-v2", "cross-encoder/ms-marco-MiniLM-L-2-v2"]
    return [str(build(name, folder)) for name in names]


WRITTEN = [
    ("[[{0}, 3], [{1}, 2]]", "cascade({0}@3, {1}@2)"),
    ("{{cascade: [[{0}, 3], [{1}, 2]]}}", "cascade({0}@3, {1}@2)"),
    ("{{ensemble: [[{0}, 0.5], [{1}, 2]]}}", "ensemble(0.5*{0}, 2*{1})"),
    ("{{ensemble: {{rerankers: [[{0}, 1], [first-stage, 1]], normalise: z}}}}",
     "ensemble(1*{0}, 1*first-stage, normalise=z)"),
    ("{{rrf: {0}}}", "ensemble(1*{0}, 1*first-stage, normalise=reciprocal-rank)"),
    ("{{interpolation: {{reranker: {0}, alpha: 0.7}}}}",
     "ensemble(0.7*{0}, 0.3*first-stage, normalise=min-max)"),
    ("{{windows: {{reranker: {0}, size: 32, stride: 16, aggregate: 3}}}}", "windows({0}, 32/16, 3)"),
    ("{{segments: {{reranker: {{windows: {0}}}, delimiter: /}}}}", "segments(windows({0}, 256/128, max), max, /)"),
    ("{{model: {0}, max_length: 64}}", "{0}(max_length=64)"),
    ("[[{{rrf: {0}}}, 3], [{{model: {1}, max_length: 32}}, 2]]",
     "cascade(ensemble(1*{0}, 1*first-stage, normalise=reciprocal-rank)@3, {1}(max_length=32)@2)"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "name"), WRITTEN)
@pytest.mark.parametrize("form", ["string", "file", "python"])
def test_what_is_written_is_made(written: str, name: str, form: str, models: list[str], tmp_path: Path) -> None:
    import yaml

    given: Any = written.format(*models)
    if form == "file":
        (tmp_path / "reranker.yaml").write_text(given)
        given = tmp_path / "reranker.yaml"
    elif form == "python":
        given = yaml.safe_load(given)
    with load(given, device="cpu") as reranker:
        assert reranker.name == name.format(*models)
        assert len(reranker.fingerprint) == 32
        assert provenance(reranker)["model"] == reranker.name


def test_options_reach_every_checkpoint_and_its_own_count_more(models: list[str]) -> None:
    with load([(models[0], 3), ({"model": models[1], "max_length": 32}, 2)], device="cpu", max_length=64) as cascade:
        assert [model.max_length for model in cascade.leaves()] == [64, 32]
        with pytest.warns(pyserini_rerank.CutWarning, match="were cut to 32 or 64 tokens"):
            cascade.score("flea", [text + " cat" * 100 for text in TEXTS])


def test_rerankers_may_stand_among_names(models: list[str]) -> None:
    with load(models[0], device="cpu") as one, load({"ensemble": [(one, 1), (models[1], 1)]}, device="cpu") as both:
        with load(models[1], device="cpu") as two:
            wanted = one.score("flea", TEXTS) + two.score("flea", TEXTS)
        assert both.score("flea", TEXTS) == pytest.approx(wanted, abs=1e-6)


def test_all_share_a_cache(models: list[str], tmp_path: Path) -> None:
    written = {"ensemble": [(model, 1) for model in models]}
    with load(written, device="cpu", cache=tmp_path) as first:
        scores = first.score("flea", TEXTS)
        assert [model.known_scores for model in first.leaves()] == [0, 0]
        # Others of the same process may have it open as well.
        with load(models[0], device="cpu", cache=tmp_path) as alone:
            alone.score("flea", TEXTS)
            assert alone.known_scores == 3
    with load(written, device="cpu", cache=tmp_path) as again:
        assert np.array_equal(again.score("flea", TEXTS), scores)
        assert [model.known_scores for model in again.leaves()] == [3, 3]


def test_whatever_changes_the_scores_changes_the_fingerprint(models: list[str]) -> None:
    a, b = models
    written = [a, {"rrf": a}, {"windows": a}, {"windows": {"reranker": a, "size": 8, "stride": 8}}, [(a, 3), (b, 2)],
               [(a, 3), (b, 1)], {"ensemble": [(a, 1), (b, 2)]}, {"ensemble": [(a, 2), (b, 1)]}]  # fmt: skip
    prints = []
    for some in written:
        with load(some, device="cpu") as reranker:
            prints.append(reranker.fingerprint)
    assert len(set(prints)) == len(written)


def test_iterables_of_every_kind_and_files_within_files(models: list[str], tmp_path: Path) -> None:
    pairs = list(zip(models, (3, 2), strict=True))
    name = f"cascade({models[0]}@3, {models[1]}@2)"
    inner = tmp_path / "inner.YAML"
    inner.write_text(f"rrf: {models[0]}")
    rrf = f"ensemble(1*{models[0]}, 1*first-stage, normalise=reciprocal-rank)"
    for given, made in [
        (zip(models, np.array([3, 2]), strict=True), name),
        (dict(pairs).items(), name),
        ((pair for pair in pairs), name),
        (np.array(pairs, dtype=object), name),
        (pd.Series(pairs, index=[1, 0]), name),
        ({"cascade": zip(models, (3, 2), strict=True)}, name),
        (inner, rrf),
        ([(str(inner), 5)], f"cascade({rrf}@5)"),
        (f"[['{{rrf: {models[0]}}}', 5]]", f"cascade({rrf}@5)"),
        (f"{{ensemble: [[&one {{model: {models[0]}}}, 1], [*one, 2]]}}", f"ensemble(1*{models[0]}, 2*{models[0]})"),
    ]:
        with load(given, device="cpu") as reranker:
            assert reranker.name == made


def test_what_holds_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "self.yaml").write_text("ensemble: [[other.yaml, 1]]")
    (tmp_path / "other.yaml").write_text("rrf: self.yaml")
    recursive: dict[str, object] = {}
    recursive["rrf"] = recursive
    for given in ("self.yaml", Path("other.yaml"), "{rrf: &a {rrf: *a}}", recursive):
        with pytest.raises(ValueError, match="the combination .* holds itself") as error:
            load(given)
        assert "\n" not in str(error.value)


def test_options_for_which_nothing_is_loaded() -> None:
    given = pyserini_rerank.ModelReranker(HashBackend(), "given")
    for options in ({"device": "cpu"}, {"backend": "onnx"}, {"cache": "scores"}):
        for name in (given, {"rrf": given}, [(given, 5)]):
            with pytest.raises(TypeError, match=f"^{next(iter(options))}: give these to the load.. that made given; "):
                load(name, **options)  # type: ignore[arg-type]
    assert load(given) is given and load("first-stage").name == "first-stage"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{interpolation: {reranker: bundled, alpha: 0.1, alpha: 0.9}}", "is no YAML: alpha comes twice"),
        ("{rrf: bundled, rrf: other}", "is no YAML: rrf comes twice"),
        (
            "{model: bundled, 3: 4}",
            "{'model': 'bundled', 3: 4} is no reranker: give a mapping with the key `model`, or",
        ),
        ("{segments: {reranker: first-stage, delimiter: 3}}", "the delimiter is a int: give the text before"),
        ("{ensemble: {rerankers: [[first-stage, 1]], normalise: [z]}}", "normalise=['z']: give one of min-max, z"),
        ("{fusion: bundled}", "{'fusion': 'bundled'} is no reranker: give a mapping with the key `model`, or with one"),
        ("{windows: {reranker: first-stage, length: 3}}", "windows has no 'length': it has reranker, size, stride"),
        ("[bundled, 100]", "'bundled' is no pair of a reranker and a number"),
        ("{ensemble: [[bundled, much]]}", "['bundled', 'much'] is no pair of a reranker and a number"),
        ("{cascade: bundled}", "'bundled' is no list of pairs of a reranker and a number"),
        ("{cascade: ", "{cascade:  is no YAML: while parsing"),
    ],
)
def test_what_cannot_be_made_says_why(written: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        load(written)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"there/is/none\.yaml"):
        load("there/is/none.yaml")


@pytest.mark.parametrize(
    ("written", "alpha"),
    [("1e-1", 0.1), ("5E-1", 0.5), (".25", 0.25), ("1.", 1), ("0", 0), ("+0.5", 0.5), ("1e0", 1)],
)
def test_numbers_are_those_of_yaml_1_2(written: str, alpha: float, models: list[str], tmp_path: Path) -> None:
    text = f"interpolation: {{reranker: {models[0]}, alpha: {written}}}"
    (tmp_path / "combination.yaml").write_text("\ufeff" + text, encoding="utf-8")
    for name in (f"{{{text}}}", f"  {{{text}}}", tmp_path / "combination.yaml"):
        with load(name, device="cpu") as reranker:
            assert reranker.weights == [alpha, 1 - alpha]  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "2024-01-01", "1:30", "0b11", "1_000", "=", "<<", "y"])
def test_words_stay_words(word: str) -> None:
    """YAML 1.1 has them for truth values, dates, and numbers to the base of sixty."""
    with pytest.raises((ValueError, OSError)) as error:
        load(f"{{model: '{word}'}}", backend="onnx")
    quoted = str(error.value)
    with pytest.raises((ValueError, OSError)) as error:
        load(f"{{model: {word}}}", backend="onnx")
    assert str(error.value) == quoted


@pytest.mark.slow
@pytest.mark.parametrize(
    "written", ["{windows: [}", "{a: b: c}", "[!!python/object:os.system x]", "[" * 2000, "[\x00]"]
)
def test_yaml_that_is_none(written: str) -> None:
    with pytest.raises(ValueError, match="is no YAML: ") as error:
        load(written)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_long_combination_may_be_written_in_a_line(models: list[str]) -> None:
    parts = ", ".join(f"[{{model: {models[0]}, max_length: {length}}}, 1]" for length in range(20, 40))
    assert len(parts) > 1000
    with load(f"{{ensemble: [{parts}]}}", device="cpu") as reranker:
        assert len(list(reranker.leaves())) == 20


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "bundled",
            {"maxlength": 3},
            "the backend 'torch' has no option 'maxlength': there are device, dtype, ",
        ),
        (
            "bundled",
            {"backend": "onnx", "device": "cpu"},
            "the backend 'onnx' has no option 'device': there are dtype",
        ),
        (
            "http://localhost:1",
            {"backend": "http"},
            "the backend 'http' needs the option 'api': there are api, model",
        ),
        (
            "http://localhost:1",
            {"backend": "http", "api": "tei", "key": "x"},
            "has no option 'key': there are api",
        ),
        ("{model: bundled, lenght: 3}", {}, "the backend 'torch' has no option 'lenght': there are device"),
        ("[[bundled, 3], [{model: x, backend: http}, 2]]", {}, "the backend 'http' needs the option 'api'"),
    ],
)
def test_options_that_are_none(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError) as error:
        load(name, **options)  # type: ignore[arg-type]
    assert said in str(error.value) and "\n" not in str(error.value)
