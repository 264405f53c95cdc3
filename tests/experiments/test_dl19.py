"""TREC DL 2019 from an empty notebook, in ten lines: against ir-measures, scipy and Holm's correction by hand."""

import gzip
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ir_measures
import nbformat
import notebooks
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from pyserini_rerank import Reranker, load
from pyserini_rerank.runs.topics import load_qrels, load_topics
from scipy.stats import ttest_rel

DL19 = Path(__file__).parents[3] / "shared" / "data" / "dl19"

#: A notebook's cells; they need two numbers.
CELLS = (
    """
import pyserini_rerank
table = pyserini_rerank.experiment(
    {"BM25": "bm25.run", "MiniLM-L-12": ("bm25.run", "bundled", DEPTH), "their run": "theirs.tsv"},
    topics="topics.tsv", qrels="qrels.txt", texts="passages.jsonl", max_length=LENGTH, output="runs",
    measures=["nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "P(rel=2)@5"], baseline="BM25", correction="holm",
)
table
""",
    "print(table.to_latex())",
    'table.plot_gains("MiniLM-L-12")',
    "table.plot_depth()",
)
MEASURES = ["nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "P(rel=2)@5"]

Orders = dict[str, list[str]]


def write_data(folder: Path) -> tuple[dict[str, Orders], dict[str, str]]:
    """Write the files that the notebook names.

    Returns
    -------
    orders : dict
        The two runs, by their names in the table: qid -> docids.
    texts : dict
        docid -> passage.
    """
    with gzip.open(DL19 / "bm25-top100.json.gz", "rt") as file:
        hits = [hit for query in json.load(file) for hit in query["hits"]]
    bm25: Orders = {}
    for hit in hits:
        bm25.setdefault(str(hit["qid"]), []).append(str(hit["docid"]))
    texts = {str(hit["docid"]): hit["content"] for hit in hits}
    theirs = {qid: random.Random(qid).sample(docids[:20], 12) for qid, docids in bm25.items()}
    del theirs["19335"]  # they found nothing for it, which counts
    (folder / "bm25.run").write_text(
        "".join(f"{hit['qid']} Q0 {hit['docid']} {hit['rank']} {hit['score']} bm25\n" for hit in hits)
    )
    (folder / "theirs.tsv").write_text(
        "".join(f"{qid}\t{docid}\t{rank}\n" for qid in theirs for rank, docid in enumerate(theirs[qid], 1))
    )
    (folder / "passages.jsonl").write_text(
        "".join(json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in texts.items())
    )
    for name in ("topics.tsv", "qrels.txt"):
        (folder / name).write_bytes((DL19 / name).read_bytes())
    return {"BM25": bm25, "their run": theirs}, texts


def reranked(reranker: Reranker, bm25: Orders, texts: Mapping[str, str], depth: int) -> Orders:
    topics, orders = load_topics(DL19 / "topics.tsv"), {}
    for qid, docids in bm25.items():
        scores = reranker.score(topics[qid], [texts[docid] for docid in docids[:depth]])
        best_first = sorted(range(len(scores)), key=lambda place: -scores[place])
        orders[qid] = [docids[place] for place in best_first] + docids[depth:]
    return orders


def by_hand(docids: Orders, qrels: Any) -> dict[str, dict[str, float]]:
    """Give each measure's value of each topic; a topic that the run lacks counts 0."""
    run = {qid: {docid: 1 / rank for rank, docid in enumerate(of_topic, 1)} for qid, of_topic in docids.items()}
    values = {measure: dict.fromkeys(qrels, 0.0) for measure in MEASURES}
    for found in ir_measures.iter_calc([ir_measures.parse_measure(name) for name in MEASURES], qrels, run):
        values[str(found.measure)][found.query_id] = found.value
    return values


@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")
@pytest.mark.stress
@pytest.mark.parametrize(("depth", "length"), [(6, 48), (100, 512)], ids=["quick", "whole"])
def test_ten_lines_of_a_notebook(depth: int, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DL19.is_dir():
        pytest.skip(f"the data are not in {DL19}")
    cells = [cell.strip().replace("DEPTH", str(depth)).replace("LENGTH", str(length)) for cell in CELLS]
    assert sum(len(cell.splitlines()) for cell in cells) <= 10
    orders, texts = write_data(tmp_path)
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), tmp_path / "dl19.ipynb")
    monkeypatch.setattr(notebooks, "EXAMPLES", tmp_path)
    shown, latex, *plots = [cell.outputs[-1] for cell in notebooks.execute("dl19", tmp_path, timeout=1800).cells]

    with load("bundled", max_length=length) as reranker:
        orders["MiniLM-L-12"] = reranked(reranker, orders["BM25"], texts, depth)
    qrels = load_qrels(DL19 / "qrels.txt")
    expected = {system: by_hand(orders[system], qrels) for system in ("BM25", "MiniLM-L-12", "their run")}
    per_query = {tuple(row[:3]): float(row[3]) for row in _rows(tmp_path / "runs" / "per_query.tsv")}
    assert len(per_query) == 3 * 4 * 43
    for (system, measure, qid), value in per_query.items():
        assert value == pytest.approx(expected[system][measure][qid], abs=5e-7)

    report = json.loads((tmp_path / "runs" / "experiment.json").read_text())
    rows = {row["system"]: row for row in report["systems"]}
    values = {
        system: {measure: np.array(list(of_measure.values())) for measure, of_measure in of_system.items()}
        for system, of_system in expected.items()
    }
    assert rows["BM25"]["means"]["nDCG@10"] == pytest.approx(0.5058, abs=5e-5)
    if (depth, length) == (100, 512):
        assert rows["MiniLM-L-12"]["means"]["nDCG@10"] == pytest.approx(0.7216, abs=5e-5)
    assert rows["MiniLM-L-12"]["cost"]["pairs"] == 43 * depth
    for measure in MEASURES:
        p = {
            system: ttest_rel(values[system][measure], values["BM25"][measure]).pvalue
            for system in ("MiniLM-L-12", "their run")
        }
        low, high = sorted(p, key=p.__getitem__)
        holm = {low: min(1, 2 * p[low]), high: max(min(1, 2 * p[low]), p[high])}
        for system in p:
            row = rows[system]
            changes = values[system][measure] - values["BM25"][measure]
            beside = row["beside_the_baseline"][measure]
            assert beside["p"] == pytest.approx(p[system]) and beside["corrected"] == pytest.approx(holm[system])
            assert [beside[name] for name in ("wins", "losses", "ties")] == [
                (changes > 0).sum(), (changes < 0).sum(), (changes == 0).sum(),
            ]  # fmt: skip
            assert row["means"][measure] == pytest.approx(values[system][measure].mean())
    # The notebook and the paper show these means, and the plots.
    for system, of_system in values.items():
        row = next(line for line in latex["text"].splitlines() if line.startswith(system))
        for measure, of_measure in of_system.items():
            assert f"{of_measure.mean():.4f}" in row and f"{of_measure.mean():.4f}" in shown["data"]["text/html"], (
                measure
            )
    assert r"\begin{tabular}{lrrrr}" in latex["text"] and r"\bottomrule" in latex["text"]
    assert [plot["output_type"] for plot in plots] == ["execute_result"] * 2
    assert all("image/png" in plot["data"] for plot in plots)


def _rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]
