"""Text encoders made smaller: each agrees with the one it was made from as far as its method allows."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file
from test_huggingface import WORDS, save_bert
from test_sentence_transformer import save_dense, save_modules

from gnnrec.datasets import Interactions
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.compact import fit_compact
from gnnrec.encoders.fitted.compact_ways import CompactConfig
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.distilled import DistilledConfig, fit_distilled
from gnnrec.encoders.fitted.onnx_model import FILE, balance
from gnnrec.encoders.huggingface import HuggingFaceTextEncoder
from gnnrec.errors import UserError


def texts() -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS[4:], size=random.integers(1, 9))) for _ in range(120)]


def corpus() -> Corpus:
    none = Interactions(user=np.zeros(0, np.int32), item=np.zeros(0, np.int32), num_users=1, num_items=120)
    return Corpus(contents=texts(), train=none, val=none, device=torch.device("cpu"), audio_seconds=30)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with weights large enough that what it gives depends on the text; behind it a linear layer, and
    normalised, to see that these are kept."""
    folder = tmp_path_factory.mktemp("base")
    model = save_bert(folder)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(4)
            elif "LayerNorm.weight" in name:
                weight[3] = 6  # one dimension far larger than the others, as in models that were trained
    model.save_pretrained(folder)
    save_modules(folder, "Transformer", "Pooling", "Dense", "Normalize")
    save_dense(folder / "2_Dense", (16, 12), "linear.Identity")
    return folder


def made(base: Path, folder: Path, how: str, **more: float) -> Encoder:
    settings = CompactConfig(base=str(base), how=how, **more)  # type: ignore[arg-type]
    folder.mkdir()
    facts = fit_compact(corpus(), settings, folder)
    facts |= {"kind": "compact", "modality": "text", "settings": {"how": how}}
    (folder / "encoder.json").write_text(json.dumps(facts))
    return open_encoder("text", str(folder))


def cosines(encoder: Encoder, base: Path) -> np.ndarray:
    """Of what both give to each text; the base is normalised, and so has to be what came of it."""
    found, expected = encoder.encode(texts()), open_encoder("text", str(base)).encode(texts())
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    return (found * expected).sum(axis=1)


@pytest.fixture(scope="module")
def int8(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compact") / "int8"
    made(base, folder, "onnx_int8")
    return folder


@pytest.mark.parametrize(("how", "least"), [("onnx_fp32", 0.99999), ("bf16", 0.99)])
def test_what_only_rounds_agrees(base: Path, tmp_path: Path, how: str, least: float) -> None:
    assert cosines(made(base, tmp_path / how, how), base).min() > least


def test_int8_agrees_and_its_weights_are_int8(base: Path, int8: Path) -> None:
    assert cosines(open_encoder("text", str(int8)), base).min() > 0.9
    graph = onnx.load(int8 / FILE).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == 2 * 5 and kinds.count("MatMulNBits") == 2  # of two layers
    large = [tensor for tensor in graph.initializer if np.prod(tensor.dims) >= 16 * 10 and tensor.dims != [32, 16]]
    assert {tensor.data_type for tensor in large} <= {TensorProto.INT8, TensorProto.UINT8}
    assert not (int8 / "model.safetensors").exists()


def test_int8_gives_texts_in_the_order_they_came_in(int8: Path) -> None:
    encoder = open_encoder("text", str(int8))
    both = encoder.encode(["a red car and a blue house and a car", "car"] * 10)  # more than one go, of two lengths
    assert np.allclose(both[::2], encoder.encode(["a red car and a blue house and a car"]), atol=0.02)
    assert np.allclose(both[1::2], encoder.encode(["car"]), atol=0.02)
    assert np.abs(both[0] - both[1]).max() > 0.1


def test_balancing_changes_nothing_but_what_is_large(base: Path) -> None:
    encoder = HuggingFaceTextEncoder(base, "base", torch.device("cpu"))
    before = encoder.encode(texts())
    ratios = []
    for _ in range(2):
        seen = []
        dense = encoder.model.encoder.layer[1].intermediate.dense
        linear = dense if isinstance(dense, torch.nn.Linear) else dense.linear
        hook = linear.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
        encoder.encode(texts())
        hook.remove()
        top = torch.cat([values.flatten(0, 1) for values in seen]).abs().amax(0)
        ratios.append(float(top.max() / top.median()))
        if not isinstance(dense, torch.nn.Linear):
            break
        balance(encoder, texts(), 0.75)
    assert np.allclose(encoder.encode(texts()), before, atol=1e-4)
    assert ratios[1] < ratios[0] / 2


def test_pruning_leaves_the_asked_share_of_zeros(base: Path, tmp_path: Path) -> None:
    encoder = made(base, tmp_path / "pruned", "pruned", share=0.25)
    weights, whole = load_file(tmp_path / "pruned" / "model.safetensors"), load_file(base / "model.safetensors")
    linear = [name for name in whole if name.endswith("weight") and "encoder.layer" in name and whole[name].ndim == 2]
    assert len(linear) == 12
    for name in linear:
        zero = weights[name] == 0
        assert zero.sum() == whole[name].numel() // 4
        assert whole[name][zero].abs().max() <= whole[name][~zero].abs().min()
        assert torch.equal(weights[name][~zero], whole[name][~zero])
    assert cosines(encoder, base).min() > 0.5


def test_a_distilled_encoder_comes_nearer_to_its_teacher(base: Path, tmp_path: Path) -> None:
    settings = DistilledConfig(base=str(base), layers=1, epochs=6, batch_size=16, learning_rate=3e-3)
    facts = fit_distilled(corpus(), settings, tmp_path)
    assert facts["distance"]["after"] < facts["distance"]["before"] / 2
    (tmp_path / "encoder.json").write_text(json.dumps(facts | {"kind": "distilled", "modality": "text"}))
    assert json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"] == 1
    assert 1 - cosines(open_encoder("text", str(tmp_path)), base).mean() < facts["distance"]["before"]
    with pytest.raises(UserError, match="encoder.layers: found 2; allowed: less than the 2"):
        fit_distilled(corpus(), DistilledConfig(base=str(base), layers=2), tmp_path / "new")


def test_what_was_made_here_is_no_base(base: Path, int8: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which was made here; allowed: a model of Hugging Face"):
        fit_compact(corpus(), CompactConfig(base=str(int8)), tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"how": "int4"}, "encoder.how: found 'int4'; allowed: onnx_int8, onnx_fp32, bf16, pruned"),
        ({"share": 1.0}, "encoder.share: found 1.0"),
        ({"balance": 2.0}, "encoder.balance: found 2.0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        CompactConfig(**settings)  # type: ignore[arg-type]


def refused(int8: Path, content: bytes, said: str) -> None:
    whole = (int8 / FILE).read_bytes()
    (int8 / FILE).write_bytes(content)
    try:
        with pytest.raises(UserError, match=said) as caught:
            open_encoder("text", str(int8))
        assert "\n" not in str(caught.value)
    finally:
        (int8 / FILE).write_bytes(whole)


def test_a_file_that_is_broken_is_one_line(int8: Path) -> None:
    whole = (int8 / FILE).read_bytes()
    refused(int8, whole[: len(whole) // 2], "found no ONNX model")
    refused(int8, b"not a model", "found no ONNX model")
    refused(int8, b"", "cannot be run")


def test_operators_and_files_from_elsewhere_are_refused(int8: Path) -> None:
    model = onnx.load(int8 / FILE)
    branch = helper.make_graph([helper.make_node("Run", [], ["x"], domain="evil")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["input_ids"], ["y"], then_branch=branch, else_branch=branch))
    refused(int8, model.SerializeToString(), "found the operator evil.Run; allowed: those of onnxruntime")
    model = onnx.load(int8 / FILE)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    refused(int8, model.SerializeToString(), "found weights in another file; allowed: one file")


INPUTS = ("input_ids", "attention_mask")


def graph_of(*nodes: onnx.NodeProto, **constants: list[int]) -> bytes:
    """A model that takes what the tokenizer gives; its nodes have `ids` [n, t] as floats, and give `tokens`."""
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in INPUTS]
    made = [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)]
    held = [helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in constants.items()]
    ids = helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT)
    graph = helper.make_graph([ids, *nodes], "graph", given, made, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_a_graph_that_gives_something_else_than_tokens_is_refused(int8: Path) -> None:
    mean = helper.make_node("ReduceMean", ["ids"], ["tokens"], axes=[1], keepdims=1)  # [n, 1]
    refused(int8, graph_of(mean), r"model.onnx cannot be run: found float32 \[1, 1\]; expected float32 \[1, 3, 'd'\]")
    refused(int8, graph_of(mean).replace(b"attention_mask", b"attention_more"), "found the input 'attention_more'; ")
    one = helper.make_node("Reshape", ["ids", "shape"], ["tokens"])  # for any text as many tokens
    refused(int8, graph_of(one, shape=[1, 1, -1]), r"found float32 \[1, 1, 3\]; expected float32 \[1, 3, 'd'\]")


def test_a_graph_that_fails_at_a_later_text_is_one_line_too(base: Path, tmp_path: Path) -> None:
    made(base, tmp_path / "fp32", "onnx_fp32")
    save_modules(tmp_path / "fp32", "Transformer", "Pooling", "Normalize")  # of however many dimensions
    node = helper.make_node("Reshape", ["ids", "shape"], ["tokens"])
    (tmp_path / "fp32" / FILE).write_bytes(graph_of(node, shape=[1, 3, 1]))
    encoder = open_encoder("text", str(tmp_path / "fp32"))  # which tries a text of one word
    with pytest.raises(UserError, match=r"fp32:compact@\S+: model.onnx cannot be run: ") as caught:
        encoder.encode(texts()[:3])
    assert "\n" not in str(caught.value)


def test_names_that_are_no_text_are_refused_without_a_word_on_stdout(
    int8: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = helper.make_node("Reshape", ["ids", "shapes"], ["tokens"])  # there is none
    refused(int8, graph_of(node).replace(b"shapes", b"\xff\xfehape"), "cannot be run: ")
    assert capsys.readouterr().out == ""
