"""What `train_data` and its command refuse: each time in one line that names the thing and the remedy."""

from pathlib import Path
from typing import Any

import pandas
import pytest
from collection import HashBackend
from experiment import run
from pyserini_rerank import ModelReranker, Template, TrainingData, train_data
from small_training import OTHER, Small

pytestmark = [
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning"),
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.UnknownTextWarning"),
]


def bad_inputs(small: Small) -> list[tuple[dict[str, Any], str]]:
    nothing = {qid: dict.fromkeys(grades, 0) for qid, grades in small.qrels.items()}
    named = {"validation": ["q1"], "test": ["q2"]}
    all_named = {"validation": [], "test": list(small.topics)}
    return [
        ({"qrels": nothing}, "no topic has a relevant document (of grade 1 or more): name the qrels of these topics"),
        ({"level": 3}, "no topic has a relevant document (of grade 3 or more): name the qrels"),
        ({"qrels": {"x": {"d1": 1}}}, "none of the topics is judged: name the qrels of these topics."),
        ({"qrels": {}}, "the qrels are an empty mapping: give the qrels of the run."),
        ({"topics": {}}, "the topics are an empty mapping: give the topics of the run."),
        ({"topics": {"q1": "  "}}, "none of the topics is judged: name the qrels of these topics."),
        ({"topics": {"q1": "\ud83d"}}, "topic q1: the query '\\ud83d' holds half of a surrogate pair"),
        ({"topics": {"q 1": "flea"}, "qrels": {"q 1": {"d1": 1}}}, "the qid 'q 1' has white space in it"),
        ({"qrels": {"q1": {"d 5": 1}}}, "the qrels of query q1: the docid 'd 5' has white space in it"),
        ({"first_stage": {"q1": {"d 5": 1.0}}, "texts": lambda docid: "text"}, "the docid 'd 5' has white space in it"),
        ({"texts": {"other": "text"}}, "with a text: name the qrels and the texts of these topics, or another level=."),
        ({"texts": None}, "a run file and hits have no texts: name an index, a collection or a mapping by texts=."),
        ({"texts": Template("{contents}")}, "a run file and hits have no texts: name an index, a collection"),
        ({"texts": 5}, "texts= takes a searcher, an index's path or name, a collection file, a mapping"),
        ({"texts": "no-such-index"}, "texts= names 'no-such-index', which is neither a folder nor"),
        ({"texts": lambda docid: 5}, "is int, not str."),
        ({"first_stage": []}, "first_stage is an empty list: give a searcher, a run file, hits by qid"),
        ({"first_stage": 5}, "a int is no system: give a searcher, a run file, hits by qid, or a list of these."),
        ({"first_stage": "no.run"}, "'no.run' is no run file: give a searcher, a run file, hits by qid"),
        ({"first_stage": [small.folder]}, "is no run file: give a searcher, a run file, hits by qid"),
        ({"first_stage": {"q1": 5}}, "the hits of q1 is a int: give a list."),
        ({"first_stage": {"q1": {"d1": float("nan")}}}, "the score of d1 for query q1 is NaN: give a number"),
        ({"first_stage": {"q1": ["d1"]}}, "a hit is a str whose docid is None"),
        ({"depth": 0}, "depth is 0: give 1 or more."),
        ({"ranks": (9, 2)}, "ranks=9, 2: give the first rank of a negative, and then the last."),
        ({"ranks": (50, 60)}, "no query is left to train on: the others are kept for validation and test, or have no"),
        ({"negatives": 0}, "negatives=0 and random_negatives=0: a reranker needs documents that are not relevant."),
        ({"margin": 1.0}, "margin= and windows= compare a teacher's scores: name a reranker by teacher=."),
        ({"windows": (8, 4)}, "margin= and windows= compare a teacher's scores: name a reranker by teacher=."),
        ({"device": "cpu", "ray": True}, "device, ray: these are for a teacher: name a reranker by teacher=."),
        ({"cache": "scores"}, "cache: these are for a teacher: name a reranker by teacher=."),
        ({"negativs": 5}, "negativs: these are for a teacher: name a reranker by teacher=."),
        ({"validation": 0.5, "test": 0.5}, "validation= and test= take all queries (100%): leave some to train on."),
        ({"validation": 1}, "validation=1: give a share of the queries from 0 to 1, or the qids."),
        ({"test": float("nan")}, "test=nan: give a share of the queries from 0 to 1, or the qids."),
        ({"test": "q1"}, "test is one string: give a list of them."),
        ({"test": ["q1"]}, "validation= and test=: give two shares, or the qids of both (which may be empty lists)."),
        (named | {"test": ["q1"]}, "is in test= and in validation=: leave one out."),
        (named | {"test": ["q99"]}, "test= names the query 'q99', which is no topic with a relevant document."),
        (all_named, "no query is left to train on: the others are kept for validation and test, or have no negative."),
        (all_named | {"teacher": small.model}, "no query is left to train on: the others are kept for validation and"),
        ({"teacher": "no/such-model", "backend": "torch"}, "no/such-model"),
        ({"teacher": str(small.folder)}, "is no checkpoint (it has no config.json): name a folder"),
        ({"teacher": 5}, "a int is no reranker: name a checkpoint, a folder, or a combination of them."),
        ({"teacher": small.model, "backend": "none"}, "none"),
        ({"teacher": small.model, "tag": "mine"}, "tag"),
        ({"teacher": {"interpolation": {"reranker": small.model, "alpha": 0.5}}}, "first stage's scores"),
        ({"teacher": small.model, "windows": (4, 8)}, "windows=4, 8: give the size, and then a stride from 1"),
        ({"teacher": small.model, "windows": (4, 0)}, "windows is 0: give 1 or more."),
        ({"teacher": small.model, "windows": 8}, "windows is a int: give a list."),
        ({"teacher": ModelReranker(HashBackend(), "hashing"), "windows": (8, 4)}, "windows are cut by tokens"),
        (
            {"teacher": [(small.model, 50), (small.model, 2)]},
            "documents, and the last stage of the teacher's cascade scores 2: name this stage's reranker",
        ),
        (
            {"teacher": {"ensemble": [({"windows": f"[[{small.model}, 50], [{small.model}, 3]]"}, 1)]}},
            "the last stage of the teacher's cascade scores 3: ",
        ),
        ({"teacher": small.model, "cache": "data/scores"}, "cache='data/scores' is within the output"),
        ({"teacher": small.model, "cache": "data"}, "cache='data' is within the output"),
        ({"output": "-"}, "- is no file, and an output that can be interrupted needs one: name a file."),
    ]  # fmt: skip


def test_bad_input(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one line that names the thing; nothing is left of it, so that the corrected call begins anew."""
    monkeypatch.chdir(tmp_path)
    for wrong, said in bad_inputs(small):
        with pytest.raises((ValueError, TypeError, OSError, LookupError)) as error:
            train_data(**{**small.given, "output": tmp_path / "data"} | wrong)
        assert said in str(error.value), wrong
        assert "\n" not in str(error.value), wrong
        assert not list(tmp_path.iterdir()), wrong


def test_outputs(small: Small, tmp_path: Path) -> None:
    """Folders above it are made; what is there is neither replaced nor deleted."""
    made = train_data(**small.given, output=tmp_path / "new" / "folder" / "data")
    assert made.folder == tmp_path / "new" / "folder" / "data"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial" / "notes").write_text("mine")
    for output, error, said in (
        (tmp_path / "file", FileExistsError, "exists: name another folder, or delete this one."),
        (tmp_path / "file" / "data", OSError, "file"),
        (
            tmp_path / "mine",
            ValueError,
            "holds 'notes', and is deleted when the output is complete: move that file away",
        ),
    ):
        with pytest.raises(error) as raised:
            train_data(**small.given, output=output)
        assert said in str(raised.value) and "\n" not in str(raised.value)
    assert (tmp_path / "file").read_text() == (tmp_path / "mine.partial" / "notes").read_text() == "mine"


def test_folders_without_training_data(tmp_path: Path) -> None:
    for content, error, said in (
        (None, FileNotFoundError, "holds no training data (it has no settings.json): make some with `pyserini-rerank"),
        ("[1]", ValueError, "settings.json has no settings of training data: make some with"),
        ("{", ValueError, "settings.json has no settings of training data: make some with"),
        ('{"level": 1}', ValueError, "settings.json has no settings of training data: make some with"),
    ):
        if content:
            (tmp_path / "settings.json").write_text(content)
        for folder in (tmp_path, str(tmp_path)):
            with pytest.raises(error) as raised:
                TrainingData(folder)
            assert said in str(raised.value) and "\n" not in str(raised.value)


def test_without_the_extra(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyserini_rerank.training.extra.PACKAGES", ("datasets", "no_such_package"))
    with pytest.raises(
        ImportError, match=r"^training needs no_such_package: pip install 'pyserini-rerank\[train\]'\.$"
    ):
        train_data(**small.given, output=tmp_path / "data")


@pytest.fixture
def begun(small: Small, tmp_path: Path, interrupting: Any) -> tuple[Path, dict[str, Any]]:
    """An output that was begun: the candidates are found, and the teacher has scored a part."""
    how = small.taught | {"first_stage": small.hits_of_scores(), "texts": small.texts, "windows": (8, 4)}
    interrupting(2)
    with pytest.raises(KeyboardInterrupt):
        train_data(**how, output=tmp_path / "data")
    interrupting(None)
    return tmp_path / "data", how


def test_other_arguments_are_refused_for_a_folder_that_was_begun(
    small: Small, begun: tuple[Path, dict[str, Any]]
) -> None:
    output, how = begun
    hits = small.hits_of_scores()
    better = hits | {"q5": {docid: -score for docid, score in hits["q5"].items()}}
    regraded = small.qrels | {"q0": {"d0": 1}}
    changes: dict[str, list[Any]] = {
        "first_stage": [small.folder / "first.run", [hits, hits], better],
        "texts": [small.texts | {"d1": "another"}, small.folder / "docs.jsonl", small.texts.get],
        "topics": [small.topics | {"q0": "another"}],
        "qrels": [regraded],
        "depth": [11],
        "level": [2],
        "positives": [1],
        "negatives": [2],
        "ranks": [(1, 5)],
        "random_negatives": [1],
        "margin": [0.5],
        "windows": [(8, 3)],
        "validation": [0.2],
        "test": [0.0],
        "seed": [4],
        "teacher": [str(small.folder / OTHER)],
    }
    for name, values in changes.items():
        for value in values:
            with pytest.raises(ValueError) as error:
                train_data(**how | {name: value}, output=output)
            assert f"data.partial was begun with another {name}: delete it to begin anew" in str(error.value)
            assert "\n" not in str(error.value)
    moved = how | {
        "topics": pandas.Series(small.topics),
        "qrels": dict(small.qrels),
        "texts": pandas.Series(small.texts),
    }
    assert train_data(**moved, output=output).settings["counts"]["train"]["queries"] == 16
    with pytest.raises(FileExistsError, match="data exists: name another folder, or delete this one."):
        train_data(**how, output=output)


def test_the_commands_errors_name_its_options(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = small.words.index("--collection")
    without_texts = [*small.words[:place], *small.words[place + 2 :]]
    without_run = ["train-data", *small.words[3:]]
    for words_given, said in (
        (without_texts, "name the texts, by one of --index and --collection."),
        ([*small.words, "--index", "x"], "--index and --collection were given together: name the texts, by one of"),
        (without_run, "name the candidates, by one of --index and --run."),
        (
            [*small.words, "--margin", "1"],
            "--margin and --windows compare a teacher's scores: name a reranker by --teacher.",
        ),
        ([*small.words, "--max-length", "40"], "max_length: these are for a teacher: name a reranker by --teacher."),
        ([*small.words, "--validation", "0.6", "--test", "0.4"], "--validation and --test take all queries (100%)"),
        ([*small.words, "--level", "9"], "name the qrels of these topics, or another --level."),
        ([*small.words, "--ranks", "9", "2"], "ranks=9, 2: give the first rank of a negative, and then the last."),
        ([*small.words, "--run", "no.run"], "'no.run' is no run file: give a searcher, a run file"),
        ([*small.words, "--collection", "no.jsonl"], "no.jsonl: No such file or directory"),
        ([*without_run, "--index", "no-index"], "'no-index'"),
    ):
        assert run(monkeypatch, *words_given, "--output", str(tmp_path / "data")) == 1
        shown = capsys.readouterr().err
        assert said in shown and len(shown.strip().splitlines()) == 1, shown
    assert run(monkeypatch, *small.words, "--negatives", "few", "--output", str(tmp_path / "data")) == 2
    assert not list(tmp_path.iterdir())
