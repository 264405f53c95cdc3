"""Each of the fifteen checkpoints, and of the further BERTs and ELECTRAs, is read as its authors meant it.

The checkpoints are small ones with random weights (tiny_checkpoints.py), what they must score is computed a second time
in NumPy (reference.py). Every trap has two tests: that the obvious way of reading goes wrong, and that ours does not.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import reference
import tiny_checkpoints
import torch
from tiny_architectures import change
from tiny_checkpoints import FURTHER, NAMES, build, change_weights, weights_file
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertTokenizerFast, DistilBertConfig

# Texts too long and in an unknown script are here on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*were cut to:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*mostly unknown:UserWarning"),
]

QUERY = "How many people live in Berlin?"
TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "BERLIN IS WELL KNOWN FOR ITS MUSEUMS.",
    "Zürich:\tein Café, naïve Señor Über-Straße – “柏林” ☃ ½ \u200bﬁn",
    "Берлин стоит на реке",
    "cat",
    "the long history of the river and the bank " * 70,  # 630 tokens
]
LONG_QUERY = "why does the small dog eat old red fish " * 70
LONG_PAIRS = [(LONG_QUERY, TEXTS[6]), (LONG_QUERY, "Berlin")]
PAIRS = [(QUERY, text) for text in TEXTS] + LONG_PAIRS

MINILM = "cross-encoder/ms-marco-MiniLM-L-6-v2"
ELECTRA = "cross-encoder/ms-marco-electra-base"
NBOOST = "nboost/pt-bert-base-uncased-msmarco"
TINYBERT = "nboost/pt-tinybert-msmarco"
CAPREOLUS = "Capreolus/electra-base-msmarco"
AMBEROAD = "amberoad/bert-multilingual-passage-reranking-msmarco"
BERT_CAT = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"
MONOELECTRA, WEBIS = "castorini/monoelectra-base", "webis/monoelectra-base"
TWO_LABELS = [name for name in NAMES if name.startswith(("nboost/", "Capreolus/", "amberoad/"))]


def load(folder, **options):
    return pyserini_rerank.load(str(folder), device="cpu", dtype="float32", **options)


def expected(folder, name, pairs, **options):
    return np.array([reference.score(folder, name, query, text, **options) for query, text in pairs])


def assert_close(scores, wanted):
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4)


def moved(folder, parent):
    """The same files where neither the organisation nor the name says what they are."""
    return Path(shutil.move(folder, parent / "my-reranker"))


def naive_logits(folder, pairs):
    """The Auto classes' reading, one pair at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return np.array(
            [
                model(**tokenizer(query, text, truncation=True, return_tensors="pt")).logits[0].numpy()
                for query, text in pairs
            ]
        )


# ------------------------------------------------------------------------------------------- all of them, all the pairs


@pytest.fixture(scope="module", params=[*NAMES, *FURTHER])
def checkpoint(request, tmp_path_factory):
    """One of them: its hub name, the folder, the reranker and the scores that PAIRS must get."""
    name = request.param
    folder = build(name, tmp_path_factory.mktemp("checkpoints"))
    return name, folder, load(folder), expected(folder, name, PAIRS)


def test_the_scores_are_the_references(checkpoint):
    _, _, reranker, wanted = checkpoint
    scores = reranker.score(QUERY, TEXTS)
    assert scores.dtype == np.float32 and scores.shape == (len(TEXTS),)
    assert_close(scores, wanted[: len(TEXTS)])


def test_two_texts_too_long_are_cut_longest_first(checkpoint):
    _, _, reranker, wanted = checkpoint
    assert_close(reranker.score(LONG_QUERY, [text for _, text in LONG_PAIRS]), wanted[len(TEXTS) :])


def test_predict_takes_the_model_cards_pairs(checkpoint):
    _, _, reranker, wanted = checkpoint
    assert_close(reranker.predict(PAIRS), wanted)


def test_a_probability_is_the_sigmoid_of_the_score(checkpoint):
    name, _, reranker, wanted = checkpoint
    if name == MONOELECTRA:  # one of two logits gives none
        with pytest.raises(ValueError, match="are neither logits nor probabilities"):
            reranker.score(QUERY, TEXTS, probability=True)
        return
    assert_close(reranker.score(QUERY, TEXTS, probability=True), 1 / (1 + np.exp(-wanted[: len(TEXTS)])))


def test_case_does_not_count_in_an_uncased_model(checkpoint):
    name, folder, reranker, wanted = checkpoint
    capitals, small = reranker.score(QUERY, [TEXTS[2], TEXTS[2].lower()])
    assert capitals == pytest.approx(small, abs=1e-4)
    # Not lower-cased it would count: every word would be [UNK].
    assert abs(reference.score(folder, name, QUERY, "[UNK] " * 7 + ".") - wanted[2]) > 1e-2


def test_the_texts_of_these_tests_tell_apart(checkpoint):
    _, _, _, wanted = checkpoint
    assert np.ptp(wanted) > 0.5
    assert len(set(wanted.round(4))) == len(PAIRS) - 1  # the shouted sentence is the same sentence


def test_the_reference_cuts_as_the_tokenizers_library_does():
    ids, types = reference.truncated([1] * 600, [2] * 600, 509)
    assert (len(ids), len(types)) == (254, 255)


@pytest.mark.parametrize("max_length", [16, 64])
def test_a_shorter_length_cuts_shorter(tmp_path, max_length):
    folder = build(MINILM, tmp_path)
    scores = load(folder, max_length=max_length).predict(PAIRS)
    assert_close(scores, expected(folder, MINILM, PAIRS, max_length=max_length))


def test_weights_stored_in_half_precision_are_computed_in_what_was_asked_for(tmp_path):
    def halve(weights):
        for key, value in weights.items():
            if value.is_floating_point():
                weights[key] = value.half()

    folder = build(MINILM, tmp_path)
    change_weights(folder, halve)
    assert_close(load(folder).predict(PAIRS), expected(folder, MINILM, PAIRS))


# ------------------------------------------------------------------------------- the trap: Capreolus's missing dense


def test_auto_model_runs_capreolus_through_a_dense_layer_that_was_never_trained(tmp_path):
    folder = build(CAPREOLUS, tmp_path)
    _, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert set(report["missing_keys"]) == {"classifier.dense.weight", "classifier.dense.bias"}
    once, again = (np.diff(naive_logits(folder, PAIRS[:6]))[:, 0] for _ in range(2))
    assert np.abs(once - expected(folder, CAPREOLUS, PAIRS[:6])).max() > 0.1
    assert np.abs(once - again).max() > 1e-3  # random, and no error


def test_a_dense_layer_that_a_copy_of_capreolus_stores_is_not_run_either(tmp_path):
    folder = build(CAPREOLUS, tmp_path)
    tiny_checkpoints.add_untrained_dense(folder)
    wanted = expected(folder, CAPREOLUS, PAIRS[:6])
    assert np.abs(np.diff(naive_logits(folder, PAIRS[:6]))[:, 0] - wanted).max() > 0.1
    assert_close(load(folder).predict(PAIRS[:6]), wanted)


def test_capreolus_under_another_name_is_refused_and_not_run_through_a_random_layer(tmp_path):
    folder = moved(build(CAPREOLUS, tmp_path), tmp_path)
    with pytest.raises(ValueError, match=r"classifier\.dense"):
        load(folder, head="margin")


# -------------------------------------------------------------------------------------------------- the trap: BERT_Cat


def test_auto_model_does_not_know_bert_cat(tmp_path):
    with pytest.raises((ValueError, KeyError), match="BERT_Cat"):
        AutoModelForSequenceClassification.from_pretrained(build(BERT_CAT, tmp_path))


def test_bert_cats_own_config_gives_the_sizes_of_another_body(tmp_path):
    folder = build(BERT_CAT, tmp_path)
    config = DistilBertConfig.from_pretrained(folder)  # says no sizes, so these are DistilBERT's defaults
    stored = tiny_checkpoints.read_weights(weights_file(folder))["bert_model.embeddings.word_embeddings.weight"]
    assert (config.vocab_size, config.dim) == (30522, 768) != tuple(stored.shape)
    assert_close(load(folder).predict(PAIRS[:2]), expected(folder, BERT_CAT, PAIRS[:2]))


# ------------------------------------------------------------------------------------------------ the trap: two labels


@pytest.mark.parametrize("name", TWO_LABELS)
def test_the_second_logit_alone_orders_texts_differently(tmp_path, name):
    folder = build(name, tmp_path)
    texts = [*TEXTS[:6], "river bank", "What is the first word?", "gold and paper", "a small dog", "2 x 3 = 6", "snow!"]
    logits = np.array([reference.logits(folder, name, QUERY, text) for text in texts])
    naive, right = np.argsort(-logits[:, 1], kind="stable"), np.argsort(-(logits[:, 1] - logits[:, 0]), kind="stable")
    assert naive.tolist() != right.tolist()
    # Two texts that the two readings order the other way round, by a margin that no rounding makes.
    first, second = max(
        ((a, b) for a in range(len(texts)) for b in range(len(texts))),
        key=lambda ab: min(logits[ab[0], 1] - logits[ab[1], 1], np.diff(logits[ab[1]])[0] - np.diff(logits[ab[0]])[0]),
    )
    assert logits[first, 1] > logits[second, 1] + 0.02
    assert np.diff(logits[second])[0] > np.diff(logits[first])[0] + 0.02

    scores = load(folder).score(QUERY, texts)
    assert scores[second] > scores[first]
    assert_close(scores, logits[:, 1] - logits[:, 0])


def test_the_second_logit_alone_is_what_castorini_score_by(tmp_path):
    """Where a margin orders texts differently."""
    folder = moved(build(MONOELECTRA, tmp_path), tmp_path)
    logits = np.array([reference.logits(folder, MONOELECTRA, QUERY, text) for text in TEXTS])
    margin, positive = (load(folder, head=head).score(QUERY, TEXTS) for head in ("margin", "positive"))
    assert_close(margin, logits[:, 1] - logits[:, 0])
    assert_close(positive, logits[:, 1])
    assert np.argsort(margin).tolist() != np.argsort(positive).tolist()
    with pytest.raises(ValueError, match="or head='positive' if its authors score by logit.1. alone"):
        load(folder)
    with pytest.raises(ValueError, match="head='positive' reads 2 labels, and .* has 1"):
        load(build(MINILM, tmp_path), head="positive")


# --------------------------------------------------------------------------------------------- the trap: Lightning IR's


def test_auto_model_does_not_know_lightning_irs_type(tmp_path):
    with pytest.raises((ValueError, KeyError), match="cross-encoder"):
        AutoModelForSequenceClassification.from_pretrained(build(WEBIS, tmp_path))


def test_a_bias_of_lightning_irs_is_there_if_its_configuration_says_so(tmp_path):
    folder = build(WEBIS, tmp_path)
    wanted = expected(folder, WEBIS, PAIRS[:3])
    bias = float(tiny_checkpoints.read_weights(weights_file(folder))["linear.bias"][0])
    change(folder, "config.json", linear_bias=False)
    change_weights(folder, lambda weights: weights.pop("linear.bias"))
    assert_close(load(folder).predict(PAIRS[:3]), wanted - bias)
    assert abs(bias) > 1e-2


def test_another_pooling_of_lightning_irs_is_refused(tmp_path):
    folder = build(WEBIS, tmp_path)
    change(folder, "config.json", pooling_strategy="mean")
    with pytest.raises(ValueError, match="has pooling_strategy='mean' in its config.json, and 'first' alone is read"):
        load(folder)


# ----------------------------------------------------------------------------- the trap: what a tokenizer does not say


@pytest.mark.parametrize("name", [TINYBERT, AMBEROAD])
def test_auto_tokenizer_does_not_know_the_length_where_the_files_do_not_say(tmp_path, name):
    folder = build(name, tmp_path)
    ids = AutoTokenizer.from_pretrained(folder)(*LONG_PAIRS[0], truncation=True)["input_ids"]
    assert len(ids) > 1200
    with pytest.raises((IndexError, RuntimeError)):
        naive_logits(folder, LONG_PAIRS[:1])
    assert_close(load(folder).predict(LONG_PAIRS), expected(folder, name, LONG_PAIRS))


@pytest.mark.parametrize("name", [TINYBERT, AMBEROAD])
def test_text_is_lower_cased_where_the_files_do_not_say(tmp_path, name):
    # No trap in transformers 5 (seen in 5.23): BertTokenizer's default is to lower-case, and AutoTokenizer keeps to it.
    # A reader that takes silence for "cased" goes wrong, though, and so would we if that default changed.
    folder = build(name, tmp_path)
    assert "do_lower_case" not in "".join(f.read_text() for f in folder.glob("tokenizer*.json"))
    cased = AutoTokenizer.from_pretrained(folder, do_lower_case=False)(QUERY, "Berlin")["input_ids"]
    assert cased != reference.encoded(folder, QUERY, "Berlin")[0]
    assert_close(load(folder).score(QUERY, ["Berlin", "BERLIN"]), [reference.score(folder, name, QUERY, "berlin")] * 2)


def test_a_truncation_stored_in_tokenizer_json_does_not_count(tmp_path):
    folder = build(MINILM, tmp_path)
    stored = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(QUERY, TEXTS[6]).ids
    assert len(stored) == 128 < len(reference.encoded(folder, QUERY, TEXTS[6])[0])
    assert_close(load(folder).score(QUERY, TEXTS[6:]), expected(folder, MINILM, [(QUERY, TEXTS[6])]))


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """No network and nothing in the cache, also where the machine has both."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty-cache"))


def without_tokenizer(folder):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    return folder


def test_transformers_makes_up_a_tokenizer_that_it_cannot_find(no_hub):
    # Seen in 5.23: five special tokens, every word [UNK], no error. All texts of one length would score the same.
    made_up = BertTokenizerFast.from_pretrained("distilbert-base-uncased")
    assert len(made_up) == 5


@pytest.mark.parametrize("name", [BERT_CAT, MINILM, TINYBERT, CAPREOLUS])
def test_a_folder_without_a_tokenizer_is_an_error_where_none_can_be_fetched(tmp_path, no_hub, name):
    folder = without_tokenizer(build(name, tmp_path))
    with pytest.raises((OSError, ValueError), match="tokenizer"):
        load(folder)


# -------------------------------------------------------------------------------------------------- files not to trust


class Touch:
    """Unpickled, it makes a file: what somebody else's code in a .bin could do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [TINYBERT, CAPREOLUS, AMBEROAD, BERT_CAT])
def test_code_in_a_bin_is_not_run(tmp_path, name):
    folder, sign = build(name, tmp_path), tmp_path / "was-run"
    file = weights_file(folder)
    assert file.name == "pytorch_model.bin"
    torch.save(torch.load(file, weights_only=True) | {"extra": Touch(sign)}, file)

    with pytest.raises(ValueError, match="cannot be read"):
        load(folder).score(QUERY, TEXTS[:1])
    assert not sign.exists()

    torch.load(file, weights_only=False)  # the trap is real
    assert sign.exists()


# ------------------------------------------------------------------------------------- a file without all the weights

MISSING = [
    (MONOELECTRA, "classifier.dense.weight"),
    (WEBIS, "linear.weight"),
    (WEBIS, "linear.bias"),
    (WEBIS, "electra.encoder.layer.2.output.dense.weight"),
    (MINILM, "classifier.weight"),
    (MINILM, "classifier.bias"),
    (MINILM, "bert.pooler.dense.weight"),
    (MINILM, "bert.encoder.layer.1.attention.self.query.weight"),
    (ELECTRA, "classifier.dense.weight"),
    (ELECTRA, "classifier.out_proj.weight"),
    (NBOOST, "classifier.weight"),
    (CAPREOLUS, "classifier.out_proj.weight"),
    (AMBEROAD, "classifier.weight"),
    (BERT_CAT, "_classification_layer.weight"),
    (BERT_CAT, "bert_model.transformer.layer.0.ffn.lin1.weight"),
]


@pytest.mark.parametrize("name, key", MISSING)
def test_a_weight_that_is_missing_is_an_error_that_names_it(tmp_path, name, key):
    folder = build(name, tmp_path)
    change_weights(folder, lambda weights: weights.pop(key))
    with pytest.raises(ValueError, match=re.escape(key)):
        load(folder)


def test_auto_model_makes_up_a_head_that_is_missing(tmp_path):
    folder = build(MINILM, tmp_path)
    change_weights(folder, lambda weights: weights.pop("classifier.weight"))
    assert np.isfinite(naive_logits(folder, PAIRS[:1])).all()


# -------------------------------------------------------------------------------- folders that are not in the catalogue


@pytest.mark.parametrize("name", [*NAMES, *FURTHER])
def test_known_as_says_what_a_folder_holds(tmp_path, name):
    folder = moved(build(name, tmp_path), tmp_path)
    assert_close(load(folder, known_as=name).predict(PAIRS[:3]), expected(folder, name, PAIRS[:3]))


def test_an_unknown_folder_with_one_label_loads(tmp_path):
    folder = moved(build(MINILM, tmp_path), tmp_path)
    assert_close(load(folder).predict(PAIRS), expected(folder, MINILM, PAIRS))


def test_a_folder_may_be_a_path(tmp_path):
    folder = moved(build(MINILM, tmp_path), tmp_path)
    scores = pyserini_rerank.load(folder, device="cpu", dtype="float32", head="logit").score(QUERY, TEXTS[:1])
    assert_close(scores, expected(folder, MINILM, PAIRS[:1]))


@pytest.mark.parametrize("name", [NBOOST, TINYBERT, AMBEROAD])
def test_an_unknown_folder_with_two_labels_asks_for_the_head(tmp_path, name):
    folder = moved(build(name, tmp_path), tmp_path)
    with pytest.raises(ValueError, match="head="):
        load(folder)
    assert_close(load(folder, head="margin").predict(PAIRS[:3]), expected(folder, name, PAIRS[:3]))
