"""Small checkpoints with random weights of the families beyond the card's fifteen: their architectures and files.

``build(name, parent)`` writes ``parent/<org>/<name>``, as `tiny_checkpoints` does. What transformers has a class for is
saved by it, under the keys that the hub's files have; ColBERT's keys are written out. Tokenizers are trained here, on
a few words, with the special tokens, the normalizer and the pre-tokenizer of the real ones.
"""

import json
from pathlib import Path

import numpy as np
import sentencepiece
import tiny_checkpoints as tiny
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    ModernBertConfig,
    ModernBertForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

MONOT5 = "castorini/monot5-base-msmarco"
QWEN3 = "Qwen/Qwen3-Reranker-0.6B"
MXBAI = "mixedbread-ai/mxbai-rerank-base-v2"
BGE = "BAAI/bge-reranker-v2-m3"
GTE = "Alibaba-NLP/gte-reranker-modernbert-base"
COLBERT = "colbert-ir/colbertv2.0"
GRANITE = "ibm-granite/granite-embedding-reranker-english-r2"
XPMIR = "xpmir/cross-encoder-ettin-17m-DistillRankNET"
NAMES = [MONOT5, QWEN3, MXBAI, BGE, GTE, COLBERT, GRANITE, XPMIR]

CORPUS = [
    *tiny.UNCASED,
    "Query: how many people live in Berlin? Document: Berlin is well known for its museums. Relevant: true",
    "Query: the long life cycle of a flea Document: The flea lives for two or three months. Relevant: false",
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query <Query>: <Document>:",
    "yes no yes no true false true false 0 1 query: document: instruction: system user assistant think",
    "You are a helpful assistant. Judge whether the Document meets the requirements based on the Query.",
] * 8
#: How Qwen's tokenizers cut text before BPE.
QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build(name: str, parent: Path) -> Path:
    """Write the small checkpoint of that hub name as ``parent/<org>/<name>`` and return the folder."""
    folder = Path(parent) / name
    folder.mkdir(parents=True)
    torch.manual_seed(NAMES.index(name))
    {
        MONOT5: _t5, QWEN3: _qwen3, MXBAI: _qwen2, BGE: _xlm_r, GTE: _modernbert, COLBERT: _colbert,
        GRANITE: _first_token, XPMIR: _first_token,
    }[name](folder)  # fmt: skip
    return folder


def sentencepiece_model(file: Path, corpus: list[str], **options) -> None:
    """Train a SentencePiece model of the kind that T5 and XLM-R have."""
    with file.open("wb") as writer:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=writer, model_type="unigram", vocab_size=260,
            character_coverage=1.0, hard_vocab_limit=False, minloglevel=2, num_threads=1, **options,
        )  # fmt: skip


def _t5(folder):
    """castorini's of 2020: a pytorch_model.bin, and a SentencePiece model without a tokenizer.json."""
    sentencepiece_model(folder / "spiece.model", CORPUS, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "model_max_length": 512})
    # More rows than there are tokens, as the real ones have (32,128 of 32,100).
    config = T5Config(
        vocab_size=400, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0,
        feed_forward_proj="relu", n_positions=512,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    _spread(model, 0.3)
    config.architectures = ["T5ForConditionalGeneration"]
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def _qwen3(folder):
    _qwen_tokenizer(folder)
    config = Qwen3Config(
        vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=40960, tie_word_embeddings=True,
    )  # fmt: skip
    _save(Qwen3ForCausalLM(config), folder, 0.2)


def _qwen2(folder):
    _qwen_tokenizer(folder)
    config = Qwen2Config(
        vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32768, tie_word_embeddings=True,
    )  # fmt: skip
    _save(Qwen2ForCausalLM(config), folder, 0.2)


def _qwen_tokenizer(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        # "?\n" is one token, across the query's end and the template's line break.
        [*CORPUS, *["live in Berlin?\n<Document>: museums.\n"] * 40],
        trainers.BpeTrainer(vocab_size=560, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in ("<think>", "</think>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    _json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 131072,
            "added_tokens_decoder": {
                str(number): token.__getstate__() for number, token in tokenizer.get_added_tokens_decoder().items()
            },
        },
    )


def _xlm_r(folder):
    sentencepiece_model(folder / "trained.model", CORPUS, unk_id=0, bos_id=1, eos_id=2)
    trained = sentencepiece.SentencePieceProcessor(model_file=str(folder / "trained.model"))
    pieces = [(trained.id_to_piece(i), trained.get_score(i)) for i in range(3, trained.get_piece_size())]
    (folder / "trained.model").unlink()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram([*((token, 0.0) for token in specials), *pieces, ("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.add_special_tokens([*specials, AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 8192})
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=1026, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, num_labels=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    _save(XLMRobertaForSequenceClassification(config), folder, 0.3)


def _modernbert(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(specials)
    cls, sep, pad = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {f"{token.strip('[]').lower()}_token": token for token in specials}
    _json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192, **named},
    )
    config = ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=4, max_position_embeddings=8192, local_attention=16, global_attn_every_n_layers=3,
        pad_token_id=pad, cls_token_id=cls, sep_token_id=sep, bos_token_id=cls, eos_token_id=sep, num_labels=1,
        classifier_pooling="mean",
    )  # fmt: skip
    _save(ModernBertForSequenceClassification(config), folder, 0.25)


def _first_token(folder):
    """A ModernBERT whose head reads the first token; inferred of granite's and xpmir's, whose files were not seen."""
    _modernbert(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _json(folder / "config.json", {**config, "classifier_pooling": "cls"})


def _colbert(folder):
    """``HF_ColBERT`` of its authors' code: a BERT under ``bert`` and ``linear`` without a bias; artifact.metadata."""
    vocabulary = ["[PAD]", "[unused0]", "[unused1]", *tiny.UNCASED[1:], "\\"]
    random = np.random.default_rng(5)
    layers, heads, hidden, inner, dimension = 2, 4, 32, 64, 16
    config = tiny._bert_config("HF_ColBERT", "bert", len(vocabulary), layers, heads, hidden, inner)
    weights = tiny._bert_body(random, "bert", len(vocabulary), layers, hidden, inner)
    weights |= tiny._linear(random, "bert.pooler.dense", hidden, hidden)
    weights["linear.weight"] = random.normal(0, 0.5, (dimension, hidden))
    weights["bert.embeddings.position_ids"] = np.arange(tiny.POSITIONS)[None]
    tiny._write_config(folder, config)
    tiny.write_weights(folder / "model.safetensors", weights)
    tiny._write_vocabulary(folder, vocabulary)
    _json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    facts = {"query_maxlen": 32, "doc_maxlen": 180, "dim": dimension, "mask_punctuation": True}
    _json(folder / "artifact.metadata", {**facts, "attend_to_mask_tokens": False, "similarity": "cosine"})


def _save(model, folder, spread):
    _spread(model, spread)
    model.save_pretrained(folder)


def _spread(model, spread):
    """Draw the weights from a wider distribution than training starts from, so that texts score well apart."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, spread)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)


def _json(file, value):
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
