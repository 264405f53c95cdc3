"""`pyserini-rerank train`: a checkpoint from training data."""

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import named_as_options

Text = str | None


def train(
    data: Annotated[Path, typer.Option(help="The folder that `train-data` has written.")],
    base: Annotated[str, typer.Option(help="A checkpoint or an encoder: a hub name, a folder, 'bundled'.")],
    output: Annotated[Path, typer.Option(help="The folder to make, with the checkpoint and its card.")],
    loss: Annotated[Text, typer.Option(help="bce, lambda, ranknet, infonce, margin-mse or mse.")] = None,
    layers: Annotated[Text, typer.Option(help="Layers of the base to keep: 4 chooses four, or name 0,3,7,11.")] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the data.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs in a batch of a device.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="The highest rate.")] = 2e-5,
    warmup: Annotated[float, typer.Option(help="The share of the steps in which the rate rises.")] = 0.1,
    max_length: Annotated[int | None, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches of one step.")] = 1,
    precision: Annotated[str, typer.Option(help="'float32', 'bfloat16', 'float16' or 'auto'.")] = "auto",
    evaluations: Annotated[int, typer.Option(min=1, help="How often validation queries are reranked.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many evaluations without a gain.")] = 3,
    device: Annotated[Text, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="It decides what is left to chance.")] = 0,
) -> None:  # fmt: skip
    """Fine-tune a cross-encoder, or distil a teacher into a smaller one.

    It ends with a table: the first stage, the base, the trained checkpoint and
    the teacher on queries that none was trained on. It can be interrupted, or
    killed: the same command goes on from the last evaluation. On several GPUs
    start it with `accelerate launch` or `torchrun`.
    """
    from ..training.train import train as train_checkpoint

    with named_as_options("learning_rate", "layers", "loss", "precision", "max_length", "teacher"):
        trained = train_checkpoint(
            data,
            base,
            output,
            loss=loss,
            layers=_layers(layers),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            max_length=max_length,
            accumulate=accumulate,
            precision=precision,
            evaluations=evaluations,
            patience=patience,
            device=device,
            seed=seed,
        )
    if trained:
        console().print(trained.table)
        print(trained.folder)


def _layers(text: str | None) -> int | list[int] | None:
    """Read a number of layers, or the layers' numbers."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--layers {text}: give a number, or numbers with commas, such as 0,3,7,11.") from None
    return numbers if "," in text else numbers[0]
