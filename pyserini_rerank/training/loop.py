"""The loop of training: sentence-transformers' trainer with a progress bar, a stop at a bad loss, and resuming."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from ..progress import bar
from ..runs.evaluation import MEASURE
from .attention import attend_in_float32
from .batches import ByLength
from .held_out import Evaluator, HeldOut
from .log import METRIC
from .losses import LOSSES, rows_of
from .settings import Settings
from .training_data import TrainingData

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

#: A checkpoint of the trainer is complete once it has this file.
TRAINER_STATE = "trainer_state.json"
#: How often the loss is logged: about so many times in a training.
LOGGED = 100
#: The seconds that an evaluation may take.
EVALUATION = 7 * 24 * 3600
#: What the log keeps of an entry of the trainer's, which has times as well.
KEYS = ("step", "epoch", "loss", "grad_norm", "learning_rate", METRIC)
#: Types of models whose attention transformers 5.23 masks with float32's least number, which half precision lacks.
FLOAT32_ALONE = ("deberta",)


class Trainer(CrossEncoderTrainer):
    """A trainer that stops where a loss or a score is no number."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        result = super().compute_loss(*args, **kwargs)
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss).all():
            raise self._stopped(f"the loss is {loss.item()} at step {self.state.global_step + 1}")
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().evaluate(*args, **kwargs)
        except FloatingPointError:
            step = self.state.global_step
            if not step:
                raise FloatingPointError("the base scores pairs by no number: its weights are damaged.") from None
            raise self._stopped(f"a score of the validation queries is no number after step {step}") from None

    def get_batch_sampler(self, *args: Any, **kwargs: Any) -> Any:
        self.batches: Any = super().get_batch_sampler(*args, **kwargs)
        return self.batches

    def _stopped(self, what: str) -> FloatingPointError:
        best = self.state.best_model_checkpoint
        kept = f"the best checkpoint so far is {best}" if best else "there is no checkpoint yet"
        return FloatingPointError(f"{what}: give a smaller learning_rate=, or precision='float32'; {kept}.")

    def _load_best_model(self) -> None:
        """Load the best model; sentence-transformers goes on with the last one if this fails."""
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


class Patience(EarlyStoppingCallback):
    """The stop after evaluations without a gain. It stays stopped where a training that it has stopped goes on."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        control.should_training_stop |= self.early_stopping_patience_counter >= self.early_stopping_patience


class Epochs(TrainerCallback):
    """Tells the batches the number of the epoch.

    transformers does so as well, but not where a training goes on within an epoch in several processes.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.batches.set_epoch(int(state.epoch))


class Bar(TrainerCallback):
    """A progress bar over the steps, with the loss and nDCG@10 of the held-out queries."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        off = {} if state.is_world_process_zero else {"disable": True}
        self.bar = bar(state.max_steps, "training", "step", initial=state.global_step, leave=True, **off)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for key, name in (("loss", "loss"), (METRIC, MEASURE)):
            if key in (logs or {}):
                self.shown[name] = f"{logs[key]:.4f}"
        self.bar.set_postfix(self.shown)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def precision_on(device: str) -> str:
    """Give the default precision on a device: bfloat16 on a GPU that has it and on a CPU with AMX, else float32."""
    if device == "cuda":
        multiplies = torch.cuda.is_bf16_supported()
    else:
        multiplies = device == "cpu" and torch.cpu.get_capabilities().get("amx_bf16", False)
    return "bfloat16" if multiplies else "float32"


def precision_of(wanted: str, device: str, model: "CrossEncoder") -> str:
    """Give the precision in which a model is trained on a device.

    Raises
    ------
    ValueError
        The device, or a model of this type, is not trained in the precision that is wanted.
    """
    transformer: Any = model[0].model
    model_type = transformer.config.model_type
    is_float32_alone = model_type in FLOAT32_ALONE
    if wanted == "auto":
        return "float32" if is_float32_alone else precision_on(device)
    if is_float32_alone and wanted != "float32":
        raise ValueError(f"precision={wanted!r}: transformers trains a {model_type} in float32 alone: take 'float32'.")
    if wanted == "float16" and device == "cpu":
        raise ValueError("precision='float16' needs a GPU: take 'bfloat16' or 'float32'.")
    return wanted


def fit(
    model: "CrossEncoder", data: TrainingData, settings: Settings, validation: HeldOut | None, folder: Path, device: str
) -> list[dict[str, float]]:
    """Train a model, which has the best weights then, and give the log: a dict for each loss and each evaluation.

    A training that was interrupted in the folder goes on from its last complete checkpoint.

    Raises
    ------
    FloatingPointError
        A loss is no number.
    ValueError
        There are fewer batches than processes.
    """
    args = _arguments(settings, folder, device, model.prompts.get(model.default_prompt_name or ""))
    if args.bf16 and device == "cpu":
        attend_in_float32(model[0].model)
    rows, documents = rows_of(settings.loss, data, folder / f"rows-{args.process_index}")
    # The caller's number of pairs, as rows of several documents each.
    args.per_device_train_batch_size = max(1, int(settings.batch_size / documents))
    batches = _batches(len(rows), args)
    steps = math.ceil(math.ceil(batches / settings.accumulate) * settings.epochs)
    args.logging_steps = max(1, steps // LOGGED)
    args.eval_steps = args.save_steps = math.ceil(steps / settings.evaluations)
    checkpoint = _last_checkpoint(folder)
    args.eval_on_start = bool(validation) and checkpoint is None
    shown = Bar()
    callbacks: list[Any] = [shown]
    if validation:
        callbacks.append(Patience(settings.patience))
    else:
        args.eval_strategy, args.load_best_model_at_end, args.metric_for_best_model = "no", False, None
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=rows,
        loss=LOSSES[settings.loss].make(model),
        evaluator=Evaluator(validation, folder) if validation else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Epochs(trainer))
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        shown.close()
    return [
        {key: entry[key] for key in KEYS if key in entry}
        for entry in trainer.state.log_history
        if "loss" in entry or METRIC in entry
    ]


def _batches(rows: int, args: CrossEncoderTrainingArguments) -> int:
    """Give the number of batches of an epoch that each process has. Those of several processes are full."""
    size, processes = int(args.per_device_train_batch_size), int(args.world_size)
    if processes == 1:
        return math.ceil(rows / size)
    if rows < size * processes:
        raise ValueError(f"{rows} rows are less than a batch of {size} for each of {processes} processes: start fewer.")
    return rows // size // processes


def _arguments(settings: Settings, folder: Path, device: str, prompt: str | None) -> CrossEncoderTrainingArguments:
    args = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        bf16=settings.precision == "bfloat16",
        fp16=settings.precision == "float16",
        eval_strategy="steps",
        save_strategy="steps",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        logging_nan_inf_filter=False,
        seed=settings.seed,
        batch_sampler=ByLength,
        prompts=prompt or None,
        use_cpu=device == "cpu",
        # All weights of a classifier are read. What torch looks for unused ones in is no plain dict, so that it would
        # take all for unused.
        ddp_find_unused_parameters=False,
        # The other processes wait while the first one evaluates.
        ddp_timeout=EVALUATION,
        dataloader_pin_memory=device == "cuda",
        disable_tqdm=True,
        report_to="none",
    )
    _ = args.device  # it counts the GPUs, and more than one in a process would train in threads
    args._n_gpu = min(args._n_gpu, 1)
    return args


def _last_checkpoint(folder: Path) -> str | None:
    """Find the last checkpoint that was completely written."""
    complete: dict[int, Path] = {}
    for state in folder.glob(f"checkpoint-*/{TRAINER_STATE}"):
        try:
            complete[int(json.loads(state.read_bytes())["global_step"])] = state.parent
        except ValueError:
            continue  # the disk was full, or the process was killed
    return str(complete[max(complete)]) if complete else None
