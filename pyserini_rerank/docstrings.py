"""Documents and judged questions that every machine has: the standard library's docstrings, for the demo and `auto`."""

import ast
import builtins
import collections
import csv
import functools
import inspect
import itertools
import json
import math
import os
import pickle
import re
import struct
import sys
import sysconfig
import time
import zlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

#: Packages and folders that are not for users of the library: tests, programs, data.
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "pydoc_data"}

#: Modules that are written in C, in whole or in part, so that there is no Python source to read. They are imported
#: above. Importing them has no other effect, and most are in memory before any program starts.
COMPILED = (builtins, collections, csv, functools, itertools, math, os, pickle, re, struct, sys, time, zlib)

#: From the name under which a docstring is written to the name that people look for: for the Python twins of C modules,
#: private modules and base classes. Names that a package imports from its own modules (``asyncio.tasks.gather``) need
#: not be here.
KNOWN_AS = {
    "_collections_abc": "collections.abc",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_pyio": "io",
    "argparse._ActionsContainer": "argparse.ArgumentParser",
    "concurrent.futures.process": "concurrent.futures",
    "concurrent.futures.thread": "concurrent.futures",
    "contextlib._BaseExitStack": "contextlib.ExitStack",
    "email._policybase": "email.policy",
    "genericpath": "os.path",
    "getpass.unix_getpass": "getpass.getpass",
    "ipaddress._BaseNetwork": "ipaddress.IPv4Network",
    "multiprocessing.context.BaseContext": "multiprocessing",
    "ntpath": "os.path",
    "pathlib._abc.PathBase": "pathlib.Path",
    "pathlib._abc.PurePathBase": "pathlib.PurePath",
    "posixpath": "os.path",
    "random.Random": "random",
    "zoneinfo._tzpath": "zoneinfo",
}

_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def read() -> Iterator[tuple[str, str]]:
    """Read the documented modules, classes, functions and methods of the standard library, in the order of their names.

    Python source is parsed and not imported, since an import can do anything: ``import this`` prints a poem.

    Yields
    ------
    docid : str
        The name that people use, such as ``pathlib.Path.read_text``; for built-in ones ``sorted`` or ``str.split``.
    text : str
        The name with the parameters, and the docstring.
    """
    written: dict[str, str] = {}
    known_as = dict(KNOWN_AS)
    library = Path(sysconfig.get_path("stdlib"))
    for path in _sources(library):
        module = ".".join(path.relative_to(library).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_bytes())
        if path.name == "__init__.py":
            known_as |= _imported_by(module, tree)
        for name, text in _in_source(tree, module):
            written.setdefault(name, text)

    documents: dict[str, str] = {}
    # A docstring written under its public name comes before others of that name. Then posixpath comes before
    # genericpath, and pathlib._local before the abstract pathlib._abc.
    public = {name: _public(name, known_as) for name in written}
    for name in sorted(written, key=lambda name: (public[name] == name, name), reverse=True):
        documents.setdefault(public[name], written[name])
    for compiled in COMPILED:
        for name, text in _in_memory(compiled):
            documents.setdefault(name, text)
    for name in sorted(documents):
        if not any(part.startswith("_") for part in name.split(".")):
            yield name, name + documents[name]


def questions() -> list[dict[str, Any]]:
    """Read the 70 questions: each is a ``question`` and the docids of its ``answers``."""
    lines = files(__package__).joinpath("questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def index(documents: Mapping[str, str], folder: str) -> None:
    """Index documents with their text in a new Lucene index in `folder`. Anserini logs warnings only.

    Parameters
    ----------
    documents : mapping
        From docid to text.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full.
    """
    from pyserini.index.lucene import LuceneIndexer
    from pyserini.pyclass import autoclass

    configurator, level = "org.apache.logging.log4j.core.config.Configurator", "org.apache.logging.log4j.Level"
    autoclass(configurator).setLevel("io.anserini", autoclass(level).WARN)
    from jnius import JavaException  # only now, since Pyserini starts Java

    try:
        indexer = LuceneIndexer(args=["-index", folder, "-storeRaw"])
        for docid, text in documents.items():
            indexer.add_doc_raw(json.dumps({"id": docid, "contents": text}))
        indexer.close()
    except JavaException as error:
        raise OSError(f"{folder} cannot be indexed: {str(error).splitlines()[0]}") from None


def _sources(library: Path) -> Iterator[Path]:
    for folder, folders, names in library.walk():
        # Folders such as site-packages and config-3.13-x86_64-linux-gnu have names that cannot be imported.
        folders[:] = sorted(name for name in folders if name.isidentifier() and name not in LEFT_OUT)
        yield from (folder / file for file in sorted(names) if file.endswith(".py"))


def _imported_by(package: str, tree: ast.Module) -> dict[str, str]:
    """Map the names that a package imports from its own modules, as they are there, to their names in the package."""
    names = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = f"{package}.{node.module}" if node.level == 1 else node.module
            if module.startswith(f"{package}."):
                for alias in node.names:
                    if alias.name == "*":
                        # All names count and not only those of __all__: few of the others have a docstring.
                        names[module] = package
                    else:
                        names[f"{module}.{alias.name}"] = f"{package}.{alias.name}"
    return names


def _public(name: str, known_as: dict[str, str]) -> str:
    """Give the name that people use, of a name or of a part of it: ``posixpath.join`` becomes ``os.path.join``."""
    if name in known_as:
        return known_as[name]
    outer, _, last = name.rpartition(".")
    return f"{_public(outer, known_as)}.{last}" if outer else name


def _in_source(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Give the names and texts of a node of parsed source, and of the classes and functions in it."""
    if isinstance(node, ast.Module | ast.ClassDef | _FUNCTION):
        docstring = ast.get_docstring(node)
        if docstring:
            yield name, f"{_parameters(node)}\n{docstring}"
    if not isinstance(node, _FUNCTION):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | _FUNCTION):
                yield from _in_source(child, f"{name}.{child.name}")
            elif isinstance(child, ast.If | ast.Try | ast.ExceptHandler):
                yield from _in_source(child, name)


def _parameters(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef):
        node = next((child for child in node.body if getattr(child, "name", None) == "__init__"), node)
    return f"({ast.unparse(node.args)})" if isinstance(node, _FUNCTION) else ""


def _in_memory(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Give the names and texts of an imported module, and of the classes, functions and methods in it."""
    prefix = "" if module is builtins else f"{module.__name__}."
    for name in getattr(module, "__all__", vars(module)):
        value = getattr(module, name)
        if inspect.isbuiltin(value) or inspect.isclass(value):
            yield from _documented(value, prefix + name)
        if inspect.isclass(value):
            for member in vars(value):
                if not member.startswith("_") and inspect.isroutine(getattr(value, member)):
                    yield from _documented(getattr(value, member), f"{prefix}{name}.{member}")
    yield from _documented(module, module.__name__)


def _documented(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Give a name and its text, if the value has a docstring."""
    if value.__doc__:
        # Signatures look like "($self, sep=None)" and "($module, /, path)". Nobody passes the module.
        signature = getattr(value, "__text_signature__", None) or ""
        parameters = re.sub(r"\$module(, /)?(, )?", "", signature).replace("$", "")
        yield name, f"{parameters}\n{inspect.cleandoc(value.__doc__)}"
