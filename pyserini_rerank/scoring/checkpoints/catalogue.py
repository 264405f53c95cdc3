"""The known checkpoints: the rows of `catalogue.yaml`, and the rows of the user's file."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from importlib.resources import files
from numbers import Real
from pathlib import Path
from typing import Any

from ...files.reading import is_input, read_text
from ...files.yaml12 import read_yaml
from .bundled import NAME as BUNDLED
from .heads import HEADS

#: The families; a sequence classifier has none.
FAMILIES = ("seq2seq", "decoder", "late")
#: The families that answer a prompt.
PROMPTED = ("seq2seq", "decoder")
#: The fields of a row that may be absent, and what they hold.
KINDS: dict[str, type] = {
    **dict.fromkeys(("family", "head", "type", "tokenizer", "licence", "unseen"), str),
    **dict.fromkeys(("body", "instruction"), Mapping),
    "parameters": Real,
    "longest": int,
}
#: The keys of a row's `body`, and of its `instruction`.
BODY, INSTRUCTION = ("type", "prefix", "linear"), ("default", "prompt")
#: The figure that the checkpoints of the model card of cross-encoder/ms-marco-* have, and no others.
CARD = "docs_per_second"
#: The environment variable that names the user's file.
VARIABLE = "PYSERINI_RERANK_CHECKPOINTS"


@dataclass(frozen=True)
class Row:
    """A checkpoint of the catalogue; `catalogue.yaml` explains the fields."""

    name: str
    family: str | None = None
    head: str | None = None
    template: Sequence[str] = ()
    answers: Sequence[str] = ()
    instruction: Mapping[str, str] | None = None
    type: str | None = None
    body: Mapping[str, str] | None = None
    tokenizer: str | None = None
    lower_case: bool = False
    aliases: Sequence[str] = ()
    parameters: float | None = None
    longest: int | None = None
    licence: str | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    sources: Sequence[str] = ()
    unseen: str | None = None

    def __post_init__(self) -> None:
        """Check the fields; raises ValueError, whose message tells which field is wrong and why."""
        for name, kind in KINDS.items():
            if not isinstance(getattr(self, name), kind | None):
                raise ValueError(f"its {name} is {getattr(self, name)!r}")
        for name in ("template", "answers", "aliases", "sources"):
            if not _is_texts(getattr(self, name)):
                raise ValueError(f"its {name} is {getattr(self, name)!r}: give a list of texts")
        if not isinstance(self.lower_case, bool):
            raise ValueError(f"its lower_case is {self.lower_case!r}: give true or false")
        if not isinstance(self.published, Mapping) or not all(
            isinstance(figure, Real) for figure in self.published.values()
        ):
            raise ValueError(f"its published is {self.published!r}: give figures by name")
        if self.body is not None and not (set(self.body) == set(BODY) and _is_texts([*self.body.values()])):
            raise ValueError(f"its body is {dict(self.body)}: give {', '.join(BODY)}")
        told = self.instruction
        if told is not None and not (set(told) == set(INSTRUCTION) and _is_texts([*told.values()])):
            raise ValueError(f"its instruction is {dict(told)}: give {' and '.join(INSTRUCTION)}")
        self._check_family()

    def _check_family(self) -> None:
        if self.family not in (None, *FAMILIES):
            raise ValueError(f"its family is {self.family!r}: there are {', '.join(FAMILIES)}; a classifier has none")
        if self.head not in (None, *HEADS):
            raise ValueError(f"its head is {self.head!r}: there are {', '.join(HEADS)}")
        if self.head and self.family:
            raise ValueError(f"its head is {self.head!r}, and its family {self.family}: classifiers alone have a head")
        if self.family in PROMPTED:
            prompt = "".join(self.template)
            if prompt.count("{query}") != 1 or prompt.count("{document}") != 1:
                raise ValueError("its template has not one {query} and one {document}")
            places = prompt.count("{instruction}"), (self.instruction or {}).get("prompt", "").count("{instruction}")
            if places != ((1, 1) if self.instruction else (0, 0)):
                raise ValueError("its template and the prompt of its instruction have not one {instruction} each")
            if len(self.answers) not in (1, 2) or len(set(self.answers)) != len(self.answers):
                raise ValueError(f"its answers are {list(self.answers)}: give the irrelevant and the relevant one")
        elif self.template or self.answers or self.instruction:
            raise ValueError(f"it has a template, answers or an instruction, and no family of {' and '.join(PROMPTED)}")
        if self.family == "late" and self.body is None:
            raise ValueError("it has no body, which says where the vectors of the family late are")


def _is_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def catalogue() -> dict[str, Row]:
    """Read the known checkpoints by hub name: the rows of the package and of the user.

    Raises
    ------
    FileNotFoundError
        The variable names a file that is not there.
    ValueError
        The user's file is wrong; the message names the row.
    """
    return {**_packaged(), **users_rows()}


def users_file() -> Path | None:
    """Give the path of the user's file; None if there is no such file.

    The environment variable ``PYSERINI_RERANK_CHECKPOINTS`` names it. Without the variable it is ``checkpoints.yaml``
    in the folder ``pyserini-rerank`` of the user's configuration. Raises FileNotFoundError if the variable names no
    file.
    """
    if named := os.environ.get(VARIABLE):
        path = Path(os.path.expanduser(named))
        if not is_input(path):
            raise FileNotFoundError(f"{VARIABLE} names {named}, which is no file: correct the variable, or unset it.")
        return path
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    folder = configured if os.path.isabs(configured) else os.path.expanduser("~/.config")
    path = Path(folder, "pyserini-rerank", "checkpoints.yaml")
    # A user may have no home, or that of another whose folders are closed to them.
    return path if os.path.exists(path) else None


def users_rows() -> dict[str, Row]:
    """Read the rows of the user's file as it is now; raises as `catalogue`."""
    path = users_file()
    if path is None:
        return {}
    return _rows(read_text(path), str(path), frozenset([BUNDLED, *_names(_packaged())]))


def of_the_card() -> list[str]:
    """Name the fifteen checkpoints of the model card: the rows of the package that have its figure of the speed."""
    return [name for name, row in _packaged().items() if CARD in row.published]


def row_of(name: str) -> Row | None:
    """Find the row of a hub name or an alias; None if there is no such row."""
    rows = catalogue()
    return rows.get(name) or next((row for row in rows.values() if name in row.aliases), None)


@cache
def _packaged() -> dict[str, Row]:
    file = files(__package__).joinpath("catalogue.yaml")
    return _rows(file.read_text(encoding="utf-8"), "catalogue.yaml", frozenset())


@lru_cache(maxsize=4)
def _rows(text: str, file: str, taken: frozenset[str]) -> dict[str, Row]:
    """Read the rows of a file; raises ValueError where a name is in it twice or is among those `taken`."""
    try:
        facts_by_name = read_yaml(text) or {}
    except ValueError as error:
        raise ValueError(f"{file} is no YAML: {error}") from None
    if not isinstance(facts_by_name, Mapping):
        raise ValueError(f"{file} is no mapping from names to rows: see the catalogue.yaml of the package.")
    rows = {str(name): _row(str(name), {} if facts is None else facts, file) for name, facts in facts_by_name.items()}
    names = Counter(_names(rows))
    repeated = [name for name in names if names[name] > 1 or name in taken]
    if repeated:
        raise ValueError(f"{file}: {repeated[0]} is the name or alias of another row already: choose a different one.")
    return rows


def _row(name: str, facts: Any, file: str) -> Row:
    known = [row_field.name for row_field in fields(Row)][1:]
    if not isinstance(facts, Mapping):
        raise ValueError(f"{file}: the row of {name} is {facts!r:.80}: give fields of {', '.join(known)}.")
    wrong = [key for key in facts if key not in known]
    if wrong:
        raise ValueError(f"{file}: the row of {name} has no field {wrong[0]!r}: there are {', '.join(known)}.")
    try:
        return Row(name=name, **facts)
    except ValueError as error:
        raise ValueError(f"{file}: the row of {name} is wrong, {error}.") from None


def _names(rows: Mapping[str, Row]) -> list[str]:
    return [*rows, *(alias for row in rows.values() for alias in row.aliases)]
