"""Batches of rows of similar length, so that little of a batch is padding."""

import math
from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

#: The batches whose rows are drawn together, and then sorted by length.
TOGETHER = 50


class ByLength(DefaultBatchSampler):
    """Draws rows by chance, sorts those of some batches by their length, and gives the batches in an order by chance.

    The length is that of all texts of a row, in characters. An epoch's batches depend on the seed and its number alone,
    so that a training that goes on has the same. With `drop_last`, which sentence-transformers sets for several
    processes, the one batch that is not full is left out: accelerate would also drop the batches that the other
    processes train on at the same time.
    """

    def __init__(self, dataset: Dataset, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.epoch = 0
        texts = [name for name in dataset.column_names if name not in ("label", "labels")]
        self.lengths = [sum(map(_characters, row.values())) for row in dataset.select_columns(texts)]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        batches: list[Sequence[int]] = []
        for rows in batched(
            torch.randperm(len(self.lengths), generator=generator).tolist(), TOGETHER * self.batch_size
        ):
            batches += batched(sorted(rows, key=self.lengths.__getitem__), self.batch_size)
        if self.drop_last:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield list(batches[number])

    def __len__(self) -> int:
        rows, size = len(self.lengths), int(self.batch_size)
        return rows // size if self.drop_last else math.ceil(rows / size)


def _characters(texts: str | list[str]) -> int:
    return len(texts) if isinstance(texts, str) else sum(map(len, texts))
