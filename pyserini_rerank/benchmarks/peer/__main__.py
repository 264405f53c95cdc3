"""The peer's process: sentence-transformers, in a Python that need not have this package.

It imports only the standard library, torch and sentence-transformers. The first line of its input names the checkpoint
and holds the pairs; the answer, once the peer is ready, holds its versions. At each further line the peer scores all
pairs, and answers with the seconds and the scores. Every line is a JSON object.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("sentence-transformers", "torch", "transformers", "optimum", "onnxruntime", "openvino")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps libraries from printing among the answers
    try:
        for answer in serve():
            print(json.dumps(answer), file=answers, flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)


def serve() -> Iterator[dict[str, Any]]:
    """Load the checkpoint that the first line names, and answer each line."""
    request = json.loads(sys.stdin.readline())
    pairs, batch = [tuple(pair) for pair in request["pairs"]], request["batch"]

    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(request["threads"])
    model = CrossEncoder(
        request["folder"], device=request["device"], max_length=request["max_length"], backend=request["backend"],
        model_kwargs=settings(request), trust_remote_code=False,
    )  # fmt: skip

    def predict(scored_pairs: list[Any]) -> Any:
        return model.predict(scored_pairs, batch_size=batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)

    predict(pairs[: max(batch, len(pairs) // 10)])  # the first call is slow
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    yield {"versions": versions}
    for _ in sys.stdin:
        start = time.perf_counter()
        scores = predict(pairs)
        seconds = time.perf_counter() - start
        yield {"seconds": seconds, "scores": scores.astype("float32").tolist()}


def settings(request: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of a backend: the dtype of torch, which would take the file's, or the threads of the others."""
    if request["backend"] == "onnx":
        from onnxruntime import SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = request["threads"]
        return {"session_options": options}
    if request["backend"] == "openvino":
        return {"ov_config": {"INFERENCE_NUM_THREADS": request["threads"]}}
    import torch

    name = "dtype" if int(version("transformers").split(".")[0]) >= 5 else "torch_dtype"
    return {name: getattr(torch, request["dtype"])}


main()
