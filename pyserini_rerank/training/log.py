"""The plot of a training: the loss, and nDCG@10 of the validation queries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..runs.evaluation import MEASURE
from ..runs.plots import GAIN, LOSS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The key of the validation queries' measure in the trainer's log.
METRIC = f"eval_{MEASURE}"


def training_plot(log: Sequence[dict[str, float]]) -> "Figure":
    """Draw the loss by step, and below it the measure of the validation queries if there is any."""
    curves = {"loss": ("loss", LOSS, "-"), METRIC: (f"{MEASURE}, validation", GAIN, "o-")}
    points = {key: [(entry["step"], entry[key]) for entry in log if key in entry] for key in curves}
    drawn = [key for key in curves if points[key]]
    figure = new_figure(8, 2.5 * max(1, len(drawn)))
    for axes, key in zip(figure.subplots(max(1, len(drawn)), sharex=True, squeeze=False)[:, 0], drawn, strict=False):
        name, colour, style = curves[key]
        axes.plot(*zip(*points[key], strict=True), style, color=colour, markersize=4)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.set_xlabel("step" if key == drawn[-1] else "")
    return figure
