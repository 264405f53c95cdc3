"""The modules of a checkpoint that sentence-transformers saved as a CrossEncoder: their list, and their folders."""

from pathlib import Path
from typing import NamedTuple

from .reading import read_json, reading

#: The files that sentence-transformers saves of a CrossEncoder: its modules, and its prompts.
MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
#: The class of the only module of most checkpoints, which lies in the checkpoint's own folder.
TRANSFORMER = "Transformer"
#: The classes of the modules that may follow it here, and those of them that have weights.
POOLING, DENSE, LAYER_NORM = "Pooling", "Dense", "LayerNorm"
WITH_WEIGHTS = (DENSE, LAYER_NORM)


class Module(NamedTuple):
    """A line of the list of modules."""

    type: str
    """The name of its class, with that of the Python module."""
    path: str
    """Its folder, in that of the checkpoint; empty for the checkpoint's own folder."""

    @property
    def kind(self) -> str:
        """The name of its class alone."""
        return self.type.rpartition(".")[2]


def modules_of(folder: Path) -> list[Module] | None:
    """List the modules of a folder; None if it is not that of a saved CrossEncoder.

    Like sentence-transformers, take no notice of the list if the files are those of another kind of model.

    Raises
    ------
    ValueError
        One of the two files is damaged.
    """
    path = folder / MODULES
    modules, facts = read_json(path, list), read_json(folder / PROMPTS, dict)
    if not path.is_file() or facts.get("model_type") != "CrossEncoder":
        return None
    with reading(str(path), folder):
        listed = [Module(str(module["type"]), str(module["path"])) for module in modules]
        for module in listed:
            if Path(module.path).is_absolute() or ".." in Path(module.path).parts:
                raise ValueError(f"the folder {module.path} is not one of the checkpoint's")
    return listed
