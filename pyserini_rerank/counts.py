"""The counts that a reranker keeps, and the warnings that follow from them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields


class CutWarning(UserWarning):
    """Queries or passages were longer than the model reads, and were cut."""


class UnknownTextWarning(UserWarning):
    """Passages consist mostly of tokens that are not in the model's vocabulary."""


class EmptyDocumentWarning(UserWarning):
    """Documents without any text were left below the reranked ones."""


class SkippedDocumentWarning(UserWarning):
    """Documents whose text was not found were left below the reranked ones, or out of training data."""


class EmptyQueryWarning(UserWarning):
    """Queries were empty, and their hits were left as the first stage gave them."""


@dataclass
class Counts:
    """The number of pairs that a reranker has scored, and of the pairs whose scores deserve a second look."""

    pairs: int = 0
    scored: int = 0
    """Pairs that went through the model; equal pairs go through it once."""
    cut_passages: int = 0
    cut_queries: int = 0
    unknown: int = 0
    """Passages with at least as many unknown tokens as known ones."""
    empty: int = 0
    """Documents without any text."""
    empty_queries: int = 0
    missing: int = 0
    """Documents whose text was not found. ``missing="skip"`` has left them below the reranked ones."""

    def add(self, other: "Counts") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def troubles(self, before: "Counts", name: str, limits: str) -> Iterator[tuple[type[Warning], str]]:
        """Give a warning's class and text for each trouble that was not counted before.

        Parameters
        ----------
        before : Counts
            The counts of all earlier calls.
        name, limits : str
            The reranker's name, and the number of tokens beyond which its checkpoints cut.
        """
        of = f"of {self.pairs} passages"
        if self.cut_passages + self.cut_queries and not before.cut_passages + before.cut_queries:
            yield CutWarning, f"{self.cut_passages} {of} and {self.cut_queries} queries were cut to {limits} tokens."
        if self.unknown and not before.unknown:
            text = f"{self.unknown} {of} are mostly unknown to the vocabulary of {name}: does it know their language?"
            yield UnknownTextWarning, text
        if self.empty and not before.empty:
            text = f"{self.empty} documents have no text and stay below the {self.pairs} that were reranked."
            yield EmptyDocumentWarning, text
        if self.missing and not before.missing:
            text = f"{self.missing} documents were not found and stay below the {self.pairs} that were reranked."
            yield SkippedDocumentWarning, text
        if self.empty_queries and not before.empty_queries:
            text = f"{self.empty_queries} queries are empty, and their hits stay as the first stage gave them."
            yield EmptyQueryWarning, text
