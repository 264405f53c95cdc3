"""What the checkpoints' scores are, computed a second time: plain NumPy in float64, one pair at a time.

Written without looking at the package, which it does not import, and without any model of transformers: its own
tokenizer, its own truncation, its own encoder, its own reading of the heads. Slow and short.
"""

import json
import math
import unicodedata
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

# ------------------------------------------------------------------------------------------------------------- text


def _is_punctuation(c):
    return (
        33 <= ord(c) <= 47
        or 58 <= ord(c) <= 64
        or 91 <= ord(c) <= 96
        or 123 <= ord(c) <= 126
        or (unicodedata.category(c).startswith("P"))
    )


def _is_cjk(c):
    return any(
        a <= ord(c) <= b
        for a, b in (
            (0x4E00, 0x9FFF),
            (0x3400, 0x4DBF),
            (0x20000, 0x2A6DF),
            (0x2A700, 0x2B73F),
            (0x2B740, 0x2B81F),
            (0x2B820, 0x2CEAF),
            (0xF900, 0xFAFF),
            (0x2F800, 0x2FA1F),
        )
    )


def words(text):
    """BERT's basic tokenizer for uncased models: controls out, accents off, lower case, punctuation on its own."""
    text = "".join(c for c in text if c in "\t\n\r" or (c != "\ufffd" and not unicodedata.category(c).startswith("C")))
    text = "".join(f" {c} " if _is_cjk(c) else c for c in text)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn").lower()
    return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()


def pieces(word, vocabulary):
    """The longest piece first; a word that does not come out even is one [UNK]."""
    found, start = [], 0
    while start < len(word) <= 100:
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return [vocabulary["[UNK]"]]
    return found or [vocabulary["[UNK]"]]


def tokens(text, vocabulary):
    return [piece for word in words(text) for piece in pieces(word, vocabulary)]


def truncated(first, second, room):
    """Cut the longer of the two until both fit; where both are too long they get half each, the longer the odd one."""
    if len(first) + len(second) <= room:
        return first, second
    if len(first) > len(second):
        second, first = truncated(second, first, room)
        return first, second
    keep = min(len(first), room // 2)
    return first[:keep], second[: room - keep]


def encoded(folder, query, text, max_length=512):
    """The ids and the token types of [CLS] query [SEP] text [SEP]."""
    if (file := Path(folder) / "vocab.txt").exists():
        vocabulary = {token: i for i, token in enumerate(file.read_text(encoding="utf-8").splitlines())}
    else:
        vocabulary = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    first, second = truncated(tokens(query, vocabulary), tokens(text, vocabulary), max_length - 3)
    cls, sep = vocabulary["[CLS]"], vocabulary["[SEP]"]
    return [cls, *first, sep, *second, sep], [0] * (len(first) + 2) + [1] * (len(second) + 1)


# ---------------------------------------------------------------------------------------------------------- encoders


def gelu(x):
    """The exact one; NumPy has no erf, so torch's is used, in float64."""
    return 0.5 * x * (1 + torch.special.erf(torch.from_numpy(x / math.sqrt(2))).numpy())


class Weights(dict):
    """A folder's weights in float64, with the two layers that everything is made of."""

    @classmethod
    def read(cls, folder):
        folder = Path(folder)
        if (folder / "model.safetensors").exists():
            arrays = load_file(folder / "model.safetensors")
        else:
            loaded = torch.load(folder / "pytorch_model.bin", weights_only=True)
            arrays = {key: value.numpy() for key, value in loaded.items()}
        return cls((key, value.astype(np.float64)) for key, value in arrays.items())

    def linear(self, key, x):
        return x @ self[key + ".weight"].T + self.get(key + ".bias", 0)

    def norm(self, key, x, eps):
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * self[key + ".weight"] + self[key + ".bias"]
        )

    def layers(self, prefix):
        return 1 + max(int(key[len(prefix) :].split(".")[0]) for key in self if key.startswith(prefix))


def attention(q, k, v, heads, seen=None):
    """Each token sees the first `seen` ones, by default all."""
    out, size = np.empty_like(q), q.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weight = q[:, part] @ k[:seen, part].T / math.sqrt(size)
        weight = np.exp(weight - weight.max(-1, keepdims=True))
        out[:, part] = weight / weight.sum(-1, keepdims=True) @ v[:seen, part]
    return out


def bert(weights, prefix, ids, types, heads, eps, seen=None):
    """The last hidden states of BERT, and of ELECTRA whose embeddings are as wide as its layers."""
    at = prefix + ".embeddings"
    x = (
        weights[at + ".word_embeddings.weight"][ids]
        + weights[at + ".position_embeddings.weight"][: len(ids)]
        + weights[at + ".token_type_embeddings.weight"][types]
    )
    x = weights.norm(at + ".LayerNorm", x, eps)
    for layer in range(weights.layers(prefix + ".encoder.layer.")):
        at = f"{prefix}.encoder.layer.{layer}"
        q, k, v = (weights.linear(f"{at}.attention.self.{part}", x) for part in ("query", "key", "value"))
        attended = weights.linear(at + ".attention.output.dense", attention(q, k, v, heads, seen))
        x = weights.norm(at + ".attention.output.LayerNorm", x + attended, eps)
        inner = gelu(weights.linear(at + ".intermediate.dense", x))
        x = weights.norm(at + ".output.LayerNorm", x + weights.linear(at + ".output.dense", inner), eps)
    return x


def distilbert(weights, prefix, ids, heads, eps):
    at = prefix + ".embeddings"
    x = weights[at + ".word_embeddings.weight"][ids] + weights[at + ".position_embeddings.weight"][: len(ids)]
    x = weights.norm(at + ".LayerNorm", x, eps)
    for layer in range(weights.layers(prefix + ".transformer.layer.")):
        at = f"{prefix}.transformer.layer.{layer}"
        q, k, v = (weights.linear(f"{at}.attention.{part}", x) for part in ("q_lin", "k_lin", "v_lin"))
        seen = weights.linear(at + ".attention.out_lin", attention(q, k, v, heads))
        x = weights.norm(at + ".sa_layer_norm", x + seen, eps)
        inner = gelu(weights.linear(at + ".ffn.lin1", x))
        x = weights.norm(at + ".output_layer_norm", x + weights.linear(at + ".ffn.lin2", inner), eps)
    return x


# ------------------------------------------------------------------------------------------------------------- heads


def logits(folder, name, query, text, max_length=512):
    """What the checkpoint puts out for one pair: one number or two."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    weights = Weights.read(folder)
    ids, types = encoded(folder, query, text, max_length)
    if name.startswith("sebastian-hofstaetter/"):
        # Twelve heads and 1e-12 are distilbert-base-uncased's, which the config names without saying them.
        cls = distilbert(weights, "bert_model", ids, heads=12, eps=1e-12)[0]
        return weights.linear("_classification_layer", cls)
    body = "electra" if "electra" in name.lower() else "bert"
    cls = bert(weights, body, ids, types, config["num_attention_heads"], config["layer_norm_eps"])[0]
    if name == "Capreolus/electra-base-msmarco":
        return weights.linear("classifier.out_proj", cls)
    if name.startswith("webis/"):  # Lightning IR's
        return weights.linear("linear", cls)
    if body == "electra":
        return weights.linear("classifier.out_proj", gelu(weights.linear("classifier.dense", cls)))
    return weights.linear("classifier", np.tanh(weights.linear("bert.pooler.dense", cls)))


_TWO_LABELS = ("nboost/", "Capreolus/", "amberoad/")


def score(folder, name, query, text, max_length=512) -> float:
    """The relevance score: the one logit, the second minus the first, or the second alone (castorini's)."""
    out = logits(folder, name, query, text, max_length)
    assert len(out) == (2 if name.startswith((*_TWO_LABELS, "castorini/")) else 1)
    return float(out[-1] - out[0]) if name.startswith(_TWO_LABELS) else float(out[-1])
