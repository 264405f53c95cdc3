"""The list of the known checkpoints, as the command `models` and the documentation show it."""

from collections.abc import Iterable

from .catalogue import Row

#: The heading of each published figure.
FIGURES = {"dl19": "DL19", "dl20": "DL20", "dev": "dev", "beir": "BEIR", "mteb": "MTEB", "docs_per_second": "docs/s"}
#: The headings of a table of checkpoints. Those from the third on are of numbers, except for the licence.
HEADINGS = ("checkpoint", "family", "parameters", "longest", "licence", *FIGURES.values())
#: What the figures are.
EXPLAINED = (
    "Parameters are in millions, and the longest input is in tokens. The figures are those that others have published "
    "(x 100): nDCG@10 on TREC DL 2019 and 2020 and MRR@10 on MS MARCO dev, reranking the official top 1000; mean "
    "nDCG@10 on BEIR, on datasets and candidates that differ from one author to the next; mean nDCG@10 on MTEB(eng, "
    "v2) Retrieval, reranking the top 100 of six embedding models; passages a second on a V100."
)


def line_of(row: Row) -> list[str]:
    """Give a checkpoint's line of the table, a cell for each of `HEADINGS`; unknown facts are empty."""
    figures = (f"{row.published[name]:.2f}" if name in row.published else "" for name in list(FIGURES)[:-1])
    speed = row.published.get("docs_per_second")
    return [
        row.name,
        row.family or "classifier",
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.longest:,}" if row.longest else "",
        row.licence or "",
        *figures,
        f"{speed:,}" if speed else "",
    ]


def sources_of(rows: Iterable[Row]) -> list[str]:
    """List the sources of the figures of checkpoints, apart from their own pages."""
    return sorted({source for row in rows for source in row.sources if not source.startswith("its ")})
