"""Every block of Python and shell in the documentation runs as it stands."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages import blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: The comment on the line before a block that not every machine can run, and the marks of its test.
MARKS = {
    "needs a network": [pytest.mark.network],
    "needs a GPU": [pytest.mark.gpu],
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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "agg"}
    script = [sys.executable, str(ROOT / "tests" / "pages.py")]
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
