"""Building a list of nodes: equal ones once, constants folded, trivial arithmetic left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.kernels.program.ir import POINTWISE, ROW, Node, Shape, Signature

COMMUTATIVE = frozenset(("add", "mul", "max", "min", "eq"))
IDENTITIES = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0}  # x op this is x

FOLD: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0.0),
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "abs": np.abs,
    "recip": np.reciprocal,
    "softplus": lambda a: np.where(a > 20, a, np.log1p(np.exp(a))),
    "stop": lambda a: a,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "where": lambda m, a, b: np.where(m != 0, a, b),
    "dsigmoid": lambda a, b: a * b * (1 - b),
    "dtanh": lambda a, b: a * (1 - b * b),
    "drelu": lambda a, b: np.where(b > 0, a, 0.0),
    "dabs": lambda a, b: a * np.sign(b),
    "lerp": lambda a, b, c: c + a * (b - c),
}


class Graph:
    """A growing list of nodes over the leaves of a signature."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.nodes: list[Node] = []
        self.shapes: list[Shape] = []
        self._known: dict[Any, int] = {}

    def constant(self, value: float) -> int:
        """The node of a number."""
        return self.add(Node("const", value=float(value)))

    def number(self, index: int) -> float | None:
        """The value of a node that is a number, else None."""
        node = self.nodes[index]
        return node.value if node.op == "const" else None

    def emit(self, op: str, *args: int | float) -> int:
        """The node of an elementwise operation or reduction; numbers may stand for constants."""
        operands = [self.constant(a) if isinstance(a, float) else a for a in args]
        if op in POINTWISE or op in FOLD:
            if op not in ("max", "min"):  # with a number they are clamps, of another gradient
                operands = self._plain(operands)
            if (known := self._folded(op, operands)) is not None:
                return known
            if op in COMMUTATIVE and self.number(operands[0]) is not None:
                operands.reverse()
            if (simple := self._simplified(op, operands)) is not None:
                return simple
        return self.add(Node(op, tuple(operands)))

    def expand(self, index: int, size: str) -> int:
        """The node spread over a size, itself if it already is."""
        if self.shapes[index] == (Shape("row") if size == ROW else Shape("unit", size)):
            return index
        return self.add(Node("expand", (index,), size=size))

    def add(self, node: Node) -> int:
        """The index of a node, a new one unless there is an equal one."""
        args = tuple(sorted(node.args)) if node.op in COMMUTATIVE else node.args
        value = float(node.value).hex()
        key = (node.op, args, value, node.source, node.blocks, node.size, node.init)
        if key not in self._known:
            shape = self.shape(node)
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
            self.shapes.append(shape)
        return self._known[key]

    def shape(self, node: Node) -> Shape:
        """The shape a node would have."""
        return self.signature.shape(node, [self.shapes[a] for a in node.operands()])

    def _plain(self, operands: list[int]) -> list[int]:
        """Constants instead of constants spread over units, where another operand has the units."""
        spread = [
            self.nodes[i].op == "expand" and self.nodes[self.nodes[i].args[0]].op == "const"
            for i in operands
        ]
        sized = any(
            self.shapes[i].kind == "unit" and not s for i, s in zip(operands, spread, strict=True)
        )
        if not sized:
            return operands
        return [self.nodes[i].args[0] if s else i for i, s in zip(operands, spread, strict=True)]

    def _folded(self, op: str, operands: list[int]) -> int | None:
        values = [self.number(i) for i in operands]
        if any(value is None for value in values):
            return None
        with np.errstate(all="ignore"):
            folded = FOLD[op](*(np.float64(value) for value in values if value is not None))
        return self.constant(float(folded))

    def _simplified(self, op: str, operands: list[int]) -> int | None:
        first, last = self.nodes[operands[0]], self.nodes[operands[-1]]
        if op == "neg" and first.op in ("neg", "sub"):
            return first.args[0] if first.op == "neg" else self.emit("sub", *reversed(first.args))
        if op in ("add", "sub") and last.op == "neg":
            return self.emit("sub" if op == "add" else "add", operands[0], last.args[0])
        if op == "add" and first.op == "neg":
            return self.emit("sub", operands[1], first.args[0])
        if len(operands) != 2:
            return None
        left, right = self.number(operands[0]), self.number(operands[1])
        if op in IDENTITIES and right == IDENTITIES[op]:
            return operands[0]
        if op == "mul" and right == -1.0:
            return self.emit("neg", operands[0])
        if op == "sub" and left == 0.0:
            return self.emit("neg", operands[1])
        return None
