"""What mypy proves of the backends, and what a plugin's author may rely on; nothing here runs.

An assignment is an error of mypy's where a class lacks a member of the protocol, or has one of another type. The last
function shows that these checks can fail: strict mypy reports an ignored error that is none.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyserini_rerank.scoring.backend import Backend, Batch, FullBackend, Pair, Plan, complete
from pyserini_rerank.scoring.backends.cached_backend import CachedBackend
from pyserini_rerank.scoring.backends.devices_backend import DevicesBackend
from pyserini_rerank.scoring.backends.http_backend import HttpBackend
from pyserini_rerank.scoring.backends.onnx_backend import OnnxBackend
from pyserini_rerank.scoring.backends.openvino_backend import OpenVinoBackend
from pyserini_rerank.scoring.backends.sentence_transformers_backend import SentenceTransformersBackend
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend


def of_the_package(
    torch: TorchBackend,
    devices: DevicesBackend,
    onnx: OnnxBackend,
    openvino: OpenVinoBackend,
    library: SentenceTransformersBackend,
    http: HttpBackend,
    cached: CachedBackend,
) -> None:
    full: FullBackend = torch
    full = devices
    full = onnx
    full = openvino
    full = library
    full = http
    full = cached
    backend: Backend = full
    del backend


class Plugin:
    """The least that another package's backend may be."""

    max_length = 0

    def __init__(self, name: str) -> None:
        self.fingerprint = name

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        return Plan([Batch(np.arange(len(pairs)), list(pairs))])

    def run(self, batch: Batch) -> NDArray[np.float32]:
        return np.zeros(len(batch.positions), dtype=np.float32)

    def close(self) -> None: ...


def of_others(plugin: Plugin) -> None:
    backend: Backend = plugin
    full: FullBackend = complete(backend)
    del full


class Mistyped(Plugin):
    def run(self, batch: Batch) -> list[float]:  # type: ignore[override]
        return [0.0] * len(batch.positions)


def that_it_can_fail(plugin: Plugin, mistyped: Mistyped) -> None:
    full: FullBackend = plugin  # type: ignore[assignment]  # it has neither a scale nor workers
    backend: Backend = mistyped  # type: ignore[assignment]  # its scores are a list
    del full, backend
