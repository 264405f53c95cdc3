"""A checkpoint's settings of its inputs: its tokenizer, the length to which pairs are cut, the prompt before a query.

Whatever transformers or sentence-transformers reads in these files is either honoured here or refused by name. A
setting that was silently ignored would give other scores.
"""

import math
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Normalizer, Sequence
from transformers import AutoTokenizer, BertTokenizer

from .checkpoint import TOKENIZER_FILES, Checkpoint, lacks_tokenizer
from .hub import fetch
from .modules import PROMPTS, TRANSFORMER
from .reading import not_read, read_json, reading

#: The number of tokens to which pairs are cut, at most, unless a max_length is given.
USUAL_LENGTH = 512

#: The file of a transformer's settings, as sentence-transformers saves it. It had the architecture in its name once.
SAVED = "sentence_bert_config.json"
KINDS = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
SAVED_AS = (SAVED, *(f"sentence_{kind}_config.json" for kind in KINDS))
#: Keys of the last file that change no score: the first two are about the layout of batches, the others about texts
#: that are no pairs.
HARMLESS = ("unpad_inputs", "module_output_name", "query_length", "document_length", "query_expansion")
#: Its other keys: those that are honoured, and those with one value that this package can read pairs with. These are
#: the task of a transformer that has a head, or whose head is made of modules, and the output that it is called for.
HONOURED = ("max_seq_length", "do_lower_case")
TASK, OUTPUT = "transformer_task", "modality_config"
WITH_HEAD, WITHOUT_HEAD = ("sequence-classification", "logits"), ("feature-extraction", "last_hidden_state")


@dataclass(frozen=True)
class Settings:
    """The settings of a checkpoint's inputs.

    Attributes
    ----------
    tokenizer
        The Rust tokenizer.
    max_length : int
        Tokens to which a pair is cut unless the caller gives a number; the model may have fewer positions.
    takes_types : bool
        Whether the model is given token types, which tell the query's tokens from the passage's.
    cuts_left : bool
        Whether a text that is too long loses its first tokens instead of its last.
    pads_left : bool
        Whether the files pad on the left: the model reads its score off the last token, which must not be padding.
    prompt : str
        The text that goes before every query.
    """

    tokenizer: Tokenizer
    max_length: int
    takes_types: bool = True
    cuts_left: bool = False
    pads_left: bool = False
    prompt: str = ""


def load_settings(checkpoint: Checkpoint) -> Settings:
    """Read a checkpoint's tokenizer and settings; the catalogue's row goes before the files.

    Raises
    ------
    FileNotFoundError
        The checkpoint has no tokenizer.
    ConnectionError
        The tokenizer is another checkpoint's, which cannot be fetched.
    ValueError
        A file is damaged, or has a setting that this package does not honour.
    """
    row = checkpoint.row
    pretrained = _pretrained(checkpoint)
    # The catalogue has the prompt of a family's checkpoint, which is read as its authors read it.
    saved, prompt = ({}, "") if row.family else _saved(checkpoint)
    if not row.family and not saved and pretrained.chat_template is not None:
        raise not_read(checkpoint.name, "a chat_template beside its tokenizer")
    if pretrained.split_special_tokens:
        raise not_read(checkpoint.name, "split_special_tokens in its tokenizer_config.json")
    tokenizer: Tokenizer = pretrained.backend_tokenizer
    if getattr(tokenizer.model, "dropout", None):
        raise ValueError(
            f"{checkpoint.name} has dropout in its tokenizer.json, so that a text has other tokens each time: set it "
            "to null."
        )
    if row.lower_case:
        tokenizer.normalizer = BertNormalizer(lowercase=True)
    elif saved.get("do_lower_case"):
        tokenizer.normalizer = _lowering(tokenizer.normalizer)
    return Settings(
        tokenizer,
        max_length=saved.get("max_seq_length") or int(min(pretrained.model_max_length, USUAL_LENGTH)),
        takes_types="token_type_ids" in pretrained.model_input_names,
        cuts_left=pretrained.truncation_side == "left",
        pads_left=pretrained.padding_side == "left",
        prompt=prompt,
    )


def _pretrained(checkpoint: Checkpoint) -> Any:
    """Load a checkpoint's tokenizer as transformers does."""
    row, source = checkpoint.row, checkpoint.folder
    if lacking := lacks_tokenizer(source):
        if row.tokenizer is None:
            none = lacking if lacking == "merges.txt" else f"none of {', '.join(TOKENIZER_FILES)}"
            raise FileNotFoundError(f"{checkpoint.name} has no tokenizer ({none}): copy its files into the folder.")
        # transformers would make up a vocabulary of five tokens if it could not fetch the tokenizer.
        source = fetch(row.tokenizer, lacks_tokenizer, TOKENIZER_FILES)
    # If transformers does not know the model, the configuration does not tell it the class of the tokenizer.
    auto = BertTokenizer if row.body or row.type else AutoTokenizer
    with reading(f"the tokenizer in {source}", source):
        pretrained = auto.from_pretrained(source, trust_remote_code=False)
        length, inputs = pretrained.model_max_length, pretrained.model_input_names
        if not isinstance(length, int | float) or math.isnan(length):
            raise ValueError(f"model_max_length is {length!r}")
        if not isinstance(inputs, list | tuple):
            raise ValueError(f"model_input_names is {inputs!r}")
        rust_tokenizer(pretrained)  # refuses one that is written in Python
    return pretrained


def rust_tokenizer(pretrained: Any) -> Tokenizer:
    """Give the Rust tokenizer in one of transformers' tokenizers; raises ValueError if that is written in Python."""
    if not pretrained.is_fast:
        raise ValueError(
            f"{type(pretrained).__name__} is written in Python, and only what a tokenizer.json holds is read here: use "
            "another checkpoint"
        )
    tokenizer: Tokenizer = pretrained.backend_tokenizer
    return tokenizer


def _saved(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """Read the settings of the transformer and the prompt that sentence-transformers saved with a CrossEncoder.

    Like that library, read neither if there is no list of modules, or if the files are those of another kind of model.
    """
    folder, modules = checkpoint.folder, checkpoint.modules
    if modules is None:
        return {}, ""
    kinds = [(module.kind, module.path) for module in modules]
    if kinds[:1] != [(TRANSFORMER, "")]:
        parts = ", ".join(" in ".join(filter(None, kind)) for kind in kinds)
        raise not_read(checkpoint.name, f"a modules.json of {parts or 'no parts'}")
    facts = read_json(folder / PROMPTS, dict)
    if facts.get("requirements"):
        raise not_read(checkpoint.name, f"requirements in its {PROMPTS}")
    prompts, chosen = facts.get("prompts") or {}, facts.get("default_prompt_name")
    if chosen is not None and not isinstance(prompts.get(chosen, 0), str | None):
        raise ValueError(f"{folder / PROMPTS} names the prompt {chosen!r}, and has {', '.join(prompts) or 'none'}.")
    file = next((name for name in SAVED_AS if (folder / name).is_file()), SAVED)
    saved = read_json(folder / file, dict)
    task, output = WITHOUT_HEAD if checkpoint.is_modular else WITH_HEAD
    known = {TASK: task, OUTPUT: {"text": {"method": "forward", "method_output_name": output}}}
    for key, value in saved.items():
        if value and key not in (*HARMLESS, *HONOURED) and value != known.get(key):
            raise not_read(checkpoint.name, f"{key} in its {file}")
    if not isinstance(length := saved.get("max_seq_length"), int | None):
        raise ValueError(f"{folder / file} has max_seq_length={length!r}, which is no number of tokens.")
    if saved.get(TASK, WITHOUT_HEAD[0]) != task:  # without a word it is an encoder without a head
        raise not_read(checkpoint.name, f"no {TASK} in its {file}")
    return saved, prompts.get(chosen) or ""


def _lowering(normalizer: Normalizer | None) -> Normalizer:
    """Put a step to lower case before a normalizer, as sentence-transformers does."""
    return Sequence([Lowercase()] if normalizer is None else [Lowercase(), normalizer])
