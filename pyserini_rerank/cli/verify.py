"""`pyserini-rerank verify`: whether an engine gives the reference's scores."""

from typing import Annotated

import typer

from . import console
from .options import Dtype, Options, named_as_options, options_of

Text = str | None


def verify(
    model: Annotated[str, typer.Option(help="The checkpoint: a hub name, a folder or 'bundled'.")],
    engine: Annotated[
        Text,
        typer.Option("--url", "--file", help="What is verified, if not --model itself: a server, or an .onnx file."),
    ] = None,
    backend: Annotated[str, typer.Option(help="The scoring library; 'http' for a server.")] = "torch",
    device: Annotated[Text, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Dtype = None,
    max_length: Annotated[int | None, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
    option: Options = None,
) -> None:
    """Compare an engine, a server, a dtype or an export with torch in float32.

    Both score a fixed corpus. It prints how far scores and order differ, and
    names what the engine does wrong: cuts, sigmoids, swapped texts, token
    types, case, special tokens, prompts. The exit status is 1 if more than 2
    in 100 pairs of passages of a query are swapped or tied.
    """
    from ..verification import verify as verification

    options = options_of(option, {"device": device, "dtype": dtype, "max_length": max_length})
    with named_as_options(engine="--url"):
        result = verification.verify(model, engine, backend=backend, **options)
    console().print(str(result))
    if not result.is_close:
        raise typer.Exit(1)
