"""Plots: the right figures, a notebook that shows them, colours for everybody."""

import io
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ir_measures import calc_aggregate, nDCG
from matplotlib.colors import to_rgb, to_rgba
from pyserini_rerank import Reranker
from pyserini_rerank.retrieval.hits import Hits, Trace
from pyserini_rerank.runs import plots

QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"c": 2, "d": 1}}


def results(**scores: dict[str, float]) -> dict[str, Hits]:
    """Reranked results of queries, from docid -> new score in the order of the first stage."""
    made = {}
    for qid, some in scores.items():
        traces = [Trace(docid, score, rank, 1 / rank, docid) for rank, (docid, score) in enumerate(some.items(), 1)]
        made[qid] = Hits([], sorted(traces, key=lambda place: -place.score), len(traces))
    return made


def curve(figure: Any) -> dict[int, float]:
    (axes,) = figure.axes
    return {int(x): y for x, y in axes.lines[0].get_xydata()}


def figures() -> Iterator[tuple[str, Any]]:
    points = [plots.Point("a/one", 10, 0.3), plots.Point("two", 100, 0.5)]
    run = [("q1", {"a": 3.0, "b": 1.0}), ("q2", {"c": 2.0, "e": -4.0})]
    yield "gains", plots.gains({"q1": 0.5, "q2": 0.1}, {"q1": 0.2, "q2": 0.3}, "nDCG@10")
    yield "quality", plots.quality(points, "nDCG@10")
    yield "scores", plots.scores(run, QRELS)
    yield "by_depth", plots.by_depth(results(q1={"x": 1.0, "a": 2.0}, q2={"d": 0.0, "c": 1.0}), QRELS)


def test_gains_by_hand() -> None:
    """A bar a query, the largest gain first; what got worse is drawn downwards and in the other colour."""
    figure = plots.gains({"q1": 0.1, "q2": 0.9, "q3": 0.5}, {"q1": 0.4, "q2": 0.2, "q3": 0.5}, "nDCG@10")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.7, 0.0, -0.3])
    assert [round(bar.get_x() + bar.get_width() / 2) for bar in axes.patches] == [0, 1, 2]
    first, _, last = (bar.get_facecolor() for bar in axes.patches)
    assert (first, last) == (to_rgba(plots.GAIN), to_rgba(plots.LOSS))
    assert axes.get_title(loc="left") == "1 better, 1 worse, mean +0.1333"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("3 queries, sorted", "change in nDCG@10")


def test_quality_by_hand() -> None:
    """Each point where it belongs, with the number under which its name stands."""
    points = [plots.Point("b/three", 1000, 0.4), plots.Point("a/one", 10, 0.3), plots.Point("two", 100, 0.5)]
    figure = plots.quality(points, "MRR@10")
    (axes,) = figure.axes
    drawn = [tuple(place) for dots in axes.collections for place in dots.get_offsets().tolist()]
    assert drawn == [(10, 0.3), (100, 0.5), (1000, 0.4)]
    assert {text.get_text(): text.xy for text in axes.texts} == {"1": drawn[0], "2": drawn[1], "3": drawn[2]}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1  a/one", "2  two", "3  b/three"]
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "linear", "MRR@10")


def test_only_the_organisation_of_a_known_checkpoint_goes() -> None:
    kept = ["bundled", "models/mine/new", "mine/new", "./a/b", "http://gpu:8080/a", "windows(bundled, 256/128, max)"]
    assert [plots.short_name(name) for name in kept] == kept
    known = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    assert plots.short_name(f"/data/{known}") == f"/data/{known}"
    assert plots.short_name(f"cascade({known} 9, mine/new 2)") == "cascade(ms-marco-MiniLM-L-6-v2 9, mine/new 2)"


@pytest.mark.parametrize("timed", [100.0, None])
def test_a_checkpoint_that_was_not_timed_is_a_line_at_its_quality(timed: float | None) -> None:
    points = [plots.Point("cached", None, 0.5), plots.Point("another", timed, 0.4)]
    figure = plots.quality(points, "AP")
    (axes,), (legend,) = figure.axes, figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(axes.collections) == (timed is not None) and axes.lines[-1].get_ydata() == [0.5, 0.5]
    assert shown[1].split() == ["2", "cached", "(not", "timed)"] and ("timed" in shown[0]) == (timed is None)
    assert axes.get_xlabel() == ("pairs a second" if timed else "none was timed")
    plots.svg(figure)


def test_a_logarithmic_axis_writes_its_numbers_out() -> None:
    """Where all points are within a power of ten as well: 60 and 200, and not 6 x 10^1."""
    costs = plots.cost({"a": (60.0, 0.1), "b": (700.0, 0.2)}, "AP")
    rates = plots.quality([plots.Point("a", 60.0, 0.1), plots.Point("b", 700.0, 0.2)], "AP")
    for figure in (costs, rates):
        figure.draw_without_rendering()
        labels = [text.get_text() for text in figure.axes[0].get_xticklabels(which="both")]
        shown = [label for label in labels if label]
        assert "100" in shown and all(label.isdigit() for label in shown)


def test_labels_of_the_model_card_do_not_overlap() -> None:
    """Fifteen points, some of which are as quick or as good as each other."""
    rates = [9000, 4100, 2500, 1800, 960, 9000, 2900, 680, 340, 2900, 340, 100, 340, 330, 720]
    found = [69.84, 71.01, 73.04, 74.30, 74.31, 67.43, 68.09, 69.57, 71.99, 63.63, 70.94, 73.36, 71.23, 68.40, 72.82]
    names = [f"somebody/a-checkpoint-with-a-long-name-{i}" for i in range(15)]
    figure = plots.quality([*map(plots.Point, names, rates, found)], "nDCG@10")
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    boxes = [text.get_window_extent() for text in (*axes.texts, *legend.get_texts())]
    assert len(boxes) == 30
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_quality_by_depth_by_hand() -> None:
    """One relevant document, fourth in the first stage and best of all when it is reranked."""
    found = results(q1={"x": 3.0, "y": 1.0, "z": 2.0, "a": 4.0})
    figure = plots.by_depth(found, {"q1": {"a": 1}})
    at_fourth = 1 / np.log2(5)
    assert curve(figure) == pytest.approx({1: at_fourth, 2: at_fourth, 3: at_fourth, 4: 1.0})
    (axes,) = figure.axes
    assert axes.lines[1].get_ydata()[0] == pytest.approx(at_fourth)
    assert axes.get_title(loc="left") == "1.0000 at a depth of 4, the best of these"


def test_judged_queries_without_results_do_not_count() -> None:
    qrels = {**QRELS, "q1": {"a": 1}}
    assert len(qrels) > 1
    drawn = curve(plots.by_depth(results(q1={"x": 3.0, "a": 4.0}), qrels))
    assert drawn == {1: pytest.approx(1 / np.log2(3)), 2: 1.0}


def test_reranking_deeper_can_be_worse() -> None:
    figure = plots.by_depth(results(q1={"a": 1.0, "x": 2.0, "y": 3.0}), {"q1": {"a": 1}})
    assert curve(figure) == pytest.approx({1: 1.0, 2: 1 / np.log2(3), 3: 0.5})
    assert figure.axes[0].get_title(loc="left") == "1.0000 at a depth of 0, the best of these"


def test_a_point_is_what_a_search_at_that_depth_gives(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    """The curve of one search, and searches at each depth."""
    qids = [str(i) for i in range(len(queries))]
    searcher.set_reranker(hashing, depth=20)
    found = searcher.batch_search(queries, qids, k=20)
    qrels = {qid: {place.docid: 1 for place in found[qid].traces[qid == "0" :: 3]} for qid in qids}
    drawn = curve(plots.by_depth(found, qrels))
    assert sorted(drawn) == [1, 2, 3, 5, 7, 10, 15, 20]
    for depth in (1, 7, 20):
        searcher.set_reranker(hashing, depth=depth)
        at_depth = searcher.batch_search(queries, qids, k=20)
        run = {qid: {hit.docid: hit.score for hit in at_depth[qid]} for qid in qids}
        assert drawn[depth] == pytest.approx(calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])
    with pytest.raises(ValueError, match="^query 0 lacks some of its candidates: search with k as large as the depth"):
        plots.by_depth(searcher.batch_search(queries, qids, k=3), qrels)
    with pytest.raises(ValueError, match="none of these queries is judged"):
        plots.by_depth(found, {"other": {"d1": 1}})


def test_score_distributions() -> None:
    """Unjudged queries do not count, unjudged documents do; each of the two sums to 100 %."""
    run = [("q1", {"a": 3.0, "b": 1.0, "x": 2.0}), ("q2", {"c": 5.0, "d": 0.0}), ("q3", {"a": 100.0})]
    figure = plots.scores(run, QRELS, level=1)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "relevant (3)",
        "not relevant, or not judged (2)",
    ]
    relevant, other = (patch.get_xy() for patch in axes.patches)
    for outline, scores in ((relevant, (0.0, 3.0, 5.0)), (other, (1.0, 2.0))):
        tops = {float(x) for x, y in outline if y > 0}
        assert all(any(abs(x - score) <= 5 / 40 for x in tops) for score in scores)
        height = max(y for _, y in outline)
        assert height == pytest.approx(100 / len(scores))
    assert max(x for x, _ in relevant) <= 5.0001
    strict = plots.scores(run, QRELS, level=2).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in strict] == ["relevant (1)", "not relevant, or not judged (4)"]
    alone = plots.scores([("q1", {"b": 1.0})], QRELS).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in alone] == ["not relevant, or not judged (1)"]
    with pytest.raises(ValueError, match="no hit for any of the judged queries"):
        plots.scores([("q3", {"a": 1.0})], QRELS)


@pytest.mark.slow
def test_a_notebook_shows_the_figure_that_a_cell_ends_with() -> None:
    """Without pyplot, which nothing here imports; once, where pyplot has told the notebook how."""
    script = """
import sys
from IPython.core.formatters import DisplayFormatter
from pyserini_rerank.runs import plots

figure = plots.gains({"q": 0.5}, {"q": 0.2}, "nDCG@10")
formatter = DisplayFormatter()
data, _ = formatter.format(figure)
assert data["image/png"].startswith(b"\\x89PNG") and set(data) == {"text/plain", "image/png"}, data.keys()
assert "matplotlib.pyplot" not in sys.modules
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
formatter.formatters["image/png"].for_type(Figure, lambda figure: b"inline")
assert formatter.format(figure)[0]["image/png"] == b"inline"
import pickle
assert pickle.loads(pickle.dumps(figure))._repr_png_()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_files_and_svg(tmp_path: Path) -> None:
    for name, figure in figures():
        assert plots.svg(figure).startswith("<svg"), name
        for suffix in ("png", "svg"):
            plots.save(figure, tmp_path / f"{name}.{suffix}")
            assert (tmp_path / f"{name}.{suffix}").stat().st_size > 1000


def luminance(colour: Any) -> float:
    """WCAG 2's relative luminance."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Any, other: Any) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_readable_in_light_and_dark(style: str) -> None:
    """The background is opaque, and all that is drawn stands out from it: 3 to 1, as WCAG has it for graphics."""
    import matplotlib.style
    from PIL import Image

    with matplotlib.style.context(style):
        for name, figure in figures():
            image = Image.open(io.BytesIO(figure._repr_png_()))
            assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255), f"{name} lets the page through"
            background = figure.get_facecolor()
            (axes,) = figure.axes
            texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts, axes.title]
            texts += [text for legend in figure.legends for text in legend.get_texts()]
            assert min(contrast(text.get_color(), background) for text in texts) > 7, name
            lines = [line.get_color() for line in axes.lines] + [patch.get_edgecolor() for patch in axes.patches]
            lines += [patch.get_facecolor() for patch in axes.patches] if name == "gains" else []
            seen = [colour for colour in lines if to_rgba(colour)[3] > 0]
            assert all(contrast(colour, background) >= 3 for colour in seen), name
            assert seen or name == "quality"


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colour: Any, seen: Any = None) -> np.ndarray:
    """CIE L*a*b* of a colour, as somebody with a colour blindness sees it."""
    rgb = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])
    rgb = rgb if seen is None else np.clip(np.array(seen) @ rgb, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_differ_for_colour_blind_people(blindness: str) -> None:
    """By 20 in L*a*b*, where 2 is what an eye can just tell."""
    from pyserini_rerank import markup

    tints = [tuple(c / 255 for c in colour) for colour in (markup.UP, markup.DOWN)]
    for one, other in [*combinations((plots.GAIN, plots.LOSS), 2), *combinations(tints, 2)]:
        assert np.linalg.norm(lab(one, BLINDNESS[blindness]) - lab(other, BLINDNESS[blindness])) > 20, (one, other)


def test_the_colours_of_a_distance_that_is_known() -> None:
    assert lab("white") == pytest.approx([100, 0, 0], abs=0.1)
    assert lab("red") == pytest.approx([53.2, 80.1, 67.2], abs=0.3)
    gone = BLINDNESS["deuteranopia"]
    assert np.linalg.norm(lab("#be5a00", gone) - lab("#7a7a00", gone)) < 20, "the test could not fail"


def test_runs_and_figures_of_any_kind() -> None:
    found = results(q1={"x": 1.0, "a": 2.0}, q2={"d": 0.0, "c": 1.0})
    run = {qid: {place.docid: place.score for place in hits.traces} for qid, hits in found.items()}

    def heights(figure: Any) -> list[str]:
        return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]

    hits = {qid: [SimpleNamespace(docid=d, score=s) for d, s in some.items()] for qid, some in run.items()}
    series = {qid: pd.Series(some) for qid, some in run.items()}
    for given in (run, run.items(), iter(run.items()), hits, pd.Series(hits), series):
        assert heights(plots.scores(given, QRELS)) == ["relevant (3)", "not relevant, or not judged (1)"]
    assert curve(plots.by_depth(pd.Series(found), QRELS)) == curve(plots.by_depth(found, QRELS))
    title = plots.gains(pd.Series({"q1": 0.5}), pd.Series({"q1": 0.25}), "AP").axes[0].get_title(loc="left")
    assert title == "1 better, 0 worse, mean +0.2500"
    points = [("a", 10, 0.3), ("b", 100, 0.5)]
    assert plots.quality_as_text(iter(points), "AP") == plots.quality_as_text([*map(plots.Point._make, points)], "AP")


@pytest.mark.parametrize(
    ("draw", "kind", "says"),
    [
        (lambda: plots.gains({}, {}, "AP"), ValueError, "there is no query to draw"),
        (lambda: plots.gains({"q1": 1.0}, {"q2": 1.0}, "AP"), ValueError, "query q1 has no value before"),
        (lambda: plots.gains([1.0], [1.0], "AP"), TypeError, "after is a list: give a mapping"),
        (lambda: plots.quality([], "AP"), ValueError, "there is no checkpoint to draw"),
        (lambda: plots.quality_as_text([], "AP"), ValueError, "there is no checkpoint to draw"),
        (lambda: plots.by_depth({"q1": []}, QRELS), TypeError, r"trace\(\) takes the list that a reranked search"),
        (lambda: plots.by_depth(Hits([], [], 0), QRELS), TypeError, "results is a Hits: give a mapping"),
        (lambda: plots.by_depth({"q1": Hits([], [], 0)}, QRELS), ValueError, "none of these queries is judged and has"),
        (lambda: plots.scores({"12": {"a": 1.0}}, QRELS), ValueError, "the run has no hit for any of the judged"),
        (lambda: plots.scores({"q1": 7}, QRELS), TypeError, r"run\['q1'\] is a int: give a mapping"),
    ],
)
def test_what_cannot_be_drawn(draw: Any, kind: Any, says: str) -> None:
    with pytest.raises(kind, match=f"^{says}"):
        draw()
