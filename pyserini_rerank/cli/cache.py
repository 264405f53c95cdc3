"""`pyserini-rerank cache`: inspecting and deleting a score cache."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Inspect a score cache, or delete it.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="The folder that --cache or cache= named.")]


@app.command()
def info(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check all scores, and print their number and the size of the cache."""
    from ..scoring.score_store import DATA, ScoreStore

    if not (folder / DATA).is_file():
        raise FileNotFoundError(f"{folder} is no score cache: name the folder that was given as --cache.")
    store = ScoreStore(folder)
    store.verify()
    scores, size = len(store), (folder / DATA).stat().st_size
    store.close()
    if as_json:
        print(json.dumps({"folder": str(folder), "scores": scores, "bytes": size}))
    else:
        print(f"{folder}: {scores:,} scores, {size / 1e6:,.1f} MB; every checksum is right")


@app.command()
def clear(folder: Folder) -> None:
    """Delete a score cache and its folder."""
    from ..scoring.score_store import clear as clear_cache

    clear_cache(folder)
