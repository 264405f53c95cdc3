"""Small classifiers with random weights of many architectures, 64 tokens long, as transformers itself saves them.

``build(kind, parent)`` writes ``parent/<kind>``; half of them have BERT's kind of tokenizer, half RoBERTa's.
"""

import json
from pathlib import Path

import tiny_checkpoints as tiny
import tiny_families
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, logging

logging.disable_progress_bar()

LENGTH = 64
SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 1,
    "max_position_embeddings": LENGTH, "pad_token_id": 0,
}  # fmt: skip
#: RoBERTa's kind counts positions from the one after that of padding.
OFFSET = SIZES | {
    "max_position_embeddings": LENGTH + 2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1
}  # fmt: skip

WORDPIECES = {
    "bert": SIZES,
    "electra": SIZES | {"embedding_size": 32},
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "num_labels": 1, "max_position_embeddings": LENGTH
    },
    "albert": SIZES | {"embedding_size": 16},
    "deberta": SIZES | {"type_vocab_size": 2},
    "deberta-v2": SIZES
    | {"type_vocab_size": 0, "relative_attention": True, "pos_att_type": ["p2c"], "position_biased_input": False},
    "mpnet": SIZES | {"pad_token_id": 1, "max_position_embeddings": LENGTH + 2},
    "convbert": SIZES | {"embedding_size": 32},
    "roformer": SIZES | {"embedding_size": 32},
    "big_bird": SIZES | {"attention_type": "original_full"},
    "mobilebert": SIZES | {"embedding_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    "fnet": SIZES | {"type_vocab_size": 4},
    "canine": SIZES | {"num_hash_functions": 4, "num_hash_buckets": 64, "local_transformer_stride": 16},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "num_labels": 1, "pad_token_id": 0},
}  # fmt: skip
PIECES = {
    "roberta": OFFSET,
    "xlm-roberta": OFFSET,
    "camembert": OFFSET,
    "xlm-roberta-xl": OFFSET,
    "data2vec-text": OFFSET,
    "longformer": OFFSET | {"attention_window": 16},
    "roberta-prelayernorm": OFFSET,
    "xmod": OFFSET | {"default_language": "en_XX"},
    "ibert": OFFSET,
}
KINDS = [*WORDPIECES, *PIECES]


def build(kind: str, parent: Path) -> Path:
    """Write the small classifier of that model type as ``parent/<kind>`` and return the folder."""
    folder = Path(parent) / kind
    folder.mkdir(parents=True)
    if kind in PIECES:
        tiny_families._xlm_r(folder)
        (folder / "model.safetensors").unlink()
        named = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "unk": "<unk>"}
        facts = {"model_max_length": 8192, "model_input_names": ["input_ids", "attention_mask"]}
    else:
        tiny._write_tokenizer_json(folder, tiny.UNCASED, padding=False)
        named = {name: f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")}
        facts = {"model_max_length": 512}
    if kind == "xlnet":
        facts["padding_side"] = "left"
    facts |= {f"{name}_token": token for name, token in named.items()}
    tiny._write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **facts})
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    sizes = {**WORDPIECES, **PIECES}[kind]
    torch.manual_seed(KINDS.index(kind))
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(kind, vocab_size=vocabulary, **sizes)
    ).eval()
    tiny_families._save(model, folder, 0.3)
    return folder


def change(folder: Path, file: str, **keys: object) -> None:
    """Write keys into a JSON file of a checkpoint, which may not be there yet; None takes one away."""
    path = folder / file
    facts = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({key: value for key, value in {**facts, **keys}.items() if value is not None}))
