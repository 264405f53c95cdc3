"""The card of training data: what it was made of, for people, and where its files are, for `datasets`."""

from collections.abc import Mapping
from typing import Any

CARD = """---
configs:
- config_name: default
  data_files:
{files}
task_categories:
- text-ranking
---

# Training data for a reranker

{rows}

| split | queries | documents |
| --- | ---: | ---: |
{counts}

A row is a document of a query; the rows of a query follow each other.

| column | content |
| --- | --- |
| `qid`, `query` | the query |
| `docid`, `text` | the document, with the text that a reranker reads |
| `grade` | the grade of the judgement; null if nobody judged the document. {level} and more is relevant. |
| `rank` | the place among the candidates, from 1; null for a document that the first stage did not find |
| `teacher_score` | the score of the teacher; null without one, and in `validation` and `test` |

The queries of `train` have relevant documents and a choice of others; those of `validation` and `test` have all
candidates of the first stage, and are left out if there is none. `qrels.txt` has the judgements of all queries, in the
format of trec_eval. `settings.json` has the settings as JSON.

## Settings

{settings}
"""


def data_card(settings: Mapping[str, Any]) -> str:
    """Write the card of data with these settings."""
    stages = " and ".join(settings["first_stage"])
    sentences = [f"Queries with candidates of {stages}, {settings['depth']:,} deep, and their judgements."]
    if teacher := settings["teacher"]:
        sentences.append(f"The scores are those of the teacher {teacher['model'] or 'that was given'}.")
    counts = settings["counts"]
    shown = (f"- `{name}`: {value}" for name, value in settings.items() if name != "counts")
    return CARD.format(
        # Not the empty ones, which `datasets` cannot read.
        files="\n".join(
            f"  - split: {split}\n    path: {split}.parquet" for split in counts if counts[split]["documents"]
        ),
        rows=" ".join(sentences),
        counts="\n".join(f"| {split} | {of['queries']:,} | {of['documents']:,} |" for split, of in counts.items()),
        level=settings["level"],
        settings="\n".join(shown),
    )
