"""Plots of experiments, by matplotlib; the suffix of the file says the format (PNG, SVG, PDF)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Distinguishable also without colours' help: gains and losses stand on different sides of zero.
GAIN, LOSS = "#2a7ab9", "#c0504d"


class Point(NamedTuple):
    """A checkpoint in the plot of quality against throughput."""

    name: str
    docs_per_second: float
    quality: float


def gains(after: dict[str, float], before: dict[str, float], measure: str) -> "Figure":
    """Draw what reranking changed on each query, sorted from the largest gain to the largest loss.

    Parameters
    ----------
    after, before : dict
        qid -> value of the measure, from 0 to 1.
    measure : str
        Its name, for the axis.
    """
    from matplotlib.figure import Figure

    changes = sorted((after[qid] - before[qid] for qid in after), reverse=True)
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(changes)), changes, width=1, color=[GAIN if change > 0 else LOSS for change in changes])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(-0.5, len(changes) - 0.5)
    axes.set_xlabel(f"{len(changes)} queries, sorted")
    axes.set_ylabel(f"change in {measure}")
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    axes.set_title(f"{better} better, {worse} worse, mean {sum(changes) / len(changes):+.4f}", loc="left", fontsize=10)
    return figure


def quality(points: Sequence[Point], measure: str) -> "Figure":
    """Draw each checkpoint's quality against its throughput, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter([point.docs_per_second for point in points], [point.quality for point in points], color=GAIN)
    for point in points:
        axes.annotate(
            point.name.split("/")[-1], (point.docs_per_second, point.quality), xytext=(4, 4),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("documents a second")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.3)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a plot to a file; raises ValueError for a format that matplotlib does not know."""
    figure.savefig(path, dpi=150)


def svg(figure: "Figure") -> str:
    """Give a plot as SVG, to stand in a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
