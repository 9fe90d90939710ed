"""Emission: lowered stages on allocated planes as the plan's own."""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.kernels.program.allocation import Allocator, Store
from unrolled.kernels.program.instructions import Instruction
from unrolled.kernels.program.ir import ROW
from unrolled.kernels.program.lowering import Place, Pointwise, Stage
from unrolled.kernels.program.planes import (
    BINDINGS,
    BLOCKS,
    ROW_SIZE,
    TEMPS,
    Code,
    Operand,
    Output,
    PlanStage,
    PointwiseProgram,
    Product,
    Reduction,
)
from unrolled.kernels.program.proxy import Untraceable


class Emitter:
    """Emits the stages of one pass, in order."""

    def __init__(self, store: Store, allocator: Allocator) -> None:
        self.store, self.allocator = store, allocator
        self.lowered, self.graph = allocator.lowered, store.made.graph

    def stage(self, stage: Stage) -> PlanStage:
        """One stage."""
        products = tuple(self._product(group) for group in stage.products)
        reductions = []
        for index in stage.reductions:
            node = self.graph.nodes[index]
            source = self.store.locate(node.args[0])
            reductions.append(Reduction(node.op, source, self.allocator.reduction(index)))
        programs = [part for p in stage.programs for part in _Program(self, p).emit()]
        self.allocator.clock += 1
        return PlanStage(products, tuple(reductions), tuple(p for p in programs if p.code))

    def size(self, name: str) -> int:
        """The number of a size's name."""
        return ROW_SIZE if name == ROW else self.store.sizes.index(name)

    def _product(self, group: list[int]) -> Product:
        nodes = [self.graph.nodes[i] for i in group]
        first = nodes[0]
        inputs = tuple(self.store.locate(a) for a in first.args)
        starts = [self._start(node.init) for node in nodes]
        places = self.allocator.product(group)
        outputs = tuple(Output(to, *start) for to, start in zip(places, starts, strict=True))
        transposed = first.op == "tproduct"
        if max(first.source, *(b for node in nodes for b in node.blocks)) > BLOCKS:
            raise Untraceable(f"it has more than {BLOCKS} weights, or gates of one weight")
        blocks = first.blocks if transposed else tuple(node.blocks[0] for node in nodes)
        rows = self.size(self.graph.signature.matrices[first.source].rows)
        return Product(first.source, transposed, rows, blocks, inputs, outputs)

    def _start(self, init: int) -> tuple[int, Operand]:
        if init < 0:
            return 0, Operand(-1)
        kind = 2 if self.graph.nodes[init].op == "vector" else 1
        return kind, self.store.locate(init)


class _Program:
    """Registers for the values of one pointwise program."""

    def __init__(self, emitter: Emitter, program: Pointwise) -> None:
        self.emitter, self.store, self.program = emitter, emitter.store, program
        self.allocator = emitter.allocator
        self.bindings: dict[Operand, int] = {}
        self.temps: dict[int, int] = {}  # value: temporary
        self.free: list[int] = []
        self.count = 0
        self.code: list[tuple[str, object, list[object], float]] = []

    def emit(self) -> list[PointwiseProgram]:
        """The program, in as many parts as it was cut into."""
        parts = []
        last: dict[int, int] = {}
        steps = [i.args for i in self.program.code] + [(v,) for v, _ in self.program.copies]
        for position, args in enumerate(steps):
            last.update(dict.fromkeys(args, position))
        wanted: dict[int, list[Place]] = {}
        for value, place in self.program.copies:
            wanted.setdefault(value, []).append(place)
        done: set[tuple[int, Place]] = set()
        for position, instruction in enumerate(self.program.code):
            if position in self.program.cuts:
                parts.append(self._part())
            self._instruction(instruction, position, last, wanted, done)
            self.allocator.clock += 1
        for value, place in self.program.copies:
            if (value, place) not in done:
                source = self._read(value)
                target = self.allocator.write(value, place)
                self.code.append(("copy", target, [source], 0.0))
            self.allocator.clock += 1
        return [*parts, self._part()]

    def _instruction(
        self,
        instruction: Instruction,
        position: int,
        last: dict[int, int],
        wanted: dict[int, list[Place]],
        done: set[tuple[int, Place]],
    ) -> None:
        args = [self._read(a) for a in instruction.args]
        for a in instruction.args:
            if a in self.temps and last[a] == position:
                self.free.append(self.temps.pop(a))
        if instruction.sums:
            target: object = self._sum(instruction.value)
        else:
            value = instruction.value
            placed = self.allocator.result(value, instruction.args, wanted.get(value, []))
            if isinstance(placed, Place):
                done.add((value, placed))
            target = self.store.home[value] if placed else self._temporary(value)
        self.code.append((instruction.op, target, args, instruction.number))

    def _read(self, value: int) -> object:
        return self.temps[value] if value in self.temps else self.store.locate(value)

    def _temporary(self, value: int) -> int:
        if not self.free:
            self.free.append(self.count)
            self.count += 1
        self.temps[value] = self.free.pop()
        return self.temps[value]

    def _sum(self, vector: int) -> Operand:
        node = self.emitter.graph.nodes[vector]
        size = self.emitter.graph.shapes[vector].size
        return Operand(self.store.new("vecgrad", size, node.source, node.blocks[0]))

    def _part(self) -> PointwiseProgram:
        """What was emitted since the last part."""
        for _, target, args, _ in self.code:
            for operand in (*args, target):
                if isinstance(operand, Operand):
                    self.bindings.setdefault(operand, len(self.bindings))
        if len(self.bindings) > BINDINGS or self.count > TEMPS:
            raise Untraceable("one operation of its step needs too many operands at once")
        code = tuple(
            Code(op, self._register(d), *self._sources(args, d), number)
            for op, d, args, number in self.code
        )
        size = self.emitter.size(self.program.size)
        part = PointwiseProgram(size, tuple(self.bindings), self.count, code)
        self.bindings, self.temps, self.free, self.count, self.code = {}, {}, [], 0, []
        return part

    def _register(self, operand: object) -> int:
        if isinstance(operand, Operand):
            return self.bindings[operand]
        assert isinstance(operand, int)
        return len(self.bindings) + operand

    def _sources(self, args: Sequence[object], target: object) -> tuple[int, int, int]:
        registers = [self._register(a) for a in args] or [self._register(target)]
        registers += [registers[0]] * (3 - len(registers))
        return registers[0], registers[1], registers[2]
