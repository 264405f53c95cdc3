"""`pyserini-rerank models`: the known checkpoints and their published figures."""

import json
from typing import Annotated

import typer

#: The columns of a terminal that the table needs: a narrower one breaks its lines.
WIDTH = 160


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the known checkpoints, and your own: family, size, longest input, licence, and published figures."""
    from ..scoring.checkpoints.bundled import CHECKPOINT, NAME, ORIGIN
    from ..scoring.checkpoints.catalogue import catalogue, users_file, users_rows
    from ..scoring.checkpoints.listing import EXPLAINED, HEADINGS, line_of, sources_of

    rows, own_rows = catalogue(), users_rows()
    if as_json:
        bundled = {"name": NAME, "family": "classifier", "checkpoint": CHECKPOINT, "origin": ORIGIN}
        facts = [
            {
                "name": row.name,
                "family": row.family or "classifier",
                "parameters": row.parameters,
                "longest": row.longest,
                "licence": row.licence,
                **row.published,
                "sources": row.sources or None,
                "unseen": row.unseen,
                "file": str(users_file()) if row.name in own_rows else None,
            }
            for row in rows.values()
        ]
        known = [{key: fact for key, fact in row.items() if fact is not None} for row in facts]
        print(json.dumps([bundled, *known], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console, wide = (Console(highlight=False, markup=False, width=width) for width in (None, WIDTH))
    for heading, names in ((HEADINGS[0], rows.keys() - own_rows.keys()), ("yours", own_rows.keys())):
        if names:
            table = Table(box=None)
            for place, column in enumerate((heading, *HEADINGS[1:])):
                table.add_column(column, no_wrap=True, justify="left" if place in (0, 1, 4) else "right")
            for name in (name for name in rows if name in names):
                table.add_row(*line_of(rows[name]))
            wide.print(table)
            console.print()
    console.print(EXPLAINED)
    console.print(f"Sources: {', '.join(sources_of(rows.values()))}; and the checkpoints' own pages.\n")
    if own_rows:
        console.print(f"Yours are of {users_file()}.", soft_wrap=True)
    console.print(f"{NAME} is {CHECKPOINT} {ORIGIN}.")
    console.print("Any other cross-encoder with one label loads as well.")
