"""Plots of experiments, drawn by matplotlib. The suffix of the file says the format (PNG, SVG, PDF).

Figures have the background of matplotlib's style, which is white and opaque unless a notebook sets another one, so that
they are readable in a dark notebook as well. A notebook shows the figure that a cell ends with.
"""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..arguments import listed, mapped
from ..files.writing import replace
from ..retrieval.hits import Hits, trace
from ..scoring.checkpoints.catalogue import catalogue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .depth_curve import Curve
    from .evaluation import Run
    from .topics import Qrels

#: Colours that are readable on white and on black, and distinguishable by colour-blind people. No plot relies on colour
#: alone.
GAIN, LOSS, NEUTRAL = "#2a7ab9", "#c0504d", "#808080"
#: Styles of lines that are distinguishable without colours.
LINE_STYLES = ("o-", "s--", "^-.", "D:", "v-", "P--", "X-.", "*:")
#: The name of the throughput on axes and in tables.
RATE = "pairs a second"
#: Matches an organisation and a name, with no further folder on either side.
HUB_NAME = re.compile(r"(?<![\w./~:-])[\w-][\w.-]*/([\w.-]+)(?![\w./-])")
#: The width of the legend in characters, which leaves enough room for the plot.
LEGEND_WIDTH = 40


class Point(NamedTuple):
    """A checkpoint in the plot of quality against throughput."""

    name: str
    pairs_per_second: float | None
    """None if it was not measured, since all scores came from a cache."""
    quality: float


def gains(after: Mapping[str, float], before: Mapping[str, float], measure: str, title: str = "") -> "Figure":
    """Draw the gain of reranking on each query, sorted from the largest gain to the largest loss.

    Parameters
    ----------
    after, before : mapping
        qid -> value of the measure, from 0 to 1.
    measure : str
        The measure's name, for the axis.
    title : str
        The names of the two systems, as a line above the counts of better and worse queries.

    Raises
    ------
    ValueError
        There is no query, or a query has no value in `before`.
    """
    after, before = mapped(after, "after"), mapped(before, "before")
    lacking = [qid for qid in after if qid not in before]
    if lacking or not after:
        raise ValueError(f"query {lacking[0]} has no value before." if lacking else "there is no query to draw.")
    changes = sorted((after[qid] - before[qid] for qid in after), reverse=True)
    figure = new_figure(8, 3.5)
    axes = figure.subplots()
    axes.bar(range(len(changes)), changes, width=1, color=[GAIN if change > 0 else LOSS for change in changes])
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xlim(-0.5, len(changes) - 0.5)
    axes.set_xlabel(f"{len(changes)} queries, sorted")
    axes.set_ylabel(f"change in {measure}")
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    counts = f"{better} better, {worse} worse, mean {sum(changes) / len(changes):+.4f}"
    axes.set_title(f"{title}\n{counts}".strip(), loc="left", fontsize=10)
    return figure


def from_left(points: Sequence[Point]) -> list[Point]:
    """Sort points in the order of their numbers in a plot: the slowest first, and points without a time last. Raises
    ValueError if there is no point."""
    checkpoints = [Point(*point) for point in listed(points, "points")]
    if not checkpoints:
        raise ValueError("there is no checkpoint to draw.")
    return sorted(checkpoints, key=lambda point: (point.pairs_per_second or math.inf, point.quality))


def short_name(name: str) -> str:
    """Leave out the organisations of the catalogue's checkpoints, within a combination as well. Other names, which may
    be folders, stay whole."""
    known = catalogue()
    return HUB_NAME.sub(lambda found: found[1] if found[0] in known else found[0], name)


def wrapped(name: str) -> str:
    """Break a name into lines of the legend, and keep matplotlib from reading its signs."""
    lines = textwrap.wrap(name, LEGEND_WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    text = "\n".join(lines).replace("$", r"\$")  # two of them would begin and end a formula
    return f" {text}" if text.startswith("_") else text  # a legend leaves such a name out


def quality(points: Sequence[Point], measure: str) -> "Figure":
    """Draw each checkpoint's quality against its throughput, on a logarithmic axis, numbered from the left.

    A checkpoint that was not timed is a dotted line at its quality, with its number at the right. Raises ValueError if
    there is no checkpoint.
    """
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for number, (name, x, y) in enumerate(from_left(points), 1):
        label = wrapped(f"{number}  {short_name(name)}")
        if x is None:
            axes.axhline(y, color=NEUTRAL, linestyle=":", linewidth=1, label=f"{label}\n    (not timed)")
            axes.annotate(
                str(number), (1, y), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
                ha="left", va="center", fontsize=8,
            )  # fmt: skip
            continue
        axes.scatter(x, y, color=GAIN, label=label)
        # Odd numbers are at the right and even ones at the left, so that points close together stay readable.
        side, align = (5, "left") if number % 2 else (-5, "right")
        axes.annotate(
            str(number), (x, y), xytext=(side, 0), textcoords="offset points", ha=align, va="center", fontsize=8
        )
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, handlelength=0, handletextpad=0, markerscale=0)
    _scale_by_logarithm(axes)
    axes.set_xlabel(RATE if any(point.pairs_per_second for point in points) else "none was timed")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.3)
    return figure


def quality_as_text(points: Sequence[Point], measure: str) -> str:
    """Draw the plot of `quality` for a terminal of 80 columns, without colours: each point is its number.

    Checkpoints that were not timed are left out.
    """
    timed = [(number, x, y) for number, (_, x, y) in enumerate(from_left(points), 1) if x]
    from plotext import figure, uncolorize

    figure.clear()
    figure.plot_size(79, 16)
    rates, values = [x for _, x, _ in timed], [y for _, _, y in timed]
    figure.ruler("x").scale("log")
    # The limits leave room for a number, and for a single point.
    figure.ruler("x").lim(min(rates) / 1.2, max(rates) * 1.2)
    figure.ruler("y").lim(min(values) - 0.01, max(values) + 0.01)
    for number, x, y in timed:
        figure.draw(figure.text(x, y, str(number)))
    figure.label(RATE, "x")
    figure.label(measure, "y")
    return str(uncolorize(str(figure.build()))).rstrip()


def scores(run: "Run", qrels: "Qrels", level: int = 1) -> "Figure":
    """Draw the distribution of the scores of relevant documents, and that of all other documents.

    Parameters
    ----------
    run : iterable of (qid, mapping), or mapping
        Each query's hits: docid -> score, or a list that a search returned. All hits of judged queries count; a
        document without a judgement counts as not relevant.
    qrels : dict
        qid -> docid -> grade.
    level : int
        The lowest grade of a relevant document.

    Raises
    ------
    ValueError
        The run has no hit for any judged query.
    """
    relevant: list[float] = []
    other: list[float] = []
    for qid, hits in run.items() if hasattr(run, "items") else run:
        scored = {hit.docid: hit.score for hit in hits} if isinstance(hits, list) else mapped(hits, f"run[{qid!r}]")
        for docid, score in scored.items() if qid in qrels else ():
            (relevant if qrels[qid].get(docid, 0) >= level else other).append(score)
    if not relevant + other:
        raise ValueError("the run has no hit for any of the judged queries.")
    figure = new_figure(8, 3.5)
    axes = figure.subplots()
    lowest, highest = min(relevant + other), max(relevant + other)
    kinds = (relevant, "relevant", GAIN, "-", "//"), (other, "not relevant, or not judged", LOSS, "--", None)
    for values, name, colour, line, hatch in kinds:
        if values:
            # Each histogram is in percent of its own total, since far more documents are not relevant.
            axes.hist(
                values, bins=40, range=(lowest, highest), weights=[100 / len(values)] * len(values),
                histtype="stepfilled", facecolor=(colour, 0.25), edgecolor=colour, linestyle=line, linewidth=1.5,
                hatch=hatch, label=f"{name} ({len(values):,})",
            )  # fmt: skip
    axes.set_xlabel("score")
    axes.set_ylabel("% of them")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure


def by_depth(results: Mapping[str, "Hits"], qrels: "Qrels") -> "Figure":
    """Draw the nDCG@10 that reranking fewer candidates would have given, which says how deep to rerank.

    At a depth of d, the first d hits of a query are in the order of their new scores. The other hits follow in the
    order of the first stage.

    Parameters
    ----------
    results : mapping
        qid -> the hits of a reranked search, with all of its candidates: ``batch_search(..., k=depth)``.
    qrels : dict
        qid -> docid -> grade. Queries without results and queries that are not judged do not count.

    Raises
    ------
    ValueError
        No query is judged, or a query's results lack some of the candidates that were reranked.
    TypeError
        The results are no mapping, or not lists that a reranked search returned.
    """
    from .depth_curve import depth_curve
    from .evaluation import MEASURE

    traces = {qid: trace(hits) for qid, hits in mapped(results, "results").items() if qid in qrels}
    if not any(traces.values()):
        raise ValueError("none of these queries is judged and has results.")
    queries = []
    for qid, places in traces.items():
        if sorted(place.first_rank for place in places) != list(range(1, len(places) + 1)):
            raise ValueError(f"query {qid} lacks some of its candidates: search with k as large as the depth.")
        before = sorted(places, key=lambda place: place.first_rank)
        queries.append((qid, [place.docid for place in before], [place.docid for place in places]))
    return depths({"reranked": depth_curve(queries, {qid: qrels[qid] for qid in traces}, MEASURE)}, MEASURE)


def check(path: Path) -> None:
    """Check that a plot can be written to a file. It is called before anything is computed.

    Raises
    ------
    ValueError
        The file's suffix is no format of matplotlib's.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in formats:
        raise ValueError(
            f"{path} does not end in the name of a format for the plot: choose one of {', '.join(formats)}."
        )


def save(figure: "Figure", path: Path) -> None:
    """Write a plot to a file; raises as `check`."""
    check(path)
    data = io.BytesIO()
    figure.savefig(data, dpi=150, format=path.suffix[1:].lower())
    replace(path, data.getvalue())


def svg(figure: "Figure") -> str:
    """Give a plot as SVG that can be put into an HTML page."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def new_figure(width: float, height: float) -> "Figure":
    """Make a figure without pyplot, which would keep the figure in memory and needs a backend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # Only pyplot tells a notebook how to show figures. Until pyplot is imported, a figure has to show itself.
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _scale_by_logarithm(axes: "Axes") -> None:
    """Make the horizontal axis logarithmic, with numbers that are written out."""
    from matplotlib.ticker import LogFormatter

    axes.set_xscale("log")
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    axes.margins(x=0.1)


def _png(figure: "Figure") -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def depths(curves: Mapping[str, "Curve"], measure: str) -> "Figure":
    """Draw systems' means by the depth to which they rerank. The mean at a depth of 0 is that of the first stage.

    Raises
    ------
    ValueError
        There is no curve.
    """
    if not curves:
        raise ValueError("no system reranks, so there is no depth to draw.")
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for (name, curve), style in zip(curves.items(), cycle(LINE_STYLES)):
        [(_, first), *rest] = curve
        best, negated_depth = max((value, -depth) for depth, value in curve)
        label = name if len(curves) == 1 else f"{name} (best: {best:.4f} at {-negated_depth})"
        axes.plot(*zip(*rest, strict=True), style, label=wrapped(label), markersize=4)
        axes.axhline(first, color=NEUTRAL, linestyle=":", linewidth=1)
    if len(curves) == 1:
        axes.set_title(f"{best:.4f} at a depth of {-negated_depth}, the best of these", loc="left", fontsize=10)
    ticks = sorted({depth for curve in curves.values() for depth, _ in curve if depth})
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels=[str(depth) for depth in ticks], rotation=45)
    axes.minorticks_off()
    axes.set_xlabel("depth: candidates of the first stage that are reranked (dotted: none)")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def cost(points: Mapping[str, tuple[float, float]], measure: str) -> "Figure":
    """Draw systems' means against their milliseconds per topic; raises ValueError if there is no system."""
    if not points:
        raise ValueError("the time of no system is known.")
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(sorted(points.items(), key=lambda point: point[1]), 1):
        axes.scatter(x, y, color=GAIN, label=wrapped(f"{number}  {name}"))
        axes.annotate(str(number), (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, handlelength=0, handletextpad=0, markerscale=0)
    _scale_by_logarithm(axes)
    axes.set_xlabel("milliseconds a topic")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.3)
    return figure
