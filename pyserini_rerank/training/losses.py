"""The losses by name: the data that each fits, and the rows that it reads. The losses are sentence-transformers'."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .training_data import JudgedQuery, TrainingData

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from torch import nn

Row = dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """A loss.

    Parameters
    ----------
    class_name : str
        Its class in `sentence_transformers.cross_encoder.losses`.
    needs_teacher : bool
        It learns a teacher's scores, and not the grades of the judgements.
    rows : callable
        Gives the rows of a query, with the lowest grade of a relevant document and the most others of a query.
    """

    class_name: str
    needs_teacher: bool
    rows: Callable[[JudgedQuery, int, int], Iterator[Row]]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, model: "CrossEncoder") -> "nn.Module":
        """Make the loss, which reads raw logits. For a teacher's scores the model's dropout is set to 0."""
        from sentence_transformers.cross_encoder import losses
        from torch import nn

        if self.needs_teacher:
            # They are exact: noise only blurs them, and drawing it takes a third of the time on a CPU.
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        loss: nn.Module = getattr(losses, self.class_name)(model, **self.options)
        if hasattr(loss, "get_in_batch_negatives"):
            # Documents of the other rows may be relevant: a query has a row for each of its relevant documents.
            loss.get_in_batch_negatives = lambda *columns: iter(())  # type: ignore[assignment]
        return loss


def _pairs(query: JudgedQuery, level: int, others: int, *, graded: bool) -> Iterator[Row]:
    for document in query.documents:
        label = float(document.is_relevant(level)) if graded else document.teacher_score
        yield {"query": query.query, "text": document.text, "label": label}


def _list(query: JudgedQuery, level: int, others: int) -> Iterator[Row]:
    labels = [float(document.grade or 0) if document.is_relevant(level) else 0.0 for document in query.documents]
    yield {"query": query.query, "texts": [document.text for document in query.documents], "labels": labels}


def _groups(query: JudgedQuery, level: int, others: int, *, scored: bool) -> Iterator[Row]:
    """Give each relevant document with all others, some of them twice where a query has fewer than most."""
    negatives = list(islice(cycle(query.others(level)), others))
    for document in query.relevant(level) if negatives else ():
        row: Row = {"query": query.query, "relevant": document.text}
        row |= {f"other_{number}": negative.text for number, negative in enumerate(negatives, 1)}
        if scored:
            row["label"] = [document.teacher_score, *(negative.teacher_score for negative in negatives)]
        yield row


#: The losses by the name that `train` takes.
LOSSES = {
    "bce": Loss("BinaryCrossEntropyLoss", False, partial(_pairs, graded=True)),
    # They give the model as many pairs at a time as a batch has queries. All at once, padded to the longest of them,
    # took twice as long on a CPU.
    "lambda": Loss("LambdaLoss", False, _list),
    "ranknet": Loss("RankNetLoss", False, _list),
    # By default it scales a sigmoid of the logits.
    "infonce": Loss(
        "MultipleNegativesRankingLoss", False, partial(_groups, scored=False), {"activation_fn": None, "scale": 1}
    ),
    "margin-mse": Loss("MarginMSELoss", True, partial(_groups, scored=True)),
    "mse": Loss("MSELoss", True, partial(_pairs, graded=False)),
}


def default_loss(data: TrainingData) -> str:
    """Give the name of the loss that fits the data: a teacher's margins, lists of several grades, or labels."""
    if data.has_teacher:
        return "margin-mse"
    grades = {document.grade for query in data.queries("train") for document in query.relevant(data.level)}
    return "lambda" if len(grades) > 1 else "bce"


def check_fits(name: str, data: TrainingData) -> None:
    """Check a loss's name, and that the data has what it learns.

    Raises
    ------
    ValueError
        There is no such loss; the data has no teacher's scores, or nothing to learn.
    """
    if name not in LOSSES:
        raise ValueError(f"loss={name!r}: there are {', '.join(LOSSES)}.")
    if LOSSES[name].needs_teacher and not data.has_teacher:
        others = ", ".join(other for other, loss in LOSSES.items() if not loss.needs_teacher)
        raise ValueError(
            f"loss={name!r} learns a teacher's scores, and {data.folder} has none: make the data with teacher=, or "
            f"take one of {others}."
        )
    if next(_rows(name, data), None) is None:
        raise ValueError(f"no query of {data.folder} has a relevant document and another one to train on.")


def rows_of(name: str, data: TrainingData, folder: Path) -> tuple["Dataset", float]:
    """Give the rows that a loss reads, from a file in a folder, and the mean number of documents of a row."""
    from datasets import Dataset

    made = Dataset.from_generator(_rows, cache_dir=str(folder), gen_kwargs={"name": name, "data": data})
    if "texts" in made.column_names:
        return made, sum(map(len, made["labels"])) / len(made)
    return made, len(set(made.column_names) - {"query", "label"})


def _rows(name: str, data: TrainingData) -> Iterator[Row]:
    others = max((len(query.others(data.level)) for query in data.queries("train")), default=0)
    for query in data.queries("train"):
        yield from LOSSES[name].rows(query, data.level, others)
