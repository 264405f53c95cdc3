"""The parts of a combination: named, loaded, owned, and shown."""

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, listed
from pyserini_rerank import (
    Cascade,
    Ensemble,
    FirstStageScore,
    Interpolation,
    ModelReranker,
    ReciprocalRankFusion,
    RerankingSearcher,
    Segments,
    Windows,
    load,
)
from pyserini_rerank.combining.descriptions import last_depths
from pyserini_rerank.combining.maker import settled
from pyserini_rerank.scoring.door import Door
from tiny_checkpoints import build

TEXTS = ["the flea lives long", "berlin is a city", "a cat and a dog"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build("cross-encoder/ms-marco-TinyBERT-L-2-v2", tmp_path_factory.mktemp("models")))


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> list[Door]:
    """The doors of all models that a test loads, closed or not."""
    made: list[Door] = []
    initialise = Door.__init__

    def init(self: Door, *args: Any) -> None:
        initialise(self, *args)
        made.append(self)

    monkeypatch.setattr(Door, "__init__", init)
    return made


def is_closed(door: Door) -> bool:
    try:
        _ = door.backend
    except RuntimeError:
        return True
    return False


@pytest.mark.slow
def test_parts_may_be_whatever_load_takes(model: str, tmp_path: Path) -> None:
    file = tmp_path / "inner.yaml"
    file.write_text(f"windows: {{reranker: {model}, size: 8, stride: 4}}")
    for made, written in [
        (Cascade([(model, 3), (Path(model), 2)]), [(model, 3), (model, 2)]),
        (Cascade(np.array([(model, 3)], dtype=object)), [(model, 3)]),
        (Cascade({model: 3}.items()), [(model, 3)]),
        (Windows(model, 8, 4), {"windows": {"reranker": model, "size": 8, "stride": 4}}),
        (Windows([(model, 3)]), {"windows": [(model, 3)]}),
        (Segments(file), {"segments": str(file)}),
        (Segments({"windows": {"model": model, "max_length": 32}}),
         {"segments": {"windows": {"model": model, "max_length": 32}}}),
        (Interpolation(model, 0.7), {"interpolation": {"reranker": model, "alpha": 0.7}}),
        (ReciprocalRankFusion(f"{{model: {model}}}"), {"rrf": model}),
        (Ensemble([(model, 1), ("first-stage", 0.1)]), {"ensemble": [(model, 1), ("first-stage", 0.1)]}),
        (Ensemble((part, 1) for part in (model, FirstStageScore())), {"ensemble": [(model, 1), ("first-stage", 1)]}),
    ]:  # fmt: skip
        with made, load(written) as wanted:
            assert (made.name, made.fingerprint) == (wanted.name, wanted.fingerprint)
            assert repr(made) == repr(wanted)
            hits = [Hit(f"D{i}#0", 3.0 - i) for i in range(3)]
            texts = {f"D{i}#0": text for i, text in enumerate(TEXTS)}
            assert listed(made.rerank("flea", hits, texts=texts)) == listed(wanted.rerank("flea", hits, texts=texts))


def test_a_combination_closes_its_parts_and_a_searcher_what_it_has_loaded(model: str, doors: list[Door]) -> None:
    given = ModelReranker(HashBackend(), "given")
    cascade = Cascade([(model, 3), (given, 2)])
    with RerankingSearcher(Searcher(), cascade) as searcher:
        assert searcher.depth == 3
    assert [is_closed(door) for door in doors] == [False, False], "the searcher was given the cascade"
    cascade.close()
    assert [is_closed(door) for door in doors] == [True, True]
    with RerankingSearcher(Searcher(), {"rrf": model}), RerankingSearcher(Searcher(), [(model, 3)], max_length=16):
        assert [is_closed(door) for door in doors[2:]] == [False, False]
    assert [is_closed(door) for door in doors[2:]] == [True, True]


def test_options_of_load_do_not_reach_a_combination_that_is_given(model: str, doors: list[Door]) -> None:
    with Cascade([(model, 3)]) as cascade, pytest.raises(TypeError, match="max_length: give these to the load"):
        load(cascade, max_length=16)
    with load([(model, 3)], max_length=16) as loaded:
        assert [leaf.max_length for leaf in loaded.leaves()] == [16]


@pytest.mark.parametrize(
    "make",
    [
        lambda model: Cascade([(model, 3), ("./no/such/folder", 2)]),
        lambda model: Ensemble([(model, 1), (3, 1)]),
        lambda model: Ensemble([(model, 1), ({"fusion": model}, 1)]),
        lambda model: Windows([(model, 2), (ModelReranker(HashBackend(), "takes texts only"), 1)]),
        lambda model: Segments({"windows": {"reranker": model, "aggregate": "sum"}}, aggregate="sum"),
    ],
)
def test_what_was_loaded_for_a_combination_that_cannot_be_made_is_closed(
    make: Any, model: str, doors: list[Door]
) -> None:
    with pytest.raises((OSError, TypeError, ValueError)) as error:
        make(model)
    of_models = [door for door in doors if "takes texts only" not in door._name]
    assert of_models and all(map(is_closed, of_models)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: Cascade([(model, 2), (model, 3)]),
        lambda model: Cascade([(model, 2.5)]),
        lambda model: Ensemble([(model, float("nan"))]),
        lambda model: Interpolation(model, 2),
        lambda model: Windows(model, 3, 4),
        lambda model: Windows(model, aggregate="least"),
        lambda model: Segments(model, delimiter=""),
        lambda model: Segments(model, aggregate=0),
    ],
)
def test_wrong_arguments_are_found_before_anything_is_loaded(make: Any, model: str, doors: list[Door]) -> None:
    with pytest.raises((TypeError, ValueError)):
        make(model)
    assert not doors


def test_a_combination_that_holds_itself(model: str) -> None:
    stages: list[Any] = []
    stages.append((stages, 3))
    with pytest.raises(ValueError, match="the combination .* holds itself"):
        Cascade(stages)


def test_a_model_goes_with_its_combination(model: str, doors: list[Door]) -> None:
    backend = weakref.ref(Windows(model).parts[0].backend)  # type: ignore[attr-defined]
    doors.clear()
    gc.collect()
    assert backend() is None


def test_rerankers_say_what_they_are(model: str) -> None:
    one = load(model, device="cpu", dtype="bfloat16")
    shown = repr(one)
    assert re.fullmatch(
        rf"ModelReranker\('{re.escape(model)}', backend='torch', device='cpu[^']*', dtype='bfloat16'\)", shown
    )
    hashing = ModelReranker(HashBackend(), "hashing")
    assert repr(hashing) == "ModelReranker('hashing')"
    cascade = Cascade([(Interpolation(one), 30), (one, 20), (hashing, 10)])
    assert repr(cascade) == f"Cascade({cascade.name!r}, {shown}, ModelReranker('hashing'))"
    assert repr(FirstStageScore()) == "FirstStageScore('first-stage')"
    cascade.close()
    assert repr(one) == f"ModelReranker({model!r}, closed)"
    assert repr(cascade) == f"Cascade({cascade.name!r}, {one!r}, ModelReranker('hashing', closed))"


class Hit:
    def __init__(self, docid: str, score: float) -> None:
        self.docid, self.score = docid, score


class Searcher:
    def search(self, query: str, k: int = 10) -> list[Hit]:
        return []


def test_the_headline_call(searcher: Any, query: str, reranker: pyserini_rerank.Reranker) -> None:
    with Cascade([("bundled", 4)]) as cascade:
        searcher.set_reranker(cascade)
        assert searcher._reranking.depth == 4
        hits = searcher.search(query, k=4)
    searcher.set_reranker(reranker, depth=4)
    assert listed(hits) == listed(searcher.search(query, k=4))


def test_a_settled_description_is_as_json_has_it() -> None:
    """A weight that was tuned is a number of NumPy's, which JSON and `repr` write otherwise."""
    given = {"ensemble": (("a", np.float64(0.3)), (np.array([["b", "c"]]).tolist()[0][0], np.int64(2)))}
    expected = {"ensemble": [["a", 0.3], ["b", 2]]}
    assert settled(given) == expected and repr(settled(given)) == repr(expected)


@pytest.mark.parametrize(
    ("description", "depths"),
    [
        ("a", []),
        ({"model": "a", "dtype": "float32"}, []),
        ([["a", 50], ["b", 20]], [20]),
        ("[[a, 50], [b, 20]]", [20]),
        ({"cascade": {"stages": [["a", 50], ["[[b, 9], [c, 7]]", 20]]}}, [20, 7]),
        ({"windows": {"reranker": [["a", 5], ["b", 3]], "size": 9, "stride": 3}}, [3]),
        ({"ensemble": [[{"windows": "[[a, 50]]"}, 1], ["b", 2]]}, [50]),
        ([["a", 50], [{"rrf": {"reranker": "[[b, 9]]"}}, 30]], [30, 9]),
    ],
)
def test_the_depths_of_last_stages(description: Any, depths: list[int]) -> None:
    assert list(last_depths(description)) == depths


def test_the_depths_of_loaded_cascades(model: str) -> None:
    with load([(model, 9), (Windows(Cascade([(model, 7), (model, 5)])), 6)]) as cascade:
        assert list(last_depths(cascade)) == [6, 5]
