"""LSTM and GRU in ONNX Runtime and OpenVINO, from torch's weights: one model of one ONNX operator.

Inputs and outputs are bound to memory once and one thread works, as their manuals advise. OpenVINO is held
to float32, which it would otherwise leave on processors with bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

# ONNX's order of torch's row blocks: i, o, f, c of i, f, g, o; z, r, h of r, z, n.
ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def model(layer: nn.Module, steps: int, batch: int, *, states: bool = False) -> onnx.ModelProto:
    """An ONNX model of a layer of torch.nn's: X [T, B, I] to Y [T, 1, B, H].

    Args:
        layer: nn.LSTM, nn.GRU or nn.RNN (tanh) of one layer and direction.
        states: the initial state is an input too and the final one an output (h, and c of an LSTM).
    """
    kind = type(layer).__name__
    hidden = layer.hidden_size
    order = list(ORDERS[kind])

    def blocks(tensor: Tensor) -> np.ndarray:
        parts = tensor.detach().numpy().reshape(len(order), hidden, -1)
        return np.ascontiguousarray(parts[order].reshape(1, len(order) * hidden, -1))

    bias = np.concatenate([blocks(layer.bias_ih_l0), blocks(layer.bias_hh_l0)], 1)[:, :, 0]
    weights = {"W": blocks(layer.weight_ih_l0), "R": blocks(layer.weight_hh_l0), "B": bias}
    held = ["h", "c"] if kind == "LSTM" else ["h"]
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    inputs = ["X", *weights, "", *(held if states else [])]
    outputs = ["Y", *(f"{name}_n" for name in held if states)]
    node = helper.make_node(kind, inputs, outputs, hidden_size=hidden, **options)

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    given = [value("X", steps, batch, layer.input_size)]
    results = [value("Y", steps, 1, batch, hidden)]
    if states:
        given += [value(name, 1, batch, hidden) for name in held]
        results += [value(f"{name}_n", 1, batch, hidden) for name in held]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], kind, given, results, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def _session(made: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0" if threads == 1 else "1"
    )
    return onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def runtime(layer: nn.Module, x: Tensor, threads: int) -> tuple[Callable[[], object], Tensor]:
    """A call of ONNX Runtime, and where its outputs [T, B, H] come to lie."""
    steps, batch, _ = x.shape
    session = _session(model(layer, steps, batch), threads)
    output = torch.empty(steps, 1, batch, layer.hidden_size)
    binding = session.io_binding()
    _bind(binding.bind_input, "X", x)
    _bind(binding.bind_output, "Y", output)

    def run(_bound: object = (x, output)) -> None:  # alive as long as the call
        session.run_with_iobinding(binding)

    return run, output[:, 0]


def _bind(bind: Callable[..., None], name: str, tensor: Tensor) -> None:
    bind(name, "cpu", 0, np.float32, tuple(tensor.shape), tensor.data_ptr())


def runtime_step(layer: nn.Module, x: Tensor, threads: int) -> tuple[Callable[[], object], Tensor]:
    """A streaming step of ONNX Runtime: two bindings, each of which writes the other's initial state.

    The output of two calls lies in the tensor that is returned, [2, B, H]: of the first, of the second.
    """
    batch, hidden = x.shape[0], layer.hidden_size
    held = ["h", "c"] if isinstance(layer, nn.LSTM) else ["h"]
    session = _session(model(layer, 1, batch, states=True), threads)
    output = torch.empty(2, batch, hidden)
    states = {name: torch.zeros(2, 1, batch, hidden) for name in held}
    bindings = []
    for turn in range(2):
        binding = session.io_binding()
        _bind(binding.bind_input, "X", x[None])
        _bind(binding.bind_output, "Y", output[turn][None, None])
        for name, pair in states.items():
            _bind(binding.bind_input, name, pair[turn])
            _bind(binding.bind_output, f"{name}_n", pair[1 - turn])
        bindings.append(binding)
    first, second = bindings
    run = session.run_with_iobinding

    def two_steps(_bound: object = (x, states, output)) -> None:  # alive as long as the call
        run(first)
        run(second)

    return two_steps, output


def openvino_layer(
    layer: nn.Module, x: Tensor, threads: int
) -> tuple[Callable[[], object], Tensor]:
    """A call of OpenVINO, and its outputs [T, B, H] after it."""
    steps, batch, _ = x.shape
    core = openvino.Core()
    read = core.read_model(model(layer, steps, batch).SerializeToString())
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(read, "CPU", options).create_infer_request()
    output = torch.empty(steps, 1, batch, layer.hidden_size)
    request.set_input_tensor(openvino.Tensor(x.numpy(), shared_memory=True))
    request.set_output_tensor(openvino.Tensor(output.numpy(), shared_memory=True))

    def run(_bound: object = (x, output)) -> None:  # alive as long as the call
        request.infer()

    return run, output[:, 0]
