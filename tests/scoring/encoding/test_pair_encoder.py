"""Pairs are tokenized, joined and cut as Hugging Face's tokenizer does it."""

import numpy as np
import pytest
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from pyserini_rerank.scoring.encoding.pair_encoder import PairEncoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

MAX_LENGTH = 512
SOME = """the of flea life cycle is how long population berlin 3,520,031 inhabitants AND unbelievable Tokenization café
naïve straße 柏林 北京 a a a , . ! ? [SEP] [MASK] ½ ﬁn museum's rock'n'roll x²+y² http://a.b/c?d=e 😺 قطة"""
WORDS = SOME.split()


@pytest.fixture(scope="module")
def reference():
    """Hugging Face's own tokenizer of the bundled checkpoint."""
    return AutoTokenizer.from_pretrained(bundled.folder())


@pytest.fixture(scope="module")
def encoder():
    return PairEncoder(Tokenizer.from_file(str(bundled.folder() / "tokenizer.json")), MAX_LENGTH)


def texts(random, lengths):
    return [" ".join(random.choice(WORDS, length)) for length in lengths]


def repeated(n):
    """A text of n tokens."""
    return " ".join(["flea"] * n)


def laid_out(encoder, pairs, pad_id=0):
    """Each pair alone: ids and types without padding."""
    rows = []
    encoded = encoder.encode(pairs)
    for row in range(len(pairs)):
        pair = encoded[row : row + 1]
        ids, mask, types = encoder.pad(pair, pad_id)
        assert mask.all()
        assert ids.shape == mask.shape == types.shape == (1, encoded.lengths[row])
        assert ids.dtype == mask.dtype == types.dtype == np.int64
        rows.append((ids[0].tolist(), types[0].tolist()))
    return rows


def sizes_of(encoder, encoded):
    """The tokens that are kept of a single pair's query and passage."""
    return encoded.sizes[0, encoder.query_at], encoded.sizes[0, encoder.passage_at]


def wanted(reference, pairs, max_length=MAX_LENGTH):
    rows = [reference(*pair, truncation="longest_first", max_length=max_length) for pair in pairs]
    return [(row["input_ids"], row["token_type_ids"]) for row in rows]


# ---------------------------------------------------------------------------------------------- as Hugging Face does it


def test_random_pairs(encoder, reference):
    random = np.random.default_rng(0)
    lengths = random.integers(1, 900, (250, 2))
    lengths[:150] = np.exp(random.uniform(0, np.log(900), (150, 2))).astype(int).clip(1)
    pairs = list(zip(texts(random, lengths[:, 0]), texts(random, lengths[:, 1]), strict=True))
    assert laid_out(encoder, pairs) == wanted(reference, pairs)


@pytest.mark.parametrize("max_length", [512, 511, 128, 33, 32, 10, 6, 5])
def test_cuts(reference, max_length):
    """Every combination of lengths around the places where the rule turns."""
    encoder = PairEncoder(Tokenizer.from_file(str(bundled.folder() / "tokenizer.json")), max_length)
    room = max_length - 3
    some = {1, 2, room // 2 - 1, room // 2, room // 2 + 1, room // 2 + 2, room - 2, room - 1, room, room + 1, room + 40}
    pairs = [(repeated(n), repeated(m)) for n in some if n > 0 for m in some if m > 0]
    assert laid_out(encoder, pairs) == wanted(reference, pairs, max_length)


@pytest.mark.parametrize(
    ("query", "passage", "kept"),
    [
        (600, 600, (254, 255)),
        (900, 600, (255, 254)),
        (600, 900, (254, 255)),
        (10, 600, (10, 499)),
        (600, 10, (499, 10)),
        (254, 256, (254, 255)),
        (255, 255, (254, 255)),
        (255, 254, (255, 254)),
        (254, 255, (254, 255)),
    ],
)
def test_the_longer_one_is_cut_first(encoder, query, passage, kept):
    pair = encoder.encode([(repeated(query), repeated(passage))])
    assert sizes_of(encoder, pair) == kept
    assert (pair.query_was_cut[0], pair.passage_was_cut[0]) == (kept[0] < query, kept[1] < passage)
    assert pair.lengths.tolist() == [min(512, query + passage + 3)]


@pytest.mark.parametrize(
    "pair",
    [
        ("\0", "\0"),
        ("\u200b", "\u200f"),
        ("قطة", "برغوث القطة"),
        ("e\u0301", "é"),
        ("\ud7ff\ue000", "\U0010ffff"),
        ("flea " * 3, "\n\t flea \r\n"),
        ("[CLS] flea [SEP]", "[PAD][UNK]"),
        ("x" * 5000, "y" * 101),
    ],
    ids=ascii,
)
def test_odd_text(encoder, reference, pair):
    assert laid_out(encoder, [pair]) == wanted(reference, [pair])


def test_what_the_tokenizer_file_says_of_truncation_and_padding_is_turned_off(reference):
    tokenizer = Tokenizer.from_file(str(bundled.folder() / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=64)
    pairs = [(repeated(20), repeated(300)), ("a", "b")]
    assert laid_out(PairEncoder(tokenizer, MAX_LENGTH), pairs) == wanted(reference, pairs)


# -------------------------------------------------------------------------------------------------- other templates


def word_level(template, specials, unknown="<unk>", words=("flea", "cat", "a")):
    vocabulary = {token: i for i, token in enumerate([*specials, unknown, *words, *[f"w{i}" for i in range(50)]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template.split("$B")[0].strip(),
        pair=template,
        special_tokens=[(token, vocabulary[token]) for token in specials],
    )
    return tokenizer


TEMPLATES = {
    "XLM-R": ("<s> $A </s> </s> $B </s>", ["<s>", "</s>"]),
    "BERT": ("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"]),
    "nothing between": ("<s>:0 $A:0 $B:1", ["<s>"]),
    "passage first": ("<q>:0 $A:0 <d>:2 $B:1 <e>:3 <e>:3 <e>:3", ["<q>", "<d>", "<e>"]),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("max_length", [40, 41])
def test_templates(name, max_length):
    template, specials = TEMPLATES[name]
    tokenizer = word_level(template, specials)
    encoder = PairEncoder(tokenizer, max_length)
    random = np.random.default_rng(1)
    lengths = random.integers(1, 60, (200, 2))
    pairs = [(" ".join(f"w{i}" for i in random.integers(0, 60, n)), repeated(m)) for n, m in lengths]
    given = laid_out(encoder, pairs)
    reference = word_level(template, specials)
    reference.enable_truncation(max_length, strategy="longest_first")
    encodings = reference.encode_batch(pairs)
    assert given == [(encoding.ids, encoding.type_ids) for encoding in encodings]


def test_two_separators():
    encoder = PairEncoder(word_level(*TEMPLATES["XLM-R"]), MAX_LENGTH)
    assert len(encoder.special) == 4
    [(ids, types)] = laid_out(encoder, [("flea", "cat cat")])
    assert ids == [0, 3, 1, 1, 4, 4, 1]
    assert set(types) == {0}
    assert sizes_of(encoder, encoder.encode([(repeated(600), repeated(600))])) == (254, 254)


def test_a_tokenizer_that_makes_several_tokens_of_the_example():
    """Where the special tokens stand is learnt whatever the tokenizer makes of one letter."""
    tokenizer = word_level(*TEMPLATES["BERT"], words=("x", "y"))
    tokenizer.normalizer = normalizers.Replace("a", "x y")
    encoder = PairEncoder(tokenizer, MAX_LENGTH)
    [(ids, types)] = laid_out(encoder, [("x", "a")])
    assert (ids, types) == (tokenizer.encode("x", "a").ids, tokenizer.encode("x", "a").type_ids)


# --------------------------------------------------------------------------------------------------------- together


def test_padding(encoder):
    pairs = encoder.encode([("flea", "cat"), ("flea", repeated(7)), ("flea", "a")])
    ids, mask, types = encoder.pad(pairs, 77)
    assert ids.shape == (3, 11)
    assert mask.sum(1).tolist() == [5, 11, 5]
    assert (ids[mask == 0] == 77).all() and (types[mask == 0] == 0).all()
    for row, length in enumerate(pairs.lengths.tolist()):
        alone = encoder.pad(pairs[row : row + 1], 77)
        for together, single in zip((ids, mask, types), alone, strict=True):
            assert together[row, :length].tolist() == single[0].tolist()


def test_a_text_is_tokenized_once(encoder, monkeypatch):
    seen = []
    real = encoder.texts
    monkeypatch.setattr(encoder, "texts", lambda texts: seen.extend(texts) or real(texts))
    pairs = [(query, passage) for query in ("q1", "q2") for passage in ("p1", "p2", "p3")]
    encoded = encoder.encode(pairs)
    assert sorted(seen) == ["p1", "p2", "p3", "q1", "q2"]
    assert encoded.lengths.tolist() == [7] * 6


def test_no_pairs(encoder):
    assert len(encoder.encode([])) == 0 and encoder.plan([], 100).batches == []


def test_two_encoders_do_not_disturb_each_other(encoder, reference):
    tokenizer = encoder.tokenizer
    short = PairEncoder(tokenizer, 16)
    pairs = [(repeated(30), repeated(30))]
    assert laid_out(short, pairs) == wanted(reference, pairs, 16)
    assert laid_out(encoder, pairs) == wanted(reference, pairs)


# ----------------------------------------------------------------------------------------------------------- counts


def cut(encoder, pairs):
    encoded = encoder.encode(pairs)
    return encoded.query_was_cut.sum(), encoded.passage_was_cut.sum()


def test_cut_queries_and_passages_are_counted_apart(encoder):
    assert cut(encoder, [("flea", "cat")]) == (0, 0)
    assert cut(encoder, [("flea", repeated(600)), ("flea", repeated(508))]) == (0, 1)
    assert cut(encoder, [(repeated(600), "cat")]) == (1, 0)
    assert cut(encoder, [(repeated(600), repeated(600)), ("flea", repeated(600))]) == (1, 2)


@pytest.mark.parametrize(
    ("passage", "unknown"),
    [
        ("a flea on a cat", False),
        ("flea ꙮ", True),  # one known, one not
        ("flea flea ꙮ", False),
        ("ꙮꙮꙮ ꙮꙮ", True),
        ("ༀ ༁ ༂ and", True),
        ("\u200b", True),  # nothing at all
    ],
)
def test_passages_that_the_vocabulary_does_not_know(encoder, passage, unknown):
    assert encoder.encode([("flea", passage)]).mostly_unknown.tolist() == [unknown]


def test_unknown_tokens_of_other_tokenizers():
    encoder = PairEncoder(word_level(*TEMPLATES["XLM-R"]), MAX_LENGTH)
    pairs = encoder.encode([("flea", "cat flea other"), ("flea", "other words cat")])
    assert pairs.mostly_unknown.tolist() == [False, True]


def test_a_tokenizer_without_an_unknown_token():
    """Byte-level BPE knows everything."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(["<s>", "</s>", *sorted(alphabet)])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    encoder = PairEncoder(tokenizer, MAX_LENGTH)
    pair = encoder.encode([("flea", "قطة ꙮ")])
    assert encoder.unknown is None and sizes_of(encoder, pair)[1] > 6
    assert pair.mostly_unknown.tolist() == [False]
