"""The openvino backend: OpenVINO on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..encoding.pair_encoder import INPUTS
from .graph_backend import INT8, GraphBackend, Input, Logits, logits_among, quantized

try:
    import openvino
    from openvino import opset13 as opset
except ImportError as error:
    raise ImportError(f"this backend needs {error.name}: `pip install 'pyserini-rerank[openvino]'`.") from None

#: The precision of the computation for each dtype, except for the matrix products of int8.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", INT8: "bf16"}
#: How many columns of a weight, or activations of a token, share a scale in int8.
GROUP = 128


class OpenVinoBackend(GraphBackend):
    """Scores pairs in OpenVINO: see `pyserini_rerank.scoring.backends.graph_backend.GraphBackend`.

    With ``dtype="bfloat16"`` a processor without bfloat16 computes in float32. With ``dtype="int8"`` a processor with
    int8 instructions (VNNI, AMX) quantizes the activations that the weights are multiplied by as well; the rest is
    computed as with bfloat16.
    """

    kind, file, dtypes = "openvino", "model.xml", tuple(PRECISIONS)

    def _export(self, model: Logits, inputs: Mapping[str, torch.Tensor], file: Path) -> None:
        openvino.save_model(openvino.convert_model(model, example_input=dict(inputs)), file, compress_to_fp16=False)

    def _quantize(self, graph: Path, file: Path) -> None:
        model = openvino.Core().read_model(graph)
        _compress(model)
        openvino.save_model(model, file, compress_to_fp16=False)

    def _open(self, file: Path) -> tuple[Sequence[Input], Callable[[Mapping[str, NDArray[Any]]], Any]]:
        settings = {
            # By default OpenVINO computes in bfloat16 if the processor has it.
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.dtype],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if self.dtype == INT8 else 0,
            "INFERENCE_NUM_THREADS": self.threads,
            # One batch at a time has all the threads. In int8 two streams scored some batches wrong (2026.4.1).
            "NUM_STREAMS": 1,
        }
        model = openvino.Core().compile_model(file, "CPU", settings)
        used = model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if self.dtype != INT8:
            self.dtype = next(name for name, short in PRECISIONS.items() if short == used)
        inputs = [
            Input(
                # A tensor may have several names.
                next((name for name in INPUTS if name in tensor.names), tensor.any_name),
                [size.get_length() if size.is_static else None for size in tensor.partial_shape],
                tensor.element_type.to_dtype(),
            )
            for tensor in model.inputs
        ]
        logits = logits_among([tensor.names for tensor in model.outputs])
        return inputs, lambda arrays: model(arrays)[logits]


def _compress(model: openvino.Model) -> None:
    """Replace the weights of a graph's matrix products by int8 integers and scales, which OpenVINO keeps compressed.

    Each group of columns has a scale. Where the groups do not fill a row exactly, the whole row has one.
    """
    for node in model.get_ordered_ops():
        weights = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else node
        if weights is node or weights.get_type_name() != "Constant":
            continue
        attributes = node.get_attributes()
        floats = weights.data if attributes["transpose_b"] else weights.data.T
        rows, columns = floats.shape
        integers, scales = quantized(floats, GROUP if columns % GROUP == 0 else columns)
        grouped = opset.multiply(opset.convert(opset.constant(integers), "f32"), opset.constant(scales))
        restored = opset.reshape(grouped, [rows, columns], False)
        product = opset.matmul(node.input_value(0), restored, attributes["transpose_a"], True)
        node.output(0).replace(product.output(0))
