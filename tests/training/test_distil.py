"""The example that distils the bundled checkpoint, in small: the loss falls, and a seed gives the same figures."""

import json
from itertools import batched
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyserini_rerank
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[Path]]:
    """The table of a collection with few and short test topics, and a student that was trained twice."""
    folder = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(EXAMPLES)
        import distil
        import training_collections

        patched.setattr(distil, "MAX_LENGTH", 24)
        collection = training_collections.library(folder, 8)
        hits = {qid: dict(list(found.items())[:5]) for qid, found in list(collection.test_hits.items())[:2]}
        collection = collection._replace(
            texts={docid: text[:200] for docid, text in collection.texts.items()},
            test_topics={qid: collection.test_topics[qid] for qid in hits},
            test_qrels={qid: collection.test_qrels[qid] for qid in hits},
            test_hits=hits,
        )
        student = distil.Student([0, 8], 1e-4)
        tables = distil.distil({"library": collection}, folder, {2: student}, epochs=3)
        again = distil.learn(folder / "data", student, folder / "again", epochs=3)
    return collection, tables, [folder / "2-layers", again]


def test_the_table(distilled: tuple[Any, Any, list[Path]]) -> None:
    _, tables, _ = distilled
    table = tables["library"]
    assert table.systems == ["BM25", "2 layers, untrained", "2 layers", "12 layers", "2 layers, then 12 for 20%"]
    assert table.topics == 2 and table.costs["2 layers"].pairs == 10


def test_the_loss_falls(distilled: tuple[Any, Any, list[Path]]) -> None:
    _, _, (student, _) = distilled
    log = [json.loads(line) for line in (student / "training_log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 12
    of_epochs = [fmean(epoch) for epoch in batched(losses, 4)]
    assert of_epochs == sorted(of_epochs, reverse=True) and of_epochs[-1] < 0.8 * of_epochs[0]


def test_a_seed_gives_the_same_figures(distilled: tuple[Any, Any, list[Path]]) -> None:
    collection, _, students = distilled
    query, text = next(iter(collection.test_topics.values())), collection.texts["shutil.copytree"]
    scores = [pyserini_rerank.load(student, device="cpu").score(query, [text]) for student in students]
    np.testing.assert_array_equal(*scores)
    first, second = (json.loads((student / "experiment" / "experiment.json").read_text()) for student in students)
    assert [system["means"] for system in first["systems"]] == [system["means"] for system in second["systems"]]
