"""The openvino backend: OpenVINO on the CPU."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .graphs import GraphBackend, Logits

try:
    import openvino
except ImportError as error:
    raise ImportError(f"this backend needs {error.name}: `pip install 'pyserini-rerank[openvino]'`.") from None

DTYPES = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend(GraphBackend):
    """Scores pairs in OpenVINO.

    Parameters
    ----------
    name, **options
        See `pyserini_rerank.scoring.graphs.GraphBackend`, which says what is raised as well.
    dtype : str
        ``"float32"`` or ``"bfloat16"``; a processor that lacks the latter computes in float32 all the same.
    """

    kind, file = "openvino", "model.xml"

    def __init__(self, name: str | os.PathLike[str], *, dtype: str = "float32", **options: Any) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r}: this backend has {' and '.join(DTYPES)}.")
        self.dtype = dtype
        super().__init__(name, **options)

    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        openvino.save_model(openvino.convert_model(model, example_input=dict(inputs)), file, compress_to_fp16=False)

    def _open(self, file: Path) -> tuple[Sequence[str], Callable[[Mapping[str, NDArray[np.int64]]], Any]]:
        settings = {
            # Left to itself it computes in bfloat16 where the processor has that.
            "INFERENCE_PRECISION_HINT": DTYPES[self.dtype],
            # One batch at a time has all the threads.
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        model = openvino.Core().compile_model(file, "CPU", settings)
        used = model.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.dtype = next(name for name, short in DTYPES.items() if short == used)
        return [given.any_name for given in model.inputs], lambda arrays: model(arrays)[0]
