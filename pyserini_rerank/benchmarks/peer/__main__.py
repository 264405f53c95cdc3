"""The peer's process: sentence-transformers, in a Python that need not have anything of ours.

It imports the standard library, torch and sentence-transformers alone. The first line of its input says what to load,
and has the pairs; once it is ready, it answers with its versions. Each further line has it score all pairs, and it
answers with the seconds and the scores. Every line is an object in JSON.
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
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        for said in serve():
            print(json.dumps(said), file=answers, flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)


def serve() -> Iterator[dict[str, Any]]:
    """Load what the first line asks for, and answer each line."""
    asked = json.loads(sys.stdin.readline())
    pairs, batch = [tuple(pair) for pair in asked["pairs"]], asked["batch"]

    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(asked["threads"])
    model = CrossEncoder(
        asked["folder"], device=asked["device"], max_length=asked["max_length"], backend=asked["backend"],
        model_kwargs=settings(asked), trust_remote_code=False,
    )  # fmt: skip

    def predict(given: Any) -> Any:
        return model.predict(given, batch_size=batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)

    predict(pairs[: max(batch, len(pairs) // 10)])  # warms up what is slow the first time
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


def settings(asked: dict[str, Any]) -> dict[str, Any]:
    """Give what a backend has to be told: torch the dtype, since it would take the file's, the others the threads."""
    if asked["backend"] == "onnx":
        from onnxruntime import SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = asked["threads"]
        return {"session_options": options}
    if asked["backend"] == "openvino":
        return {"ov_config": {"INFERENCE_NUM_THREADS": asked["threads"]}}
    import torch

    name = "dtype" if int(version("transformers").split(".")[0]) >= 5 else "torch_dtype"
    return {name: getattr(torch, asked["dtype"])}


main()
