"""The backends that run graphs: the same scores as the reference and the torch backend, from the same checkpoints."""

import json
import shutil
import sys

import numpy as np
import onnx
import pyserini_rerank
import pytest
import reference
import tiny_architectures
import tiny_checkpoints
import tiny_families
from onnx import TensorProto, helper, numpy_helper
from pyserini_rerank import automatic
from pyserini_rerank.scoring.backends.onnx_backend import OnnxBackend
from pyserini_rerank.scoring.backends.openvino_backend import OpenVinoBackend
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from pyserini_rerank.scoring.encoding.pair_encoder import INPUTS
from pyserini_rerank.testing import OBVIOUS, PAIRS, BackendContract, score
from transformers import AutoTokenizer

KINDS = [OnnxBackend, OpenVinoBackend]
BERT, TWO_LABELS = "cross-encoder/ms-marco-MiniLM-L-2-v2", "nboost/pt-tinybert-msmarco"
ELECTRA = "cross-encoder/ms-marco-electra-base"
BERT_CAT = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"
QUERY = "How many people live in Berlin?"
TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "cat",
    "the long history of the river and the bank " * 70,  # longer than a window, and than 512 tokens
]
TOO_LONG = pytest.mark.filterwarnings("ignore:.*were cut to:UserWarning")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache that is empty at first: what is exported stays there for the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        shutil.copytree(bundled.folder(), folder / "pyserini-rerank" / bundled.folder().name)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "pyserini-rerank"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("checkpoints")
    made = {name: tiny_checkpoints.build(name, parent) for name in (BERT, TWO_LABELS, ELECTRA, BERT_CAT)}
    return made | {name: tiny_families.build(name, parent) for name in (tiny_families.BGE, tiny_families.GTE)}


class OfGraph(BackendContract):
    @pytest.fixture(autouse=True)
    def checkpoint(self, folders):
        self.folder = folders[BERT]

    def make(self):
        return self.kind(self.folder, batch_tokens=600)


class TestOnnx(OfGraph):
    kind = OnnxBackend


class TestOpenVino(OfGraph):
    kind = OpenVinoBackend


# Torch takes 10 to 60 seconds for each export to ONNX, whatever the size, and OpenVINO 2.
STRESS = {
    OnnxBackend: [TWO_LABELS, ELECTRA, BERT_CAT, tiny_families.BGE, tiny_families.GTE],
    OpenVinoBackend: [ELECTRA, BERT_CAT, tiny_families.BGE],
}
NAMES = [BERT, TWO_LABELS, ELECTRA, BERT_CAT, tiny_families.BGE, tiny_families.GTE]
CASES = [
    pytest.param(kind, name, marks=[pytest.mark.stress] * (name in STRESS[kind])) for kind in KINDS for name in NAMES
]


@pytest.mark.slow
@TOO_LONG
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_scores(kind, name, folders):
    """The reference's where there is one, the torch backend's for XLM-R and ModernBERT."""
    if name in tiny_families.NAMES:
        wanted = pyserini_rerank.load(folders[name], device="cpu", dtype="float32").score(QUERY, TEXTS)
    else:
        wanted = np.array([reference.score(folders[name], name, QUERY, text) for text in TEXTS])
    reranker = pyserini_rerank.load(folders[name], backend=kind.kind)
    np.testing.assert_allclose(reranker.score(QUERY, TEXTS), wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted) > 0.1, "or the comparison says nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_exported_once(kind, folders, cache):
    kind(folders[BERT])
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*/*")}
    assert any(path.name == kind.file for path in before)
    for max_length in (16, 64):
        assert kind(folders[BERT], max_length=max_length).max_length == max_length
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*/*")} == before


@pytest.mark.slow
def test_fingerprints_differ_as_scores_do(folders, reranker):
    made = [kind(folders[BERT], **options) for kind in KINDS for options in ({}, {"max_length": 64})]
    graph = OnnxBackend(bundled.source() / "model.onnx")
    prints = {backend.fingerprint for backend in (*made, graph, reranker.backend)}
    assert len(prints) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_auto_knows_its_dtypes(kind):
    assert automatic.DTYPES[kind.kind] == kind.dtypes


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_the_torch_backends_tokens(kind, folders):
    torch, graph = (pyserini_rerank.load(folders[BERT], backend=name).backend for name in ("torch", kind.kind))
    assert graph.vocabulary == torch.vocabulary
    assert graph.tokenize(TEXTS) == torch.tokenize(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_wheels_int8_file(kind, reranker):
    """It depends on the processor what int8 gives exactly."""
    graph = pyserini_rerank.load(bundled.source() / "model.onnx", backend=kind.kind)
    scores = graph.score(QUERY, TEXTS[:2])
    np.testing.assert_allclose(scores, [8.875, -4.165], rtol=0, atol=0.5)
    assert graph.backend.description["dtype"] == "as in model.onnx"
    assert scores.tobytes() != reranker.score(QUERY, TEXTS[:2]).tobytes(), "these are the floats' scores"


def test_bfloat16_is_another_model_or_float32_and_says_which(folders):
    plain, half = (OpenVinoBackend(folders[BERT], dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert plain.description["dtype"] == "float32"
    equal = score(plain, PAIRS).tobytes() == score(half, PAIRS).tobytes()
    assert (half.description["dtype"] == "float32") == equal == (half.fingerprint == plain.fingerprint)
    np.testing.assert_allclose(score(half, PAIRS), score(plain, PAIRS), rtol=0, atol=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_another_model_near_by(kind, folders, cache):
    """Where groups do not fill the small checkpoint's rows; they do in the real one."""
    plain, small = (kind(folders[BERT], dtype=dtype) for dtype in ("float32", "int8"))
    assert small.description["dtype"] == "int8" and small.fingerprint != plain.fingerprint
    differences = np.abs(score(small, PAIRS) - score(plain, PAIRS))
    assert 0 < differences.max() < 0.3  # 0.21 where a processor has AMX
    [folder] = [path for path in cache.glob(f"{kind.kind}-*-int8") if path.with_name(path.name[:-5]).is_dir()]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    kind(folders[BERT], dtype="int8")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.stress
@pytest.mark.parametrize("kind", KINDS)
def test_int8_of_the_bundled_model(kind, reranker, cache):
    """Its weights take a quarter of the room (the embeddings stay as they are), and its scores keep the order."""
    small = pyserini_rerank.load("bundled", backend=kind.kind, dtype="int8")
    np.testing.assert_allclose(small.score(QUERY, TEXTS[:3]), reranker.score(QUERY, TEXTS[:3]), rtol=0, atol=0.25)
    folders = list(cache.glob(f"{kind.kind}-*"))
    sizes = {folder: sum(path.stat().st_size for path in folder.iterdir()) for folder in folders}
    floats = max(sizes, key=sizes.__getitem__)
    assert sizes[floats.with_name(f"{floats.name}-int8")] < 0.6 * sizes[floats]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nowhere/model.onnx", {}, "the file nowhere/model.onnx is not there"),
        ("bundled", {"max_length": 2}, "max_length is 2: bundled reads pairs of 5 to 512 tokens"),
        ("bundled", {"head": "margin"}, "head='margin' reads 2 labels, and bundled has 1"),
        ("bundled", {"batch_tokens": 0}, "batch_tokens=0"),
        ("bundled", {"dtype": "float16"}, "dtype='float16': this backend has float32, bfloat16, int8."),
        ("some/model.onnx", {"dtype": "int8"}, "dtype='int8' is for checkpoints, and the file some/model.onnx is run"),
    ],
)
def test_errors(name, options, message):
    with pytest.raises((OSError, ValueError)) as error:
        OpenVinoBackend(name, **options)
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_graph(kind, folders, tmp_path):
    folder = shutil.copytree(folders[BERT], tmp_path / "copy")
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match="model.onnx cannot be read") as error:
        kind(folder / "model.onnx")
    assert len(str(error.value).splitlines()) == 1


# ------------------------------------------------------------------------------------------- graphs of other exporters


def graph(
    file, weights, *, rows="n", columns="length", dtype=TensorProto.INT64, inputs=INPUTS, baked=None, outputs=None
):
    """Write a graph as others export it, whose logit is the sum of its tokens' weights, with one for token types."""
    shape = [rows, columns]
    given = [helper.make_tensor_value_info(name, dtype, shape) for name in inputs]
    constants = {
        "weights": weights, "one": np.array([1], dtype=np.int64), "typed": np.array(0.25, dtype=np.float32),
        **({} if baked is None else {"baked": np.array(baked, dtype=np.int64)}),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["weights", "ids"], ["each"]),
    ]
    if "attention_mask" in inputs:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["each", "mask"], ["seen"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["each"], ["seen"]))
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["types", "typed"], ["more"]),
            helper.make_node("Add", ["seen", "more"], ["both"]),
        ]
    last = nodes[-1].output[0]
    if baked is not None:
        nodes.append(helper.make_node("Reshape", [last, "baked"], ["fixed"]))
        last = "fixed"
    outputs = outputs or ["logits"]
    name = "logits" if "logits" in outputs else outputs[0]
    nodes.append(helper.make_node("ReduceSum", [last, "one"], [name], keepdims=1))
    nodes += [helper.make_node("Sigmoid", [name], [other]) for other in outputs if other != name]
    answers = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, 1]) for output in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "classifier", given, answers, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.parent.mkdir(exist_ok=True)
    onnx.save(model, file)
    return file


LENGTH = 40
PLAIN = [(QUERY, text) for text in (*TEXTS, "flea", "the river")] + [("cat", "dog")]


@pytest.fixture(scope="module")
def weights(folders):
    size = json.loads((folders[BERT] / "config.json").read_text())["vocab_size"]
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def by_hand(folder, weights, inputs=INPUTS, length=LENGTH):
    """What the graph gives by the tokenizer's own pairs, each alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for pair in PLAIN:
        tokens = tokenizer(*pair, truncation=True, max_length=length)
        typed = 0.25 * sum(tokens["token_type_ids"]) if "token_type_ids" in inputs else 0
        found.append(weights[tokens["input_ids"]].sum() + typed)
    return np.array(found)


SHAPES = {
    "any": {},
    "int32": {"dtype": TensorProto.INT32},
    "a float": {"dtype": TensorProto.FLOAT},
    "a half": {"dtype": TensorProto.FLOAT16},
    "a double": {"dtype": TensorProto.DOUBLE},
    "uint8": {"dtype": TensorProto.UINT8},
    "no mask": {"inputs": INPUTS[::2]},
    "ids alone": {"inputs": INPUTS[:1], "rows": 2},
    "logits by another name": {"outputs": ["output_0"]},
    "logits after another output": {"outputs": ["probabilities", "logits"]},
    "logits before another output": {"outputs": ["logits", "last_hidden_state"]},
    "one pair": {"rows": 1},
    "four pairs": {"rows": 4},
    "a length": {"columns": LENGTH},
    "one pair of a length": {"rows": 1, "columns": LENGTH},
    "int32, four pairs of a length": {"rows": 4, "columns": LENGTH, "dtype": TensorProto.INT32},
    "no names of sizes": {"rows": None, "columns": None},
    "another order": {"inputs": INPUTS[::-1]},
    "no token types": {"inputs": INPUTS[:2], "rows": 3, "columns": LENGTH},
}


@TOO_LONG
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_graph_of_another_exporter(kind, shape, folders, weights, tmp_path):
    """Of fixed sizes, too: they are filled up, and longer pairs are cut."""
    folder, options = shutil.copytree(folders[BERT], tmp_path / "copy"), SHAPES[shape]
    file = graph(folder / "model.onnx", weights, **options)
    reranker = pyserini_rerank.load(
        file, backend=kind.kind, **({} if options.get("columns") else {"max_length": LENGTH})
    )
    assert reranker.backend.max_length == LENGTH
    wanted = by_hand(folder, weights, options.get("inputs", INPUTS))
    np.testing.assert_allclose(reranker.predict(PLAIN), wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(reranker.predict(PLAIN[:1]), wanted[:1], rtol=0, atol=1e-4)
    shorter = pyserini_rerank.load(file, backend=kind.kind, max_length=16)
    np.testing.assert_allclose(
        shorter.predict(PLAIN), by_hand(folder, weights, options.get("inputs", INPUTS), 16), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_is_not_as_long(kind, folders, weights, tmp_path):
    folder = shutil.copytree(folders[BERT], tmp_path / "copy")
    file = graph(folder / "model.onnx", weights, columns=LENGTH)
    with pytest.raises(ValueError, match=f"max_length is 41: .* reads pairs of 5 to {LENGTH} tokens"):
        kind(file, max_length=41)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_cannot_be_right(kind, folders, weights, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folders[BERT] / name, tmp_path)
    file = graph(tmp_path / "model.onnx", weights, columns=LENGTH, inputs=INPUTS[::2])
    with pytest.raises(ValueError, match="has one length and no attention_mask: padding would count as text") as error:
        kind(file)
    assert len(str(error.value).splitlines()) == 1
    graph(file, weights, outputs=["a", "b"])
    with pytest.raises(ValueError, match="its outputs are a, b, and none is called logits$"):
        kind(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_whose_size_is_not_said(kind, folders, weights, tmp_path):
    """An exporter that met one shape alone has it somewhere inside."""
    folder = shutil.copytree(folders[BERT], tmp_path / "copy")
    file = graph(folder / "model.onnx", weights, baked=[1, LENGTH])
    with pytest.raises(ValueError, match="^the graph .*model.onnx cannot be read: ") as error:
        kind(file)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_of_something_else(kind, folders, weights, tmp_path):
    folder = shutil.copytree(folders[BERT], tmp_path / "copy")
    file = graph(folder / "model.onnx", weights, inputs=(*INPUTS, "position_ids"))
    with pytest.raises(ValueError, match="asks for position_ids: it is no graph of a sequence classifier"):
        kind(file)


@TOO_LONG
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("below", ["onnx", "openvino", "quantized"])
def test_a_graph_one_folder_below(kind, below, folders, weights, tmp_path, monkeypatch):
    """As Optimum and sentence-transformers lay a checkpoint out; the files above count as if they lay beside it."""
    folder = shutil.copytree(folders[BERT], tmp_path / "copy")
    file = graph(folder / below / "model.onnx", weights)
    tiny_architectures.change(folder, "tokenizer_config.json", model_max_length=LENGTH)
    wanted = by_hand(folder, weights)
    monkeypatch.chdir(folder / below)
    for name in (file, "model.onnx", f"../{below}/model.onnx"):
        np.testing.assert_allclose(
            pyserini_rerank.load(name, backend=kind.kind).predict(PLAIN), wanted, rtol=0, atol=1e-4
        )
    # Its own files come first.
    shutil.copytree(folders[BERT], folder / below, dirs_exist_ok=True)
    assert kind(file).max_length == 512


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_without_files(kind, weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no checkpoint .it has no config.json.") as error:
        kind(graph(tmp_path / "onnx" / "model.onnx", weights))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_other_families_are_refused(kind, tmp_path):
    folder = tiny_families.build(tiny_families.MONOT5, tmp_path)
    with pytest.raises(ValueError, match=f"is no sequence classifier, and backend='{kind.kind}' runs no other"):
        kind(folder)


@pytest.mark.parametrize(
    ("package", "kind"), [("onnx", "onnx"), ("onnxruntime", "onnx"), ("onnxscript", "onnx"), ("openvino", "openvino")]
)
def test_a_package_that_is_not_there(package, kind, monkeypatch, tmp_path):
    folder = tiny_checkpoints.build(BERT, tmp_path, seed=1)  # has not been exported
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"pyserini_rerank.scoring.backends.{kind}_backend")
    with pytest.raises(ImportError) as error:
        pyserini_rerank.load(folder, backend=kind)
    assert str(error.value) == f"this backend needs {package}: `pip install 'pyserini-rerank[{kind}]'`."


@pytest.mark.slow
def test_both_know_relevance():
    query, good, bad = OBVIOUS
    for kind in KINDS:
        better, worse = score(kind(bundled.source() / "model.onnx"), [(query, good), (query, bad)])
        assert better > worse
