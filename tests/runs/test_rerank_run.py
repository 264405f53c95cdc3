"""`pyserini_rerank.rerank_run`: the job of `pyserini-rerank rerank` from Python, to the same bytes."""

import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rich
from experiment import NAME, arguments, run, write_experiment
from pyserini_rerank import BM25, Cascade, Interpolation, Reranker, Segments, load, rerank_run
from pyserini_rerank.runs.topics import load_qrels, load_topics
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend

TIMES = ("finished", "seconds", "pairs_per_second")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("small"), queries=6, hits=10)


@pytest.fixture
def given(small):
    """The arguments of the call that `arguments` has as words."""
    return {
        "run": small / "first.run",
        "reranker": str(small / NAME),
        "topics": str(small / "topics.tsv"),
        "texts": small / "docs.jsonl",
        "device": "cpu",
    }


@pytest.fixture
def shards_of_two_queries(monkeypatch):
    monkeypatch.setattr("pyserini_rerank.runs.rescoring.SHARD", 20)


def commands(small, monkeypatch, name, *more):
    """What the command writes: the run, and the report without its times."""
    assert run(monkeypatch, *arguments(small, name, *more)) == 0
    return written(small / name)


def written(path: Path):
    report = json.loads(path.with_name(f"{path.name}.json").read_text())
    return path.read_bytes(), {name: value for name, value in report.items() if name not in TIMES}


def commits(output: Path) -> int:
    return json.loads((output.with_name(f"{output.name}.partial") / "state.json").read_text())["commits"]


def test_the_bytes_and_the_report_are_the_commands(small, given, tmp_path, monkeypatch):
    qrels = str(small / "qrels.txt")
    words = ["--qrels", qrels, "--level", "2", "--depth", "7", "--tag", "mine", "--max-length", "30", "--json"]
    words += ["--per-query", str(tmp_path / "theirs.tsv"), "--plot", str(tmp_path / "theirs.svg")]
    expected = commands(small, monkeypatch, "theirs.run", *words)
    result = rerank_run(
        **given,
        output=tmp_path / "ours.run",
        qrels=qrels,
        level=np.int64(2),
        depth=np.int64(7),
        tag="mine",
        max_length=30,
        per_query=tmp_path / "ours.tsv",
        plot=tmp_path / "ours.svg",
    )
    assert written(tmp_path / "ours.run") == expected
    assert result.path == tmp_path / "ours.run"
    assert result.report == json.loads((tmp_path / "ours.run.json").read_text())
    assert (tmp_path / "ours.tsv").read_bytes() == (tmp_path / "theirs.tsv").read_bytes()
    assert b"<svg" in (tmp_path / "ours.svg").read_bytes()
    assert [row["measure"] for row in result.measures] == list(result.per_query) == list(result.first_stage)
    for row in result.measures:
        for name, values in (("run", result.per_query), ("baseline", result.first_stage)):
            of_measure = values[row["measure"]]
            assert len(of_measure) == 6 and sum(of_measure.values()) / 6 == pytest.approx(row[name])


def test_a_result_says_that_all_scores_were_known(given, tmp_path):
    first, again = (
        rerank_run(**given, output=tmp_path / name, cache=tmp_path / "scores") for name in ("a.run", "b.run")
    )
    assert " scored a second" in repr(first) and "60 pairs, none of them scored anew" in repr(again)
    assert (tmp_path / "a.run").read_bytes() == (tmp_path / "b.run").read_bytes()


def test_mappings_stand_for_the_files(small, given, tmp_path, monkeypatch):
    """Whole numbers, numpy's and pandas' too, are qids and docids as a file has them."""
    qrels = str(small / "qrels.txt")
    expected = commands(small, monkeypatch, "files.run", "--qrels", qrels, "--only-judged")
    texts = {row["id"]: row["contents"] for row in map(json.loads, (small / "docs.jsonl").open())}
    grades = {qid: pd.Series(of_query) for qid, of_query in load_qrels(qrels).items()}
    topics = pd.Series(load_topics(given["topics"]))
    ours = given | {"topics": topics, "texts": texts, "qrels": grades, "only_judged": True}
    rerank_run(**ours, output=tmp_path / "ours.run")
    run_of_mappings, report = written(tmp_path / "ours.run")
    assert run_of_mappings == expected[0]
    assert report["settings"] == expected[1]["settings"] | {"texts": report["settings"]["texts"]}
    assert report["evaluation"] == expected[1]["evaluation"] | {"qrels": "a mapping"}
    numbers = "".join(line[1:] for line in (small / "first.run").read_text().splitlines(keepends=True))
    (tmp_path / "numbers.run").write_text(numbers)
    ours["topics"] = {np.int64(qid[1:]): query for qid, query in topics.items()}
    ours["qrels"] = {int(qid[1:]): dict(of_query) for qid, of_query in grades.items()}
    rerank_run(**ours | {"run": tmp_path / "numbers.run"}, output=tmp_path / "numbers.out")
    assert (tmp_path / "numbers.out").read_text() == expected[0].decode().replace("q", "")


def test_mappings_that_are_no_topics_or_qrels(given, tmp_path):
    for wrong, said in (
        ({"topics": {"q0": float("nan")}}, "topic q0: the query to rerank with is a float"),
        ({"topics": {1.0: "flea"}}, "topics has the key 1.0: give qids and docids as texts or whole numbers"),
        ({"topics": {1: "flea", "1": "berlin"}}, "topics has '1' as a number and as a text"),
        ({"topics": {}}, "the topics are an empty mapping"),
        ({"topics": ["flea"]}, "topics is a list: give a mapping"),
        ({"topics": pd.DataFrame({"q0": ["flea"]})}, "topics is a DataFrame: give a mapping"),
        ({"qrels": {"q0": {"d1": 1.0}}}, "the grade of d1 is 1.0: give a whole number"),
        ({"qrels": {"q0": 1}}, "the qrels of query q0 is a int: give a mapping"),
        ({"qrels": {}}, "the qrels are an empty mapping"),
        ({"texts": ["a text"]}, "texts is a list: give a mapping"),
        ({"texts": lambda docid: "text"}, "texts is a function: give a mapping"),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            rerank_run(**given | wrong, output=tmp_path / "x.run")
        assert said in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_errors_name_pythons_arguments(small, given, tmp_path):
    (tmp_path / "there.run").write_text("mine")
    (tmp_path / "bad.run").write_text("q0 Q0 d1\n")
    (tmp_path / "other.qrels").write_text("x 0 d1 1\n")
    for changed, said in (
        ({"output": tmp_path / "there.run"}, "there.run exists: pass overwrite=True to replace it"),
        ({"run": tmp_path / "bad.run"}, "or pass skip_bad=True"),
        ({"texts": {"d1": "one text"}}, "name another collection or index, or pass skip_bad=True"),
        ({"topics": {"q9": "flea"}}, "name others, or pass skip_bad=True"),
        ({"topics": None}, "name the queries, by topics=."),
        ({"texts": None}, "name the texts, by texts=."),
        ({"topics": None, "texts": None}, "name the queries, by topics=, and the texts, by texts=."),
        ({"only_judged": True}, "name the judgements to evaluate with, by qrels=."),
        (
            {"qrels": tmp_path / "other.qrels"},
            "is judged: name the judgements of these queries by qrels=.",
        ),
        ({"output": given["topics"], "overwrite": True}, "output= and topics= are the same file"),
        ({"depth": 0}, "depth is 0: give 1 or more"),
        ({"level": 0}, "level is 0: give 1 or more"),
        ({"depth": 1.5}, "depth is 1.5: give a whole number"),
    ):
        with pytest.raises((ValueError, TypeError, LookupError, FileExistsError)) as error:
            rerank_run(**{**given, "output": tmp_path / "x.run"} | changed)
        assert said in str(error.value) and "--" not in str(error.value)
    assert (tmp_path / "there.run").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.run", "other.qrels", "there.run"]


def test_either_goes_on_with_what_the_other_began(
    small, given, tmp_path, monkeypatch, shards_of_two_queries, interrupting
):
    expected = commands(small, monkeypatch, "whole.run")
    words = [*arguments(small, ""), "--output"]
    for number, begun_by_the_command in enumerate((True, False)):
        output = tmp_path / f"{number}.run"
        interrupting(4).clear()
        if begun_by_the_command:
            assert run(monkeypatch, *words, str(output)) == 130
        else:
            with pytest.raises(KeyboardInterrupt):
                rerank_run(**given, output=output)
        assert commits(output) == 1 and not output.exists()
        ran = interrupting(None)
        ran.clear()
        if begun_by_the_command:
            rerank_run(**given, output=output)
        else:
            assert run(monkeypatch, *words, str(output)) == 0
        assert len(ran) == 3, "of three shards, two batches each, one was committed, and one batch's scores were known"
        found = written(output)
        assert found[0] == expected[0]
        assert found[1]["settings"] == expected[1]["settings"] and found[1]["counts"] == expected[1]["counts"]


def test_a_combination_goes_on_whether_it_is_written_or_made_of_lists(
    small, given, tmp_path, monkeypatch, shards_of_two_queries, interrupting
):
    """A generator and tuples are read once for the state and once more for the model."""
    model = given["reranker"]
    interrupting(2)
    with pytest.raises(KeyboardInterrupt):
        pairs = ((Path(name), depth) for name, depth in ((model, 8), (model, 3)))
        rerank_run(**given | {"reranker": pairs}, output=tmp_path / "x.run")
    assert commits(tmp_path / "x.run") == 1
    interrupting(None)
    words = [*arguments(small, ""), "--model", f"[[{model}, 8], [{model}, 3]]", "--output", str(tmp_path / "x.run")]
    assert run(monkeypatch, *words) == 0
    around = [[model, 3]]
    around.append([around, 2])
    with pytest.raises(ValueError, match="holds itself"):
        rerank_run(**given | {"reranker": around}, output=tmp_path / "y.run")


def test_a_loaded_reranker_stays_open_and_is_told_by_its_fingerprint(
    small, given, tmp_path, monkeypatch, shards_of_two_queries, interrupting
):
    expected, _ = commands(small, monkeypatch, "named.run")
    loaded = {name: value for name, value in given.items() if name != "device"}
    model = given["reranker"]
    with load(model, device="cpu") as reranker, load(model, device="cpu", max_length=20) as other:
        loaded["reranker"] = reranker
        with pytest.raises(TypeError, match="device: give these to the load.. that made"):
            rerank_run(**loaded, device="cpu", output=tmp_path / "x.run")
        with pytest.raises(TypeError, match="cache: give these to the load.. that made"):
            rerank_run(**loaded, cache=tmp_path / "scores", output=tmp_path / "x.run")
        with pytest.raises(TypeError, match="ray=True loads the reranker on each machine, and .* is loaded here"):
            rerank_run(**loaded | {"reranker": [(reranker, 5)]}, ray=True, output=tmp_path / "x.run")
        assert not list(tmp_path.iterdir())
        ran = interrupting(4)
        with pytest.raises(KeyboardInterrupt):
            rerank_run(**loaded, output=tmp_path / "x.run")
        for wrong in (other, model, Cascade([(reranker, 10)])):
            with pytest.raises(ValueError, match=r"x.run.partial was begun with another model"):
                rerank_run(**loaded | {"reranker": wrong}, output=tmp_path / "x.run")
        interrupting(None)
        ran.clear()
        rerank_run(**loaded, output=tmp_path / "x.run")
        assert len(ran) == 4 and (tmp_path / "x.run").read_bytes() == expected
        reranker.score("flea", ["it is still open"])
        # Of a combination only the part that was loaded for it is closed.
        rerank_run(**loaded | {"reranker": [(reranker, 10), (model, 5)], "device": "cpu"}, output=tmp_path / "y.run")
        reranker.score("flea", ["it is still open"])


class Longest(Reranker):
    """A reranker of one's own, with the one method that it needs and a fingerprint: it counts nothing."""

    fingerprint = "longest"

    def relevance(self, queries, found, counts):
        return [np.array([len(text) for text in passages.texts], dtype=np.float32) for passages in found]


@pytest.mark.parametrize(
    ("made", "pairs"),
    [
        (lambda own, _: own, 60),
        (lambda own, _: Interpolation(own, alpha=0.5), 60),
        (lambda own, model: Cascade([(own, 10), (model, 2)]), 60 + 12),
        (lambda own, model: Cascade([(model, 10), (Interpolation(own, alpha=0.5), 3)]), 60 + 18),
    ],
    ids=["alone", "interpolated", "first in a cascade", "nested"],
)
def test_the_pairs_of_a_reranker_of_ones_own_are_counted(given, tmp_path, made, pairs):
    loaded = {name: value for name, value in given.items() if name != "device"}
    with load(given["reranker"], device="cpu") as model:
        reranker = made(Longest("longest"), model)
        result = rerank_run(**loaded | {"reranker": reranker}, output=tmp_path / "x.run")
    assert result.report["counts"]["pairs"] == pairs == reranker.counts.pairs


def test_a_finished_output_is_not_replaced_and_a_closed_reranker_is_refused(given, tmp_path):
    rerank_run(**given, output=tmp_path / "x.run")
    first = (tmp_path / "x.run").read_bytes()
    with pytest.raises(FileExistsError):
        rerank_run(**given, output=tmp_path / "x.run")
    rerank_run(**given, output=tmp_path / "x.run", overwrite=True)
    assert (tmp_path / "x.run").read_bytes() == first
    reranker = load(given.pop("reranker"), device=given.pop("device"))
    reranker.close()
    with pytest.raises(RuntimeError, match="closed"):
        rerank_run(**given, reranker=reranker, output=tmp_path / "y.run")
    assert not list(tmp_path.glob("y.run*"))


def test_threads_rerank_side_by_side_with_one_reranker(small, given, tmp_path, monkeypatch):
    """And of two that write the same output one is refused."""
    expected, _ = commands(small, monkeypatch, "alone.run")
    refused, results = [], []
    outputs = [tmp_path / name for name in ("a.run", "b.run", "same.run", "same.run")]
    together = threading.Barrier(len(outputs))
    with load(given.pop("reranker"), device=given.pop("device")) as reranker:

        def work(output):
            together.wait()
            try:
                results.append(rerank_run(**given, reranker=reranker, output=output))
            except (BlockingIOError, FileExistsError) as error:
                refused.append(error)

        threads = [threading.Thread(target=work, args=(output,)) for output in outputs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(refused) == 1 and len(results) == 3
    assert {result.path.read_bytes() for result in results} == {expected}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": {"q0": {"d1": 1.0}}}, "run is a dict: name a run's file, or give a BM25"),
        ({"output": None}, "output is a NoneType: name a file"),
        ({"per_query": 3}, "per_query is a int: name a file"),
    ],
)
def test_what_is_no_file_is_named(given, tmp_path, change, message):
    with pytest.raises(TypeError, match=message):
        rerank_run(**{**given, "output": tmp_path / "out.run", **change})


def test_numbers_of_bm25():
    """numpy's float32 of 0.9 is the command line's 0.9; a text that is no number is named."""
    assert BM25(np.float32(0.9), "0.4", "index") == BM25(0.9, 0.4, "index")
    for k1, b in (("high", 0.4), (0.9, None), (-1.0, 0.4), (float("nan"), 0.4)):
        with pytest.raises(ValueError, match=f"BM25 with k1={k1} and b={b}: give a k1 of 0 or more"):
            BM25(k1, b, "index")


def test_bm25_from_python(small, lucene_index, queries, tmp_path, monkeypatch, interrupting):
    topics = {f"r{i}": query for i, query in enumerate(queries)}
    (tmp_path / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in topics.items()))
    words = ["rerank", "--bm25", "1", "0.4", "--index", lucene_index, "--topics", str(tmp_path / "topics.tsv")]
    words += ["--depth", "20", "--model", str(small / NAME), "--device", "cpu", "--max-length", "30", "--output"]
    assert run(monkeypatch, *words, str(tmp_path / "theirs.run")) == 0
    how = {"reranker": small / NAME, "topics": topics, "device": "cpu", "max_length": 30}
    result = rerank_run(BM25(1, 0.4, Path(lucene_index), depth=20), **how, output=tmp_path / "ours.run")
    assert written(tmp_path / "ours.run") == written(tmp_path / "theirs.run")
    assert result.report["first_stage"] == f"BM25(k1=1.0, b=0.4) on {lucene_index}, 20 deep"
    # Deeper than it is rescored, and with the texts of a collection.
    texts = {docid: "a text" for line in (tmp_path / "ours.run").open() for docid in [line.split()[2]]}
    rerank_run(BM25(1, 0.4, lucene_index, depth=20), **how, texts=texts, depth=3, output=tmp_path / "deep.run")
    assert sorted(line.split()[2] for line in (tmp_path / "deep.run").open()) == sorted(
        line.split()[2] for line in (tmp_path / "ours.run").open()
    )
    # What one of them searched, the other does not search again.
    interrupting(1)
    assert run(monkeypatch, *words, str(tmp_path / "both.run")) == 130
    interrupting(None)
    monkeypatch.setattr("pyserini_rerank.runs.bm25_run.TopicSearcher.search", None)
    rerank_run(BM25(1, 0.4, lucene_index, depth=20), **how, output=tmp_path / "both.run")
    assert (tmp_path / "both.run").read_bytes() == (tmp_path / "theirs.run").read_bytes()


def test_a_result_shows_itself(small, given, tmp_path, capsys):
    plain = rerank_run(**given, output=tmp_path / "<plain>.run")
    assert repr(plain).startswith(f"{tmp_path / '<plain>.run'}: 60 pairs, ") and plain.measures == []
    assert "&lt;plain&gt;.run: 60 pairs" in plain._repr_html_() and "<table" not in plain._repr_html_()
    judged = rerank_run(**given, output=tmp_path / "[bold].run", qrels=str(small / "qrels.txt"))
    figure = f"{judged.measures[0]['run']:.4f}"
    rich.print(judged)
    for shown in (repr(judged), capsys.readouterr().out, judged._repr_html_()):
        assert "nDCG@10" in shown and figure in shown and "[bold].run:60pairs" in "".join(shown.split())
        assert "6 queries are evaluated" in shown
    assert f"<td>{figure}</td>" in judged._repr_html_()
    assert "\x1b" not in repr(judged)


def test_a_checkpoint_without_a_fingerprint_is_loaded_once(given, tmp_path, monkeypatch):
    """And goes on shard by shard, without a cache; where a cache is asked for, that is an error."""
    made = []
    plain = TorchBackend.__init__

    def init(self, *args, **options):
        made.append(self)
        plain(self, *args, **options)
        self.fingerprint = ""

    monkeypatch.setattr(TorchBackend, "__init__", init)
    rerank_run(**given, output=tmp_path / "x.run")
    assert len(made) == 1
    with pytest.raises(ValueError, match="no fingerprint"):
        rerank_run(**given, output=tmp_path / "y.run", cache=tmp_path / "scores")


def test_judgements_of_other_queries_are_told_before_anything_is_scored(small, given, tmp_path, hashing):
    """The topics have judged queries, and the run has none of them."""
    first = (small / "first.run").read_text().splitlines(keepends=True)
    part = tmp_path / "part.run"
    part.write_text("".join(line for line in first if line.startswith("q0 ")))
    loaded = {name: value for name, value in given.items() if name != "device"}
    with pytest.raises(ValueError, match="none of the run's queries is judged"):
        rerank_run(**loaded | {"run": part, "reranker": hashing, "qrels": {"q1": {"d1": 1}}}, output=tmp_path / "o.run")
    assert hashing.counts.pairs == 0


def test_segments_have_no_first_stage_to_compare_with(tmp_path, hashing):
    """Its run has the docids of segments, and the judgements those of documents."""
    texts = {"D1#0": "a flea", "D1#1": "a dog", "D2#0": "a cat"}
    lines = (f"q1 Q0 {docid} {rank} {9 - rank} a\n" for rank, docid in enumerate(texts, 1))
    (tmp_path / "segments.run").write_text("".join(lines))
    result = rerank_run(
        tmp_path / "segments.run", Segments(hashing), topics={"q1": "flea"}, texts=texts,
        qrels={"q1": {"D1": 1, "D2": 0}}, output=tmp_path / "out.run", measures=["RR"],
    )  # fmt: skip
    assert result.first_stage is None and result.per_query["RR"]["q1"] > 0
    assert {line.split()[2] for line in (tmp_path / "out.run").read_text().splitlines()} == {"D1", "D2"}
