"""`pyserini-rerank reproduce`: what it lists, runs, leaves alone and reports."""

import gzip
import hashlib
import json
import os
import re
import shlex
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyserini_rerank.cli.main import main
from pyserini_rerank.experiments import report
from pyserini_rerank.experiments.conditions import Collection, Condition, load_conditions, select
from pyserini_rerank.experiments.matrix import Cell
from pyserini_rerank.runs import input_states
from pyserini_rerank.runs.evaluation import per_query, read_run
from pyserini_rerank.runs.topics import load_qrels
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.scoring.checkpoints.catalogue import catalogue, of_the_card
from tiny_checkpoints import build

DL19 = Path(__file__).parents[3] / "shared" / "data" / "dl19"
MODELS = ["cross-encoder/ms-marco-TinyBERT-L-2-v2", "nboost/pt-tinybert-msmarco"]
TEXTS = {
    "d1": "Berlin had a population of 3,520,031 registered inhabitants.",
    "d2": "Berlin is well known for its museums.",
    "d3": "The life cycle of the flea can last anywhere from two weeks to eight months.",
    "d4": "A flea market in Berlin.",
}
TOPICS = {"1": "how many people live in berlin", "2": "how long is the life cycle of a flea", "3": "not judged"}


@pytest.fixture
def reproduce(monkeypatch, capsys):
    """Run the command: exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return partial(run, "reproduce")


@pytest.fixture
def served(tmp_path):
    """A folder, and its address on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def small(tmp_path, served):
    """A test set with a run at hand and official candidates to fetch; two checkpoints."""
    folder, address = served
    official = "".join(f"{q}\t{d}\t{TOPICS[q]}\t{TEXTS[d]}\n" for d in TEXTS for q in TOPICS)
    (folder / "top.tsv.gz").write_bytes(gzip.compress(official.encode()))
    md5 = hashlib.md5((folder / "top.tsv.gz").read_bytes()).hexdigest()
    (tmp_path / "docs.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in TEXTS.items()))
    (tmp_path / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in TOPICS.items()))
    (tmp_path / "first.run").write_text("".join(f"{q} Q0 d{d} {d} {9 - d} bm25\n" for q in "12" for d in range(1, 5)))
    (tmp_path / "qrels").write_text("1 0 d1 3\n1 0 d2 1\n2 0 d3 2\n2 0 d1 0\n")
    (tmp_path / "conditions.yaml").write_text(f"""
docs:
  collection: docs.tsv
  test_sets:
    small:
      {{topics: topics.tsv, qrels: qrels, level: 2, card: dl19, official: {{url: {address}/top.tsv.gz, md5: {md5}}}}}
  first_stages:
    at-hand: {{run: first.run, published: {{small: 0.5}}}}
""")
    models = [build(name, tmp_path) for name in MODELS]
    words = ["--conditions", tmp_path / "conditions.yaml", "--test-set", "small", "--output", tmp_path / "runs"]
    words += ["--files", tmp_path / "files", "--device", "cpu"]
    return words + [word for model in models for word in ("--model", model)], models


def test_by_default_it_is_the_cards_table(reproduce, tmp_path):
    code, shown, _ = reproduce("--list", "--json", "--output", tmp_path)
    rows = json.loads(shown)
    assert code == 0 and len(rows) == 30
    assert {(row["test_set"], row["first_stage"], row["measure"]) for row in rows} == {
        ("dl19-passage", "official", "nDCG@10"),
        ("msmarco-passage-dev-subset", "official", "RR@10"),
    }
    for row in rows:
        card = catalogue()[row["checkpoint"]].published
        assert row["published"] == pytest.approx(card["dl19" if row["test_set"] == "dl19-passage" else "dev"] / 100)
        assert row["docs_per_second_published"] == card["docs_per_second"]
        assert row["measured"] is None and row["docs_per_second"] is None and row["state"] == "missing"
    _, table, _ = reproduce("--list", "--output", tmp_path)
    assert all(name in table for name in of_the_card())


def test_a_checkpoint_without_published_figures_has_a_row(reproduce, tmp_path):
    code, shown, _ = reproduce("--list", "--json", "--output", tmp_path, "--model", "BAAI/bge-reranker-base")
    rows = json.loads(shown)
    assert code == 0 and len(rows) == 2
    assert all(row["published"] is None and row["docs_per_second_published"] is None for row in rows)


def test_the_conditions_are_in_pyserinis_catalogue():
    """Every index, topic set and set of qrels that they name is one that the installed Pyserini knows."""
    from pyserini import prebuilt_index_info as known
    from pyserini.search._base import qrels_mapping, topics_mapping

    indexes = {**known.TF_INDEX_INFO, **known.IMPACT_INDEX_INFO, **known.LUCENE_HNSW_INDEX_INFO}
    collections = load_conditions()
    assert len(collections) > 40
    for collection in collections:
        assert collection.texts in known.TF_INDEX_INFO
        for name, facts in collection.test_sets.items():
            assert name in topics_mapping and facts.get("qrels", name) in qrels_mapping
        for stage in collection.first_stages.values():
            words = shlex.split(stage["search"])
            assert words[words.index("--index") + 1] in indexes
            assert stage["published"].keys() == collection.test_sets.keys()


def test_the_commands_can_be_pasted(reproduce):
    words = ["--test-set", "dl20-passage", "--first-stage", "official", "--first-stage", "bm25", "--model", MODELS[0]]
    code, shown, _ = reproduce("--commands", *words, "--depth", "100")
    assert code == 0
    commands = [shlex.split(line) for line in shown.splitlines() if not line.startswith("#")]
    fetch, official, search, rerank = commands
    assert [command[:2] for command in (official, search, rerank)] == [
        ["pyserini-rerank", kind] for kind in ("rerank", "search", "rerank")
    ]
    assert "-1000." in official[official.index("--output") + 1], "all of them are reranked"
    assert "--only-judged" in official and official[official.index("--run") + 1].endswith("2020-top1000.tsv.gz")
    assert fetch[0] == "curl" and fetch[-2] == official[official.index("--run") + 1]
    assert fetch[-1].startswith("https://msmarco.z22.web.core.windows.net/")
    text = shlex.join(search)
    assert "search lucene --index msmarco-v1-passage --bm25 --k1 0.9 --b 0.4" in text
    assert "--topics dl20-passage --hits 100" in text
    assert search[search.index("--output") + 1] == rerank[rerank.index("--run") + 1]
    assert "--index msmarco-v1-passage --qrels dl20-passage --level 2" in shlex.join(rerank)


@pytest.mark.slow
def test_it_runs_what_is_missing_and_reports(small, reproduce, tmp_path, monkeypatch):
    words, models = small
    code, shown, said = reproduce(*words, "--first-stage", "official", "--first-stage", "at-hand", "--json")
    assert code == 0, said
    assert "4 of 4 runs are there." in said
    rows = json.loads(shown)
    assert [(row["checkpoint"], row["first_stage"]) for row in rows] == [
        (str(model), stage) for stage in ("official", "at-hand") for model in models
    ]
    qrels = load_qrels(str(tmp_path / "qrels"))
    for row in rows:
        (run,) = (tmp_path / "runs").glob(f"small.{row['first_stage']}-*{row['checkpoint'].split('/')[-1]}.run")
        values = per_query(read_run(run), qrels)["nDCG@10"]
        assert row["measured"] == pytest.approx(sum(values.values()) / 2)
        assert row["pairs"] == 8, "the query that is not judged is left out"
        assert row["docs_per_second"] > 0 and row["device"].startswith("cpu: ") and row["dtype"] == "float32"
        assert row["queries"] == 2 and "torch " in row["versions"]
    assert rows[0]["first_stage_measured"] is None, "the official candidates have no order"
    # The first query's documents are in their best order, the second's only relevant one is third.
    assert rows[2]["first_stage_measured"] == pytest.approx((1 + 0.5) / 2)
    # The same texts in both: the same figures, though one comes from the lines and the other from the collection.
    assert [row["measured"] for row in rows[:2]] == [row["measured"] for row in rows[2:]]

    markdown = (tmp_path / "runs" / "report.md").read_text()
    page = (tmp_path / "runs" / "report.html").read_text()
    for row in rows:
        assert f"{row['measured']:.4f}" in markdown and f"<td>{row['measured']:.4f}</td>" in page
    assert page.count("<svg") == 2 and (tmp_path / "runs" / "quality.small.official-1000.svg").exists()

    # What is there is not run again, nor fetched.
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.run*")}
    code, again, _ = reproduce(*words, "--first-stage", "official", "--first-stage", "at-hand", "--json")
    assert code == 0 and json.loads(again) == rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.run*")} == before


def test_further_measures_are_reported_of_runs_that_are_there_as_well(small, reproduce, tmp_path):
    words, _ = small
    code, shown, said = reproduce(*words, "--first-stage", "at-hand", "--json")
    assert code == 0, said
    assert all(row["measures"] == {} for row in json.loads(shown))
    code, shown, said = reproduce(*words, "--first-stage", "at-hand", "--json", "--measure", "P@1", "--measure", "map")
    assert code == 0 and "pyserini-rerank rerank" not in said, "nothing is run again"
    for row in json.loads(shown):
        run = {
            qid: list(hits)
            for qid, hits in read_run(next((tmp_path / "runs").glob(f"*{Path(row['checkpoint']).name}*.run")))
        }
        relevant = {"1": "d1", "2": "d3"}
        assert row["measures"]["P(rel=2)@1"] == sum(run[qid][0] == docid for qid, docid in relevant.items()) / 2
        assert row["measures"]["AP(rel=2)"] == pytest.approx(
            sum(1 / (1 + run[qid].index(docid)) for qid, docid in relevant.items()) / 2
        )
    assert "<th>P(rel=2)@1</th>" in (tmp_path / "runs" / "report.html").read_text().replace(' class="name"', "")
    _, shown, _ = reproduce(*words, "--first-stage", "at-hand", "--commands", "--measure", "P@1")
    assert "--measure nDCG@10 --measure P@1" in shown
    code, _, said = reproduce(*words, "--measure", "P@0")
    assert code == 1 and "the measure P@0 cannot be computed: cutoff is 0" in said


def test_a_run_that_was_changed_has_no_figures(small, reproduce, tmp_path):
    words, _ = small
    words = [*words[:-2], "--first-stage", "at-hand"]
    assert reproduce(*words)[0] == 0
    (run,) = (tmp_path / "runs").glob("*.run")
    run.write_text(run.read_text().replace("d1", "d9"))
    code, _, said = reproduce(*words)
    assert code == 1 and f"{run} exists: pass --overwrite" in said and "0 of 1 runs are there." in said
    line = next(line for line in (tmp_path / "runs" / "report.md").read_text().splitlines() if MODELS[0] in line)
    assert "| nDCG@10 | 0.5000 |  |  |  |  |" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "one", "other", "said"),
    [
        ("qrels", "1 0 d2 1", "1 0 d2 2", "qrels"),
        ("docs.tsv", "museums", "markets", "texts"),
        ("topics.tsv", "flea", "cats", "topics"),
        ("first.run", " 8 bm25", " 7 bm25", "run"),
        ("conditions.yaml", "level: 2", "level: 1", "level"),
        ("cross-encoder/ms-marco-TinyBERT-L-2-v2/config.json", "}", " }", "model"),
    ],
)
def test_a_run_of_other_inputs_has_no_figures_and_is_not_replaced(
    small, reproduce, tmp_path, name, one, other, said, monkeypatch
):
    """What was only touched counts as it did."""
    words = [*small[0][:-2], "--first-stage", "at-hand"]
    assert reproduce(*words)[0] == 0
    for path in tmp_path.rglob("*"):
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(TorchBackend, "run", None)
    code, _, shown = reproduce(*words)
    assert code == 0 and "1 of 1 runs are there." in shown
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace(one, other))
    assert (tmp_path / name).read_text() != text
    code, _, shown = reproduce(*words)
    assert code == 1 and "0 of 1 runs are there." in shown
    [line] = [line for line in shown.splitlines() if line.startswith("not run: ")]
    assert re.search(rf"\.run was made with another {said}: delete it to run it again", line)
    (tmp_path / name).write_text(text)
    code, _, shown = reproduce(*words)
    assert code == 0 and "1 of 1 runs are there." in shown
    (tmp_path / name).rename(tmp_path / "elsewhere")
    if name in ("docs.tsv", "first.run"):
        assert "1 of 1 runs are there." in reproduce(*words)[2], "what is not here cannot tell"


def test_a_first_stage_of_another_search_is_refused(small, reproduce, tmp_path):
    """The run is there, under the name that other conditions give it."""
    words = [*small[0][:-2], "--first-stage", "searched"]
    conditions = tmp_path / "conditions.yaml"
    stage = "    searched: {search: lucene --index nowhere --bm25 --k1 0.9 --b 0.4}\n"
    conditions.write_text(conditions.read_text() + stage)
    run = tmp_path / "runs" / "small.searched-1000.run"
    run.parent.mkdir()
    run.write_text((tmp_path / "first.run").read_text())
    arguments = ["--index", "nowhere", "--bm25", "--k1", "0.9", "--b", "0.4", "--topics", str(tmp_path / "topics.tsv")]
    arguments = ["lucene", *arguments, "--hits", "1000", "--output", str(run)]
    topics = input_states.of_words(arguments)
    assert list(topics) == [str(tmp_path / "topics.tsv")]
    settings = {"search": "lucene", "arguments": arguments[1:], "inputs": topics}
    Path(f"{run}.json").write_text(json.dumps({"settings": settings}))
    assert reproduce(*words)[0] == 0
    report = Path(f"{run}.json").read_text()
    for damaged in ("{", "[]", "{}"):
        Path(f"{run}.json").write_text(damaged)
        code, _, said = reproduce(*words)
        assert code == 1 and f"{run}.json is no report on small.searched-1000.run: move both away." in said
    Path(f"{run}.json").write_text(report)
    conditions.write_text(conditions.read_text().replace("0.4", "0.5"))
    code, _, said = reproduce(*words)
    assert code == 1 and f"{run} was made by another search" in said, "what was reranked of it, too"
    conditions.write_text(conditions.read_text().replace("0.5}", "0.4}"))
    for path in (tmp_path / "runs").glob("*TinyBERT*"):
        path.unlink()
    (tmp_path / "topics.tsv").write_text("1\tother\n2\ttopics\n")
    code, _, said = reproduce(*words)
    assert code == 1 and f"{run} was made with other topics, or of another index: delete it" in said
    conditions.write_text(conditions.read_text().replace("0.4", "0.5"))
    code, _, said = reproduce(*words)
    assert code == 1 and f"{run} was made by another search: delete it to search again" in said


@pytest.mark.parametrize("named", ["", "relative", None])
def test_the_official_files_are_in_the_users_cache(reproduce, tmp_path, monkeypatch, named):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache") if named is None else named)
    folder = tmp_path / "cache" if named is None else tmp_path / "home" / ".cache"
    _, shown, _ = reproduce("--commands", "--model", MODELS[0])
    assert f"--output {folder}/pyserini-rerank/official/msmarco-passagetest2019-top1000.tsv.gz" in shown


def test_one_that_cannot_be_run_does_not_keep_the_others(small, reproduce, tmp_path, served):
    words, _ = small
    folder, address = served
    (folder / "top.tsv.gz").unlink()
    words += ["--model", tmp_path / "nowhere", "--first-stage", "official", "--first-stage", "at-hand"]
    code, _, said = reproduce(*words)
    assert code == 1 and "2 of 6 runs are there." in said
    failures = [line for line in said.splitlines() if line.startswith("not run: ")]
    assert len(failures) == 2
    assert re.match(
        rf"not run: small.official-1000: {address}/top.tsv.gz cannot be fetched \(404 .*: save the", failures[0]
    )
    assert "nowhere is not there" in failures[1]
    rows = [line for line in (tmp_path / "runs" / "report.md").read_text().splitlines() if "nowhere" in line]
    assert len(rows) == 2 and all("|  |  |  |  |" in row for row in rows), "a cell that was not run is empty"


@pytest.mark.slow
def test_ctrl_c_ends_it_and_the_report_says_how_far_it_got(small, reproduce, tmp_path, monkeypatch):
    words, _ = small
    plain, ran = TorchBackend.run, []

    def run(self, batch):
        ran.append(batch)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return plain(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TorchBackend, "run", run)
        code, _, said = reproduce(*words, "--first-stage", "at-hand", "--first-stage", "official")
    assert code == 130 and said.splitlines()[-1].startswith("pyserini-rerank: interrupted; the same command goes on")
    assert len(ran) == 2, "it does not go on with the next"
    rows = [line for line in (tmp_path / "runs" / "report.md").read_text().splitlines() if "| at-hand, 1000" in line]
    assert ["|  |  |  |  |" in row for row in rows] == [False, True, False]  # the last says how the first was run
    code, _, said = reproduce(*words, "--first-stage", "at-hand", "--first-stage", "official")
    assert code == 0 and "4 of 4 runs are there." in said


def test_another_file_than_the_official_one_is_refused(small, reproduce, served, tmp_path):
    words, _ = small
    (served[0] / "top.tsv.gz").write_bytes(gzip.compress(b"1\td1\tquery\ttext\n"))
    code, _, said = reproduce(*words)
    assert code == 1 and "not run: small.official-1000: " in said and "hash" in said.lower()
    assert not list((tmp_path / "files").glob("*"))


def test_another_file_at_hand_is_left_alone(small, reproduce, served, tmp_path):
    words, _ = small
    mine = tmp_path / "files" / "top.tsv.gz"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    code, _, said = reproduce(*words)
    assert code == 1 and f"{mine} is not the official file (its MD5 sum is" in said
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--test-set", "dl99"], "there is no test set 'dl99': there are dl19-passage, dl20-passage"),
        (["--test-set", "dl21"], "dl21 has no first stage 'official': there are bm25."),
        (["--conditions", "/no/such.yaml"], "/no/such.yaml: No such file"),
    ],
)
def test_what_is_not_there_is_named(reproduce, words, said):
    code, _, error = reproduce("--list", *words)
    assert code == 1 and said in error and len(error.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        *("- a list", "docs: {no_such: field}", "docs: [", "docs: 3", "", "[" * 3000),
        *("docs: {test_sets: , first_stages: {}}", "docs: {test_sets: {t: 3}, first_stages: {}}"),
        *(
            "docs: {test_sets: {}, first_stages: {f: {search: [a]}}}",
            'd: {test_sets: {}, first_stages: {f: {search: a "b}}}',
        ),
    ],
    ids=lambda text: text[:60],
)
def test_bad_conditions_are_named(reproduce, tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    code, _, error = reproduce("--list", "--conditions", tmp_path / "bad.yaml")
    assert code == 1 and "bad.yaml does not read as conditions (" in error and len(error.splitlines()) == 1


@pytest.mark.skipif(not DL19.is_dir(), reason=f"the data are not in {DL19}")
@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        # By sentence-transformers and ir-measures, on the same passages.
        (5, 0.5349),
        pytest.param(10, 0.5514, marks=pytest.mark.stress),
        pytest.param(100, 0.7216, marks=pytest.mark.stress),
    ],
)
def test_dl19(reproduce, tmp_path, depth, expected):
    """TREC DL 2019: the best of the passages that BM25 found for the 43 queries, with the bundled checkpoint."""
    found = json.loads(gzip.decompress((DL19 / "bm25-top100.json.gz").read_bytes()))
    hits = [hit for query in found for hit in query["hits"]]
    assert len(found) == 43 and len(hits) == 4300
    lines = (f"{hit['qid']} Q0 {hit['docid']} {hit['rank']} {hit['score']} bm25\n" for hit in hits)
    (tmp_path / "bm25.run").write_text("".join(lines))
    passages = {hit["docid"]: hit["content"] for hit in hits}
    (tmp_path / "passages.jsonl").write_text(
        "".join(json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in passages.items())
    )
    (tmp_path / "conditions.yaml").write_text(f"""
passages:
  collection: passages.jsonl
  test_sets: {{dl19: {{topics: {DL19 / "topics.tsv"}, qrels: {DL19 / "qrels.txt"}, level: 2}}}}
  first_stages: {{bm25: {{run: bm25.run, published: {{dl19: 0.5058}}}}}}
""")
    words = ["--conditions", tmp_path / "conditions.yaml", "--test-set", "dl19", "--first-stage", "bm25"]
    words += ["--model", "bundled", "--depth", depth, "--device", "cpu", "--output", tmp_path, "--json"]
    code, shown, said = reproduce(*words)
    assert code == 0, said
    (row,) = json.loads(shown)
    print(f"DL19 nDCG@10: BM25 {row['first_stage_measured']:.4f}, its top {depth} reranked {row['measured']:.4f}")
    assert row["first_stage_measured"] == pytest.approx(0.5058, abs=5e-5)
    assert row["measured"] == pytest.approx(expected, abs=5e-4)
    assert row["pairs"] == 43 * depth and row["queries"] == 43


def test_names_and_numbers_are_yamls_of_today(tmp_path):
    text = "docs: {test_sets: {2019: {}, no: }, first_stages: {f: {run: x, published: {2019: 5e-1}}}}"
    (tmp_path / "c.yaml").write_text(text)
    chosen = select(load_conditions(tmp_path / "c.yaml"), ["2019", "no"], ["f"], 10)
    assert [one.published_first_stage() for one in chosen] == [0.5, None]
    with pytest.raises(ValueError, match="there is no test set '2020': there are 2019, no."):
        select(load_conditions(tmp_path / "c.yaml"), ["2020"], ["f"], 10)


def test_topics_elsewhere_make_no_hidden_files():
    collection = Collection({}, {"bm25": {}})
    names = ["../topics.tsv", "../../topics.tsv", "./topics.tsv", ".topics.tsv", "sets/mine.tsv", "dl19-passage"]
    made = [Condition(name, "bm25", 10, collection).name.removesuffix(".bm25-10") for name in names]
    assert made == ["up_topics.tsv", "up_up_topics.tsv", "topics.tsv", "_.topics.tsv", "sets_mine.tsv", "dl19-passage"]


def test_the_names_of_the_conditions_that_come_along_are_as_they_were():
    for collection in load_conditions():
        for test_set in collection.test_sets:
            assert Condition(test_set, "bm25", 1000, collection).name == f"{test_set}.bm25-1000"


def test_the_report_keeps_cached_checkpoints_in_its_plot_and_its_tables_short(tmp_path):
    [condition] = select(load_conditions(), ["dl19-passage"], ["official"], 1000)
    rows = [Cell(condition, name, tmp_path, tmp_path, {}).row() for name in list(catalogue())[:3]]
    for row, rate in zip(rows, (None, 100.0), strict=False):
        row |= {"measured": 0.7, "docs_per_second": rate, "state": "done", "versions": "torch 2"}
    report.write(rows, tmp_path)
    drawn = (tmp_path / "quality.dl19-passage.official-1000.svg").read_text()
    names = [row["checkpoint"].split("/")[-1] for row in rows]
    assert [name in drawn for name in names] == [True, True, False] and drawn.count("(not timed)") == 1
    tables = (tmp_path / "report.md").read_text().split("\n## ")[1:]
    headings = {table.splitlines()[0]: table.splitlines()[2].count("|") - 1 for table in tables if "| ---" in table}
    assert list(headings) == ["The model card's table", "All runs", "How they were run"]
    assert max(headings.values()) <= 11


@pytest.mark.parametrize(
    ("facts", "measure"),
    [
        ({}, "nDCG@10"),
        ({"level": 2}, "nDCG@10"),
        ({"measure": "RR@10", "level": 2}, "RR(rel=2)@10"),
        ({"measure": "AP", "level": 2}, "AP(rel=2)"),
        ({"measure": "nDCG@20", "level": 2}, "nDCG@20"),
        ({"measure": "RR(rel=3)@10", "level": 2}, "RR(rel=3)@10"),
        ({"measure": "ndcg_cut_10"}, "nDCG@10"),
    ],
)
def test_a_conditions_measure_has_the_level_where_it_takes_one(facts, measure):
    assert Condition("set", "first", 10, Collection({"set": facts}, {})).measure == measure


def test_a_measure_that_is_none_is_named():
    with pytest.raises(ValueError, match="'nDGC@10' is no measure of ir-measures"):
        _ = Condition("set", "first", 10, Collection({"set": {"measure": "nDGC@10"}}, {})).measure
