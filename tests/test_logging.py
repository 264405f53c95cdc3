"""What the package logs, which is silent unless it is asked for, and what a command says it waits for."""

import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from experiment import NAME, arguments, write_experiment
from forking import python
from pyserini_rerank import load


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("small"), queries=2, hits=5)


def test_a_checkpoint_and_a_cache_are_logged(small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pyserini_rerank")
    load({"windows": str(small / NAME)}, device="cpu", cache=tmp_path / "scores").close()
    said = [(record.name.partition(".")[0], record.levelname, record.getMessage()) for record in caplog.records]
    assert {name for name, _, _ in said} == {"pyserini_rerank"}
    [loading, loaded, cache] = said
    assert loading[1:] == ("INFO", f"loading {small / NAME} ...")
    assert cache[1] == "DEBUG" and str(tmp_path / "scores") in cache[2]
    assert loaded[1] == "INFO" and loaded[2].startswith(f"loaded {small / NAME} in ") and "float32" in loaded[2]


def test_a_shortfall_is_logged_also_where_nobody_is_warned(
    searcher: Any, hashing: Any, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    """BM25 gives what matches the query, which is no trouble."""
    caplog.set_level(logging.DEBUG, "pyserini_rerank")
    searcher.set_reranker(hashing, depth=10_000)
    searcher.search(query)
    assert "the first stage gave 1 of 1 queries fewer than 10000 candidates" in caplog.text


@pytest.mark.slow
def test_a_command_says_at_once_what_it_waits_for_and_keeps_stdout_pure(small: Path) -> None:
    words = [python(), "-m", "pyserini_rerank", *arguments(small, "said.run", "--json")]
    terminal, theirs = pty.openpty()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, text=True, env=os.environ | {"COLUMNS": "80"})
    os.close(theirs)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert done.returncode == 0, shown
    assert shown.splitlines()[0].startswith(f"pyserini-rerank: loading {small / NAME} ...")
    assert json.loads(done.stdout)["counts"]["pairs"] == 10


@pytest.mark.stress
def test_where_there_is_no_terminal_a_command_says_nothing_of_it(small: Path) -> None:
    words = [sys.executable, "-m", "pyserini_rerank", *arguments(small, "silent.run", "--json")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)
