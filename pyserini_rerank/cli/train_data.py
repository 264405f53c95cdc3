"""`pyserini-rerank train-data`: training data from a first stage, topics and qrels."""

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import one_of
from . import console
from .options import Cache, Device, Dtype, MaxLength, Options, named_as_options, options_of, texts_of

Text = str | None
File = Path | None
Number = int | None
Numbers = tuple[int, int] | None


def train_data(
    topics: Annotated[str, typer.Option(help="A file, or a name that Pyserini or ir_datasets knows.")],
    qrels: Annotated[str, typer.Option(help="The judgements: a file, or a name.")],
    output: Annotated[Path, typer.Option(help="The folder to make, with Parquet files and a card.")],
    index: Annotated[Text, typer.Option(help="Search with BM25, and read texts: a path, or a prebuilt name.")] = None,
    run: Annotated[list[Path] | None, typer.Option(help="Candidates from a run file in place of a search.")] = None,
    collection: Annotated[File, typer.Option(help="Texts from a file: JSON lines, or TSV.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Candidates a query.")] = 100,
    level: Annotated[int, typer.Option(min=1, help="The lowest grade of a relevant document.")] = 1,
    positives: Annotated[Number, typer.Option(min=1, help="Relevant documents a query. Default: all.")] = None,
    negatives: Annotated[int, typer.Option(min=0, help="Candidates a query that are not relevant.")] = 8,
    ranks: Annotated[Numbers, typer.Option(metavar="FIRST LAST", help="Ranks of negatives. Default: all.")] = None,
    random_negatives: Annotated[int, typer.Option(min=0, help="Other queries' candidates a query.")] = 0,
    teacher: Annotated[Text, typer.Option(help="The reranker whose scores are learned.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="How far negatives' teacher scores are below the best relevant one's.")
    ] = None,
    windows: Annotated[Numbers, typer.Option(metavar="SIZE STRIDE", help="Tokens of windows of long texts.")] = None,
    validation: Annotated[float, typer.Option(help="The share of the queries for early stopping.")] = 0.1,
    test: Annotated[float, typer.Option(help="The share of the queries for the last evaluation.")] = 0.1,
    seed: Annotated[int, typer.Option(help="It decides what is left to chance.")] = 0,
    backend: Annotated[Text, typer.Option(help="The teacher's scoring library.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    max_length: MaxLength = None,
    option: Options = None,
    cache: Cache = None,
    ray: Annotated[bool, typer.Option("--ray", help="Let the teacher score on a Ray cluster.")] = False,
) -> None:  # fmt: skip
    """Make training data from a search, topics and qrels.

    It writes Parquet files that any library reads. It can be interrupted, or
    killed: the same command goes on with what was found and scored.
    """
    from ..texts.stored import open_index
    from ..training.train_data import train_data as make

    given = one_of("the candidates", {"--index": index if not run else None, "--run": run})
    if run:
        one_of("the texts", {"--index": index, "--collection": collection})
    of_queries = ("positives", "negatives", "ranks", "random_negatives", "margin", "windows")
    same = (*of_queries, "teacher", "validation", "test", "seed")
    with named_as_options(*same, texts="--index or --collection", first_stage="--index or --run"):
        made = make(
            list(run) if run else open_index(given),
            topics,
            qrels,
            output,
            texts=texts_of(index if run else None, collection),
            depth=depth,
            level=level,
            positives=positives,
            negatives=negatives,
            ranks=ranks,
            random_negatives=random_negatives,
            teacher=teacher,
            margin=margin,
            windows=windows,
            validation=validation,
            test=test,
            seed=seed,
            cache=cache,
            ray=ray,
            **options_of(option, {"backend": backend, "device": device, "dtype": dtype, "max_length": max_length}),
        )
    console().print(str(made))
