"""The known checkpoints: the rows of `catalogue.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from ...files.yaml12 import read_yaml


@dataclass(frozen=True)
class Row:
    """A checkpoint of the catalogue; `catalogue.yaml` explains the fields."""

    name: str
    family: str | None = None
    head: str | None = None
    template: Sequence[str] = ()
    answers: Sequence[str] = ()
    type: str | None = None
    body: Mapping[str, str] | None = None
    tokenizer: str | None = None
    lower_case: bool = False
    aliases: tuple[str, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)


@cache
def catalogue() -> dict[str, Row]:
    """Read the known checkpoints, by hub name."""
    text = files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return {name: Row(name=name, **facts) for name, facts in read_yaml(text).items()}


def of_the_card() -> list[str]:
    """Name the checkpoints that have published figures: the fifteen of the model card."""
    return [name for name, row in catalogue().items() if row.published]


def row_of(name: str) -> Row | None:
    rows = catalogue()
    return rows.get(name) or next((row for row in rows.values() if name in row.aliases), None)
