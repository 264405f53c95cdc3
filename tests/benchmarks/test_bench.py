"""`pyserini-rerank bench`: that what it reports is what it says."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import torch
from experiment import arguments, run, write_experiment
from pyserini_rerank.benchmarks import arithmetic, throughput, workload
from pyserini_rerank.benchmarks.peer import Peer
from pyserini_rerank.runs import plots
from sentence_transformers import CrossEncoder
from tiny_checkpoints import build
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NAME = "cross-encoder/ms-marco-MiniLM-L-4-v2"
KINDS = [NAME, "cross-encoder/ms-marco-electra-base", "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"]
PEER = ("--against", "sentence-transformers")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build(NAME, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("experiment"), queries=5, hits=12)


def bench(monkeypatch, *words: object) -> int:
    return run(monkeypatch, "bench", *map(str, words))


def files(folder: Path, *, qrels: bool = True) -> list[object]:
    """The options that name the experiment's run."""
    own = ["--run", folder / "first.run", "--topics", folder / "topics.tsv", "--collection", folder / "docs.jsonl"]
    return [*own, "--device", "cpu", *(["--qrels", folder / "qrels.txt"] if qrels else [])]


def measured(monkeypatch, capsys, folder: Path, model: object) -> dict[str, float]:
    """The rerank command's nDCG@10 on the same run: the evidence of ours."""
    command = arguments(folder, "out.run", "--qrels", str(folder / "qrels.txt"), "--overwrite", "--json")
    command[command.index("--model") + 1] = str(model)
    assert run(monkeypatch, *command) == 0
    measures = json.loads(capsys.readouterr().out)["evaluation"]["measures"]
    return next(some for some in measures if some["measure"] == "nDCG@10")


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
        assert arithmetic.operations(family.body.config, length) == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_generated_pairs_have_msmarcos_lengths(reranker):
    pairs = workload.generated_pairs(1000)
    assert pairs == workload.generated_pairs(1000) and len(pairs) == 1000
    assert len({query for query, _ in pairs}) == 10
    plan = reranker.backend.plan(pairs)
    lengths = sorted(
        size for batch in plan.batches for size in batch.inputs.sizes[:, reranker.backend.encoder.passage_at].tolist()
    )
    assert np.mean(lengths) == pytest.approx(85, abs=4), "85.2 in BM25's top 100 of TREC DL 2019"
    assert lengths[500] == pytest.approx(75, abs=4) and lengths[0] >= 19 and lengths[-1] <= 258


BACKENDS = [("torch", "float32"), ("sentence-transformers", "float32"), ("onnx", "float32"), ("openvino", "int8")]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_every_backend_is_timed_without_a_bit_of_a_score_changed(tiny, backend, dtype):
    pairs = workload.generated_pairs(50)
    with pyserini_rerank.load(tiny, backend=backend, dtype=dtype) as reranker:
        scores, seconds = throughput.timed(reranker, pairs)
        assert np.array_equal(scores, reranker.predict(pairs))
        # The stages may overlap, but nothing else takes long.
        assert max(seconds["tokenize"], seconds["forward"]) <= seconds["score"]
        assert seconds["score"] <= seconds["tokenize"] + seconds["forward"] + 0.1
        figures = throughput.measure(reranker, pairs, 1)
    assert figures["pairs"] == 50 and figures["pairs_per_second"] > 0
    counted = {"gflops", "peak_gflops", "peak_share"} <= figures.keys()
    assert counted == (backend != "sentence-transformers"), "whose padding is not known"


@pytest.mark.slow
def test_what_is_padded_and_cut(tiny):
    pairs = [("flea", "berlin " * length) for length in (5, 5, 9, 40)]
    with pyserini_rerank.load(tiny, backend="onnx", batch_tokens=10000, max_length=20) as reranker:
        [batch] = reranker.backend.plan(pairs).batches
        lengths = batch.inputs.lengths.tolist()
        figures = throughput.measure(reranker, pairs[1:], 1)
    assert sorted(lengths) == [9, 9, 13, 20]
    assert figures["cut_share"] == 1 / 3 and figures["tokens_per_pair"] == (9 + 13 + 20) / 3
    assert figures["padding_share"] == pytest.approx(1 - (9 + 13 + 20) / 60)


@pytest.mark.stress
def test_the_command_compares_with_sentence_transformers(tiny, tmp_path, monkeypatch, capsys):
    file = tmp_path / "figures.json"
    words = ["--model", tiny, "--device", "cpu", "--count", 120, "--rounds", 2, *PEER, "--json", file]
    assert bench(monkeypatch, *words) == 0
    figures = json.loads(file.read_text())
    assert figures["pairs"] == 120 and figures["largest_difference"] < 1e-4 and figures["top10_overlap"] == 1
    assert len(figures["ratios"]) == 2 and figures["ratio"] > 0 and 0 <= figures["padding_share"] < 0.5
    assert figures["peak_share"] == pytest.approx(figures["gflops"] / figures["peak_gflops"])
    assert figures["model"] == str(tiny) and figures["device"].startswith("cpu: ") and figures["peak_memory"] > 2**20
    peer = figures["peer"]
    assert (peer["backend"], peer["dtype"], peer["batch"]) == ("torch", "float32", 32), "as a user gets it"
    assert peer["versions"]["torch"] == version("torch")
    shown = capsys.readouterr().out
    assert f"{figures['ratio']:.2f} x" in shown and f"{figures['pairs_per_second']:,.1f}" in shown


@pytest.mark.stress
def test_a_run_beside_a_peer_of_another_dtype_in_another_python(experiment, tmp_path, monkeypatch, capsys):
    model, file = experiment / "cross-encoder/ms-marco-TinyBERT-L-2-v2", tmp_path / "figures.json"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    words = ["--model", model, *files(experiment), "--rounds", 1, "--json", file]
    how = ["--against-dtype", "bfloat16", "--against-batch", 8, "--against-python", python]
    assert bench(monkeypatch, *words, *PEER, *how) == 0
    assert (tmp_path / "used").exists()
    figures = json.loads(file.read_text())
    capsys.readouterr()
    assert figures["ndcg"] == pytest.approx(measured(monkeypatch, capsys, experiment, model)["run"])
    assert figures["pairs"] == 60 and all(figures[f"seconds_{stage}"] > 0 for stage in ("first_stage", "fetch"))
    # Its dtype is its own: what it gives is what the library gives, asked directly.
    assert (figures["peer"]["dtype"], figures["peer"]["batch"]) == ("bfloat16", 8)
    topics = dict(line.split("\t") for line in (experiment / "topics.tsv").read_text().splitlines())
    texts = {one["id"]: one["contents"] for one in map(json.loads, (experiment / "docs.jsonl").open())}
    hits = [line.split()[::2][:2] for line in (experiment / "first.run").open()]
    pairs = [(topics[qid], texts[docid]) for qid, docid in hits]
    theirs = CrossEncoder(str(model), device="cpu", model_kwargs={"dtype": torch.bfloat16}).predict(
        pairs, batch_size=8, activation_fn=torch.nn.Identity()
    )
    with pyserini_rerank.load(model, device="cpu") as reranker:
        difference = np.abs(reranker.predict(pairs) - theirs).max()
    assert figures["largest_difference"] == pytest.approx(difference, rel=1e-3) and difference > 1e-4


@pytest.mark.slow
def test_pairs_of_a_file(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.tsv").write_text("".join(f"a query\tpassage {i // 2}\n" for i in range(14)))
    words = ["--model", tiny, "--device", "cpu", "--rounds", 1, "--pairs"]
    assert bench(monkeypatch, *words, tmp_path / "pairs.tsv", "--count", 5) == 0
    assert "(3 pairs)" in capsys.readouterr().out, "equal ones once"
    (tmp_path / "pairs.jsonl").write_text('{"query": "flea", "passage": "berlin"}\n{"query": "flea"}\n')
    assert bench(monkeypatch, *words, tmp_path / "pairs.jsonl", "--count", 1) == 0
    assert "(1 pairs)" in capsys.readouterr().out
    assert bench(monkeypatch, *words, tmp_path / "pairs.jsonl") == 1
    assert "pairs.jsonl, line 2: is no pair" in capsys.readouterr().err
    (tmp_path / "pairs.tsv").write_text("a query\ta passage\nno tab\n")
    assert bench(monkeypatch, *words, tmp_path / "pairs.tsv") == 1
    assert "pairs.tsv, line 2: is no pair" in capsys.readouterr().err
    (tmp_path / "pairs.tsv").write_text("")
    assert bench(monkeypatch, *words, tmp_path / "pairs.tsv") == 1
    assert "pairs.tsv is empty" in capsys.readouterr().err


@pytest.mark.stress
def test_a_peer_has_our_threads_and_one_score_a_pair(tiny, tmp_path):
    threads = torch.get_num_threads() + 1
    pairs = [("flea", "cat"), ("flea", "dog")]
    with pyserini_rerank.load(tiny, device="cpu", threads=threads) as ours, Peer(ours.backend, pairs) as peer:
        environment = Path(f"/proc/{peer._process.pid}/environ")
        if environment.exists():
            assert f"OMP_NUM_THREADS={threads}" in environment.read_text().split("\0")
        np.testing.assert_allclose(peer.score()[0], ours.predict(pairs), rtol=0, atol=1e-4)
    built = build("nboost/pt-tinybert-msmarco", tmp_path)
    folder = built.rename(tmp_path / "with two labels")  # is none of the catalogue
    refused = pytest.raises(ValueError, match="gives 2 scores a pair: compare a checkpoint with one label")
    with pyserini_rerank.load(folder, device="cpu", head="margin") as ours, Peer(ours.backend, pairs) as peer, refused:
        peer.score()


@pytest.mark.slow
def test_what_it_cannot_compare(tmp_path, tiny, monkeypatch, capsys):
    words = ["--model", tiny, "--device", "cpu", "--count", 5]
    margin = build("nboost/pt-tinybert-msmarco", tmp_path)
    wrong = {
        "--against nothing: the only peer is sentence-transformers": [*words, "--against", "nothing"],
        "otherwise than its authors do": ["--model", margin, "--device", "cpu", "--count", 5, *PEER],
        "--against-dtype is for --against": [*words, "--against-dtype", "bfloat16"],
        "--against-dtype float8: torch has": [*words, *PEER, "--against-dtype", "float8"],
        "--against-backend jax: choose one of": [*words, *PEER, "--against-backend", "jax"],
        "combines rerankers": ["--model", f"[[{tiny}, 5]]", "--device", "cpu", "--count", 5],
        "No module named 'torch'": [*words, *PEER, "--against-python", _bare(tmp_path)],
        "ended with exit code 1": [*words, *PEER, "--against-python", "/bin/false"],
        "nowhere: No such file or directory": [*words, *PEER, "--against-python", tmp_path / "nowhere"],
    }
    for message, some in wrong.items():
        assert bench(monkeypatch, *some) == 1
        assert message in (said := capsys.readouterr().err) and said.count("\n") == 1, said


def _bare(folder: Path) -> Path:
    """A Python without site-packages."""
    python = folder / "bare"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.slow
def test_a_sweep_over_checkpoints_and_dtypes_on_a_run(experiment, tmp_path, monkeypatch, capsys):
    model = experiment / "cross-encoder/ms-marco-TinyBERT-L-2-v2"
    cascade = f"[[{{model: {model}, max_length: 16}}, 10], [{model}, 4]]"
    words = [*files(experiment), "--sweep", "--rounds", 2, "--model", model, "--model", cascade]
    to = ["--json", tmp_path / "figures.json", "--plot", tmp_path / "plot.png"]
    to += ["--measure", "nDCG@10", "--measure", "P@3"]
    assert bench(monkeypatch, *words, "--dtype", "float32", "--dtype", "bfloat16", *to) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    rows = figures["rows"]
    assert [row["pairs"] for row in rows] == [0, 12, 12, 10, 4, 14, 10, 4, 14]
    assert rows[2]["name"] == f"{model}, dtype=bfloat16" and figures["rerankers"][1]["dtype"] == "bfloat16"
    assert all(row["milliseconds"] > 0 and row["pairs_per_second"] > 0 for row in rows[1:])
    shown = capsys.readouterr().out
    assert all(f"{mean:.4f}" in shown for row in rows for mean in row["means"].values()) and "P@3" in shown
    assert (tmp_path / "plot.png").stat().st_size > 5000
    # Each point is numbered in the plot, which fits a terminal.
    drawn = shown[shown.index("┌") :]
    assert all(str(number) in drawn for number in range(1, 9)) and max(map(len, drawn.splitlines())) <= 80
    for row, name in ((rows[1], model), (rows[5], cascade)):
        ndcg = measured(monkeypatch, capsys, experiment, name)
        assert row["means"]["nDCG@10"] == pytest.approx(ndcg["run"])
        assert rows[0]["means"]["nDCG@10"] == pytest.approx(ndcg["baseline"])


@pytest.mark.slow
def test_a_part_of_the_judged_queries_has_the_same_figure_everywhere(experiment, tmp_path, monkeypatch, capsys):
    """The run has two of the five judged queries, and one that nobody judged; all its scores are equal."""
    for name in ("topics.tsv", "docs.jsonl", "qrels.txt", "first.run"):
        (tmp_path / name).write_text((experiment / name).read_text())
    lines = [line.split() for line in (experiment / "first.run").read_text().splitlines()]
    some = [" ".join([*line[:4], "1.5", "x"]) for line in lines if line[0] in ("q0", "q1", "q3")]
    (tmp_path / "first.run").write_text("\n".join(some) + "\n")
    judged = [line for line in (experiment / "qrels.txt").read_text().splitlines() if not line.startswith("q3 ")]
    (tmp_path / "qrels.txt").write_text("\n".join(judged) + "\n")
    model = experiment / "cross-encoder/ms-marco-TinyBERT-L-2-v2"
    words = ["--model", model, *files(tmp_path), "--rounds", 1, "--json", tmp_path / "figures.json"]
    said = "2 queries are evaluated: the run lacks 2 of the 4 judged queries, and 1 of its queries are not judged."
    found = {}
    for mode in ([], ["--sweep"]):
        assert bench(monkeypatch, *words, *mode) == 0
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert [figures[name] for name in ("queries", "lacking", "unjudged")] == [2, 2, 1]
        assert said in capsys.readouterr().out.replace("\n", " ")
        found[bool(mode)] = figures
    ndcg = measured(monkeypatch, capsys, tmp_path, model)
    assert found[False]["ndcg"] == found[True]["rows"][1]["means"]["nDCG@10"] == pytest.approx(ndcg["run"])
    assert found[True]["rows"][0]["means"]["nDCG@10"] == pytest.approx(ndcg["baseline"]) != 0
    report = json.loads((tmp_path / "out.run.json").read_text())["evaluation"]
    assert [report[name] for name in ("queries", "lacking", "unjudged")] == [2, 2, 1]


def test_what_a_run_and_a_sweep_need(tiny, experiment, tmp_path, monkeypatch, capsys):
    one = ["--model", tiny]
    wrong = {
        "name the run's --topics, and its texts": [*one, "--run", tmp_path / "first.run"],
        "--qrels is for a --run": [*one, "--qrels", "x"],
        "--pairs is for pairs, and --run names a run": [*one, *files(experiment), "--pairs", "x"],
        "--sweep compares rerankers on a --run": [*one, "--sweep"],
        "leave --against out": [*one, *files(experiment), "--sweep", *PEER],
        "--plot draws the results of --sweep": [*one, "--plot", "x.png"],
        "--measure is for --sweep: add it.": [*one, "--measure", "P@3"],
        "one model is timed": [*one, *one],
        "one dtype is timed": [*one, "--dtype", "float32", "--dtype", "bfloat16"],
    }
    for message, words in wrong.items():
        assert bench(monkeypatch, *words) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "topics.tsv").write_text("other\ta query\n")
    words = [*one, *files(experiment)]
    words[words.index("--topics") + 1] = tmp_path / "topics.tsv"
    assert bench(monkeypatch, *words) == 1
    assert "no query of the run is among the topics and the judgements" in capsys.readouterr().err


def test_a_plot_in_the_terminal():
    rows = plots.quality_as_text([plots.Point("fast", 1000, 0.4), plots.Point("slow", 10, 0.7)], "nDCG@10").splitlines()
    inside = [row.partition("┤")[2] or row.partition("│")[2] for row in rows]
    (slow, left), (fast, right) = (
        next((i, row.index(number)) for i, row in enumerate(inside) if number in row and "─" not in row)
        for number in "12"
    )
    assert slow < fast and left < right, "the slower one is left of the other, the better one above"


def test_overlap():
    scores = np.array([3, 2, 1, 3, 2, 1], dtype=np.float32)
    others = np.array([3, 1, 2, 3, 2, 1], dtype=np.float32)
    assert throughput.overlap(list("aaabbb"), scores, others, k=2) == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.parametrize("rate", [1e9, 1e10, 1e12])
def test_a_slow_product_is_not_waited_for(monkeypatch, rate):
    """Without VNNI int8's took half a minute each."""
    sides, clock = [], [0.0]

    def multiply(left, right):
        sides.append(len(left))
        clock[0] += 2 * len(left) ** 3 / rate
        return left

    monkeypatch.setattr(torch, "_int_mm", multiply)
    monkeypatch.setattr(arithmetic.time, "perf_counter", lambda: clock[0])
    assert arithmetic.peak(torch.device("cpu"), torch.int8) == pytest.approx(rate)
    assert clock[0] <= arithmetic.TIME_LIMIT
    assert sides[:3] == [256] * 3 and len(sides) == {1e9: 3, 1e10: 3 + 1, 1e12: 3 + 8}[rate]


@pytest.mark.slow
def test_without_the_module_that_tells_the_memory(tiny, tmp_path, monkeypatch, capsys):
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "resource", None)
    words = ["--model", tiny, "--device", "cpu", "--rounds", 1, "--count", 20, "--json", tmp_path / "figures.json"]
    assert bench(monkeypatch, *words, "--option", "threads=3") == 0
    shown = capsys.readouterr().out
    assert "memory" not in shown and "pairs a second" in shown
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert "peak_memory" not in figures and figures["device"].endswith(", 3 threads")
