"""The conditions of experiments: test sets, first stages and checkpoints, and the commands that run each."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files.reading import read_text
from ..files.yaml12 import read_yaml
from ..scoring.checkpoints.catalogue import catalogue

#: The first stage of the model card: MS MARCO's own candidates.
OFFICIAL = "official"


@dataclass(frozen=True)
class Collection:
    """Documents with their test sets and first stages; `conditions.yaml` explains the fields."""

    test_sets: Mapping[str, Mapping[str, Any]]
    first_stages: Mapping[str, Mapping[str, Any]]
    texts: str | None = None
    collection: str | None = None
    folder: Path = field(default_factory=Path)
    """Where its files are."""

    def path(self, name: str) -> str:
        """Find a file that is named beside the conditions; another name stays as it is."""
        path = self.folder / name
        return str(path) if path.exists() else name


@dataclass(frozen=True)
class Condition:
    """A test set with a first stage: what a checkpoint reranks, `depth` deep."""

    test_set: str
    first_stage: str
    depth: int
    collection: Collection

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.collection.test_sets[self.test_set]

    @property
    def measure(self) -> str:
        """The measure that is compared with what was published, as ir-measures names it."""
        name: str = self.facts.get("measure", "nDCG@10")
        level = self.facts.get("level", 1)
        return name if name == "nDCG@10" or level == 1 else name.replace("@", f"(rel={level})@")

    @property
    def search(self) -> Mapping[str, Any]:
        """What is known of the first stage; nothing of the official candidates."""
        return self.collection.first_stages.get(self.first_stage, {})

    @property
    def name(self) -> str:
        return f"{visible(self.test_set)}.{self.first_stage}-{self.depth}".replace(os.sep, "_")

    def candidates(self, folder: Path, files: Path) -> Path:
        """Where the run of the first stage is, or the file with the official candidates."""
        if self.first_stage == OFFICIAL:
            return files / str(self.facts[OFFICIAL]["url"]).rpartition("/")[2]
        if "run" in self.search:
            return Path(self.collection.path(self.search["run"]))
        return folder / f"{self.name}.run"

    def search_command(self, output: Path) -> list[str]:
        """The arguments of `pyserini-rerank` that make the first stage's run."""
        topics = self.collection.path(self.facts.get("topics", self.test_set))
        words = ["search", *shlex.split(self.search["search"]), "--topics", topics]
        return [*words, "--hits", str(self.depth), "--output", str(output)]

    def rerank_arguments(
        self, model: str, candidates: Path, output: Path, options: Mapping[str, str]
    ) -> dict[str, Any]:
        """The arguments of `pyserini_rerank.rerank_run` that rerank it and evaluate that."""
        where = self.collection
        arguments: dict[str, Any] = {"run": candidates, "reranker": model, "output": output}
        if self.first_stage == OFFICIAL:
            arguments |= {"only_judged": True}
        else:
            arguments |= {"topics": where.path(self.facts.get("topics", self.test_set)), "depth": self.depth}
            arguments |= {"texts": where.texts or where.path(where.collection or "")}
        qrels = where.path(self.facts.get("qrels", self.test_set))
        return {**arguments, "qrels": qrels, "level": self.facts.get("level", 1), **options}

    def rerank_command(self, arguments: Mapping[str, Any]) -> list[str]:
        """The same as the arguments of `pyserini-rerank`."""
        options = {
            "reranker": "model",
            "measures": "measure",
            "texts": "index" if self.collection.texts else "collection",
        }
        words = ["rerank"]
        for name, value in arguments.items():
            option = f"--{options.get(name, name).replace('_', '-')}"
            values = value if isinstance(value, list) else [value]
            words += [option] if value is True else [word for one in values for word in (option, str(one))]
        return words

    def published(self, model: str) -> float | None:
        """The card's figure for a checkpoint on the official candidates, as a fraction of 1."""
        row = catalogue().get(model)
        figure = row.published.get(self.facts.get("card", "")) if row and self.first_stage == OFFICIAL else None
        return figure / 100 if figure else None

    def published_first_stage(self) -> float | None:
        """Pyserini's figure for the first stage."""
        figures = self.search.get("published") or {}
        return {str(name): figure for name, figure in figures.items()}.get(self.test_set)


def visible(test_set: str) -> str:
    """Give the name of a test set for files: a path such as ``../topics.tsv`` begins with a dot and would hide them."""
    if not test_set.startswith("."):
        return test_set
    parts = ["up" if part == ".." else part for part in os.path.normpath(test_set).split(os.sep)]
    return os.sep.join(["_" * parts[0].startswith(".") + parts[0], *parts[1:]])


def load_conditions(path: Path | None = None) -> list[Collection]:
    """Read conditions from a YAML file, by default those that come along.

    Raises
    ------
    ValueError
        The file is no such YAML.
    """
    text = read_text(path) if path else _packaged()
    try:
        folder = path.parent if path else Path()
        return [_collection(facts, folder) for facts in read_yaml(text).values()]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
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
        there = [*([OFFICIAL] if OFFICIAL in collection.test_sets[test_set] else []), *collection.first_stages]
        for first_stage in first_stages:
            if first_stage not in there:
                raise ValueError(f"{test_set} has no first stage {first_stage!r}: there are {', '.join(there)}.")
            chosen.append(Condition(test_set, first_stage, depth, collection))
    return chosen


def _collection(facts: Mapping[str, Any], folder: Path) -> Collection:
    """Make a collection of what is written. Every name is read as a text, and null stands for no facts."""
    kinds = ("test_sets", "first_stages")
    written = {kind: {str(name): dict(of_name or {}) for name, of_name in facts[kind].items()} for kind in kinds}
    for of_stage in written["first_stages"].values():
        shlex.split(of_stage.get("search", ""))  # raises where it is no command
    return Collection(**{**facts, **written}, folder=folder)


def _packaged() -> str:
    return files(__package__).joinpath("conditions.yaml").read_text(encoding="utf-8")
