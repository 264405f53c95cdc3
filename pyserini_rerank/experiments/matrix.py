"""The cells of a matrix of experiments: a checkpoint on a condition, where its run is, and what is known of it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..scoring.checkpoints import catalogue
from .conditions import Condition
from .work import partial_of


@dataclass(frozen=True)
class Cell:
    """A checkpoint that reranks a condition's candidates.

    Parameters
    ----------
    folder : path
        Where the runs are.
    files : path
        Where the official candidates are.
    options : mapping
        Further options of the rerank command, by their names.
    """

    condition: Condition
    model: str
    folder: Path
    files: Path
    options: Mapping[str, str]

    @property
    def candidates(self) -> Path:
        return self.condition.candidates(self.folder, self.files)

    @property
    def output(self) -> Path:
        model = self.model.strip(os.sep).replace(os.sep, "_")
        # A run of one dtype is not taken for that of another.
        return self.folder / ".".join([self.condition.name, model, *self.options.get("dtype", "").split(), "run"])

    @property
    def command(self) -> list[str]:
        return self.condition.rerank_command(self.model, self.candidates, self.output, self.options)

    def report(self) -> dict[str, Any] | None:
        """Read the report of the run; None where there is no run, or another one than was reported on."""
        beside = self.output.with_name(f"{self.output.name}.json")
        if not (self.output.is_file() and beside.is_file()):
            return None
        report: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        with self.output.open("rb") as file:
            same = file_digest(file, blake2b).hexdigest() == report["output"]["blake2b"]
        return report if same and "evaluation" in report else None

    def row(self) -> dict[str, Any]:
        """What a report says of the cell: the published figures, and the measured ones where it was run."""
        condition, card = self.condition, catalogue().get(self.model)
        row: dict[str, Any] = {
            "checkpoint": self.model,
            "test_set": condition.test_set,
            "first_stage": condition.first_stage,
            "depth": condition.depth,
            "measure": condition.measure,
            "first_stage_published": condition.published_first_stage(),
            "published": condition.published(self.model),
            "docs_per_second_published": card.published.get("docs_per_second") if card else None,
            "state": "begun" if partial_of(self.output).exists() else "missing",
            **dict.fromkeys(MEASURED),
        }
        report = self.report()
        if report is None:
            return row
        figures = next(f for f in report["evaluation"]["measures"] if f["measure"] == condition.measure)
        counts = report["counts"]
        row |= {
            "state": "done",
            "first_stage_measured": figures.get("baseline"),
            "measured": figures["run"],
            "p": figures.get("p"),
            "queries": report["evaluation"]["queries"],
            "pairs": counts["pairs"],
            "cut": counts["cut_passages"] / counts["pairs"],
            "docs_per_second": report["pairs_per_second"] or None,  # 0 where all scores were known
            **{name: report.get(name) for name in ("device", "dtype", "max_length", "texts", "finished")},
            "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        }
        if row["published"]:
            row["difference"] = row["measured"] - row["published"]
        return row


#: What is known of a cell only once it was run.
MEASURED = (
    "first_stage_measured", "measured", "difference", "p", "queries", "pairs", "cut", "docs_per_second", "device",
    "dtype", "max_length", "texts", "finished", "versions",
)  # fmt: skip
