"""The losses: each learns, what each reads, which is the default, and which does not fit."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import tiny_checkpoints as tiny
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from learnable import FAST, NAME, of_log, write_data
from pyserini_rerank import train
from pyserini_rerank.runs.evaluation import MEASURE
from pyserini_rerank.training.batches import ByLength
from pyserini_rerank.training.losses import LOSSES, check_fits, default_loss, rows_of
from pyserini_rerank.training.student import make_student
from pyserini_rerank.training.training_data import Document, JudgedQuery, TrainingData
from torch import nn


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(NAME, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def teacher(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that has learned what relevance is here."""
    folder = tmp_path_factory.mktemp("teacher")
    made = train(write_data(folder / "data"), base, folder / "teacher", **{**FAST, "epochs": 2})
    assert made
    return made.folder


@pytest.fixture(scope="module")
def data(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Two grades, two relevant documents a query, and a teacher's scores."""
    return write_data(tmp_path_factory.mktemp("data") / "data", grades=(2, 1), teacher=str(teacher))


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    # The defaults for grades and for a teacher. With binary labels bce is tested in test_train.py, mse in
    # test_distil.py, and the value of infonce below.
    [loss if loss in ("lambda", "margin-mse") else pytest.param(loss, marks=pytest.mark.stress) for loss in LOSSES],
)
def test_it_learns(loss: str, data: TrainingData, base: Path, tmp_path: Path) -> None:
    """The loss falls from the first steps to the last ones, and queries that were never seen are ordered better."""
    # A teacher's scores are numbers to be met, which takes longer than an order.
    how = {"epochs": 4, "learning_rate": 6e-3} if LOSSES[loss].needs_teacher else {"epochs": 2}
    made = train(data, base, tmp_path / "out", **{**FAST, "loss": loss, "batch_size": 16, **how})
    assert made
    losses = of_log(made.log, "loss")
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) / 2
    assert made.table.mean("trained", MEASURE) > 0.9 > made.table.mean("base", MEASURE) + 0.1


def test_the_default_fits_the_data(data: TrainingData, tmp_path: Path) -> None:
    assert default_loss(data) == "margin-mse"
    assert default_loss(write_data(tmp_path / "graded", queries=16, grades=(2, 1))) == "lambda"
    assert default_loss(write_data(tmp_path / "labels", queries=16)) == "bce"
    # All grades from the level on are relevant; here it leaves one grade.
    assert default_loss(write_data(tmp_path / "level", queries=16, grades=(2, 1), level=2)) == "bce"


@pytest.mark.parametrize("loss", ["margin-mse", "mse"])
def test_a_loss_without_its_teacher(loss: str, base: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", queries=16)
    with pytest.raises(ValueError) as error:
        train(data, base, tmp_path / "out", **{**FAST, "loss": loss})
    said = str(error.value)
    assert said.startswith(f"loss='{loss}' learns a teacher's scores, and {data.folder} has none: ")
    assert said.endswith("take one of bce, lambda, ranknet, infonce.") and "\n" not in said
    assert not (tmp_path / "out.partial").exists()


def test_the_rows(data: TrainingData, tmp_path: Path) -> None:
    """Each loss gets each query's documents, with the labels that it learns."""
    queries = list(data.queries("train"))
    for name, loss in LOSSES.items():
        rows, documents = rows_of(name, data, tmp_path / name)
        assert documents == (1 if name in ("bce", "mse") else 8 if name in ("lambda", "ranknet") else 7)
        expected = [row for query in queries for row in loss.rows(query, data.level, 6)]
        assert rows.to_list() == expected
    bce, _ = rows_of("bce", data, tmp_path / "bce")
    assert Counter(bce["label"]) == {1.0: 2 * len(queries), 0.0: 6 * len(queries)}
    lists, _ = rows_of("lambda", data, tmp_path / "lambda")
    assert all(Counter(labels) == {2.0: 1, 1.0: 1, 0.0: 6} for labels in lists["labels"])
    margins, _ = rows_of("margin-mse", data, tmp_path / "margin-mse")
    scores = {document.text: document.teacher_score for document in queries[0].documents}
    row = margins[0]
    assert row["label"] == pytest.approx([scores[row["relevant"]], *(scores[row[f"other_{n}"]] for n in range(1, 7))])


def test_a_query_with_fewer_others_has_some_twice() -> None:
    query = JudgedQuery("q", "a query", [Document("a", "A", 1), Document("b", "B"), Document("c", "C", 0)])
    [row] = LOSSES["infonce"].rows(query, 1, 3)
    assert row == {"query": "a query", "relevant": "A", "other_1": "B", "other_2": "C", "other_3": "B"}
    assert not list(LOSSES["infonce"].rows(JudgedQuery("q", "a", [Document("a", "A", 1)]), 1, 3))


@pytest.mark.slow
def test_a_batch_has_the_callers_pairs_on_average(base: Path, tmp_path: Path) -> None:
    """Lists of very different lengths: the first one's length is not taken for that of all."""
    topics = {f"q{number}": f"water {number}" for number in range(12)}
    sizes = {qid: 2 if qid == "q0" else 10 for qid in topics}
    texts = {f"{qid}-{place}": "black" if place else "gold" for qid in topics for place in range(sizes[qid])}
    hits = {qid: {f"{qid}-{place}": -float(place) for place in range(sizes[qid])} for qid in topics}
    qrels = {qid: {f"{qid}-0": 1} for qid in topics}
    data = pyserini_rerank.train_data(
        hits, topics, qrels, tmp_path / "data", texts=texts, negatives=9, validation=0, test=0
    )
    made = train(data, base, tmp_path / "out", **{**FAST, "loss": "lambda", "epochs": 1, "batch_size": 20})
    assert made and len(of_log(made.log, "loss")) == 6, "12 lists of 9.33 documents on average, in batches of two"


def test_infonce_has_no_relevant_document_among_its_negatives(data: TrainingData, base: Path) -> None:
    """A query has a row for each of its relevant documents; the other row's is no negative of this one."""
    from sentence_transformers import CrossEncoder
    from torch.nn.functional import cross_entropy

    model = CrossEncoder(str(base), device="cpu").eval()
    seen: list[str] = []
    plain = model.preprocess
    model.preprocess = lambda pairs, **options: seen.extend(text for _, text in pairs) or plain(pairs, **options)
    loss = LOSSES["infonce"].make(model)
    batch = [["a", "a"], ["gold", "gold gold"], ["black", "black"], ["stone", "money"]]
    value = loss(batch, None)
    assert seen == [*batch[2], *batch[3], *batch[1]] or sorted(seen) == sorted([*batch[1], *batch[2], *batch[3]])
    del model.preprocess
    logits = model.predict([("a", t) for row in zip(*batch[1:], strict=True) for t in row], convert_to_tensor=True)
    right = cross_entropy(logits.reshape(2, 3), logits.new_zeros(2).long())
    assert value.item() == pytest.approx(right.item(), abs=1e-5)


def test_data_with_nothing_to_learn(base: Path, tmp_path: Path) -> None:
    """Written by another program: no query has a relevant document."""
    import pyarrow
    from pyarrow import parquet

    data = write_data(tmp_path / "data", queries=16)
    table = parquet.read_table(data.folder / "train.parquet")
    rows = [row | {"grade": 0} for row in table.to_pylist()]
    parquet.write_table(pyarrow.Table.from_pylist(rows, table.schema), data.folder / "train.parquet")
    with pytest.raises(ValueError, match="no query of .* has a relevant document and another one to train on"):
        check_fits("infonce", data)


def test_dropout_is_off_for_a_teachers_scores_alone(base: Path) -> None:
    for name, loss in LOSSES.items():
        model = make_student(base, None)
        loss.make(model)
        rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
        assert rates == ({0.0} if name in ("mse", "margin-mse") else {0.1}), name


@pytest.mark.slow
@given(lengths=st.lists(st.integers(0, 300), min_size=1, max_size=200), size=st.integers(1, 9), epoch=st.integers(0, 3))
def test_batches_of_similar_length(lengths: list[int], size: int, epoch: int) -> None:
    """Each row comes once an epoch; batches are full but for one; the same seed and epoch give the same batches."""
    rows = Dataset.from_dict(
        {
            "query": [""] * len(lengths),
            "texts": [["x" * length] for length in lengths],
            "labels": [[0.0]] * len(lengths),
        }
    )
    batches, again = (ByLength(rows, batch_size=size, drop_last=False, seed=1) for _ in range(2))
    batches.set_epoch(epoch)
    again.set_epoch(epoch)
    made = list(batches)
    assert made == list(again) and len(made) == len(batches)
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    assert sum(len(batch) != size for batch in made) <= 1
    full = ByLength(rows, batch_size=size, drop_last=True, seed=1)
    full.set_epoch(epoch)
    assert [batch for batch in made if len(batch) == size] == sorted(full, key=made.index) and len(full) == len(
        list(full)
    )
    if len(lengths) <= 50 * size:  # all rows are sorted together: no batch lies between the lengths of another
        spans = sorted((min(lengths[row] for row in batch), max(lengths[row] for row in batch)) for batch in made)
        assert all(before[1] <= after[0] or before[0] == after[0] for before, after in pairwise(spans))
