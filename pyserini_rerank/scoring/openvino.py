"""The openvino backend: OpenVINO on the CPU."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..files import made_once
from .checkpoints import Checkpoint
from .graphs import GraphBackend, Logits

try:
    import openvino
    from openvino import opset13 as opset
except ImportError as error:
    raise ImportError(f"this backend needs {error.name}: `pip install 'pyserini-rerank[openvino]'`.") from None

#: What is computed in where the weights are not int8.
DTYPES = {"float32": "f32", "bfloat16": "bf16"}
INT8 = "int8"
#: How many columns of a weight, or activations of a token, share a scale in int8.
GROUP = 128


class OpenVinoBackend(GraphBackend):
    """Scores pairs in OpenVINO.

    Parameters
    ----------
    name, **options
        See `pyserini_rerank.scoring.graphs.GraphBackend`, which says what is raised as well.
    dtype : str
        ``"float32"``; ``"bfloat16"``, where a processor that lacks it computes in float32 all the same; or
        ``"int8"``, for checkpoints: the weights of matrix products in int8, and on processors with int8 instructions
        (VNNI, AMX) the activations that they are multiplied by, too.
    """

    kind, file = "openvino", "model.xml"

    def __init__(self, name: str | os.PathLike[str], *, dtype: str = "float32", **options: Any) -> None:
        if dtype not in (*DTYPES, INT8):
            raise ValueError(f"dtype={dtype!r}: this backend has {', '.join(DTYPES)} and {INT8}.")
        if dtype == INT8 and os.fspath(name).endswith(".onnx"):
            raise ValueError(f"dtype='int8' is for checkpoints, and the file {name} is run as it is: leave dtype out.")
        self.dtype = dtype
        super().__init__(name, **options)

    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        openvino.save_model(openvino.convert_model(model, example_input=dict(inputs)), file, compress_to_fp16=False)

    def _exported(self, checkpoint: Checkpoint, head: str | None) -> Path:
        graph = super()._exported(checkpoint, head)
        if self.dtype != INT8:
            return graph

        def make(folder: Path) -> None:
            model = openvino.Core().read_model(graph)
            _compress(model)
            openvino.save_model(model, folder / graph.name, compress_to_fp16=False)
            shutil.copy(graph.parent / "config.json", folder)

        return made_once(f"{graph.parent.name}-{INT8}", make) / graph.name

    def _open(self, file: Path) -> tuple[Sequence[str], Callable[[Mapping[str, NDArray[np.int64]]], Any]]:
        settings = {
            # Left to itself it computes in bfloat16 where the processor has that.
            "INFERENCE_PRECISION_HINT": DTYPES.get(self.dtype, "f32"),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if self.dtype == INT8 else 0,
            # One batch at a time has all the threads.
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        model = openvino.Core().compile_model(file, "CPU", settings)
        used = model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if self.dtype != INT8:
            self.dtype = next(name for name, short in DTYPES.items() if short == used)
        return [given.any_name for given in model.inputs], lambda arrays: model(arrays)[0]


def _compress(model: openvino.Model) -> None:
    """Write the weights of a graph's matrix products in int8, symmetric about 0, with a scale for each group of
    columns (for a whole row where groups do not fill it): in the form in which OpenVINO keeps weights compressed."""
    for node in model.get_ordered_ops():
        weights = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else node
        if weights is node or weights.get_type_name() != "Constant":
            continue
        floats = weights.data if node.get_attributes()["transpose_b"] else weights.data.T
        rows, columns = floats.shape
        grouped = floats.reshape(rows, -1, GROUP if columns % GROUP == 0 else columns)
        scales = np.maximum(np.abs(grouped).max(axis=2, keepdims=True), np.finfo(np.float32).tiny) / 127
        integers = opset.convert(opset.constant(np.rint(grouped / scales).astype(np.int8)), "f32")
        again = opset.reshape(opset.multiply(integers, opset.constant(scales)), [rows, columns], False)
        attributes = node.get_attributes()
        product = opset.matmul(node.input_value(0), again, attributes["transpose_a"], True)
        node.output(0).replace(product.output(0))
