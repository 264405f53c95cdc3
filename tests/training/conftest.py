"""The small training material, and a model that is interrupted."""

from typing import Any

import pytest
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from small_training import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("small")).write()


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the model's nth batch interrupted; gives a list that grows with the batches."""
    plain, ran = TorchBackend.run, []

    def interrupt_at(nth: int | None) -> list[Any]:
        ran.clear()

        def interrupted(self: Any, batch: Any) -> Any:
            ran.append(batch)
            if len(ran) == nth:
                raise KeyboardInterrupt
            return plain(self, batch)

        monkeypatch.setattr(TorchBackend, "run", interrupted)
        return ran

    return interrupt_at
