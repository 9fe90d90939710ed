"""One step with sizes as numbers: the graph in which the forward and the backward pass are planned.

A node's *level* is the stage in which its value first can exist: a product or a reduction needs its operand
from an earlier stage, everything elementwise may be of the stage of its latest operand. Leaves are at -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from unrolled.kernels.program.graph import Graph
from unrolled.kernels.program.ir import (
    LEAVES,
    REDUCTIONS,
    ROW,
    Node,
    Program,
    Shape,
    Signature,
    Vector,
    joined,
)

PRODUCTS = frozenset(("product", "tproduct"))
OUTSIDE = PRODUCTS | frozenset(REDUCTIONS)  # what no pointwise program computes
SOURCES = LEAVES | {"carry", "dy"}
FUSED = frozenset(("dsigmoid", "dtanh", "drelu", "dabs", "lerp"))


class StepGraph(Graph):
    """The nodes of both passes, with their levels.

    Args:
        signature: the program's, its hoisted vectors included.
        numbers: the sizes.
    """

    def __init__(self, signature: Signature, numbers: Mapping[str, int]) -> None:
        super().__init__(signature)
        self.numbers = numbers
        self.levels: list[int] = []

    def add(self, node: Node) -> int:
        """The index of a node; see :class:`Graph`."""
        index = super().add(node)
        if index == len(self.levels):
            self.levels.append(self.level(node))
        return index

    def fresh(self, node: Node) -> int:
        """A new node, even if there is an equal one."""
        self.nodes.append(node)
        self.shapes.append(self.shape(node))
        self.levels.append(self.level(node))
        return len(self.nodes) - 1

    def level(self, node: Node) -> int:
        """The first stage in which a node's value can exist."""
        if node.op in SOURCES:
            return -1
        latest = max((self.levels[a] for a in node.args), default=-1)
        level = latest + 1 if node.op in OUTSIDE else max(latest, 0)
        if node.init >= 0:
            chained = self.nodes[node.init].op in PRODUCTS
            level = max(level, self.levels[node.init] + (0 if chained else 1))
        return level

    def shape(self, node: Node) -> Shape:
        """The shape a node would have."""
        if node.op in ("carry", "dy"):
            size = self.signature.state[max(node.source, 0)].size
            return Shape("row") if size == ROW else Shape("unit", size)
        if node.op in FUSED:
            return joined(node.op, [self.shapes[a] for a in node.args])
        if node.op == "tproduct":
            return Shape("unit", self.signature.matrices[node.source].columns)
        if node.op == "product":
            return Shape("unit", self.signature.matrices[node.source].rows)
        return super().shape(node)

    def units(self, index: int) -> float:
        """The number of units that a node's value has."""
        return float(self.numbers[self.shapes[index].size])

    def needed(self, roots: Iterable[int]) -> list[int]:
        """The nodes that the roots need, roots included, in order."""
        found: set[int] = set()
        stack = list(roots)
        while stack:
            index = stack.pop()
            if index not in found:
                found.add(index)
                stack.extend(self.nodes[index].operands())
        return sorted(found)


def step_graph(program: Program, numbers: Mapping[str, int]) -> tuple[StepGraph, list[int]]:
    """The program's step as a graph, and the nodes of its results.

    Hoisted vectors become leaves, sizes numbers, (1 - z) a + z b one operation; what a product
    multiplies is a value that a plane can hold.
    """
    hoisted = {node: i for i, node in enumerate(program.hoisted)}
    vectors = [Vector(f"hoisted {i}", program.shapes[n].size, 1) for n, i in hoisted.items()]
    given = program.signature.vectors
    graph = StepGraph(replace(program.signature, vectors=(*given, *vectors)), numbers)
    uses = _uses(program)
    index: dict[int, int] = {}
    for i, (node, shape) in enumerate(zip(program.nodes, program.shapes, strict=True)):
        if i in hoisted:
            index[i] = graph.add(Node("vector", source=len(given) + hoisted[i], blocks=(0,)))
        elif shape.kind in ("vector", "scalar") and node.op != "vector":
            continue  # inside a hoisted vector
        elif node.op == "units":
            index[i] = graph.constant(float(numbers[node.size]))
        elif node.op == "add" and (mixed := _interpolation(program, uses, node)):
            index[i] = graph.emit("lerp", *(index[a] for a in mixed))
        elif node.op == "product":
            args = (_operand(graph, index[node.args[0]]),)
            init = index.get(node.init, -1)
            index[i] = graph.add(replace(node, args=args, init=init))
        elif node.op in LEAVES:
            index[i] = graph.add(node)
        elif node.op == "expand":
            index[i] = graph.expand(index[node.args[0]], node.size)
        else:
            index[i] = graph.emit(node.op, *(index[a] for a in node.args))
    return graph, [index[r] for r in program.results]


def _operand(graph: StepGraph, index: int) -> int:
    """What a product multiplies: a state as it was, or a value of its own."""
    if graph.nodes[index].op not in SOURCES - {"state"}:
        return index
    return graph.add(Node("expand", (index,), size=graph.shapes[index].size))


def _uses(program: Program) -> list[int]:
    uses = [0] * len(program.nodes)
    for node in program.nodes:
        for a in node.operands():
            uses[a] += 1
    for result in program.results:
        uses[result] += 1
    return uses


def _interpolation(program: Program, uses: list[int], node: Node) -> tuple[int, int, int] | None:
    """(z, b, a) where the node is (1 - z) a + z b and its products are used nowhere else."""
    left, right = (program.nodes[a] for a in node.args)
    if left.op != "mul" or right.op != "mul" or any(uses[a] != 1 for a in node.args):
        return None
    for first, second in ((left, right), (right, left)):
        for f in (0, 1):
            rest = program.nodes[first.args[f]]
            if rest.op != "sub" or program.nodes[rest.args[0]].op != "const":
                continue
            z = rest.args[1]
            known = program.shapes[z].kind in ("unit", "row") and z in second.args
            if known and program.nodes[rest.args[0]].value == 1.0:
                other = second.args[1 - second.args.index(z)]
                return z, other, first.args[1 - f]
    return None
