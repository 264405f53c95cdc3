"""Every block of Python and shell in the documentation runs as it stands, and the site has all that is public."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyserini_rerank
import pytest
import torch
from forking import python
from pages import blocks
from pyserini_rerank.cli.main import app
from pyserini_rerank.scoring.backend import BUILT_IN
from pyserini_rerank.scoring.checkpoints.catalogue import catalogue
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def answers(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=2).close()
    except OSError:
        return False
    return True


#: The comment on the line before a block that not every machine can run, and the marks of its test.
MARKS = {
    "needs a network": [
        pytest.mark.stress,
        pytest.mark.network,
        pytest.mark.skipif(not answers("huggingface.co"), reason="the Hugging Face hub cannot be reached"),
    ],
    "needs a GPU": [
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    ],
    "takes minutes": [pytest.mark.stress],
    "needs a fresh checkout": [pytest.mark.skip(reason="is run by hand in a fresh checkout")],
    "needs other machines": [pytest.mark.skip(reason="needs other machines")],
}


def cases() -> Iterator[object]:
    """A case for each page, and another one for each kind of machine that some of its blocks need."""
    for page in PAGES:
        executed = [block.needs for block in blocks(page) if block.language in ("python", "shell")]
        for needs in [None, *MARKS]:
            if needs in executed:
                name = str(page.relative_to(ROOT)) + (f", {needs}" if needs else "")
                yield pytest.param(page, needs, id=name, marks=MARKS[needs] if needs else [])


@pytest.fixture(scope="module")
def run_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path, str | None], str | None]]:
    folder = tmp_path_factory.mktemp("pages")
    path = os.pathsep.join([str(Path(python()).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "agg"}
    script = [python(), str(ROOT / "tests" / "pages.py")]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            script, cwd=tmp_path_factory.mktemp("work"), env=environment, text=True, stderr=log,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip

        def run(page: Path, needs: str | None) -> str | None:
            print(json.dumps([str(page), needs]), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, (folder / "log").read_text()[-4000:]
            return json.loads(answer)

        yield run
        process.stdin.close()


@pytest.mark.parametrize(("page", "needs"), list(cases()))
def test_the_blocks_of_a_page(
    page: Path, needs: str | None, run_page: Callable[[Path, str | None], str | None]
) -> None:
    """From the top to the bottom, with the blocks that need nothing."""
    error = run_page(page, needs)
    assert error is None, error


def test_every_need_is_known() -> None:
    assert not {block.needs for page in PAGES for block in blocks(page)} - {None, *MARKS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, whose building fails over a link or a reference that leads nowhere."""
    folder = tmp_path_factory.mktemp("site")
    command = [python(), "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_public_name_is_documented(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert not [name for name in pyserini_rerank.__all__ if f'id="pyserini_rerank.{name}"' not in page]


@pytest.mark.slow
def test_every_command_and_option_is_documented(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    group = get_command(app)
    for name, command in group.commands.items():
        for words, nested in [(name, command), *((f"{name} {verb}", one) for verb, one in verbs(command).items())]:
            assert f"pyserini-rerank {words}" in page
            options = {option for parameter in nested.params for option in parameter.opts if option.startswith("-")}
            assert not [option for option in options if f"{option}" not in page], words


def verbs(command: Any) -> Mapping[str, Any]:
    return getattr(command, "commands", {})


@pytest.mark.slow
def test_every_checkpoint_and_backend_is_documented(site: Path) -> None:
    page = (site / "reference" / "checkpoints.html").read_text(encoding="utf-8")
    assert not [name for name in catalogue() if name not in page]
    page = (site / "reference" / "backends.html").read_text(encoding="utf-8")
    assert not [name for name in BUILT_IN if f'id="{name}"' not in page]


#: Headings of the page on troubleshooting that quote Python's and Java's own messages.
OTHERS = {"has no attribute 'set_reranker'", "java.nio.file.NoSuchFileException"}


def test_the_troubleshooting_page_has_messages_of_the_code() -> None:
    """The parts of a message that stand fast are in a string of the code."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        text for heading in re.findall(r"^### (.*)$", page, re.MULTILINE) for text in re.findall("`(.+?)`", heading)
    ]
    assert len(quoted) >= 30
    code = list(strings())
    for message in set(quoted) - OTHERS:
        for part in re.split(r"\.\.\.|\d+", message):
            assert any(part.strip(" .") in text for text in code), message


def strings() -> Iterator[str]:
    """The strings of the code; a value within one stands as three dots."""
    for path in (ROOT / "pyserini_rerank").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(value.value if isinstance(value, ast.Constant) else "..." for value in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
