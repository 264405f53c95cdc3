"""The examples, as they stand."""

import re
import runpy
import sys
import time
from typing import Any

import nbformat
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_notebook

#: The quickest, which `make test-all` executes; `make stress` executes all.
QUICK = ("quickstart",)
#: A place on somebody's machine, other than two that the docstring of `tempfile` has as examples.
MACHINE = re.compile(
    r"/tmp/(tmp(?!tpu9nin8|pbi8f0hy)\w{8}|pytest|ipykernel)|/(home|root|work|mnt|Users)/|site-packages"
)


@pytest.mark.stress
@pytest.mark.parametrize("name", ["bm25", "faiss_with_text_index", "lucene_dense"])
def test_script(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(notebooks.EXAMPLES), *sys.path])
    runpy.run_path(str(notebooks.EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "reranked: [('tempfile.TemporaryDirectory', 0.73)" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_notebook_runs(name, tmp_path):
    _check_run(name, tmp_path)


@pytest.mark.stress
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_runs(name, tmp_path):
    """In two minutes at most, on a machine that does nothing else."""
    start = time.monotonic()
    _check_run(name, tmp_path)
    assert time.monotonic() - start < 120


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_stored_notebook_was_run(name):
    """From the first cell to the last, as it stands, and without a trace of where."""
    stored = notebooks.read(name)
    cells = notebooks.code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert stored.metadata.executed == notebooks.sources(stored), f"run `python tests/notebooks.py {name}`"
    assert _troubles(stored) == []
    assert not MACHINE.search("\n".join(_texts(stored)))
    assert sum(map(bool, _texts(stored))) > 3


@pytest.mark.slow
def test_what_a_notebook_must_not_show(tmp_path, monkeypatch):
    """The checks above could fail: on a log line, an error that is caught, and a path."""
    # As Java writes, past Python's own stderr; a thread of the kernel's has to see it before the cell ends.
    code = "import os, time; os.write(2, b'INFO  [main] noise\\n'); print('in /home/somebody/run'); time.sleep(1)"
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / "bad.ipynb")
    monkeypatch.setattr(notebooks, "EXAMPLES", tmp_path)
    (tmp_path / "run").mkdir()
    run = notebooks.execute("bad", tmp_path / "run")
    assert _troubles(run) == ["INFO  [main] noise\n"]
    assert MACHINE.search("\n".join(_texts(run)))


def _check_run(name, folder):
    """It shows what is stored in it: the same kinds of output, and with the same Python the same documents."""
    stored, run = notebooks.read(name), notebooks.execute(name, folder)
    assert [_kinds(cell) for cell in notebooks.code_cells(run)] == [
        _kinds(cell) for cell in notebooks.code_cells(stored)
    ]
    assert _troubles(run) == []
    if run.metadata.language_info.version == stored.metadata.language_info.version:  # its docstrings are searched
        assert _words(run) == _words(stored)


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebooks.code_cells(notebook) for output in cell.outputs]


def _kinds(cell: Any) -> list[list[str]]:
    return [[output.output_type, *sorted(output.get("data", {}))] for output in cell.outputs]


def _troubles(notebook: Any) -> list[str]:
    """What a reader should not see: errors, and what Java, transformers or a warning says on stderr."""
    return [
        str(output.get("text", output))
        for output in _outputs(notebook)
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def _texts(notebook: Any) -> list[str]:
    """What the outputs say, and HTML as it is written."""
    return [
        text
        for output in _outputs(notebook)
        for text in (
            output.get("text", ""),
            *(text for kind, text in sorted(output.get("data", {}).items()) if kind.startswith("text/")),
        )
    ]


def _words(notebook: Any) -> list[str]:
    """The same without figures, of which some are times, and without the space that they take."""
    number = r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
    return ["".join(re.sub(number, "0", text).split()) for text in _texts(notebook)]
