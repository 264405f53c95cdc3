"""`train`: from training data and a base to a checkpoint that `load` takes."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..combining.maker import read_combination
from ..files import writing
from ..files.growing import STATE, begin, check_is_new_folder, followed, growing_folder, partial_of
from ..loading import loaded
from ..reranker import Reranker
from ..runs import plots
from ..runs.input_states import of_model
from .disk import writing_to
from .extra import check_installed
from .log import training_plot
from .losses import check_fits, default_loss
from .model_card import model_card
from .processes import count, is_first, say, take_gpu
from .settings import Settings
from .splitting import check_apart
from .training_data import SPLITS, TrainingData, of_data

if TYPE_CHECKING:
    from ..experiments.result import ExperimentResult

BASE, MODEL, CHECKPOINTS = "base", "model", "checkpoints"
#: Beginnings of the names of all files in the folder in which a checkpoint grows.
FILES = (STATE, BASE, MODEL, CHECKPOINTS)
#: The queries that the last comparison takes of those that were trained on, where there are no others.
MOST = 100
LOG, PLOT, EXPERIMENT = "training_log.jsonl", "training.png", "experiment"


@dataclass(frozen=True)
class TrainedCheckpoint:
    """A trained checkpoint. A notebook and a terminal show its table.

    Attributes
    ----------
    folder : Path
        The checkpoint, as Hugging Face has it: `pyserini_rerank.load`, sentence-transformers and others take it.
    table : ExperimentResult
        The first stage, the base, the trained checkpoint and the teacher on the test queries.
    log : list of dict
        The loss by step, and nDCG@10 of the validation queries.
    """

    folder: Path
    table: "ExperimentResult"
    log: list[dict[str, float]]

    def __repr__(self) -> str:
        return f"{self.folder}\n{self.table!r}"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def train(
    data: str | os.PathLike[str] | TrainingData,
    base: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    loss: str | None = None,
    layers: int | Sequence[int] | None = None,
    epochs: float = 1,
    batch_size: int = 32,
    learning_rate: float = 2e-5,
    warmup: float = 0.1,
    max_length: int | None = None,
    accumulate: int = 1,
    precision: str = "auto",
    evaluations: int = 10,
    patience: int = 3,
    device: str | None = None,
    seed: int = 0,
) -> TrainedCheckpoint | None:
    """Fine-tune a cross-encoder, make one of an encoder, or distil a teacher into a smaller model.

    The trainer and the losses are sentence-transformers'. A call that was interrupted, or killed, goes on from its last
    evaluation. On several GPUs start the command, or a script, with ``accelerate launch`` or ``torchrun``.

    Parameters
    ----------
    data : path or TrainingData
        The folder that `train_data` has written.
    base : str or path
        The checkpoint to begin with, or an encoder without a head: a hub name, a folder, or ``"bundled"``.
    output : path
        A folder, which gets the checkpoint in the format of Hugging Face, a card with settings and figures, the log
        and its plot, and the experiment.
    loss : str, optional
        ``"bce"``, ``"lambda"``, ``"ranknet"`` and ``"infonce"`` learn judgements, ``"margin-mse"`` and ``"mse"`` learn
        a teacher's scores. The default is margin-mse if the data has a teacher's scores, else lambda if the judgements
        have several grades of relevance, else bce.
    layers : int or sequence of int, optional
        The layers of the base to keep, by their numbers from 0; or how many, which are then chosen so that the scores
        of some training pairs change little. To choose takes minutes on a CPU.
    epochs : float
    batch_size : int
        The number of pairs of a query and a document in a batch of a device. The lists of a query stay together.
    learning_rate : float
        The highest rate. It falls to 0 at the end.
    warmup : float
        The share of the steps in which the rate rises.
    max_length : int, optional
        The number of tokens to which a pair is cut; by default 512, or as many as the base reads.
    accumulate : int
        Batches whose gradients make one step.
    precision : str
        ``"float32"``, or mixed precision with ``"bfloat16"`` or ``"float16"``. By default bfloat16 on a GPU that
        has it, and on a CPU with AMX, else float32, as for DeBERTa's first version.
    evaluations : int
        How often the validation queries are reranked, at equal distances. The best checkpoint is kept.
    patience : int
        Stop after so many evaluations without a better nDCG@10.
    device : str, optional
        ``"cpu"``, ``"cuda"`` or ``"mps"``; by default the best there is.
    seed : int
        The same seed gives the same checkpoint on the same machine.

    Returns
    -------
    TrainedCheckpoint
        None in a process of a distributed training that is not the first.

    Raises
    ------
    FileExistsError
        The output exists already.
    FileNotFoundError
        There is no data in the folder, or no base of this name.
    ValueError, TypeError
        The loss does not fit the data; a query is in two splits; the teacher is not what it was; the base is no encoder
        with at most two labels; an argument is out of range; the output was begun with other settings.
    FloatingPointError
        A loss or a score is no number. The best checkpoint so far is kept.
    ImportError
        The extra `train` is not installed.
    OSError
        A file cannot be written. The last complete checkpoint is kept, and the same call goes on from there.
    """
    check_installed()
    data = data if isinstance(data, TrainingData) else TrainingData(data)
    settings = Settings(
        default_loss(data) if loss is None else loss, layers, epochs, batch_size, learning_rate, warmup, max_length,
        accumulate, precision, evaluations, patience, seed,
    )  # fmt: skip
    check_fits(settings.loss, data)
    check_apart({split: data.topics(split) for split in SPLITS})
    _check_teacher(data)
    from transformers import set_seed

    from ..scoring.device import device_of
    from .held_out import HeldOut
    from .layers import choose_layers, keep_layers
    from .loop import fit, precision_of
    from .quiet import quiet
    from .student import make_student

    take_gpu()
    place, target = device_of(device), followed(output)
    kind = place.type
    if place.index:  # the trainer takes the first that it sees
        raise ValueError(f"device={device!r}: set CUDA_VISIBLE_DEVICES={place.index}, and take 'cuda'.")
    check_is_new_folder(target)
    with quiet():
        set_seed(seed)
        # A base that is refused leaves no folder behind, so that other settings can be tried.
        model = make_student(base, max_length)
        computed = precision_of(precision, kind, model)
        if layers is not None:
            named: Any = layers
            if isinstance(layers, Integral):
                named = choose_layers(model, named, data, kind)
            settings = replace(settings, layers=keep_layers(model, named))
    described = {
        "data": of_data(data),
        "base": of_model(base),
        **asdict(settings),
        "computes_in": computed,
        "processes": count(),
    }
    settings = replace(settings, precision=computed)
    with quiet(), _folder(target, described) as folder, writing_to(folder):
        if is_first():
            model.save_pretrained(str(folder / BASE), create_model_card=False)
        validation = HeldOut(data, "validation", kind)
        log = fit(model, data, settings, validation if validation.topics else None, folder / CHECKPOINTS, kind)
        if not is_first():
            return None
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        model.save_pretrained(str(folder / MODEL), create_model_card=False)
        split, table = _compare(data, folder, kind)
        card = model_card(os.fspath(base), data, settings, split, table)
        _write(folder / MODEL, card, table, log)
        os.replace(folder / MODEL, target)
        shutil.rmtree(folder)
    return TrainedCheckpoint(target, table, log)


@contextmanager
def _folder(target: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Give the folder in which a checkpoint grows; only the first process makes it, and checks the settings."""
    if not is_first():
        yield partial_of(target)
        return
    with growing_folder(target, partial(check_is_new_folder, target), FILES) as folder:
        begin(folder, settings)
        yield folder


def _check_teacher(data: TrainingData) -> None:
    """Check that the teacher is there for the last comparison, and is the one whose scores are learned.

    Raises
    ------
    ValueError
        It is another one now, or not there.
    """
    teacher = data.settings["teacher"]
    if teacher and teacher["model"] and of_model(teacher["model"]) != teacher["state"]:
        raise ValueError(
            f"the teacher {teacher['model']} is not there, or not what it was when the data was made: it is compared "
            "with the result, so put it back, or make the data anew."
        )


def _compare(data: TrainingData, folder: Path, device: str) -> "tuple[str, ExperimentResult]":
    """Compare the first stage, the base, the trained checkpoint and the teacher, and name the split it was done on."""
    from .held_out import HeldOut

    for split in ("test", "validation", "train"):
        held_out = HeldOut(data, split, device, MOST if split == "train" else None)
        if held_out.topics:
            break
    if split != "test":
        queries = f"{len(held_out.topics)} {split} queries"
        say(f"the data has no test queries, so the figures are those of {queries}.")
    systems = {name: held_out.system(folder / model) for name, model in (("base", BASE), ("trained", MODEL))}
    teacher = data.settings["teacher"]
    if teacher and teacher["model"]:
        try:
            with _as_it_scored(teacher, device) as reranker:
                return split, held_out.compare(
                    {**systems, "teacher": held_out.reading_windows(reranker)}, baseline="base"
                )
        except Exception as error:  # a server that is gone, a model that does not fit here: the training is not lost
            say(f"the table lacks the teacher, which does not score here: {error}")
    return split, held_out.compare(systems, baseline="base")


def _as_it_scored(teacher: Mapping[str, Any], device: str) -> AbstractContextManager[Reranker]:
    """Load a teacher with the options with which it scored the data, such as its backend."""
    options = {name: value for name, value in teacher.items() if name not in ("model", "state", "device")}
    is_checkpoint = isinstance(teacher["model"], str) and read_combination(teacher["model"]) is teacher["model"]
    if is_checkpoint and options.get("backend", "torch") in ("torch", "sentence-transformers"):
        options["device"] = device
    return loaded(teacher["model"], **options)


def _write(folder: Path, card: str, table: "ExperimentResult", log: list[dict[str, float]]) -> None:
    """Write the log, its plot, the experiment and the card beside a checkpoint."""
    writing.replace(folder / LOG, "".join(json.dumps(entry) + "\n" for entry in log))
    plots.save(training_plot(log), folder / PLOT)
    table.save(folder / EXPERIMENT)
    writing.replace(folder / "README.md", card)
