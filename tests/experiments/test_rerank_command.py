"""`pyserini-rerank rerank`: what it writes, and what a kill leaves of it."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyserini_rerank.cli.main import main
from pyserini_rerank.experiments.collections import Collection
from pyserini_rerank.experiments.work import Work
from reference import score as reference_score
from tiny_checkpoints import build

NAME = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
WORDS = ["berlin", "people", "live", "flea", "cycle", "temporary", "folder", "remove", "museum", "long"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A collection, topics, a run, qrels and a tiny model."""
    return write_experiment(tmp_path_factory.mktemp("small"), queries=4, hits=12)


def write_experiment(folder: Path, queries: int, hits: int) -> Path:
    numbers = random.Random(1)
    texts = {f"d{i}": " ".join(numbers.choices(WORDS, k=numbers.randint(5, 40))) for i in range(5 * hits)}
    topics = {f"q{i}": " ".join(numbers.choices(WORDS, k=4)) + f" {i}" for i in range(queries)}
    (folder / "docs.jsonl").write_text(
        "".join(json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in texts.items())
    )
    (folder / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in topics.items()))
    run, qrels = [], []
    for qid in topics:
        found = numbers.sample(list(texts), hits)
        run += [f"{qid} Q0 {docid} {rank} {100 - rank}.5 first\n" for rank, docid in enumerate(found, 1)]
        qrels += [f"{qid} 0 {docid} {numbers.randint(0, 2)}\n" for docid in found[::2]]
    (folder / "first.run").write_text("".join(run))
    (folder / "qrels.txt").write_text("".join(qrels))
    build(NAME, folder)
    return folder


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    return [
        *("rerank", "--run", str(folder / "first.run"), "--topics", str(folder / "topics.tsv")),
        *("--collection", str(folder / "docs.jsonl"), "--model", str(folder / NAME), "--device", "cpu"),
        *("--output", str(folder / output), *more),
    ]


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_the_output_is_the_references(small, monkeypatch, capsys):
    assert run(monkeypatch, *arguments(small, "out.run", "--qrels", str(small / "qrels.txt"), "--tag", "mine")) == 0
    shown = capsys.readouterr().out
    assert "48 pairs" in shown and "nDCG@10" in shown and "Judged@10" in shown
    documents = [json.loads(line) for line in (small / "docs.jsonl").open()]
    texts = {document["id"]: document["contents"] for document in documents}
    topics = dict(line.rstrip("\n").split("\t") for line in (small / "topics.tsv").open())
    lines = [line.split() for line in (small / "out.run").open()]
    assert {tuple(line[:1] + line[2:3]) for line in lines} == {
        tuple(line.split()[:1] + line.split()[2:3]) for line in (small / "first.run").open()
    }
    for qid, _, docid, _, score, tag in lines:
        assert tag == "mine"
        assert float(score) == pytest.approx(reference_score(small / NAME, NAME, topics[qid], texts[docid]), abs=1e-4)
    for qid in topics:
        own = [line for line in lines if line[0] == qid]
        assert [int(line[3]) for line in own] == list(range(1, 13))
        assert [float(line[4]) for line in own] == sorted((float(line[4]) for line in own), reverse=True)
    report = json.loads((small / "out.run.json").read_text())
    assert report["counts"]["pairs"] == 48 and report["settings"]["tag"] == "mine" and len(report["fingerprint"]) == 32
    assert not (small / "out.run.partial").exists()


def test_below_the_depth_the_order_is_the_first_stages(small, monkeypatch):
    assert run(monkeypatch, *arguments(small, "deep.run", "--depth", "5")) == 0
    first = [line.split()[2] for line in (small / "first.run").open()][:12]
    lines = [line.split() for line in (small / "deep.run").open()][:12]
    assert [line[2] for line in lines][5:] == first[5:] and {line[2] for line in lines[:5]} == set(first[:5])
    scores = [float(line[4]) for line in lines]
    assert all(above > below for above, below in zip(scores[4:], scores[5:], strict=False))


def test_an_output_that_exists_is_not_replaced(small, monkeypatch, capsys):
    (small / "there.run").write_text("mine")
    assert run(monkeypatch, *arguments(small, "there.run")) == 1
    assert "there.run exists: pass --overwrite" in capsys.readouterr().err
    assert (small / "there.run").read_text() == "mine"
    assert run(monkeypatch, *arguments(small, "there.run", "--overwrite")) == 0
    assert (small / "there.run").read_text() != "mine"


@pytest.mark.parametrize(
    ("change", "said", "left"),
    [
        ("q9 Q0 d1 1 5.0 first\n", "query q9 of the run is not among the topics", "query not among the topics"),
        ("q3 Q0 zz 13 0.1 first\n", "document zz of query q3 has no text in", "document without text"),
        ("q3 Q0 d1 13 many first\n", "which is no number", "correct the line"),
    ],
)
def test_bad_input_is_an_error_or_is_counted(small, tmp_path, monkeypatch, capsys, change, said, left):
    changed = tmp_path / "changed.run"
    changed.write_text((small / "first.run").read_text() + change)
    words = arguments(small, f"{said[:9]}.run")
    words[2] = str(changed)
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert said in error and "--skip-bad" in error and len(error.splitlines()) == 1
    words[-1] = str(tmp_path / "out.run")
    assert run(monkeypatch, *words, "--skip-bad") == 0
    assert json.loads((tmp_path / "out.run.json").read_text())["skipped"] == {left: 1}
    assert f"left out: 1 ({left})" in capsys.readouterr().out
    assert len((tmp_path / "out.run").read_text().splitlines()) == 48


def test_the_texts_have_to_be_named_once(small, monkeypatch, capsys):
    assert run(monkeypatch, *arguments(small, "x.run", "--index", "somewhere")) == 1
    assert "name the texts, by --index or by --collection" in capsys.readouterr().err


def test_a_work_that_was_begun_otherwise_is_refused(tmp_path):
    Work(tmp_path / "out", {"depth": 1, "model": "a"}).commit(["line\n"], {})
    with pytest.raises(ValueError, match="was begun with another depth: delete it"):
        Work(tmp_path / "out", {"depth": 2, "model": "a"})


def test_what_was_not_committed_is_cut_off(tmp_path):
    work = Work(tmp_path / "out", {})
    work.commit(["one\n"], {"n": 1})
    with (work.folder / "output").open("a") as file:
        file.write("half a li")
    again = Work(tmp_path / "out", {})
    assert (again.commits, again.notes) == (1, {"n": 1})
    again.commit(["two\n"], {"n": 2})
    again.finish({})
    assert (tmp_path / "out").read_text() == "one\ntwo\n"


def test_a_collection_is_read_by_docid(tmp_path):
    (tmp_path / "docs.tsv").write_text("a\tfirst text\nb\tséconde\n")
    tsv = Collection(tmp_path / "docs.tsv")
    assert (tsv.get("a"), tsv.get("b"), tsv.get("c")) == ("first text", "séconde", None)
    (tmp_path / "docs.jsonl").write_text('{"_id": "a", "title": "T", "text": "x"}\n{"id": "b", "contents": ""}\n')
    jsonl = Collection(tmp_path / "docs.jsonl")
    assert (jsonl.get("a"), jsonl.get("b"), jsonl.get("c")) == ("T x", "", None)
    (tmp_path / "bad.jsonl").write_text('{"id": "a"}\n{"text": "no id"}\n')
    with pytest.raises(ValueError, match=r"bad.jsonl, line 2: has no docid"):
        Collection(tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    ("kills", "queries"), [(3, 500), pytest.param(20, 2500, marks=pytest.mark.stress)], ids=["3", "20"]
)
def test_killed_and_started_again_it_writes_the_same_bytes(tmp_path, kills, queries):
    """A hundred hits a query, without importing Pyserini, so that a start costs little."""
    folder = write_experiment(tmp_path, queries, hits=100)
    command = [sys.executable, "-m", "pyserini_rerank"]
    subprocess.run([*command, *arguments(folder, "whole.run")], check=True, capture_output=True)
    chance = random.Random(kills)
    killed = 0
    while killed < kills and not (folder / "killed.run").exists():
        process = subprocess.Popen([*command, *arguments(folder, "killed.run")], stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(5, 9))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    print(f"killed {killed} times")
    assert killed >= 2, "or there was too little to do for this machine"
    if not (folder / "killed.run").exists():
        subprocess.run([*command, *arguments(folder, "killed.run")], check=True, capture_output=True)
    assert (folder / "killed.run").read_bytes() == (folder / "whole.run").read_bytes()
    reports = [json.loads((folder / f"{name}.run.json").read_text()) for name in ("whole", "killed")]
    assert reports[0]["counts"] == reports[1]["counts"]
