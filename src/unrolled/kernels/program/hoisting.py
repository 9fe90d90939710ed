"""Hoisting: expressions of vectors alone, such as ``sigmoid(self.rate)``, once per call, not per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels.program.ir import Node, Program

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "abs": torch.abs,
    "recip": torch.reciprocal,
    "softplus": F.softplus,
    "stop": torch.detach,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "sum": lambda a: a.sum(-1),
    "mean": lambda a: a.mean(-1),
    "amax": lambda a: a.amax(-1),
}


def hoist(program: Program, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """The values of the program's hoisted vectors, with gradients to the parameters.

    Args:
        program: one step of a cell.
        parameters: a tensor for each vector and scalar of the program's signature, by name.

    Returns:
        A tensor [n] for each of ``program.hoisted``, in order.
    """
    wanted = program.hoisted
    if not wanted:
        return []
    values: dict[int, Any] = {}
    widths: dict[str, int] = {}
    for name, size, blocks in program.signature.vectors:
        widths.setdefault(size, parameters[name].shape[0] // blocks)
    for name, rows, blocks, columns in program.signature.matrices:
        if name in parameters:
            widths.setdefault(rows, parameters[name].shape[0] // blocks)
            widths.setdefault(columns, parameters[name].shape[1])
    for index, (node, shape) in enumerate(zip(program.nodes, program.shapes, strict=True)):
        if index > max(wanted):
            break
        if shape.kind in ("vector", "scalar", "constant"):
            values[index] = _value(program, node, values, parameters, widths)
    return [values[index] for index in wanted]


def _value(
    program: Program,
    node: Node,
    values: Mapping[int, Any],
    parameters: Mapping[str, Tensor],
    widths: Mapping[str, int],
) -> Any:
    if node.op == "const":
        return node.value
    if node.op == "units":
        return float(widths[node.size])
    if node.op == "scalar":
        return parameters[program.signature.scalars[node.source]].reshape(())
    if node.op == "vector":
        vector = program.signature.vectors[node.source]
        return parameters[vector.name].chunk(vector.blocks)[node.blocks[0]]
    args = [values[a] for a in node.args]
    if node.op == "expand":
        return args[0].expand(widths[node.size])
    reference = next((a for a in args if isinstance(a, Tensor)), None)
    if reference is None:
        raise ValueError(f"{node.op} of numbers alone")
    if node.op in ELEMENTWISE:
        return ELEMENTWISE[node.op](*(_tensor(a, reference) for a in args))
    tensors = [_tensor(a, reference) for a in args]
    return _selecting(node.op, tensors, args).to(reference.dtype)


def _tensor(value: Any, reference: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=reference.dtype, device=reference.device)


def _selecting(op: str, tensors: list[Tensor], args: list[Any]) -> Tensor:
    if op == "where":
        return torch.where(tensors[0] != 0, tensors[1], tensors[2])
    if op in ("max", "min"):
        a, b = (args[1], args[0]) if not isinstance(args[0], Tensor) else args
        if isinstance(b, Tensor):
            return torch.maximum(a, b) if op == "max" else torch.minimum(a, b)
        return a.clamp(min=b) if op == "max" else a.clamp(max=b)  # type: ignore[no-any-return]
    return {"lt": torch.lt, "le": torch.le, "eq": torch.eq}[op](*tensors)
