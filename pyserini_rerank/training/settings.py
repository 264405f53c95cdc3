"""The settings of a training."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..arguments import whole

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
        whole(self.seed, "seed", least=0)
        for name, value, is_right in (
            ("epochs", self.epochs, self.epochs > 0),
            ("learning_rate", self.learning_rate, self.learning_rate > 0),
            ("warmup", self.warmup, 0 <= self.warmup < 1),
        ):
            if not is_right:
                raise ValueError(f"{name}={value}: give a number above 0" + " and below 1." * (name == "warmup"))
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: there are {', '.join(PRECISIONS)}.")
