"""The systems of an experiment, as a user writes them: a first stage each, and a reranker where there is one."""

import unicodedata
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

from ..arguments import mapped, whole
from ..combining.maker import given_rerankers, settled
from ..loading import load_models
from ..reranker import Reranker
from ..searcher import DEPTH, RerankingSearcher
from ..texts.opening import open_source
from ..texts.source import Source
from .first_stages import FirstStage, FirstStages, vars_of

FORMS = (
    "give a searcher, a run file, hits by qid, or one of these with a reranker, as in (searcher, 'bundled') or "
    "(searcher, 'bundled', 50)"
)
#: Unicode's categories of control characters, line separators and halves of surrogate pairs.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


@dataclass(frozen=True)
class System:
    """One row of an experiment's table."""

    name: str
    stage: FirstStage
    reranker: Reranker | None = None
    depth: int | None = None
    """How many candidates are reranked; None for all that the first stage gives."""
    source: Source | None = None
    """Where the candidates' texts are; None where nothing is reranked."""


class SystemReader:
    """Reads systems; what several of them have in common is opened, and loaded, once.

    Parameters
    ----------
    qids : collection of str
        The topics.
    texts : tuple
        The texts, and what becomes of missing ones, for systems that do not say so themselves; see
        `pyserini_rerank.texts.opening.open_source`.
    options : mapping
        For the checkpoints that are loaded here; see `pyserini_rerank.load`.
    stack : ExitStack
        It closes what was loaded.
    """

    def __init__(
        self, qids: Collection[str], texts: tuple[Any, str], options: Mapping[str, Any], stack: ExitStack
    ) -> None:
        self.texts, self.options, self.stack = texts, options, stack
        self._stages = FirstStages(qids, stack, FORMS)
        self._sources: dict[Any, Source] = {}
        self._loaded: dict[Any, Reranker] = {}

    def read(self, systems: Any) -> list[System]:
        """Read a mapping of names to systems.

        Raises
        ------
        TypeError, ValueError
            One is none of the forms; a name is no string, or not on one line; there is none; there are options and
            nothing that is loaded here.
        As `pyserini_rerank.load`, `run_file.read` and `pyserini_rerank.texts.opening.open_source`.
        """
        read = []
        for name, given in mapped(systems, "systems").items():
            if not isinstance(name, str) or not name.strip():
                raise TypeError(f"the system {name!r} has no name: give a text, which the table shows.")
            if any(unicodedata.category(sign) in UNPRINTABLE for sign in name):
                raise ValueError(f"the system {name!r:.80} cannot be named so in a file: give it a name on one line.")
            try:
                read.append(self._system(name, given))
            except (TypeError, ValueError, LookupError, OSError) as error:
                error.add_note(f"the system is {name!r}")
                raise
        if not read:
            raise ValueError("there is no system: name one or more.")
        if self.options and not self._loaded:
            raise TypeError(
                f"{', '.join(self.options)}: options are for checkpoints that are loaded here: there are none."
            )
        return read

    def _system(self, name: str, given: Any) -> System:
        if not isinstance(given, tuple | list):
            reranking = given if isinstance(given, RerankingSearcher) else vars_of(given).get("_reranking")
            if reranking is None:
                return System(name, self._stages.open(given))
            stage = self._stages.searched(reranking.first_stage)
            return System(name, stage, reranking.reranker, reranking.depth, reranking.texts)
        if len(given) not in (2, 3):
            raise TypeError(f"the system {name!r} is a {type(given).__name__} of {len(given)}: {FORMS}.")
        first, written, *rest = given
        stage, reranker = self._stages.open(first), self._reranker(written)
        depth = whole(rest[0], f"the depth of {name}", least=1) if rest else reranker.depth
        return System(name, stage, reranker, depth, self._source(stage))

    def _reranker(self, written: Any) -> Reranker:
        """Load a reranker; one that is named several times is loaded once."""
        if isinstance(written, Reranker):
            return written
        written = settled(written)
        # Of two rerankers that are loaded, the names may be the same.
        key = repr(written), tuple(map(id, given_rerankers(written)))
        if key not in self._loaded:
            self._loaded[key], loaded = load_models(written, **self.options)
            for model in loaded:
                self.stack.callback(model.close)
        return self._loaded[key]

    def _source(self, stage: FirstStage) -> Source:
        """Open where a stage's texts are; one that is named for all of them is opened once."""
        texts, missing = self.texts
        key = id(stage.searcher) if texts is None else None
        if key not in self._sources:
            self._sources[key] = open_source(texts, stage.searcher, missing)
        return self._sources[key]


def default_depth(systems: list[System]) -> int:
    """Give the depth of the deepest system, but 100 at least."""
    return max(DEPTH, *(system.depth or 0 for system in systems))


def lacking_first_stages(systems: list[System]) -> list[System]:
    """Give the first stages that are reranked and no system by themselves; their runs are kept as well."""
    alone = {id(system.stage) for system in systems if system.reranker is None}
    stages = {id(system.stage): system.stage for system in systems if id(system.stage) not in alone}
    taken = {system.name for system in systems}
    names = (name for number in count(1) if (name := f"first stage {number}") not in taken)
    return [System(name, stage) for name, stage in zip(names, stages.values(), strict=False)]


def first_stages_of(systems: list[System]) -> dict[str, str]:
    """Name the first stage of each system that reranks."""
    alone = {id(system.stage): system.name for system in systems if system.reranker is None}
    return {system.name: alone[id(system.stage)] for system in systems if system.reranker}
