r"""The program of a cell: one time step as values that are each computed once.

A program is a list of *nodes*, every one an operation on earlier nodes, over the leaves of a step: the
input's part of each gate, the fields of the previous state, parameters, given tensors. A value is of one
of five *kinds*: ``unit`` (one number per row and unit, of a size such as H), ``row`` (one per row),
``vector`` (one per unit), ``scalar`` (a parameter of one number) and ``constant``. Sizes are names;
nothing here belongs to torch, and equal cells give equal programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

T = TypeVar("T")

ROW = "row"  # the size of what has one number per row

UNARY = frozenset(
    ("neg", "sigmoid", "tanh", "relu", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "recip")
) | {"softplus", "stop"}
BINARY = frozenset(("add", "sub", "mul", "div", "max", "min", "lt", "le", "eq"))
TERNARY = frozenset(("where",))
REDUCTIONS = ("sum", "mean", "amax")
LEAVES = frozenset(("input", "state", "extern", "vector", "scalar", "const", "units"))
ARITY = (
    dict.fromkeys(LEAVES, 0)
    | dict.fromkeys((*UNARY, *REDUCTIONS, "expand"), 1)
    | dict.fromkeys(BINARY, 2)
    | dict.fromkeys(TERNARY, 3)
)
POINTWISE = UNARY | BINARY | TERNARY


class Shape(NamedTuple):
    """What a value ranges over: a kind, and for units and vectors the name of their number."""

    kind: str
    size: str = ""

    def __str__(self) -> str:
        return self.size if self.kind == "unit" else f"{self.kind} {self.size}".strip()


class Matrix(NamedTuple):
    """A weight [blocks * rows, columns]."""

    name: str
    rows: str
    blocks: int
    columns: str


class Vector(NamedTuple):
    """A parameter [blocks * size]."""

    name: str
    size: str
    blocks: int


class Field(NamedTuple):
    """A field of the state, or a given tensor: [B, size], or [B, 1] where the size is ``row``."""

    name: str
    size: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Args:
        op: what is done.
        args: the nodes it is done to.
        value: the number of a ``const``.
        source: which input, state field, given tensor, vector, scalar or matrix.
        blocks: the block of a vector or product; several for a transposed product.
        size: what an ``expand`` spreads over, or of what ``units`` is the number.
        init: what a product is added to; -1 for nothing.
    """

    op: str
    args: tuple[int, ...] = ()
    value: float = 0.0
    source: int = -1
    blocks: tuple[int, ...] = ()
    size: str = ""
    init: int = -1

    def operands(self) -> tuple[int, ...]:
        """Every node this one needs."""
        return self.args if self.init < 0 else (*self.args, self.init)


class ShapeError(ValueError):
    """Values that do not go together."""


@dataclass(frozen=True)
class Signature:
    """What a step is given: gates, state, parameters, tensors."""

    gates: tuple[str, ...]
    recurrent_gates: tuple[str, ...]
    state: tuple[Field, ...]
    matrices: tuple[Matrix, ...]
    vectors: tuple[Vector, ...]
    scalars: tuple[str, ...] = ()
    externs: tuple[Field, ...] = ()

    def position(self, vector: str) -> int:
        """Where among the vectors that name stands, -1 if nowhere."""
        names = [v.name for v in self.vectors]
        return names.index(vector) if vector in names else -1

    def shape(self, node: Node, args: Sequence[Shape]) -> Shape:
        """The shape of a node's value; ShapeError if its operands do not go together."""
        if node.op in LEAVES:
            return self._leaf(node)
        if node.op in POINTWISE:
            return joined(node.op, args)
        if node.op in REDUCTIONS:
            if args[0].kind not in ("unit", "vector"):
                raise ShapeError(f"{node.op} over the units of a {args[0]}")
            return Shape("row") if args[0].kind == "unit" else Shape("scalar")
        if node.op == "expand":
            return _expanded(node.size, args[0])
        if node.op == "product":
            return self._product(node, args)
        raise ShapeError(f"no operation {node.op!r}")

    def _leaf(self, node: Node) -> Shape:
        op, tables = node.op, {"state": self.state, "extern": self.externs}
        if op in ("const", "units"):
            return Shape("constant")
        if op in tables:
            size = _at(tables[op], node.source, op).size
            return Shape("row") if size == ROW else Shape("unit", size)
        if op == "vector":
            vector = _at(self.vectors, node.source, op)
            _at(range(vector.blocks), node.blocks[0], "block")
            return Shape("vector", vector.size)
        if op == "scalar":
            _at(self.scalars, node.source, op)
            return Shape("scalar")
        _at(self.gates, node.source, op)
        return Shape("unit", self.matrices[0].rows)

    def _product(self, node: Node, args: Sequence[Shape]) -> Shape:
        matrix = _at(self.matrices, node.source, "matrix")
        _at(range(matrix.blocks), node.blocks[0], "block")
        if node.source == 0:
            raise ShapeError(f"{matrix.name} multiplies the input alone")
        if args[0] != Shape("unit", matrix.columns):
            raise ShapeError(f"{matrix.name} multiplies {matrix.columns}, not {args[0]}")
        if len(args) > 1 and args[1] != Shape("vector", matrix.rows):
            raise ShapeError(f"the bias of {matrix.name} is a {args[1]}")
        return Shape("unit", matrix.rows)


def _at(table: Sequence[T], index: int, what: str) -> T:
    if not 0 <= index < len(table):
        raise ShapeError(f"there is no {what} {index}")
    return table[index]


def joined(op: str, args: Iterable[Shape]) -> Shape:
    """The shape of an elementwise operation's result."""
    shapes = [shape for shape in args if shape.kind != "constant"]
    sizes = {shape.size for shape in shapes if shape.size}
    kinds = {shape.kind for shape in shapes}
    if len(sizes) > 1 or ("scalar" in kinds and kinds & {"unit", "row"}):
        raise ShapeError(f"{op} of " + " and ".join(map(str, shapes)))
    if not shapes:
        return Shape("constant")
    if "unit" in kinds or ("row" in kinds and "vector" in kinds):
        return Shape("unit", sizes.pop())
    for kind in ("row", "vector"):
        if kind in kinds:
            return Shape(kind, sizes.pop() if sizes else "")
    return Shape("scalar")


def _expanded(size: str, shape: Shape) -> Shape:
    if shape.kind == "scalar":
        return Shape("vector", size)
    if shape.size not in ("", size) or (size == ROW and shape.kind != "constant"):
        raise ShapeError(f"a {shape} spread over {size}")
    return Shape("row") if size == ROW else Shape("unit", size)


@dataclass(frozen=True)
class Program:
    """One step of a cell: its nodes, and which of them are the fields of the next state."""

    signature: Signature
    nodes: tuple[Node, ...]
    results: tuple[int, ...]

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every node."""
        shapes: list[Shape] = []
        for node in self.nodes:
            shapes.append(self.signature.shape(node, [shapes[a] for a in node.operands()]))
        return tuple(shapes)

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """The names of the sizes that the step itself works on, which :func:`plan` needs as numbers."""
        found = {shape.size for shape in self.shapes} | {self.signature.matrices[0].rows}
        return tuple(sorted(found - {"", ROW}))

    @cached_property
    def hoisted(self) -> tuple[int, ...]:
        """The nodes that are expressions of vectors alone and that the step uses.

        They stand for further vectors, after those of the signature.
        """
        used: dict[int, None] = {}
        for node, shape in zip(self.nodes, self.shapes, strict=True):
            if shape.kind in ("unit", "row"):
                vectors = (a for a in node.operands() if self.shapes[a].kind == "vector")
                used.update(dict.fromkeys(a for a in vectors if self.nodes[a].op != "vector"))
        return tuple(used)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of the program's text, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The program as canonical JSON; :meth:`from_json` reads it."""
        from unrolled.kernels.program.document import write

        return write(self)

    @staticmethod
    def from_json(text: str) -> Program:
        """The program that :meth:`to_json` wrote.

        Raises:
            ValueError: if the text is anything else, saying what is wrong with it.
        """
        from unrolled.kernels.program.document import read

        return read(text)


def check(program: Program) -> None:
    """Refuses a program whose nodes do not go together (ShapeError)."""
    for index, node in enumerate(program.nodes):
        expected = ARITY.get(node.op, 1)
        if len(node.args) != expected or any(not 0 <= a < index for a in node.operands()):
            raise ShapeError(f"node {index}, {node.op!r}, has the wrong operands")
        if node.op in ("vector", "product") and len(node.blocks) != 1:
            raise ShapeError(f"node {index}, {node.op!r}, names {len(node.blocks)} blocks")
        if node.init >= 0 and node.op != "product":
            raise ShapeError(f"node {index}, {node.op!r}, has a bias")
        if node.op in ("expand", "units") and not node.size:
            raise ShapeError(f"node {index}, {node.op!r}, has no size")
    if any(node.op == "units" and node.size not in program.sizes for node in program.nodes):
        raise ShapeError("the number of units of an unknown size")
    if not program.signature.state or len(program.results) != len(program.signature.state):
        raise ShapeError("a program gives each field of its state")
    for result, field in zip(program.results, program.signature.state, strict=True):
        expected_shape = Shape("row") if field.size == ROW else Shape("unit", field.size)
        if not 0 <= result < len(program.nodes) or program.shapes[result] != expected_shape:
            raise ShapeError(f"the new {field.name} is not a {expected_shape}")
