"""The card of a trained checkpoint: what it was made of, how, and what it is worth."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..scoring.checkpoints.checkpoint import resolve
from ..version import __version__
from .examples import TrainingData
from .settings import Settings

if TYPE_CHECKING:
    from ..experiments.result import ExperimentResult

PACKAGES = ("sentence-transformers", "transformers", "torch", "accelerate", "datasets")
CARD = """---
{licence}base_model: {base}
library_name: sentence-transformers
pipeline_tag: text-ranking
tags:
- cross-encoder
- reranker
- pyserini-rerank
---

# A cross-encoder, trained from {base}

It scores a query and a passage by a logit: the higher, the more relevant.

```python
import pyserini_rerank

reranker = pyserini_rerank.load("PATH OF THIS FOLDER")
reranker.rank("a query", ["a passage", "another passage"])
```

With sentence-transformers: `CrossEncoder("PATH OF THIS FOLDER").predict([("a query", "a passage")])`.

## Figures

{topics:,} test queries that were neither trained on nor used to choose the checkpoint, each with the candidates of the
first stage.

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


def model_card(base: str, data: TrainingData, settings: Settings, table: "ExperimentResult") -> str:
    """Write the card of a checkpoint that was trained from a base."""
    row = resolve(base).row
    licence = row.licence
    teacher = data.settings["teacher"]
    counts = data.settings["counts"]["train"]
    versions = {"pyserini-rerank": __version__} | {name: version(name) for name in PACKAGES}
    name = Path(base).name if Path(base).is_dir() else base
    return CARD.format(
        base=name,
        licence=f"license: {licence.lower()}\n" if licence else "",
        topics=table.topics,
        table=repr(table),
        stages=" and ".join(data.settings["first_stage"]),
        **counts,
        teacher=f" The teacher is {teacher['model'] or 'a reranker that was loaded'}." if teacher else "",
        settings="\n".join(f"- `{key}`: {value}" for key, value in asdict(settings).items()),
        versions="\n".join(f"- {key} {value}" for key, value in versions.items()),
        licence_text=f"The base's is {licence}." if licence else "The base's licence is not known: see its own card.",
    )
