"""What is given away: the wheel and the sdist, installed where nothing of this folder is seen."""

import ast
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pyserini_rerank
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyserini_rerank import registration
from pyserini_rerank.cli.doctor import EXTRAS, REPLACEABLE

ROOT = Path(__file__).parents[1]
#: No dependencies: where they are missing, an error says what to install.
ASKED_FOR = ["ir_datasets", "sentence-transformers"]
#: The package of the module `fastmcp`, which the package fastmcp needs.
ASKED_FOR += ["fastmcp-slim"]
DATA = ("py.typed", "scoring/checkpoints/catalogue.yaml", "experiments/conditions.yaml", "experiments/report.html")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, built from the sdist, built from what git knows; the names of the files that git knows."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    try:
        known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not list this folder's files: {error}")
    names = [name for name in known.split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    script = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=source, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *options, "--wheel-dir", folder, sdist], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *options, "--target", folder / "site", wheel], check=True, capture_output=True)
    return folder, sdist, wheel, names


@pytest.mark.slow
def test_the_wheel_has_all_of_the_package_and_nothing_else(built):
    _, sdist, wheel, names = built
    package = {name for name in names if name.startswith(("pyserini_rerank/", "pyserini-stubs/"))}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == package
    assert package >= {f"pyserini_rerank/{name}" for name in DATA} | {"pyserini-stubs/py.typed"}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= package | {"README.md", "LICENSE", "pyproject.toml"}


@pytest.mark.slow
def test_every_import_is_of_a_declared_dependency():
    """What is installed here may have come with something else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: own for name, own in project["optional-dependencies"].items() if name != "test"}
    declared = [*project["dependencies"], *chain(*extras.values()), *ASKED_FOR]
    names = {canonicalize_name(Requirement(one).name) for one in declared}
    installed = packages_distributions()
    seen = set()
    for path in (ROOT / "pyserini_rerank").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [str(node.module)]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules} - sys.stdlib_module_names:
                of = {canonicalize_name(name) for name in installed.get(module, [module])}
                assert of & names, f"{path}:{node.lineno} imports {module}, of {of}"
                seen.add(module)
    assert {"numpy", "jnius", "yaml"} <= seen


def test_the_files_about_the_package_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: own for name, own in project["optional-dependencies"].items() if name not in ("all", "test")}
    assert {name: tuple(Requirement(one).name for one in own) for name, own in extras.items()} == EXTRAS
    declared = {Requirement(one).name for one in project["dependencies"]}
    assert declared >= {*REPLACEABLE}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == pyserini_rerank.__version__


@pytest.mark.slow
def test_the_installed_command_runs(built):
    folder, *_ = built
    done = subprocess.run(
        [sys.executable, folder / "site" / "bin" / "pyserini-rerank", "--help"], cwd=folder,
        env={"PYTHONPATH": str(folder / "site")}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "reproduce" in done.stdout


@pytest.mark.slow
def test_the_installed_package_works(built):
    folder, *_ = built
    script = (
        "import sys\n"
        "import pyserini_rerank\n"
        "from pyserini_rerank.experiments.conditions import load_conditions\n"
        "from pyserini_rerank.scoring.checkpoints.catalogue import of_the_card\n"
        "from pyserini_rerank.verification.corpus import corpus\n"
        "print(pyserini_rerank.__file__, pyserini_rerank.__version__, len(of_the_card()), len(load_conditions()))\n"
        "print(len(corpus()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env={"PYTHONPATH": str(folder / "site")},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    file, version, checkpoints, conditions, pairs = done.stdout.split()
    assert Path(file).is_relative_to(folder / "site")
    assert version == pyserini_rerank.__version__ and checkpoints == "15" and int(conditions) > 40 and int(pairs) > 60


TYPED = """
import pyserini_rerank
from pyserini.search import get_topics
from pyserini.search.{module} import {searcher}

def use(searcher: {searcher}) -> bool:
    searcher.set_reranker("bundled", depth=100, texts="docs.jsonl")
    searcher.search("how long is life cycle of flea", k=10)
    searcher.search([0.5], k=10, rerank_query="flea", rerank_depth=200).to_pandas()
    searcher.unset_reranker()
    get_topics("dl19-passage")
    return searcher.is_using_reranker()

def misuse(searcher: {searcher}) -> None:
    searcher.set_reranker("bundled", depth="deep")
    searcher.search("flea", rerank_depth="deep")
"""
CONFIG = """
[mypy]
strict = True
untyped_calls_exclude = pyserini
# Pyserini imports torch and many others.
follow_imports = skip
[mypy-pyserini.*,pyserini_rerank.*]
follow_imports = normal
"""


@pytest.mark.slow
def test_type_checkers_know_the_methods_of_pyserinis_searchers(built, tmp_path):
    """Read as pyright reads it, which follows Pyserini's own types though it does not declare them."""
    folder, *_ = built
    site = shutil.copytree(folder / "site", tmp_path / "site")
    pyserini = Path(importlib.util.find_spec("pyserini").origin).parent
    shutil.copytree(pyserini, site / "pyserini", ignore=lambda _, names: [n for n in names if n.endswith(".jar")])
    (site / "pyserini" / "py.typed").touch()
    files = []
    for module, names in registration.SEARCHERS.items():
        for name in names:
            files.append(tmp_path / f"{name}.py")
            files[-1].write_text(TYPED.format(module=module.rpartition(".")[2], searcher=name))
    config = tmp_path / "mypy.ini"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", tmp_path / "cache", *files]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(site)}, capture_output=True, text=True)
    wrong = {15: 'Argument "depth"', 16: 'Argument "rerank_depth"'}
    wanted = [f"{file.name}:{line}: error: {said}" for file in files for line, said in wrong.items()]
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == len(wanted), done.stdout + done.stderr
    assert all(any(line.startswith(start) for line in errors) for start in wanted)
