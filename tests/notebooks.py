"""The notebooks of `examples/`: executing them as a reader would, from the first cell on in a kernel of their own.

`python tests/notebooks.py` does so with all of them, or with those that are named (`quickstart`), and writes their
outputs into them.
"""

import os
import shutil
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))
#: A progress bar, which needs a kernel, and which a quick machine never shows.
WIDGET = "application/vnd.jupyter.widget-view+json"


def read(name: str) -> NotebookNode:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def execute(name: str, folder: Path, timeout: int = 300) -> NotebookNode:
    """Execute a copy of a notebook in `folder`, beside copies of the scripts that it imports; `timeout` is a cell's."""
    for script in EXAMPLES.glob("*.py"):
        shutil.copy(script, folder)
    notebook = read(name)
    # Where pytest is about, ipykernel leaves the file descriptors alone, and what Java writes to them is not seen.
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
    ).execute(env=environment)
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata["executed"] = sources(notebook)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def sources(notebook: NotebookNode) -> str:
    """A hash of the code, which tells whether the outputs are of this code."""
    return blake2b("\0".join(cell.source for cell in code_cells(notebook)).encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(name, Path(folder)), EXAMPLES / f"{name}.ipynb")
