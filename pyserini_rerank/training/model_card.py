"""The card of a trained checkpoint: what it was made of, how, and what it is worth."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..scoring.checkpoints import bundled
from ..scoring.checkpoints.checkpoint import Checkpoint, resolve
from ..version import __version__
from .settings import Settings
from .training_data import TrainingData

if TYPE_CHECKING:
    from ..experiments.result import ExperimentResult

PACKAGES = ("sentence-transformers", "transformers", "torch", "accelerate", "datasets")
CARD = """---
{facts}---

# A cross-encoder, trained from {base}

It scores a query and a passage by a logit: the higher, the more relevant.

```python
import pyserini_rerank

reranker = pyserini_rerank.load("PATH OF THIS FOLDER")
reranker.rank("a query", ["a passage", "another passage"])
```

With sentence-transformers: `CrossEncoder("PATH OF THIS FOLDER").predict([("a query", "a passage")])`.

## Figures

{topics:,} {queries_of} queries, {which}, each with the candidates of the first stage.

```text
{table}
```

`experiment/` has the runs and each query's figures. `training.png` shows the loss and the measure of the validation
queries by step, and `training_log.jsonl` has the numbers.

## Data

Made of {stages} and judgements: {queries:,} queries with {documents:,} documents.{teacher}

## Settings

{settings}

## Versions

{versions}

## Licence

{licence_text}
"""


#: What is to be said of the queries of a split.
WHICH = {
    "test": "which were neither trained on nor used to choose the checkpoint",
    "validation": "by which the checkpoint was chosen, so that the figures of the trained one are too good",
    "train": "which were trained on, so that the figures of the trained one are far too good",
}


def model_card(base: str, data: TrainingData, settings: Settings, split: str, table: "ExperimentResult") -> str:
    """Write the card of a checkpoint that was trained from a base, with a table of the queries of a split."""
    checkpoint = resolve(base)
    licence = checkpoint.row.licence or _licence(checkpoint)
    teacher = data.settings["teacher"]
    counts = data.settings["counts"]["train"]
    versions = {"pyserini-rerank": __version__} | {name: version(name) for name in PACKAGES}
    name = bundled.CHECKPOINT if base == bundled.NAME else Path(base).name if Path(base).is_dir() else base
    facts: dict[str, str | list[str]] = {"license": licence.lower()} if licence else {}
    facts |= {
        "base_model": name,
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-ranking",
        "tags": ["cross-encoder", "reranker", "pyserini-rerank"],
    }
    return CARD.format(
        base=name,
        facts=yaml.safe_dump(facts, sort_keys=False, allow_unicode=True),
        topics=table.topics,
        queries_of="training" if split == "train" else split,
        which=WHICH[split],
        table=repr(table),
        stages=" and ".join(data.settings["first_stage"]),
        **counts,
        teacher=f" The teacher is {teacher['model'] or 'a reranker that was loaded'}." if teacher else "",
        settings="\n".join(f"- `{key}`: {value}" for key, value in asdict(settings).items()),
        versions="\n".join(f"- {key} {value}" for key, value in versions.items()),
        licence_text=f"The base's is {licence}." if licence else "The base's licence is not known: see its own card.",
    )


def _licence(checkpoint: Checkpoint) -> str | None:
    """Read the licence on a checkpoint's own card; None if there is none."""
    card = checkpoint.folder / "README.md"
    begin, _, rest = (
        card.read_text(encoding="utf-8", errors="replace").partition("---\n") if card.is_file() else ("", "", "")
    )
    try:
        facts = yaml.safe_load("" if begin else rest.partition("\n---")[0])
    except yaml.YAMLError:
        return None
    licence = facts.get("license") if isinstance(facts, dict) else None
    return licence if isinstance(licence, str) else None
