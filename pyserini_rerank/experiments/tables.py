"""The table of an experiment: for a notebook, a terminal and a paper."""

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group

    from .result import ExperimentResult

DAGGER = "†"
COSTS = ("pairs", "ms a topic", "pairs/s", "cut")
#: Characters that LaTeX reads as commands.
LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


class Cell(NamedTuple):
    """A mean in the table."""

    text: str
    best: bool
    significant: bool
    note: str
    """How it differs from the baseline; empty for the baseline, and without one."""


def cells(result: "ExperimentResult", system: str) -> list[Cell]:
    """Give a system's means, one a measure."""
    row = []
    for measure in result.measures:
        mean = result.mean(system, measure)
        means = {result.mean(other, measure) for other in result.systems}
        beside = result.differences[measure].get(system)
        note = ""
        if beside:
            p = "" if beside.corrected is None else f", p = {beside.corrected:.2g}"
            note = f"{beside.wins} better, {beside.losses} worse, {beside.ties} equal{p}"
        best = len(means) > 1 and mean == max(means)
        row.append(Cell(f"{mean:.4f}", best, bool(beside and beside.significant), note))
    return row


def costs(result: "ExperimentResult", system: str) -> list[str]:
    """Give the texts of a system's cost, one for each of `COSTS`; empty where nothing is known or reranked."""
    cost = result.costs[system]
    time = "" if cost.seconds is None else f"{1000 * cost.seconds / result.topics:,.1f}"
    if not cost.pairs:
        return ["", time, "", ""]
    rate = "" if cost.pairs_per_second is None else f"{cost.pairs_per_second:,.1f}"
    return [f"{cost.pairs:,}", time, rate, f"{cost.cut_passages / cost.pairs:.1%}"]


def legend(result: "ExperimentResult", best: str = "is bold") -> str:
    """Explain the marks of the table in a sentence or two."""
    said = f"Means over {result.topics:,} topics; the best {best}."
    if result.baseline is not None:
        others = len(result.systems) - 1
        how = "" if others < 2 or result.correction == "none" else f", {result.correction} over {others} systems"
        said += f" {DAGGER} differs from {result.baseline} (paired {result.test}{how}, p < 0.05)."
    return said


def as_html(result: "ExperimentResult") -> str:
    """Give the table for a notebook; its colours are the notebook's own, light or dark."""
    pad = "padding:.35em .6em;text-align:"

    def row(tag: str, first: str, others: Sequence[str], line: str) -> str:
        made = f'<{tag} style="{line}{pad}left">{first}</{tag}>'
        made += "".join(f'<{tag} style="{line}{pad}right;white-space:nowrap">{other}</{tag}>' for other in others)
        return f"<tr>{made}</tr>"

    body = []
    for system in result.systems:
        means = []
        for cell in cells(result, system):
            text = cell.text + f"<sup>{DAGGER}</sup>" * cell.significant
            text = f"<b>{text}</b>" if cell.best else text
            means.append(f'<span title="{html.escape(cell.note)}">{text}</span>' if cell.note else text)
        body.append(row("td", html.escape(system), [*means, *costs(result, system)], ""))
    headings = [html.escape(heading) for heading in (*result.measures, *COSTS)]
    style = "border-collapse:collapse;background:transparent;color:inherit"
    caption = (
        f'<caption style="text-align:left;color:inherit;padding:.35em .6em">{html.escape(legend(result))}</caption>'
    )
    head = f"<thead>{row('th', 'system', headings, 'border-bottom:1px solid;')}</thead>"
    return f'<table style="{style}">{caption}{head}<tbody>{"".join(body)}</tbody></table>'


def as_rich(result: "ExperimentResult", *, plain: bool = False) -> "Group":
    """Give the means, and below them the costs, for a terminal of 80 columns; Rich prints them.

    Where it is `plain`, without bold letters, the best has an asterisk.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(headings: Sequence[str]) -> Table:
        made = Table(box=SIMPLE_HEAD, pad_edge=False)
        made.add_column("system", overflow="fold", min_width=8)
        for heading in headings:
            made.add_column(heading, justify="right", overflow="fold", min_width=7)
        return made

    quality, cost = table(result.measures), table(COSTS)
    for system in result.systems:
        means = [
            Text("*" * (plain and cell.best) + cell.text + (DAGGER if cell.significant else " "), "bold" * cell.best)
            for cell in cells(result, system)
        ]
        quality.add_row(Text(system), *means)
        cost.add_row(Text(system), *costs(result, system))
    said = legend(result, "has an asterisk" if plain else "is bold")
    return Group(quality, Text(said), cost)


def as_text(result: "ExperimentResult") -> str:
    """Give the table as plain text, as wide as the terminal."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, color_system=None, force_jupyter=False, force_terminal=False).print(as_rich(result, plain=True))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def as_latex(result: "ExperimentResult") -> str:
    """Give the table in LaTeX, without the costs; it needs the package booktabs."""
    rows = []
    for system in result.systems:
        means = []
        for cell in cells(result, system):
            text = rf"\textbf{{{cell.text}}}" if cell.best else cell.text
            means.append(text + r"$^{\dagger}$" * cell.significant)
        rows.append(" & ".join([escaped(system), *means]) + r" \\")
    headings = " & ".join(map(escaped, ["System", *result.measures])) + r" \\"
    return "\n".join(
        [
            f"% {legend(result)}".replace(DAGGER, r"\dagger"),
            rf"\begin{{tabular}}{{l{'r' * len(result.measures)}}}",
            r"\toprule", headings, r"\midrule", *rows, r"\bottomrule",
            r"\end{tabular}",
        ]
    )  # fmt: skip


def escaped(text: str) -> str:
    """Write a text for LaTeX."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
