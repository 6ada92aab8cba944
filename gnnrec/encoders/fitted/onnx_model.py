"""A model as an ONNX file: balanced, exported, quantized, and opened without running anything it brings along.

Letters: n texts or pictures, t tokens, v of the vocabulary, d dimensions; i inputs of a linear layer, o outputs.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnrec.encoders.huggingface import HuggingFaceTextEncoder
from gnnrec.errors import UserError, missing_extra
from gnnrec.untrusted import refusing

FILE = "model.onnx"
DOMAINS = ("", "ai.onnx", "com.microsoft")  # of operators that onnxruntime itself brings
OPSET = 17
FEWEST = 8  # inputs of an output of a convolution that is quantized
MEASURED = 512  # texts on which activations are measured
BATCH = 32
BLOCK = 128  # inputs of a narrowing layer that share a scale
PICTURES = "pictures"  # the input of a network of these


class Balanced(nn.Module):
    """A linear layer whose inputs are divided by what its weights are multiplied with."""

    def __init__(self, linear: nn.Linear, scale: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.inverse: Tensor
        self.register_buffer("inverse", 1 / scale)  # [i]
        linear.weight.data *= scale

    def forward(self, values: Tensor) -> Tensor:
        return self.linear(values * self.inverse)


class Vocabulary(nn.Module):
    """Embeddings of tokens as int8 with a scale a row, which onnxruntime itself gives one scale for all."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        self.rows: Tensor
        self.scale: Tensor
        self.register_buffer("rows", (weight / scale).round().to(torch.int8))  # [v, d]
        self.register_buffer("scale", scale)  # [v, 1]

    def forward(self, ids: Tensor) -> Tensor:
        return self.rows[ids].float() * self.scale[ids]


class Tokens(nn.Module):
    """The model with its inputs in order, as a trace needs them."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *values: Tensor) -> Tensor:
        return self.model(**dict(zip(self.names, values))).last_hidden_state  # [n, t, d]


def balance(encoder: HuggingFaceTextEncoder, texts: Sequence[str], strength: float) -> None:
    """Even out the inputs of every linear layer without a change of what the model gives.

    Activations get one scale for a whole batch, weights one a row, so what is large moves into the weights
    (SmoothQuant, Xiao et al. 2023; with a multiplication of its own, as residuals forbid to fold it into a norm).
    """
    largest: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}  # the very input of the last batch: layers that read the same one share a scale
    layers = {name: module for name, module in encoder.model.named_modules() if isinstance(module, nn.Linear)}

    def watch(name: str) -> Any:
        def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            top = given[0].abs().flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest[name], top) if name in largest else top
            shared[name] = given[0]

        return look

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in layers.items()]
    step = max(1, len(texts) // MEASURED)
    chosen = sorted(texts[::step][:MEASURED], key=len)
    try:
        for start in range(0, len(chosen), BATCH):
            encoder.encode(chosen[start : start + BATCH])
    finally:
        for hook in hooks:
            hook.remove()
    for group in _groups(shared):
        weights = torch.stack([layers[name].weight.detach().abs().amax(0) for name in group]).amax(0)
        activations = torch.stack([largest[name] for name in group]).amax(0)
        scale = activations.clamp(min=1e-5) ** strength / weights.clamp(min=1e-5) ** (1 - strength)
        scale = (scale / scale.mean()).clamp(1e-3, 1e3)
        for name in group:
            parent, _, child = name.rpartition(".")
            encoder.model.get_submodule(parent).register_module(child, Balanced(layers[name], scale.clone()))


def _groups(shared: dict[str, Tensor]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, values in shared.items():
        groups.setdefault(id(values), []).append(name)
    return list(groups.values())


def export(encoder: HuggingFaceTextEncoder, folder: Path, *, quantized: bool) -> None:
    """Write model.onnx of what gives the tokens; pooling stays outside. The model is not to be used afterwards."""
    _onnx()
    model = encoder.model
    model.set_attn_implementation("eager")  # plain products, which the optimizer knows
    if quantized:
        model.set_input_embeddings(Vocabulary(model.get_input_embeddings().weight.detach()))
    inputs = encoder.inputs(["a b c", "a"])
    names = list(inputs)
    # The exporter by torch.export writes what the optimizer of onnxruntime does not recognise.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Tokens(model, names).eval(),
            tuple(inputs.values()),
            str(folder / FILE),
            input_names=names,
            output_names=["tokens"],
            dynamic_axes={name: {0: "n", 1: "t"} for name in [*names, "tokens"]},
            opset_version=OPSET,
            dynamo=False,
        )
    _optimize(folder / FILE, model.config, quantized)
    if quantized:
        with _as_it_was(logging.getLogger()):
            _quantize(folder / FILE)


def export_pictures(network: nn.Module, ready: Tensor, folder: Path) -> None:
    """Write model.onnx of a network from prepared pictures, such as `ready`, to features [n, d]."""
    _onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (ready,),
            str(folder / FILE),
            input_names=[PICTURES],
            output_names=["features"],
            dynamic_axes={PICTURES: {0: "n"}, "features": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )


def quantize_convolutions(folder: Path, batches: Iterator[Tensor]) -> None:
    """Weights and inputs of convolutions that mix all channels to int8, inputs by what they are on `batches`.

    Not the first one, and none of few inputs an output (depthwise): those are cheap and cost the most in accuracy.
    Weights have seven bits, since processors without VNNI add two products of eight in sixteen (NOTES has figures).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Measured(CalibrationDataReader):
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else {PICTURES: batch.numpy()}

    path, folded = folder / FILE, folder / "folded.onnx"
    with _as_it_was(logging.getLogger()):
        quant_pre_process(path, folded, skip_symbolic_shape=True)
        graph = _onnx().load(folded).graph
        inputs = {tensor.name: tensor.dims[1] for tensor in graph.initializer if len(tensor.dims) == 4}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        left_out = [node.name for node in convolutions if inputs.get(node.input[1], 0) < FEWEST]
        quantize_static(
            folded,
            path,
            Measured(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=left_out,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    folded.unlink()


@contextmanager
def _as_it_was(root: logging.Logger) -> Iterator[None]:
    """Silence, and the logging of the program restored: the quantizer sets it up for itself and tells each layer."""
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers


def _optimize(path: Path, config: Any, quantized: bool) -> None:
    """Fuse what a transformer repeats. For int8 not attention, biases or skips: a product with its bias beside it is
    one operator of onnxruntime, and without it two, which is slower than what the fusion saves."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    if quantized:
        options.enable_attention = options.enable_bias_gelu = False
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    sizes = {"num_heads": config.num_attention_heads, "hidden_size": config.hidden_size}
    made = optimizer.optimize_model(str(path), "bert", optimization_options=options, opt_level=0, **sizes)
    made.save_model_to_file(str(path))


def _quantize(path: Path) -> None:
    """Weights to int8 once, activations while it runs: of most layers with one scale for a batch, which is fast; of
    those that narrow (behind a GELU, whose outputs differ most) with a scale for each block of each row."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    onnx = _onnx()
    model = onnx.load(path)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}  # [i, o] of a product's second part
    products = [
        node for node in model.graph.node if node.op_type == "MatMul" and len(sizes.get(node.input[1], ())) == 2
    ]
    narrowing = [node.name for node in products if sizes[node.input[1]][0] > sizes[node.input[1]][1]]
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # else it advises to do so
    part = path.with_suffix(".part.onnx")
    quantize_dynamic(
        model,
        part,
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=narrowing,
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    blocks = MatMulNBitsQuantizer(onnx.load(part), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
    blocks.process()
    onnx.save(blocks.model.model, path)
    part.unlink()


def open_session(folder: Path) -> Any:
    """As many threads as torch has. Raises UserError for what is no such file, needs others, or brings operators."""
    onnx, runtime = _onnx(), _onnxruntime()
    path = folder / FILE
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # that of protobuf
        raise UserError(f"{path}: found no ONNX model; allowed: what fit-encoder wrote") from error
    for node in _nodes([model.graph, *model.functions]):
        if node.domain not in DOMAINS:
            raise UserError(f"{path}: found the operator {node.domain}.{node.op_type}; allowed: those of onnxruntime")
    if any(onnx.external_data_helper.uses_external_data(tensor) for tensor in _tensors(onnx, model)):
        raise UserError(f"{path}: found weights in another file; allowed: one file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4  # what it says it raises, too
    try:  # without the second try that it prints of and that is no other one
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime has a dozen of its own
        raise UserError(f"{path}: cannot be run: {str(error).splitlines()[0]}") from error


def run(session: Any, inputs: Any, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """The first output, [*shape, d]: of texts [n, t], of pictures [n]. Inputs the graph does not use are left out.
    Raises UserError, about `name`, for a graph that takes or gives something else."""
    with refusing(name, f"{FILE} cannot be run"):
        wanted = [one.name for one in session.get_inputs()]
        if more := [one for one in wanted if one not in inputs]:
            raise ValueError(f"found the input {more[0]!r}; allowed: {', '.join(inputs)}")
        found = session.run(None, {one: inputs[one].numpy() for one in wanted})[0]
        if found.dtype != np.float32 or found.ndim != len(shape) + 1 or found.shape[:-1] != shape:
            raise ValueError(f"found {found.dtype} {list(found.shape)}; expected float32 {[*shape, 'd']}")
    return found


def _nodes(graphs: Sequence[Any]) -> Iterator[Any]:
    """Of graphs and functions, those inside branches and loops too."""
    for graph in graphs:
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                yield from _nodes([attribute.g] if attribute.HasField("g") else attribute.graphs)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(inner)


def _tensors(onnx: Any, model: Any) -> Iterator[Any]:
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes([model.graph, *model.functions]):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _onnx() -> Any:
    try:
        import onnx
        import onnx.external_data_helper
    except ImportError as error:
        raise missing_extra("onnx", "onnx") from error
    return onnx


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx", "onnxruntime") from error
    return onnxruntime
