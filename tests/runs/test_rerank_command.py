"""`pyserini-rerank rerank`: what it writes, and what a kill leaves of it."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from experiment import NAME, WORDS, arguments, run, write_experiment
from forking import python
from pyserini_rerank import EmptyQueryWarning, load
from pyserini_rerank.runs.resumable_output import ResumableOutput
from pyserini_rerank.texts.collection import Collection
from reference import score as reference_score
from tiny_checkpoints import build


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A collection, topics, a run, qrels and a tiny model."""
    return write_experiment(tmp_path_factory.mktemp("small"), queries=4, hits=12)


def test_a_combination_in_yaml_is_what_python_makes(small, monkeypatch):
    written = f"{{cascade: [[{{rrf: {small / NAME}}}, 8], [{small / NAME}, 3]]}}"
    (small / "reranker.yaml").write_text(written)
    files = []
    for number, model in enumerate([written, str(small / "reranker.yaml")]):
        assert run(monkeypatch, *arguments(small, f"cascade{number}.run"), "--model", model) == 0
        files.append((small / f"cascade{number}.run").read_text())
    assert files[0] == files[1]
    report = json.loads((small / "cascade0.run.json").read_text())
    assert report["counts"]["pairs"] == 4 * (8 + 3) and len(report["parts"]) == 2
    lines = [line.split() for line in files[0].splitlines()]
    texts = {row["id"]: row["contents"] for row in map(json.loads, (small / "docs.jsonl").open())}
    topics = dict(line.rstrip("\n").split("\t") for line in (small / "topics.tsv").open())
    first = [line.split() for line in (small / "first.run").open()]
    with load(str(small / NAME), device="cpu") as reranker:
        for qid, query in topics.items():
            head = [row[2] for row in first if row[0] == qid][:8]
            scores = reranker.score(query, [texts[docid] for docid in head])
            model_rank = {head[row]: rank for rank, row in enumerate(np.argsort(-scores), 1)}
            fused = sorted(head, key=lambda docid: -1 / (61 + head.index(docid)) - 1 / (60 + model_rank[docid]))
            best = sorted(fused[:3], key=lambda docid: -scores[head.index(docid)])
            own = [line[2] for line in lines if line[0] == qid]
            assert own[:8] == best + fused[3:]
            assert len(own) == 12 and len(set(own)) == 12


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
    [said] = capsys.readouterr().err.splitlines()
    assert "--index and --collection were given together: name the texts, by one of --index and --collection." in said
    words = arguments(small, "x.run")
    at = words.index("--collection")
    assert run(monkeypatch, *words[:at], *words[at + 2 :]) == 1
    assert capsys.readouterr().err == "pyserini-rerank: name the texts, by --index or --collection.\n"
    assert not (small / "x.run.partial").exists()


def test_each_querys_figures_and_the_plot(small, monkeypatch, capsys):
    qrels = ("--qrels", str(small / "qrels.txt"))
    table, plot = small / "queries.tsv", small / "gain.svg"
    words = arguments(small, "q.run", *qrels, "--per-query", str(table), "--plot", str(plot), "--json")
    assert run(monkeypatch, *words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((small / "q.run.json").read_text())
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert [row[0] for row in rows] == ["qid", "q0", "q1", "q2", "q3"]
    for measure in report["evaluation"]["measures"]:
        column = rows[0].index(measure["measure"])
        for position, name in ((column, "run"), (column - 1, "baseline")):
            mean = sum(float(row[position]) for row in rows[1:]) / 4
            assert mean == pytest.approx(measure[name], abs=1e-4)
    ndcg = report["evaluation"]["measures"][0]
    drawn = plot.read_text()
    assert "<svg" in drawn and f"{ndcg['better']} better, {ndcg['worse']} worse" in drawn


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--plot", "gain.docx", "gain.docx does not end in the name of a format for the plot"),
        ("--plot", "gain", "does not end in the name of a format"),
        ("--plot", "nowhere/gain.svg", "nowhere/gain.svg: No such file or directory"),
        ("--per-query", "nowhere/q.tsv", "nowhere/q.tsv: No such file or directory"),
        ("--per-query", "first.run/q.tsv", "first.run/q.tsv: Not a directory"),
        ("--per-query", "", "Is a directory"),
        ("--output", "", "is a folder: name a file"),
        ("--output", "taken.run", "taken.run.json: Is a directory"),
        ("--output", "first.run/x.run", "Not a directory"),
        ("--tag", "two words", "the tag 'two words' has white space in it"),
        ("--tag", "", "the tag '' is empty"),
        ("--tag", "new\nline", "the tag 'new\\nline' has white space in it"),
        ("--tag", "a\x0bb", "has white space in it"),
        ("--tag", "half \ud83d", "the tag 'half \\ud83d' cannot be written in UTF-8"),
        ("--qrels", "topics.tsv", "topics.tsv, line 1: is no judgement"),
        ("--topics", "qrels.txt", "qrels.txt, line 1: is no topic"),
        ("--run", "docs.jsonl", "docs.jsonl, line 1: is neither TREC's"),
        ("--max-length", "999999", "max_length"),
    ],
)
def test_a_setting_that_cannot_be_is_noticed_before_anything_is_scored(
    small, monkeypatch, capsys, tmp_path, option, value, said
):
    """And nothing is left behind."""
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    (small / "taken.run.json").mkdir(exist_ok=True)
    value = value if option in ("--tag", "--max-length") else str(small / value)
    words = arguments(small, "p.run", "--qrels", str(small / "qrels.txt"), option, value)
    assert run(monkeypatch, *words) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(small.glob("*.partial")) and not list(small.glob(".*"))


def test_other_settings_begin_anew_with_the_scores_that_are_known(small, monkeypatch, capsys):
    """What the error says to do about it loses no score."""
    words = arguments(small, "t.run", "--tag", "one")
    finish = ResumableOutput.finish
    monkeypatch.setattr(ResumableOutput, "finish", lambda self, report: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(monkeypatch, *words) == 130
    monkeypatch.setattr(ResumableOutput, "finish", finish)
    words[-1] = "two"
    assert run(monkeypatch, *words) == 1
    assert "t.run.partial was begun with another tag: delete its file `output` to begin anew" in capsys.readouterr().err
    (small / "t.run.partial" / "output").unlink()
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    assert run(monkeypatch, *words) == 0
    assert json.loads((small / "t.run.json").read_text())["known_scores"] == 48


def test_official_candidates_are_reranked_with_the_texts_of_their_lines(small, monkeypatch, capsys):
    documents = [json.loads(line) for line in (small / "docs.jsonl").open()]
    texts = {document["id"]: document["contents"] for document in documents}
    topics = dict(line.rstrip("\n").split("\t") for line in (small / "topics.tsv").open())
    pairs = [(line.split()[0], line.split()[2]) for line in (small / "first.run").open()]
    random.Random(2).shuffle(pairs)
    official = "".join(f"{qid}\t{docid}\t{topics[qid]}\t{texts[docid]}\n" for qid, docid in pairs)
    (small / "top1000.tsv.gz").write_bytes(gzip.compress(official.encode()))
    (small / "some-qrels").write_text("".join(line for line in (small / "qrels.txt").open() if line[:2] != "q3"))
    words = ["rerank", "--run", str(small / "top1000.tsv.gz"), "--model", str(small / NAME), "--device", "cpu"]
    words += ["--output", str(small / "official.run"), "--qrels", str(small / "some-qrels"), "--only-judged"]
    assert run(monkeypatch, *words) == 0
    assert "first stage" not in capsys.readouterr().out, "it has no order"
    assert run(monkeypatch, *arguments(small, "plain.run")) == 0
    scores = {}
    for name in ("plain", "official"):
        lines = [line.split() for line in (small / f"{name}.run").open()]
        scores[name] = {(line[0], line[2]): float(line[4]) for line in lines if line[0] != "q3"}
        assert name == "plain" or {line[0] for line in lines} == {"q0", "q1", "q2"}
    assert scores["official"] == pytest.approx(scores["plain"], abs=1e-5)
    report = json.loads((small / "official.run.json").read_text())
    assert report["counts"]["pairs"] == 36 and report["texts"] == f"the lines of {small / 'top1000.tsv.gz'}"
    for option in (
        ["--depth", "5"],
        ["--topics", str(small / "topics.tsv")],
        ["--collection", str(small / "docs.jsonl")],
    ):
        assert run(monkeypatch, *words, *option, "--overwrite") == 1
        assert "the run is one of MS MARCO's top-1000 files" in capsys.readouterr().err


@pytest.mark.slow
def test_the_order_of_official_lines_says_nothing(small, monkeypatch, capsys):
    documents = [json.loads(line) for line in (small / "docs.jsonl").open()]
    texts = {document["id"]: document["contents"] for document in documents}
    topics = dict(line.rstrip("\n").split("\t") for line in (small / "topics.tsv").open())
    pairs = [(line.split()[0], line.split()[2]) for line in (small / "first.run").open()]
    texts[pairs[1][1]] = texts[pairs[0][1]]  # two that tie
    words = ["rerank", "--run", str(small / "lines.tsv"), "--device", "cpu", "--output"]
    ranked = []
    for number in range(2):
        random.Random(number).shuffle(pairs)
        lines = [f"{qid}\t{docid}\t{topics[qid]}\t{texts[docid]}\n" for qid, docid in pairs]
        (small / "lines.tsv").write_text("".join(lines))
        alone, staged = str(small / f"alone{number}.run"), str(small / f"staged{number}.run")
        assert run(monkeypatch, *words, alone, "--model", str(small / NAME)) == 0
        all_first = f"[[{small / NAME}, 12], [{{model: {small / NAME}, max_length: 20}}, 4]]"
        assert run(monkeypatch, *words, staged, "--model", all_first) == 0
        lines = [[line.split() for line in Path(output).read_text().splitlines()] for output in (alone, staged)]
        # Of two texts that are cut to the same tokens a batch's last bit decides.
        ranked.append(
            [sorted(line[:4] for line in lines[0]), {tuple(line[:3]) for line in lines[1] if int(line[3]) < 5}]
        )
        for name in ("interpolation", "rrf"):
            model = f"{{{name}: {small / NAME}}}"
            assert run(monkeypatch, *words, str(small / "none.run"), "--model", model, "--overwrite") == 1
            said = capsys.readouterr().err
            assert "the candidates have no first-stage scores and are in no order" in said and said.count("\n") == 1
            shutil.rmtree(small / "none.run.partial", ignore_errors=True)
        assert run(monkeypatch, *words, str(small / "none.run"), "--model", f"[[{small / NAME}, 5]]") == 1
        assert "a cascade that scores all of them first" in capsys.readouterr().err
        shutil.rmtree(small / "none.run.partial", ignore_errors=True)
    assert ranked[0] == ranked[1]


def test_an_empty_topic_keeps_its_hits_as_they_are(small, monkeypatch):
    topics = (small / "topics.tsv").read_text().splitlines()
    (small / "gap.tsv").write_text("\n".join([topics[0], "q1\t ", *topics[2:]]) + "\n")
    words = arguments(small, "gap.run")
    words[words.index("--topics") + 1] = str(small / "gap.tsv")
    with pytest.warns(EmptyQueryWarning):
        assert run(monkeypatch, *words) == 0
    lines = [line.split() for line in (small / "gap.run").open()]
    first = [line.split() for line in (small / "first.run").open()]
    assert [line[2:5:2] for line in lines if line[0] == "q1"] == [
        [row[2], f"{float(row[4]):.6f}"] for row in first if row[0] == "q1"
    ]
    counts = json.loads((small / "gap.run.json").read_text())["counts"]
    assert counts["empty_queries"] == 1 and counts["pairs"] == 36


def test_empty_topics_alone_keep_all_hits(small, monkeypatch):
    (small / "none.tsv").write_text("q0\t\nq1\t \n")
    (small / "two.run").write_text("".join(line for line in (small / "first.run").open() if line[:2] in ("q0", "q1")))
    words = arguments(small, "none.run", "--run", str(small / "two.run"), "--topics", str(small / "none.tsv"))
    with pytest.warns(EmptyQueryWarning):
        assert run(monkeypatch, *words) == 0
    assert len((small / "none.run").read_text().splitlines()) == 24


def test_of_documents_without_text_alone_it_says_so(small, monkeypatch, capsys):
    (small / "empty.tsv").write_text("")
    words = arguments(small, "no.run", "--collection", str(small / "empty.tsv"), "--skip-bad")
    assert run(monkeypatch, *words) == 1
    assert "first.run has a document with a text: name the collection or the index" in capsys.readouterr().err
    assert not list(small.glob("no.run*"))


@pytest.mark.parametrize(("k1", "b"), [("-1", "0.4"), ("nan", "0.4"), ("inf", "0.4"), ("0.9", "1.1"), ("0.9", "nan")])
def test_a_bm25_that_lucene_does_not_have(small, monkeypatch, capsys, k1, b):
    words = arguments(small, "x.run")
    assert run(monkeypatch, words[0], *words[3:], "--bm25", k1, b, "--index", str(small)) == 1
    assert "give a k1 of 0 or more, and a b from 0 to 1" in capsys.readouterr().err


def test_a_run_of_other_queries_than_are_judged_is_an_error(small, monkeypatch, capsys):
    (small / "other-qrels").write_text("x 0 d1 1\n")
    assert run(monkeypatch, *arguments(small, "n.run", "--qrels", str(small / "other-qrels"), "--only-judged")) == 1
    assert "is among the topics and the judgements: name the run's topics and judgements" in capsys.readouterr().err
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    assert run(monkeypatch, *arguments(small, "n.run", "--qrels", str(small / "other-qrels"))) == 1
    assert (
        "none of the run's queries is judged: name the judgements of these queries by --qrels"
        in capsys.readouterr().err
    )
    assert not list(small.glob("n.run*"))


def test_ctrl_c_is_clean_and_goes_on(small, monkeypatch, capsys):
    def interrupted(self, batch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", interrupted)
        assert run(patch, *arguments(small, "c.run")) == 130
    error = capsys.readouterr().err
    assert error == "pyserini-rerank: interrupted; the same command goes on from what was committed.\n"
    assert not (small / "c.run").exists()
    assert run(monkeypatch, *arguments(small, "c.run")) == 0


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_is_lost(small, monkeypatch):
    """A limit on the size of files stands in for a disk: the system refuses to write, in the same place."""
    words = arguments(small, "full.run")
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pyserini_rerank.runs.resumable_output import ResumableOutput\n"
        "plain = ResumableOutput.commit\n"
        "def commit(self, lines, notes):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "    plain(self, lines, notes)\n"
        "ResumableOutput.commit = commit\n"
        "from pyserini_rerank.cli.main import main\n"
        f"sys.argv = ['pyserini-rerank', *{words!r}]\n"
        "main()\n"
    )
    done = subprocess.run([python(), "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("pyserini-rerank: ") and "File too large" in said and "full.run.partial" in said
    assert not (small / "full.run").exists()
    assert run(monkeypatch, *words) == run(monkeypatch, *arguments(small, "whole.run")) == 0
    assert (small / "full.run").read_bytes() == (small / "whole.run").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or (os.geteuid() == 0 and not shutil.which("setpriv")),
    reason="Windows has no such permissions, and root needs setpriv to lose its own",
)
def test_a_folder_without_permission_is_named(small, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = arguments(small, "x.run")
    words[-1] = str(locked / "x.run")
    # As root without root's right to write everywhere.
    dropped = (
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []
    )
    command = [*dropped, sys.executable, "-m", "pyserini_rerank", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"pyserini-rerank: {locked / 'x.run.partial'}: Permission denied"


def test_another_checkpoint_does_not_go_on_with_a_work(small, monkeypatch, capsys, tmp_path):
    folder = write_experiment(tmp_path, queries=4, hits=12)
    words = arguments(folder, "x.run")
    plain = ResumableOutput.finish
    monkeypatch.setattr(ResumableOutput, "finish", lambda self, report: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(monkeypatch, *words) == 130
    monkeypatch.setattr(ResumableOutput, "finish", plain)
    shutil.rmtree(folder / NAME)
    build(NAME, folder, seed=1)
    assert run(monkeypatch, *words) == 1
    assert "was begun with another model: delete its file `output`" in capsys.readouterr().err


def test_a_work_that_lost_something_is_not_believed(tmp_path):
    work = ResumableOutput(tmp_path / "out", {})
    work.commit(["one\n"], {})
    work.close()
    os.truncate(work.path, 2)
    with pytest.raises(ValueError, match="has lost lines that were committed: delete"):
        ResumableOutput(tmp_path / "out", {})
    work.path.unlink()  # as finish() moves it
    assert ResumableOutput(tmp_path / "out", {}).commits == 0


def test_a_work_that_was_begun_otherwise_is_refused(tmp_path):
    ResumableOutput(tmp_path / "out", {"depth": 1, "model": "a"}).commit(["line\n"], {})
    with pytest.raises(ValueError, match="was begun with another depth: delete its file `output`"):
        ResumableOutput(tmp_path / "out", {"depth": 2, "model": "a"})
    with pytest.raises(ValueError, match="was begun with another model: "):
        ResumableOutput(tmp_path / "out", {"depth": 1})


def test_what_was_not_committed_is_cut_off(tmp_path):
    work = ResumableOutput(tmp_path / "out", {})
    work.commit(["one\n"], {"n": 1})
    with (work.folder / "output").open("a") as file:
        file.write("half a li")
    work.close()
    again = ResumableOutput(tmp_path / "out", {})
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
    with pytest.raises(ValueError, match=r"bad.jsonl, line 2: it has no docid"):
        Collection(tmp_path / "bad.jsonl")


@pytest.mark.stress
@pytest.mark.parametrize(("kills", "queries"), [(2, 250), (20, 2500)], ids=["2", "20"])
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


def test_a_run_that_others_wrote_is_skipped_through_and_goes_on_where_it_was_killed(small, tmp_path, monkeypatch):
    """Packed, with tabs, Windows' ends of lines and a blank last one; bad lines are on both sides of the kill."""
    lines = (small / "first.run").read_text().splitlines()
    lines[30:30] = ["q2 Q0 dx 7 many first"]
    lines[5:5] = ["q0 Q0 zz 6 95.0 first", "q0 Q0"]
    lines += ["q9 Q0 d1 1 5.0 first", "q0 Q0 d1 13 0.5 first", ""]
    (tmp_path / "others.run").write_bytes(
        gzip.compress("".join(f"{line}\r\n" for line in lines).replace(" ", "\t").encode())
    )
    monkeypatch.setattr("pyserini_rerank.runs.rescoring.SHARD", 30)
    assert run(monkeypatch, *arguments(small, "clean.run")) == 0
    words = [*arguments(small, "", "--run", str(tmp_path / "others.run"), "--skip-bad", "--output")]
    script = (
        "import os, signal, sys\n"
        "from pyserini_rerank.runs import rescoring\n"
        "rescoring.SHARD = 30  # two queries a shard\n"
        "plain = rescoring.ResumableOutput.commit\n"
        "def commit(self, lines, notes):\n"
        "    if self.commits:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    plain(self, lines, notes)\n"
        "rescoring.ResumableOutput.commit = commit\n"
        "from pyserini_rerank.cli.main import main\n"
        f"sys.argv = ['pyserini-rerank', *{[*words, str(tmp_path / 'killed')]!r}]\n"
        "main()\n"
    )
    killed = subprocess.run([python(), "-c", script], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    half = (tmp_path / "killed.partial" / "output").read_bytes()
    for name in ("killed", "whole"):
        assert run(monkeypatch, *words, str(tmp_path / name)) == 0
        assert (tmp_path / name).read_bytes() == (small / "clean.run").read_bytes()
        assert json.loads((tmp_path / f"{name}.json").read_text())["skipped"] == {
            "document without text": 1,
            "query not among the topics": 1,
            "correct the line": 2,
            "sort the run by query": 1,
        }
    assert (tmp_path / "whole").read_bytes().startswith(half) and half.count(b"\n") == 24


@pytest.fixture(scope="module")
def bm25(small, lucene_index, queries):
    """What `--bm25` takes, but the output: real queries on a real index, of which only some hits are wanted."""
    (small / "real.tsv").write_text("".join(f"r{i}\t{query}\n" for i, query in enumerate(queries)))
    return [
        *("rerank", "--bm25", "0.82", "0.68", "--index", lucene_index, "--topics", str(small / "real.tsv")),
        *("--depth", "30", "--model", str(small / NAME), "--device", "cpu", "--max-length", "30", "--output"),
    ]


def pyserinis_run(index: str, queries: list[str], path) -> str:
    from pyserini.output_writer import OutputFormat, get_output_writer
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(index)
    searcher.set_bm25(0.82, 0.68)
    qids = [f"r{i}" for i in range(len(queries))]
    found = searcher.batch_search(queries, qids, k=30, threads=2)
    with get_output_writer(str(path), OutputFormat.TREC, "w", max_hits=30, tag="bm25", topics=None) as writer:
        for qid in qids:
            writer.write(qid, found[qid])
    searcher.close()
    return path.read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")
def test_bm25_writes_pyserinis_run_and_goes_on_where_it_was_killed(
    small, bm25, lucene_index, queries, tmp_path, monkeypatch, capsys
):
    expected = pyserinis_run(lucene_index, queries, tmp_path / "pyserini.run")
    script = (
        "import os, signal, sys\n"
        "from pyserini_rerank.runs import bm25_run\n"
        "bm25_run.SHARD = 60  # two queries a shard\n"
        "plain = bm25_run.ResumableOutput.commit\n"
        "def commit(self, lines, notes):\n"
        "    if self.commits:\n"
        "        with self.path.open('a') as file:\n"
        "            file.write(lines[0][:99])\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    plain(self, lines, notes)\n"
        "bm25_run.ResumableOutput.commit = commit\n"
        "from pyserini_rerank.cli.main import main\n"
        f"sys.argv = ['pyserini-rerank', *{[*bm25, str(tmp_path / 'b.run')]!r}]\n"
        "main()\n"
    )
    killed = subprocess.run([python(), "-c", script], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    monkeypatch.setattr("pyserini_rerank.runs.bm25_run.SHARD", 60)
    first = tmp_path / "b.run.partial" / "first-stage.partial" / "output"
    assert expected.startswith(first.read_text()) and 0 < len(first.read_text()) < len(expected)
    changed = [word.replace("0.82", "0.9") for word in bm25]
    assert run(monkeypatch, *changed, str(tmp_path / "b.run")) == 1
    assert "was begun with another bm25: delete its file `output`" in capsys.readouterr().err
    seen, finish = [], ResumableOutput.finish
    with monkeypatch.context() as patch:
        patch.setattr(
            ResumableOutput, "finish", lambda self, report: seen.append(first.read_text()) or finish(self, report)
        )
        assert run(patch, *bm25, str(tmp_path / "b.run")) == 0
    assert seen == [expected]
    report = json.loads((tmp_path / "b.run.json").read_text())
    assert report["first_stage"] == f"BM25(k1=0.82, b=0.68) on {lucene_index}, 30 deep"
    assert run(monkeypatch, *bm25, str(tmp_path / "whole.run")) == 0
    assert (tmp_path / "b.run").read_bytes() == (tmp_path / "whole.run").read_bytes()


def test_the_first_stage_has_to_be_named_once(small, monkeypatch, capsys):
    words = arguments(small, "x.run")
    given = "--run and --bm25 were given together: "
    for changed, said in (([*words, "--bm25", "0.9", "0.4"], given), ([words[0], *words[3:]], "")):
        assert run(monkeypatch, *changed) == 1
        assert capsys.readouterr().err == f"pyserini-rerank: {said}name the first stage, by one of --run and --bm25.\n"
    assert run(monkeypatch, words[0], *words[3:], "--bm25", "0.9", "0.4") == 1
    assert "--bm25 searches a Lucene index: name it by --index" in capsys.readouterr().err


@pytest.mark.stress
def test_seven_million_lines_need_no_more_memory(tmp_path):
    """MS MARCO dev's 6,980 queries, a thousand deep: read, one hit a query reranked, written and evaluated."""
    build(NAME, tmp_path)
    numbers = random.Random(1)
    (tmp_path / "docs.tsv").write_text("".join(f"d{i}\t{' '.join(numbers.choices(WORDS, k=9))}\n" for i in range(2000)))
    (tmp_path / "topics.tsv").write_text("".join(f"{qid}\t{WORDS[qid % 10]} {qid}\n" for qid in range(6980)))
    (tmp_path / "qrels.txt").write_text("".join(f"{qid} 0 d{qid % 1000} 1\n" for qid in range(6980)))
    peaks = {}
    for queries in (70, 6980):
        with (tmp_path / "first.run").open("w") as file:
            for qid in range(queries):
                file.writelines(f"{qid} Q0 d{qid % 1000 + i} {i + 1} {1000 - i} first\n" for i in range(1000))
        words = arguments(tmp_path, f"{queries}.run", "--depth", "1", "--qrels", str(tmp_path / "qrels.txt"))
        words[words.index("--collection") + 1] = str(tmp_path / "docs.tsv")
        script = (
            "import resource, sys\n"
            "from pyserini_rerank.cli.main import main\n"
            f"sys.argv = ['pyserini-rerank', *{words!r}]\n"
            "try:\n"
            "    main()\n"
            "finally:\n"
            "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)\n"
        )
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        peaks[queries] = int(done.stderr.split()[-1])
        print(f"{1000 * queries:,} lines: {peaks[queries]:,} MiB, {time.perf_counter() - start:.0f} s")
    assert sum(1 for _ in (tmp_path / "6980.run").open()) == 6_980_000
    assert peaks[6980] < peaks[70] + 400
