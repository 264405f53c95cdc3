"""Figures against trec_eval's own code, on DL19 where it is there."""

import gzip
import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytrec_eval
from pyserini_rerank.runs import evaluation
from pyserini_rerank.runs.evaluation import Coverage, compare, evaluate, ndcg, per_query, query_table, read_run
from pyserini_rerank.runs.measures import default_measures, parse_measures
from pyserini_rerank.runs.run_file import read
from pyserini_rerank.runs.topics import load_qrels

DL19 = Path(__file__).parents[3] / "shared" / "data" / "dl19"


@pytest.fixture(scope="module")
def dl19():
    if not DL19.is_dir():
        pytest.skip(f"the data are not in {DL19}")
    run = {}
    with gzip.open(DL19 / "bm25-top100.json.gz", "rt") as file:
        for query in json.load(file):
            for hit in query["hits"]:
                run.setdefault(str(hit["qid"]), {})[str(hit["docid"])] = float(hit["score"])
    qrels = {}
    for line in (DL19 / "qrels.txt").read_text().splitlines():
        qid, _, docid, grade = line.split()
        qrels.setdefault(qid, {})[docid] = int(grade)
    return run, qrels


def test_dl19_agrees_with_trec_eval(dl19):
    run, qrels = dl19
    ours = per_query(run.items(), qrels, default_measures(2))
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    binary = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recall_100", "recall_1000"}, relevance_level=2).evaluate(
        run
    )
    for qid in qrels:
        assert ours["nDCG@10"][qid] == pytest.approx(theirs[qid]["ndcg_cut_10"], abs=5e-5)
        assert ours["AP(rel=2)"][qid] == pytest.approx(binary[qid]["map"], abs=5e-5)
        assert ours["R(rel=2)@100"][qid] == pytest.approx(binary[qid]["recall_100"], abs=5e-5)
        assert ours["R(rel=2)@1000"][qid] == pytest.approx(binary[qid]["recall_1000"], abs=5e-5)
    assert sum(ours["nDCG@10"].values()) / len(qrels) == pytest.approx(0.5058, abs=5e-5)


TEN = Path(__file__).with_name("dl19")


@pytest.mark.parametrize(("name", "mean"), [("bm25.run", 0.4872), ("reranked.run", 0.7396)])
def test_ten_queries_agree_with_trec_eval(name, mean):
    """Ten of TREC DL 2019's queries, as numbers: judgements, BM25's top 100, and MiniLM-L-12's order of them."""
    qrels = load_qrels(TEN / "qrels.txt")
    run = {qid: {hit.docid: hit.score for hit in hits} for qid, hits in read(TEN / name)}
    assert len(run) == 10 and all(len(hits) == 100 for hits in run.values())
    ours = per_query(run.items(), qrels, default_measures(2))
    graded = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    binary = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recall_100"}, relevance_level=2).evaluate(run)
    for measure, theirs, theirs_name in (
        ("nDCG@10", graded, "ndcg_cut_10"), ("AP(rel=2)", binary, "map"), ("R(rel=2)@100", binary, "recall_100"),
    ):  # fmt: skip
        assert ours[measure] == {qid: pytest.approx(theirs[qid][theirs_name], abs=1e-6) for qid in run}, measure
    assert sum(ours["nDCG@10"].values()) / 10 == pytest.approx(mean, abs=5e-5)


def test_compare_counts_and_tests_in_pairs():
    from scipy.stats import ttest_1samp

    qrels = {str(q): {"a": 1, "b": 0} for q in range(6)}
    baseline = {str(q): {"b": 2.0, "a": 1.0} for q in range(6)}
    run = {str(q): ({"a": 2.0, "b": 1.0} if q < 4 else {"b": 2.0, "a": 1.0}) for q in range(5)}
    after, before = per_query(run.items(), qrels), per_query(baseline.items(), qrels)
    (row,) = [row for row in compare(after, before) if row["measure"] == "RR@10"]
    assert (row["better"], row["worse"]) == (4, 1), "the query that the run lacks counts 0"
    assert row["baseline"] == 0.5 and row["run"] == pytest.approx((4 * 1 + 0.5 + 0) / 6)
    assert row["p"] == pytest.approx(ttest_1samp([0.5] * 4 + [0, -0.5], 0).pvalue)
    assert compare(before, before)[0]["p"] is None
    assert compare(after)[1] == {"measure": "RR@10", "run": row["run"]}, "an unordered first stage has no figures"
    lines = [line.rstrip("\n").split("\t") for line in query_table(after, before)]
    column = lines[0].index("RR@10")
    assert lines[0][column - 1] == "RR@10 first stage" and len(lines) == 7
    assert [line[column - 1 : column + 1] for line in lines[1:]] == [["0.5000", "1.0000"]] * 4 + [
        ["0.5000", "0.5000"],
        ["0.5000", "0.0000"],
    ]


def test_a_run_is_evaluated_in_parts_to_the_same_figures(monkeypatch):
    numbers = random.Random(1)
    qrels = {str(q): {str(d): numbers.randint(0, 3) for d in range(20)} for q in range(30)}
    run = {str(q): {str(d): numbers.random() for d in range(0, 30, 2)} for q in range(2, 32)}
    whole = per_query(run.items(), qrels, default_measures(2))
    monkeypatch.setattr(evaluation, "TOGETHER", 7)
    assert per_query(iter(run.items()), qrels, default_measures(2)) == whole
    assert whole["nDCG@10"]["0"] == 0 and "31" not in whole["nDCG@10"]


#: Scores that are equal, or are so in float32, or as `%.6f` prints them; with the greater docid first, and the lesser.
CLOSE = [[1.0, 1.0, 1.0], [1.0 + 2e-9, 1.0 + 1e-9, 1.0], [3e8 + 2, 3e8 + 1, 3e8], [4e-7, 3e-7, 2e-7], [-0.0, 0.0, -0.0]]


@pytest.mark.parametrize("scores", CLOSE, ids=str)
@pytest.mark.parametrize("docids", ["abc", "cba", "bac"])
def test_every_measure_sees_the_order_of_the_run(scores, docids):
    """The relevant document is the second: reciprocal rank, average precision and gain all have it there."""
    found = per_query([("q", dict(zip(docids, scores, strict=True)))], {"q": {docids[1]: 1}})
    assert found["RR@10"]["q"] == found["AP"]["q"] == 0.5
    assert found["nDCG@10"]["q"] == pytest.approx(0.6309, abs=5e-5)
    assert (
        ndcg({"q": [SimpleNamespace(docid=docid, score=1.0) for docid in docids]}, {"q": {docids[1]: 1}})
        == (found["nDCG@10"]["q"])
    )


@pytest.mark.parametrize("line", ["q Q0 {} {} 7.5 other\n", "q\t{}\t{}\n"], ids=["trec", "msmarco"])
@pytest.mark.parametrize("docids", ["abcd", "dcba"])
def test_a_foreign_run_with_equal_scores_has_the_order_of_its_lines(tmp_path, line, docids):
    (tmp_path / "run").write_text("".join(line.format(docid, rank) for rank, docid in enumerate(docids, 1)))
    found = per_query(read_run(tmp_path / "run"), {"q": {docids[3]: 1}})
    assert found["RR@10"]["q"] == found["AP"]["q"] == 0.25


@pytest.mark.skipif(not shutil.which("perl"), reason="ERR is computed by gdeval, a program in Perl")
@pytest.mark.parametrize("qid", ["1", "q1", "topic/é"])
def test_err_of_queries_of_any_name(qid):
    [measure] = parse_measures(["ERR@5"])
    assert per_query([(qid, {"a": 2.0, "b": 1.0})], {qid: {"b": 4}}, [measure])["ERR@5"][qid] == pytest.approx(15 / 32)


def test_ten_thousand_hits_keep_their_order():
    docids = [str(number) for number in range(10_000)]
    found = per_query([("q", dict.fromkeys(docids, 0.0))], {"q": {docids[-1]: 1}})
    assert found["AP"]["q"] == pytest.approx(1 / 10_000)


def test_the_queries_of_the_run_are_evaluated_and_the_others_told():
    qrels = {str(query): {"a": 1} for query in range(6)}
    run = {"1": {"a": 1.0}, "3": {"b": 2.0, "a": 1.0}, "new": {"a": 1.0}}
    values, coverage = evaluate(run.items(), qrels)
    assert values["RR@10"] == {"1": 1.0, "3": 0.5} and coverage == Coverage(queries=2, lacking=4, unjudged=1)
    assert "2 queries are evaluated: the run lacks 4 of the 6 judged queries, and 1 of" in str(coverage)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)
    assert theirs.keys() == values["RR@10"].keys(), "the same as trec_eval's, without -c"
    with pytest.raises(ValueError, match="none of the run's queries is judged"):
        evaluate([("new", {"a": 1.0})], qrels)


def test_a_query_without_hits_has_the_value_of_an_empty_ranking():
    """With the default measures as well, of which Judged@10 would divide by the number of hits."""
    qrels = {"1": {"a": 1}, "2": {"a": 1}}
    values = per_query({"1": {"a": 1.0}, "2": {}}.items(), qrels)
    assert {measure: of_measure["2"] for measure, of_measure in values.items()} == dict.fromkeys(values, 0.0)
    assert {of_measure["1"] for of_measure in values.values()} == {1.0}


def test_a_measure_that_divides_by_nothing_is_named():
    with pytest.raises(ValueError, match=r"^Accuracy@10 cannot be computed: .*division by zero"):
        per_query({"1": {"a": 1.0}}.items(), {"1": {"a": 1}}, parse_measures(["Accuracy@10"]))


def test_grades_of_a_measures_own_do_not_change_the_others():
    """In one process of two ir-measures would compute both with the same grades."""
    qrels, run = {"1": {"a": 1, "b": 2, "c": 3}}, {"1": {"a": 3.0, "b": 2.0, "c": 1.0}}
    names = ["nDCG@10", "nDCG(gains={1:0,2:1,3:1})@10", "nDCG@5", "nDCG(judged_only=True)@10", "P(judged_only=True)@1"]
    together = per_query(run.items(), qrels, parse_measures(names))
    alone = {}
    for name in names:
        alone |= per_query(run.items(), qrels, parse_measures([name]))
    assert together == alone and len({value["1"] for value in alone.values()}) == 3


def test_a_name_of_trec_evals_for_several_measures():
    assert list(map(str, parse_measures(["P.5,10", "nDCG@10"], 2))) == ["P(rel=2)@5", "P(rel=2)@10", "nDCG@10"]
    assert list(map(str, parse_measures(["ndcg_cut_10", "nDCG@10"]))) == ["nDCG@10"]
