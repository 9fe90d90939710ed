"""What is kept and what is computed again: which values of a step get a plane.

Never computed twice: products, reductions and what is dear to compute. A value of a few cheap operations
on what is there anyway is computed again wherever it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unrolled.kernels.program.ir import REDUCTIONS, Node
from unrolled.kernels.program.reverse import Adjoint
from unrolled.kernels.program.step import OUTSIDE, PRODUCTS, SOURCES, StepGraph

CHEAP = 3  # operations that are rather done again than kept
DEAR = OUTSIDE | frozenset(("sigmoid", "tanh", "exp", "log", "log1p", "sqrt", "rsqrt"))
DEAR |= {"recip", "div", "softplus", "input"}


@dataclass
class Decisions:
    """A step with its products joined to sums, and what is kept of it.

    Args:
        graph: the nodes of both passes; those before ``forward_count`` are the forward pass's.
        results: the fields of the next state.
        adjoint: the gradients; None for inference.
        live: the nodes that are needed.
        gate_biases: vectors added to each gate beside its own bias.
        kept: forward values that the backward pass reads.
        stored: values that outlive the program that computes them.
    """

    graph: StepGraph
    forward_count: int
    results: list[int]
    adjoint: Adjoint | None
    live: list[int]
    gate_biases: dict[int, list[int]]
    kept: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)

    def forward(self, index: int) -> bool:
        """Whether a node is the forward pass's."""
        return index < self.forward_count

    def kind(self, index: int) -> str:
        """The kind of a node's value."""
        return self.graph.shapes[index].kind

    def pointwise(self, index: int) -> bool:
        """Whether a node is computed in a pointwise program."""
        return self.graph.nodes[index].op not in OUTSIDE | SOURCES

    def available(self, index: int, *, backward: bool) -> bool:
        """Whether a value of another program or pass has a plane that can be read."""
        op = self.graph.nodes[index].op
        if backward and self.forward(index):
            return index in self.kept or index in self.results or op in SOURCES - {"input"}
        return index in self.stored or op in OUTSIDE | SOURCES

    def arguments(self) -> set[int]:
        """What the forward pass's products multiply."""
        nodes = (self.graph.nodes[i] for i in self.live if self.forward(i))
        return {n.args[0] for n in nodes if n.op == "product"}

    def gradients(self) -> dict[int, None]:
        """Values that are kept until the weights' gradients are formed."""
        if self.adjoint is None:
            return {}
        weights = (g for _, _, g, _ in self.adjoint.weights)
        return dict.fromkeys((*self.adjoint.inputs.values(), *weights))

    def summed(self) -> set[int]:
        """Values whose sums over the rows are gradients of vectors."""
        terms = {} if self.adjoint is None else self.adjoint.vectors
        return {term for each in terms.values() for term in each}


def decide(graph: StepGraph, results: list[int], count: int, adjoint: Adjoint | None) -> Decisions:
    """Joins products to the sums they end in, settles levels, and chooses what is kept."""
    _drop_stops(graph, results, adjoint)
    roots = [*results, *_roots(adjoint)]
    joiner = _Joiner(graph, count, roots)
    joiner.run()
    _settle_levels(graph, count)
    made = Decisions(graph, count, results, adjoint, graph.needed(roots), joiner.gate_biases)
    _sink(made)
    if adjoint is not None:
        made.kept |= {a for _, _, _, a in adjoint.weights if graph.nodes[a].op != "state"}
        _keep(made)
    _store(made, backward=False)
    if adjoint is not None:
        _store(made, backward=True)
    return made


def _roots(adjoint: Adjoint | None) -> Iterable[int]:
    if adjoint is not None:
        yield from adjoint.inputs.values()
        yield from adjoint.states.values()
        for _, _, gradient, argument in adjoint.weights:
            yield from (gradient, argument)
        for terms in adjoint.vectors.values():
            yield from terms


def _drop_stops(graph: StepGraph, results: list[int], adjoint: Adjoint | None) -> None:
    """Reads what a ``stop`` stopped: its work, keeping gradients out, is done."""
    source = {i: n.args[0] for i, n in enumerate(graph.nodes) if n.op == "stop"}
    if not source:
        return

    def seen(index: int) -> int:
        while index in source:
            index = source[index]
        return index

    for i, node in enumerate(graph.nodes):
        graph.nodes[i] = replace(node, args=tuple(map(seen, node.args)))
    results[:] = map(seen, results)
    if adjoint is not None:
        adjoint.weights = [(s, b, g, seen(a)) for s, b, g, a in adjoint.weights]


class _Joiner:
    """add(x, product) becomes a product that starts from x, where nothing else uses the product."""

    def __init__(self, graph: StepGraph, count: int, roots: Sequence[int]) -> None:
        self.graph, self.count = graph, count
        self.gate_biases: dict[int, list[int]] = {}
        self.live = graph.needed(roots)
        self.uses = [0] * len(graph.nodes)
        for root in roots:
            self.uses[root] += 1
        for index in self.live:
            for a in graph.nodes[index].operands():
                self.uses[a] += 1
        _settle_levels(graph, count)

    def run(self) -> None:
        graph = self.graph
        for index in self.live:
            node = graph.nodes[index]
            if node.op != "add":
                continue
            a, b = node.args
            pairs = ((b, a), (a, b)) if graph.levels[b] >= graph.levels[a] else ((a, b), (b, a))
            for product, other in pairs:
                if self._joins(index, product, other):
                    graph.nodes[index] = replace(graph.nodes[product], init=other)
                    graph.levels[index] = graph.level(graph.nodes[index])
                    break

    def _joins(self, index: int, product: int, other: int) -> bool:
        graph, node = self.graph, self.graph.nodes[product]
        if node.op not in PRODUCTS or self.uses[product] != 1 or product == other:
            return False
        if graph.shapes[other].kind not in ("unit", "vector"):
            return False
        if (other < self.count) != (index < self.count) and graph.nodes[other].op not in SOURCES:
            return False
        chained = graph.nodes[other].op in PRODUCTS
        if graph.levels[other] >= graph.levels[product] + chained:
            return False
        if node.init < 0:
            return True
        gate = self._gate(other)
        if graph.nodes[node.init].op != "vector" or gate is None:
            return False
        self.gate_biases.setdefault(gate, []).append(node.init)
        return True

    def _gate(self, index: int) -> int | None:
        """The gate in whose plane a sum is formed, if it is, so that further biases can go there."""
        node = self.graph.nodes[index]
        while node.op == "product" and node.init >= 0 and self.uses[index] == 1:
            index, node = node.init, self.graph.nodes[node.init]
        return node.source if node.op == "input" and self.uses[index] == 1 else None


def _settle_levels(graph: StepGraph, count: int) -> None:
    """Levels of each pass on its own: to the backward pass what the forward pass computed is given."""
    for i, node in enumerate(graph.nodes[:count]):
        graph.levels[i] = graph.level(node)
    forward = graph.levels[:count]
    graph.levels[:count] = [-1] * count
    for i, node in enumerate(graph.nodes[count:], count):
        graph.levels[i] = graph.level(node)
    graph.levels[:count] = forward


def _consumers(made: Decisions) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {i: [] for i in made.live}
    for index in made.live:
        for a in made.graph.nodes[index].operands():
            found[a].append(index)
    return found


def _sink(made: Decisions) -> None:
    """Forward values of leaves alone are computed where they are first read, not earlier."""
    graph, consumers = made.graph, _consumers(made)
    for index in reversed(made.live):
        node = graph.nodes[index]
        if not (made.forward(index) and made.pointwise(index)) or index in made.results:
            continue
        readers = [c for c in consumers[index] if made.forward(c)]
        if readers and all(graph.nodes[a].op in SOURCES for a in node.args):
            outside = (graph.levels[c] - (graph.nodes[c].op in OUTSIDE) for c in readers)
            graph.levels[index] = max(graph.levels[index], min(outside))


def _cost(made: Decisions, index: int, *, backward: bool) -> float:
    """Operations to compute a value again from what has a plane."""
    if made.available(index, backward=backward):
        return 0
    if made.graph.nodes[index].op in DEAR or made.kind(index) == "row":
        return math.inf
    args = made.graph.nodes[index].args
    return 1 + sum(_cost(made, a, backward=backward) for a in args)


def _keep(made: Decisions) -> None:
    """Chooses the forward values that the backward pass finds kept."""
    graph = made.graph
    needed: set[int] = set()
    stored: set[int] = set()
    for index in made.live:
        if not made.forward(index):
            node = graph.nodes[index]
            needed.update(a for a in node.operands() if made.forward(a))
            if node.op in OUTSIDE:
                stored.update(a for a in node.operands() if made.forward(a))
    dear = {i for i in needed if graph.nodes[i].op in DEAR or made.kind(i) == "row"}
    made.kept |= {i for i in dear | stored if not made.available(i, backward=True)}
    for index in sorted(needed):
        if _cost(made, index, backward=True) > CHEAP:
            made.kept.add(index)


def _store(made: Decisions, *, backward: bool) -> None:
    """Chooses the values of one pass that later programs of it read from a plane."""
    graph, consumers = made.graph, _consumers(made)
    summed = made.summed()
    for index in made.live:
        if made.forward(index) == backward or not made.pointwise(index):
            continue
        readers = [c for c in consumers[index] if made.forward(c) == made.forward(index)]
        outside = any(graph.nodes[c].op in OUTSIDE for c in readers)
        later = any(graph.levels[c] > graph.levels[index] for c in readers)
        if made.kind(index) == "row":
            wide = any(made.kind(c) != "row" for c in readers) or index in summed
            keep = later or wide or outside
        else:
            keep = outside or (later and _cost(made, index, backward=backward) > CHEAP)
        if keep or index in made.kept:
            made.stored.add(index)


def kind_of(node: Node) -> str:
    """What computes a node: a product, a reduction, a program; or nothing, for a leaf."""
    if node.op in SOURCES:
        return "leaf"
    if node.op in PRODUCTS:
        return "product"
    return "reduction" if node.op in REDUCTIONS else "pointwise"
