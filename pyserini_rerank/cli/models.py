"""`pyserini-rerank models`: the known checkpoints and what was published of them."""

import json
from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the known checkpoints: those of the model card with its figures, and others."""
    from ..scoring.checkpoints.catalogue import catalogue, of_the_card

    rows, card = catalogue(), of_the_card()
    if as_json:
        facts = [{"name": row.name, "family": row.family or "classifier", **row.published} for row in rows.values()]
        print(json.dumps(facts, indent=2))
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
    others = Table(box=None)
    others.add_column("others", no_wrap=True)
    others.add_column("family")
    for name in (name for name in rows if name not in card):
        others.add_row(name, rows[name].family or "classifier")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "\nAs published: nDCG@10 on TREC DL 2019 and MRR@10 on MS MARCO dev (x 100), reranking the official top 1000; "
        "passages a second on a V100.\n"
    )
    console.print(others)
    console.print("\nAny other cross-encoder with one label loads as well.")
