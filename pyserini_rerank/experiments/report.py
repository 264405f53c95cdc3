"""The report of `reproduce` in Markdown and HTML: measured figures beside published ones."""

import html
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from ..files.writing import replace
from ..runs import plots
from .conditions import OFFICIAL, visible

Row = dict[str, Any]
#: The heading of each column, and the function that gives a row's text in it.
Columns = dict[str, Callable[[Row], str]]


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``report.md`` and ``report.html`` into a folder, and a plot for each condition that was run.

    Parameters
    ----------
    rows : sequence of dicts
        The `Cell.row` of each cell.

    Returns
    -------
    list of paths
        The two reports.
    """
    markdown, page = ["# Reranking: measured and published", "A cell without a figure was not run."], []
    for title, table in _tables(rows):
        markdown += [f"## {title}", _markdown(table)]
        page += [f"<h2>{html.escape(title)}</h2>", _html(table)]
    for name, points, measure in _plots(rows):
        figure = plots.quality(points, measure)
        file = f"quality.{name}.svg"
        plots.save(figure, folder / file)
        markdown += [f"## Quality and throughput: {name}", f"![{measure} against {plots.RATE}]({file})"]
        page += [f"<h2>Quality and throughput: {html.escape(name)}</h2>", plots.svg(figure)]
    template = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    texts = {
        folder / "report.md": "\n\n".join(markdown) + "\n",
        folder / "report.html": template.substitute(body="\n".join(page)),
    }
    for path, text in texts.items():
        replace(path, text)
    return list(texts)


def _tables(rows: Sequence[Row]) -> list[tuple[str, list[list[str]]]]:
    """Give each table as a title and lines: the model card's table if it has rows, all runs, and how they were run."""
    tables: list[tuple[str, list[list[str]]]] = []
    card = [row for row in rows if row["first_stage"] == OFFICIAL and row["published"]]
    if card:
        tables.append(("The model card's table", _card(card)))
    ran = [row for row in rows if row["measured"] is not None]
    for title, columns, shown in (("All runs", FIGURES, rows), ("How they were run", CONDITIONS, ran)):
        if shown:
            if columns is FIGURES:
                columns = FIGURES | {name: _measured(name) for row in ran for name in row.get("measures") or ()}
            tables.append((title, [list(columns), *([cell(row) for cell in columns.values()] for row in shown)]))
    return tables


def _card(rows: Sequence[Row]) -> list[list[str]]:
    """Lay out the official rows like the model card: one line a checkpoint, published and measured side by side."""
    sets = {row["test_set"]: row["measure"] for row in rows}
    heading = ["checkpoint"]
    for name, measure in sets.items():
        heading += [f"{name} {measure}, published", "measured"]
    lines = [[*heading, "pairs/s, published (V100)", "measured"]]
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
        by_set = {row["test_set"]: row for row in rows if row["checkpoint"] == checkpoint}
        line = [checkpoint]
        for name in sets:
            row = by_set.get(name)
            line += [_percent(row["published"]), _percent(row["measured"])] if row else ["", ""]
        # The longest run gives the most reliable rate.
        longest = max(by_set.values(), key=lambda row: row["pairs"] or 0)
        rates = longest["docs_per_second_published"], longest["docs_per_second"]
        lines.append([*line, *map(_whole, rates)])
    return lines


def _plots(rows: Sequence[Row]) -> list[tuple[str, list[plots.Point], str]]:
    """Give the name, the points and the measure of each condition that has points."""

    def condition(row: Row) -> tuple[str, str, str]:
        return row["test_set"], f"{row['first_stage']}-{row['depth']}", row["measure"]

    plotted = []
    for (test_set, first_stage, measure), of_condition in groupby(sorted(rows, key=condition), condition):
        points = [
            plots.Point(row["checkpoint"], row["docs_per_second"], row["measured"])
            for row in of_condition
            if row["measured"] is not None
        ]
        if points:
            plotted.append((f"{visible(test_set)}.{first_stage}".replace("/", "_"), points, measure))
    return plotted


def _markdown(table: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(table[0]) - 1)]
    lines = [table[0], rule, *table[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _html(table: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        # Names may be wrapped, and figures may not.
        classes = [' class="name"' if any(map(str.isalpha, cell)) else "" for cell in cells]
        elements = (f"<{tag}{name}>{html.escape(cell)}</{tag}>" for cell, name in zip(cells, classes, strict=True))
        return f"<tr>{''.join(elements)}</tr>"

    body = "\n".join(line(cells, "td") for cells in table[1:])
    return f'<div class="wide"><table><thead>{line(table[0], "th")}</thead>\n<tbody>{body}</tbody></table></div>'


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else str(row[name])


def _figure(name: str, form: str) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else format(row[name], form)


def _measured(measure: str) -> Callable[[Row], str]:
    return lambda row: f"{row['measures'][measure]:.4f}" if measure in (row.get("measures") or {}) else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


RUN: Columns = {
    "checkpoint": _text("checkpoint"),
    "test set": _text("test_set"),
    "first stage": lambda row: f"{row['first_stage']}, {row['depth']} deep",
}
FIGURES: Columns = RUN | {
    "measure": _text("measure"),
    "first stage, published": _figure("first_stage_published", ".4f"),
    "first stage, measured": _figure("first_stage_measured", ".4f"),
    "reranked, published": _figure("published", ".4f"),
    "reranked, measured": _figure("measured", ".4f"),
    "difference": _figure("difference", "+.4f"),
    "p": lambda row: "<0.0001" if row["p"] and row["p"] < 0.0001 else _figure("p", ".4f")(row),
    "pairs/s": _figure("docs_per_second", ".0f"),
}
CONDITIONS: Columns = RUN | {
    "queries": _text("queries"),
    "pairs": _figure("pairs", ","),
    "cut": _figure("cut", ".1%"),
    "texts": _text("texts"),
    "device": _text("device"),
    "dtype": _text("dtype"),
    "finished": _text("finished"),
    "versions": _text("versions"),
}
