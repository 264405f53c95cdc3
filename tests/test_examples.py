"""The examples, as they stand."""

import runpy
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", ["bm25", "faiss_with_text_index", "lucene_dense"])
def test_script(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "reranked: [('tempfile.TemporaryDirectory', 0.73)" in printed


def test_quickstart_notebook():
    """It runs and shows what is stored in it: no log line of Java's, and the one warning that it speaks of.

    Its documents are those of the running Python, so the lists are not compared, only what they begin with.
    """
    stored = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    run = NotebookClient(
        nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4),
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLES)}},
    ).execute()
    shown = _shown(run)
    assert [text.split("\n")[0][:9] for text in shown] == [text.split("\n")[0][:9] for text in _shown(stored)]
    assert "   1     0.7336  tempfile.TemporaryDirectory (was " in shown[1]
    assert shown[-2] == "array([ 9.08509  , -3.9343157], dtype=float32)"
    outputs = [output for cell in run.cells for output in cell.get("outputs", [])]
    (warning,) = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert "CutWarning: " in warning and "passages and 0 queries were cut to 512 tokens" in warning


def _shown(notebook):
    """What is printed and shown, without the progress bars that a slow machine gets to see."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    widget = "application/vnd.jupyter.widget-view+json"
    return [
        output.get("text") or output["data"]["text/plain"]
        for output in outputs
        if widget not in output.get("data", {}) and output.get("name") != "stderr"
    ]
