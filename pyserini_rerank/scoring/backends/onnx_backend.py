"""The onnx backend: ONNX Runtime on the CPU."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .graph_backend import INT8, GraphBackend, Input, Logits, logits_among, quantized

NEEDS = "this backend needs {}: `pip install 'pyserini-rerank[onnx]'`."

try:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
except ImportError as error:
    raise ImportError(NEEDS.format(error.name)) from None

#: torch's log of the operators that it can export.
REGISTRATION = logging.getLogger("torch.onnx._internal.exporter._registration")
#: NumPy's names of the dtypes that ONNX Runtime calls by other names.
DTYPES = {"float": "float32", "double": "float64"}
#: The domain of ONNX Runtime's own operations.
DOMAIN = "com.microsoft"
#: How many columns of a weight, or activations of a token, share a scale in int8: a power of 2, from 16.
GROUP = 32


class OnnxBackend(GraphBackend):
    """Scores pairs in ONNX Runtime: see `pyserini_rerank.scoring.backends.graph_backend.GraphBackend`.

    With ``dtype="int8"`` the activations that the weights are multiplied by are quantized as well.
    """

    kind, file, dtypes = "onnx", "model.onnx", ("float32", INT8)

    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        try:  # torch exports with it; it is imported here because that takes a second
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(NEEDS.format(error.name)) from None
        sizes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
        REGISTRATION.addFilter(_is_needed)
        try:
            torch.onnx.export(
                model, kwargs=dict(inputs), f=file, dynamo=True, verbose=False, input_names=list(inputs),
                dynamic_shapes=dict.fromkeys(inputs, sizes), output_names=["logits"],
            )  # fmt: skip
        finally:
            REGISTRATION.removeFilter(_is_needed)

    def _quantize(self, graph: Path, file: Path) -> None:
        model = onnx.load(graph)
        _compress(model.graph)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        # The weights are in a separate file, since a graph file holds at most 2 GiB.
        onnx.save(model, file, save_as_external_data=True, location=f"{file.name}.data")

    def _open(self, file: Path) -> tuple[Sequence[Input], Callable[[Mapping[str, NDArray[Any]]], Any]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs = [
            # A dimension of any size has a name in the place of a number.
            Input(tensor.name, [size if isinstance(size, int) else None for size in tensor.shape], _dtype(tensor.type))
            for tensor in session.get_inputs()
        ]
        names = [tensor.name for tensor in session.get_outputs()]
        logits = names[logits_among([{name} for name in names])]
        return inputs, lambda arrays: session.run([logits], arrays)[0]


def _is_needed(record: logging.LogRecord) -> bool:
    """Tell whether a message is of anything but torchvision, which no reranker needs."""
    return "torchvision" not in record.getMessage()


def _dtype(kind: str) -> np.dtype[Any]:
    """Give NumPy's dtype of an input, such as ``tensor(int64)``."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return np.dtype(DTYPES.get(name, name))


def _compress(graph: onnx.GraphProto) -> None:
    """Replace a graph's products with constant weights by ONNX Runtime's operation for quantized weights.

    Source of the operation's form: the description of com.microsoft.MatMulNBits in ONNX Runtime's ContribOperators.md.
    Integers are stored with 128 added, and accuracy level 4 stands for activations in int8.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        tensor = weights[node.input[1]]
        columns, rows = tensor.dims
        floats = np.pad(numpy_helper.to_array(tensor).T, ((0, 0), (0, -columns % GROUP)))
        integers, scales = quantized(floats, GROUP)
        arrays = (integers.view(np.uint8) ^ 128, scales[:, :, 0])
        names = [f"{node.name}.int8", f"{node.name}.scales"]
        graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
        attributes = {"K": columns, "N": rows, "bits": 8, "block_size": GROUP, "accuracy_level": 4}
        inputs = [node.input[0], *names]
        node.CopyFrom(helper.make_node("MatMulNBits", inputs, node.output, node.name, domain=DOMAIN, **attributes))
    used = {name for node in graph.node for name in node.input}
    for name in weights.keys() - used:
        graph.initializer.remove(weights[name])
