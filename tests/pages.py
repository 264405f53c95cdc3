"""Runs the blocks of pages of the documentation.

Each line of stdin is a page and a need, as a list in JSON. A line in JSON answers it: the error of the first block that
fails, or null.

All pages run in one process, and in one working folder, which is emptied before each page. Java keeps the folder in
which it was started, so that a relative path could not be opened from another one.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r'^(?: *<!-- (?P<needs>[^\n]*) -->\n)?(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?[^\n]*\n'
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
OPERATORS = set("|&;<>$`*(")
SAMPLE = "sample"
QUERIES = "3"


class Block(NamedTuple):
    language: str
    code: str
    title: str | None
    needs: str | None
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Find the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent = len(found["indent"])
        code = "\n".join(line[indent:] for line in found["code"].splitlines())
        line = text.count("\n", 0, found.start("code")) + 1
        yield Block(found["language"], code, found["title"], found["needs"], line)


def run_page(page: Path, needs: str | None) -> None:
    """Run the blocks of a page that need nothing, or just this, from top to bottom in one namespace."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.title and block.language != "shell":
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.code + "\n", encoding="utf-8")
        elif block.needs in (None, needs) and block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
        elif block.needs in (None, needs) and block.language == "shell":
            for line in block.code.replace("\\\n", " ").splitlines():
                shell(line)


def shell(line: str) -> None:
    """Run a command: the package's own in this process, since importing Pyserini takes seconds."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["pyserini-rerank"] and not OPERATORS & set(re.sub(r"'[^']*'", "", line)):
        command(words[1:])
    elif words:
        done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def command(words: list[str]) -> None:
    from pyserini_rerank.cli.main import app
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, words, catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"{shlex.join(words)}\n{result.output[-2000:]}")


def main() -> None:
    sys.path.insert(0, os.getcwd())  # a page may import a file that it writes
    command([SAMPLE, SAMPLE, "--queries", QUERIES])
    for line in sys.stdin:
        page, needs = json.loads(line)
        for path in Path().iterdir():
            if path.name != SAMPLE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        error = None
        with redirect_stdout(sys.stderr):
            try:
                run_page(Path(page), needs)
            except BaseException:
                error = traceback.format_exc()[-4000:]
        print(json.dumps(error), flush=True)


if __name__ == "__main__":
    main()
