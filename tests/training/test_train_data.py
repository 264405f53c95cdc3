"""`train_data` and `pyserini-rerank train-data`: what is in the folder, against what is told by hand."""

import json
import os
import re
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas
import pytest
from collection import HashBackend, build_lucene_index
from experiment import run
from forking import python
from hypothesis import given, settings
from hypothesis import strategies as st
from pyserini_rerank import ModelReranker, SkippedDocumentWarning, Template, TrainingData, load, train_data
from pyserini_rerank.runs.run_file import RunHit
from pyserini_rerank.training.splitting import words
from pyserini_rerank.training.teacher import _windows, spans
from pyserini_rerank.training.training_data import SPLITS, Document, JudgedQuery, write_split
from small_training import DATA, HITS, OTHER, QUERIES, Small, all_candidates, files, ranked, splits_of, write_run

pytestmark = [
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning"),
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.UnknownTextWarning"),
]


@pytest.fixture(scope="module")
def index(small: Small, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_lucene_index(tmp_path_factory.mktemp("lucene") / "index", small.texts)


@pytest.fixture
def open_searcher(index: str) -> Iterator[Any]:
    from pyserini.search.lucene import LuceneSearcher

    made = LuceneSearcher(index)
    yield made
    made.close()


# What is in it


def test_a_run_file(small: Small, tmp_path: Path) -> None:
    data = train_data(**small.given, output=tmp_path / "data", negatives=4)
    assert data.folder == tmp_path / "data" and not list(tmp_path.glob("*.partial"))
    assert {path.name for path in data.folder.iterdir()} == {*DATA, "settings.json", "README.md"}
    made = splits_of(data)
    assert {split: len(queries) for split, queries in made.items()} == {"train": 16, "validation": 2, "test": 2}
    assert sorted(query.qid for queries in made.values() for query in queries) == sorted(small.topics)
    for split, queries in made.items():
        assert [query.qid for query in queries] == [qid for qid in small.topics if qid in {q.qid for q in queries}]
        for query in queries:
            ranks = {docid: rank for rank, docid in enumerate(small.hits[query.qid], 1)}
            assert query.query == small.topics[query.qid]
            for document in query.documents:
                assert document.text == small.texts[document.docid] and document.teacher_score is None
                assert document.grade == small.qrels[query.qid].get(document.docid)
                assert document.rank == ranks.get(document.docid)
            docids = [document.docid for document in query.documents]
            if split == "train":
                i = int(query.qid[1:])
                relevant = {f"d{5 * i + place}" for place in range(3)}
                assert {document.docid for document in query.relevant(1)} == relevant
                assert len(query.others(1)) == 4 and len(set(docids)) == 7
                assert docids[-1] == f"d{5 * i + 2}", "it was not found, and follows the candidates"
            else:
                assert docids == small.hits[query.qid]
    assert data.qrels == small.qrels and data.level == 1 and not data.has_teacher
    counts = {split: {"queries": len(of), "documents": sum(len(q.documents) for q in of)} for split, of in made.items()}
    assert data.settings["counts"] == counts
    assert "train: 16 queries with 112 documents, validation: 2 queries with 24 documents" in repr(data)


def test_the_card_and_the_settings(small: Small, tmp_path: Path) -> None:
    teacher = {"ensemble": {"rerankers": [[small.model, 1], [small.model, 0.5]]}}
    given_numbers = {
        "ranks": np.array([1, 9]),
        "negatives": np.int64(3),
        "depth": np.int32(10),
        "margin": np.float32(0.5),
    }
    data = train_data(**small.taught | {"teacher": teacher}, output=tmp_path / "data", **given_numbers)
    read = json.loads((data.folder / "settings.json").read_text())
    assert read == TrainingData(str(data.folder)).settings
    expected = {
        "depth": 10,
        "negatives": 3,
        "ranks": [1, 9],
        "margin": 0.5,
        "seed": 3,
        "validation": 0.1,
        "windows": None,
    }
    assert {name: read[name] for name in expected} == expected
    assert read["teacher"]["model"] == teacher and read["teacher"]["device"] == "cpu"
    card = (data.folder / "README.md").read_text()
    assert card.startswith("---\nconfigs:\n") and f"candidates of {small.folder / 'first.run'}, 10 deep" in card
    assert "- `negatives`: 3\n" in card and "| validation | 2 | 20 |" in card
    plain = train_data(small.hits_of_scores(), small.topics, small.qrels, tmp_path / "plain", texts=small.texts)
    card = (plain.folder / "README.md").read_text()
    assert "candidates of hits, 100 deep" in card and "- `ranks`: None\n" in card and "teacher None" not in card


def test_a_searcher_and_documents_that_it_does_not_find(small: Small, open_searcher: Any, tmp_path: Path) -> None:
    how = {"topics": small.topics, "qrels": small.qrels, "depth": 7, "validation": 0.3, "test": 0.3}
    data = train_data(open_searcher, **how, output=tmp_path / "data", negatives=2)
    added = 0
    for split in SPLITS:
        for query in data.queries(split):
            found = [hit.docid for hit in open_searcher.search(small.topics[query.qid], 7)]
            if split != "train":
                assert ranked(query) == found
            for document in query.documents:
                assert document.text == small.texts[document.docid]
                assert document.rank == (found.index(document.docid) + 1 if document.docid in found else None)
                added += document.rank is None
            if split == "train":
                relevant = {docid for docid, grade in small.qrels[query.qid].items() if grade}
                assert {document.docid for document in query.relevant(1)} == relevant
    assert added > 5
    assert data.settings["first_stage"] == [f"LuceneSearcher {open_searcher.index_dir}"]
    open_searcher.set_reranker(ModelReranker(HashBackend(), "hashing"), depth=7)
    again = train_data(open_searcher, **how, output=tmp_path / "again", negatives=2)
    assert files(again.folder, *DATA) == files(data.folder, *DATA), "a reranker that is set on it changes nothing"


def test_documents_without_text_are_counted(small: Small, tmp_path: Path, interrupting: Any) -> None:
    """A candidate of several queries once, one whose text is blank, and a relevant one that no first stage finds.

    A call that goes on where another one was interrupted tells the same.
    """
    relevant_unfound, relevant_found = "d2", "d6"
    shared = max(small.texts, key=lambda docid: sum(docid in found for found in small.hits.values()))
    assert len({relevant_unfound, relevant_found, shared}) == 3
    texts = {docid: text for docid, text in small.texts.items() if docid not in (relevant_unfound, relevant_found)}
    texts[shared] = " \n"
    how = {"topics": small.topics, "qrels": small.qrels, "texts": texts}
    with pytest.warns(SkippedDocumentWarning, match="^3 documents have no text, and are left out.$") as warned:
        data = train_data(small.hits_of_scores(), **how, output=tmp_path / "data")
    assert [Path(warning.filename) for warning in warned] == [Path(__file__)]
    assert data.settings["without_text"] == 3 and "- `without_text`: 3\n" in (data.folder / "README.md").read_text()
    kept = {document.docid for queries in splits_of(data).values() for query in queries for document in query.documents}
    assert not kept & {relevant_unfound, relevant_found, shared}
    whole = train_data(small.hits_of_scores(), **how | {"texts": small.texts}, output=tmp_path / "whole")
    assert whole.settings["without_text"] == 0
    how |= {"teacher": small.model, "device": "cpu", "output": tmp_path / "interrupted"}
    interrupting(1)
    with pytest.raises(KeyboardInterrupt):
        train_data(small.hits_of_scores(), **how)
    interrupting(None)
    with pytest.warns(SkippedDocumentWarning, match="^3 documents have no text, and are left out.$"):
        assert train_data(small.hits_of_scores(), **how).settings["without_text"] == 3


def test_hits_by_qid(small: Small, tmp_path: Path) -> None:
    how = small.given
    expected = files(train_data(**how, output=tmp_path / "run").folder, *DATA)
    scored = small.hits_of_scores()
    lists = {qid: (RunHit(docid, score) for docid, score in hits.items()) for qid, hits in scored.items()}
    series = pandas.Series({qid: pandas.Series(hits) for qid, hits in scored.items()})
    twice = {qid: [RunHit(docid, 1.0) for docid in (found[0], *found)] for qid, found in small.hits.items()}
    given_stages = {"scores": scored, "generators": lists, "series": series, "twice": twice}
    for name, hits in given_stages.items():
        made = train_data(**how | {"first_stage": hits}, output=tmp_path / name)
        assert files(made.folder, *DATA) == expected, name
        assert made.settings["first_stage"] == ["hits"]


def test_mappings_with_whole_numbers_stand_for_the_files(small: Small, tmp_path: Path) -> None:
    given_files = train_data(**small.given, output=tmp_path / "files")
    number = lambda name: np.int64(name[1:])  # noqa: E731
    topics = pandas.Series({number(qid): query for qid, query in small.topics.items()})
    qrels = {
        number(qid): pandas.Series({f"d{docid[1:]}": g for docid, g in of.items()}) for qid, of in small.qrels.items()
    }
    hits = {number(qid): of for qid, of in small.hits_of_scores().items()}
    made = train_data(hits, topics, qrels, tmp_path / "numbers", texts=pandas.Series(small.texts), seed=3)
    assert all_candidates(made).keys() == {qid[1:] for qid in small.topics}
    assert (made.folder / "qrels.txt").read_text() == (given_files.folder / "qrels.txt").read_text().replace("q", "")
    for wrong in ((qid for qid in small.topics), iter(small.topics.items())):
        with pytest.raises(TypeError, match="^topics is a .*: give a mapping, such as a dict"):
            train_data(hits, wrong, qrels, tmp_path / "x", texts=small.texts)


def test_several_first_stages_in_turn(small: Small, open_searcher: Any, tmp_path: Path) -> None:
    """Each document once, at its first place. The run has no texts, and gets those of the searcher's index."""
    searched = {qid: [hit.docid for hit in open_searcher.search(query, 5)] for qid, query in small.topics.items()}
    short = {qid: found[:3] for qid, found in small.hits.items() if qid != "q4"}
    path = write_run(tmp_path / "short.run", short)
    how = {"topics": small.topics, "qrels": small.qrels, "depth": 5, "validation": 0.4, "test": 0.4}
    data = train_data([path, open_searcher], **how, output=tmp_path / "data")
    reversed_data = train_data((open_searcher, path), **how, output=tmp_path / "reversed")
    checked = 0
    for made, first, second in ((data, short, searched), (reversed_data, searched, short)):
        for split in ("validation", "test"):
            for query in made.queries(split):
                expected: list[str] = []
                for rank in range(5):
                    expected += first.get(query.qid, [])[rank : rank + 1] + second.get(query.qid, [])[rank : rank + 1]
                assert ranked(query) == list(dict.fromkeys(expected))
                checked += 1
    assert checked == 32
    alone = train_data(open_searcher, **how, output=tmp_path / "alone")
    twice = train_data([open_searcher, open_searcher], **how, output=tmp_path / "twice")
    assert files(alone.folder, *DATA) == files(twice.folder, *DATA)


def test_texts_from_anywhere(small: Small, index: str, open_searcher: Any, tmp_path: Path) -> None:
    how = small.given
    expected = files(train_data(**how, output=tmp_path / "collection").folder, *DATA)
    rows = "".join(f"{docid}\t{text}\n" for docid, text in small.texts.items())
    (tmp_path / "docs.tsv").write_text(rows)
    given_texts = {
        "index": index,
        "searcher": open_searcher,
        "tsv": tmp_path / "docs.tsv",
        "mapping": small.texts,
        "series": pandas.Series(small.texts),
        "callable": small.texts.get,
        "template": Template("{contents}", index=index),
    }
    for name, texts in given_texts.items():
        assert files(train_data(**how | {"texts": texts}, output=tmp_path / name).folder, *DATA) == expected, name


def test_a_searchers_texts_by_a_template_and_from_elsewhere(small: Small, open_searcher: Any, tmp_path: Path) -> None:
    """Of candidates, and of relevant documents that were not found."""
    how = {"topics": small.topics, "qrels": small.qrels, "depth": 6}
    for name, texts, expected in (
        ("template", Template("<{contents}>"), {docid: f"<{text}>" for docid, text in small.texts.items()}),
        ("mapping", {docid: f"text of {docid}" for docid in small.texts}, {d: f"text of {d}" for d in small.texts}),
    ):
        data = train_data(open_searcher, **how, texts=texts, output=tmp_path / name)
        documents = [document for split in SPLITS for query in data.queries(split) for document in query.documents]
        assert {document.docid: document.text for document in documents}.items() <= expected.items()
        assert any(document.rank is None for document in documents)


def test_documents_without_text_are_left_out(small: Small, tmp_path: Path) -> None:
    """A candidate gets the rank among those with a text; a query whose relevant documents have none is left out."""
    texts = dict(small.texts)
    first = small.hits["q0"]
    texts[first[0]], texts[first[1]] = " \n", ""
    del texts[first[2]]
    own = {"d40", "d41", "d42"}
    for docid in own:
        del texts[docid]
    data = train_data(**small.given | {"texts": texts}, output=tmp_path / "data", validation=[], test=["q0"])
    [query] = data.queries("test")
    assert ranked(query) == [docid for docid in first[3:] if docid not in own]
    assert [document.rank for document in query.documents] == list(range(1, len(query.documents) + 1))
    assert "q8" not in all_candidates(data) and "q8" not in data.qrels
    assert all(document.text for split in SPLITS for query in data.queries(split) for document in query.documents)


def test_choices_of_documents(small: Small, tmp_path: Path) -> None:
    how = {"ranks": (4, 9), "positives": 2, "negatives": 3, "random_negatives": 2, "level": 1}
    data = train_data(**small.given, output=tmp_path / "data", **how)
    for query in data.queries("train"):
        i = int(query.qid[1:])
        grades = [document.grade for document in query.relevant(1)]
        assert sorted(grades) == [1, 2] and f"d{5 * i}" in {d.docid for d in query.relevant(1)}
        by_rank = [document for document in query.others(1) if document.rank is not None]
        drawn = [document for document in query.others(1) if document.rank is None]
        assert len(by_rank) == 3 and all(4 <= document.rank <= 9 for document in by_rank)
        assert len(drawn) == 2 and not {document.docid for document in drawn} & {*small.hits[query.qid]}
        found_elsewhere = {docid for qid, found in small.hits.items() if qid != query.qid for docid in found}
        assert {document.docid for document in drawn} <= found_elsewhere
    strict = train_data(**small.given, output=tmp_path / "strict", level=2, negatives=50)
    for query in strict.queries("train"):
        assert [document.grade for document in query.relevant(2)] == [2]
        assert len(query.others(2)) == HITS - 1 and 1 in [document.grade for document in query.others(2)]
    only_random = train_data(**small.given, output=tmp_path / "random", negatives=0, random_negatives=4)
    for query in only_random.queries("train"):
        assert [document.rank for document in query.others(1)] == [None] * 4


def test_a_query_without_hits_and_a_depth_beyond_the_index(small: Small, open_searcher: Any, tmp_path: Path) -> None:
    topics = small.topics | {"q1": "zzz", "q2": "yyy"}
    how = {"topics": topics, "qrels": small.qrels, "validation": [], "test": ["q2", "q3"]}
    data = train_data(open_searcher, **how, depth=10**6, random_negatives=3, output=tmp_path / "data")
    [query] = data.queries("test")
    assert query.qid == "q3" and data.settings["counts"]["test"]["queries"] == 1
    assert ranked(query) == [hit.docid for hit in open_searcher.search(topics["q3"], 1000)]
    [lonely] = [query for query in data.queries("train") if query.qid == "q1"]
    assert {document.docid for document in lonely.relevant(1)} == {"d5", "d6", "d7"} and len(lonely.others(1)) == 3
    alone = train_data(open_searcher, **how, depth=10**6, output=tmp_path / "alone")
    assert "q1" not in {query.qid for query in alone.queries("train")}, "it has nothing that is not relevant"


# The split


def test_the_split_of_related_queries(small: Small, tmp_path: Path) -> None:
    topics = small.topics | {f"q{i}": f"the same words {i % 5}{'?' * (i // 5)}" for i in range(10)}
    qrels = small.qrels | {f"q{i}": small.qrels[f"q{i}"] | {"shared": 1} for i in (12, 13)}
    how = small.given | {"topics": topics, "qrels": qrels, "validation": 0.3, "test": 0.3}
    data = train_data(**how, output=tmp_path / "data")
    split_of: dict[str, str] = {}
    for split, queries in splits_of(data).items():
        for query in queries:
            assert split_of.setdefault(words(query.query), split) == split
            for docid in (docid for docid, grade in data.qrels[query.qid].items() if grade >= 1):
                assert split_of.setdefault(docid, split) == split
    counts = Counter(split_of[words(query)] for query in topics.values())
    assert counts == {"train": 8, "validation": 6, "test": 6}


def test_queries_that_are_named(small: Small, tmp_path: Path) -> None:
    topics = small.topics | {"q7": f"{small.topics['q3'].upper()}!"}
    qrels = small.qrels | {
        "q8": small.qrels["q8"] | {"d15": 1},  # relevant to q3
        "q9": {"d15": 2},
        "q10": small.qrels["q10"] | {"d20": 0},  # relevant to q4, and not to this one
    }
    hits = small.hits_of_scores()
    del hits["q9"]  # so that it has neither a positive nor a candidate
    how = small.given | {"first_stage": hits, "topics": topics, "qrels": qrels, "negatives": 50}
    data = train_data(**how, output=tmp_path / "data", validation={"q4"}, test=["q3"])
    made = {split: {query.qid: query for query in queries} for split, queries in splits_of(data).items()}
    assert list(made["validation"]) == ["q4"] and list(made["test"]) == ["q3"]
    assert set(made["train"]) == set(topics) - {"q3", "q4", "q7", "q9"}
    assert "d15" not in {document.docid for document in made["train"]["q8"].documents}
    assert {document.docid for document in made["train"]["q8"].relevant(1)} == {"d40", "d41", "d42"}
    nobody = train_data(**how, output=tmp_path / "nobody", validation=[], test=())
    assert nobody.settings["counts"]["train"]["queries"] == QUERIES - 1
    taught = train_data(
        **how, output=tmp_path / "taught", validation=["q4"], test=["q3"], teacher=small.model, margin=-100
    )
    plain, scored = ({q.qid: [d.docid for d in q.documents] for q in made.queries("train")} for made in (data, taught))
    assert plain == scored, "a query that has nothing to score does not shift the scores of the others"


# The same bytes


def test_the_same_seed_gives_the_same_bytes(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many queries are searched together, and rows are read."""
    how = small.taught | {"random_negatives": 2, "margin": 0.1}
    expected = files(train_data(**how, output=tmp_path / "a").folder)
    monkeypatch.setattr("pyserini_rerank.training.candidates.SHARD", 1)
    monkeypatch.setattr("pyserini_rerank.training.training_data.ROWS_READ", 3)
    assert files(train_data(**how, output=tmp_path / "b").folder) == expected
    other = files(train_data(**how | {"seed": 4}, output=tmp_path / "c").folder)
    assert {name for name in expected if other[name] == expected[name]} == {"qrels.txt"}


@pytest.mark.slow
def test_goes_on_from_every_stage(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupting: Any
) -> None:
    """Amid the search, the teacher, the windows and the writing: what was found and scored is not done again."""
    monkeypatch.setattr("pyserini_rerank.training.candidates.SHARD", 40)
    monkeypatch.setattr("pyserini_rerank.runs.rescoring.SHARD", 60)
    asked: list[str] = []

    def text_of(docid: str) -> str | None:
        asked.append(docid)
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return small.texts.get(docid)

    stop_at = 0
    how = small.taught | {"texts": text_of, "depth": 10, "margin": 0.0, "windows": (8, 4)}
    ran = interrupting(None)
    expected = files(train_data(**how, output=tmp_path / "whole").folder)
    batches, texts = len(ran), len(asked)
    asked.clear()
    stop_at, output = 90, tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        train_data(**how, output=output)
    asked.clear()
    stop_at = 0
    total = 0
    for nth in (2, 4, 6, batches // 2):  # the first call's first batch is the check of the teacher
        ran = interrupting(nth)
        with pytest.raises(KeyboardInterrupt):
            train_data(**how, output=output)
        total += len(ran)
        assert len(asked) == texts and not output.exists()
    monkeypatch.setattr("pyserini_rerank.training.train_data.write_settings", _interrupt)
    ran = interrupting(None)
    with pytest.raises(KeyboardInterrupt):
        train_data(**how, output=output)
    total += len(ran)
    assert total < 1.5 * batches, "scores that were known are not computed again"
    monkeypatch.undo()
    assert files(train_data(**how, output=output).folder) == expected
    assert not list(tmp_path.glob("*.partial")) and len(asked) == texts


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


KILLED = """
import json, os, signal, sys
from pyserini_rerank import train_data
from pyserini_rerank.runs import rescoring
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend

plain, ran = TorchBackend.run, []

def killed(self, batch):
    ran.append(batch)
    if len(ran) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch)

TorchBackend.run, rescoring.SHARD = killed, 30
train_data(**json.loads(sys.argv[1]))
"""


@pytest.mark.slow
def test_goes_on_after_a_kill(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyserini_rerank.runs.rescoring.SHARD", 30)
    how = {name: value if isinstance(value, int) else str(value) for name, value in small.taught.items()}
    expected = files(train_data(**how, output=tmp_path / "whole").folder)
    words_of_script = [python(), "-c", KILLED, json.dumps(how | {"output": str(tmp_path / "data")})]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(words_of_script, check=False, capture_output=True, text=True, env=environment)
    assert child.returncode == -signal.SIGKILL, child.stderr
    begun = tmp_path / "data.partial"
    assert (begun / "candidates.jsonl").exists() and not (begun / "teacher.run").exists()
    assert files(train_data(**how, output=tmp_path / "data").folder) == expected
    assert not begun.exists()


def test_a_run_file_with_other_content_is_another_first_stage(small: Small, tmp_path: Path, interrupting: Any) -> None:
    """And one with the same content elsewhere is the same, also if it is compressed when it is read first."""
    path = write_run(tmp_path / "first.run", small.hits)
    how = small.taught | {"first_stage": path}
    interrupting(2)
    with pytest.raises(KeyboardInterrupt):
        train_data(**how, output=tmp_path / "data")
    interrupting(None)
    write_run(path, small.hits | {"q5": small.hits["q5"][::-1]})
    with pytest.raises(ValueError, match="was begun with another first_stage"):
        train_data(**how, output=tmp_path / "data")
    path.unlink()
    train_data(**how | {"first_stage": small.folder / "first.run"}, output=tmp_path / "data")
    subprocess.run(["gzip", "--keep", "--stdout", small.folder / "first.run"], stdout=path.open("wb"), check=True)
    packed = train_data(**small.given | {"first_stage": path}, output=tmp_path / "packed")
    assert ranked(next(packed.queries("test"))) == small.hits[next(packed.queries("test")).qid]


@pytest.mark.parametrize("several", [False, True])
def test_a_searcher_with_other_settings_is_another_first_stage(
    small: Small, open_searcher: Any, tmp_path: Path, interrupting: Any, several: bool
) -> None:
    """Alone and beside a run file; a document without text does not count."""
    first_stage = [small.folder / "first.run", open_searcher] if several else open_searcher
    found = open_searcher.search(next(iter(small.topics.values())), 3)
    texts = {docid: text for docid, text in small.texts.items() if docid != found[0].docid}
    how = small.taught | {"first_stage": first_stage, "texts": texts, "depth": 3}
    interrupting(2)
    with pytest.raises(KeyboardInterrupt):
        train_data(**how, output=tmp_path / "data")
    interrupting(None)
    open_searcher.set_bm25(0.0, 1.0)
    with pytest.raises(ValueError, match="was begun with other candidates of query q.*: delete it to begin anew"):
        train_data(**how, output=tmp_path / "data")
    open_searcher.set_bm25(0.9, 0.4)
    assert train_data(**how, output=tmp_path / "data").settings["without_text"] > 0


# The teacher


def teachers(small: Small) -> dict[str, Any]:
    model, other = small.model, str(small.folder / OTHER)
    return {
        "checkpoint": Path(model),
        "cascade": [(model, 50), (other, 40)],
        "shallow cascade": [(model, 50), (other, 20)],
        "generator": ((name, depth) for name, depth in ((model, 50), (other, 40))),
        "ensemble": {"ensemble": {"rerankers": [(model, 1), (other, 0.5)]}},
        "normalised": {"ensemble": {"rerankers": [(model, 1), (other, 0.5)], "normalise": "min-max"}},
        "yaml": f"[[{model}, 50], [{other}, 40]]",
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "cascade", "generator", "ensemble", "normalised", "yaml"])
def test_a_teachers_scores_are_those_of_the_reranker(small: Small, tmp_path: Path, kind: str) -> None:
    data = train_data(**small.taught | {"teacher": teachers(small)[kind], "random_negatives": 2}, output=tmp_path / "d")
    reranker = load(teachers(small)[kind], device="cpu")
    assert data.has_teacher
    for split, queries in splits_of(data).items():
        for query in queries:
            found = [document.teacher_score for document in query.documents]
            if split != "train":
                assert found == [None] * len(found)
                continue
            scores = reranker.score(query.query, [document.text for document in query.documents])
            np.testing.assert_allclose(found, scores, atol=1e-5)
    for leaf in reranker.leaves():
        leaf.close()


def test_a_loaded_teacher_stays_open(small: Small, tmp_path: Path) -> None:
    expected = files(train_data(**small.taught, output=tmp_path / "named").folder, *DATA)
    loaded = {name: value for name, value in small.taught.items() if name != "device"}
    with load(small.model, device="cpu") as teacher:
        data = train_data(**loaded | {"teacher": teacher}, output=tmp_path / "loaded")
        assert files(data.folder, *DATA) == expected
        assert (
            data.settings["teacher"]["model"] is None
            and "the teacher that was given" in (data.folder / "README.md").read_text()
        )
        teacher.score("flea", ["it is still open"])
        for wrong, said in (
            ({"device": "cpu"}, "device: give these to the load() that made"),
            ({"cache": tmp_path / "scores"}, "cache: give these to the load() that made"),
            ({"ray": True}, "ray=True loads the teacher on each machine, and"),
        ):
            with pytest.raises(TypeError) as error:
                train_data(**loaded | {"teacher": teacher} | wrong, output=tmp_path / "x")
            assert said in str(error.value)
    with pytest.raises(RuntimeError, match="closed"):
        train_data(**loaded | {"teacher": teacher}, output=tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"named", "loaded"}


def test_a_margin_leaves_out_negatives_that_are_close_to_the_best_relevant_document(
    small: Small, tmp_path: Path
) -> None:
    how = small.taught | {"negatives": 50, "random_negatives": 5}
    everything = train_data(**how, output=tmp_path / "all", margin=-1000)
    scores = {
        query.qid: {document.docid: document.teacher_score for document in query.documents}
        for query in everything.queries("train")
    }
    margin = 0.2
    data = train_data(**how, output=tmp_path / "some", margin=margin)
    made = {query.qid: query for query in data.queries("train")}
    left_out = 0
    for qid, of_query in scores.items():
        relevant = {docid for docid, grade in small.qrels[qid].items() if grade >= 1}
        limit = max(of_query[docid] for docid in relevant) - margin
        expected = {docid for docid, score in of_query.items() if docid in relevant or score <= limit}
        left_out += len(of_query) - len(expected)
        found = {document.docid for document in made[qid].documents} if qid in made else relevant
        assert found == expected
    assert left_out > 20


def test_a_cache_is_shared(small: Small, tmp_path: Path, interrupting: Any) -> None:
    how = small.taught | {"cache": tmp_path / "scores"}
    first = train_data(**how, output=tmp_path / "a")
    ran = interrupting(None)
    second = train_data(**how, output=tmp_path / "b")
    assert not ran and files(first.folder) == files(second.folder)
    assert files(train_data(**small.taught, output=tmp_path / "c").folder) == files(first.folder)


def test_windows_of_a_text_without_spaces() -> None:
    """Japanese: about a token a character, and no white space but that of a new paragraph."""
    text = "東京は日本の首都です。" * 30 + "\n\n" + "蚤の寿命は三か月です。" * 30
    with load("bundled", device="cpu") as leaf:
        windows = _windows(text, leaf, 64, 32)
        lengths = [len(ids) // 4 for ids in leaf.tokenize(windows)]
        assert max(lengths) <= 64 and min(lengths[:-1]) > 48 and len(windows) > 15
        assert all(window in text for window in windows)
        assert text.startswith(windows[0]) and text.endswith(windows[-1])
        # What has spaces is cut between words, whatever else is in the text.
        mixed = _windows("how long does a flea live? " * 20 + text, leaf, 64, 32)
        assert mixed[0].split() == ("how long does a flea live? " * 20).split()[: len(mixed[0].split())]


@pytest.mark.parametrize("kind", ["checkpoint", "shallow cascade", "normalised"])
def test_windows(small: Small, tmp_path: Path, kind: str) -> None:
    """Of a long document the best window is taken, as it lies in the document."""
    size, stride = 8, 3
    texts = {docid: text.replace("flea ", "flea\n\n  ") for docid, text in small.texts.items()}
    how = small.given | {"texts": texts, "topics": dict(list(small.topics.items())[:8]), "test": 0.2}
    whole = train_data(**how, output=tmp_path / "whole")
    how |= {"teacher": teachers(small)[kind], "device": "cpu", "windows": (size, stride)}
    data = train_data(**how, output=tmp_path / "data")
    judge = load(str(small.folder / OTHER) if kind == "shallow cascade" else teachers(small)[kind], device="cpu")
    leaf = next(judge.leaves())

    def windows_of(text: str) -> list[str]:
        """Its windows, if it is longer than one. White space does not matter to this model."""
        words = [f" {word}" for word in text.split()]
        pieces = [piece for word in words for piece in (re.findall(" ?.", word) if count(word) > size else [word])]
        found = ["".join(pieces[a:b]).strip() for a, b in spans([count(piece) for piece in pieces], size, stride)]
        return found if len(found) > 1 else []

    def count(text: str) -> int:
        return len(leaf.tokenize([text])[0]) // 4

    cut = 0
    for query, uncut in zip(data.queries("train"), whole.queries("train"), strict=True):
        assert [d.docid for d in query.documents] == [d.docid for d in uncut.documents]
        long = {d.docid: windows_of(texts[d.docid]) for d in query.documents}
        scores = iter(judge.score(query.query, [window for windows in long.values() for window in windows]).tolist())
        for document in query.documents:
            text = texts[document.docid]
            assert document.text in text
            assert count(document.text) <= size
            if not (windows := long[document.docid]):
                assert document.text == text
                continue
            cut += 1
            of_windows = {window: next(scores) for window in windows}
            best = max(of_windows.values())
            assert of_windows[" ".join(document.text.split())] == pytest.approx(best, abs=1e-5)
            if kind == "checkpoint":
                assert document.teacher_score == pytest.approx(best, abs=1e-5)
    for split in ("validation", "test"):
        assert list(data.queries(split)) == list(whole.queries(split)), (
            "these are read in windows when they are reranked"
        )
    for model in judge.leaves():
        model.close()


# Reading it


def test_other_libraries_read_it(small: Small, tmp_path: Path) -> None:
    import datasets
    from pyarrow import parquet

    data = train_data(**small.taught, output=tmp_path / "data", test=0.0)
    loaded = datasets.load_dataset(str(data.folder), cache_dir=str(tmp_path / "hub"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == {
        split: data.settings["counts"][split]["documents"] for split in ("train", "validation")
    }
    assert not list(data.queries("test")), "`datasets` has no empty splits; the file is there all the same"
    assert pandas.read_parquet(data.folder / "test.parquet").columns.tolist() == list(loaded["train"].column_names)
    table = parquet.read_table(data.folder / "train.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        **dict.fromkeys(("qid", "query", "docid", "text"), "string"),
        **{"grade": "int32", "rank": "int32", "teacher_score": "float"},
    }
    rows = [
        {"qid": query.qid, "query": query.query, **vars(document)}
        for query in data.queries("train")
        for document in query.documents
    ]
    assert table.to_pylist() == loaded["train"].to_list() == rows
    frame = pandas.read_parquet(data.folder / "train.parquet")
    assert frame["docid"].tolist() == [row["docid"] for row in rows]
    judged = {}
    for judgement in ir_measures.read_trec_qrels(str(data.folder / "qrels.txt")):
        judged.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    assert judged == data.qrels == small.qrels


ODD = st.text(
    st.characters(exclude_categories=("Cs",)) | st.sampled_from("\t\n\r\0\x1c\x85\u2028\ufeff🐟"), max_size=20
)
ROWS = st.builds(
    Document, ODD, ODD, st.none() | st.integers(-5, 2**31 - 1), st.none() | st.integers(1, 2**31 - 1),
    st.none() | st.floats(width=32, allow_nan=False),
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(ODD, st.tuples(ODD, st.lists(ROWS, min_size=1, max_size=4)), max_size=4))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, queries: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("odd")
    written = [JudgedQuery(qid, query, documents) for qid, (query, documents) in queries.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyserini_rerank.training.training_data.ROWS_TOGETHER", 3)
        patch.setattr("pyserini_rerank.training.training_data.ROWS_READ", 2)
        counts = write_split(folder, "train", iter(written))
    (folder / "settings.json").write_text('{"counts": {}, "level": 1, "teacher": null}')
    assert list(TrainingData(folder).queries("train")) == written
    assert counts == {"queries": len(written), "documents": sum(len(query.documents) for query in written)}


def test_odd_texts_come_through(small: Small, tmp_path: Path) -> None:
    odd = [
        "a\tb",
        "a\nb\r\nc",
        "nul \0 here",
        "🐟 & \u2028 line",
        "half \ud83d of a pair",
        '{"contents": "x"}',
        "<p>x</p>",
        "\x85",
        '"q"',
    ]
    texts = small.texts | {f"d{5 * i}": text for i, text in enumerate(odd)}
    topics = small.topics | {"q0": "tab\tand\nline 🐟"}
    data = train_data(**small.taught | {"texts": texts, "topics": topics}, output=tmp_path / "data", negatives=50)
    found = {
        document.docid: document.text
        for split in SPLITS for query in data.queries(split) for document in query.documents
    }  # fmt: skip
    for docid, text in found.items():
        assert text == texts[docid].replace("\ud83d", "\ufffd").strip()
    assert "d35" not in found and len(set(found) & {f"d{5 * i}" for i in range(len(odd))}) == len(odd) - 1
    assert "tab\tand\nline 🐟" in {query.query for split in SPLITS for query in data.queries(split)}


def test_few_texts_are_in_memory_together(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them have 48 million characters; of those, a shard's and a block's are held."""
    monkeypatch.setattr("pyserini_rerank.training.candidates.SHARD", HITS)
    monkeypatch.setattr("pyserini_rerank.training.training_data.CHARACTERS_TOGETHER", 2_000_000)
    monkeypatch.setattr("pyserini_rerank.training.training_data.ROWS_READ", 10)

    def long_text(docid: str) -> str:
        return f"{docid} " + "flea" * 50_000

    tracemalloc.start()
    data = train_data(**small.given | {"texts": long_text}, output=tmp_path / "data")
    size = sum(len(document.text) for split in SPLITS for query in data.queries(split) for document in query.documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 38_000_000 and peak < 25_000_000


# The command


def test_the_commands_files_are_pythons(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words_given = [*small.words, "--teacher", small.model, "--device", "cpu", "--ranks", "2", "9", "--margin", "0.1"]
    words_given += ["--windows", "8", "4", "--positives", "2", "--negatives", "3", "--random-negatives", "1"]
    words_given += ["--validation", "0.2", "--test", "0.15", "--depth", "10", "--cache", str(tmp_path / "scores")]
    words_given += ["--option", "max_length=40", "--output", str(tmp_path / "theirs")]
    assert run(monkeypatch, *words_given) == 0
    assert "train: 12 queries with " in capsys.readouterr().out
    how = {"ranks": (2, 9), "margin": 0.1, "windows": (8, 4), "positives": 2, "negatives": 3, "random_negatives": 1}
    how |= {"validation": 0.2, "test": 0.15, "depth": 10, "max_length": 40}
    ours = train_data(**small.taught, **how, output=tmp_path / "ours")
    assert files(ours.folder, *DATA) == files(tmp_path / "theirs", *DATA)


def test_the_command_with_several_runs_and_with_an_index(
    small: Small, index: str, open_searcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = write_run(tmp_path / "second.run", {qid: found[::-1] for qid, found in small.hits.items()})
    assert run(monkeypatch, *small.words, "--run", str(second), "--output", str(tmp_path / "runs")) == 0
    stages = [small.folder / "first.run", second]
    how = small.given | {"depth": 100}
    ours = train_data(**how | {"first_stage": stages}, output=tmp_path / "ours")
    assert files(ours.folder, *DATA) == files(tmp_path / "runs", *DATA)
    place = small.words.index("--collection")
    for name, words_given, expected in (
        ("run", [*small.words[:place], *small.words[place + 2 :], "--index", index], {}),
        ("index", ["train-data", *small.words[3:place], *small.words[place + 2 :], "--index", index],
         {"first_stage": open_searcher, "texts": None}),
    ):  # fmt: skip
        assert run(monkeypatch, *words_given, "--output", str(tmp_path / name)) == 0
        made = train_data(**how | expected, output=tmp_path / f"{name} ours")
        assert files(made.folder, *DATA) == files(tmp_path / name, *DATA)


@pytest.mark.stress
def test_a_ray_cluster_gives_the_same_bytes(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    from ray.cluster_utils import Cluster

    how = small.taught | {"windows": (8, 4), "margin": 0.1}
    expected = files(train_data(**how, output=tmp_path / "plain").folder)
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    try:
        assert files(train_data(**how, ray=True, output=tmp_path / "ray").folder) == expected
    finally:
        started.shutdown()
