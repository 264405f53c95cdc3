"""Small checkpoints with random weights, each with the architecture, the key names and the files of one of the fifteen,
or of a further BERT or ELECTRA.

``build(name, parent)`` writes ``parent/<org>/<name>``. The tables of keys are written out here and not asked from
transformers, so that a wrong key in the code under test shows. What the sizes are cannot matter to a reader of a
checkpoint; what the keys are called, which files there are and what they leave unsaid does.

Facts are from the model cards and the authors' code; marked "inferred" is what could not be looked up without a hub.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

NAMES = [
    "cross-encoder/ms-marco-TinyBERT-L-2-v2",
    "cross-encoder/ms-marco-MiniLM-L-2-v2",
    "cross-encoder/ms-marco-MiniLM-L-4-v2",
    "cross-encoder/ms-marco-MiniLM-L-6-v2",
    "cross-encoder/ms-marco-MiniLM-L-12-v2",
    "cross-encoder/ms-marco-TinyBERT-L-2",
    "cross-encoder/ms-marco-TinyBERT-L-4",
    "cross-encoder/ms-marco-TinyBERT-L-6",
    "cross-encoder/ms-marco-electra-base",
    "nboost/pt-tinybert-msmarco",
    "nboost/pt-bert-base-uncased-msmarco",
    "nboost/pt-bert-large-msmarco",
    "Capreolus/electra-base-msmarco",
    "amberoad/bert-multilingual-passage-reranking-msmarco",
    "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco",
]

FURTHER = [
    "castorini/monoelectra-base",
    "webis/monoelectra-base",
    "webis/monoelectra-large",
    "juanluisdb/MiniLM-L-6-rerank-m3",
    "xpmir/cross-encoder-bert-base-DistillRankNET",
    "xpmir/cross-encoder-ELECTRA-DistillRankNET",
]

POSITIONS = 512

# ---------------------------------------------------------------------------------------------------- vocabularies

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")
_DIGITS = list("0123456789")
_LETTERS = list("abcdefghijklmnopqrstuvwxyz")
_SUFFIXES = "##ing ##ed ##er ##est ##ly ##tion ##s ##es ##ness ##able"
_WORDS = """
the of and to in a is was for on are as with by that it be from at an how many people live does do what why when who
where which long life cycle flea berlin germany population capital city museum well known registered inhabitants area
square kilometer kilometers had has have its last number count year years river water stone bank money river train
station history world war east west wall food bread beer music art school child doctor heart blood bone cat dog horse
bird fish tree leaf rain snow wind fire iron gold paper book page letter name word language english german cafe zurich
resume naive senor uber strasse small big old new red green blue black white fast slow warm cold first second third
"""
_GERMAN = "der die das und ist ein eine nicht mit von zu den stadt fluss haus"
_CYRILLIC = list("абвгдежзиклмнопрстуфхцчшщыьэюя")


def _listed_once(*parts):
    lists = (part.split() if isinstance(part, str) else part for part in parts)
    return list(dict.fromkeys(token for tokens in lists for token in tokens))


# Uncased: there is no capital letter in it, so "Berlin" that nobody lower-cased is [UNK]. Fourteen share this one, as
# they share bert-base-uncased's.
UNCASED = _listed_once(
    _SPECIAL, _PUNCTUATION, _DIGITS, _LETTERS, _WORDS, _SUFFIXES, ["##" + c for c in _LETTERS + _DIGITS]
)
# amberoad's is bert-base-multilingual-uncased's: another list, the same rules. An "ü" is in neither (accents go).
MULTILINGUAL_UNCASED = _listed_once(
    _SPECIAL,
    _PUNCTUATION,
    _DIGITS,
    _LETTERS,
    _CYRILLIC,
    _GERMAN,
    _WORDS,
    _SUFFIXES,
    ["##" + c for c in _DIGITS + _LETTERS + _CYRILLIC],
)

# ------------------------------------------------------------------------------------------------- tables of weights


# Embeddings as small as BERT's own, so that the eps of the LayerNorm after them counts; heads large enough that the
# scores of different texts lie well apart.


def _embeddings(random, key, *shape):
    return {f"{key}.weight": random.normal(0, 0.05, shape)}


def _linear(random, key, out, into, spread=0.25):
    return {f"{key}.weight": random.normal(0, spread, (out, into)), f"{key}.bias": random.normal(0, 0.2, out)}


def _head(random, key, labels, hidden):
    return _linear(random, key, labels, hidden, spread=0.8)


def _norm(random, key, size):
    return {f"{key}.weight": random.normal(1, 0.1, size), f"{key}.bias": random.normal(0, 0.2, size)}


def _bert_body(random, prefix, vocabulary, layers, hidden, inner):
    """BERT's and ELECTRA's keys without a pooler: they are called alike (ELECTRA-base has no embeddings_project)."""
    at = prefix + ".embeddings"
    weights = {
        **_embeddings(random, f"{at}.word_embeddings", vocabulary, hidden),
        **_embeddings(random, f"{at}.position_embeddings", POSITIONS, hidden),
        **_embeddings(random, f"{at}.token_type_embeddings", 2, hidden),
        **_norm(random, f"{at}.LayerNorm", hidden),
    }
    for layer in range(layers):
        at = f"{prefix}.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            weights |= _linear(random, f"{at}.attention.self.{part}", hidden, hidden)
        weights |= _linear(random, f"{at}.attention.output.dense", hidden, hidden)
        weights |= _norm(random, f"{at}.attention.output.LayerNorm", hidden)
        weights |= _linear(random, f"{at}.intermediate.dense", inner, hidden)
        weights |= _linear(random, f"{at}.output.dense", hidden, inner)
        weights |= _norm(random, f"{at}.output.LayerNorm", hidden)
    return weights


def _distilbert_body(random, prefix, vocabulary, layers, hidden, inner):
    at = prefix + ".embeddings"
    weights = {
        **_embeddings(random, f"{at}.word_embeddings", vocabulary, hidden),
        **_embeddings(random, f"{at}.position_embeddings", POSITIONS, hidden),
        **_norm(random, f"{at}.LayerNorm", hidden),
    }
    for layer in range(layers):
        at = f"{prefix}.transformer.layer.{layer}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            weights |= _linear(random, f"{at}.attention.{part}", hidden, hidden)
        weights |= _norm(random, f"{at}.sa_layer_norm", hidden)
        weights |= _linear(random, f"{at}.ffn.lin1", inner, hidden)
        weights |= _linear(random, f"{at}.ffn.lin2", hidden, inner)
        weights |= _norm(random, f"{at}.output_layer_norm", hidden)
    return weights


# ------------------------------------------------------------------------------------------------- the five families


def _bert_config(architecture, model_type, vocabulary, layers, heads, hidden, inner):
    return {
        "architectures": [architecture],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": inner,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "model_type": model_type,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
    }


_ONE_LABEL = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}


def _cross_encoder(folder, random, name):
    """The eight BERTs and the ELECTRA of sentence-transformers: one label, safetensors, a whole tokenizer.

    Inferred: that version 1 and ELECTRA record a sigmoid (facts: their cards show one) under this key. It is not part
    of the score. ``position_ids`` is in the files because they were saved when it was a persistent buffer.
    """
    electra = name.endswith("electra-base")
    layers, heads, hidden, inner = {
        "ms-marco-TinyBERT-L-2-v2": (2, 2, 32, 64),
        "ms-marco-MiniLM-L-2-v2": (2, 4, 32, 64),
        "ms-marco-MiniLM-L-4-v2": (4, 4, 32, 64),
        "ms-marco-MiniLM-L-6-v2": (3, 4, 32, 64),
        "ms-marco-MiniLM-L-12-v2": (4, 4, 48, 96),
        "ms-marco-TinyBERT-L-2": (2, 2, 32, 64),
        "ms-marco-TinyBERT-L-4": (4, 4, 40, 96),
        "ms-marco-TinyBERT-L-6": (3, 4, 48, 96),
        "ms-marco-electra-base": (3, 4, 48, 96),
        "MiniLM-L-6-rerank-m3": (3, 4, 32, 64),
    }[name]
    prefix, model_type, architecture = (
        ("electra", "electra", "ElectraForSequenceClassification")
        if electra
        else ("bert", "bert", "BertForSequenceClassification")
    )
    config = _bert_config(architecture, model_type, len(UNCASED), layers, heads, hidden, inner) | _ONE_LABEL
    weights = _bert_body(random, prefix, len(UNCASED), layers, hidden, inner)
    if electra:
        config |= _ELECTRA_EXTRAS | {"embedding_size": hidden}
        weights |= _linear(random, "classifier.dense", hidden, hidden)
        weights |= _head(random, "classifier.out_proj", 1, hidden)
    else:
        weights |= _linear(random, "bert.pooler.dense", hidden, hidden)
        weights |= _head(random, "classifier", 1, hidden)
    activation = "linear.Identity" if name.endswith("-v2") else "activation.Sigmoid"
    config["sentence_transformers"] = {"activation_fn": f"torch.nn.modules.{activation}", "version": "4.0.1"}
    weights[f"{prefix}.embeddings.position_ids"] = np.arange(POSITIONS)[None]
    _write_config(folder, config)
    write_weights(folder / "model.safetensors", weights)
    _write_vocabulary(folder, UNCASED)
    # As the MiniLM's own tokenizer.json has it: the last user's truncation and padding are still in there.
    _write_tokenizer_json(folder, UNCASED, padding=True)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "do_lower_case": True,
            "do_basic_tokenize": True,
            "model_max_length": 512,
            "never_split": None,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        },
    )


_ELECTRA_EXTRAS = {
    "summary_activation": "gelu",
    "summary_last_dropout": 0.1,
    "summary_type": "first",
    "summary_use_proj": True,
}


def _nboost(folder, random, name):
    """BERTs with two labels, and pytorch_model.bin only. pt-tinybert has no tokenizer_config.json.

    Inferred: their age (end of 2019) says ``num_labels`` and the other keys of that time, no ``id2label`` (two labels
    are transformers' default, which it does not write), and ``max_len`` in the two tokenizer_config.json.
    """
    layers, heads, hidden, inner = {
        "pt-tinybert-msmarco": (4, 4, 32, 64),
        "pt-bert-base-uncased-msmarco": (3, 4, 32, 64),
        "pt-bert-large-msmarco": (4, 4, 48, 96),
    }[name]
    config = _bert_config("BertForSequenceClassification", "bert", len(UNCASED), layers, heads, hidden, inner)
    config |= {
        "finetuning_task": None,
        "num_labels": 2,
        "output_attentions": False,
        "output_hidden_states": False,
        "pruned_heads": {},
        "torchscript": False,
        "use_bfloat16": False,
    }
    weights = _bert_body(random, "bert", len(UNCASED), layers, hidden, inner)
    weights |= _linear(random, "bert.pooler.dense", hidden, hidden)
    weights |= _head(random, "classifier", 2, hidden)
    _write_config(folder, config)
    write_weights(folder / "pytorch_model.bin", weights)
    _write_vocabulary(folder, UNCASED)
    if name != "pt-tinybert-msmarco":
        _write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "max_len": 512})


def _capreolus(folder, random, name):
    """ELECTRA with BERT's kind of head: ``classifier.out_proj`` on [CLS], and no ``classifier.dense`` at all.

    Inferred: .bin and not safetensors (the repository is of 2020, converted from TensorFlow); that the dense layer is
    absent from the file and not there with random values, which ``add_untrained_dense`` makes.
    """
    layers, heads, hidden, inner = 3, 4, 32, 64
    config = _bert_config("ElectraForSequenceClassification", "electra", len(UNCASED), layers, heads, hidden, inner)
    config |= _ELECTRA_EXTRAS | {"embedding_size": hidden}
    weights = _bert_body(random, "electra", len(UNCASED), layers, hidden, inner)
    weights |= _head(random, "classifier.out_proj", 2, hidden)
    weights["electra.embeddings.position_ids"] = np.arange(POSITIONS)[None]
    _write_config(folder, config)
    write_weights(folder / "pytorch_model.bin", weights)
    _write_vocabulary(folder, UNCASED)
    _write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})


def _amberoad(folder, random, name):
    """bert-base-multilingual-uncased with two labels; its tokenizer_config.json says neither lower case nor length.

    Inferred: what that file does say (nothing, in the manner of 2020), and .bin.
    """
    layers, heads, hidden, inner = 3, 4, 32, 64
    size = len(MULTILINGUAL_UNCASED)
    config = _bert_config("BertForSequenceClassification", "bert", size, layers, heads, hidden, inner)
    config |= {
        "directionality": "bidi",
        "pooler_fc_size": 768,
        "pooler_num_attention_heads": 12,
        "pooler_num_fc_layers": 3,
        "pooler_size_per_head": 128,
        "pooler_type": "first_token_transform",
    }
    weights = _bert_body(random, "bert", size, layers, hidden, inner)
    weights |= _linear(random, "bert.pooler.dense", hidden, hidden)
    weights |= _head(random, "classifier", 2, hidden)
    _write_config(folder, config)
    write_weights(folder / "pytorch_model.bin", weights)
    _write_vocabulary(folder, MULTILINGUAL_UNCASED)
    _write_json(folder / "tokenizer_config.json", {"special_tokens_map_file": None, "full_tokenizer_file": None})


def _hofstaetter(folder, random, name):
    """``BERT_Cat`` of its authors' code: a DistilBERT under ``bert_model`` and ``_classification_layer`` on [CLS].

    Its config has no sizes: ``bert_model`` names the checkpoint that the authors' class builds the body from. So the
    body is distilbert-base-uncased's, twelve heads included, and the rest of the sizes can be read off the weights;
    this one has twelve heads of 4.
    Inferred: .bin (2021); that the tokenizer's files lie here, which the card takes from distilbert-base-uncased.
    """
    layers, hidden, inner = 3, 48, 96
    config = {
        "architectures": ["BERT_Cat"],
        "bert_model": "distilbert-base-uncased",
        "model_type": "BERT_Cat",
        "trainable": True,
    }
    weights = _distilbert_body(random, "bert_model", len(UNCASED), layers, hidden, inner)
    weights |= _head(random, "_classification_layer", 1, hidden)
    _write_config(folder, config)
    write_weights(folder / "pytorch_model.bin", weights)
    _write_vocabulary(folder, UNCASED)
    _write_tokenizer_json(folder, UNCASED, padding=False)
    _write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})


def _monoelectra(folder, random, name):
    """castorini's: ELECTRA with transformers' own head and two labels.

    Inferred: every file. What rank_llm says is that transformers' Auto classes load it, and that it has a second logit.
    """
    layers, heads, hidden, inner = 3, 4, 32, 64
    config = _bert_config("ElectraForSequenceClassification", "electra", len(UNCASED), layers, heads, hidden, inner)
    config |= _ELECTRA_EXTRAS | {"embedding_size": hidden}
    weights = _bert_body(random, "electra", len(UNCASED), layers, hidden, inner)
    weights |= _linear(random, "classifier.dense", hidden, hidden)
    weights |= _head(random, "classifier.out_proj", 2, hidden)
    _write_config(folder, config)
    write_weights(folder / "pytorch_model.bin", weights)
    _write_vocabulary(folder, UNCASED)
    _write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})


def _lightning(folder, random, name):
    """webis's, as Lightning IR saves an ELECTRA: the type of its config.json is "cross-encoder", its head ``linear``.

    The keys of the config.json are those of monoelectra-large, which has no ``linear_bias``; the base has it since its
    commit "add linear bias". Inferred: that the base's is true and that its weights have a bias (the commit made the
    file longer by as much as that takes), that the large one's have none, and the tokenizer's class.
    """
    biased = name.endswith("base")
    layers, heads, hidden, inner = (3, 4, 32, 64) if biased else (4, 4, 48, 96)
    config = _bert_config("CrossEncoderElectraModel", "cross-encoder", len(UNCASED), layers, heads, hidden, inner)
    config |= _ELECTRA_EXTRAS | {
        "backbone_model_type": "electra",
        "classifier_dropout": None,
        "doc_length": 256,
        "embedding_size": hidden,
        "pooling_strategy": "first",
        "position_embedding_type": "absolute",
        "query_length": 32,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "use_cache": True,
        **({"linear_bias": True} if biased else {}),
    }
    weights = _bert_body(random, "electra", len(UNCASED), layers, hidden, inner)
    head = _head(random, "linear", 1, hidden)
    weights |= head if biased else {"linear.weight": head["linear.weight"]}
    _write_config(folder, config)
    write_weights(folder / "model.safetensors", weights)
    _write_vocabulary(folder, UNCASED)
    _write_tokenizer_json(folder, UNCASED, padding=False)
    facts = {"do_lower_case": True, "model_max_length": 512, "query_length": 32, "doc_length": 256}
    _write_json(folder / "tokenizer_config.json", {**facts, "tokenizer_class": "CrossEncoderElectraTokenizer"})


def _xpmir(folder, random, name):
    """xpmir's: what transformers' ``save_pretrained`` writes of its own classifiers with one label.

    Their script takes the configuration and the tokenizer of the model that they began with. Inferred: the keys.
    """
    electra = "ELECTRA" in name
    layers, heads, hidden, inner = 3, 4, 32, 64
    kind, prefix = (
        ("ElectraForSequenceClassification", "electra") if electra else ("BertForSequenceClassification", "bert")
    )
    config = _bert_config(kind, prefix, len(UNCASED), layers, heads, hidden, inner) | _ONE_LABEL
    weights = _bert_body(random, prefix, len(UNCASED), layers, hidden, inner)
    if electra:
        config |= _ELECTRA_EXTRAS | {"embedding_size": hidden}
        weights |= _linear(random, "classifier.dense", hidden, hidden) | _head(random, "classifier.out_proj", 1, hidden)
    else:
        weights |= _linear(random, "bert.pooler.dense", hidden, hidden) | _head(random, "classifier", 1, hidden)
    _write_config(folder, config | {"dtype": "float32", "transformers_version": "5.1.0"})
    write_weights(folder / "model.safetensors", weights)
    _write_tokenizer_json(folder, UNCASED, padding=False)
    named = {f"{part}_token": f"[{part.upper()}]" for part in ("pad", "unk", "cls", "sep", "mask")}
    facts = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    _write_json(folder / "tokenizer_config.json", {**facts, **named})


_FAMILIES = {
    "cross-encoder": _cross_encoder,
    "nboost": _nboost,
    "Capreolus": _capreolus,
    "amberoad": _amberoad,
    "sebastian-hofstaetter": _hofstaetter,
    "castorini": _monoelectra,
    "webis": _lightning,
    "juanluisdb": _cross_encoder,
    "xpmir": _xpmir,
}


def build(name: str, parent: Path, seed: int = 0) -> Path:
    """Write the small checkpoint of that hub name as ``parent/<org>/<name>`` and return the folder."""
    folder = Path(parent) / name
    folder.mkdir(parents=True)
    organisation, short = name.split("/")
    _FAMILIES[organisation](folder, np.random.default_rng([seed, [*NAMES, *FURTHER].index(name)]), short)
    return folder


# ----------------------------------------------------------------------------------------- files, also for the tests


def weights_file(folder: Path) -> Path:
    """The one file of weights of a folder."""
    [file] = [f for f in (folder / "model.safetensors", folder / "pytorch_model.bin") if f.exists()]
    return file


def read_weights(file: Path) -> dict:
    return load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)


def write_weights(file: Path, weights: dict) -> None:
    """Tensors as they are; arrays of floats in float32."""
    tensors = {
        key: value
        if isinstance(value, torch.Tensor)
        else torch.tensor(value, dtype=torch.float32 if value.dtype.kind == "f" else torch.int64)
        for key, value in weights.items()
    }
    if file.suffix == ".safetensors":
        save_file(tensors, file, metadata={"format": "pt"})
    else:
        torch.save(tensors, file)


def change_weights(folder: Path, change) -> None:
    """Write a built checkpoint's weights again after ``change(weights)`` has edited the dict of tensors."""
    file = weights_file(folder)
    weights = read_weights(file)
    change(weights)
    write_weights(file, weights)


def add_untrained_dense(folder: Path) -> None:
    """What AutoModel leaves behind when it saves Capreolus's checkpoint again: the dense layer, with random values."""

    def change(weights):
        hidden = weights["classifier.out_proj.weight"].shape[1]
        weights["classifier.dense.weight"] = torch.randn(hidden, hidden, generator=torch.Generator().manual_seed(7))
        weights["classifier.dense.bias"] = torch.zeros(hidden)

    change_weights(folder, change)


def _write_json(file, value):
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_config(folder, config):
    _write_json(folder / "config.json", config)


def _write_vocabulary(folder, tokens):
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in tokens), encoding="utf-8")


def _write_tokenizer_json(folder, tokens, padding):
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokens.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    if padding:
        tokenizer.enable_truncation(128)
        tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
