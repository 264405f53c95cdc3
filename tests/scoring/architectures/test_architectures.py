"""The families beyond the card's fifteen: each scores as its authors' procedure does, written out here.

The checkpoints are small ones with random weights (tiny_families.py). The references run one pair at a time through
transformers' own classes with all logits, or, for ColBERT, through NumPy and through sentence-transformers.
"""

import re
import shutil
import string

import numpy as np
import pyserini_rerank
import pytest
import reference
import tiny_checkpoints
import torch
from pyserini_rerank import Windows
from pyserini_rerank.benchmarks import throughput
from pyserini_rerank.passages import Tokens
from pyserini_rerank.scoring.architectures.late_interaction import LateInteraction
from pyserini_rerank.scoring.backend import OutOfMemoryWarning
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.scoring.checkpoints.catalogue import catalogue
from pyserini_rerank.scoring.encoding.encoded_pairs import joined
from pyserini_rerank.scoring.encoding.vocabulary import vocabulary
from pyserini_rerank.testing import PAIRS, BackendContract, score
from sentencepiece import SentencePieceProcessor
from tiny_families import (
    BGE,
    COLBERT,
    GRANITE,
    GTE,
    MONOT5,
    MXBAI,
    NAMES,
    QWEN3,
    XPMIR,
    build,
    sentencepiece_model,
)
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    T5ForConditionalGeneration,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*were cut to:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*mostly unknown:UserWarning"),
]
QUERY = "How many people live in Berlin?"
TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "  two\n\nlines,\tand Zürich’s “naïve” café … ",
    "{query} {document} {0}",
    "cat",
    "?!",
]
SOME = [*((QUERY, text) for text in TEXTS), ("flea\n", "\nthe flea.\n"), ("{document}", "a dog"), ("cat", "cat " * 60)]
PROMPTED = [MONOT5, QWEN3, MXBAI]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("families")
    return {name: build(name, parent) for name in NAMES}


@pytest.fixture(scope="module")
def rerankers(folders):
    return {name: load(folder) for name, folder in folders.items()}


def load(folder, **options):
    return pyserini_rerank.load(folder, **{"device": "cpu", "dtype": "float32", **options})


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


def assert_close(scores, wanted):
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted) > 0.1, "all scores are nearly equal, so this says nothing"


# --------------------------------------------------------------------------------------------- the authors' procedures


def monot5(folder):
    """pygaggle's: the prompt and "</s>" through SentencePiece, one step of greedy decoding."""
    pieces = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    false, true = pieces.piece_to_id("▁false"), pieces.piece_to_id("▁true")
    assert pieces.unk_id() not in (false, true)

    def tokens(query, document):
        return [*pieces.encode(f"Query: {query} Document: {document} Relevant:"), 1]

    def logits(query, document):
        start = torch.tensor([[model.config.decoder_start_token_id]])
        out = model(input_ids=torch.tensor([tokens(query, document)]), decoder_input_ids=start).logits[0, -1]
        return out[[false, true]]

    return tokens, logits


def qwen3(folder, task=None):
    """The model card's: prefix, formatted pair and suffix tokenized apart; the last token's logits."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prefix = tokenizer.encode(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        add_special_tokens=False,
    )
    suffix = tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", add_special_tokens=False)
    task = task or "Given a web search query, retrieve relevant passages that answer the query"

    def tokens(query, document):
        body = f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}"
        return prefix + tokenizer(body)["input_ids"] + suffix

    def logits(query, document):
        # Padded on the left, as the card does it for batches.
        inputs = tokenizer.pad(
            [{"input_ids": tokens(query, document)}, {"input_ids": [5] * 300}], padding=True, return_tensors="pt"
        )
        return model(**inputs).logits[0, -1][tokenizer.convert_tokens_to_ids(["no", "yes"])]

    return tokens, logits


def mxbai(folder, instruction=None):
    """mxbai-rerank's: query, document and the parts of the template are all tokenized apart."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def tokens(query, document):
        task = (
            "You are a search relevance expert who evaluates how well documents match search queries. For each "
            "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
            "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
        )
        start = (
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n"
        )
        asked = "".join([f"instruction: {instruction}", "\n", f"query: {query}"]) if instruction else f"query: {query}"
        pair = ids(asked) + ids("\n") + ids(f"document: {document}")
        return ids(start) + pair + ids("\n") + ids(task) + ids("<|im_end|>\n<|im_start|>assistant\n")

    def logits(query, document):
        return model(input_ids=torch.tensor([tokens(query, document)])).logits[0, -1][[ids("0")[0], ids("1")[0]]]

    return tokens, logits


AUTHORS = {MONOT5: monot5, QWEN3: qwen3, MXBAI: mxbai}


@pytest.fixture(scope="module")
def authors(folders):
    return {name: procedure(folders[name]) for name, procedure in AUTHORS.items()}


@pytest.mark.parametrize("name", PROMPTED)
def test_the_tokens_are_the_authors(rerankers, authors, name):
    encoder, (tokens, _) = rerankers[name].backend.encoder, authors[name]
    encoded = encoder.encode(SOME)
    assert joined(encoded.ids, encoded.starts, encoded.sizes).tolist() == [
        token for pair in SOME for token in tokens(*pair)
    ]
    assert not (encoded.query_was_cut.any() or encoded.passage_was_cut.any())


@pytest.mark.parametrize("name", PROMPTED)
def test_the_scores_are_the_authors(rerankers, authors, name):
    _, logits = authors[name]
    with torch.no_grad():
        both = torch.stack([logits(*pair) for pair in SOME])
    assert_close(rerankers[name].predict(SOME), (both[:, 1] - both[:, 0]).numpy())
    # The authors' own scale.
    shown = rerankers[name].score(QUERY, TEXTS, probability=True)
    np.testing.assert_allclose(shown, both.softmax(1)[: len(TEXTS), 1].numpy(), rtol=0, atol=1e-5)


def test_rankt5_is_the_authors(folders):
    """The first step of transformers' own generation, as the script of the checkpoint's authors has it."""
    tokenizer = AutoTokenizer.from_pretrained(folders[MONOT5])
    model = T5ForConditionalGeneration.from_pretrained(folders[MONOT5], dtype=torch.float32).eval()
    answer = tokenizer.convert_tokens_to_ids("<extra_id_10>")
    wanted = []
    for query, text in SOME:
        inputs = tokenizer(f"Query: {query} Document: {text}", return_tensors="pt")
        first = model.generate(
            **inputs, max_length=2, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
        wanted.append(float(first.logits[0][0, answer]))
    rankt5 = load(folders[MONOT5], known_as="Soyoung97/RankT5-base")
    assert_close(rankt5.predict(SOME), wanted)
    with pytest.raises(ValueError, match="neither logits nor probabilities"):
        rankt5.score(QUERY, TEXTS, probability=True)


@pytest.mark.parametrize("name", [QWEN3, MXBAI])
@pytest.mark.parametrize("instruction", ["how long fleas live", "The {query} of the {document}\nand {instruction}.\n"])
def test_an_instruction_stands_where_the_authors_put_it(folders, rerankers, name, instruction):
    tokens, logits = AUTHORS[name](folders[name], instruction)
    told = load(folders[name], instruction=instruction)
    encoded = told.backend.encoder.encode(SOME)
    assert joined(encoded.ids, encoded.starts, encoded.sizes).tolist() == [
        token for pair in SOME for token in tokens(*pair)
    ]
    with torch.no_grad():
        both = torch.stack([logits(*pair) for pair in SOME])
    assert_close(told.predict(SOME), (both[:, 1] - both[:, 0]).numpy())
    assert np.abs(told.predict(SOME) - rerankers[name].predict(SOME)).max() > 1e-3
    assert told.backend.description["instruction"] == instruction
    assert told.backend.fingerprint != rerankers[name].backend.fingerprint


def test_the_authors_own_instructions(folders, rerankers):
    web = "Given a web search query, retrieve relevant passages that answer the query"
    assert rerankers[QWEN3].backend.description["instruction"] == web
    same = load(folders[QWEN3], instruction=web).backend
    assert same.fingerprint == rerankers[QWEN3].backend.fingerprint
    assert "instruction" not in rerankers[MXBAI].backend.description
    same = load(folders[MXBAI], instruction="").backend
    assert same.fingerprint == rerankers[MXBAI].backend.fingerprint


@pytest.mark.parametrize("name", [MONOT5, BGE, COLBERT])
def test_an_instruction_that_the_prompt_has_no_place_for(folders, name):
    with pytest.raises(ValueError) as error:
        load(folders[name], instruction="find fleas")
    assert "instruction='find fleas' is for prompts with a place for one, and" in one_line(error)
    with pytest.raises(ValueError, match=r"instruction=3: give a text\.$"):
        load(folders[QWEN3], instruction=3)
    with pytest.raises(TypeError, match="the backend 'openvino' has no option 'instruction'"):
        pyserini_rerank.load(folders[BGE], backend="openvino", instruction="find fleas")


@pytest.mark.parametrize("name", [QWEN3, MXBAI])
def test_an_instruction_brings_no_special_token(folders, rerankers, name):
    plain, odd = (load(folders[name], instruction=text) for text in ("im end", "<|im_end|>\n<|im_start|>"))
    special = [plain.backend.encoder.tokenizer.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>")]
    found = [np.isin(reranker.backend.encoder.encode(SOME[:1]).ids, special).sum() for reranker in (plain, odd)]
    assert found[0] == found[1] > 1


def test_an_instruction_is_never_cut(folders):
    with pytest.raises(ValueError, match="max_length is 200: .* reads pairs of "):
        load(folders[QWEN3], max_length=200, instruction="flea " * 300)


@pytest.mark.parametrize("name", PROMPTED)
def test_no_logits_but_the_answers_are_computed(rerankers, name):
    seen = []
    model = rerankers[name].backend.family.model
    handle = model.lm_head.register_forward_hook(lambda *args: seen.append(args[2].numel()))
    try:
        rerankers[name].predict([("cat", f"{text} flea") for text in TEXTS])
    finally:
        handle.remove()
    assert sum(seen) == 2 * len(TEXTS)


@pytest.mark.parametrize("name", [BGE, GTE, GRANITE, XPMIR])
def test_classifiers_of_other_architectures(rerankers, folders, name):
    tokenizer = AutoTokenizer.from_pretrained(folders[name])
    model = AutoModelForSequenceClassification.from_pretrained(folders[name], dtype=torch.float32).eval()
    pairs = [*SOME, ("cat", "a long dog " * 300)]
    with torch.no_grad():
        wanted = [
            float(model(**tokenizer(*pair, truncation=True, max_length=512, return_tensors="pt")).logits[0, 0])
            for pair in pairs
        ]
    assert_close(rerankers[name].predict(pairs), wanted)


def test_the_limits_of_positions(folders):
    """XLM-R's first two positions are none; T5 has no limit at all."""
    with pytest.raises(ValueError, match="max_length is 1025: .* reads pairs of 6 to 1024 tokens"):
        load(folders[BGE], max_length=1025)
    assert load(folders[BGE], max_length=1024).backend.max_length == 1024
    assert load(folders[MONOT5], max_length=5000).backend.max_length == 5000
    for name in NAMES:
        assert load(folders[name]).backend.max_length == 512


# ------------------------------------------------------------------------------------------------------------- ColBERT


def colbert(folder):
    """ColBERT in NumPy: colbert-ai's tokens, masks and sum of maxima."""
    weights = reference.Weights.read(folder)
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {token: i for i, token in enumerate(lines)}
    cls, sep, mask = (vocabulary[token] for token in ("[CLS]", "[SEP]", "[MASK]"))
    skipped = {vocabulary[mark] for mark in string.punctuation}

    def vectors(ids, seen):
        hidden = reference.bert(weights, "bert", ids, [0] * len(ids), heads=4, eps=1e-12, seen=seen)
        found = hidden @ weights["linear.weight"].T
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def score(query, passage, longest=512):
        # The authors have the tokenizer cut to one less, and put the marker in afterwards.
        first = [cls, vocabulary["[unused0]"], *reference.tokens(query, vocabulary)[:29], sep]
        second = [cls, vocabulary["[unused1]"], *reference.tokens(passage, vocabulary)[: longest - 3], sep]
        real = len(first)
        q = vectors(first + [mask] * (32 - real), seen=real)
        d = vectors(second, seen=len(second))[[token not in skipped for token in second]]
        return (q @ d.T).max(1).sum()

    return score


LATE_PAIRS = [
    *SOME,
    (QUERY, "... , , !"),
    ("cat " * 40, "cat"),
    ("why does the small dog eat old red fish " * 4, "river " * 700),
]


def test_colbert_is_the_authors(rerankers, folders):
    wanted = colbert(folders[COLBERT])
    assert_close(rerankers[COLBERT].predict(LATE_PAIRS), [wanted(*pair) for pair in LATE_PAIRS])


def test_colbert_is_sentence_transformers(rerankers, folders):
    from sentence_transformers import MultiVectorEncoder

    peer = MultiVectorEncoder(str(folders[COLBERT]), device="cpu")
    pairs = [pair for pair in SOME if pair[0] == QUERY]
    queries = peer.encode_query([QUERY])
    passages = peer.encode_document([text for _, text in pairs])
    wanted = [float((queries[0] @ passage.T).amax(1).sum()) for passage in passages]
    assert_close(rerankers[COLBERT].predict(pairs), wanted)


def test_colbert_at_another_length(folders):
    wanted = colbert(folders[COLBERT])
    short = load(folders[COLBERT], max_length=20)
    assert_close(short.predict(LATE_PAIRS), [wanted(*pair, longest=20) for pair in LATE_PAIRS])
    assert (short.counts.cut_passages, short.counts.cut_queries) == (4, 2)


def test_each_query_of_a_batch_is_encoded_once(rerankers):
    family, seen = rerankers[COLBERT].backend.family, []
    handle = family.model["body"].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[0]))
    try:
        rerankers[COLBERT].predict([(query, f"{text} cat") for query in ("cat", "flea") for text in TEXTS])
    finally:
        handle.remove()
    assert seen == [2, 12]


def test_colbert_takes_tokenized_passages(rerankers):
    backend = rerankers[COLBERT].backend
    tokenized = []
    for query, text in LATE_PAIRS:
        ids = backend.encoder.tokenizer.encode(text, add_special_tokens=False).ids
        tokenized.append((query, Tokens(np.array(ids, dtype="<i4").tobytes())))
    assert score(backend, tokenized).tobytes() == score(backend, LATE_PAIRS).tobytes()
    assert backend.vocabulary == vocabulary(backend.encoder.tokenizer)


@pytest.mark.parametrize("name", PROMPTED)
def test_prompts_take_no_tokens(rerankers, folders, name):
    """A passage's tokens depend on what is around it."""
    backend = rerankers[name].backend
    assert backend.vocabulary is None
    with pytest.raises(TypeError, match="takes texts and no tokens"):
        backend.tokenize(["the flea"])
    with pytest.raises(ValueError, match="windows are cut by tokens, and .* takes texts only"):
        Windows(rerankers[name])


# -------------------------------------------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_has_its_head_in_float32(folders, rerankers, name):
    half = load(folders[name], dtype="bfloat16")
    family = half.backend.family
    head = family.model["linear"] if isinstance(family, LateInteraction) else getattr(family.model, "lm_head", None)
    assert head is None or {weight.dtype for weight in head.parameters()} == {torch.float32}
    scores, exact = half.predict(PAIRS), rerankers[name].predict(PAIRS)
    assert (torch.tensor(scores).bfloat16().float().numpy() != scores).any(), "scores in half precision"
    assert np.corrcoef(scores, exact)[0, 1] > 0.9


@pytest.mark.parametrize("name", [MONOT5, QWEN3, COLBERT])
def test_without_memory_a_batch_goes_through_in_parts(rerankers, folders, monkeypatch, name):
    expected = rerankers[name].predict(PAIRS)
    plain, most = TorchBackend._forward, 700

    def forward(self, pairs):
        if len(pairs) * int(pairs.lengths.max()) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(self, pairs)

    monkeypatch.setattr(TorchBackend, "_forward", forward)
    with load(folders[name], batch_tokens=4000) as reranker, pytest.warns(OutOfMemoryWarning):
        assert reranker.predict(PAIRS) == pytest.approx(expected, abs=1e-4)
        assert reranker.backend.fits <= most


def moved(folder, parent):
    """The same files where neither the organisation nor the name says what they are."""
    return shutil.copytree(folder, parent / "my-reranker")


@pytest.mark.parametrize("name", [MONOT5, QWEN3, MXBAI, COLBERT])
def test_a_folder_has_to_be_known(rerankers, folders, tmp_path, name):
    folder = moved(folders[name], tmp_path)
    with pytest.raises(ValueError) as error:
        load(folder)
    family = catalogue()[name].family
    assert re.search(r"nothing says how its authors score .* such as known_as='(.*)'\.$", one_line(error))
    assert catalogue()[str(error.value).split("'")[-2]].family == family
    assert load(folder, known_as=name).predict(SOME).tobytes() == rerankers[name].predict(SOME).tobytes()


def test_a_language_model_with_a_classifiers_head_needs_its_prompt(folders, tmp_path):
    folder = moved(folders[QWEN3], tmp_path)
    config = Qwen3Config.from_pretrained(folder, num_labels=1, pad_token_id=0)
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    with pytest.raises(ValueError) as error:
        load(folder)
    assert "nothing says which prompt it was trained with: use backend='sentence-transformers'" in one_line(error)


@pytest.mark.parametrize("name", [BGE, GTE])
def test_classifiers_need_not_be_known(rerankers, folders, tmp_path, name):
    folder = moved(folders[name], tmp_path)
    assert load(folder).predict(SOME).tobytes() == rerankers[name].predict(SOME).tobytes()


@pytest.mark.parametrize(
    ("name", "known_as", "told"),
    [
        (BGE, QWEN3, "is a XLMRobertaForSequenceClassification, and cannot be read as Qwen/Qwen3-Reranker-0.6B"),
        (QWEN3, MONOT5, "is a Qwen3ForCausalLM, and cannot be read as castorini/monot5-base-msmarco, which is of the"),
        (QWEN3, BGE, "is a Qwen3ForCausalLM, and nothing says how its authors score with it"),
    ],
)
def test_known_as_what_it_is_not(folders, tmp_path, name, known_as, told):
    with pytest.raises(ValueError) as error:
        load(moved(folders[name], tmp_path), known_as=known_as)
    assert told in one_line(error)


@pytest.mark.parametrize("name", [MONOT5, QWEN3, COLBERT])
def test_a_head_is_for_classifiers(folders, name):
    with pytest.raises(ValueError) as error:
        load(folders[name], head="margin")
    assert "head='margin' is for sequence classifiers" in one_line(error)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (MONOT5, "decoder.block.1.layer.1.EncDecAttention.k.weight"),
        (MONOT5, "encoder.embed_tokens.weight"),
        (QWEN3, "model.layers.1.self_attn.q_norm.weight"),
        (QWEN3, "model.embed_tokens.weight"),
        (BGE, "classifier.out_proj.weight"),
        (GTE, "head.norm.weight"),
        (COLBERT, "bert.encoder.layer.0.output.dense.bias"),
        (COLBERT, "linear.weight"),
    ],
)
def test_a_weight_that_is_missing_is_an_error_that_names_it(folders, tmp_path, name, key):
    folder = moved(folders[name], tmp_path)

    def drop(weights):
        own = weights.pop(key).data_ptr()
        for other in [other for other, value in weights.items() if value.data_ptr() == own]:
            weights.pop(other)  # T5's file has its embeddings under several names

    tiny_checkpoints.change_weights(folder, drop)
    with pytest.raises(ValueError, match=re.escape(key)):
        load(folder, known_as=name)


def test_a_tokenizer_without_the_answers(folders, tmp_path):
    folder = moved(folders[MONOT5], tmp_path)
    sentencepiece_model(folder / "spiece.model", [*tiny_checkpoints.UNCASED], pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    with pytest.raises(ValueError) as error:
        load(folder, known_as=MONOT5)
    assert f"the tokenizer of {folder} has no '▁false'" in one_line(error)


def test_the_fingerprint_knows_the_prompt(folders, tmp_path):
    folder = moved(folders[QWEN3], tmp_path)
    one, other = (load(folder, known_as=known_as).backend.fingerprint for known_as in (QWEN3, MXBAI))
    assert one != other
    assert load(folder, known_as="Qwen/Qwen3-Reranker-8B").backend.fingerprint == one


@pytest.mark.parametrize("name", [QWEN3, COLBERT])
def test_bench_leaves_out_what_it_does_not_know(rerankers, name):
    figures = throughput.measure(rerankers[name], PAIRS, 1)
    assert figures["pairs"] == len(PAIRS) and figures["pairs_per_second"] > 0
    assert "gflops" not in figures and "peak_share" not in figures


@pytest.mark.parametrize("name", [QWEN3, COLBERT])
def test_explain(rerankers, name):
    explanation = pyserini_rerank.explain(rerankers[name], QUERY, TEXTS[1], window=2)
    assert [word for word, _ in explanation.words] == TEXTS[1].split()
    assert explanation.score == pytest.approx(float(rerankers[name].score(QUERY, TEXTS[1:2])[0]), abs=1e-4)


# -------------------------------------------------------------------------------------------------------- the contract


class OfFamily(BackendContract):
    """The contract of a backend that loads a family's small checkpoint."""

    @pytest.fixture(autouse=True)
    def checkpoint(self, folders):
        self.folder = folders[self.name]

    def make(self):
        return TorchBackend(self.folder, device="cpu", batch_tokens=1500, max_length=256)


class TestSeq2Seq(OfFamily):
    name = MONOT5


class TestDecoder(OfFamily):
    name = QWEN3


class TestXLMR(OfFamily):
    name = BGE


class TestModernBert(OfFamily):
    name = GTE


class TestLate(OfFamily):
    name = COLBERT
