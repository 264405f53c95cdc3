"""`verify`: whether an engine gives the scores of this package's torch backend in float32."""

import inspect
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..distinct import numbered
from ..loading import load
from ..model import ModelReranker
from ..ranking import Scores
from ..retrieval.queries import excerpt
from ..scoring.backend import Pair, create, score
from .agreement import Agreement, agreement
from .corpus import Case, corpus

if TYPE_CHECKING:
    from .diagnosis import Finding

#: The options of the torch backend that say where and how fast it computes. The others say what a score is, and the
#: reference needs them as well as the engine.
OF_MACHINE = ("device", "dtype", "batch_tokens", "threads")


@dataclass(frozen=True, repr=False)
class Verification:
    """An engine's scores beside those of the reference. Its text is what ``pyserini-rerank verify`` prints.

    Attributes
    ----------
    name : str
        The checkpoint.
    engine : str
        What gave the scores.
    cases : list of Case
        The pairs of the corpus, named tuples (kind, query, passage).
    expected, scores : float32 (n,)
        The reference's scores and the engine's. The reference's are from 0 to 1 where the engine's should be.
    order : Agreement
        Kendall's tau, and how many pairs of passages are swapped or tied.
    findings : list of Finding
        What the engine does otherwise, each with a name, the aspect that it is about, and what it means.
    """

    name: str
    engine: str
    cases: list[Case]
    expected: Scores
    scores: Scores
    order: Agreement
    findings: list["Finding"]

    @property
    def largest(self) -> float:
        """The largest difference of a score."""
        return float(np.abs(self.scores - self.expected).max())

    @property
    def mean(self) -> float:
        """The mean difference of a score."""
        return float(np.abs(self.scores - self.expected).mean())

    @property
    def is_close(self) -> bool:
        """Whether the order is the reference's: no more than 2 in 100 pairs of passages are swapped or tied."""
        return self.order.is_close

    @property
    def right(self) -> list[str]:
        """The aspects in which the engine does as the reference; none if its scores cannot be explained."""
        from .diagnosis import aspects

        found = {finding.aspect for finding in self.findings}
        if {finding.name for finding in self.findings} & {"constant", "unexplained"}:
            return []
        return [aspect for aspect in aspects() if aspect not in found]

    def __repr__(self) -> str:
        order, queries = self.order, len({case.query for case in self.cases})
        lines = [
            f"{self.name}: {self.engine} beside torch in float32, {len(self.cases)} pairs of {queries} queries",
            f"difference   {self.largest:.2g} at most, {self.mean:.2g} on average",
            f"order        Kendall's tau {order.tau:.4f}; of {order.compared} pairs of passages {order.swaps} are "
            f"swapped, {order.ties} tied",
        ]
        lines += [f"fault        {finding.name}: {finding.says}" for finding in self.findings]
        if self.right:
            lines.append(f"right        {', '.join(self.right)}")
        lines.append("The order is the reference's." if self.is_close else "The order is NOT the reference's.")
        return "\n".join(lines)


def verify(name: Any, engine: Any = None, *, backend: str = "torch", **options: Any) -> Verification:
    """Compare an engine's scores with those of this package's torch backend in float32, and name what it does wrong.

    The engine and the reference score a fixed corpus of 89 pairs. Where their scores differ, the reference is made to
    do what engines do wrong, until its scores are those of the engine.

    Parameters
    ----------
    name : str or path
        The checkpoint, as for `load`.
    engine : str or path, optional
        What the backend loads, if it is not the checkpoint: the URL of a server for ``"http"``, an ``.onnx`` file for
        ``"onnx"`` and ``"openvino"``, or another folder.
    backend : str
        See `load`.
    **options
        Options of the backend. Those that say what a score is (`max_length`, `head`, `known_as`) and `device` are the
        reference's as well, and the reference's alone where the backend has none of them, such as ``"http"``.

    Returns
    -------
    Verification

    Raises
    ------
    TypeError
        The name is that of a combination.
    ValueError
        The backend ``"http"`` was given no URL.
    FloatingPointError
        The engine gave NaN or an infinite score.
    As `load` and, for a server, as `pyserini_rerank.scoring.backends.http_backend.HttpBackend` when it scores.
    """
    from ..scoring.backends.devices_backend import devices_of
    from ..scoring.backends.torch_backend import TorchBackend
    from .diagnosis import diagnose
    from .reading import Reading
    from .score_forms import LOGITS, SIGMOID

    if backend == "http" and engine is None:
        raise ValueError(f"engine= is lacking, the URL of the server that is compared with {name}.")
    cases = corpus()
    pairs = [case.pair for case in cases]
    of_checkpoint, of_engine = _parted(backend, options)
    with closing(_loaded(name if engine is None else engine, backend=backend, **of_engine)) as model:
        scores = _scores(model, pairs)
        facts, scale = model.description, model.scale
    device = devices_of(options.get("device"))[0]
    with closing(_loaded(name, dtype="float32", device=device, **of_checkpoint)) as model:
        queries = numbered([case.query for case in cases])[1]
        groups = [np.flatnonzero(queries == query) for query in range(queries.max() + 1)]
        assert isinstance(model.backend, TorchBackend)
        reference = Reading(model.backend, pairs, groups)
        form = SIGMOID if scale == "probability" and model.scale == "logit" else LOGITS
        logits, found = reference.scores, scores.astype(np.float64)
        findings = diagnose(reference, found, form, cases)
    expected = form.of(logits).astype(np.float32)
    order = agreement(logits, found, groups)
    return Verification(os.fspath(name), _described(backend, facts), cases, expected, scores, order, findings)


def _parted(backend: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options into those of the reference, and those of the engine."""
    from ..automatic import AUTO
    from ..scoring.backends.torch_backend import TorchBackend

    shared = set(inspect.signature(TorchBackend).parameters) - {"name", *OF_MACHINE}
    of_checkpoint = {option: value for option, value in options.items() if option in shared}
    takes = shared if backend == AUTO else set(inspect.signature(create(backend)).parameters)
    # The engine refuses what neither knows. The reference is computed on `device`, whatever the engine is.
    alone = {*of_checkpoint, "device"} - takes
    return of_checkpoint, {option: value for option, value in options.items() if option not in alone}


def _loaded(name: Any, **options: Any) -> ModelReranker:
    reranker = load(name, **options)
    if not isinstance(reranker, ModelReranker):
        reranker.close()
        raise TypeError(f"{reranker.name} is made of several rerankers: verify each checkpoint on its own.")
    return reranker


def _scores(model: ModelReranker, pairs: Sequence[Pair]) -> Scores:
    """Score the pairs, equal ones as often as they come."""
    scores = score(model, pairs)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        query, passage = pairs[bad[0]]
        raise FloatingPointError(
            f"{model.name} scored {scores[bad[0]]} for {len(bad)} of {len(pairs)} pairs, first for the query "
            f"{excerpt(query)} and the passage {excerpt(str(passage))}: there is nothing to compare."
        )
    return scores


def _described(backend: str, facts: Mapping[str, str]) -> str:
    kind, *rest = (facts.get(fact, "") for fact in ("backend", "dtype", "device"))
    return ", ".join(filter(None, [kind or backend, *rest]))
