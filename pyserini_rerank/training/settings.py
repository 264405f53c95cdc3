"""The settings of a training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from ..arguments import whole

#: A seed is smaller.
MOST = 2**32
RANGES = {"warmup": "from 0, and below 1."}
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """The settings of a training. See `pyserini_rerank.train` for the parameters.

    Raises
    ------
    ValueError, TypeError
        One is out of range.
    """

    loss: str
    layers: int | Sequence[int] | None = None
    epochs: float = 1
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup: float = 0.1
    max_length: int | None = None
    accumulate: int = 1
    precision: str = "auto"
    evaluations: int = 10
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "evaluations", "patience"):
            whole(getattr(self, name), name, least=1)
        if whole(self.seed, "seed", least=0) >= MOST:
            raise ValueError(f"seed is {self.seed}: give a number below {MOST}.")
        for name in ("epochs", "learning_rate", "warmup"):
            value = getattr(self, name)
            if not isinstance(value, Real):
                raise TypeError(f"{name} is {value!r:.50}: give a number.")
            number = float(value)
            if not (0 <= number < 1 if name == "warmup" else 0 < number < math.inf):
                raise ValueError(f"{name} is {value}: give a number " + RANGES.get(name, "above 0."))
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: there are {', '.join(PRECISIONS)}.")
