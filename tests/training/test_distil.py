"""The example that distils the bundled checkpoint, in small: the loss falls, and a seed gives the same figures."""

import json
import shutil
from itertools import batched
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from pyserini_rerank.training import layers

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[Path]]:
    """The module, the collection with few and short test topics, and the folders of two runs."""
    folder = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(EXAMPLES)
        import distil
        import training_collections

        # Few texts choose the layers, and all are cut, so that it takes seconds.
        patched.setattr(distil, "MAX_LENGTH", 24)
        patched.setattr(layers, "LENGTH", 16)
        patched.setattr(layers, "PAIRS", 6)
        collection = training_collections.library(folder, 12)
        hits = {qid: dict(list(found.items())[:5]) for qid, found in list(collection.test_hits.items())[:2]}
        collection = collection._replace(
            texts={docid: text[:200] for docid, text in collection.texts.items()},
            test_topics={qid: collection.test_topics[qid] for qid in hits},
            test_qrels={qid: collection.test_qrels[qid] for qid in hits},
            test_hits=hits,
        )
        folders = [folder / "first", folder / "second"]
        tables = []
        for of_run in folders:
            of_run.mkdir()
            if tables:  # the second run has the data, and with it the teacher's scores, of the first
                shutil.copytree(folders[0] / "data", of_run / "data")
            tables.append(distil.distil({"library": collection}, of_run, layers=(2,), epochs=5))
    return collection, tables, folders


def test_the_table(distilled: tuple[Any, Any, list[Path]]) -> None:
    _, (tables, _), _ = distilled
    table = tables["library"]
    assert table.systems == ["BM25", "2 layers, untrained", "2 layers", "12 layers", "2 layers, then 12 for 1"]
    assert table.topics == 2 and table.costs["2 layers"].pairs == 10


def test_the_loss_falls(distilled: tuple[Any, Any, list[Path]]) -> None:
    _, _, (folder, _) = distilled
    log = [json.loads(line) for line in (folder / "2-layers" / "training_log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 30
    of_epochs = [fmean(epoch) for epoch in batched(losses, 6)]
    assert of_epochs == sorted(of_epochs, reverse=True) and of_epochs[-1] < 0.8 * of_epochs[0]


def test_a_seed_gives_the_same_figures(distilled: tuple[Any, Any, list[Path]]) -> None:
    collection, (first, second), (folder, again) = distilled
    query, text = next(iter(collection.test_topics.values())), collection.texts["shutil.copytree"]
    scores = [
        pyserini_rerank.load(of_run / "2-layers", device="cpu").score(query, [text]) for of_run in (folder, again)
    ]
    np.testing.assert_array_equal(*scores)
    assert first["library"].values == second["library"].values
