"""The commands, as a person runs them."""

import json
import subprocess
import sys

import pytest
from pyserini_rerank import docstrings
from pyserini_rerank.cli.main import app, main
from pyserini_rerank.scoring.checkpoints import catalogue, of_the_card
from typer.testing import CliRunner


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys, time; start = time.perf_counter()\n"
        "from pyserini_rerank.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print('seconds', time.perf_counter() - start)\n"
        "print('heavy', sorted({'torch', 'transformers', 'pyserini', 'jnius', 'faiss'} & sys.modules.keys()))\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    assert all("heavy []" in run.stdout for run in runs)
    # Half a second is promised; a busy machine is allowed twice that.
    assert min(float(run.stdout.split("seconds ")[1].split()[0]) for run in runs) < 1.0


def test_models_lists_the_catalogue_with_its_figures():
    rows = {row["name"]: row for row in json.loads(run("models", "--json"))}
    assert rows.keys() == catalogue().keys()
    assert len(of_the_card()) == 15 and all("dl19" in rows[name] for name in of_the_card())
    assert rows["cross-encoder/ms-marco-MiniLM-L-6-v2"] == {
        "name": "cross-encoder/ms-marco-MiniLM-L-6-v2",
        "family": "classifier",
        "dl19": 74.30,
        "dev": 39.01,
        "docs_per_second": 1800,
    }
    assert rows["Qwen/Qwen3-Reranker-8B"] == {"name": "Qwen/Qwen3-Reranker-8B", "family": "decoder"}
    table = run("models")
    assert all(name in table for name in rows)


def test_demo_evaluates_and_shows_two_questions(monkeypatch):
    questions = docstrings.questions()[:6]
    monkeypatch.setattr(docstrings, "questions", lambda: questions)
    shown = run("demo", "--model", "bundled", "--device", "cpu", "--depth", "5")
    assert "Model: bundled on cpu: " in " ".join(shown.split())
    assert "6 questions with known answers" in shown
    for line in (
        "nDCG@10",
        "RR@10",
        "BM25",
        "reranked",
        "Largest gain",
        "Largest loss",
        "better on",
        "passages a second",
    ):
        assert line in shown


def test_demo_without_the_hub_says_which_model_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shown = run("demo", "--query", "How do I copy a whole folder?", "--depth", "5")
    assert "the hub cannot be reached: the bundled model is used" in " ".join(shown.split())
    assert "Model: bundled" in shown
    assert "How do I copy a whole folder?" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--model", "/no/such/folder"], "the folder /no/such/folder is not there"),
        (["demo", "--model", "bundled", "--device", "cuda:99"], "device='cuda:99' is not there"),
    ],
)
def test_a_failure_is_one_line(arguments, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("pyserini-rerank: ") and said in error
    assert len(error.splitlines()) == 1
