"""`pyserini-rerank bench`: that what it reports is what it says."""

import json
import sys

import numpy as np
import pyserini_rerank
import pytest
import torch
from experiment import write_experiment
from pyserini_rerank.cli.main import main
from pyserini_rerank.experiments import benchmark
from tiny_checkpoints import build
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NAME = "cross-encoder/ms-marco-MiniLM-L-4-v2"
KINDS = [NAME, "cross-encoder/ms-marco-electra-base", "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"]


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", "bench", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build(NAME, tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("length", [16, 60])
def test_operations_are_those_that_torch_counts(tmp_path, name, length):
    with pyserini_rerank.load(build(name, tmp_path), device="cpu", max_length=length) as reranker:
        family = reranker.backend.family
        [batch] = reranker.backend.plan([("flea", "berlin " * length)]).batches
        # By attention of which torch counts the products on a CPU as well.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            family.scores(batch.inputs, reranker.backend.device)
        # What it counts besides is of one token: the pooler, the head, most of the last layer.
        assert benchmark.operations(family.body, length) == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_generated_pairs_have_msmarcos_lengths(reranker):
    pairs = benchmark.generated_pairs(1000)
    assert pairs == benchmark.generated_pairs(1000) and len(pairs) == 1000
    assert len({query for query, _ in pairs}) == 10
    plan = reranker.backend.plan(pairs)
    lengths = sorted(len(pair.passage) for batch in plan.batches for pair in batch.inputs)
    assert np.mean(lengths) == pytest.approx(85, abs=4), "85.2 in BM25's top 100 of TREC DL 2019"
    assert lengths[500] == pytest.approx(75, abs=4) and lengths[0] >= 19 and lengths[-1] <= 258


def test_our_round_gives_the_rerankers_scores(tiny):
    pairs = benchmark.generated_pairs(50)
    with pyserini_rerank.load(tiny, device="cpu") as reranker:
        scores, timing = benchmark.ours(reranker, pairs)
        assert np.array_equal(scores, reranker.predict(pairs))
    assert timing.seconds == pytest.approx(timing.tokenize + timing.forward)


def test_the_command_compares_with_sentence_transformers(tiny, tmp_path, monkeypatch, capsys):
    file = tmp_path / "figures.json"
    words = ["--model", tiny, "--device", "cpu", "--count", 120, "--rounds", 2, "--against", "sentence-transformers"]
    assert run(monkeypatch, *words, "--json", file) == 0
    figures = json.loads(file.read_text())
    assert figures["pairs"] == 120 and figures["largest_difference"] < 1e-4 and figures["top10_overlap"] == 1
    assert len(figures["ratios"]) == 2 and figures["ratio"] > 0 and 0 <= figures["padding_share"] < 0.5
    assert figures["peak_share"] == pytest.approx(figures["gflops"] / figures["peak_gflops"])
    assert figures["model"] == str(tiny) and figures["device"].startswith("cpu: ") and figures["peak_memory"] > 2**20
    shown = capsys.readouterr().out
    assert f"{figures['ratio']:.2f} x" in shown and f"{figures['pairs_per_second']:,.1f}" in shown


def test_pairs_of_a_file(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.tsv").write_text("a query\ta passage\n" * 7)
    words = ["--model", tiny, "--device", "cpu", "--rounds", 1, "--pairs", tmp_path / "pairs.tsv"]
    assert run(monkeypatch, *words, "--count", 5) == 0
    assert "(5 pairs)" in capsys.readouterr().out
    (tmp_path / "pairs.tsv").write_text("a query\ta passage\nno tab\n")
    assert run(monkeypatch, *words) == 1
    assert "pairs.tsv, line 2: is no query, tab and passage" in capsys.readouterr().err


def test_what_it_cannot_compare(tmp_path, tiny, monkeypatch, capsys):
    assert run(monkeypatch, "--model", tiny, "--against", "nothing") == 1
    assert "--against nothing: there is sentence-transformers" in capsys.readouterr().err
    margin = build("nboost/pt-tinybert-msmarco", tmp_path)
    words = ["--model", margin, "--device", "cpu", "--count", 5, "--against", "sentence-transformers"]
    assert run(monkeypatch, *words) == 1
    assert "reads" in (error := capsys.readouterr().err) and "otherwise than its authors do" in error


def test_a_cascade_beside_its_parts_on_a_run(tmp_path, monkeypatch, capsys):
    folder = write_experiment(tmp_path, queries=5, hits=12)
    model = folder / "cross-encoder/ms-marco-TinyBERT-L-2-v2"
    files = ["--run", folder / "first.run", "--topics", folder / "topics.tsv", "--qrels", folder / "qrels.txt"]
    files += ["--collection", folder / "docs.jsonl"]
    cascade = f"[[{{model: {model}, max_length: 16}}, 10], [{model}, 4]]"
    words = [*files, "--device", "cpu", "--rounds", 2, "--model", model, "--model", cascade]
    to = ["--json", folder / "figures.json", "--plot", folder / "plot.png"]
    assert run(monkeypatch, *words, *to) == 0
    rows = json.loads((folder / "figures.json").read_text())["rows"]
    assert [row["pairs"] for row in rows] == [0, 12, 10, 4, 14]
    assert all(row["milliseconds"] > 0 and row["pairs_per_second"] > 0 for row in rows[1:])
    shown = capsys.readouterr().out
    assert all(f"{row['ndcg']:.4f}" in shown for row in rows) and (folder / "plot.png").stat().st_size > 5000
    # The figures are those of the rerank command on the same run.
    for row, options in ((rows[1], ["--model", str(model)]), (rows[4], ["--model", cascade])):
        command = ["rerank", *map(str, files), "--device", "cpu", *options, "--output", str(folder / "out.run")]
        monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *command, "--overwrite", "--json"])
        with pytest.raises(SystemExit):
            main()
        measures = json.loads(capsys.readouterr().out)["evaluation"]["measures"]
        ndcg = next(some for some in measures if some["measure"] == "nDCG@10")
        assert row["ndcg"] == pytest.approx(ndcg["run"]) and rows[0]["ndcg"] == pytest.approx(ndcg["baseline"])


def test_what_a_run_needs(tiny, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "--model", tiny, "--run", tmp_path / "first.run") == 1
    assert "name the run's --topics, its --qrels, and its texts" in capsys.readouterr().err
    assert run(monkeypatch, "--model", tiny, "--run", tmp_path / "x", "--against", "sentence-transformers") == 1
    assert "leave --pairs and --against out" in capsys.readouterr().err
    assert run(monkeypatch, "--model", tiny, "--model", tiny) == 1
    assert "pairs are for one --model: name a --run" in capsys.readouterr().err


def test_overlap():
    scores = np.array([3, 2, 1, 3, 2, 1], dtype=np.float32)
    others = np.array([3, 1, 2, 3, 2, 1], dtype=np.float32)
    assert benchmark.overlap(list("aaabbb"), scores, others, k=2) == pytest.approx((1 / 2 + 1) / 2)
