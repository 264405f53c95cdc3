"""Experiments from Python: against figures that ir-measures and scipy give by hand, and against searches one by one."""

import gc
import html
import json
import os
import pickle
import random
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas
import pytest
from collection import listed
from experiment import NAME, write_experiment
from pyserini_rerank import (
    Cascade,
    Counts,
    EmptyQueryWarning,
    Interpolation,
    ModelReranker,
    Reranker,
    RerankingSearcher,
    Segments,
    SkippedDocumentWarning,
    Windows,
    experiment,
    load,
)
from pyserini_rerank.experiments.run_files import file_name
from pyserini_rerank.runs.plots import svg
from pyserini_rerank.runs.topics import load_qrels, load_topics
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
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
    assert {frame[f"{measure} p"].dtype for measure in MEASURES} == {np.dtype("float64")}
    assert table.plot_gains("theirs").axes[0].get_title(loc="left").startswith("theirs beside first\n")
    legend = "† differs from first: p < 0.05 by a paired t-test, with Holm's correction over 2 systems."
    assert legend in html.unescape(table._repr_html_())
    for figure in (table.plot_gains("reranked"), table.plot_depth("AP(rel=2)"), table.plot_cost()):
        assert figure.axes[0].get_ylabel()
    assert table.runs["theirs"] == tmp_path / "out" / "3-theirs.run"
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


def test_a_curve_ends_at_the_depth_of_its_system(small: Small) -> None:
    """It does not go on to hits that were not reranked, and ends in the mean of the table."""
    systems = {"first": small.run, "shallow": (small.run, small.one, 4), "deep": (small.run, small.one)}
    table = experiment(systems, **{name: value for name, value in small.given.items() if name != "device"})
    shallow, _, deep, _ = table.plot_depth("AP(rel=2)").axes[0].lines
    assert list(shallow.get_xdata()) == [1, 2, 3, 4] and list(deep.get_xdata()) == [1, 2, 3, 5, 7, 10, 15]
    for curve, system in ((shallow, "shallow"), (deep, "deep")):
        assert curve.get_ydata()[-1] == pytest.approx(table.mean(system, "AP(rel=2)"))


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


@pytest.mark.slow
def test_topics_that_are_no_text_are_not_reranked_with(
    make_searcher: Any, vector_query: Any, documents: dict[str, str], hashing: Reranker
) -> None:
    """A dense searcher takes vectors, of which a reranker understands nothing: their hits are reranked by the text."""
    searcher, text = make_searcher("flat"), "remove a temporary folder"
    topics = {"q": vector_query(text)}
    hits = searcher.batch_search([topics["q"]], ["q"], k=20, threads=1)
    qrels = {"q": {hits["q"][4].docid: 1}}
    assert experiment({"first": searcher}, topics, qrels, measures=["RR"]).mean("first", "RR") == 0.2
    nested = RerankingSearcher(RerankingSearcher(searcher, hashing, texts=documents), hashing, texts=documents)
    for system in ((searcher, hashing), nested):
        with pytest.raises(ValueError, match="topic q is a JSON vector, not text: search with it first, and give the"):
            experiment({"one": system}, topics, qrels, texts=documents)
    table = experiment({"one": (hits, hashing)}, {"q": text}, qrels, measures=["RR"], texts=documents)
    alone = hashing.rerank(text, hits["q"], texts=documents)
    assert table.mean("one", "RR") == 1 / (1 + [hit.docid for hit in alone].index(hits["q"][4].docid))


def test_a_run_from_a_pipe(small: Small) -> None:
    """As the shell makes one of `<(zcat bm25.run.gz)`."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(Path(small.run).read_bytes())
    given = {name: value for name, value in small.given.items() if name != "device"}
    piped = experiment({"first": f"/dev/fd/{reading}"}, **given)
    os.close(reading)
    assert piped.values == experiment({"first": small.run}, **given).values


def test_a_bad_line_of_a_run_has_a_remedy_that_there_is(small: Small, tmp_path: Path) -> None:
    bad = tmp_path / "bad.run"
    bad.write_text("q1 Q0 d1 1 1.0 a\nq1 Q0 d2 2 3.0 a\n")
    with pytest.raises(ValueError, match="line 2: has a better score .* sort each query by score.\n"):
        experiment({"first": bad}, **small.given)


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
        ({"systems": {"a": {"q": {"d": float("nan"), "e": 1.0}}}}, "the score of d for query q is NaN"),
        ({"systems": {"a": {"q": {1: 1.0, "1": 2.0}}}}, "has '1' as a number and as a text"),
        ({"systems": {"a\tb": {}}}, "the system 'a\\tb' cannot be named so in a file"),
        ({"systems": {"\ud800": {}}}, "cannot be named so in a file"),
        ({"systems": pandas.Series({"a": {"q": {"d": 1.0}}}), "baseline": "b"}, "is no system: there are a."),
        ({"metrics": ["AP"]}, "metrics: options are for checkpoints that are loaded here: there are none"),
        ({"level": "2"}, "level is '2': give a whole number"),
        ({"topics": {"q 1": "x"}, "qrels": {"q 1": {"d": 1}}}, "the qid 'q 1' has white space in it"),
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


def test_qids_and_docids_may_be_numbers() -> None:
    """As they may be in topics and judgements: hits under them are not taken for none."""
    hits = pandas.Series({7: {3: 2.0, 5: 1.0}})
    table = experiment({"numbers": hits}, {7: "query"}, {np.int64(7): {5: 1}}, measures=["RR"])
    assert table.values["numbers"] == {"RR": {"7": 0.5}}


def test_rerankers_of_the_same_name_are_not_taken_for_each_other(small: Small) -> None:
    given = {name: value for name, value in small.given.items() if name != "device"}
    with load(small.folder / NAME, device="cpu", max_length=12) as short:
        assert repr(short) == repr(small.one)
        both = {"short": (small.run, [(short, 10)]), "whole": (small.run, [(small.one, 10)])}
        table = experiment(both, **given)
    assert table.values["whole"] == experiment({"whole": both["whole"]}, **given).values["whole"]
    assert table.values["whole"] != table.values["short"]


class Turned(ModelReranker):
    """A user's own model, which takes the worst for the best."""

    def relevance(self, queries: Any, found: Any, counts: Any) -> Any:
        return [-scores for scores in super().relevance(queries, found, counts)]


class Shortest(Reranker):
    """A user's own reranker, without a checkpoint."""

    def relevance(self, queries: Any, found: Any, counts: Any) -> Any:
        time.sleep(0.05)
        return [[-float(len(text)) for text in passages.texts] for passages in found]


def test_rerankers_of_a_users_own(small: Small) -> None:
    """They do what they do elsewhere, and their costs are of this experiment alone, or not known."""
    texts, shortest, turned = small.texts(), Shortest("shortest"), Turned(small.one.backend, "turned")
    shortest.rank("flea", ["the flea", "a flea"])
    systems = {
        "shortest": (small.run, shortest), "again": (small.run, shortest), "turned": (small.run, turned),
        "one": (small.run, small.one), "mixed": (small.run, Cascade([(shortest, 9), (small.one, 3)])),
    }  # fmt: skip
    table = experiment(systems, **{name: value for name, value in small.given.items() if name != "device"})
    topics, qrels = load_topics(small.folder / "topics.tsv"), load_qrels(small.folder / "qrels.txt")
    runs = {
        "shortest": {qid: {docid: -len(texts[docid]) for docid in hits} for qid, hits in small.hits().items()},
        "turned": {
            qid: dict(zip(hits, -small.one.score(topics[qid], [texts[docid] for docid in hits]), strict=True))
            for qid, hits in small.hits().items()
        },
    }
    for system, run in runs.items():
        for measure, values in by_hand(run, qrels).items():
            assert table.values[system][measure] == pytest.approx(values)
    for system in ("shortest", "again"):
        cost = table.costs[system]
        assert cost.pairs == 12 * 15 and cost.seconds is not None and cost.seconds > 0.05
    assert table.costs["mixed"].pairs == 12 * (9 + 3) and table.costs["mixed"].seconds is None


def test_a_system_may_be_called_as_a_first_stage_that_is_none(small: Small, tmp_path: Path) -> None:
    experiment({"first stage 1": (small.run, small.folder / NAME)}, **small.given, output=tmp_path)
    runs = sorted(tmp_path.glob("*.run"))
    assert [len(path.read_text().splitlines()) for path in runs] == [12 * 15, 12 * 15]


def test_hits_whose_scores_do_not_fall_keep_their_order(small: Small, tmp_path: Path) -> None:
    """Distances rise, some hits have no score, and a document may be there twice: the run has the order still."""
    scores = [0.5, 0.5, 1.0, float("nan"), 2.0, float("inf")]
    hits = {
        qid: [Hit(docid, score) for docid, score in zip([*found, *list(found)[:2]], scores * 3, strict=False)]
        for qid, found in small.hits().items()
    }
    given = {name: value for name, value in small.given.items() if name != "device"}
    table = experiment({"hits": hits, "one": (hits, small.one)}, **given, output=tmp_path)
    written = table.folder / "1-hits.run"
    assert experiment({"hits": hits, "written": written}, **given).values["written"] == table.values["hits"]
    assert table.values["hits"] == experiment({"first": small.run}, **given).values["first"]
    [curve] = [line for line in table.plot_depth("AP(rel=2)").axes[0].lines if len(line.get_xdata()) > 2]
    assert curve.get_ydata()[-1] == pytest.approx(table.mean("one", "AP(rel=2)"))


def test_the_result_is_whole_wherever_it_is_used(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the folder, as a copy, and saved where it is; other files of its folder are not its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    table = experiment({"first": small.run, "one": (small.run, small.folder / NAME)}, **small.given, output=".")
    monkeypatch.chdir(small.folder)
    assert table.plot_depth().axes and table.save(tmp_path) == tmp_path
    copied = pickle.loads(pickle.dumps(table))
    assert repr(copied) == repr(table) and copied.plot_depth().axes
    assert {path.name for path in copied.save(tmp_path / "saved").iterdir()} == {
        "1-first.run", "2-one.run", "experiment.json", "per_query.tsv"
    }  # fmt: skip


def test_a_users_cache_is_found_from_another_folder(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: value for name, value in small.given.items() if name != "device"}
    monkeypatch.chdir(tmp_path)
    with load(small.folder / NAME, device="cpu", cache="cache") as cached:
        experiment({"one": (small.run, cached)}, **given)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        rows = counted(monkeypatch)
        experiment({"one": (small.run, cached)}, **given)
    assert not rows and not list(Path().iterdir())


@pytest.mark.parametrize("damaged", ["experiment.json", "scores/seconds.json"])
@pytest.mark.parametrize("content", ["", "[1]", "[" * 100_000], ids=["empty", "list", "deep"])
def test_a_damaged_folder_is_named(damaged: str, content: str, tmp_path: Path) -> None:
    (tmp_path / damaged).parent.mkdir(exist_ok=True)
    (tmp_path / damaged).write_text(content)
    with pytest.raises((FileExistsError, ValueError), match="holds an experiment of another format|is damaged: delete"):
        experiment({"a": {"q": {"d": 1.0}}}, {"q": "query"}, {"q": {"d": 1}}, output=tmp_path)


def test_a_temporary_folder_goes_with_the_result() -> None:
    table = experiment({"a": {"q": {"d": 1.0}}}, {"q": "query"}, {"q": {"d": 1}})
    folder = table.folder
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del table
        gc.collect()
    assert not folder.exists()


def test_columns_have_the_same_types_whatever_is_in_them() -> None:
    same = {"q": {"d": 1.0}}
    whole = experiment({"a": same, "b": same}, {"q": "query"}, {"q": {"d": 1}}, measures=["RR"], baseline="a")
    kinds = {name: str(kind) for name, kind in whole.to_pandas().dtypes.items()}
    assert kinds == {
        "RR": "float64", "RR p": "float64", "RR wins": "Int64", "RR losses": "Int64", "RR ties": "Int64",
        "pairs": "Int64", "scored": "Int64", "cut_passages": "Int64", "empty": "Int64", "seconds": "float64",
        "pairs_per_second": "float64",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cost $\\frac$ & $", "_hidden", "[1] first", "*", "x" * 300])
def test_names_are_shown_as_they_are(name: str, small: Small) -> None:
    """In legends, which would read a formula or leave a name out, and in LaTeX, where a row would be read with the rule
    above it."""
    given = {name: value for name, value in small.given.items() if name != "device"}
    table = experiment({name: (small.run, small.one), "b": (small.run, small.one, 5)}, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for figure in (table.plot_depth(), table.plot_cost()):
            svg(figure)
            legends = [axes.get_legend() for axes in figure.axes] + figure.legends
            assert sum(len(legend.get_texts()) for legend in legends if legend) == 2
    rows = table.to_latex().splitlines()[5:7]
    assert not any(row.startswith(("[", "*")) for row in rows) and rows[0].count("&") == len(MEASURES) + name.count("&")


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
