"""A backend that another package brings: installed as a user would, and used by its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "backend_plugin"
USE = """
import pyserini_rerank
reranker = pyserini_rerank.load("overlap", backend="overlap", k1=1.2)
print(type(reranker.backend).__module__, *reranker.score("a flea", ["the cat", "flea", "a flea"]).tolist())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the package; it is built from a copy, since building leaves files."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True, timeout=100)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment, *arguments, cwd=None):
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_it_is_used_by_its_name(installed, tmp_path):
    code, printed, errors = run(installed, "-c", USE, cwd=tmp_path)
    assert code == 0, errors
    module, *scores = printed.split()
    assert module == "pyserini_rerank_overlap"
    none, one, two = map(float, scores)
    assert none == 0 < one < two


def test_it_keeps_the_contract(installed):
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    code, printed, errors = run(installed, "-m", "pytest", *options, str(EXAMPLE))
    assert code == 0, printed + errors
    assert " passed" in printed and "skipped" not in printed.splitlines()[-1]


@pytest.mark.slow
def test_without_the_package_there_is_no_such_backend(installed):
    code, _, errors = run({**installed, "PYTHONPATH": ""}, "-c", USE)
    assert code == 1
    assert errors.splitlines()[-1] == (
        "ValueError: there is no backend 'overlap': there are http, onnx, openvino, sentence-transformers, torch."
    )
