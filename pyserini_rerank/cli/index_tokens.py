"""`pyserini-rerank index-tokens`: tokenizing the documents of an index or a collection once."""

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import one_of


def index_tokens(
    tokenizer: Annotated[str, typer.Option(help="The checkpoint: its hub name, a folder, or 'bundled'.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    index: Annotated[str | None, typer.Option(help="The index with the documents: a path or a prebuilt name.")] = None,
    collection: Annotated[Path | None, typer.Option(help="The file with the documents: JSON lines or TSV.")] = None,
) -> None:
    """Tokenize all documents once, for every checkpoint with the same vocabulary.

    It can be interrupted, or killed, at any moment: the same command resumes it, and writes the same bytes.
    """
    from rich.console import Console

    from ..scoring.checkpoints.checkpoint import resolve
    from ..scoring.checkpoints.settings import load_settings
    from ..texts.collection import CollectedDocuments
    from ..texts.index_documents import IndexedDocuments
    from ..texts.token_writer import Documents, write

    one_of("the documents", {"--index": index, "--collection": collection})
    documents: Documents = CollectedDocuments(collection) if collection else IndexedDocuments(str(index))
    meta = write(output, documents, load_settings(resolve(tokenizer)).tokenizer, tokenizer)
    console = Console(highlight=False, markup=False)
    size = sum(meta["bytes"].values())
    console.print(f"{output}: {meta['documents']:,} documents, {size / meta['documents']:.0f} bytes each")
    if meta["without_text"]:
        console.print(f"left out: {meta['without_text']:,} (document without text)")
