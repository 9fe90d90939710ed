"""Instruction selection: the values that one pointwise program computes, in the engine's operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from unrolled.kernels.program.storage import Decisions

IMMEDIATE = {"add": "addc", "mul": "mulc", "max": "maxc", "min": "minc"}
AGAINST = {"lt": ("ltc", "gtc"), "le": ("lec", "gec"), "eq": ("eqc", "eqc")}  # x op c, c op x


@dataclass
class Instruction:
    """One operation on values.

    Args:
        op: the engine's operation. value: the node it computes; a vector's node for sums over rows.
        args: the nodes it reads. number: its immediate.
    """

    op: str
    value: int
    args: tuple[int, ...]
    number: float = 0.0

    @property
    def sums(self) -> bool:
        """Whether it adds to a vector's gradient instead of computing a value."""
        return self.op in ("vecacc", "vecsum")


class Writer:
    """Writes one program.

    Args:
        made: the step. level: the program's stage. size: its size.
        backward: whether it is the backward pass's.
    """

    def __init__(self, made: Decisions, level: int, size: str, *, backward: bool) -> None:
        self.made, self.graph = made, made.graph
        self.level, self.size, self.backward = level, size, backward
        self.code: list[Instruction] = []
        self.uses: Counter[int] = Counter()
        self.roots: set[int] = set()

    def write(self, roots: Sequence[int], sums: Sequence[tuple[int, int]]) -> list[Instruction]:
        """The instructions for ``roots`` and for sums over rows (vector's node, value)."""
        self.roots = set(roots)
        ends = [*roots, *(value for _, value in sums)]
        self._count(ends)
        done: set[int] = set()
        for vector, value in sums:
            self._sum(vector, value, done)
        for root in roots:
            self._compute(root, done)
        return self.code

    def there(self, index: int) -> bool:
        """Whether a value is read from a plane, not computed here."""
        node = self.graph.nodes[index]
        if node.op == "const" or not self.made.available(index, backward=self.backward):
            return False
        mine = self.made.pointwise(index) and self.made.forward(index) != self.backward
        row_of_unit = self.made.kind(index) == "row" and self.size != "row"
        return not (mine and self.graph.levels[index] == self.level and not row_of_unit)

    def _count(self, ends: Sequence[int]) -> None:
        seen: set[int] = set()
        stack = list(ends)
        for index in ends:
            self.uses[index] += 1
        while stack:
            index = stack.pop()
            if index in seen or self.there(index):
                continue
            seen.add(index)
            for a in self.graph.nodes[index].args:
                self.uses[a] += 1
                stack.append(a)

    def _product(self, index: int) -> tuple[int, int] | None:
        """The factors of a product that is computed here for one use and need not exist alone."""
        node = self.graph.nodes[index]
        once = self.uses[index] == 1 and index not in self.roots
        if node.op != "mul" or not once or self.there(index):
            return None
        if any(self.graph.number(a) is not None for a in node.args):
            return None
        return node.args[0], node.args[1]

    def _sum(self, vector: int, value: int, done: set[int]) -> None:
        factors = self._product(value)
        for a in factors or (value,):
            self._compute(a, done)
        op = "vecacc" if factors else "vecsum"
        self.code.append(Instruction(op, vector, factors or (value,)))

    def _compute(self, index: int, done: set[int]) -> None:
        """Appends the instructions for a value, operands first."""
        stack = [(index, False)]
        while stack:
            current, ready = stack.pop()
            if current in done or self.there(current):
                continue
            instruction = self._select(current)
            if ready:
                done.add(current)
                self.code.append(instruction)
            else:
                stack.append((current, True))
                stack.extend((a, False) for a in reversed(instruction.args))

    def _select(self, index: int) -> Instruction:
        graph, node = self.graph, self.graph.nodes[index]
        numbers = [graph.number(a) for a in node.args]
        if node.op == "const":
            return Instruction("const", index, (), node.value)
        if node.op == "expand":
            if numbers[0] is not None:
                return Instruction("const", index, (), numbers[0])
            return Instruction("copy", index, node.args)
        if len(node.args) == 2:
            left, right = numbers
            if right is not None and (chosen := _beside(node.op, right)):
                return Instruction(chosen[0], index, node.args[:1], chosen[1])
            if left is not None and (op := _before(node.op, left)):
                return Instruction(op, index, node.args[1:], left)
            if left is None and right is None and (fused := self._fuse(index)):
                return fused
        return Instruction(node.op, index, node.args)

    def _fuse(self, index: int) -> Instruction | None:
        """A sum or difference with a product as one instruction."""
        node = self.graph.nodes[index]
        if node.op not in ("add", "sub"):
            return None
        a, b = node.args
        if factors := self._product(b):
            return Instruction("fma" if node.op == "add" else "fnma", index, (*factors, a))
        if factors := self._product(a):
            return Instruction("fma" if node.op == "add" else "fms", index, (*factors, b))
        return None


def _beside(op: str, right: float) -> tuple[str, float] | None:
    """The operation with a number on its right."""
    if op in IMMEDIATE:
        return IMMEDIATE[op], right
    if op == "sub":
        return "addc", -right
    if op == "div" and right != 0:
        return "mulc", 1 / right
    return (AGAINST[op][0], right) if op in AGAINST else None


def _before(op: str, left: float) -> str | None:
    """The operation with a number on its left."""
    if op == "div":
        return "recip" if left == 1.0 else None
    if op == "sub":
        return "rsubc"
    if op in IMMEDIATE:
        return IMMEDIATE[op]
    return AGAINST[op][1] if op in AGAINST else None
