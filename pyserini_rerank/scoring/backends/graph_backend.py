"""The common part of the backends that run a sequence classifier as a graph on the CPU: ONNX Runtime and OpenVINO."""

import logging
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from ...files.cache import made_once
from ..architectures.architecture import encoder_of
from ..architectures.classifier import Classifier, pair_encoder
from ..architectures.last_layer import shorten
from ..architectures.registry import family_of
from ..backend import Batch
from ..checkpoints import bundled, heads, models
from ..checkpoints.checkpoint import CONFIG, Checkpoint, fingerprint, fingerprint_of, resolve
from ..checkpoints.reading import reading
from ..device import budget_of, describe, dtype_name
from ..encoding.encoded_pairs import EncodedPairs
from ..encoding.pair_encoder import EXAMPLE, INPUTS, MASK
from ..isolation import checked_threads, load_isolated
from .checkpoint_backend import CheckpointBackend

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
#: The dtype in which the weights of matrix products are 8-bit integers, with one scale for each group of weights.
INT8 = "int8"
#: The key in an export's configuration that tells whether padding changes scores although it is masked.
PADDING_COUNTS = "padding_counts"
#: The name that exporters give to the output with the logits.
LOGITS = "logits"


class Input(NamedTuple):
    """An input of a graph."""

    name: str
    shape: Sequence[int | None]
    """None for a dimension of any size."""
    dtype: Any
    """A dtype of NumPy."""


def logits_among(outputs: Sequence[Collection[str]]) -> int:
    """Find the output with the logits: the output of that name, or the only one.

    Raises
    ------
    ValueError
        There are several outputs, and none has that name.
    """
    named = [position for position, names in enumerate(outputs) if LOGITS in names]
    if not named and len(outputs) > 1:
        raise ValueError(f"its outputs are {', '.join(min(names) for names in outputs)}, and none is called {LOGITS}")
    return named[0] if named else 0


class Logits(torch.nn.Module):
    """A classifier as a function from named tensors, int64 (n, length) each, to logits (n, labels)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


class GraphBackend(CheckpointBackend, ABC):
    """Scores pairs with a sequence classifier's graph; the first use of a checkpoint exports it into the user's cache.

    Parameters
    ----------
    name : str or path
        See `pyserini_rerank.load`; or the path of an ``.onnx`` file that lies beside its ``config.json`` and
        tokenizer, or one folder below, as in ``onnx/model.onnx``.
    dtype : str
        One of the backend's `dtypes`; ``"int8"`` is for checkpoints alone.
    threads : int, optional
        Threads that compute; by default as many as torch has when the backend is loaded. On a shared machine fewer
        threads may be faster.
    max_length, batch_tokens, head, known_as, revision
        As for `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`.

    Raises
    ------
    OSError
        There is no such file or folder, it holds no checkpoint, or the hub cannot be reached.
    ValueError
        The checkpoint is no sequence classifier, cannot be read, or needs `head`; an option is out of range.
    """

    #: The backend's name, and the name of the file that it exports to.
    kind: str
    file: str
    dtypes: tuple[str, ...]

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        dtype: str | torch.dtype = "float32",
        max_length: int | None = None,
        batch_tokens: int | str = "auto",
        threads: int | None = None,
        head: str | None = None,
        known_as: str | None = None,
        revision: str | None = None,
    ) -> None:
        dtype = dtype_name(dtype)
        self.threads = checked_threads(threads) or torch.get_num_threads()
        if dtype not in self.dtypes:
            raise ValueError(f"dtype={dtype!r}: this backend has {', '.join(self.dtypes)}.")
        self.dtype = dtype
        budget, path = budget_of(batch_tokens, CPU), Path(name).expanduser()
        is_graph = path.suffix == ".onnx"
        if is_graph and dtype == INT8:
            raise ValueError(f"dtype='int8' is for checkpoints, and the file {name} is run as it is: leave dtype out.")
        if is_graph and not path.is_file():
            raise FileNotFoundError(f"the file {name} is not there: name an .onnx file, a checkpoint or its folder.")
        checkpoint = resolve(bundled.folder_of(path) if is_graph else name, known_as, revision)
        if family_of(checkpoint):
            raise ValueError(f"{checkpoint.name} is no sequence classifier, and backend={self.kind!r} runs no other.")
        head = head or checkpoint.row.head
        graph = path if is_graph else load_isolated(lambda: self._exported(checkpoint, head))
        self.config = models.load_config(checkpoint if is_graph else replace(checkpoint, folder=graph.parent))
        self.pad_id = getattr(self.config, "pad_token_id", None) or 0
        with reading(str(checkpoint.folder / CONFIG), checkpoint.folder):
            body = load_isolated(lambda: _without_weights(self.config))
        with reading(f"the graph {graph}", graph):
            self.inputs, self.compute = self._open(graph)
        if foreign := sorted({graph_input.name for graph_input in self.inputs} - set(INPUTS)):
            raise ValueError(f"the graph {graph} asks for {foreign[0]}: it is no graph of a sequence classifier.")
        # Most graphs take any number of pairs of any length, but a graph may have been exported with fixed sizes.
        self.rows, self.columns = (_fixed(graph_input.shape[axis] for graph_input in self.inputs) for axis in (0, 1))
        encoder = encoder_of(checkpoint, body, max_length, pair_encoder, self.columns)
        if MASK not in {graph_input.name for graph_input in self.inputs}:
            if self.columns:
                raise ValueError(f"the graph {graph} has one length and no {MASK}: padding would count as text.")
            encoder.of_one_length = True
        encoder.of_one_length |= getattr(self.config, PADDING_COUNTS, False)
        with reading(f"the graph {graph}", graph):
            labels = self._logits(encoder, encoder.encode(EXAMPLE)).shape[1]
        head = heads.choose(head, labels, str(name))
        self.head, self.scale = heads.HEADS[head], heads.SCALES[head]
        # The pattern includes the files of external data that a graph may have.
        of_graph = fingerprint("", graph.parent, graph.parent.glob(f"{graph.name}*")) if is_graph else ""
        facts = f"{head} {encoder.max_length} {self.dtype} {self.kind} {of_graph}"
        super().__init__(checkpoint, encoder, budget, facts)
        self._precision = f"as in {graph.name}" if is_graph else self.dtype

    @abstractmethod
    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        """Write a model as a graph for batches of any size and length; `inputs` is an example batch."""

    @abstractmethod
    def _quantize(self, graph: Path, file: Path) -> None:
        """Write a copy of a graph that has the weights of its matrix products in int8."""

    @abstractmethod
    def _open(self, file: Path) -> tuple[Sequence[Input], Callable[[Mapping[str, NDArray[Any]]], Any]]:
        """Read a graph: give its inputs, and the function from their arrays to the logits."""

    def _exported(self, checkpoint: Checkpoint, head: str | None) -> Path:
        """Give the graph of a checkpoint in the backend's dtype; export and quantize it on first use."""

        def make(folder: Path) -> None:
            log.info("exporting %s to a graph ...", checkpoint.name)
            classifier = Classifier(checkpoint, torch.float32, None, head, packs=False)
            classifier.to(CPU)
            # In OpenVINO the fused kernel gives NaN if ModernBERT's window holds nothing but padding.
            classifier.body.set_attn_implementation("eager")
            if classifier.pooling == "cls":
                shorten(classifier.body)
            classifier.body.config.use_cache = False
            arrays = classifier.encoder.pad(classifier.encoder.encode(EXAMPLE), classifier.pad_id)
            inputs = {name: torch.from_numpy(array) for name, array in zip(INPUTS, arrays, strict=True)}
            if not classifier.takes_types:
                del inputs["token_type_ids"]
            with warnings.catch_warnings():  # the exporters warn of transformers' code and of their own
                warnings.simplefilter("ignore")
                try:
                    self._export(Logits(classifier.model).eval(), inputs, folder / self.file)
                except ImportError:
                    raise
                except Exception as error:
                    reason = " ".join(str(error).split())
                    raise ValueError(
                        f"{checkpoint.name} cannot be exported, so use backend='torch': {type(error).__name__}: "
                        f"{reason:.200}"
                    ) from None
            # This configuration is the body's, since the checkpoint's may leave sizes out.
            setattr(classifier.body.config, PADDING_COUNTS, classifier.encoder.of_one_length)
            classifier.body.config.save_pretrained(folder)

        def quantize(folder: Path) -> None:
            self._quantize(floats / self.file, folder / self.file)
            shutil.copy(floats / "config.json", folder)

        floats = made_once(f"{self.kind}-{fingerprint_of(checkpoint, self.kind)}", make)
        return (made_once(f"{floats.name}-{INT8}", quantize) if self.dtype == INT8 else floats) / self.file

    @property
    def description(self) -> dict[str, str]:
        """Where the scores are computed, for a report: backend, device, dtype, and the tokens of a batch."""
        return {
            "backend": self.kind,
            **describe(CPU, self._precision, self.budget, self.threads),
            **self._inputs,
        }

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,)."""
        scores: NDArray[np.float32] = self.head(self._logits(self.encoder, batch.inputs))
        return scores

    def _logits(self, encoder: Any, pairs: EncodedPairs) -> NDArray[np.float32]:
        logits = []
        for alike in encoder.together(pairs):
            rows = self.rows or len(alike)
            logits += [self._computed(encoder, alike[start : start + rows]) for start in range(0, len(alike), rows)]
        return np.concatenate(logits)

    def _computed(self, encoder: Any, pairs: EncodedPairs) -> NDArray[np.float32]:
        """Compute the logits of pairs that go through the graph together: float32 (n, labels)."""
        padded = dict(zip(INPUTS, encoder.pad(pairs, self.pad_id), strict=True))
        n, longest = padded["input_ids"].shape
        # A batch for a graph of fixed sizes is filled up with copies of its last pair, and with padding.
        rows, columns = (0, (self.rows or n) - n), (0, (self.columns or longest) - longest)
        arrays = {}
        for name, _, dtype in self.inputs:
            longer = np.pad(padded[name], ((0, 0), columns), constant_values=self.pad_id if name == INPUTS[0] else 0)
            arrays[name] = np.pad(longer, (rows, (0, 0)), mode="edge").astype(dtype, copy=False)
        logits = np.asarray(self.compute(arrays), dtype=np.float32)
        if logits.ndim > 2:
            raise ValueError("it gives a vector for each token and no logits, so that its head is in other files")
        return logits.reshape(self.rows or n, -1)[:n]

    def close(self) -> None:
        """Free the graph's memory."""
        self.__dict__.pop("compute", None)  # a second call finds nothing


def _fixed(sizes: Iterable[int | None]) -> int | None:
    """Give the first size that is fixed; None if all may vary."""
    return next(filter(None, sizes), None)


def _without_weights(config: Any) -> Any:
    """Make the encoder of a configuration, with weights that have shapes but no values and take no memory."""
    with torch.device("meta"):
        return AutoModel.from_config(config)


def quantized(floats: NDArray[np.float32], group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize weights, symmetric about 0: each float is about its integer times the scale of its group.

    Parameters
    ----------
    floats : float32 (rows, columns)
    group : int
        The number of columns that share a scale; it has to divide the number of columns.

    Returns
    -------
    int8 (rows, groups, group), float32 (rows, groups, 1)
    """
    grouped = floats.reshape(len(floats), -1, group)
    scales: NDArray[np.float32] = np.divide(np.abs(grouped).max(axis=2, keepdims=True), 127, dtype=np.float32)
    scales[scales == 0] = 1  # a group of zeros
    return np.rint(grouped / scales).astype(np.int8), scales
