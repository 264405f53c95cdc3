"""The pages that are made from the code: a hook of MkDocs, and of the tests that nothing public is missing."""

import inspect
from pathlib import Path
from typing import Any

import click
import nbformat
import pyserini_rerank
import typer
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from pyserini_rerank.cli.main import app
from pyserini_rerank.scoring.backend import BUILT_IN, create
from pyserini_rerank.scoring.checkpoints.catalogue import catalogue
from pyserini_rerank.scoring.checkpoints.listing import EXPLAINED, HEADINGS, line_of, sources_of

EXAMPLES = Path(__file__).parents[1] / "examples"
SOURCE = "https://huggingface.co/"

#: The classes that a backend's own text refers to for its options.
CLASSES = {"torch": "torch_backend.TorchBackend", "onnx": "graph_backend.GraphBackend"}

#: The public names, by goal; `python` refuses to leave one out.
NAMES = {
    "Rerank a search": ["load", "RerankingSearcher", "Reranker", "ModelReranker", "RankedText", "Counts"],
    "Hits": ["Hits", "Trace", "trace"],
    "Texts": ["Template", "MissingText"],
    "Combine rerankers": [
        "Cascade", "Interpolation", "ReciprocalRankFusion", "Ensemble", "FirstStageScore", "Windows", "Segments",
    ],
    "Runs and experiments": ["rerank_run", "BM25", "RerankedRun", "experiment", "ExperimentResult"],
    "Serve": ["AsyncReranker", "rerank_router", "search_router", "register_rerank_tool"],
    "Look at results": ["compare", "Comparison", "explain", "Explanation", "progress_bars"],
    "Check an engine": ["verify", "Verification"],
    "Train": ["train_data", "TrainingData", "train", "TrainedCheckpoint"],
    "Warnings": [
        "CutWarning", "EmptyDocumentWarning", "EmptyQueryWarning", "SkippedDocumentWarning", "UnknownTextWarning",
        "ShortfallWarning", "OutOfMemoryWarning", "DeviceLostWarning",
    ],
}  # fmt: skip


def on_files(files: Files, config: Any) -> Files:
    """Add the reference and the notebooks."""
    pages = {"reference/python.md": python(), "reference/commands.md": commands(), "reference/backends.md": backends()}
    pages["reference/checkpoints.md"] = f"# Checkpoints\n\n{checkpoints()}"
    for notebook in sorted(EXAMPLES.glob("*.ipynb")):
        pages |= notebook_pages(notebook)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table of checkpoints where a page asks for it."""
    return markdown.replace("{{ checkpoints }}", checkpoints())


def python() -> str:
    """Write the reference of the public names."""
    missing = set(pyserini_rerank.__all__) ^ {name for names in NAMES.values() for name in names}
    if missing:
        raise ValueError(f"the reference and `pyserini_rerank.__all__` differ by {', '.join(sorted(missing))}.")
    sections = (
        f"## {heading}\n\n" + "\n\n".join(f"::: pyserini_rerank.{name}" for name in names)
        for heading, names in NAMES.items()
    )
    methods = (
        "Importing the package gives all of Pyserini's searchers the methods `set_reranker`, `unset_reranker` and "
        "`is_using_reranker`: see [Add reranking to a search](../add-reranking.md)."
    )
    contract = "## Test a backend of your own\n\n::: pyserini_rerank.testing.BackendContract"
    return "\n\n".join(["# Python", methods, *sections, contract])


def commands() -> str:
    """Write the reference of the commands and their options."""
    group: Any = typer.main.get_command(app)
    return "# Commands\n\n" + "\n\n".join(
        _command(command, ["pyserini-rerank", name]) for name, command in group.commands.items()
    )


def _command(command: Any, words: list[str]) -> str:
    name = " ".join(words)
    if hasattr(command, "commands"):
        return "\n\n".join(_command(nested, [*words, verb]) for verb, nested in command.commands.items())
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    rows = [row for parameter in command.get_params(context) if (row := parameter.get_help_record(context))]
    table = "".join(f"| `{option}` | {_cell(says)} |\n" for option, says in rows)
    says = inspect.cleandoc(command.help or "")
    return f"## {name}\n\n{says}\n\n```text\n{usage}\n```\n\n| option | |\n| --- | --- |\n{table}"


def checkpoints() -> str:
    """Write the table of the catalogue, from the same data as the command `models`."""
    rows = catalogue().values()
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- | --- | ---: | ---: | --- |" + " ---: |" * (len(HEADINGS) - 5)]
    for row in rows:
        name, *cells = line_of(row)
        lines.append(f"| {' | '.join([f'[{name}]({SOURCE}{name})', *cells])} |")
    sources = ", ".join(f"<{source}>" if source.startswith("https:") else source for source in sources_of(rows))
    return "\n".join([*lines, "", EXPLAINED, "", f"Sources: {sources}; and the checkpoints' own pages."])


def backends() -> str:
    """Write the options of each backend."""
    sections = []
    for name in BUILT_IN:
        maker = create(name)
        options = ", ".join(f"`{option}`" for option in list(inspect.signature(maker).parameters)[1:])
        sections.append(
            f'## {name}\n\n`load(..., backend="{name}")` takes the options {options}.\n\n'
            f"::: {maker.__module__}.{maker.__qualname__}"
        )
        if name in CLASSES:
            sections.append(f"::: pyserini_rerank.scoring.backends.{CLASSES[name]}\n    options: {{members: false}}")
    hint = (
        "On the command line, options without a flag of their own are given as `--option NAME=VALUE`, such as "
        "`--option batch_tokens=4096`; for `search` the flag is `--reranker-option`. `onnx` and `openvino` share the "
        "options of `GraphBackend`."
    )
    return "\n\n".join(["# Backends", hint, *sections])


def notebook_pages(notebook: Path) -> dict[str, str | bytes]:
    """Make a page of a notebook with its outputs, and the files of its pictures."""
    body, resources = MarkdownExporter().from_notebook_node(
        nbformat.read(notebook, as_version=4), {"unique_key": notebook.stem}
    )
    pictures = {f"notebooks/{name}": content for name, content in resources["outputs"].items()}
    return {f"notebooks/{notebook.stem}.md": body, **pictures}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")
