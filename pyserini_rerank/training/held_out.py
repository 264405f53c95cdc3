"""Held-out queries, whose candidates a checkpoint reranks as in any search, to tell how good it is."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import catch_warnings, simplefilter

from sentence_transformers.base.evaluation import BaseEvaluator

from ..counts import CutWarning
from ..experiments.experiment import experiment
from ..experiments.result import ExperimentResult
from ..runs.evaluation import MEASURE
from .training_data import TrainingData


class HeldOut:
    """The queries of a split, with their candidates.

    Parameters
    ----------
    data : TrainingData
    split : str
    device : str
        The device on which checkpoints are evaluated, in float32.
    most : int, optional
        The number of queries to take.
    """

    def __init__(self, data: TrainingData, split: str, device: str, most: int | None = None) -> None:
        self.data, self.split, self.device = data, split, device
        self.topics: dict[str, str] = {}
        self.hits: dict[str, dict[str, float]] = {}
        self.texts: dict[str, str] = {}
        for query in islice(data.queries(split), most):
            self.topics[query.qid] = query.query
            found = [document for document in query.documents if document.rank is not None]
            self.hits[query.qid] = {document.docid: -float(document.rank or 0) for document in found}
            self.texts.update((document.docid, document.text) for document in found)
        self.qrels = {qid: data.qrels[qid] for qid in self.topics}

    def system(self, folder: Path) -> tuple[Any, Any]:
        """Give a system of an experiment: the candidates, and a checkpoint that is read as the data is made."""
        return self.reading_windows({"model": str(folder), "device": self.device, "dtype": "float32"})

    def reading_windows(self, checkpoint: Any) -> tuple[Any, Any]:
        """Give a system of an experiment: the candidates and a reranker, which reads windows if the data is so made."""
        windows = self.data.settings["windows"]
        if windows:
            checkpoint = {"windows": {"reranker": checkpoint, "size": windows[0], "stride": windows[1]}}
        return self.hits, checkpoint

    def compare(self, systems: Mapping[str, Any], **options: Any) -> ExperimentResult:
        """Compare systems with each other and with the first stage."""
        depth = max(1, *map(len, self.hits.values()))
        return experiment(
            {"first stage": self.hits, **systems}, self.topics, self.qrels, texts=self.texts, depth=depth,
            level=self.data.level, **options,
        )  # fmt: skip


class Evaluator(BaseEvaluator):
    """Evaluates a model in training: it is saved, loaded as a user would, and reranks the held-out queries.

    Parameters
    ----------
    held_out : HeldOut
    folder : path
        A folder for a copy of the model.
    """

    def __init__(self, held_out: HeldOut, folder: Path) -> None:
        super().__init__()
        self.held_out, self.folder = held_out, folder
        self.primary_metric = MEASURE

    def __call__(self, model: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        with TemporaryDirectory(dir=self.folder) as folder, catch_warnings():
            simplefilter("ignore", CutWarning)  # the last evaluation tells of it
            model.save_pretrained(folder, create_model_card=False)
            result = self.held_out.compare({"checkpoint": self.held_out.system(Path(folder))}, measures=[MEASURE])
            return {MEASURE: result.mean("checkpoint", MEASURE)}
