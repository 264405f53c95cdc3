"""The onnx backend: ONNX Runtime on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .graphs import GraphBackend, Logits

NEEDS = "this backend needs {}: `pip install 'pyserini-rerank[onnx]'`."

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(NEEDS.format(error.name)) from None


class OnnxBackend(GraphBackend):
    """Scores pairs in ONNX Runtime: see `pyserini_rerank.scoring.graphs.GraphBackend`."""

    kind, file = "onnx", "model.onnx"

    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        try:  # torch exports with it, and it takes a second to import
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(NEEDS.format(error.name)) from None
        sizes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
        torch.onnx.export(
            model, kwargs=dict(inputs), f=file, dynamo=True, verbose=False, dynamic_shapes=dict.fromkeys(inputs, sizes),
            input_names=list(inputs), output_names=["logits"],
        )  # fmt: skip

    def _open(self, file: Path) -> tuple[Sequence[str], Callable[[Mapping[str, NDArray[np.int64]]], Any]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return [given.name for given in session.get_inputs()], lambda arrays: session.run(None, arrays)[0]
