"""Planning: a program with sizes as the stages, planes and gradients that the engine runs."""

from __future__ import annotations

from collections.abc import Mapping

from unrolled.kernels.program.allocation import Allocator, Store, read_values
from unrolled.kernels.program.emission import Emitter
from unrolled.kernels.program.ir import ROW, Program
from unrolled.kernels.program.lowering import lower
from unrolled.kernels.program.planes import (
    ROW_SIZE,
    Operand,
    Plan,
    PlanStage,
    VectorGradient,
    WeightGradient,
)
from unrolled.kernels.program.reverse import differentiate
from unrolled.kernels.program.step import step_graph
from unrolled.kernels.program.storage import Decisions, decide


def plan(program: Program, sizes: Mapping[str, int], *, training: bool) -> Plan:
    """The plan of a program for sizes.

    Args:
        program: one step of a cell.
        sizes: a number for each name in ``program.sizes``.
        training: whether a backward pass will follow; without one, less is kept and nothing differentiated.

    >>> from unrolled.cells import LSTM
    >>> from unrolled.kernels.program import trace
    >>> made = plan(trace(LSTM(3, 4)), {"H": 4}, training=True)
    >>> len(made.forward), len(made.backward)
    (1, 2)

    Raises:
        ValueError: if a size is missing or below 1, or a step is too large for the engine.
    """
    made = decided(program, sizes, training=training)
    return _Planner(made, program).plan()


def decided(program: Program, sizes: Mapping[str, int], *, training: bool) -> Decisions:
    """The step with everything decided but planes."""
    for name in program.sizes:
        if not isinstance(sizes.get(name), int) or sizes[name] < 1:
            raise ValueError(f"size {name} must be a number from 1, {sizes.get(name)!r} given")
    graph, results = step_graph(program, {name: sizes[name] for name in program.sizes})
    count = len(graph.nodes)
    adjoint = differentiate(graph, results) if training else None
    return decide(graph, results, count, adjoint)


class _Planner:
    def __init__(self, made: Decisions, program: Program) -> None:
        self.made, self.program = made, program
        self.names = sorted(made.graph.numbers)
        self.store = Store(made, self.names)

    def plan(self) -> Plan:
        made, store, signature = self.made, self.store, self.program.signature
        training = made.adjoint is not None
        gates = [self._gate(g) for g in range(len(signature.gates))]
        states = [store.new("state", f.size, i) for i, f in enumerate(signature.state)]
        carries, dy = [-1] * len(states), -1
        forward = lower(made, backward=False)
        operands = {i: made.graph.nodes[i].operands() for i in made.live}
        kept: set[int] = set()
        backward = None
        if made.adjoint is not None:
            backward = lower(made, backward=True)
            read = {i for i in read_values(backward, operands) if made.forward(i)}
            kept = read | {a for _, _, _, a in made.adjoint.weights}
        first = self._stages(Emitter(store, Allocator(store, forward, kept, backward=False)))
        second: tuple[PlanStage, ...] = ()
        if backward is not None:
            carries = [store.new("carry", f.size, i) for i, f in enumerate(signature.state)]
            dy = store.new("dy", signature.state[0].size)
            for index in made.live:
                if made.graph.nodes[index].op == "carry":
                    store.locate(index)
            lives = Allocator(store, backward, made.gradients(), backward=True)
            second = self._stages(Emitter(store, lives))
        assert made.adjoint is None or training
        return Plan(
            training=training,
            sizes=tuple(made.graph.numbers[name] for name in self.names),
            gates=tuple(gates),
            states=tuple(zip(states, carries, strict=True)),
            dy=dy,
            forward=first,
            backward=second,
            gate_gradients=self._gate_gradients(),
            weight_gradients=self._weight_gradients(),
            vector_gradients=self._vector_gradients(),
            planes=tuple(store.planes),
        )

    def _gate(self, g: int) -> tuple[int, tuple[int, ...]]:
        size = self.program.signature.matrices[0].rows
        plane = self.store.new("gate", size, g)
        bias = self.program.signature.position("bias_ih")
        vectors = [self.store.new("vector", size, bias, g)] if bias >= 0 else []
        further = (self.store.locate(v).plane for v in self.made.gate_biases.get(g, ()))
        leaf = [
            i
            for i in self.made.live
            if self.made.graph.nodes[i].op == "input" and self.made.graph.nodes[i].source == g
        ]
        for value in leaf:
            self.store.home[value] = Operand(plane)
            self.store.holds[plane] = value
        return plane, (*vectors, *further)

    def _stages(self, emitter: Emitter) -> tuple[PlanStage, ...]:
        stages = [emitter.stage(stage) for stage in emitter.lowered.stages]
        return tuple(stage for stage in stages if any(stage))

    def _size(self, name: str) -> int:
        return ROW_SIZE if name == ROW else self.names.index(name)

    def _gate_gradients(self) -> tuple[int, ...]:
        if self.made.adjoint is None:
            return ()
        return tuple(self.store.home[v].plane for _, v in sorted(self.made.adjoint.inputs.items()))

    def _weight_gradients(self) -> tuple[WeightGradient, ...]:
        if self.made.adjoint is None:
            return ()
        matrices = self.program.signature.matrices
        return tuple(
            WeightGradient(
                slot,
                block,
                self._size(matrices[slot].rows),
                self.store.home[gradient].plane,
                self.store.locate(argument),
            )
            for slot, block, gradient, argument in self.made.adjoint.weights
        )

    def _vector_gradients(self) -> tuple[VectorGradient, ...]:
        adjoint, home = self.made.adjoint, self.store.home
        if adjoint is None:
            return ()
        found = []
        bias = self.program.signature.position("bias_ih")
        if bias >= 0:
            found += [(bias, g, home[v].plane) for g, v in sorted(adjoint.inputs.items())]
        pairs = list(adjoint.biases)
        gradients = self.made.gradients()
        pairs += [(v, t) for v, terms in adjoint.vectors.items() for t in terms if t in gradients]
        for vector, gradient in pairs:
            node = self.made.graph.nodes[vector]
            found.append((node.source, node.blocks[0], home[gradient].plane))
        return tuple(VectorGradient(*each) for each in found)
