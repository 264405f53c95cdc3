"""What a checkpoint's files say is honoured, with the scores that sentence-transformers gives, or refused by name.

One row for each file and key that transformers, tokenizers, peft and sentence-transformers read when they load a
cross-encoder.
"""

import hashlib
import json
import math
import shutil
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyserini_rerank
import pytest
import tiny_architectures
import tiny_checkpoints
import tiny_families
import tiny_modular
import torch
from pyserini_rerank.scoring.checkpoints.checkpoint import lacks_tokenizer, lacks_weights, resolve
from pyserini_rerank.scoring.checkpoints.hub import fetch
from pyserini_rerank.testing import PAIRS
from sentence_transformers import CrossEncoder
from tiny_architectures import KINDS, LENGTH, change
from transformers import AutoModelForSequenceClassification

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*were cut to:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*mostly unknown:UserWarning"),
]
QUERY = "How many people live in Berlin?"
SOME = [
    (QUERY, "Berlin is well known for its museums."),
    (QUERY, "cat\nand dog\ta b"),
    ("flea", "the long history of the river " * 12),
    ("the river is old " * 30, "the long history of the bank " * 30),
    ("a [SEP] b <s> </s> <pad>", "x <pad> y [PAD] z"),
    ("naïve Zürich", "BERLIN"),
]
CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer_config.json", "model.safetensors"
MODULES, SAVED, TRANSFORMER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
ADAPTER = "adapter_config.json"


class Folders(dict):
    """Each architecture's checkpoint, built when it is asked for; "saved bert" as sentence-transformers saves it."""

    def __init__(self, parent):
        self.parent = parent

    def __missing__(self, kind):
        if not kind.startswith("saved "):
            self[kind] = tiny_architectures.build(kind, self.parent)
            return self[kind]
        plain = kind.removeprefix("saved ")
        self[kind] = self.parent / "saved" / plain
        prompts = {"web": "how long is the ", "fleas": "flea "}
        model = CrossEncoder(str(self[plain]), device="cpu", prompts=prompts, default_prompt_name="web")
        model.save_pretrained(str(self[kind]))
        return self[kind]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return Folders(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def unchanged(folders):
    """The scores of a checkpoint as it is."""
    return cache(lambda kind: scores(folders[kind]))


@pytest.fixture
def copied(folders, tmp_path):
    return lambda kind: shutil.copytree(folders[kind], tmp_path / kind.replace(" ", "-"))


def scores(folder, backend="torch", **options):
    options = {"dtype": "float32", **options}
    device = {} if backend in ("onnx", "openvino") else {"device": "cpu"}
    with pyserini_rerank.load(folder, backend=backend, **device, **options) as reranker:
        return reranker.predict(SOME)


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted) > 0.1, "or the comparison says nothing"


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# -------------------------------------------------------------------------------------------------------- architectures


#: Those whose positions, padding or token types differ.
FEW = ("bert", "distilbert", "deberta", "mpnet", "xlnet", "roberta", "longformer", "ibert")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.stress] * (kind not in FEW)) for kind in KINDS])
def test_architectures(folders, kind):
    """The longest pairs are as long as the model has positions for."""
    assert_close(scores(folders[kind]), scores(folders[kind], "sentence-transformers"))


@pytest.mark.parametrize("kind", ["mobilebert", "fnet", pytest.param("canine", marks=pytest.mark.stress)])
@pytest.mark.parametrize("backend", ["torch", "sentence-transformers"])
def test_architectures_to_which_padding_counts(folders, kind, backend):
    """Whatever the mask says, or without any."""
    model = CrossEncoder(str(folders[kind]), device="cpu", max_length=LENGTH)
    alone, together = (model.predict(SOME, batch_size=size, activation_fn=torch.nn.Identity()) for size in (1, 8))
    assert np.abs(alone - together).max() > 1e-3
    assert_close(scores(folders[kind], backend), alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("onnx", marks=pytest.mark.stress), "openvino"])
def test_graphs_know_that_padding_counts(folders, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):  # exported, and found in the cache
        assert_close(scores(folders["mobilebert"], backend), scores(folders["mobilebert"]))


def test_no_score_depends_on_what_was_scored_before(copied):
    """A BigBird that reads a short text changes how it reads long ones from then on."""
    folder = copied("big_bird")
    change(folder, CONFIG, attention_type="block_sparse", block_size=4, num_random_blocks=1)
    short, long = SOME[:1], SOME[3:4]
    with pyserini_rerank.load(folder, device="cpu") as reranker:
        first, _, again = (reranker.predict(pairs) for pairs in (long, short, long))
    np.testing.assert_array_equal(first, again)
    assert_close(scores(folder), scores(folder, "sentence-transformers"))


def test_a_bert_that_looks_back(copied):
    folder = copied("bert")
    change(folder, CONFIG, is_decoder=True)
    wanted = scores(folder, "sentence-transformers")  # its first token sees itself alone
    np.testing.assert_allclose(scores(folder), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "xlnet", "xlm-roberta", "ibert"])
@pytest.mark.parametrize("backend", ["torch", "sentence-transformers"])
def test_the_longest_pair_is_what_the_model_has_positions_for(folders, kind, backend):
    """RoBERTa's kind, MPNet among it, has two positions that no token gets."""
    if kind == "xlnet":  # has relative ones, and any number
        assert pyserini_rerank.load(folders[kind], backend=backend, device="cpu", max_length=700)
        return
    assert_close(scores(folders[kind], backend, max_length=LENGTH), scores(folders[kind]))
    with pytest.raises(ValueError, match=rf"max_length is {LENGTH + 1}: .* reads pairs of .* {LENGTH} tokens") as error:
        pyserini_rerank.load(folders[kind], backend=backend, device="cpu", max_length=LENGTH + 1)
    assert one_line(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["mpnet", *(pytest.param(kind, marks=pytest.mark.stress) for kind in ("ibert", "xlnet"))]
)
def test_architectures_as_graphs(folders, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert_close(scores(folders[kind], "openvino"), scores(folders[kind], "sentence-transformers"))
    if kind != "xlnet":
        with pytest.raises(ValueError, match=f"reads pairs of . to {LENGTH} tokens"):
            pyserini_rerank.load(folders[kind], backend="openvino", max_length=LENGTH + 1)


# ---------------------------------------------------------------------------------------------------- keys of the files

CHAT = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }}{% endfor %}"
TYPES = ["input_ids", "token_type_ids", "attention_mask"]
#: Which file of which checkpoint says what; whether that changes the scores.
HONOURED = {
    "no token types": ("bert", TOKENIZER, {"model_input_names": ["input_ids", "attention_mask"]}, False),
    "token types": ("bert", TOKENIZER, {"model_input_names": TYPES}, True),
    "token types of a RoBERTa": ("xlm-roberta", TOKENIZER, {"model_input_names": TYPES}, False),
    "no attention mask": ("bert", TOKENIZER, {"model_input_names": ["input_ids"]}, False),
    "cut on the left": ("bert", TOKENIZER, {"truncation_side": "left"}, True),
    "cut on the left, XLM-R": ("xlm-roberta", TOKENIZER, {"truncation_side": "left"}, True),
    "cut on the right": ("bert", TOKENIZER, {"truncation_side": "right"}, False),
    "padded on the left": ("bert", TOKENIZER, {"padding_side": "left"}, False),
    "padded on the left, MPNet": ("mpnet", TOKENIZER, {"padding_side": "left"}, False),
    "padded on the left, DeBERTa": ("deberta", TOKENIZER, {"padding_side": "left"}, False),
    "padded on the right, XLNet": ("xlnet", TOKENIZER, {"padding_side": "left"}, False),
    "a shorter length": ("bert", TOKENIZER, {"model_max_length": 20}, True),
    "a shorter length, XLM-R": ("xlm-roberta", TOKENIZER, {"model_max_length": 21}, True),
    "no length": ("bert", TOKENIZER, {"model_max_length": None}, False),
    "a length beyond all": ("bert", TOKENIZER, {"model_max_length": 10**30}, False),
    "the length's old name": ("bert", TOKENIZER, {"model_max_length": None, "max_len": 20}, True),
    "case counts": ("bert", TOKENIZER, {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}, True),
    "case does not count": ("bert", TOKENIZER, {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}, None),
    "accents stay": ("bert", TOKENIZER, {"strip_accents": False, "tokenizer_class": "BertTokenizer"}, None),
    "a prefixed space": ("xlm-roberta", TOKENIZER, {"add_prefix_space": False}, None),
    "a token that is special": ("bert", TOKENIZER, {"extra_special_tokens": ["river"]}, None),
    "one under its old name": ("bert", TOKENIZER, {"additional_special_tokens": ["the"]}, None),
    "another unknown token": ("bert", "special_tokens_map.json", {"unk_token": "cat"}, None),
    "an added token": ("bert", "added_tokens.json", {"cat": tiny_checkpoints.UNCASED.index("cat")}, None),
    "cut as tokenizer.json says": (
        "bert", "tokenizer.json",
        {"truncation": {"direction": "Left", "max_length": 30, "strategy": "LongestFirst", "stride": 0}}, True,
    ),
    "a decoder": ("distilbert", CONFIG, {"is_decoder": True}, None),
    "answers as tuples": ("bert", CONFIG, {"return_dict": False}, False),
    "answers as tuples, DeBERTa": ("deberta", CONFIG, {"return_dict": False}, False),
    "torchscript": ("bert", CONFIG, {"torchscript": True}, False),
    "hidden states": ("bert", CONFIG, {"output_hidden_states": True}, False),
    "attentions": ("electra", CONFIG, {"output_attentions": True}, False),
    "in parts": ("bert", CONFIG, {"chunk_size_feed_forward": 1}, False),
    "in parts, DistilBERT": ("distilbert", CONFIG, {"chunk_size_feed_forward": 1}, False),
    "no architecture": ("bert", CONFIG, {"architectures": None}, False),
    "no word on labels": ("bert", CONFIG, {"architectures": ["BertModel"], "id2label": None, "label2id": None}, False),
    "labels in number": ("bert", CONFIG, {"num_labels": 1, "id2label": None, "label2id": None}, False),
    "what it was trained for": ("bert", CONFIG, {"problem_type": "regression"}, False),
    "a dtype": ("bert", CONFIG, {"dtype": "bfloat16"}, False),
    "a dtype's old name": ("bert", CONFIG, {"torch_dtype": "float16"}, False),
    "dropout": ("bert", CONFIG, {"classifier_dropout": 0.5}, False),
    "an activation": ("bert", CONFIG, {"sentence_transformers": {"activation_fn": "torch.nn.Sigmoid"}}, False),
    "its old name": ("bert", CONFIG, {"sbert_ce_default_activation_function": "torch.nn.Sigmoid"}, False),
    "code that nobody needs": ("bert", CONFIG, {"auto_map": {"AutoModel": "modeling.Own"}}, False),
    "how it writes": ("bert", "generation_config.json", {"max_length": 3}, False),
    "a prompt": ("saved bert", SAVED, {}, None),
    "a prompt, XLM-R": ("saved xlm-roberta", SAVED, {}, None),
    "another prompt": ("saved bert", SAVED, {"default_prompt_name": "fleas"}, True),
    "prompts, and none that is used": ("saved bert", SAVED, {"default_prompt_name": None}, True),
    "a saved activation": ("saved bert", SAVED, {"activation_fn": "torch.nn.modules.linear.Identity"}, False),
    "a head in float32": ("saved bert", SAVED, {"keep_in_fp32_modules": ["0.model.classifier"]}, False),
    "another kind of model": ("saved bert", SAVED, {"model_type": "SentenceTransformer"}, True),
    "a saved length": ("saved bert", TRANSFORMER, {"max_seq_length": 20}, True),
    "a saved length, XLM-R": ("saved xlm-roberta", TRANSFORMER, {"max_seq_length": 20}, True),
    "saved lower case": ("saved xlm-roberta", TRANSFORMER, {"do_lower_case": True}, True),
    "saved padding": ("saved bert", TRANSFORMER, {"unpad_inputs": False}, False),
    "saved lengths of texts": ("saved bert", TRANSFORMER, {"query_length": 5, "document_length": 5}, False),
    "saved options that say nothing": ("saved bert", TRANSFORMER, {"model_args": {}, "tokenizer_args": {}}, False),
    "a chat that is not used": ("saved bert", TOKENIZER, {"chat_template": CHAT}, False),
}  # fmt: skip


@pytest.mark.parametrize("row", HONOURED)
def test_what_is_honoured(unchanged, copied, row):
    kind, file, keys, changes = HONOURED[row]
    folder = copied(kind)
    change(folder, file, **keys)
    found = scores(folder)
    assert_close(found, scores(folder, "sentence-transformers"))
    if changes is not None:
        assert (np.abs(found - unchanged(kind)).max() > 1e-3) == changes


@pytest.mark.slow
@pytest.mark.parametrize("names", [TYPES, pytest.param(TYPES[::2], marks=pytest.mark.stress)])
@pytest.mark.parametrize("backend", [pytest.param("onnx", marks=pytest.mark.stress), "openvino"])
def test_what_graphs_honour(copied, tmp_path, monkeypatch, backend, names):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = copied("saved bert")
    change(folder, TOKENIZER, truncation_side="left", padding_side="left", model_max_length=20, model_input_names=names)
    change(folder, CONFIG, return_dict=False)
    assert_close(scores(folder, backend), scores(folder, "sentence-transformers"))


@pytest.mark.parametrize("name", ["sentence_roberta_config.json", "sentence_xlm-roberta_config.json"])
def test_the_old_names_of_a_file(copied, name):
    folder = copied("saved bert")
    change(folder, TRANSFORMER, max_seq_length=20)
    (folder / TRANSFORMER).rename(folder / name)
    assert_close(scores(folder), scores(folder, "sentence-transformers"))


@pytest.mark.parametrize("gone", [MODULES, SAVED])
def test_without_its_list_of_modules_what_was_saved_does_not_count(folders, copied, gone):
    folder = copied("saved bert")
    (folder / gone).unlink()
    assert_close(scores(folder), scores(folder, "sentence-transformers"))
    assert_close(scores(folder), scores(folders["bert"]))


def test_a_length_that_is_asked_for_counts_more(copied):
    folder = copied("bert")
    change(folder, TOKENIZER, model_max_length=20)
    long, short = (scores(folder, max_length=length) for length in (50, 20))
    assert_close(long, scores(folder, "sentence-transformers", max_length=50))
    assert np.abs(long - short).max() > 1e-2


def test_the_prompt_counts_where_pairs_are_cut(copied):
    folder = copied("saved bert")
    ours, theirs = (pyserini_rerank.load(folder, backend=backend, device="cpu", max_length=16) for backend in BACKENDS)
    fits, cut = ("cat", "cat " * 8), ("cat", "cat " * 9)
    for reranker in (ours, theirs):
        assert [len(reranker.backend.plan([pair]).cut_passages) for pair in (fits, cut)] == [0, 1]


BACKENDS = ("torch", "sentence-transformers")


def test_the_fingerprint_knows_the_prompt(copied):
    prints = set()
    for name in ("web", "fleas", None):
        folder = copied("saved bert")
        change(folder, SAVED, default_prompt_name=name)
        prints.add(pyserini_rerank.load(folder, device="cpu").backend.fingerprint)
        shutil.rmtree(folder)
    assert len(prints) == 3


# ---------------------------------------------------------------------------------------------- what is refused by name

ELSEWHERE = r"which this backend does not read: use backend='sentence-transformers'\.$"
REFUSED = {
    "a chat": ("bert", TOKENIZER, {"chat_template": CHAT}, f"has a chat_template beside its tokenizer, {ELSEWHERE}"),
    "special tokens as text": (
        "bert", TOKENIZER, {"split_special_tokens": True}, f"has split_special_tokens in its {TOKENIZER}, {ELSEWHERE}",
    ),
    "an adapter": ("bert", ADAPTER, {"peft_type": "LORA"}, r"has an adapter .*merge the two.*backend='sent"),
    "quantized": (
        "bert", CONFIG, {"quantization_config": {"quant_method": "bitsandbytes"}},
        r"has quantized weights \(quantization_config in its config.json\), .*: name the checkpoint",
    ),
    "code": (
        "bert", CONFIG, {"auto_map": {"AutoConfig": "a.B"}, "model_type": "own"},
        r"needs its authors' own code \(auto_map in its config.json\), which is not run: use a checkpoint",
    ),
    "an unknown kind": ("bert", CONFIG, {"model_type": "own"}, "config.json cannot be read: .* model type `own`"),
    "a length that is none": ("bert", TOKENIZER, {"model_max_length": "20"}, "cannot be read: .*max_length is '20"),
    "a length of NaN": ("bert", TOKENIZER, {"model_max_length": math.nan}, "cannot be read: .*model_max_length is nan"),
    "no length at all": ("bert", TOKENIZER, {"model_max_length": 0}, "max_length is 0: .* reads pairs of 5 to 64"),
    "a side that is none": ("bert", TOKENIZER, {"truncation_side": "middle"}, "cannot be read: .*'middle'|: middle"),
    "more modules": (
        "saved bert", MODULES, [{"type": "a.Transformer", "path": ""}, {"type": "a.Dense", "path": "1_Dense"}],
        rf"has the module a.Dense in 1_Dense \(modules.json\), {ELSEWHERE}",
    ),
    "elsewhere": (
        "saved bert", MODULES, [{"type": "a.Transformer", "path": "0_Transformer"}],
        f"has a modules.json of Transformer in 0_Transformer, {ELSEWHERE}",
    ),
    "somebody's module": ("saved bert", MODULES, [{"type": "a.Own", "path": ""}], f"modules.json of Own, {ELSEWHERE}"),
    "no modules": ("saved bert", MODULES, [], f"has a modules.json of no parts, {ELSEWHERE}"),
    "modules that are none": ("saved bert", MODULES, {"a": 1}, "modules.json cannot be read: .* no list"),
    "a module that is none": ("saved bert", MODULES, ["a"], "modules.json cannot be read: TypeError"),
    "a module without a path": ("saved bert", MODULES, [{"type": "a.Transformer"}], "modules.json cannot be read: K"),
    "a prompt that is no text": (
        "saved bert", SAVED, {"prompts": {"web": 3}}, "names the prompt 'web', and has web",
    ),
    "a saved length that is none": (
        "saved bert", TRANSFORMER, {"max_seq_length": "20"}, "has max_seq_length='20', which is no number of tokens",
    ),
    "a saved length of nothing": ("saved bert", TRANSFORMER, {"max_seq_length": -1}, "max_length is -1: "),
    "a prompt that is not there": (
        "saved bert", SAVED, {"default_prompt_name": "cats"}, "names the prompt 'cats', and has fleas, web",
    ),
    "needs": ("saved bert", SAVED, {"requirements": {"transformers": ">=99"}}, "has requirements in its config_"),
    **{
        f"saved {key}": ("saved bert", TRANSFORMER, {key: value}, f"has {key} in its {TRANSFORMER}, {ELSEWHERE}")
        for key, value in {
            "processor_kwargs": {"truncation_side": "left"},
            "tokenizer_args": {"model_max_length": 20},
            "model_kwargs": {"attn_implementation": "eager"},
            "config_kwargs": {"num_labels": 1},
            "processing_kwargs": {"text": {"max_length": 20}},
            "tokenizer_name_or_path": "another",
            "transformer_task": "feature-extraction",
            "modality_config": {"message": {"method": "forward", "method_output_name": "logits"}},
            "a_key_of_tomorrow": 1,
        }.items()
    },
    "a tokenizer in Python": ("bert", TOKENIZER, {"tokenizer_class": "ByT5Tokenizer"}, "ByT5Tokenizer is written in"),
    "no task": ("saved bert", TRANSFORMER, {"transformer_task": None}, "has no transformer_task in its sentence_bert"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_refused(copied, row):
    kind, file, keys, says = REFUSED[row]
    folder = copied(kind)
    if file == MODULES:
        (folder / file).write_text(json.dumps(keys))
    else:
        change(folder, file, **keys)
    with pytest.raises(ValueError, match=says) as error:
        pyserini_rerank.load(folder, device="cpu")
    assert one_line(error)


@pytest.mark.parametrize("row", ["a chat", "an adapter", "more modules"])
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_what_graphs_refuse(copied, tmp_path, monkeypatch, backend, row):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kind, file, keys, says = REFUSED[row]
    folder = copied(kind)
    (folder / file).write_text(json.dumps(keys)) if file == MODULES else change(folder, file, **keys)
    with pytest.raises(ValueError, match=says) as error:
        pyserini_rerank.load(folder, backend=backend)
    assert one_line(error)


SEQUENCES = {name: {"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB")}


@pytest.mark.parametrize("order", ["BA", "ABA"])
@pytest.mark.parametrize("backend", ["torch", "sentence-transformers"])
def test_a_pair_of_another_order(copied, order, backend):
    folder = copied("bert")
    facts = json.loads((folder / "tokenizer.json").read_text())
    facts["post_processor"]["pair"] = [SEQUENCES[name] for name in order]
    (folder / "tokenizer.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="not make a query and then a passage, each once") as error:
        pyserini_rerank.load(folder, backend=backend, device="cpu")
    assert one_line(error)


def test_more_kinds_of_tokens_than_the_model_knows(copied):
    def cut(weights):
        key = "bert.embeddings.token_type_embeddings.weight"
        weights[key] = weights[key][:1].clone()

    folder = copied("bert")
    tiny_checkpoints.change_weights(folder, cut)
    change(folder, CONFIG, type_vocab_size=1)
    assert_close(scores(folder), scores(folder, "sentence-transformers"))
    change(folder, TOKENIZER, model_input_names=TYPES)
    with pytest.raises(
        ValueError, match=r"more kinds of tokens apart \(token_type_ids\) than .* knows 1: leave"
    ) as error:
        pyserini_rerank.load(folder, device="cpu")
    assert one_line(error)


def test_what_sentence_transformers_itself_notices_when_it_scores(copied):
    """Here it is noticed when it is loaded."""
    folder = copied("bert")
    change(folder, "added_tokens.json", lion=10_000)
    with pytest.raises(ValueError, match="the tokenizer of .* has tokens that its model lacks") as error:
        pyserini_rerank.load(folder, backend="sentence-transformers", device="cpu")
    assert one_line(error)
    (folder / "added_tokens.json").unlink()
    change(folder, TOKENIZER, pad_token=None)
    with pytest.raises(ValueError, match="sentence-transformers cannot tokenize for .* padding token") as error:
        pyserini_rerank.load(folder, backend="sentence-transformers", device="cpu")
    assert one_line(error)
    assert scores(folder).shape == (len(SOME),)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("max_length", ["16", 16.0, [16]])
def test_a_length_that_is_no_number(folders, backend, max_length):
    with pytest.raises(TypeError, match=r"^max_length is .*: give a whole number\.$"):
        pyserini_rerank.load(folders["bert"], backend=backend, device="cpu", max_length=max_length)
    assert pyserini_rerank.load(folders["bert"], backend=backend, device="cpu", max_length=np.int64(16))


def test_a_file_is_no_folder(folders):
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is a file: name a folder with a checkpoint"):
        pyserini_rerank.load(folders["bert"] / WEIGHTS, device="cpu")


def test_a_template_in_a_file_of_its_own(copied):
    folder = copied("bert")
    (folder / "chat_template.jinja").write_text(CHAT)
    with pytest.raises(ValueError, match="has a chat_template beside its tokenizer"):
        pyserini_rerank.load(folder, device="cpu")


def test_an_adapter_without_its_model(copied):
    folder = copied("bert")
    (folder / CONFIG).rename(folder / ADAPTER)
    with pytest.raises(FileNotFoundError, match=r"an adapter without its model .*merge the two") as error:
        pyserini_rerank.load(folder, device="cpu")
    assert one_line(error)


def test_sentence_transformers_says_in_one_line_what_it_needs(copied):
    folder = copied("saved bert")
    change(folder, SAVED, requirements={"transformers": ">=99"})
    with pytest.raises(ImportError, match="requires: - transformers>=99") as error:
        pyserini_rerank.load(folder, backend="sentence-transformers", device="cpu")
    assert one_line(error)


@pytest.mark.parametrize("task", ["feature-extraction", None])
def test_sentence_transformers_says_at_once_that_it_cannot_score(copied, task):
    folder = copied("saved bert")
    change(folder, TRANSFORMER, transformer_task=task)
    with pytest.raises(ValueError, match="sentence-transformers cannot score with .*: .*(logits|scores)") as error:
        pyserini_rerank.load(folder, backend="sentence-transformers", device="cpu")
    assert one_line(error)


def test_other_families_are_read_as_the_catalogue_says(tmp_path):
    """Their prompts are the authors', whatever sentence-transformers has saved beside them."""
    folder = tiny_families.build(tiny_families.QWEN3, tmp_path)
    wanted = scores(folder)
    (folder / MODULES).write_text(json.dumps([{"type": "a.Transformer", "path": ""}, {"type": "a.LogitScore"}]))
    change(folder, SAVED, model_type="CrossEncoder", prompts={"web": "x"}, default_prompt_name="web")
    change(folder, TOKENIZER, chat_template=CHAT)
    np.testing.assert_array_equal(scores(folder), wanted)


@pytest.mark.parametrize("name", [tiny_families.COLBERT, tiny_families.QWEN3])
def test_other_families_cut_on_the_left(tmp_path, name):
    """The end of a long text counts, and its start does not."""
    folder = tiny_families.build(name, tmp_path)
    change(folder, TOKENIZER, truncation_side="left")
    with pyserini_rerank.load(folder, device="cpu", max_length=200) as reranker:
        one, other, another = reranker.score(QUERY, [f"{start}{'river ' * 400}{end}" for start, end in ENDS])
    assert one == pytest.approx(other, abs=1e-5) and abs(one - another) > 1e-3


ENDS = [("cat ", "flea"), ("dog ", "flea"), ("cat ", "museum gold")]

# -------------------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_parts(folders, copied, suffix):
    folder = copied("bert")
    wanted = scores(folder)
    in_parts(folder, suffix)
    assert len(list(folder.glob(f"*-of-*.{suffix}"))) > 2 and not (folder / WEIGHTS).exists()
    assert_close(scores(folder), wanted)
    part = sorted(folder.glob(f"*-of-*.{suffix}"))[1]
    part.unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {part.name}: copy the file of weights") as error:
        pyserini_rerank.load(folder, device="cpu")
    assert one_line(error)


def in_parts(folder: Path, suffix: str) -> None:
    """Write a checkpoint's weights again, in small files and an index of them."""
    weights = tiny_checkpoints.read_weights(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    index, keys = {}, sorted(weights)
    for part in range(4):
        name = f"{stem}-{part + 1:05}-of-00004.{suffix}"
        own = keys[part::4]
        tiny_checkpoints.write_weights(folder / name, {key: weights[key].contiguous() for key in own})
        index |= dict.fromkeys(own, name)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def assert_scores_but_for_the_layout(name: object, wanted: np.ndarray) -> None:
    """Weights lie in memory as in their files, and the products of a processor without AVX-512 round by where."""
    np.testing.assert_allclose(scores(name), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_body_of_the_catalogue_in_parts(tmp_path, suffix):
    name = "Capreolus/electra-base-msmarco"
    folder = tiny_checkpoints.build(name, tmp_path)
    wanted = scores(folder)
    file = tiny_checkpoints.weights_file(folder)
    tiny_checkpoints.write_weights(folder / WEIGHTS, tiny_checkpoints.read_weights(file))
    file.unlink()
    in_parts(folder, suffix)
    assert_scores_but_for_the_layout(folder, wanted)


def test_safetensors_come_before_a_bin(copied):
    folder = copied("bert")
    wanted = scores(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.save({key: value * 0 for key, value in model.state_dict().items()}, folder / "pytorch_model.bin")
    np.testing.assert_array_equal(scores(folder), wanted)
    (folder / WEIGHTS).unlink()
    assert not scores(folder).any()


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_a_damaged_index(copied, text):
    folder = copied("bert")
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(text)
    with pytest.raises(ValueError, match="index.json cannot be read") as error:
        pyserini_rerank.load(folder, device="cpu")
    assert one_line(error)


def test_no_weights_but_a_graph(copied):
    folder = copied("bert")
    (folder / WEIGHTS).unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").touch()
    with pytest.raises(FileNotFoundError, match=r"has no model.safetensors: .* name its graph .*onnx/model.onnx\.$"):
        pyserini_rerank.load(folder, device="cpu")


# ---------------------------------------------------------------------------------------------- the hub's cache on disk

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/some-reranker"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """An empty cache of the hub, which cannot be reached."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def laid_out(cached: Path, name: str, source: Path, without=(), known=None, revision="main", commit=COMMIT) -> Path:
    """Write files as the hub's library keeps them: blobs, a snapshot of links to them, a ref.

    `known` are more files that the repository has, as far as the cache knows.
    """
    home = cached / f"models--{name.replace('/', '--')}"
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for made in (home / "blobs", home / "refs"):
        made.mkdir(exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    files = [path for path in source.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        if path.name not in without:
            blob = shutil.copy(path, home / "blobs" / f"{commit[:8]}{number:032x}")
            link = snapshot / path.relative_to(source)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(blob)
    if known is not None:
        from huggingface_hub._snapshot_download import TreeCacheEntry, write_tree_cache

        names = [*(str(path.relative_to(source)) for path in files), *known]
        facts = dict.fromkeys(("blob_id", "lfs_sha256", "lfs_size", "xet_hash"))
        write_tree_cache(str(home), commit, {name: TreeCacheEntry(size=1, **facts) for name in names})
    return snapshot


@pytest.mark.parametrize(
    "known", [None, [], ["README.md", "onnx/config.json", "tf_model.h5", "train.txt", "vocab.txt"]]
)
@pytest.mark.parametrize("parts", [None, "safetensors", "bin"])
def test_all_that_is_needed_is_there(cached, copied, known, parts):
    """Other files of the repository are nobody's concern."""
    source = copied("bert")
    wanted = scores(source)
    if parts:
        in_parts(source, parts)
    laid_out(cached, NAME, source, known=known)
    assert_scores_but_for_the_layout(NAME, wanted)


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("config.json", "without config.json"),
        ("model-00002-of-00004.safetensors", "without model-00002-of-00004.safetensors"),
        ("model.safetensors.index.json", "without model.safetensors"),
        ("tokenizer.json", "without tokenizer.json"),
    ],
)
@pytest.mark.parametrize("known", [None, []])
def test_a_part_is_there(cached, copied, without, says, known):
    source = copied("bert")
    in_parts(source, "safetensors")
    laid_out(cached, NAME, source, [without], known)
    with pytest.raises(ConnectionError, match=f"^{NAME} is in the cache {says}, and the hub cannot be") as error:
        pyserini_rerank.load(NAME, device="cpu")
    assert one_line(error)


@pytest.mark.parametrize("settings", [TOKENIZER, MODULES, SAVED, TRANSFORMER])
def test_settings_that_the_repository_has(cached, copied, settings):
    """Without them the scores would be others."""
    laid_out(cached, NAME, copied("saved bert"), [settings], known=[])
    with pytest.raises(ConnectionError, match=f"is in the cache without {settings}, and the hub"):
        pyserini_rerank.load(NAME, device="cpu")


def test_a_link_to_nothing(cached, copied):
    snapshot = laid_out(cached, NAME, copied("bert"))
    (snapshot / WEIGHTS).resolve().unlink()
    assert (snapshot / WEIGHTS).is_symlink() and lacks_weights(snapshot) == WEIGHTS
    with pytest.raises(ConnectionError, match=f"is in the cache without {WEIGHTS}"):
        pyserini_rerank.load(NAME, device="cpu")


def test_a_bin_will_do_where_the_safetensors_are_not_there(cached, copied):
    source = copied("bert")
    wanted = scores(source)
    torch.save(AutoModelForSequenceClassification.from_pretrained(source).state_dict(), source / "pytorch_model.bin")
    laid_out(cached, NAME, source, [WEIGHTS], known=[])
    assert_close(scores(NAME), wanted)


def test_nothing_is_there(cached):
    with pytest.raises(ConnectionError, match=f"^{NAME} is not in the cache .*hub, and the hub cannot be reached"):
        pyserini_rerank.load(NAME, device="cpu")


OTHER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def two_revisions(cached, folders, tmp_path):
    """A repository with other weights under the tag v1: the folders of the files of both."""
    other = tiny_checkpoints.build("cross-encoder/ms-marco-MiniLM-L-2-v2", tmp_path / "v1")
    laid_out(cached, NAME, folders["bert"])
    laid_out(cached, NAME, other, revision="v1", commit=OTHER)
    return folders["bert"], other


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", ["torch", "sentence-transformers", "openvino", pytest.param("onnx", marks=pytest.mark.stress)]
)
def test_a_revision(two_revisions, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    main, other = two_revisions
    loaded = [pyserini_rerank.load(NAME, backend=backend, revision=name) for name in (None, "main", "v1", OTHER)]
    found = [reranker.predict(SOME) for reranker in loaded]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])
    assert_close(found[0], scores(main))
    assert_close(found[2], scores(other))
    assert len({reranker.fingerprint for reranker in loaded}) == 4
    assert [reranker.backend.description.get("revision") for reranker in loaded] == [None, "main", "v1", OTHER]


def test_a_revision_that_is_not_there(two_revisions):
    with pytest.raises(ConnectionError, match=f"^{NAME} at v2 is not in the cache .*, and the hub cannot be") as error:
        pyserini_rerank.load(NAME, device="cpu", revision="v2")
    assert one_line(error)
    with pytest.raises(OSError, match="sentence-transformers cannot load") as error:
        pyserini_rerank.load(NAME, device="cpu", backend="sentence-transformers", revision="v2")
    assert one_line(error)


@pytest.mark.parametrize("backend", ["torch", "sentence-transformers", "openvino", "onnx"])
def test_a_revision_is_for_the_hub(folders, backend):
    for name in (folders["bert"], "bundled"):
        with pytest.raises(
            ValueError, match=r"revision='v1' is for names on the hub, and .* is on this machine"
        ) as error:
            pyserini_rerank.load(name, backend=backend, revision="v1")
        assert one_line(error)
    for revision in (1234567, ""):
        with pytest.raises(ValueError, match=rf"revision={revision!r}: give a branch, a tag or a commit") as error:
            pyserini_rerank.load(NAME, backend=backend, revision=revision)
        assert one_line(error)


class Asked(list):
    """The files that a hub was asked for, and the revisions."""

    def __init__(self):
        self.revisions = set()


@pytest.fixture
def hub(cached, tmp_path, monkeypatch):
    """A hub that can be reached, with the files of a folder: the folder, and the files that were asked for."""
    folder, asked = tmp_path / "on-the-hub", Asked()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body=b"", **headers):
            self.send_response(200)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self):
            path = urlsplit(self.path).path
            if path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
                name = path.split("/", 5)[5]
                if self.command == "GET":
                    asked.append(name)
                digest = hashlib.sha1((folder / name).read_bytes()).hexdigest()
                self.answer((folder / name).read_bytes(), ETag=f'"{digest}"', X_Repo_Commit=COMMIT)
            elif "/tree/" in path:
                files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
                facts = [
                    {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0"}
                    for name, file in files.items()
                ]
                self.answer(json.dumps(facts).encode(), Content_Type="application/json")
            else:
                asked.revisions.add(path.partition("/revision/")[2])
                self.answer(json.dumps({"id": NAME, "sha": COMMIT}).encode(), Content_Type="application/json")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("known", [None, []])
def test_what_is_lacking_is_fetched(cached, copied, hub, suffix, known):
    """And nothing else is: not a second form of the weights, and no more once all is there."""
    source, (folder, asked) = copied("bert"), hub
    in_parts(source, suffix)
    shutil.copytree(source, folder)
    (folder / "model.h5").write_bytes(b"of another library")
    part = sorted(path.name for path in source.glob("*-of-*"))[1]
    laid_out(cached, NAME, source, [part, "tokenizer.json"], known)
    wanted = scores(source)
    for _ in range(2):
        np.testing.assert_array_equal(scores(NAME), wanted)
        assert sorted(asked) == sorted([part, "tokenizer.json"])


def test_all_is_fetched(cached, copied, hub):
    source, (folder, asked) = copied("saved bert"), hub
    shutil.copytree(source, folder)
    torch.save({}, folder / "pytorch_model.bin")
    np.testing.assert_array_equal(scores(NAME), scores(source))
    assert set(asked) == {path.name for path in source.iterdir() if path.suffix != ".md"}


def test_modules_are_fetched_with_all_that_they_need(cached, hub, tmp_path):
    source, (folder, asked) = tiny_modular.build(tmp_path), hub
    shutil.copytree(source, folder)
    laid_out(cached, NAME, source, ["modules.json"], known=[])
    wanted = scores(source)
    np.testing.assert_array_equal(scores(NAME), wanted)
    assert asked == ["modules.json"]
    snapshot = resolve(NAME).folder
    for lacking in ("1_Pooling/config.json", "3_LayerNorm/model.safetensors"):
        (snapshot / lacking).unlink()
        asked.clear()
        np.testing.assert_array_equal(scores(NAME), wanted)
        assert asked == [lacking]


def test_a_revision_is_asked_for(cached, copied, hub):
    source, (folder, asked) = copied("bert"), hub
    shutil.copytree(source, folder)
    np.testing.assert_array_equal(scores(NAME, revision="v1"), scores(source))
    assert asked.revisions == {"v1"}


def test_settings_that_are_lacking_are_fetched(cached, copied, hub):
    source, (folder, asked) = copied("saved bert"), hub
    shutil.copytree(source, folder)
    laid_out(cached, NAME, source, [SAVED, MODULES], known=[])
    np.testing.assert_array_equal(scores(NAME), scores(source))
    assert sorted(asked) == [SAVED, MODULES]


def test_what_the_hub_does_not_have(cached, copied, hub):
    source, (folder, _) = copied("bert"), hub
    shutil.copytree(source, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(
        ConnectionError, match=f"^{NAME} is in the cache without tokenizer.json, .* or does not have it"
    ):
        pyserini_rerank.load(NAME, device="cpu")


def test_a_hub_that_is_not_there(cached, copied, hub, monkeypatch):
    """Nobody listens at that port."""
    source = copied("bert")
    in_parts(source, "safetensors")
    laid_out(cached, NAME, source, ["model-00002-of-00004.safetensors"])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ConnectionError, match=f"^{NAME} is in the cache without model-00002.*cannot be reached"
    ) as error:
        pyserini_rerank.load(NAME, device="cpu")
    assert one_line(error)


def test_another_checkpoints_tokenizer(cached, tmp_path):
    """It is all that is needed of that checkpoint; a vocab.json is none without its merges."""
    source = tmp_path / "tokenizer"
    source.mkdir()
    tiny_checkpoints._write_vocabulary(source, tiny_checkpoints.UNCASED)
    # A tokenizer.json would do as well, and is not fetched for that.
    tree = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    laid_out(cached, "distilbert-base-uncased", source, known=tree)
    name = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"
    folder = tiny_checkpoints.build(name, tmp_path)
    wanted = scores(folder)
    for file in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    np.testing.assert_array_equal(scores(folder), wanted)

    laid_out(cached, NAME, source, ["vocab.txt"], known=[])
    with pytest.raises(ConnectionError, match="is in the cache without tokenizer.json"):
        fetch(NAME, lacks_tokenizer, ("vocab.txt",))
    (source / "vocab.txt").rename(source / "vocab.json")
    assert lacks_tokenizer(source) == "merges.txt"
    (source / "merges.txt").touch()
    assert lacks_tokenizer(source) == ""


# ------------------------------------------------------------------------------------------------------ a folder's name

KNOWN = "nboost/pt-tinybert-msmarco"


def test_the_names_of_a_folder(cached, tmp_path, monkeypatch):
    folder = tiny_checkpoints.build(KNOWN, tmp_path / "real")
    plain = shutil.copytree(folder, tmp_path / "plain")
    (tmp_path / "nboost").mkdir()
    (tmp_path / KNOWN).symlink_to(plain)  # named like the checkpoint, and leads elsewhere
    (tmp_path / "short").symlink_to(folder)  # leads to what is named like it
    (tmp_path / "long").symlink_to(tmp_path / KNOWN)  # leads to the link that is
    (tmp_path / "organisations").symlink_to(tmp_path / "real")
    snapshot = laid_out(cached, KNOWN, plain)
    (tmp_path / "linked").symlink_to(snapshot)
    monkeypatch.chdir(tmp_path)
    for name in (
        KNOWN, f"./{KNOWN}", f"{KNOWN}/", f"{KNOWN}/.", f"real/../{KNOWN}", tmp_path / KNOWN, "short", "long",
        f"organisations/{KNOWN}", snapshot, "linked",
    ):  # fmt: skip
        assert resolve(name).row.name == KNOWN, name
    for inside in (folder, snapshot):
        monkeypatch.chdir(inside)
        assert resolve(".").row.name == KNOWN
    assert resolve(plain).row.name == str(plain)
    # What is said outright counts more.
    assert resolve(tmp_path / KNOWN, known_as="BAAI/bge-reranker-base").row.name == "BAAI/bge-reranker-base"
    monkeypatch.chdir(cached)
    assert resolve(KNOWN).folder == snapshot
    assert_close(scores(snapshot), scores(folder))


def test_the_pairs_of_the_contract_are_the_same_through_a_link(tmp_path):
    folder = tiny_checkpoints.build(KNOWN, tmp_path / "real")
    (tmp_path / "link").symlink_to(folder)
    one, other = (pyserini_rerank.load(name, device="cpu") for name in (folder, tmp_path / "link"))
    assert one.predict(PAIRS).tobytes() == other.predict(PAIRS).tobytes()
    assert one.backend.fingerprint == other.backend.fingerprint


def test_dropout_of_a_tokenizer_is_refused(tmp_path):
    folder = tiny_families.build(tiny_families.GTE, tmp_path)
    facts = json.loads((folder / "tokenizer.json").read_text())
    assert facts["model"]["type"] == "BPE"
    facts["model"]["dropout"] = 0.5
    (folder / "tokenizer.json").write_text(json.dumps(facts))
    with pytest.raises(
        ValueError, match="has dropout in its tokenizer.json, so that a text has other tokens each time"
    ):
        pyserini_rerank.load(folder, device="cpu")
