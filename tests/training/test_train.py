"""`train` and its command: that it learns, is reproduced and resumed, and what it leaves behind."""

import io
import json
import re
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyserini_rerank
import pytest
import tiny_architectures
import tiny_checkpoints as tiny
import torch
import yaml
from learnable import FAST, NAME, of_log, python, student_of, write_data
from pyarrow import parquet
from pyserini_rerank import CutWarning, progress, train
from pyserini_rerank.cli.main import main
from pyserini_rerank.runs.evaluation import MEASURE
from pyserini_rerank.training import extra, loop
from pyserini_rerank.training import train as train_module
from pyserini_rerank.training.log import METRIC
from pyserini_rerank.training.loop import Trainer, _last_checkpoint
from pyserini_rerank.training.train import TrainedCheckpoint
from pyserini_rerank.training.training_data import TrainingData
from tqdm.auto import tqdm

PAIRS = [("water 1", "gold stone bank"), ("water 1", "black stone bank"), ("how many people", "gold"), ("a", "money")]


@dataclass(frozen=True)
class Small:
    """Data with a teacher, a base, and a checkpoint that was trained from them without an interruption."""

    folder: Path
    data: TrainingData
    base: Path
    trained: TrainedCheckpoint

    @property
    def weights(self) -> dict[str, Any]:
        return tiny.read_weights(self.trained.folder / "model.safetensors")

    def train(self, output: Path, **options: Any) -> TrainedCheckpoint:
        made = train(self.data, self.base, output, **{**FAST, **options})
        assert made
        return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("train")
    base = tiny.build(NAME, folder)
    data = write_data(folder / "data", teacher=str(base))
    made = train(data, base, folder / "whole", **FAST)
    assert made
    return Small(folder, data, base, made)


@pytest.fixture
def small_disk() -> Iterator[Any]:
    """A limit on the size of files: the system refuses to write, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


def furthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Give the greatest difference of two checkpoints' weights, but for the biases of the keys.

    The softmax takes no notice of these, so that their gradients are nothing but rounding errors, which depend on the
    number of threads, and which Adam makes whole steps of.
    """
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one if not key.endswith("key.bias"))


def weights_of(made: TrainedCheckpoint) -> dict[str, Any]:
    return tiny.read_weights(made.folder / "model.safetensors")


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Let the next training stop with an error in a step."""
    plain = Trainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == step:
            monkeypatch.setattr(Trainer, "compute_loss", plain)
            raise error
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)


# What comes out


def test_it_learns_and_compares(small: Small) -> None:
    made = small.trained
    losses, gains = of_log(made.log, "loss"), of_log(made.log, METRIC)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 3
    assert len(losses) == 21 and [entry["step"] for entry in made.log if METRIC in entry] == [0, 7, 14, 21]
    assert gains[0] < 0.7 and max(gains) > 0.95
    assert list(made.table.values) == ["first stage", "base", "trained", "teacher"]
    mean = {name: made.table.mean(name, MEASURE) for name in made.table.values}
    assert mean["trained"] > 0.95 > 0.7 > mean["base"] and mean["base"] == pytest.approx(mean["teacher"])
    assert str(made.folder) in repr(made) and "trained" in repr(made) and "<table" in made._repr_html_()


@pytest.mark.slow
def test_the_best_checkpoint_is_kept(small: Small, tmp_path: Path) -> None:
    """The trained checkpoint's figure of the validation queries is the highest one of the log."""
    made = small.train(tmp_path / "out", loss="margin-mse", patience=9)
    gains = of_log(made.log, METRIC)[1:]
    held_out = {query.qid: query for query in small.data.queries("validation")}
    with pyserini_rerank.load(made.folder, device="cpu") as reranker:
        run = {
            qid: dict(zip([d.docid for d in query.documents], scores, strict=True))
            for qid, query in held_out.items()
            for scores in [reranker.score(query.query, [document.text for document in query.documents]).tolist()]
        }
    table = pyserini_rerank.experiment(
        {"it": run}, {qid: query.query for qid, query in held_out.items()},
        {qid: small.data.qrels[qid] for qid in held_out}, measures=[MEASURE],
    )  # fmt: skip
    assert table.mean("it", MEASURE) == pytest.approx(max(gains)) and gains[-1] < max(gains)


def test_the_files(small: Small) -> None:
    folder = small.trained.folder
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md",
        "training_log.jsonl", "training.png", "experiment",
    }  # fmt: skip
    assert [json.loads(line) for line in (folder / "training_log.jsonl").open()] == small.trained.log
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((folder / "experiment" / "experiment.json").read_text())
    assert saved and len(list((folder / "experiment").glob("*.run"))) == 4
    assert not folder.with_name("whole.partial").exists() and not list(small.folder.glob(".*"))
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]


def test_the_card(small: Small) -> None:
    card = (small.trained.folder / "README.md").read_text()
    facts = yaml.safe_load(card.split("---\n")[1])
    assert facts["license"] == "apache-2.0" and facts["base_model"] == small.base.name
    assert facts["pipeline_tag"] == "text-ranking" and "cross-encoder" in facts["tags"]
    for said in ("`loss`: bce", "`learning_rate`: 0.003", "`seed`: 0", "- torch 2", "- sentence-transformers 6"):
        assert said in card
    table = small.trained.table
    assert "10 test queries, which were neither trained on nor used to choose the checkpoint" in card
    assert f"{table.mean('trained', MEASURE):.4f}" in card and f"The teacher is {small.base}." in card
    assert "28 queries with 224 documents" in card


@pytest.mark.slow
def test_a_base_with_a_strange_name_and_a_licence_of_its_own(small: Small, tmp_path: Path) -> None:
    base = tmp_path / "it's: [odd]"
    shutil.copytree(small.base, base)
    (base / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# A card\n")
    made = train(small.data, base, tmp_path / "out", **{**FAST, "epochs": 0.2})
    assert made
    facts = yaml.safe_load((made.folder / "README.md").read_text().split("---\n")[1])
    assert facts["base_model"] == base.name and facts["license"] == "mit"


def test_others_load_it_and_score_the_same(small: Small) -> None:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = small.trained.folder
    with pyserini_rerank.load(folder, device="cpu", dtype="float32") as reranker:
        ours = np.array([reranker.score(query, [text])[0] for query, text in PAIRS])
    theirs = CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    assert np.abs(ours - theirs).max() < 1e-5 and theirs.min() < 0, "raw logits: no sigmoid"
    tokens = AutoTokenizer.from_pretrained(folder)(PAIRS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(folder).eval()(**tokens).logits[:, 0].numpy()
    assert np.abs(ours - logits).max() < 1e-5
    with pyserini_rerank.load(folder, backend="onnx", dtype="float32") as reranker:
        onnx = np.array([reranker.score(query, [text])[0] for query, text in PAIRS])
    assert np.abs(ours - onnx).max() < 1e-4


# The same again, and going on


@pytest.mark.slow
def test_a_seed_gives_the_same_weights_and_figures(small: Small, tmp_path: Path) -> None:
    again, other = small.train(tmp_path / "again"), small.train(tmp_path / "other", seed=1)
    assert furthest(weights_of(again), small.weights) == 0 and again.log == small.trained.log
    assert again.table.values == small.trained.table.values
    assert furthest(weights_of(other), small.weights) > 1e-3


KILLED = """
import os, signal, sys
from transformers import TrainerCallback
from pyserini_rerank.training import loop
class Kill(loop.Bar):
    def on_step_end(self, args, state, control, **kwargs):
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step == 10:  # the first checkpoint is that of step 7
            os.kill(os.getpid(), signal.SIGKILL)
loop.Bar = Kill
from learnable import FAST
from pyserini_rerank import train
train(*sys.argv[1:4], **FAST)
"""


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_weights(small: Small, tmp_path: Path) -> None:
    """The order of the data, dropout and the state of the optimizer go on as well, or the weights would differ."""
    output = tmp_path / "out"
    script = KILLED.replace("sys.argv[1:4]", repr([str(small.data.folder), str(small.base), str(output)]))
    killed = python(script)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoints = output.with_name("out.partial") / "checkpoints"
    assert _last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-7") and not output.exists()
    made = small.train(output)
    assert furthest(weights_of(made), small.weights) < 1e-6
    # Another process may differ in the last bit, on processors where it depends on the place in memory.
    assert made.log == [pytest.approx(entry, rel=1e-4) for entry in small.trained.log]
    assert made.table.values == small.trained.table.values


@pytest.mark.stress
@pytest.mark.parametrize(
    "options",
    [{"loss": "infonce", "epochs": 2}, {"accumulate": 2, "epochs": 2}],
    ids=str,
)
def test_interrupted_it_goes_on(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    whole = small.train(tmp_path / "whole", **options)
    step = int(whole.log[-1]["step"]) - 2
    stop_at(monkeypatch, step, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        small.train(tmp_path / "out", **options)
    partial = tmp_path / "out.partial"
    before = {path.name for path in (partial / "checkpoints").glob("checkpoint-*")}
    made = small.train(tmp_path / "out", **options)
    assert before and furthest(weights_of(made), weights_of(whole)) < 1e-6 and made.log == whole.log
    assert not partial.exists()


@pytest.mark.slow
def test_a_half_written_checkpoint_is_not_gone_on_from(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 16, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        small.train(tmp_path / "out")
    checkpoints = tmp_path / "out.partial" / "checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-7", "checkpoint-14"}
    state = checkpoints / "checkpoint-14" / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:100])
    (checkpoints / "checkpoint-14" / "model.safetensors").write_bytes(b"half")
    (checkpoints / "checkpoint-18").mkdir()
    assert _last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-7")
    made = small.train(tmp_path / "out")
    assert furthest(weights_of(made), small.weights) < 1e-6 and made.log == small.trained.log


@pytest.mark.stress
def test_killed_in_the_last_comparison(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an early stop has ended is not trained further, and patience is counted through an interruption."""
    options = {"learning_rate": 1e-9, "patience": 2, "evaluations": 20, "epochs": 3}
    whole = small.train(tmp_path / "whole", **options)
    last = int(whole.log[-1]["step"])
    assert last < 10, "it was stopped early"
    stop_at(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        small.train(tmp_path / "out", **options)
    with monkeypatch.context() as patched:
        patched.setattr("pyserini_rerank.training.train._compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            small.train(tmp_path / "out", **options)
    made = small.train(tmp_path / "out", **options)
    assert furthest(weights_of(made), weights_of(whole)) == 0
    assert of_log(made.log, METRIC) == of_log(whole.log, METRIC)
    assert made.log[-1]["step"] <= last + 1


@pytest.mark.slow
def test_other_settings_are_refused_by_name(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        small.train(tmp_path / "out")
    with pytest.raises(ValueError, match="begun with another epochs, learning_rate: delete it to begin anew") as error:
        small.train(tmp_path / "out", epochs=2, learning_rate=1e-3)
    one_line(error)
    other = tiny.build("cross-encoder/ms-marco-MiniLM-L-2-v2", tmp_path)
    with monkeypatch.context() as patched, pytest.raises(ValueError, match="begun with another processes: delete it"):
        patched.setattr(train_module, "count", lambda: 2)
        small.train(tmp_path / "out")
    with pytest.raises(ValueError, match="begun with another base"):
        train(small.data, other, tmp_path / "out", **FAST)
    graded = write_data(tmp_path / "data", queries=20)
    with pytest.raises(ValueError, match="begun with another data"):
        train(graded, small.base, tmp_path / "out", **FAST)


def test_an_output_that_exists_is_refused(small: Small) -> None:
    with pytest.raises(FileExistsError, match="whole exists: name another folder"):
        small.train(small.trained.folder)


# Bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs is 0: give a number above 0."),
        ({"epochs": float("inf")}, "epochs is inf: give a number above 0."),
        ({"epochs": float("nan")}, "epochs is nan"),
        ({"learning_rate": -1}, "learning_rate is -1: give a number above 0."),
        ({"epochs": "2"}, "epochs is '2': give a number."),
        ({"warmup": 1}, "warmup is 1: give a number from 0, and below 1."),
        ({"batch_size": 0}, "batch_size"),
        ({"accumulate": 1.5}, "accumulate"),
        ({"seed": 2**32}, "seed is 4294967296: give a number below 4294967296."),
        ({"precision": "int8"}, "precision='int8': there are auto, float32, bfloat16, float16."),
        ({"precision": "float16"}, "precision='float16' needs a GPU"),
        ({"layers": 9}, "layers=9: .* has 2 layers."),
        ({"max_length": 513}, "max_length is 513: .* reads pairs of 5 to 512 tokens."),
        ({"loss": "hinge"}, "loss='hinge': there are bce, lambda, ranknet, infonce, margin-mse, mse."),
    ],
    ids=str,
)
def test_bad_settings_leave_nothing_behind(small: Small, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """So that the call with other settings is not refused as one that goes on with these."""
    with pytest.raises((ValueError, TypeError), match=said) as error:
        small.train(tmp_path / "out", **options)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_what_is_not_there(small: Small, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no training data") as error:
        train(tmp_path, small.base, tmp_path / "out", **FAST)
    one_line(error)
    with pytest.raises(FileNotFoundError, match="is not there") as error:
        train(small.data, tmp_path / "none", tmp_path / "out", **FAST)
    one_line(error)
    with pytest.raises((ConnectionError, FileNotFoundError), match="no/such-model"):
        train(small.data, "no/such-model", tmp_path / "out", **FAST)


def test_a_teacher_that_is_not_there_is_told_before_hours_are_spent(small: Small, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(small.base, teacher)
    data = write_data(tmp_path / "data", queries=20, teacher=str(teacher))
    shutil.rmtree(teacher)
    with pytest.raises(ValueError, match="teacher .* is not there, or not what it was") as error:
        train(data, small.base, tmp_path / "out", **FAST)
    one_line(error)


def test_a_query_in_two_splits(small: Small, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(small.data.folder, data)
    rows = parquet.read_table(data / "test.parquet").to_pylist()
    both = parquet.read_table(data / "train.parquet")
    copies = [row | {"qid": f"x{row['qid']}", "query": row["query"].upper()} for row in rows]
    parquet.write_table(
        pyarrow.concat_tables([both, pyarrow.Table.from_pylist(copies, both.schema)]), data / "train.parquet"
    )
    with pytest.raises(ValueError, match="is in train and in test: make the data anew") as error:
        train(data, small.base, tmp_path / "out", **FAST)
    one_line(error)


def test_the_extra_is_not_installed(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process of the command: it says so in one line, and names the remedy."""
    monkeypatch.setattr(extra, "PACKAGES", ("accelerate", "no_such_package"))
    with pytest.raises(ImportError, match=re.escape("needs no_such_package: pip install 'pyserini-rerank[train]'")):
        small.train(tmp_path / "out")


# A loss that is no number, and a full disk


def test_a_learning_rate_that_is_too_high(small: Small, tmp_path: Path) -> None:
    with pytest.raises(
        FloatingPointError, match="the loss is nan at step 4: give a smaller learning_rate=.*there is no"
    ):
        small.train(tmp_path / "out", learning_rate=1e6)


@pytest.mark.slow
def test_a_loss_that_is_no_number_keeps_the_best_checkpoint(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are damaged in step 10, the loss of which is the first to show it."""
    plain = Trainer.training_step

    def training_step(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 9:
            next(model.parameters()).data.fill_(float("nan"))
        return plain(self, model, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    with pytest.raises(FloatingPointError) as error:
        small.train(tmp_path / "out")
    best = tmp_path / "out.partial" / "checkpoints" / "checkpoint-7"
    said = one_line(error)
    assert said.startswith("the loss is nan at step 10: ") and said.endswith(f"the best checkpoint so far is {best}.")
    with pyserini_rerank.load(best, device="cpu") as reranker:
        assert np.isfinite(reranker.score("a query", ["gold", "black"])).all()
    monkeypatch.undo()
    assert furthest(weights_of(small.train(tmp_path / "out")), small.weights) < 1e-6


@pytest.mark.slow
def test_weights_that_become_no_number_before_an_evaluation(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step_end(self: Any, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 14:
            next(model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(loop.Bar, "on_step_end", on_step_end)
    with pytest.raises(
        FloatingPointError, match="no number after step 14: .* best checkpoint so far is .*point-7"
    ) as e:
        small.train(tmp_path / "out")
    one_line(e)


def test_a_base_with_weights_that_are_no_numbers(small: Small, tmp_path: Path) -> None:
    base = tiny.build(NAME, tmp_path)
    tiny.change_weights(base, lambda weights: weights["classifier.weight"].fill_(float("nan")))
    with pytest.raises(FloatingPointError, match="the base scores pairs by no number: its weights are damaged"):
        train(small.data, base, tmp_path / "out", **FAST)


@pytest.mark.stress
@pytest.mark.parametrize("size", [3_000, 90_000, 150_000])
def test_a_full_disk(size: int, small: Small, tmp_path: Path, small_disk: Any) -> None:
    """The files are a few bytes up to those of the optimizer; the same call goes on from what is complete."""
    small_disk(size)
    with pytest.raises(OSError) as error:
        small.train(tmp_path / "out")
    small_disk(resource.RLIM_INFINITY)
    assert "out" in one_line(error) and not (tmp_path / "out").exists()
    assert furthest(weights_of(small.train(tmp_path / "out")), small.weights) < 1e-6


@pytest.mark.slow
def test_a_disk_that_fills_later(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_disk: Any
) -> None:
    plain = Trainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 9:
            small_disk(100_000)
        return plain(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "compute_loss", compute_loss)
        with pytest.raises(OSError) as error:
            small.train(tmp_path / "out")
    small_disk(resource.RLIM_INFINITY)
    one_line(error)
    checkpoints = tmp_path / "out.partial" / "checkpoints"
    assert _last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-7")
    assert furthest(weights_of(small.train(tmp_path / "out")), small.weights) < 1e-6


# Data of other kinds


@pytest.mark.slow
def test_without_test_and_validation_queries(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data", queries=16, validation=0, test=0)
    made = train(data, small.base, tmp_path / "out", **{**FAST, "epochs": 1})
    assert made and not of_log(made.log, METRIC) and of_log(made.log, "loss")
    assert capsys.readouterr().err.endswith("so the figures are those of 16 train queries.\n")
    assert list(made.table.values) == ["first stage", "base", "trained"] and made.table.topics == 16
    assert "16 training queries, which were trained on" in (made.folder / "README.md").read_text()
    data = write_data(tmp_path / "data2", queries=16, test=0, validation=0.3)
    made = train(data, small.base, tmp_path / "out2", **{**FAST, "epochs": 1})
    assert made and "5 validation queries, by which the checkpoint was chosen" in (
        made.folder / "README.md"
    ).read_text().replace("\n", " ")


def test_no_query_has_a_candidate(small: Small, tmp_path: Path) -> None:
    """All documents were added or drawn by chance, so that there is nothing to rerank."""
    hits, qrels = {"q1": {"x": 1.0}, "q2": {"y": 1.0}}, {"q1": {"a": 1}, "q2": {"b": 1}}
    texts = {docid: f"text {docid}" for docid in "xyab"}
    data = pyserini_rerank.train_data(
        hits, {"q1": "one", "q2": "two"}, qrels, tmp_path / "data", texts=texts, negatives=0, random_negatives=1,
        validation=0, test=0,
    )  # fmt: skip
    made = train(data, small.base, tmp_path / "out", **{**FAST, "epochs": 1})
    assert made and made.table.mean("trained", MEASURE) == 0


@pytest.mark.slow
def test_a_teacher_of_another_backend_is_compared(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is loaded as it scored the data; where it cannot be loaded any more, the training is not lost."""
    how = {"queries": 20, "teacher": str(small.base), "dtype": torch.float32}
    data = write_data(tmp_path / "data", **how, backend="openvino")
    made = train(data, small.base, tmp_path / "out", **{**FAST, "epochs": 1})
    assert made and list(made.table.values) == ["first stage", "base", "trained", "teacher"]
    assert made.table.mean("teacher", MEASURE) == pytest.approx(made.table.mean("base", MEASURE))
    settings = data.folder / "settings.json"
    settings.write_text(settings.read_text().replace('"openvino"', '"gone"'))
    capsys.readouterr()
    made = train(TrainingData(data.folder), small.base, tmp_path / "other", **{**FAST, "epochs": 1})
    assert made and list(made.table.values) == ["first stage", "base", "trained"]
    assert re.search("the table lacks the teacher, which does not score here: .*'gone'", capsys.readouterr().err)


@pytest.mark.slow
def test_a_bases_prompt_is_trained_with(small: Small, tmp_path: Path) -> None:
    """As if the queries had it, and the base had none."""
    prompted = student_of(small.base)
    prompted.prompts, prompted.default_prompt_name = {"search": "stone water "}, "search"
    prompted.save_pretrained(str(tmp_path / "prompted"))
    how = {**FAST, "epochs": 1}
    made = train(write_data(tmp_path / "data", queries=20), tmp_path / "prompted", tmp_path / "out", **how)
    spelled = shutil.copytree(tmp_path / "data", tmp_path / "spelled")
    for split in ("train", "validation", "test"):
        table = parquet.read_table(spelled / f"{split}.parquet")
        queries = pyarrow.array([f"stone water {query}" for query in table["query"].to_pylist()])
        parquet.write_table(
            table.set_column(table.column_names.index("query"), "query", queries), spelled / f"{split}.parquet"
        )
    same = train(spelled, small.base, tmp_path / "same", **how)
    plain = train(tmp_path / "data", small.base, tmp_path / "plain", **how)
    assert made and same and plain
    assert furthest(weights_of(made), weights_of(same)) < 1e-6 and made.table.values == same.table.values
    assert furthest(weights_of(made), weights_of(plain)) > 1e-3


@pytest.mark.slow
def test_the_first_stage_does_not_find_what_was_added(small: Small, tmp_path: Path) -> None:
    """A relevant document that no first stage has found is trained on, but is no candidate of the comparison."""
    topics = {f"q{number}": f"water {number}" for number in range(4)}
    texts = {f"{qid}-{kind}": f"{kind} {qid}" for qid in topics for kind in ("gold", "black", "stone")}
    hits = {qid: {f"{qid}-black": 2.0, f"{qid}-stone": 1.0} for qid in topics}
    qrels = {qid: {f"{qid}-gold": 1} for qid in topics}
    data = pyserini_rerank.train_data(hits, topics, qrels, tmp_path / "data", texts=texts, validation=0, test=0)
    made = train(data, small.base, tmp_path / "out", **{**FAST, "epochs": 1})
    assert made and made.table.mean("first stage", MEASURE) == 0


@pytest.mark.stress
def test_early_stopping(small: Small, tmp_path: Path) -> None:
    made = small.train(tmp_path / "out", learning_rate=1e-9, patience=1, evaluations=10)
    assert [entry["step"] for entry in made.log if METRIC in entry] == [0, 3, 6]


@pytest.mark.slow
def test_windows_are_read_where_the_data_has_them(small: Small, tmp_path: Path) -> None:
    """The mark is beyond the tokens that a cut document has: only windows find it."""
    topics = {f"q{number}": f"water {number}" for number in range(24)}
    texts = {
        f"{qid}-{place}": "stone " * 60 + ("gold " if place == number % 3 else "black ") * 3
        for number, qid in enumerate(topics)
        for place in range(3)
    }
    hits = {qid: {f"{qid}-{place}": 3.0 - place for place in range(3)} for qid in topics}
    qrels = {qid: {f"{qid}-{number % 3}": 1} for number, qid in enumerate(topics)}
    data = pyserini_rerank.train_data(
        hits, topics, qrels, tmp_path / "data", texts=texts, teacher=str(small.base), windows=(20, 10),
        validation=0.2, test=0.2,
    )  # fmt: skip
    made = train(data, small.base, tmp_path / "out", **{**FAST, "epochs": 1, "max_length": 40})
    assert made and made.table.costs["trained"].pairs > 12 and made.table.costs["trained"].cut_passages == 0
    with pytest.warns(CutWarning), pyserini_rerank.load(made.folder, device="cpu") as reranker:
        assert np.ptp(reranker.score("water 1", [texts["q1-0"], texts["q1-1"]])) < 1e-5, "it is cut"


@pytest.mark.slow
def test_a_teacher_with_another_tokenizer(small: Small, tmp_path: Path) -> None:
    base = tiny_architectures.build("roberta", tmp_path)
    made = train(small.data, base, tmp_path / "out", **{**FAST, "loss": "margin-mse", "epochs": 1})
    assert made and list(made.table.values)[-1] == "teacher"


@pytest.mark.slow
def test_precisions(small: Small, tmp_path: Path) -> None:
    """Mixed precision keeps the weights in float32; by default the processor decides."""
    made = {name: small.train(tmp_path / name, precision=name) for name in ("float32", "bfloat16")}
    weights = {name: weights_of(one) for name, one in made.items()}
    for name, one in made.items():
        losses = of_log(one.log, "loss")
        assert len(losses) == 21 and np.mean(losses[-3:]) < np.mean(losses[:3])
        assert {str(weight.dtype) for weight in weights[name].values()} == {"torch.float32"}
    assert furthest(weights["float32"], weights["bfloat16"]) > 0
    default = "bfloat16" if torch.cpu.get_capabilities().get("amx_bf16") else "float32"
    assert furthest(weights[default], small.weights) == 0
    assert f"- `precision`: {default}\n" in (small.trained.folder / "README.md").read_text()


@pytest.mark.slow
def test_a_model_that_is_trained_in_float32_alone(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeBERTa's first version, also where bfloat16 is the default; an autocast that is asked for is refused."""
    base = tiny_architectures.build("deberta", tmp_path)
    options = {**FAST, "epochs": 0.3, "max_length": 32}
    with pytest.raises(ValueError, match="transformers trains a deberta in float32 alone: take 'float32'.") as error:
        train(small.data, base, tmp_path / "out", **options, precision="bfloat16")
    one_line(error)
    assert not list(tmp_path.glob("out*"))
    monkeypatch.setattr(loop, "precision_on", lambda device: "bfloat16")
    made = train(small.data, base, tmp_path / "out", **options)
    assert made and "- `precision`: float32" in (made.folder / "README.md").read_text()


@pytest.mark.stress
def test_accumulation(small: Small, tmp_path: Path) -> None:
    made = small.train(tmp_path / "out", learning_rate=5e-3, accumulate=3)
    losses = of_log(made.log, "loss")
    assert len(losses) == 9 and np.mean(losses[-3:]) < np.mean(losses[:3])
    assert furthest(weights_of(made), small.weights) > 0


# The terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_the_bar_shows_the_loss_and_the_gain(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(tqdm, "__init__", partialmethod(tqdm.__init__, file=terminal, mininterval=0, miniters=0))
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    small.train(tmp_path / "out", epochs=1)
    shown = terminal.getvalue()
    assert re.search(rf"training: 100%.* 7/7 .*{MEASURE}=[01]\.\d{{4}}, loss=\d\.\d{{4}}", shown)
    for other in ("Loading weights", "Writing model", "Generating", "Saving", "Map"):
        assert other not in shown
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""


def command(*words: object) -> list[str]:
    return ["train", *map(str, words), "--device", "cpu", "--learning-rate", "3e-3", "--batch-size", "32"]


@pytest.mark.slow
def test_the_command(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = command("--data", small.data.folder, "--base", small.base, "--output", tmp_path / "out", "--layers", "0,1")
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *words, "--epochs", "0.3"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capfd.readouterr()
    assert not stopped.value.code and said.err == ""
    assert "teacher" in said.out and said.out.splitlines()[-1] == str(tmp_path / "out")


@pytest.mark.stress
def test_the_command_in_a_process_of_its_own(small: Small, tmp_path: Path) -> None:
    """In a process of its own: it prints the table and the folder, and no other library says anything."""
    words = command("--data", small.data.folder, "--base", small.base, "--output", tmp_path / "out", "--layers", "0,1")
    done = python("", "pyserini_rerank", *words, "--epochs", "3", "--loss", "bce", "--evaluations", "3")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for name in ("first stage", "base", "trained", "teacher", MEASURE, "pairs/s"):
        assert name in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert furthest(tiny.read_weights(tmp_path / "out" / "model.safetensors"), small.weights) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layers", "x"], "--layers x: give a number, or numbers with commas, such as 0,3,7,11."),
        (["--layers", "0,3"], "layers=[0, 3]: give numbers from 0 to 1 in rising order."),
        (["--layers", "1,0"], "layers=[1, 0]: give numbers from 0 to 1 in rising order."),
        (["--layers", "3"], "layers=3: "),
        (["--learning-rate", "-1"], "learning_rate is -1.0: give a number above 0."),
        (["--learning-rate", "1e6", "--loss", "bce"], "give a smaller --learning-rate"),
    ],
    ids=lambda value: "",
)
def test_bad_options(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], said: str,
) -> None:  # fmt: skip
    given = command("--data", small.data.folder, "--base", small.base, "--output", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *given, *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and said in error and len(error.splitlines()) == 1


# Several processes


@pytest.mark.stress
def test_two_processes_train_as_one_with_two_batches_a_step(small: Small, tmp_path: Path) -> None:
    """Without dropout, whose masks each process draws for itself; both choose the same layers, and one says so.

    Then the two differ by the order in which float32 gradients are summed, some 1e-7 of each. Adam divides a gradient
    by its size, so that this grows where a gradient is near zero: 1e-4 is a tenth of what one step of this rate moves a
    weight.
    """
    base = tiny.build(NAME, tmp_path)
    tiny_architectures.change(base, "config.json", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    words = [*("train", "--data", str(small.data.folder), "--base", str(base), "--device", "cpu", "--loss", "bce")]
    words += [
        *("--learning-rate", "1e-3", "--evaluations", "2", "--epochs", "1", "--batch-size", "16", "--layers", "1")
    ]
    one = python("", "pyserini_rerank", *words, "--accumulate", "2", "--output", str(tmp_path / "one"))
    two = python(
        "", "torch.distributed.run", "--nproc_per_node", "2", "-m", "pyserini_rerank", *words,
        "--output", str(tmp_path / "two"),
    )  # fmt: skip
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert two.stdout.count("Means over 10 topics") == 1 and two.stdout.splitlines()[-1] == str(tmp_path / "two")
    assert one.stderr == two.stderr and len(two.stderr.splitlines()) == 1 and "layers 0 of 2 are kept" in two.stderr
    files = [sorted(path.name for path in (tmp_path / name).rglob("*")) for name in ("one", "two")]
    assert files[0] == files[1] and not list(tmp_path.glob("*.partial"))
    weights = [tiny.read_weights(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert furthest(*weights) < 1e-4
    before = tiny.read_weights(base / "model.safetensors")
    assert furthest(weights[0], {key: before[key] for key in weights[0]}) > 1e-3


KILLED_IN_THE_SECOND_EPOCH = """
import os
from pyserini_rerank.cli.main import main
from pyserini_rerank.training import loop
plain = loop.Trainer.compute_loss
def compute_loss(self, *args, **kwargs):
    if self.state.global_step == int(os.environ["STEP"]):
        os._exit(1)
    return plain(self, *args, **kwargs)
loop.Trainer.compute_loss = compute_loss
main()
"""


@pytest.mark.stress
def test_two_processes_go_on_with_the_batches_of_their_epoch(small: Small, tmp_path: Path) -> None:
    """The rows fill no whole number of batches, so that the smaller batch is left out."""
    script = tmp_path / "script.py"
    script.write_text(KILLED_IN_THE_SECOND_EPOCH)
    words = [*("train", "--data", str(small.data.folder), "--base", str(small.base), "--device", "cpu")]
    words += [*("--loss", "bce", "--epochs", "3", "--evaluations", "6", "--batch-size", "18", "--precision", "float32")]

    def run(step: int, output: str) -> Any:
        launch = ["torch.distributed.run", "--nproc_per_node", "2", str(script)]
        return python("", *launch, *words, "--output", str(tmp_path / output), STEP=str(step))

    whole, killed = run(-1, "whole"), run(10, "out")
    assert whole.returncode == 0 and killed.returncode, whole.stderr
    assert run(-1, "out").returncode == 0
    weights = [tiny.read_weights(tmp_path / name / "model.safetensors") for name in ("whole", "out")]
    assert furthest(*weights) < 1e-6
    logs = [(tmp_path / name / "training_log.jsonl").read_text() for name in ("whole", "out")]
    assert logs[0] == logs[1]
