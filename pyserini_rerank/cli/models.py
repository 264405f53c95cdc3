"""`pyserini-rerank models`: the known checkpoints and their published figures."""

import json
from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the known checkpoints: the model card's with their figures, others, and your own."""
    from ..scoring.checkpoints.bundled import CHECKPOINT, NAME, ORIGIN
    from ..scoring.checkpoints.catalogue import catalogue, of_the_card, users_file, users_rows

    rows, card, own_rows = catalogue(), of_the_card(), users_rows()
    if as_json:
        facts = [{"name": row.name, "family": row.family or "classifier", **row.published} for row in rows.values()]
        bundled = {"name": NAME, "family": "classifier", "checkpoint": CHECKPOINT, "origin": ORIGIN}
        with_files = [{**row, "file": str(users_file())} if row["name"] in own_rows else row for row in facts]
        print(json.dumps([bundled, *with_files], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("checkpoint", no_wrap=True)
    for heading in ("DL19", "dev", "docs/s"):
        table.add_column(heading, justify="right")
    for name in card:
        figures = rows[name].published
        table.add_row(name, f"{figures['dl19']:.2f}", f"{figures['dev']:.2f}", str(figures["docs_per_second"]))
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(
        "\nAs published: nDCG@10 on TREC DL 2019 and MRR@10 on MS MARCO dev (x 100), reranking the official top 1000; "
        "passages a second on a V100.\n"
    )
    for heading, names in (("others", rows.keys() - {*card, *own_rows}), ("yours", own_rows.keys())):
        if names:
            others = Table(box=None)
            others.add_column(heading, no_wrap=True)
            others.add_column("family")
            for name in (name for name in rows if name in names):
                others.add_row(name, rows[name].family or "classifier")
            console.print(others)
            console.print()
    if own_rows:
        console.print(f"Yours are of {users_file()}.", soft_wrap=True)
    console.print(f"{NAME} is {CHECKPOINT} {ORIGIN}.")
    console.print("Any other cross-encoder with one label loads as well.")
