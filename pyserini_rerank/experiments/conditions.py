"""The conditions of `reproduce`: test sets with first stages, and the commands that search and rerank them."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files.reading import read_text
from ..files.yaml12 import read_yaml
from ..runs.measures import parse_measures
from ..scoring.checkpoints.catalogue import catalogue

#: The name of the model card's first stage: MS MARCO's own candidates.
OFFICIAL = "official"
#: The number of those candidates that a query has at most.
OFFICIAL_DEPTH = 1000


@dataclass(frozen=True)
class Collection:
    """Documents with their test sets and first stages; `conditions.yaml` explains the fields."""

    test_sets: Mapping[str, Mapping[str, Any]]
    first_stages: Mapping[str, Mapping[str, Any]]
    texts: str | None = None
    collection: str | None = None
    folder: Path = field(default_factory=Path)
    """The folder from which relative paths start."""

    def path(self, name: str) -> str:
        """Give the path of a file beside the conditions; any other name stays as it is."""
        path = self.folder / name
        return str(path) if path.exists() else name


@dataclass(frozen=True)
class Condition:
    """A test set with a first stage, of which a checkpoint reranks `depth` candidates a query."""

    test_set: str
    first_stage: str
    depth: int
    collection: Collection

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.collection.test_sets[self.test_set]

    @property
    def measure(self) -> str:
        """The measure of the published figures, by its name in ir-measures."""
        [measure, *_] = parse_measures([self.facts.get("measure", "nDCG@10")], self.facts.get("level", 1))
        return str(measure)

    @property
    def search(self) -> Mapping[str, Any]:
        """The facts of the first stage in the conditions; empty for the official candidates."""
        return self.collection.first_stages.get(self.first_stage, {})

    @property
    def name(self) -> str:
        return f"{visible(self.test_set)}.{self.first_stage}-{self.depth}".replace(os.sep, "_")

    def candidates(self, folder: Path, files: Path) -> Path:
        """Give the path of the first stage's run, or of the file with the official candidates."""
        if self.first_stage == OFFICIAL:
            return files / str(self.facts[OFFICIAL]["url"]).rpartition("/")[2]
        if "run" in self.search:
            return Path(self.collection.path(self.search["run"]))
        return folder / f"{self.name}.run"

    def search_command(self, output: Path) -> list[str]:
        """Give the arguments of `pyserini-rerank` that make the first stage's run."""
        topics = self.collection.path(self.facts.get("topics", self.test_set))
        words = ["search", *shlex.split(self.search["search"]), "--topics", topics]
        return [*words, "--hits", str(self.depth), "--output", str(output)]

    def rerank_arguments(
        self, model: str, candidates: Path, output: Path, options: Mapping[str, str]
    ) -> dict[str, Any]:
        """Give the arguments of `pyserini_rerank.rerank_run` that rerank and evaluate the candidates."""
        documents = self.collection
        arguments: dict[str, Any] = {"run": candidates, "reranker": model, "output": output}
        if self.first_stage == OFFICIAL:
            arguments |= {"only_judged": True}
        else:
            arguments |= {"topics": documents.path(self.facts.get("topics", self.test_set)), "depth": self.depth}
            arguments |= {"texts": documents.texts or documents.path(documents.collection or "")}
        qrels = documents.path(self.facts.get("qrels", self.test_set))
        return {**arguments, "qrels": qrels, "level": self.facts.get("level", 1), **options}

    def rerank_command(self, arguments: Mapping[str, Any]) -> list[str]:
        """Turn arguments of `pyserini_rerank.rerank_run` into those of `pyserini-rerank`."""
        options = {
            "reranker": "model",
            "measures": "measure",
            "texts": "index" if self.collection.texts else "collection",
        }
        words = ["rerank"]
        for name, value in arguments.items():
            option = f"--{options.get(name, name).replace('_', '-')}"
            values = value if isinstance(value, list) else [value]
            words += [option] if value is True else [word for part in values for word in (option, str(part))]
        return words

    def published(self, model: str) -> float | None:
        """Give the model card's figure for a checkpoint on the official candidates, from 0 to 1."""
        row = catalogue().get(model)
        figure = row.published.get(self.facts.get("card", "")) if row and self.first_stage == OFFICIAL else None
        return figure / 100 if figure else None

    def published_first_stage(self) -> float | None:
        """Give the figure that Pyserini publishes for the first stage."""
        figures = self.search.get("published") or {}
        return {str(name): figure for name, figure in figures.items()}.get(self.test_set)


def visible(test_set: str) -> str:
    """Give a test set's name for file names. A path such as ``../topics.tsv`` begins with a dot, which hides files."""
    if not test_set.startswith("."):
        return test_set
    parts = ["up" if part == ".." else part for part in os.path.normpath(test_set).split(os.sep)]
    return os.sep.join(["_" * parts[0].startswith(".") + parts[0], *parts[1:]])


def load_conditions(path: Path | None = None) -> list[Collection]:
    """Read conditions from a YAML file, by default from the packaged one.

    Raises
    ------
    ValueError
        The file is no YAML of conditions.
    """
    text = read_text(path) if path else _packaged()
    try:
        folder = path.parent if path else Path()
        return [_collection(facts, folder) for facts in read_yaml(text).values()]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ValueError(f"{path} does not read as conditions ({reason}): see experiments/conditions.yaml.") from None


def select(
    collections: Sequence[Collection], test_sets: Sequence[str], first_stages: Sequence[str], depth: int
) -> list[Condition]:
    """Choose conditions by the names of their test sets and first stages.

    Raises
    ------
    ValueError
        There is no such test set, or it has no such first stage.
    """
    by_name = {name: collection for collection in collections for name in collection.test_sets}
    chosen = []
    for test_set in test_sets:
        if test_set not in by_name:
            raise ValueError(f"there is no test set {test_set!r}: there are {', '.join(by_name)}.")
        collection = by_name[test_set]
        known_stages = [*([OFFICIAL] if OFFICIAL in collection.test_sets[test_set] else []), *collection.first_stages]
        for first_stage in first_stages:
            if first_stage not in known_stages:
                raise ValueError(f"{test_set} has no first stage {first_stage!r}: there are {', '.join(known_stages)}.")
            # The official candidates are in no order, so that all of them are reranked.
            chosen.append(
                Condition(test_set, first_stage, OFFICIAL_DEPTH if first_stage == OFFICIAL else depth, collection)
            )
    return chosen


def _collection(facts: Mapping[str, Any], folder: Path) -> Collection:
    """Make a collection from its YAML. Names become strings, and null becomes an empty dict."""
    kinds = ("test_sets", "first_stages")
    by_name = {kind: {str(name): dict(entry or {}) for name, entry in facts[kind].items()} for kind in kinds}
    for first_stage in by_name["first_stages"].values():
        shlex.split(first_stage.get("search", ""))  # raises ValueError if it is no command
    return Collection(**{**facts, **by_name}, folder=folder)


def _packaged() -> str:
    return files(__package__).joinpath("conditions.yaml").read_text(encoding="utf-8")
