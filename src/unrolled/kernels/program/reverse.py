"""Reverse mode: the gradients of a step as further nodes of its graph.

Seeds are, for each field of the state, what later steps hand back (``carry``), and for the output the
gradient of this step's output (``dy``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from unrolled.kernels.program.ir import LEAVES, ROW, Node
from unrolled.kernels.program.step import PRODUCTS, SOURCES, StepGraph

FLAT = frozenset(("stop", "lt", "le", "eq"))  # no gradient passes
Rule = Callable[[StepGraph, Node, int, int], list[tuple[int, int]]]


@dataclass
class Adjoint:
    """The gradients of one step, as nodes.

    Args:
        inputs: of each gate's input. states: of each previous field. Missing ones are zero.
        weights: (matrix, block, gradient of the product, what was multiplied).
        vectors: values whose sums over the rows add up to the gradient of a vector's node.
        biases: (vector's node, gradient of the product it was added to).
    """

    inputs: dict[int, int] = field(default_factory=dict)
    states: dict[int, int] = field(default_factory=dict)
    weights: list[tuple[int, int, int, int]] = field(default_factory=list)
    vectors: dict[int, list[int]] = field(default_factory=dict)
    biases: list[tuple[int, int]] = field(default_factory=list)


def differentiate(graph: StepGraph, results: Sequence[int]) -> Adjoint:
    """Appends the backward pass to the graph. Levels of what was there become -1: it is given."""
    return _Reverse(graph).run(results)


class _Reverse:
    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.count = len(graph.nodes)
        self.found = Adjoint()
        self.terms: list[list[int]] = [[] for _ in range(self.count)]
        self.spread: list[list[int]] = [[] for _ in range(self.count)]  # to be summed over units
        self.products: list[dict[int, list[tuple[int, int]]]] = [{} for _ in range(self.count)]
        self.moving = _moving(graph)
        self.own: dict[tuple[int, str], int] = {}

    def run(self, results: Sequence[int]) -> Adjoint:
        graph = self.graph
        graph.levels[:] = [-1] * self.count
        for f, result in enumerate(results):
            if self.moving[result]:
                self.terms[result].append(graph.add(Node("carry", source=f)))
                if f == 0:
                    self.terms[result].append(graph.add(Node("dy")))
        for index in reversed(range(self.count)):
            gradient = self._total(index)
            if gradient is not None:
                self._pass_on(index, gradient)
        self._complete()
        self.found.weights.sort()
        return self.found

    def _complete(self) -> None:
        """Zeros where no gradient comes."""
        graph, signature = self.graph, self.graph.signature
        zero = graph.constant(0.0)
        gates = [signature.matrices[0].rows] * len(signature.gates)
        fields = [f.size for f in signature.state]
        for kept, sizes in ((self.found.inputs, gates), (self.found.states, fields)):
            for source, size in enumerate(sizes):
                if source not in kept:
                    kept[source] = graph.fresh(Node("expand", (zero,), size=size))

    def _owned(self, index: int, size: str) -> int:
        """A gradient as a value of a size; a new one if it is a leaf."""
        graph = self.graph
        if graph.nodes[index].op not in SOURCES:
            return graph.expand(index, size)
        if (index, size) not in self.own:
            self.own[index, size] = graph.fresh(Node("expand", (index,), size=size))
        return self.own[index, size]

    def _total(self, index: int) -> int | None:
        """The sum of a value's contributions, those that exist first added first."""
        graph, terms = self.graph, self.terms[index]
        if self.graph.nodes[index].op == "vector":
            if terms:
                self.found.vectors[index] = terms
            return None
        if self.spread[index]:
            terms.append(graph.emit("sum", self._sum(self.spread[index])))
        for weight, pairs in sorted(self.products[index].items()):
            blocks, gradients = zip(*sorted(pairs), strict=True)
            terms.append(graph.add(Node("tproduct", gradients, source=weight, blocks=blocks)))
        return self._sum(terms) if terms else None

    def _sum(self, terms: list[int]) -> int:
        graph = self.graph
        ordered = sorted(terms, key=lambda t: (graph.levels[t], graph.nodes[t].op not in PRODUCTS))
        total = ordered[0]
        for term in ordered[1:]:
            total = graph.emit("add", total, term)
        return total

    def _pass_on(self, index: int, gradient: int) -> None:
        graph, node = self.graph, self.graph.nodes[index]
        if node.op in ("input", "state"):
            kept = self.found.inputs if node.op == "input" else self.found.states
            kept[node.source] = self._owned(gradient, graph.shapes[index].size or ROW)
        elif node.op == "product":
            gradient = self._owned(gradient, graph.shapes[index].size)
            (argument,), (block,) = node.args, node.blocks
            self.found.weights.append((node.source, block, gradient, argument))
            if self.moving[argument]:
                pairs = self.products[argument].setdefault(node.source, [])
                pairs.append((block, gradient))
            if node.init >= 0:
                self.found.biases.append((node.init, gradient))
        elif node.op not in LEAVES:
            for argument, term in RULES[node.op](graph, node, gradient, index):
                if self.moving[argument]:
                    self._contribute(argument, term, index)

    def _contribute(self, argument: int, term: int, index: int) -> None:
        """One contribution to an operand, summed over units where one number served them all."""
        graph = self.graph
        whole = graph.shapes[index].kind == "unit" and graph.shapes[argument].kind == "row"
        if not whole:
            self.terms[argument].append(term)
        elif graph.shapes[term].kind == "unit":
            self.spread[argument].append(term)
        else:
            self.terms[argument].append(graph.emit("mul", term, graph.units(index)))


def _moving(graph: StepGraph) -> list[bool]:
    """For each node, whether its value depends on anything that has a gradient."""
    moving: list[bool] = []
    for node in graph.nodes:
        leaf = node.op in ("input", "state", "vector", "product")
        args = node.args[1:] if node.op == "where" else node.args
        moving.append(leaf or (node.op not in FLAT and any(moving[a] for a in args)))
    return moving


def _scale(graph: StepGraph, gradient: int, factor: int | float) -> int:
    return graph.emit("mul", gradient, factor)


def _div(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    a, b = node.args
    over = graph.emit("div", g, b)
    return [(a, over), (b, graph.emit("neg", graph.emit("mul", over, index)))]


def _rsqrt(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    cube = graph.emit("mul", graph.emit("mul", index, index), index)
    return [(node.args[0], graph.emit("mul", _scale(graph, g, -0.5), cube))]


def _sqrt(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    return [(node.args[0], _scale(graph, graph.emit("div", g, index), 0.5))]


def _recip(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    square = graph.emit("mul", index, index)
    return [(node.args[0], graph.emit("neg", graph.emit("mul", g, square)))]


def _softplus(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    return [(node.args[0], graph.emit("mul", g, graph.emit("sigmoid", node.args[0])))]


def _log1p(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    return [(node.args[0], graph.emit("div", g, graph.emit("add", node.args[0], 1.0)))]


def _extremum(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    """torch's: of two equal values each has half the gradient; a clamp passes all of it at its bound."""
    a, b = node.args
    low, high = (a, b) if node.op == "min" else (b, a)
    if graph.number(b) is not None:
        return [(a, graph.emit("drelu", g, graph.emit("le", low, high)))]
    if graph.number(a) is not None:
        return [(b, graph.emit("drelu", g, graph.emit("le", high, low)))]
    tie = graph.emit("mul", graph.emit("eq", a, b), 0.5)
    share = graph.emit("mul", g, graph.emit("add", graph.emit("lt", low, high), tie))
    return [(a, share), (b, graph.emit("sub", g, share))]


def _where(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    mask, a, b = node.args
    other = graph.emit("sub", 1.0, mask)
    return [(a, graph.emit("drelu", g, mask)), (b, graph.emit("drelu", g, other))]


def _lerp(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    a, b, c = node.args
    kept = graph.emit("mul", g, a)
    weight = graph.emit("mul", g, graph.emit("sub", b, c))
    return [(c, graph.emit("sub", g, kept)), (b, kept), (a, weight)]


def _amax(graph: StepGraph, node: Node, g: int, index: int) -> list[tuple[int, int]]:
    """torch's: equal greatest values share the gradient."""
    greatest = graph.emit("eq", node.args[0], index)
    share = graph.emit("div", g, graph.emit("sum", greatest))
    return [(node.args[0], graph.emit("mul", greatest, share))]


RULES: dict[str, Rule] = {
    "add": lambda graph, n, g, i: [(n.args[0], g), (n.args[1], g)],
    "sub": lambda graph, n, g, i: [(n.args[0], g), (n.args[1], graph.emit("neg", g))],
    "mul": lambda graph, n, g, i: [
        (n.args[0], graph.emit("mul", g, n.args[1])),
        (n.args[1], graph.emit("mul", g, n.args[0])),
    ],
    "div": _div,
    "neg": lambda graph, n, g, i: [(n.args[0], graph.emit("neg", g))],
    "sigmoid": lambda graph, n, g, i: [(n.args[0], graph.emit("dsigmoid", g, i))],
    "tanh": lambda graph, n, g, i: [(n.args[0], graph.emit("dtanh", g, i))],
    "relu": lambda graph, n, g, i: [(n.args[0], graph.emit("drelu", g, i))],
    "exp": lambda graph, n, g, i: [(n.args[0], graph.emit("mul", g, i))],
    "log": lambda graph, n, g, i: [(n.args[0], graph.emit("div", g, n.args[0]))],
    "log1p": _log1p,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "abs": lambda graph, n, g, i: [(n.args[0], graph.emit("dabs", g, n.args[0]))],
    "recip": _recip,
    "softplus": _softplus,
    "max": _extremum,
    "min": _extremum,
    "where": _where,
    "lerp": _lerp,
    "expand": lambda graph, n, g, i: [(n.args[0], g)],
    "sum": lambda graph, n, g, i: [(n.args[0], g)],
    "mean": lambda graph, n, g, i: [(n.args[0], _scale(graph, g, 1 / graph.units(n.args[0])))],
    "amax": _amax,
    "stop": lambda graph, n, g, i: [],
    "lt": lambda graph, n, g, i: [],
    "le": lambda graph, n, g, i: [],
    "eq": lambda graph, n, g, i: [],
}
