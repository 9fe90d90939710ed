"""Tracing: a cell's step, run once on proxies, as a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

import torch

from unrolled.cells.cell import Activation, Cell, GatedCell, Gates
from unrolled.kernels.program.graph import Graph
from unrolled.kernels.program.interface import Interface, interface
from unrolled.kernels.program.ir import Node, Program, Shape, ShapeError
from unrolled.kernels.program.operations import OPERATIONS
from unrolled.kernels.program.proxy import MatrixProxy, Proxy, Untraceable, foreign, leaf, number
from unrolled.kernels.program.views import VIEWS

FIXED = (
    "forward",
    "advance",
    "project_input",
    "_gates",
    "bind",
)  # what a traced cell leaves as it is


def trace(cell: Cell, *, zoneout: bool = False) -> Program:
    """The program of one step of ``cell``, in its present mode and with its present options.

    Args:
        cell: a gated cell. Its ``recurrent_mask``, if any, becomes the first given tensor.
        zoneout: whether each field f of the state becomes share_f * previous + (1 - share_f) * new,
            with one given tensor for each field's share, in order, after the mask.

    >>> from unrolled.cells import Elman
    >>> [node.op for node in trace(Elman(3, 4)).nodes]
    ['input', 'state', 'vector', 'product', 'add', 'tanh']

    Raises:
        Untraceable: if the step cannot be a program, with the reason.
    """
    _check_cell(cell)
    assert isinstance(cell, GatedCell)
    try:
        with torch.enable_grad():
            return _trace(cell, zoneout)
    except Untraceable:
        raise
    except Exception as error:  # whatever a step does on objects that are no tensors
        text = " ".join(str(error).split()) or type(error).__name__
        raise Untraceable(f"its step fails while it is recorded: {text}") from error


def _check_cell(cell: Cell) -> None:
    name = type(cell).__name__
    if not isinstance(cell, GatedCell):
        raise Untraceable(f"{name} is no GatedCell")
    for method in FIXED:
        if getattr(type(cell), method) is not getattr(GatedCell, method):
            raise Untraceable(f"{name} has a {method} of its own")
    if not cell.gates:
        raise Untraceable(f"{name} has no gates")


def _trace(cell: GatedCell, zoneout: bool) -> Program:
    given = interface(cell, zoneout=zoneout)
    recorder = Recorder(given)
    bound = cast(Any, cell.bind(recorder.parameters()))
    masked = getattr(cell, "recurrent_mask", None) is not None
    if masked:
        bound.__dict__["recurrent_mask"] = leaf(recorder, "extern", 0)
    fields = range(len(given.signature.state))
    prev = cell.State(*(leaf(recorder, "state", f) for f in fields))
    gates = _gates(recorder, bound, prev)
    following = bound.step(gates, prev)
    nodes = _results(recorder, following)
    if zoneout:
        shares = [recorder.add(Node("extern", source=masked + f)) for f in fields]
        nodes = [_zoned(recorder, *each) for each in zip(shares, fields, nodes, strict=True)]
    return pruned(Program(given.signature, tuple(recorder.nodes), tuple(nodes)))


def _gates(recorder: Recorder, bound: Any, prev: Any) -> Gates:
    signature = recorder.signature
    sums = {name: leaf(recorder, "input", g) for g, name in enumerate(signature.gates)}
    for gate in sums.values():
        gate.input = Proxy(recorder, gate.nodes)
    if signature.recurrent_gates:
        operand = bound.recurrent_input(prev)
        if hasattr(bound, "masked"):
            operand = bound.masked(operand)
        elif bound.recurrent_mask is not None:
            operand = operand * bound.recurrent_mask
        bias = bound.bias_hh if bound.bias else None
        product = recorder.product(operand, bound.weight_hh, bias)
        blocks = (Proxy(recorder, (node,)) for node in product.nodes)
        for name, block in zip(signature.recurrent_gates, blocks, strict=True):
            total = recorder.apply("add", sums[name].input, block)
            total.input, total.recurrent = sums[name].input, block
            sums[name] = total
    return Gates(cast(dict[str, Activation], sums))


def _results(recorder: Recorder, following: Any) -> list[int]:
    state = recorder.signature.state
    if not isinstance(following, tuple) or len(following) != len(state):
        raise Untraceable(f"its step does not return the {len(state)} fields of its state")
    nodes = []
    for value, field in zip(following, state, strict=True):
        if not isinstance(value, Proxy):
            foreign(value)
        expected = Shape("row") if field.size == "row" else Shape("unit", field.size)
        if len(value.nodes) != 1 or value.kind != expected:
            raise Untraceable(f"the new {field.name} is not [rows, {field.size}]")
        nodes.append(value.nodes[0])
    return nodes


def _zoned(recorder: Recorder, share: int, field: int, new: int) -> int:
    previous = recorder.add(Node("state", source=field))
    kept = recorder.emit("mul", share, previous)
    rest = recorder.emit("sub", 1.0, share)
    return recorder.emit("add", kept, recorder.emit("mul", rest, new))


def pruned(program: Program) -> Program:
    """The program with the nodes it needs alone, in the order in which its results need them."""
    order: dict[int, int] = {}
    stack = [(result, False) for result in reversed(program.results)]
    while stack:
        index, ready = stack.pop()
        if index in order:
            continue
        if ready:
            order[index] = len(order)
            continue
        stack.append((index, True))
        stack.extend((a, False) for a in reversed(program.nodes[index].operands()))
    nodes = []
    for index in order:
        n = program.nodes[index]
        args, init = tuple(order[a] for a in n.args), order.get(n.init, -1)
        nodes.append(Node(n.op, args, n.value, n.source, n.blocks, n.size, init))
    return Program(program.signature, tuple(nodes), tuple(order[r] for r in program.results))


class Recorder(Graph):
    """Writes down what is done to proxies."""

    rows = 3  # what a proxy says its number of rows is, if it must be a number

    def __init__(self, given: Interface) -> None:
        super().__init__(given.signature)
        self.numbers, self.dtype, self.device = given.numbers, given.dtype, given.device

    def parameters(self) -> Mapping[str, Any]:
        """A proxy for each parameter of the cell, by name."""
        signature = self.signature
        found: dict[str, Any] = {
            m.name: MatrixProxy(self, i) for i, m in enumerate(signature.matrices)
        }
        for i, vector in enumerate(signature.vectors):
            nodes = [self.add(Node("vector", source=i, blocks=(b,))) for b in range(vector.blocks)]
            found[vector.name] = Proxy(self, nodes)
        for i, name in enumerate(signature.scalars):
            found[name] = leaf(self, "scalar", i)
        return found

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """One of torch's operations."""
        name = name.removesuffix("__").removeprefix("__")
        operation = OPERATIONS.get(name) or VIEWS.get(name)
        if operation is None:
            raise Untraceable(f"it uses {name}, which no program can express")
        for matrix in (a for a in args if isinstance(a, MatrixProxy)):
            if name not in ("linear", "matmul", "mm", "addmm", "t", "transpose", "T", "mT"):
                raise Untraceable(f"it calculates with the matrix {matrix.name} ({name})")
        try:
            result = operation(self, *args, **kwargs)
        except ShapeError as error:
            raise Untraceable(f"it combines shapes that do not match: {error}") from None
        except TypeError as error:
            raise Untraceable(f"it uses {name} in a way no program can express: {error}") from None
        if not torch.is_grad_enabled() and isinstance(result, Proxy) and result.nodes:
            return self.apply("stop", result)
        return result

    def apply(self, op: str, *args: Any) -> Proxy:
        """An elementwise operation, block by block."""
        operands = [self._operand(a) for a in args]
        proxies = [a for a in operands if isinstance(a, Proxy)]
        count = max(len(p.nodes) for p in proxies)
        size = next((p.kind.size for p in proxies if p.kind.kind in ("unit", "vector")), "")
        if any(p.kind.kind == "unit" or p.kind.kind == "vector" for p in proxies):
            operands = [self._spread(a, size) for a in operands]
            proxies = [a for a in operands if isinstance(a, Proxy)]
        for p in proxies:
            whole = p.kind.kind in ("unit", "vector")
            if len(p.nodes) != count and (whole or len(p.nodes) != 1):
                raise Untraceable(f"it combines {len(p.nodes)} and {count} blocks of units ({op})")
        nodes = []
        for block in range(count):
            picked = [
                a if isinstance(a, float) else a.nodes[block if len(a.nodes) > 1 else 0]
                for a in operands
            ]
            nodes.append(self.emit(op, *picked))
        return Proxy(self, nodes, stacked=any(p.stacked for p in proxies))

    def _operand(self, value: Any) -> Proxy | float:
        if isinstance(value, Proxy):
            return value
        plain = number(value)
        return foreign(value) if plain is None else plain

    def _spread(self, value: Proxy | float, size: str) -> Proxy | float:
        if isinstance(value, float) or value.kind.kind != "scalar":
            return value
        return Proxy(self, [self.expand(value.nodes[0], size)])

    def mask(self, value: Proxy) -> Proxy:
        """The value as a boolean."""
        return Proxy(self, value.nodes, mask=True, stacked=value.stacked)

    def units(self, value: Proxy) -> Proxy:
        """The number of units of a value, which is known when sizes are."""
        one = self.add(Node("units", size=value.kind.size))
        return Proxy(self, [self.emit("mul", one, float(len(value.nodes)))])

    def reduce(self, op: str, value: Proxy, dim: Any, keepdim: bool) -> Proxy:
        """A reduction over the units, that is over the last dimension of all blocks."""
        dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
        vector = value.kind.kind == "vector"
        if vector and dims == (None,):
            dims = (-1,)
        if dims not in ((-1,), (value.ndim - 1,)) or value.stacked:
            raise Untraceable(f"it takes the {op} over another dimension than the units")
        if not keepdim and not vector:
            raise Untraceable(f"it takes the {op} over the units without keepdim=True")
        if value.kind.kind == "row":
            return value
        parts = [self.emit(op, node) for node in value.nodes]
        total = parts[0]
        for part in parts[1:]:
            total = self.emit("max" if op == "amax" else "add", total, part)
        if op == "mean" and len(parts) > 1:
            total = self.emit("mul", total, 1 / len(parts))
        return Proxy(self, [total])

    def product(self, value: Any, weight: Any, bias: Any) -> Proxy:
        """The product with a weight, one node for each of its blocks of rows."""
        if not isinstance(value, Proxy) or isinstance(value, MatrixProxy):
            foreign(value)
        if len(value.nodes) != 1 or value.kind.kind != "unit":
            raise Untraceable(f"it multiplies {weight.name} with what is not one block of units")
        matrix = self.signature.matrices[weight.source]
        biases: Sequence[int] = [-1] * matrix.blocks
        if bias is not None:
            if not isinstance(bias, Proxy) or bias.kind.kind != "vector":
                raise Untraceable(f"the bias beside {weight.name} is no vector")
            biases = bias.nodes
            if len(biases) != matrix.blocks:
                raise Untraceable(f"the bias beside {weight.name} is of another size")
        return Proxy(
            self,
            [
                self.add(
                    Node("product", value.nodes, source=weight.source, blocks=(b,), init=biases[b])
                )
                for b in range(matrix.blocks)
            ],
        )

    def size_named(self, number_of_units: Any) -> str:
        """The name of a size given as a number."""
        for name, units in self.numbers.items():
            if units == number_of_units:
                return name
        return _unknown(number_of_units)


def _unknown(number_of_units: Any) -> NoReturn:
    raise Untraceable(f"it makes a tensor of {number_of_units} units, a size no state or gate has")
