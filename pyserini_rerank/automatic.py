"""``backend="auto"`` and ``dtype="auto"``: the fastest ones on this machine that rank as well as torch in float32."""

import json
import logging
import math
import os
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import ir_measures
import numpy as np
import torch
from ir_measures import nDCG
from numpy.typing import NDArray

from . import docstrings
from .files.cache import made_once
from .model import ModelReranker
from .progress import say
from .scoring.backend import make_backend
from .scoring.backends.devices_backend import devices_of
from .scoring.checkpoints.checkpoint import fingerprint_of, resolve
from .scoring.device import describe, device_of, dtype_name, dtype_of

log = logging.getLogger(__name__)

AUTO = "auto"
#: An alternative's nDCG@10 may be lower than that of torch in float32 by this much.
LOSS = 0.002
REFERENCE = ("torch", "float32")
DTYPES = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
#: Options of torch alone. The other backends compute on the CPU, and run no model with a prompt.
TORCH_OPTIONS = ("device", "instruction")
PACKAGES = ("torch", "transformers", "onnxruntime", "openvino")
#: Passages for each judged question, and words of each passage: few, so that a slow machine is done in minutes.
PASSAGES, WORDS = 10, 30
#: The pairs are scored in this many rounds, in which the alternatives take turns; before, this many pairs warm them up.
ROUNDS, WARM_UP = 3, 16
#: An alternative whose warm-up takes more than this many times as long as the fastest one's is not measured further.
HOPELESS = 2
#: The errors of a backend that lacks a package, does not run a checkpoint, has no memory for it, or scores NaN.
FAILURES = (ImportError, OSError, ValueError, RuntimeError, ArithmeticError)

#: A backend and a dtype.
Alternative = tuple[str, str]


def pick(name: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the `backend` and `dtype` of a checkpoint where they are ``"auto"``, and report the choice on stderr.

    Each backend that is installed scores ten passages of the standard library's documentation for each of the demo's 70
    judged questions, in each of its dtypes. That takes some three minutes for MiniLM-L-12 on two cores. The choice is
    kept in the user's cache, until the checkpoint, the options, the processor, the number of threads, or a version
    changes.

    Parameters
    ----------
    name : str or path
        The checkpoint.
    options : mapping
        The options of `load`, with `backend`.

    Returns
    -------
    dict
        The options with the backend and dtype that were chosen; without `device` if the backend does not take it. The
        options of a backend that cannot be chosen, such as ``"http"``, come back unchanged.

    Raises
    ------
    ValueError
        The backend has no such dtype, or no alternative ranks well enough.
    As `pyserini_rerank.load` for torch in float32, which is the reference.
    """
    backend, dtype = options["backend"], options.get("dtype")
    if backend not in (AUTO, *DTYPES):
        return dict(options)
    device = device_of(devices_of(options.get("device"))[0])
    dtype = dtype_name(dtype or dtype_of(None, device))
    # The backends other than torch compute on the CPU.
    backends = [backend] if backend != AUTO else list(DTYPES) if device.type == "cpu" else ["torch"]
    alternatives = [
        (candidate, its_dtype)
        for candidate in backends
        for its_dtype in DTYPES[candidate]
        if dtype in (AUTO, its_dtype)
    ]
    if not alternatives:
        known = ", ".join(dict.fromkeys(its_dtype for candidate in backends for its_dtype in DTYPES[candidate]))
        raise ValueError(f"dtype={dtype!r}: backend={backend!r} on {device.type} chooses among {known}.")
    if len(alternatives) == 1:
        return _options(alternatives[0], options)

    checkpoint = resolve(name, options.get("known_as"), options.get("revision"))
    versions = {package: _version(package) for package in PACKAGES}
    where = describe(device, "", 0, options.get("threads") or torch.get_num_threads())["device"]
    key = fingerprint_of(checkpoint, f"{sorted(options.items())} {where} {versions}")

    def make(folder: Path) -> None:
        log.info("measuring %d alternatives for %s, which takes some minutes ...", len(alternatives), os.fspath(name))
        with warnings.catch_warnings():  # the user need not know that passages of these questions were cut
            warnings.simplefilter("ignore", UserWarning)
            chosen, reason = _measure(name, alternatives, options)
        (folder / "chosen.json").write_text(json.dumps({"chosen": chosen, "said": reason}), encoding="utf-8")

    choice = json.loads((made_once(f"automatic-{key}", make) / "chosen.json").read_text(encoding="utf-8"))
    say(f"{os.fspath(name)} on {where}: {choice['said']}")
    return _options(choice["chosen"], options)


def _options(alternative: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options with an alternative's backend and dtype, without those that the backend does not take."""
    backend, dtype = alternative
    dropped = () if backend == "torch" else TORCH_OPTIONS
    with_alternative = {**options, "backend": backend, "dtype": dtype}
    return {name: value for name, value in with_alternative.items() if name not in dropped}


def _measure(
    name: str | os.PathLike[str], alternatives: Sequence[Alternative], options: Mapping[str, Any]
) -> tuple[Alternative, str]:
    """Score the questions with every alternative, and give the best alternative and a line with the reason."""
    pair_ids, texts, qrels = questions()
    models, refused = _load_alternatives(name, alternatives, options, texts[:WARM_UP])
    times: dict[Alternative, list[float]] = defaultdict(list)
    scores = {alternative: np.empty(len(texts), dtype=np.float32) for alternative in models}
    for start in range(ROUNDS):
        for alternative, model in list(models.items()):
            try:
                seconds, scores[alternative][start::ROUNDS] = _timed(model, texts[start::ROUNDS])
                times[alternative].append(seconds)
            except FAILURES as error:
                _refuse(alternative, error, refused)
                models.pop(alternative).close()
    for model in models.values():
        model.close()
    quality = {alternative: ndcg(pair_ids, scores[alternative], qrels) for alternative in models}
    # Times are compared within a round, since other programs may use the machine in another round.
    speed = {
        alternative: median(
            reference / seconds for reference, seconds in zip(times[REFERENCE], times[alternative], strict=True)
        )
        for alternative in models
    }
    figures = "; ".join(
        [f"{' '.join(measured)} {quality[measured]:.4f}, {speed[measured]:.2f}" for measured in models]
        + [f"{' '.join(alternative)} {reason}" for alternative, reason in refused.items()]
    )
    lowest = quality[REFERENCE] - LOSS
    good = [alternative for alternative in alternatives if quality.get(alternative, -math.inf) >= lowest]
    if not good:
        raise ValueError(f"nothing that was asked for ranks {os.fspath(name)} as well as torch in float32: {figures}.")
    chosen = max(good, key=speed.__getitem__)
    return chosen, f"{' '.join(chosen)} is used, of (nDCG@10, speed beside torch float32) {figures}."


def _load_alternatives(
    name: str | os.PathLike[str],
    alternatives: Sequence[Alternative],
    options: Mapping[str, Any],
    pairs: Sequence[tuple[str, str]],
) -> tuple[dict[Alternative, ModelReranker], dict[Alternative, str]]:
    """Load the reference and the alternatives, and warm them up with pairs.

    Returns
    -------
    models : dict
        The alternatives that are worth measuring.
    refused : dict
        The other alternatives, each with the reason.
    """
    models: dict[Alternative, ModelReranker] = {}
    refused: dict[Alternative, str] = {}
    warm_up_times: dict[Alternative, float] = {}
    for alternative in dict.fromkeys([REFERENCE, *alternatives]):
        try:
            its_options = _options(alternative, options)
            model = ModelReranker(make_backend(its_options.pop("backend"), name, its_options), os.fspath(name))
            if same := [other for other, known in models.items() if known.fingerprint == model.fingerprint]:
                refused[alternative] = f"is {' '.join(same[0])} on this processor"
                model.close()
                continue
            model.predict(pairs)
            warm_up_times[alternative], _ = _timed(model, pairs)
            models[alternative] = model
        except FAILURES as error:
            _refuse(alternative, error, refused)
    fastest = min(warm_up_times.values())
    for alternative, seconds in warm_up_times.items():
        if alternative != REFERENCE and seconds > HOPELESS * fastest:
            refused[alternative] = f"takes {seconds / fastest:.1f} times as long as the fastest"
            models.pop(alternative).close()
    return models, refused


def _refuse(alternative: Alternative, error: Exception, refused: dict[Alternative, str]) -> None:
    """Note why an alternative failed. If it is the reference, raise the error: there is nothing to compare with."""
    if alternative == REFERENCE:
        raise error
    refused[alternative] = f"cannot: {' '.join(str(error).split()).removesuffix('.')}"


def _timed(model: ModelReranker, texts: Sequence[tuple[str, str]]) -> tuple[float, NDArray[np.float32]]:
    start = time.perf_counter()
    scores = model.predict(texts)
    return time.perf_counter() - start, scores


def questions() -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, dict[str, int]]]:
    """Give the demo's questions, each with its answers and with the passages that share most words with it.

    Returns
    -------
    pair_ids : list of (qid, docid)
    texts : list of (question, passage)
        In the same order as `pair_ids`.
    qrels : dict
        qid -> docid -> 1.
    """
    documents = {docid: " ".join(text.split()[:WORDS]) for docid, text in docstrings.read()}
    words = {docid: set(text.lower().split()) for docid, text in documents.items()}
    frequency = Counter(word for words_of_document in words.values() for word in words_of_document)
    pair_ids, texts, qrels = [], [], {}
    for qid, judged in enumerate(docstrings.questions()):
        asked = set(judged["question"].lower().split())
        weights = {word: math.log(len(words) / frequency[word]) for word in asked if word in frequency}
        nearest = sorted(words, key=lambda docid: (-sum(weights.get(word, 0) for word in words[docid]), docid))
        answers = [docid for docid in judged["answers"] if docid in documents]
        for docid in list(dict.fromkeys([*answers, *nearest]))[:PASSAGES]:
            pair_ids.append((str(qid), docid))
            texts.append((judged["question"], documents[docid]))
        qrels[str(qid)] = dict.fromkeys(answers, 1)
    return pair_ids, texts, qrels


def ndcg(pair_ids: Sequence[tuple[str, str]], scores: NDArray[np.float32], qrels: dict[str, dict[str, int]]) -> float:
    """Give the mean nDCG@10 of the scores, float32 (n,), of n pairs (qid, docid)."""
    run: dict[str, dict[str, float]] = defaultdict(dict)
    for index in np.argsort(-scores, kind="stable"):
        qid, docid = pair_ids[index]
        # The run has ranks instead of scores, since trec_eval orders equal scores by docid.
        run[qid][docid] = -float(len(run[qid]))
    return sum(metric.value for metric in ir_measures.iter_calc([nDCG @ 10], qrels, run)) / len(qrels)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
