"""A run that was reranked: where it is, and what is known of it."""

import html
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .evaluation import Coverage, Values

if TYPE_CHECKING:
    from rich.console import Group

#: The columns of the figures, by their names in the report.
COLUMNS = {
    "measure": "measure",
    "baseline": "first stage",
    "run": "reranked",
    "better": "better",
    "worse": "worse",
    "p": "p",
}


@dataclass(frozen=True, repr=False)
class RerankedRun:
    """A run that was reranked; a notebook and a terminal show its figures as a table.

    Attributes
    ----------
    path : Path
        The TREC run. The report is beside it, as ``PATH.json``.
    report : dict
        All that is known of it: settings, versions, device, the checkpoint's fingerprint, counts, figures.
    per_query : dict
        measure -> qid -> value, of the judged queries; empty where it was not evaluated.
    first_stage : dict, optional
        The same of the run that it was made of; None where that has no order.
    """

    path: Path
    report: dict[str, Any]
    per_query: Values = field(default_factory=dict)
    first_stage: Values | None = None

    @property
    def measures(self) -> list[dict[str, Any]]:
        """The means, a dict a measure: ``measure`` and ``run``; where the first stage has an order also its
        ``baseline``, how many queries are ``better`` and ``worse``, and ``p`` of the paired t-test."""
        rows: list[dict[str, Any]] = self.report.get("evaluation", {}).get("measures", [])
        return rows

    def _lines(self) -> list[str]:
        """Say in sentences how much was done and left out, and how many queries are evaluated."""
        counts, rate = self.report["counts"], self.report["pairs_per_second"]
        scored = f"{rate:,} scored a second" if rate else "none of them scored anew"
        said = [f"{self.path}: {counts['pairs']:,} pairs, {scored}"]
        said += [f"left out: {count:,} ({reason})" for reason, count in self.report["skipped"].items()]
        if evaluation := self.report.get("evaluation"):
            said.append(str(Coverage(*(evaluation[name] for name in Coverage._fields))))
        return said

    def _table(self) -> list[list[str]]:
        """Give the figures as rows of texts, with a heading; empty without figures."""
        if not self.measures:
            return []
        names = [name for name in COLUMNS if name in self.measures[0]]
        return [[COLUMNS[name] for name in names], *([_shown(row[name]) for name in names] for row in self.measures)]

    def __rich__(self) -> "Group":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        said = Text("\n".join(self._lines()))
        if not self.measures:
            return Group(said)
        heading, *rows = self._table()
        table = Table(box=None)
        for name in heading:
            table.add_column(name, justify="left" if name == COLUMNS["measure"] else "right")
        for row in rows:
            table.add_row(*row)
        return Group(said, table)

    def __repr__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        console = Console(file=text, color_system=None, force_jupyter=False, force_terminal=False, soft_wrap=True)
        console.print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        said = "<br>".join(map(html.escape, self._lines()))
        if not self.measures:
            return f"<div>{said}</div>"
        heading, *rows = self._table()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in heading)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<div>{said}</div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if not 0 < value < 0.0001 else "<0.0001"
    return "" if value is None else str(value)
