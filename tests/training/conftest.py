"""The small training material."""

import pytest
from learnable import write_data
from pyserini_rerank import TrainingData
from small_training import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("small")).write()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Sixteen queries to learn from."""
    return write_data(tmp_path_factory.mktemp("data") / "data", queries=16)
