"""`pyserini-rerank models`: the known checkpoints and what was published of them."""

import json
from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the known checkpoints with the figures that their model card publishes."""
    from ..scoring.checkpoints import catalogue

    rows = catalogue().values()
    if as_json:
        print(json.dumps([{"name": row.name, **row.published} for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("checkpoint", no_wrap=True)
    for heading in ("DL19", "dev", "docs/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        facts = row.published
        table.add_row(row.name, f"{facts['dl19']:.2f}", f"{facts['dev']:.2f}", str(facts["docs_per_second"]))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "\nAs published: nDCG@10 on TREC DL 2019 and MRR@10 on MS MARCO dev (x 100), reranking the official top 1000; "
        "passages a second on a V100. Any other cross-encoder with one label loads as well."
    )
