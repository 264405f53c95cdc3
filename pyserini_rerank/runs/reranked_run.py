"""The result of reranking a run: its path, its report and its figures."""

import html
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .evaluation import Coverage, Values

if TYPE_CHECKING:
    from rich.console import Group

#: Names in the report, with the headings of the table's columns.
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
    """A reranked run. A notebook and a terminal show its figures as a table.

    Attributes
    ----------
    path : Path
        The TREC run. The report is beside it, as ``PATH.json``.
    report : dict
        The settings, versions, device, the checkpoint's fingerprint, counts and figures.
    per_query : dict
        measure -> qid -> value, of the judged queries. It is empty if the run was not evaluated.
    first_stage : dict, optional
        The values of the first stage in the same form; None if its candidates have no order.
    """

    path: Path
    report: dict[str, Any]
    per_query: Values = field(default_factory=dict)
    first_stage: Values | None = None

    @property
    def measures(self) -> list[dict[str, Any]]:
        """The means, one dict a measure: ``measure`` and ``run``. If the first stage has an order, also its
        ``baseline``, the number of queries that are ``better`` and ``worse``, and ``p`` of the paired t-test."""
        rows: list[dict[str, Any]] = self.report.get("evaluation", {}).get("measures", [])
        return rows

    def _lines(self) -> list[str]:
        """Give lines that say how much was scored and left out, and how many queries are evaluated."""
        counts, rate = self.report["counts"], self.report["pairs_per_second"]
        scored = f"{rate:,} scored a second" if rate else "none of them scored anew"
        lines = [f"{self.path}: {counts['pairs']:,} pairs, {scored}"]
        lines += [f"left out: {count:,} ({reason})" for reason, count in self.report["skipped"].items()]
        if evaluation := self.report.get("evaluation"):
            lines.append(str(Coverage(*(evaluation[name] for name in Coverage._fields))))
        return lines

    def _table(self) -> list[list[str]]:
        """Give the figures as rows of strings below a heading; no rows if there are no figures."""
        if not self.measures:
            return []
        names = [name for name in COLUMNS if name in self.measures[0]]
        return [[COLUMNS[name] for name in names], *([_cell(row[name]) for name in names] for row in self.measures)]

    def __rich__(self) -> "Group":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        summary = Text("\n".join(self._lines()))
        if not self.measures:
            return Group(summary)
        heading, *rows = self._table()
        table = Table(box=None)
        for name in heading:
            table.add_column(name, justify="left" if name == COLUMNS["measure"] else "right")
        for row in rows:
            table.add_row(*row)
        return Group(summary, table)

    def __repr__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        console = Console(file=text, color_system=None, force_jupyter=False, force_terminal=False, soft_wrap=True)
        console.print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        summary = "<br>".join(map(html.escape, self._lines()))
        if not self.measures:
            return f"<div>{summary}</div>"
        heading, *rows = self._table()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in heading)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<div>{summary}</div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if not 0 < value < 0.0001 else "<0.0001"
    return "" if value is None else str(value)
