"""`pyserini-rerank reproduce`: the model card's table and similar ones, by commands that it prints."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import FAILURES, console
from .options import named_as_options

if TYPE_CHECKING:
    from ..experiments.conditions import Condition
    from ..experiments.matrix import Cell

#: The test sets of the model card.
CARD = ("dl19-passage", "msmarco-passage-dev-subset")

Names = list[str] | None


def reproduce(
    test_set: Annotated[Names, typer.Option(help="May be repeated. Default: the model card's two.")] = None,
    first_stage: Annotated[Names, typer.Option(help="May be repeated. Default: official.")] = None,
    model: Annotated[Names, typer.Option(help="May be repeated. Default: the fifteen of the model card.")] = None,
    depth: Annotated[
        int, typer.Option(min=1, help="The candidates a query to rerank; of the official ones all.")
    ] = 1000,
    output: Annotated[Path, typer.Option(help="The folder for runs and report.")] = Path("reproduction"),
    files: Annotated[
        Path | None, typer.Option(help="The folder of the official candidates, which are fetched. Default: the cache.")
    ] = None,
    conditions: Annotated[Path | None, typer.Option(help="A YAML file with conditions of your own.")] = None,
    cache: Annotated[Path | None, typer.Option(help="A folder of scores, shared between runs.")] = None,
    device: Annotated[str | None, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="'float32', 'bfloat16' or 'float16'.")] = None,
    measure: Annotated[Names, typer.Option(help="Another measure of ir-measures to report. May be repeated.")] = None,
    as_list: Annotated[bool, typer.Option("--list", help="List the runs and their states; run nothing.")] = False,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands; run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows of the report as JSON.")] = False,
) -> None:
    """Run the missing cells of a matrix of checkpoints, test sets and first stages, and report on all cells.

    By default it is the table of the model card: its checkpoints on MS MARCO's
    official top 1000 of TREC DL 2019 and MS MARCO dev. An interrupted run is
    resumed, and a complete run is not run again.
    """
    from ..experiments import report
    from ..experiments.conditions import OFFICIAL, load_conditions, select
    from ..experiments.matrix import Cell
    from ..files.cache import cache_folder
    from ..files.writing import held
    from ..runs.measures import parse_measures
    from ..scoring.checkpoints.catalogue import of_the_card

    chosen = select(load_conditions(conditions), test_set or CARD, first_stage or [OFFICIAL], depth)
    options = {"dtype": dtype, "device": device, "cache": cache}
    rerank_options = {name: str(value) for name, value in options.items() if value}
    folder, files = output.expanduser(), files.expanduser() if files else cache_folder() / "official"
    known: dict[Any, str | None] = {}
    cells = [
        Cell(condition, name, folder, files, rerank_options, measure or (), known)
        for condition in chosen
        for name in model or of_the_card()
    ]
    parse_measures(measure)
    for cell in cells:
        parse_measures([cell.condition.measure])  # raises where the conditions name none
    if commands:
        _print_commands(cells)
        return
    if as_list:
        _print_list(cells, as_json)
        return
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    with held(folder / "report.md", folder):
        try:
            with redirect_stdout(sys.stderr):
                failures += _run_all(cells)
        finally:
            rows = [cell.row() for cell in cells]
            report_files = report.write(rows, folder)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(*report_files, sep="\n")
    done = sum(row["state"] == "done" for row in rows)
    print(*failures, f"{done} of {len(rows)} runs are there.", sep="\n", file=sys.stderr)
    if failures:
        sys.exit(1)


def _run_all(cells: Sequence["Cell"]) -> Iterator[str]:
    """Run the missing cells, and give a message for each cell or condition that could not be run."""
    from ..runs.job import rerank_run

    for condition, of_condition in groupby(cells, lambda cell: cell.condition):
        missing = [cell for cell in of_condition if cell.report() is None]
        if not missing:
            continue
        try:
            _make_candidates(condition, missing[0])
        except FAILURES as error:
            yield f"not run: {condition.name}: {error}"
            continue
        for cell in missing:
            try:
                cell.check()
                print(_quoted(cell.command))
                with named_as_options(reranker="--model", texts="--index or --collection"):
                    console().print(rerank_run(**cell.arguments))
            except FAILURES as error:
                yield f"not run: {condition.name}, {cell.model}: {error}"


def _make_candidates(condition: "Condition", cell: "Cell") -> None:
    """Fetch the official candidates, or search the first stage, if their file does not exist."""
    from ..experiments.conditions import OFFICIAL
    from ..experiments.matrix import check_search
    from ..runs.official_candidates import fetch
    from .search import run_search

    if condition.first_stage == OFFICIAL:
        fetch(**condition.facts[OFFICIAL], path=cell.candidates)
    elif "search" in condition.search:
        words = condition.search_command(cell.candidates)
        if cell.candidates.exists():
            check_search(cell.candidates, words)
        else:
            print(_quoted(words))
            _, kind, *arguments = words
            if wrong := [word for word in arguments if word.startswith("--reranker")]:
                raise ValueError(
                    f"a first stage is searched by Pyserini's own arguments, without {wrong[0]}: search once by the "
                    "command above, and name its output as the `run` of the first stage."
                )
            run_search(kind, arguments)


def _quoted(words: Sequence[str]) -> str:
    return shlex.join(["pyserini-rerank", *words])


def _print_commands(cells: Sequence["Cell"]) -> None:
    from ..experiments.conditions import OFFICIAL

    for condition, of_condition in groupby(cells, lambda cell: cell.condition):
        print(f"# {condition.test_set}, {condition.first_stage}")
        for position, cell in enumerate(of_condition):
            if not position and "search" in condition.search:
                print(_quoted(condition.search_command(cell.candidates)))
            elif not position and condition.first_stage == OFFICIAL:
                path, url = str(cell.candidates), condition.facts[OFFICIAL]["url"]
                print(shlex.join(["curl", "--location", "--create-dirs", "--output", path, url]))
            print(_quoted(cell.command))


def _print_list(cells: Sequence["Cell"], as_json: bool) -> None:
    rows = [cell.row() for cell in cells]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for heading, of_heading in groupby(rows, lambda row: f"{row['test_set']}, {row['first_stage']}: {row['measure']}"):
        print(f"{heading}\n{'published':>9} {'measured':>9}")
        for row in of_heading:
            figures = ("" if row[name] is None else f"{row[name]:.4f}" for name in ("published", "measured"))
            print(*(f"{figure:>9}" for figure in figures), f" {row['state']:7}", row["checkpoint"])
