"""Cross-encoders of several modules: the scores of sentence-transformers on the same folder, or an error by name."""

import json
import re
import shutil

import numpy as np
import onnx
import pyserini_rerank
import pytest
import tiny_checkpoints
import tiny_modular
import torch
from onnx import TensorProto, helper, numpy_helper
from pyserini_rerank.scoring.architectures import classifier
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.testing import BackendContract
from sentence_transformers import CrossEncoder
from tiny_architectures import change
from tiny_modular import BODIES, CHAINS, POOLINGS, build

pytestmark = pytest.mark.filterwarnings("ignore:.*were cut to:UserWarning")
QUERY = "How many people live in Berlin?"
TEXTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "a river " * 14,
    "cat",
    "dog",
    "the long history of the river and the bank " * 12,
]
PAIRS = [(QUERY, text) for text in TEXTS] + [("flea", "the flea"), ("why is the small dog old " * 20, "cat " * 90)]
WEIGHTS = "model.safetensors"
ETTIN = ("modernbert", "cls", "three")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Build a checkpoint of a body, a pooling and a chain when it is asked for."""
    parent, made = tmp_path_factory.mktemp("modular"), {}

    def folder(*parts):
        if parts not in made:
            made[parts] = build(parent, *parts)
        return made[parts]

    return folder


@pytest.fixture
def copied(folder_of, tmp_path):
    return shutil.copytree(folder_of(*ETTIN), tmp_path / "copy")


def expected(folder, max_length=None):
    model = CrossEncoder(str(folder), device="cpu", max_length=max_length)
    return model.predict(PAIRS, batch_size=3, activation_fn=torch.nn.Identity())


def load(folder, **options):
    return pyserini_rerank.load(folder, **{"device": "cpu", "dtype": "float32", **options})


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# ------------------------------------------------------------------------------------------------------- the reference


@pytest.mark.slow
@pytest.mark.parametrize("chain", ["one", "three", "five"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("body", BODIES)
def test_the_scores_are_sentence_transformers(folder_of, body, pooling, chain, monkeypatch):
    """Packed, and padded where an architecture does not pack."""
    folder = folder_of(body, pooling, chain)
    wanted = expected(folder, 64)
    assert np.ptp(wanted) > 0.5 and np.ptp(wanted[:3]) > 0.01, "or the comparison says nothing"
    packed = load(folder, max_length=64)
    assert packed.backend.family.packs
    np.testing.assert_allclose(packed.predict(PAIRS), wanted, rtol=0, atol=1e-5)
    monkeypatch.setattr(classifier, "prepare", lambda *_: False)
    padded = load(folder, max_length=64)
    assert not padded.backend.family.packs
    np.testing.assert_allclose(padded.predict(PAIRS), wanted, rtol=0, atol=1e-5)
    theirs = load(folder, backend="sentence-transformers", max_length=64)
    np.testing.assert_allclose(theirs.predict(PAIRS), wanted, rtol=0, atol=1e-5)


def test_what_the_poolings_read_differs(folder_of):
    found = [load(folder_of("bert", pooling, "three")).predict(PAIRS) for pooling in POOLINGS]
    assert min(np.abs(one - other).max() for one in found for other in found if one is not other) > 0.01


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("body", BODIES)
def test_the_last_layer_is_computed_for_what_the_pooling_reads(folder_of, body, pooling):
    reranker, seen = load(folder_of(body, pooling, "three")), []
    name = "mlp.Wo" if body == "modernbert" else "output.dense"
    [*_, last] = [module for key, module in reranker.backend.family.body.named_modules() if key.endswith(name)]
    last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel() // inputs[0].shape[-1]))
    [batch] = reranker.backend.plan(PAIRS[:4]).batches
    reranker.backend.run(batch)
    assert seen == [4 if pooling == "cls" else batch.inputs.lengths.sum()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "pooling"),
    [
        # Each export takes seconds.
        pytest.param(body, pooling, marks=[pytest.mark.stress] * ((body, pooling) != ("modernbert", "mean")))
        for body in BODIES
        for pooling in POOLINGS
    ],
)
@pytest.mark.parametrize("backend", ["openvino", pytest.param("onnx", marks=pytest.mark.stress)])
def test_graphs(folder_of, body, pooling, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = folder_of(body, pooling, "three")
    wanted = expected(folder, 64)
    with pyserini_rerank.load(folder, backend=backend, max_length=64) as reranker:
        np.testing.assert_allclose(reranker.predict(PAIRS), wanted, rtol=0, atol=1e-4)
    with pyserini_rerank.load(folder, backend=backend, max_length=64, dtype="int8") as reranker:
        differences = np.abs(reranker.predict(PAIRS) - wanted)
    assert 0 < differences.max() < 0.15 * np.ptp(wanted)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_graph_of_the_body_alone_is_no_reranker(copied, backend):
    """As exporters write it that do not know of the modules: its vectors would order nothing."""
    size = json.loads((copied / "config.json").read_text())["vocab_size"]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "length"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["n", "length"])
    vectors = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "length", 4])
    table = numpy_helper.from_array(np.ones((size, 4), dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    made = helper.make_graph(nodes, "body", [ids, mask], [vectors], [table])
    (copied / "onnx").mkdir()
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), copied / "onnx/model.onnx"
    )
    with pytest.raises(
        ValueError, match=r"model.onnx cannot be read: .* a vector for each token and no logits"
    ) as error:
        pyserini_rerank.load(copied / "onnx" / "model.onnx", backend=backend)
    assert one_line(error)


def test_half_precision_has_its_head_in_float32(folder_of):
    folder = folder_of("modernbert", "mean", "five")
    half, exact = load(folder, dtype="bfloat16"), load(folder).predict(PAIRS)
    assert {weight.dtype for weight in half.backend.family.model.head.parameters()} == {torch.float32}
    scores = half.predict(PAIRS)
    assert (torch.tensor(scores).bfloat16().float().numpy() != scores).any(), "scores in half precision"
    assert np.corrcoef(scores, exact)[0, 1] > 0.99


def test_two_labels(folder_of):
    folder = folder_of("bert", "mean", "two labels")
    with pytest.raises(ValueError, match="has 2 labels and nothing says which means relevant: pass head='margin'"):
        load(folder)
    logits = expected(folder)
    scores = load(folder, head="margin").predict(PAIRS)
    np.testing.assert_allclose(scores, logits[:, 1] - logits[:, 0], rtol=0, atol=1e-5)


class TestContract(BackendContract):
    @pytest.fixture(autouse=True)
    def checkpoint(self, folder_of):
        self.folder = folder_of("modernbert", "mean", "three")

    def make(self):
        return TorchBackend(self.folder, device="cpu", batch_tokens=600, max_length=256)


# ------------------------------------------------------------------------------------------------------------ the files


@pytest.mark.slow
def test_the_length_is_512_unless_a_longer_one_is_asked_for(folder_of):
    folder = folder_of(*ETTIN)
    assert load(folder).backend.max_length == 512
    long = [("flea", "the long history of the river and the bank " * 300)]
    wanted = CrossEncoder(str(folder), device="cpu", max_length=8192).predict(long, activation_fn=torch.nn.Identity())
    found = load(folder, max_length=8192)
    assert found.backend.plan(long).tokens[0] > 2000
    np.testing.assert_allclose(found.predict(long), wanted, rtol=0, atol=1e-5)
    assert abs(load(folder).predict(long) - wanted).max() > 1e-3
    with pytest.raises(ValueError, match=r"max_length is 8193: .* reads pairs of 5 to 8192 tokens"):
        load(folder, max_length=8193)


def test_weights_in_a_bin(copied):
    wanted = expected(copied)
    for path in [copied, *copied.glob("*_Dense"), *copied.glob("*_LayerNorm")]:
        torch.save(tiny_checkpoints.read_weights(path / "model.safetensors"), path / "pytorch_model.bin")
        (path / "model.safetensors").unlink()
    np.testing.assert_allclose(load(copied).predict(PAIRS), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_old_names_of_the_poolings(folder_of, pooling, tmp_path):
    folder = shutil.copytree(folder_of("bert", pooling, "one"), tmp_path / "old")
    old = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
    keys = {f"pooling_mode_{key}": name == pooling for name, key in old.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **keys}))
    np.testing.assert_allclose(load(folder).predict(PAIRS), expected(folder), rtol=0, atol=1e-5)


def test_a_body_with_a_pooler_that_nothing_reads(folder_of, tmp_path):
    """As BERT's files have it: the weights may be there or not."""
    folder = shutil.copytree(folder_of("bert", "cls", "one"), tmp_path / "copy")
    wanted = expected(folder)

    def change_pooler(weights):
        known = [weights.pop(key) for key in list(weights) if key.startswith("pooler.")]
        if not known:
            weights |= {"pooler.dense.weight": torch.randn(32, 32), "pooler.dense.bias": torch.zeros(32)}

    tiny_checkpoints.change_weights(folder, change_pooler)
    np.testing.assert_allclose(load(folder).predict(PAIRS), wanted, rtol=0, atol=1e-5)


def test_a_prompt(copied):
    change(copied, "config_sentence_transformers.json", prompts={"web": "how long is the "}, default_prompt_name="web")
    wanted = expected(copied)
    np.testing.assert_allclose(load(copied).predict(PAIRS), wanted, rtol=0, atol=1e-5)
    change(copied, "1_Pooling/config.json", include_prompt=False)
    with pytest.raises(ValueError, match="has include_prompt=false in .*1_Pooling/config.json, which this"):
        load(copied)


def test_the_fingerprint_knows_the_modules(copied):
    prints = [load(copied).backend.fingerprint]
    for change_file in (
        lambda: change(copied, "2_Dense/config.json", activation_function="torch.nn.modules.activation.ReLU"),
        lambda: change(copied, "1_Pooling/config.json", pooling_mode="mean"),
        lambda: change_weight(copied / "3_LayerNorm", "norm.bias"),
    ):
        change_file()
        prints.append(load(copied).backend.fingerprint)
        assert load(copied).backend.fingerprint == prints[-1]
    assert len(set(prints)) == 4


def change_weight(folder, key):
    def add(weights):
        weights[key] = weights[key] + 1

    tiny_checkpoints.change_weights(folder, add)


ELSEWHERE = r", which this backend does not read: use backend='sentence-transformers'\.$"
#: The file that is changed, its keys, and what the error says.
REFUSED = {
    "activation": ("2_Dense", {"activation_function": "own.GELU"}, r"the activation 'own.GELU' in .*2_Dense"),
    "activation of torch": ("2_Dense", {"activation_function": "torch.nn.PReLU"}, "the activation 'torch.nn.PReLU'"),
    "no class": ("2_Dense", {"activation_function": 3}, r"the activation 3 in .*2_Dense.config.json"),
    "residual": ("2_Dense", {"use_residual": True}, r"use_residual in .*2_Dense.config.json"),
    "pooling": ("1_Pooling", {"pooling_mode": "weightedmean"}, r"the pooling 'weightedmean' in .*1_Pooling.config"),
    "poolings": ("1_Pooling", {"pooling_mode": ["cls", "mean"]}, r"the pooling \['cls', 'mean'\] in .*1_Pooling"),
    "input": ("4_Dense", {"module_input_name": "tokens"}, "module_input_name='tokens' in .*4_Dense"),
    "output": ("4_Dense", {"module_output_name": "sentence_embedding"}, "no module that writes 'scores' at the end"),
    "early": ("2_Dense", {"module_output_name": "scores"}, "module_input_name='sentence_embedding' in .*3_LayerNorm"),
    "task": ("", {"transformer_task": "fill-mask"}, "transformer_task in its sentence_bert_config.json"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_not_read_is_named(copied, row):
    folder, keys, says = REFUSED[row]
    change(copied, f"{folder}/config.json" if folder else "sentence_bert_config.json", **keys)
    with pytest.raises(ValueError, match=says + ".*" + ELSEWHERE) as error:
        load(copied)
    assert one_line(error)


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
@pytest.mark.parametrize(
    ("place", "kind"), [(1, "own.Pooler"), (2, "sentence_transformers.base.modules.normalize.Normalize"), (4, "a.Own")]
)
def test_a_module_that_is_not_known_is_named(copied, place: int, kind, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    modules = json.loads((copied / "modules.json").read_text())
    modules[place]["type"] = kind
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=rf"has the module {kind} in {place}_.* \(modules.json\){ELSEWHERE}") as error:
        pyserini_rerank.load(copied, backend=backend)
    assert one_line(error)


DENSE, BIASED = "2_Dense/config.json", "4_Dense/config.json"
DAMAGED = {
    "weights of another size": (
        lambda folder: change(folder, DENSE, out_features=16), "2_Dense are .*'linear.weight': .32, 32.*one is damaged"
    ),
    "no size": (lambda folder: change(folder, DENSE, in_features=None), "2_Dense/config.json cannot be read: KeyError"),
    "a bias that is not there": (lambda folder: change(folder, DENSE, bias=True), "2_Dense are .*one is damaged"),
    "a bias that is not said": (lambda folder: change(folder, BIASED, bias=False), "4_Dense are .*one is damaged"),
    "no JSON": (lambda folder: (folder / DENSE).write_text("{"), "2_Dense/config.json cannot be read"),
    "no weights": (
        lambda folder: (folder / "3_LayerNorm" / WEIGHTS).unlink(), "3_LayerNorm has no model.safetensors: copy the"
    ),
    "damaged weights": (lambda folder: (folder / "4_Dense" / WEIGHTS).write_bytes(b"no"), "4_Dense cannot be read"),
    "a folder that is lacking": (
        lambda folder: shutil.rmtree(folder / "3_LayerNorm"), "3_LayerNorm/config.json cannot be read: KeyError: 'dim"
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", DAMAGED)
def test_damage(copied, row):
    damage, says = DAMAGED[row]
    damage(copied)
    with pytest.raises((ValueError, OSError), match=says) as error:
        load(copied)
    assert one_line(error)


def test_modules_that_do_not_fit_together(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("bert", "cls", "five"), tmp_path / "five")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules[:3], *modules[4:]]))
    with pytest.raises(ValueError, match=r"4_Dense/config.json reads vectors of 48 numbers, and the module before it"):
        load(folder)
    (folder / "modules.json").write_text(json.dumps([*modules[:2], *modules[4:]]))
    with pytest.raises(ValueError, match=r"the head of .* reads vectors of 48 numbers, and its transformer gives 32"):
        load(folder)
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    with pytest.raises(ValueError, match="no module that writes 'scores' at the end of its modules.json"):
        load(folder)


@pytest.mark.parametrize("path", ["../other", "/tmp"])
def test_a_folder_that_is_not_the_checkpoints(copied, path):
    modules = json.loads((copied / "modules.json").read_text())
    modules[2]["path"] = path
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(
        ValueError, match=rf"modules.json cannot be read: .* the folder {path} is not one of the"
    ) as error:
        load(copied)
    assert one_line(error)


@pytest.mark.parametrize("key", ["layers.1.attn.Wqkv.weight", "embeddings.tok_embeddings.weight"])
def test_a_weight_of_the_body_that_is_missing(copied, key):
    tiny_checkpoints.change_weights(copied, lambda weights: weights.pop(key))
    with pytest.raises(ValueError, match=re.escape(key)) as error:
        load(copied)
    assert one_line(error)


def test_the_chains_have_the_modules_that_they_are_called_by():
    assert [len(CHAINS[chain]()) for chain in ("one", "three", "five")] == [1, 3, 5]
    assert tiny_modular.HIDDEN == 32
