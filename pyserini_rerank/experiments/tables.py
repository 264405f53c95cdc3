"""A table of systems and measures: for a notebook, a terminal and a paper."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group

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
    """It differs from the baseline's."""
    note: str
    """How it differs from the baseline's, in words; may be empty."""


class Row(NamedTuple):
    """A system in the table."""

    system: str
    cells: Sequence[Cell]
    """One a measure."""
    costs: Sequence[str]
    """One for each of `COSTS`; empty where nothing is known or reranked."""


@dataclass(frozen=True)
class Table:
    """The table of an experiment.

    Attributes
    ----------
    measures : sequence of str
    rows : sequence of Row
    topics : int
    dagger : str
        The meaning of the dagger; empty where there is no baseline.
    """

    measures: Sequence[str]
    rows: Sequence[Row]
    topics: int
    dagger: str = ""

    def legend(self, best: str) -> str:
        """Explain the marks: `best` says how the best is marked."""
        meaning = f" {DAGGER} {self.dagger}." if self.dagger else ""
        return f"Means over {self.topics:,} topics; the best {best}.{meaning}"

    def html(self) -> str:
        """Give the table for a notebook; its colours are the notebook's own, light or dark."""
        head = _row_html("th", "system", [*map(html.escape, (*self.measures, *COSTS))], "border-bottom:1px solid;")
        body = "".join(_row_html("td", row.system, [*map(_cell_html, row.cells), *row.costs], "") for row in self.rows)
        said = html.escape(self.legend("is bold"))
        caption = f'<caption style="text-align:left;color:inherit;padding:.35em .6em">{said}</caption>'
        style = "border-collapse:collapse;background:transparent;color:inherit"
        return f'<table style="{style}">{caption}<thead>{head}</thead><tbody>{body}</tbody></table>'

    def rich(self, *, plain: bool = False) -> "Group":
        """Give the means, and below them the costs, for a terminal of 80 columns; Rich prints them.

        Where it is `plain`, without bold letters, the best has an asterisk.
        """
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        def table(headings: Sequence[str]) -> RichTable:
            made = RichTable(box=SIMPLE_HEAD, pad_edge=False)
            made.add_column("system", overflow="fold", min_width=8)
            for heading in headings:
                made.add_column(heading, justify="right", overflow="fold", min_width=7)
            return made

        quality, cost = table(self.measures), table(COSTS)
        for row in self.rows:
            means = [
                Text(
                    "*" * (plain and cell.best) + cell.text + (DAGGER if cell.significant else " "), "bold" * cell.best
                )
                for cell in row.cells
            ]
            quality.add_row(Text(row.system), *means)
            cost.add_row(Text(row.system), *row.costs)
        return Group(quality, Text(self.legend("has an asterisk" if plain else "is bold")), cost)

    def text(self) -> str:
        """Give the table as plain text, as wide as the terminal."""
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, color_system=None, force_jupyter=False, force_terminal=False).print(self.rich(plain=True))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def latex(self) -> str:
        """Give the table in LaTeX, without the costs; it needs the package booktabs."""
        rows = [" & ".join([escaped(row.system), *map(_cell_latex, row.cells)]) + r" \\" for row in self.rows]
        headings = " & ".join(map(escaped, ["System", *self.measures])) + r" \\"
        lines = [
            "% " + " ".join(self.legend("is bold").replace(DAGGER, r"\dagger").split()),
            rf"\begin{{tabular}}{{l{'r' * len(self.measures)}}}",
            *(r"\toprule", headings, r"\midrule", *rows, r"\bottomrule"),
            r"\end{tabular}",
        ]
        return "\n".join(lines)


def _row_html(tag: str, system: str, others: Sequence[str], line: str) -> str:
    pad = "padding:.35em .6em;text-align:"
    made = f'<{tag} style="{line}{pad}left">{html.escape(system)}</{tag}>'
    made += "".join(f'<{tag} style="{line}{pad}right;white-space:nowrap">{other}</{tag}>' for other in others)
    return f"<tr>{made}</tr>"


def _cell_html(cell: Cell) -> str:
    text = cell.text + f"<sup>{DAGGER}</sup>" * cell.significant
    text = f"<b>{text}</b>" if cell.best else text
    return f'<span title="{html.escape(cell.note)}">{text}</span>' if cell.note else text


def _cell_latex(cell: Cell) -> str:
    return (rf"\textbf{{{cell.text}}}" if cell.best else cell.text) + r"$^{\dagger}$" * cell.significant


def escaped(text: str) -> str:
    """Write a text for LaTeX."""
    written = "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
    # At the beginning of a row they would belong to the rule or the line break before it.
    return f"{{{written[0]}}}{written[1:]}" if written.startswith(("[", "*")) else written
