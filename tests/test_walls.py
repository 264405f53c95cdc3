"""The rooms of the package ("The house" in the design): who may import whom, counted over every import statement.

Statements within functions and under TYPE_CHECKING count like those at the top: a wall has no back door.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions, requires
from importlib.util import resolve_name
from pathlib import Path

import pyserini_rerank
import pytest

#: A module, or the outermost package of another library, by the module that imports it.
Graph = Mapping[str, set[str]]

HOUSE = Path(pyserini_rerank.__file__).parent
NAME = HOUSE.name
#: The rooms that have no folder of their own; `__init__` is the front door, and each folder is a room.
ROOMS = {
    **dict.fromkeys(
        [
            "arguments",
            "call",
            "caller",
            "counts",
            "distinct",
            "files",
            "markup",
            "passages",
            "prefetch",
            "progress",
            "ranking",
            "scales",
            "version",
        ],
        "the ground",
    ),
    **dict.fromkeys(
        ["automatic", "combining", "docstrings", "loading", "model", "registration", "reranker", "searcher"], "the flow"
    ),
    NAME: "the front door",
    "__main__": "cli",
}
#: From the ground up. A room may import those that come before it; rooms beside each other know nothing of each other.
#:
#: `benchmarks` and `experiments` stand beside each other because neither needs the other: both need `runs` (topics,
#: qrels and evaluation), and the command `bench`, which draws its table with a plot of `experiments`, is in `cli`.
#: `notebook` needs searchers and texts but no run file, and so stands beside `runs`, below both.
ORDER = [
    {"the ground"},
    {"retrieval", "scoring"},
    {"texts", "testing"},
    {"the flow"},
    {"runs", "notebook", "serving", "verification"},
    {"benchmarks", "experiments"},
    {"training"},
    {"the front door"},
    {"cli"},
]
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
#: What a room must not import, nor a module that it imports, and so on. The order keeps the rest.
NEVER = {
    "retrieval": ["torch", "transformers"],
    "texts": ["torch", "transformers"],
    "scoring": ["pyserini", "jnius", "jnius_config", f"{NAME}.retrieval", f"{NAME}.texts"],
    "testing": ["pyserini", "jnius", "jnius_config", f"{NAME}.retrieval", f"{NAME}.texts"],
}
LONGEST = 350


def graph_of(house: Path) -> Graph:
    """Read the import statements of a package: each of its modules, with the modules and libraries that it names."""
    paths = {
        ".".join([house.name, *path.relative_to(house).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in sorted(house.rglob("*.py"))
    }

    def known(name: str) -> str:
        while name not in paths and "." in name:
            name = name.rpartition(".")[0]
        return name

    return {module: set(map(known, _named(module, path))) for module, path in paths.items()}


def _named(module: str, path: Path) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield resolve_name(str(node.args[0].value), package)


def room_of(module: str) -> str:
    part = module.split(".")[1] if "." in module else module
    return ROOMS.get(part, part)


def arrows_up(graph: Graph) -> list[str]:
    """List the imports of a room above the importing one, or beside it."""
    return [
        f"{module} -> {other}"
        for module, others in graph.items()
        for other in sorted(others & graph.keys())
        if room_of(other) != room_of(module) and LEVELS[room_of(other)] >= LEVELS[room_of(module)]
    ]


def circle(graph: Graph) -> list[str]:
    """Find modules that import each other in a circle; none is an empty list."""
    try:
        TopologicalSorter({module: others & graph.keys() for module, others in graph.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def reached(graph: Graph, start: Iterable[str]) -> set[str]:
    """Give modules with all that they import, and all that those import, and so on."""
    found: set[str] = set()
    todo = set(start)
    while todo:
        found |= todo
        todo = set().union(*(graph.get(module, set()) for module in todo)) - found
    return found


def within(modules: Iterable[str], packages: Iterable[str]) -> list[str]:
    """Give the modules that are one of the packages, or lie in one."""
    return sorted(name for name in modules if any(f"{name}.".startswith(f"{package}.") for package in packages))


GRAPH = graph_of(HOUSE)


def test_every_room_has_its_place() -> None:
    """A new folder or module of the package is put into one of the two tables above."""
    assert {room_of(module) for module in GRAPH} == LEVELS.keys()
    assert ROOMS.keys() <= {module.removeprefix(f"{NAME}.").split(".")[0] for module in GRAPH}


def test_no_room_imports_a_room_above_it_or_beside_it() -> None:
    assert arrows_up(GRAPH) == []


@pytest.mark.parametrize("room", NEVER)
def test_what_a_room_never_imports(room: str) -> None:
    modules = [module for module in GRAPH if room_of(module) == room]
    assert within(reached(GRAPH, modules), NEVER[room]) == []


IMPORTED = """
import json, sys
from importlib import import_module
import pyserini_rerank

before = set(sys.modules)  # registration comes with the package, and retrieval.jvm with registration
for module in MODULES:
    import_module(module)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rooms", [("retrieval", "texts"), ("scoring", "testing")], ids=" and ".join)
def test_what_rooms_never_bring_in(rooms: tuple[str, str]) -> None:
    """What importing all modules of two rooms imports: other libraries' statements count here as well."""
    first, second = (NEVER[room] for room in rooms)
    assert first == second, "or they need a process each"
    modules = [module for module in GRAPH if room_of(module) in rooms]
    done = subprocess.run(
        [sys.executable, "-c", f"MODULES = {modules}\n{IMPORTED}"], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(HOUSE.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    brought = json.loads(done.stdout.splitlines()[-1])
    assert brought and within(brought, [*first, f"{NAME}.cli"]) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(GRAPH) == []


def test_no_file_is_longer_than_one_can_look_over() -> None:
    lines = {str(path.relative_to(HOUSE)): len(path.read_text("utf-8").splitlines()) for path in HOUSE.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_no_module_is_named_like_a_library() -> None:
    """Neither like Python's own modules nor like those of the packages that pyproject.toml names. None has to be."""
    wanted = {_plain(re.split(r"[^\w.-]", requirement)[0]) for requirement in requires("pyserini-rerank") or []}
    libraries = {
        library for library, owners in packages_distributions().items() if wanted & set(map(_plain, owners))
    } | sys.stdlib_module_names
    assert libraries > {"json", "torch", "yaml", "rich", "sentence_transformers"}
    assert [module for module in GRAPH if module != NAME and libraries & set(module.split(".")[1:])] == []


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_the_check_of_import_statements_sees_them(tmp_path: Path) -> None:
    house = tmp_path / NAME
    files = {
        "__init__.py": "from . import version as version",
        "version.py": "",
        "cli.py": "import pyserini_rerank.retrieval.hits",
        "retrieval/__init__.py": "from .hits import Hits",
        "retrieval/hits.py": "from .. import version\nfrom ..version import __version__\nfrom .. import __version__",
        "retrieval/candidates.py": (
            "import torchvision.models, json as j\nfrom . import hits\nfrom .hits import Hits\n"
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..scoring import heads, nothing\n"
            "def later():\n    import torch.nn as nn\n    from pyserini_rerank import cli\n"
            "    importlib.import_module('transformers.models')\n    import_module('..cli', __package__)\n"
            "    import_module(f'faiss.{name}')\n"
        ),
        "scoring/__init__.py": "",
        "scoring/heads.py": "class Late:\n    def method(self):\n        from ..retrieval.candidates import *",
    }
    for name, text in files.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text(text)
    graph = graph_of(house)
    candidates, hits, heads = f"{NAME}.retrieval.candidates", f"{NAME}.retrieval.hits", f"{NAME}.scoring.heads"
    scoring, cli = f"{NAME}.scoring", f"{NAME}.cli"
    assert graph == {
        NAME: {f"{NAME}.version"},
        f"{NAME}.version": set(),
        cli: {hits},
        f"{NAME}.retrieval": {hits},
        hits: {f"{NAME}.version", NAME},
        candidates: {"torchvision", "json", "typing", "torch", "transformers", hits, scoring, heads, cli},
        scoring: set(),
        heads: {candidates},
    }
    assert arrows_up(graph) == [
        f"{candidates} -> {cli}", f"{candidates} -> {scoring}", f"{candidates} -> {heads}", f"{hits} -> {NAME}",
        f"{heads} -> {candidates}",
    ]  # fmt: skip
    assert set(circle(graph)) == {candidates, heads}
    assert circle({**graph, candidates: set()}) == []
    assert within(reached(graph, [heads]), ["torch", f"{NAME}.retrieval", cli]) == [cli, candidates, hits, "torch"]
