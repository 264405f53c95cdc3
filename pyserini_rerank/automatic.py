"""``backend="auto"`` and ``dtype="auto"``: the fastest on this machine that ranks as well as torch in float32."""

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
#: Of nDCG@10: how much less than torch's in float32 is accepted.
LOSS = 0.002
REFERENCE = ("torch", "float32")
DTYPES = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
#: Options that the others have no use for: they compute on the CPU, and are not so fast that tokenizing holds them up.
OF_TORCH = ("device", "processes")
PACKAGES = ("torch", "transformers", "onnxruntime", "openvino")
#: The judged questions have so many passages, cut to so many words, so that a slow machine is done in minutes.
PASSAGES, WORDS = 10, 30
#: The pairs are scored in so many rounds, in which the alternatives take turns, after so many to warm up.
ROUNDS, WARM_UP = 3, 16
#: Times the fastest one's time in the warm-up: what takes longer is not measured any further.
HOPELESS = 2
#: What a backend raises that lacks a package, does not run a checkpoint, has no memory for it, or scores NaN.
FAILURES = (ImportError, OSError, ValueError, RuntimeError, ArithmeticError)

#: A backend and its dtype.
Alternative = tuple[str, str]


def pick(name: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what is ``"auto"`` of a checkpoint's `backend` and `dtype`, and say on stderr what was chosen, and why.

    Each backend that is installed scores ten passages of the standard library's documentation for each of the demo's 70
    judged questions, in each of its dtypes. That takes some three minutes for MiniLM-L-12 on two cores; what was chosen
    is kept in the user's cache, until the checkpoint, the options, the processor, the number of threads, or a version
    changes.

    Parameters
    ----------
    name : str or path
    options : mapping
        `load`'s, with the `backend`.

    Returns
    -------
    dict
        The options, with what was chosen, and without `device` and `processes` for a backend that has none. Those of
        any other backend stay as they are.

    Raises
    ------
    ValueError
        There is no choice for this backend and dtype, or no alternative that is fit to use.
    As `pyserini_rerank.load` for torch in float32, which is the reference.
    """
    backend, dtype = options["backend"], options.get("dtype")
    if backend not in (AUTO, *DTYPES):
        return dict(options)
    device = device_of(devices_of(options.get("device"))[0])
    dtype = dtype_name(dtype or dtype_of(None, device))
    # The others compute on the CPU.
    backends = [backend] if backend != AUTO else list(DTYPES) if device.type == "cpu" else ["torch"]
    alternatives = [
        (one, its_dtype) for one in backends for its_dtype in DTYPES.get(one, ()) if dtype in (AUTO, its_dtype)
    ]
    if not alternatives:
        raise ValueError(f"dtype={dtype!r}: on {device.type} there is no such dtype to choose a backend for.")
    if len(alternatives) == 1:
        return _options(alternatives[0], options)

    checkpoint = resolve(name, options.get("known_as"))
    versions = {package: _version(package) for package in PACKAGES}
    where = describe(device, "", 0, options.get("threads") or torch.get_num_threads())["device"]
    key = fingerprint_of(checkpoint, f"{sorted(options.items())} {where} {versions}")

    def make(folder: Path) -> None:
        log.info("measuring %d alternatives for %s, which takes some minutes ...", len(alternatives), os.fspath(name))
        with warnings.catch_warnings():  # the questions' passages may be cut, which is nobody's concern
            warnings.simplefilter("ignore", UserWarning)
            chosen, said = _measured(name, alternatives, options)
        (folder / "chosen.json").write_text(json.dumps({"chosen": chosen, "said": said}), encoding="utf-8")

    kept = json.loads((made_once(f"automatic-{key}", make) / "chosen.json").read_text(encoding="utf-8"))
    say(f"{os.fspath(name)} on {where}: {kept['said']}")
    return _options(kept["chosen"], options)


def _options(alternative: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    given = {**options, **dict(zip(("backend", "dtype"), alternative, strict=True))}
    foreign = () if given["backend"] == "torch" else OF_TORCH
    return {name: value for name, value in given.items() if name not in foreign}


def _measured(
    name: str | os.PathLike[str], alternatives: Sequence[Alternative], options: Mapping[str, Any]
) -> tuple[Alternative, str]:
    """Score the questions with every alternative: the one to use, and a line that says why."""
    owners, texts, qrels = questions()
    models, refused = _loaded(name, alternatives, options, texts[:WARM_UP])
    taken: dict[Alternative, list[float]] = defaultdict(list)
    scores = {alternative: np.empty(len(texts), dtype=np.float32) for alternative in models}
    for start in range(ROUNDS):
        for alternative, model in list(models.items()):
            try:
                seconds, scores[alternative][start::ROUNDS] = _timed(model, texts[start::ROUNDS])
                taken[alternative].append(seconds)
            except FAILURES as error:
                _refuse(alternative, error, refused)
                models.pop(alternative).close()
    for model in models.values():
        model.close()
    worth = {alternative: ndcg(owners, scores[alternative], qrels) for alternative in models}
    # Within a round, since others may be at work on the machine in another.
    speed = {
        alternative: median(
            first / seconds for first, seconds in zip(taken[REFERENCE], taken[alternative], strict=True)
        )
        for alternative in models
    }
    figures = "; ".join(
        [f"{' '.join(one)} {worth[one]:.4f}, {speed[one]:.2f}" for one in models]
        + [f"{' '.join(one)} {why}" for one, why in refused.items()]
    )
    fit = [one for one in alternatives if one in worth and worth[one] >= worth[REFERENCE] - LOSS]
    if not fit:
        raise ValueError(f"nothing that was asked for ranks {os.fspath(name)} as well as torch in float32: {figures}.")
    chosen = max(fit, key=speed.__getitem__)
    return chosen, f"{' '.join(chosen)} is used, of (nDCG@10, speed beside torch float32) {figures}."


def _loaded(
    name: str | os.PathLike[str],
    alternatives: Sequence[Alternative],
    options: Mapping[str, Any],
    few: Sequence[tuple[str, str]],
) -> tuple[dict[Alternative, ModelReranker], dict[Alternative, str]]:
    """Load and warm up the reference and the alternatives: those worth measuring, and why the others are not."""
    models: dict[Alternative, ModelReranker] = {}
    refused: dict[Alternative, str] = {}
    warm: dict[Alternative, float] = {}
    for alternative in dict.fromkeys([REFERENCE, *alternatives]):
        try:
            given = _options(alternative, options)
            model = ModelReranker(make_backend(given.pop("backend"), name, given), os.fspath(name))
            if same := [other for other, known in models.items() if known.fingerprint == model.fingerprint]:
                refused[alternative] = f"is {' '.join(same[0])} on this processor"
                model.close()
                continue
            model.predict(few)
            warm[alternative], _ = _timed(model, few)
            models[alternative] = model
        except FAILURES as error:
            _refuse(alternative, error, refused)
    fastest = min(warm.values())
    for alternative, seconds in warm.items():
        if alternative != REFERENCE and seconds > HOPELESS * fastest:
            refused[alternative] = f"takes {seconds / fastest:.1f} times as long as the fastest"
            models.pop(alternative).close()
    return models, refused


def _refuse(alternative: Alternative, error: Exception, refused: dict[Alternative, str]) -> None:
    """Note why an alternative is not to be had; without the reference there is nothing to compare with."""
    if alternative == REFERENCE:
        raise error
    refused[alternative] = f"cannot: {' '.join(str(error).split()).removesuffix('.')}"


def _timed(model: ModelReranker, texts: Sequence[tuple[str, str]]) -> tuple[float, NDArray[np.float32]]:
    start = time.perf_counter()
    scores = model.predict(texts)
    return time.perf_counter() - start, scores


def questions() -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, dict[str, int]]]:
    """Give the demo's questions, each with the passages that answer it and those that share most words with it.

    Returns
    -------
    owners : list of (qid, docid)
    texts : list of (question, passage)
        In the same order.
    qrels : dict
        qid -> docid -> 1.
    """
    documents = {docid: " ".join(text.split()[:WORDS]) for docid, text in docstrings.read()}
    words = {docid: set(text.lower().split()) for docid, text in documents.items()}
    frequency = Counter(word for of_text in words.values() for word in of_text)
    owners, texts, qrels = [], [], {}
    for qid, asked in enumerate(docstrings.questions()):
        weights = {word: math.log(len(words) / frequency[word]) for word in set(asked["question"].lower().split())
                   if word in frequency}  # fmt: skip
        near = sorted(words, key=lambda docid: (-sum(weights.get(word, 0) for word in words[docid]), docid))
        answers = [docid for docid in asked["answers"] if docid in documents]
        for docid in list(dict.fromkeys([*answers, *near]))[:PASSAGES]:
            owners.append((str(qid), docid))
            texts.append((asked["question"], documents[docid]))
        qrels[str(qid)] = dict.fromkeys(answers, 1)
    return owners, texts, qrels


def ndcg(owners: Sequence[tuple[str, str]], scores: NDArray[np.float32], qrels: dict[str, dict[str, int]]) -> float:
    """Give the mean nDCG@10 of scores, float32 (n,), each of a question's passage."""
    run: dict[str, dict[str, float]] = defaultdict(dict)
    for index in np.argsort(-scores, kind="stable"):
        qid, docid = owners[index]
        # Places and not scores, of which trec_eval would order equal ones by docid.
        run[qid][docid] = -float(len(run[qid]))
    return sum(metric.value for metric in ir_measures.iter_calc([nDCG @ 10], qrels, run)) / len(qrels)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
