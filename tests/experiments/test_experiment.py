"""Experiments from Python: against figures that ir-measures and scipy give by hand, and against searches one by one."""

import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from collection import listed
from experiment import NAME, write_experiment
from pyserini_rerank import (
    Cascade,
    Counts,
    EmptyQueryWarning,
    Interpolation,
    Reranker,
    RerankingSearcher,
    Segments,
    SkippedDocumentWarning,
    Windows,
    experiment,
    load,
)
from pyserini_rerank.experiments.run_files import file_name
from pyserini_rerank.runs.topics import load_qrels, load_topics
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.texts.collection import CollectedDocuments
from pyserini_rerank.texts.token_writer import write
from scipy.stats import ttest_rel
from tiny_checkpoints import build

OTHER = "cross-encoder/ms-marco-MiniLM-L-2-v2"
MEASURES = ["nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "P@5"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning"),
    pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.UnknownTextWarning"),
]


@dataclass(frozen=True)
class Small:
    """An experiment of 12 topics with 15 hits each."""

    folder: Path
    one: Reranker
    other: Reranker

    @property
    def given(self) -> dict[str, Any]:
        return {
            "topics": self.folder / "topics.tsv",
            "qrels": self.folder / "qrels.txt",
            "texts": self.folder / "docs.jsonl",
            "measures": MEASURES,
            "device": "cpu",
        }

    @property
    def run(self) -> str:
        return str(self.folder / "first.run")

    def hits(self) -> dict[str, dict[str, float]]:
        run: dict[str, dict[str, float]] = {}
        for line in (self.folder / "first.run").read_text().splitlines():
            qid, _, docid, _, score, _ = line.split()
            run.setdefault(qid, {})[docid] = float(score)
        return run

    def texts(self) -> dict[str, str]:
        rows = map(json.loads, (self.folder / "docs.jsonl").read_text().splitlines())
        return {row["id"]: row["contents"] for row in rows}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = write_experiment(tmp_path_factory.mktemp("experiment"), queries=12, hits=15)
    with (
        load(folder / NAME, device="cpu") as one,
        load(build(OTHER, tmp_path_factory.mktemp("other")), device="cpu") as other,
    ):
        yield Small(folder, one, other)


def order_by(scores: Mapping[str, float]) -> dict[str, float]:
    return {docid: -float(place) for place, docid in enumerate(sorted(scores, key=lambda docid: -scores[docid]))}


def by_hand(run: Mapping[str, Mapping[str, float]], qrels: Any) -> dict[str, dict[str, float]]:
    """Each measure's value of each topic; a topic that the run lacks counts 0."""
    values = {measure: dict.fromkeys(qrels, 0.0) for measure in MEASURES}
    wanted = [ir_measures.parse_measure(measure) for measure in MEASURES]
    for found in ir_measures.iter_calc(wanted, qrels, {qid: order_by(hits) for qid, hits in run.items()}):
        values[str(found.measure)][found.query_id] = found.value
    return values


def test_against_figures_by_hand(small: Small, tmp_path: Path) -> None:
    """Three systems, four measures, Holm's correction over two comparisons, and what is written and drawn of it."""
    theirs = {qid: dict(random.Random(qid).sample(sorted(hits.items()), 10)) for qid, hits in small.hits().items()}
    del theirs["q3"]
    table = experiment(
        {"first": small.run, "reranked": (small.run, small.folder / NAME), "theirs": theirs},
        baseline="first",
        output=tmp_path / "out",
        **small.given,
    )
    qrels, texts, topics = (
        load_qrels(small.folder / "qrels.txt"),
        small.texts(),
        load_topics(small.folder / "topics.tsv"),
    )
    reranked = {
        qid: dict(zip(hits, small.one.score(topics[qid], [texts[docid] for docid in hits]).tolist(), strict=True))
        for qid, hits in small.hits().items()
    }
    expected = {
        "first": by_hand(small.hits(), qrels),
        "reranked": by_hand(reranked, qrels),
        "theirs": by_hand(theirs, qrels),
    }
    assert table.systems == ["first", "reranked", "theirs"] and table.measures == MEASURES and table.topics == 12
    for system, of_system in expected.items():
        for measure, of_measure in of_system.items():
            assert table.values[system][measure] == pytest.approx(of_measure)
    frame = table.to_pandas()
    for measure in MEASURES:
        values = {system: np.array(list(expected[system][measure].values())) for system in expected}
        p = {system: ttest_rel(values[system], values["first"]).pvalue for system in ("reranked", "theirs")}
        low, high = sorted(p, key=lambda system: p[system])
        corrected = {low: min(1, 2 * p[low]), high: max(min(1, 2 * p[low]), p[high])}
        for system in p:
            assert frame.loc[system, f"{measure} p"] == pytest.approx(corrected[system])
            assert frame.loc[system, f"{measure} wins"] == (values[system] > values["first"]).sum()
            assert frame.loc[system, f"{measure} losses"] == (values[system] < values["first"]).sum()
            assert frame.loc[system, f"{measure} ties"] == (values[system] == values["first"]).sum()
        assert frame.loc["theirs", measure] == pytest.approx(values["theirs"].mean())
    assert frame.loc["reranked", "pairs"] == 12 * 15 and frame.loc["reranked", "pairs_per_second"] > 0
    assert len(table.per_query) == 3 * 4 * 12
    for figure in (table.plot_gains("reranked"), table.plot_depth("AP(rel=2)"), table.plot_cost()):
        assert figure.axes[0].get_ylabel()
    files = {path.name for path in (tmp_path / "out").iterdir() if path.is_file() and not path.name.startswith(".")}
    assert files == {"1-first.run", "2-reranked.run", "3-theirs.run", "experiment.json", "per_query.tsv"}
    report = json.loads((tmp_path / "out" / "experiment.json").read_text())
    assert report["settings"]["systems"]["reranked"]["fingerprint"] == small.one.fingerprint
    assert report["settings"]["provenance"]["reranked"]["versions"].keys() >= {"torch", "transformers", "pyserini"}
    assert table.save(tmp_path / "saved") == tmp_path / "saved"
    assert {path.name for path in (tmp_path / "saved").iterdir()} == files


def test_the_order_that_was_returned_counts_and_not_the_docids() -> None:
    """Two tied documents with the relevant one first: every measure sees it first, whichever docid is greater."""
    for docids in ("ab", "ba"):
        hits = {"q": {docids[0]: 1.0, docids[1]: 1.0}}
        table = experiment(
            {"tied": hits}, {"q": "query"}, {"q": {docids[0]: 1}}, measures=["nDCG@10", "AP", "RR", "P@1"]
        )
        assert [table.mean("tied", measure) for measure in table.measures] == [1.0] * 4


class Counting:
    """A searcher that finds documents of its own, and counts the queries that it is asked."""

    def __init__(self, results: Mapping[str, Mapping[str, float]], topics: Mapping[str, str]) -> None:
        self.by_query = {topics[qid]: hits for qid, hits in results.items()}
        self.asked = 0

    def search(self, query: str, k: int = 10) -> list[Any]:
        self.asked += 1
        return [Hit(docid, score) for docid, score in list(self.by_query[query].items())[:k]]

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10, threads: int = 1) -> dict[str, list[Any]]:
        return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=True)}


@dataclass
class Hit:
    docid: str
    score: float


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the pairs of each batch that goes through a model."""
    rows: list[int] = []
    plain = TorchBackend.run

    def run(self: Any, batch: Any) -> Any:
        rows.append(len(batch.positions))
        return plain(self, batch)

    monkeypatch.setattr(TorchBackend, "run", run)
    return rows


def test_first_stages_texts_and_scores_are_shared(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine systems: the first stage is asked once a topic, each text read once, each pair scored once a checkpoint."""
    topics = load_topics(small.folder / "topics.tsv")
    searcher, texts, read = Counting(small.hits(), topics), small.texts(), []
    one, other = small.one, small.other
    systems: dict[str, Any] = {
        "first": searcher,
        "one": (searcher, one),
        "one again": (searcher, one, 7),
        "other": (searcher, other),
        "cascade": (searcher, Cascade([(one, 12), (other, 5)])),
        "deeper": (searcher, Cascade([(one, 12), (other, 8)])),
        "windows": (searcher, Windows(one, 400, 400)),
        "mixed": (searcher, Interpolation(one, 0.3)),
        "reranked again": RerankingSearcher(searcher, one, texts=texts),
    }
    scored = counted(monkeypatch)
    given = {**small.given, "texts": lambda docid: read.append(docid) or texts[docid]}
    del given["device"]
    table = experiment(systems, **given, baseline="first")
    assert searcher.asked == 12
    assert len(read) == 12 * 15
    # Windows are tokens, and so pairs of their own.
    assert sum(scored) <= 3 * 12 * 15 + 12 * 15
    for name in ("one", "reranked again", "windows"):
        assert table.values[name] == table.values["one"]
    assert {name: cost.pairs for name, cost in table.costs.items()} == {
        "first": 0, "one": 180, "one again": 84, "other": 180, "cascade": 12 * 17, "deeper": 12 * 20, "windows": 180,
        "mixed": 180, "reranked again": 180,
    }  # fmt: skip
    assert all(cost.seconds and cost.pairs_per_second for name, cost in table.costs.items() if name != "first")


@pytest.mark.parametrize(
    "make",
    [
        lambda one, other: one,
        lambda one, other: Cascade([(one, 12), (other, 5)]),
        lambda one, other: Windows(Cascade([(one, 12), (other, 5)]), 8, 4),
        lambda one, other: Segments(Interpolation(one, 0.6, "z"), "sum", delimiter="0"),
    ],
    ids=["a checkpoint", "a cascade", "windows of a cascade", "segments"],
)
def test_a_system_returns_what_its_search_returns(make: Any, small: Small, tmp_path: Path) -> None:
    topics = load_topics(small.folder / "topics.tsv")
    searcher, reranker = Counting(small.hits(), topics), make(small.one, small.other)
    given = {name: value for name, value in small.given.items() if name != "device"}
    experiment({"first": searcher, "system": (searcher, reranker)}, **given, depth=15, output=tmp_path)
    reranking = RerankingSearcher(searcher, reranker, depth=reranker.depth or 15, texts=small.texts())
    alone = reranking.batch_search(list(topics.values()), list(topics), k=15)
    written: dict[str, list[tuple[str, float]]] = {}
    for line in (tmp_path / file_name(2, "system")).read_text().splitlines():
        qid, _, docid, _, score, _ = line.split()
        written.setdefault(qid, []).append((docid, float(score)))
    for qid, hits in alone.items():
        assert [docid for docid, _ in written[qid]] == [docid for docid, _ in listed(hits)]
        np.testing.assert_allclose([s for _, s in written[qid]], [s for _, s in listed(hits)], atol=2e-6)


def test_interrupted_the_same_call_goes_on(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that were there are not computed again; the files have the same bytes, and the costs are the whole's."""
    systems = {
        "first": small.run,
        "one": (small.run, small.one),
        "cascade": (small.run, [(small.one, 9), (small.other, 3)]),
    }
    given = {name: value for name, value in small.given.items() if name != "device"}
    monkeypatch.setattr("pyserini_rerank.experiments.experiment.SHARD", 45)  # three topics of 15
    whole = experiment(systems, **given, depth=15, output=tmp_path / "whole")
    plain, batches = TorchBackend.run, []

    def run(self: Any, batch: Any) -> Any:
        batches.append(len(batch.positions))
        if len(batches) == 5:
            raise KeyboardInterrupt
        return plain(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TorchBackend, "run", run)
        with pytest.raises(KeyboardInterrupt):
            experiment(systems, **given, depth=15, output=tmp_path / "other")
    assert not (tmp_path / "other" / "experiment.json").exists() and not list((tmp_path / "other").glob("*.run"))
    rows = counted(monkeypatch)
    other = experiment(systems, **given, depth=15, output=tmp_path / "other")
    assert 0 < sum(rows) < 12 * 15 + 12 * 3
    names = sorted(path.name for path in (tmp_path / "whole").glob("*.run"))
    assert len(names) == 3
    for name in [*names, "per_query.tsv"]:
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name in systems:
        assert other.costs[name].pairs == whole.costs[name].pairs
        assert bool(other.costs[name].seconds) == (name != "first")
    del rows[:]
    experiment(systems, **given, depth=15, output=tmp_path / "other")
    assert not rows, "everything is known"
    with pytest.raises(FileExistsError, match="holds an experiment of another depth, systems: name another folder"):
        experiment({"first": small.run}, **given, depth=3, output=tmp_path / "other")


def test_pyserinis_searchers(searcher: Any, queries: list[str], hashing: Reranker) -> None:
    """With `set_reranker` and without, as a first stage of others, and nested; real hits have their texts with them."""
    topics = {str(number): query for number, query in enumerate(queries[:4])} | {"9": "not judged"}
    before = searcher.batch_search(list(topics.values()), list(topics), k=20)
    qrels = {qid: {hits[3].docid: 1, hits[7].docid: 2} for qid, hits in before.items() if qid != "9"}
    searcher.set_reranker(hashing, depth=12)
    nested = RerankingSearcher(RerankingSearcher(searcher, hashing, depth=12), hashing, depth=6)
    systems = {"set": searcher, "alone": (searcher, hashing, 12), "hits": (before, hashing, 12), "nested": nested}
    table = experiment(systems, topics, qrels, measures=["nDCG@10", "AP"], depth=20)
    assert table.topics == 4 and table.values["set"] == table.values["alone"] == table.values["hits"]
    alone = searcher.batch_search(list(topics.values()), list(topics), k=20)
    assert table.values["set"]["AP"] == {
        qid: ir_measures.AP.calc_aggregate({qid: judged}, {qid: {hit.docid: -i for i, hit in enumerate(alone[qid])}})
        for qid, judged in qrels.items()
    }
    searcher.unset_reranker()
    assert [hit.score for hit in before["0"]] == [hit.score for hit in searcher.search(topics["0"], k=20)], "unchanged"


def test_topics_that_find_nothing_count_and_blank_ones_stay(small: Small) -> None:
    qrels = {"a": {"d1": 1}, "b": {"d2": 1}, "c": {"d3": 1}}
    hits = {"a": [Hit("d1", 2.0), Hit("d2", 1.0)], "c": [Hit("d9", 2.0), Hit("d3", 1.0)]}
    topics = {"a": "flea", "b": "berlin", "c": " "}
    with pytest.warns(EmptyQueryWarning):
        table = experiment(
            {"hits": hits, "reranked": (hits, small.one)}, topics, qrels, measures=["RR"], texts=lambda docid: docid
        )
    assert table.values["hits"] == {"RR": {"a": 1.0, "b": 0.0, "c": 0.5}}
    assert table.values["reranked"]["RR"]["c"] == 0.5 and table.values["reranked"]["RR"]["b"] == 0.0


def test_several_threads_share_a_reranker(small: Small) -> None:
    given = {name: value for name, value in small.given.items() if name != "device"}
    systems = {"first": small.run, "cascade": (small.run, Cascade([(small.one, 9), (small.other, 3)]))}
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: experiment(systems, **given), range(4)))
    assert all(table.values == tables[0].values for table in tables)
    assert small.one.score("flea", ["the flea"]).shape == (1,), "it stays open"


def test_tokens_give_what_texts_give(small: Small, tmp_path: Path) -> None:
    tokenizer = small.one.backend.encoder.tokenizer
    write(tmp_path / "tokens", CollectedDocuments(small.folder / "docs.jsonl"), tokenizer, NAME)
    systems = {"first": small.run, "windows": (small.run, Windows(small.one, 16, 8)), "one": (small.run, small.one)}
    given = {name: value for name, value in small.given.items() if name not in ("device", "texts")}
    by_texts = experiment(systems, **given, texts=small.folder / "docs.jsonl")
    assert experiment(systems, **given, tokens=tmp_path / "tokens").values == by_texts.values


def test_documents_without_text_stay_below_where_that_is_wished(small: Small) -> None:
    hits = {"q": {"nowhere": 9.0, "d1": 1.0, "d2": 0.5}}
    given = {"topics": {"q": "flea"}, "qrels": {"q": {"nowhere": 1}}, "measures": ["RR"]}
    with pytest.warns(SkippedDocumentWarning):
        table = experiment({"one": (hits, small.one)}, **given, texts=small.folder / "docs.jsonl", missing="skip")
    assert table.mean("one", "RR") == pytest.approx(1 / 3)
    small.one.counts = Counts()
    with pytest.warns(SkippedDocumentWarning, match="1 documents were not found"):
        cut = {"one": (hits, small.one, 2)}
        table = experiment(cut, **given, texts=small.folder / "docs.jsonl", missing="skip")
    assert table.mean("one", "RR") == 1 / 2 and table.costs["one"].empty == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"systems": {}}, "there is no system"),
        ({"systems": ["first.run"]}, "systems is a list: give a mapping"),
        ({"systems": {"": {}}}, "the system '' has no name"),
        ({"systems": {"a": 3}}, "a int is no system: give a searcher, a run file, hits by qid"),
        ({"systems": {"a": ("first.run",)}}, "the system 'a' is a tuple of 1: give a searcher"),
        ({"systems": {"a": "cross-encoder/x"}}, "'cross-encoder/x' is no run file: give a searcher"),
        ({"systems": {"a": ({}, "nowhere/at/all", 0)}}, "nowhere/at/all"),
        ({"measures": ["nDGC@10"]}, "'nDGC@10' is no measure of ir-measures: name one such as nDCG@10"),
        ({"measures": []}, "measures is empty"),
        ({"measures": "nDCG@10"}, "measures is one string: give a list"),
        ({"measures": ["nDCG@0"]}, "cutoff is 0, and has to be 1 or more"),
        ({"baseline": "BM25"}, "baseline='BM25' is no system: there are a"),
        ({"test": "wilcoxon"}, "test='wilcoxon': there are t-test, randomisation"),
        ({"correction": "fdr"}, "correction='fdr': there are none, bonferroni, holm"),
        ({"depth": 0}, "depth is 0: give 1 or more"),
        ({"qrels": {"z": {"d": 1}}}, "none of the topics is judged"),
        ({"topics": {}}, "topics"),
        ({"systems": {"a": {"q": [3]}}}, "a hit is a int whose docid is None"),
        ({"systems": {"a": {"q": {"d": "high"}}}}, "high"),
        ({"systems": {"a": {"q": {"a b": 1.0}}}}, "the docid 'a b' has white space in it"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    given = {"systems": {"a": {"q": {"d": 1.0}}}, "topics": {"q": "query"}, "qrels": {"q": {"d": 1}}} | change
    with pytest.raises((ValueError, TypeError, OSError)) as error:
        experiment(**given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_document_without_text_is_named(small: Small) -> None:
    hits = {"q": {"d1": 1.0, "nowhere": 0.5}}
    with pytest.raises(LookupError, match="hit nowhere has no text in .*docs.jsonl"):
        experiment({"a": (hits, small.one)}, {"q": "flea"}, {"q": {"d1": 1}}, texts=small.folder / "docs.jsonl")


def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Names with signs of HTML's, LaTeX's and Rich's; the best is marked, equal ones are not."""
    random_numbers = random.Random(4)
    qrels = {str(qid): {f"d{i}": random_numbers.randint(0, 1) for i in range(10)} for qid in range(30)}
    good = {qid: {docid: float(grade) for docid, grade in judged.items()} for qid, judged in qrels.items()}
    bad = {qid: {docid: -float(grade) for docid, grade in judged.items()} for qid, judged in qrels.items()}
    name = "50% [b]<b>&_x_</b>"
    table = experiment(
        {name: bad, "good": good}, dict.fromkeys(qrels, "q"), qrels, measures=["nDCG@10", "NumRel"], baseline=name
    )
    assert table.mean("good", "nDCG@10") == 1.0
    shown = table._repr_html_()
    assert "50% [b]&lt;b&gt;&amp;_x_&lt;/b&gt;" in shown and "<b>1.0000<sup>†</sup></b>" in shown
    latex = table.to_latex()
    assert r"50\% [b]<b>\&\_x\_</b> & " in latex and r"good & \textbf{1.0000}$^{\dagger}$ & " in latex
    assert [line for line in latex.splitlines() if line.startswith("\\")][1] == r"\toprule"
    text = repr(table)
    assert (
        "[b]<b>" in text and "*1.0000†" in text and "†  differs" not in text and max(map(len, text.splitlines())) <= 80
    )
    assert "*" not in text.split("NumRel")[1].splitlines()[2].split("†")[-1], "all have the same of it"


def test_several_systems_of_one_name_as_files_are_apart() -> None:
    assert file_name(1, "a/b") != file_name(2, "a_b") and file_name(3, "../..").startswith("3-")
    assert "/" not in file_name(1, "x/../../etc") and len(file_name(1, "x" * 500)) < 100
