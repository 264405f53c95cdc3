"""The extra `train`: the packages that training needs and the rest of this package does not."""

from importlib.util import find_spec

PACKAGES = ("accelerate", "datasets", "pyarrow", "sentence_transformers")


def check_installed() -> None:
    """Raise ImportError, with the remedy, if one of the packages is lacking."""
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise ImportError(f"training needs {', '.join(lacking)}: pip install 'pyserini-rerank[train]'.")
