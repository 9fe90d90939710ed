"""Lowering: decided values as stages of products, reductions and pointwise programs, still without planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from unrolled.kernels.program.cutting import cut
from unrolled.kernels.program.instructions import Instruction, Writer
from unrolled.kernels.program.ir import ROW
from unrolled.kernels.program.step import PRODUCTS
from unrolled.kernels.program.storage import Decisions


class Place(NamedTuple):
    """A plane that a value must be written to: a state, carry, gradient or saved argument."""

    kind: str
    key: int


@dataclass
class Pointwise:
    """A program over the units of one size (or over rows alone).

    Args:
        size: the size's name, ``row`` for one number per row.
        code: the instructions, on values.
        copies: (value, place) written after them, where the value is not computed into its place.
        cuts: where further programs begin, if one would be too large.
    """

    size: str
    code: list[Instruction] = field(default_factory=list)
    copies: list[tuple[int, Place]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)


@dataclass
class Stage:
    """What one stage does. Each product is a group of nodes of one weight and one operand."""

    products: list[list[int]] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)
    programs: list[Pointwise] = field(default_factory=list)


@dataclass
class Pass:
    """The stages of one pass, and where its values must end up."""

    stages: list[Stage]
    places: dict[int, list[Place]]


def lower(made: Decisions, *, backward: bool) -> Pass:
    """The stages of a pass."""
    places = _gradient_places(made) if backward else _forward_places(made)
    while True:
        stages = _Stages(made, places, backward).build()
        late = _late_carries(made, stages, places) if backward else {}
        early = {v for v, after in late.items() if after > made.graph.levels[v]}
        early = {v for v in early if made.pointwise(v)}  # it must wait until its carry is free
        for stage in stages:
            for program in stage.programs:
                copied = {value for value, _ in program.copies}
                program.code, program.cuts, crossing = cut(program.code, copied, made.stored)
                early |= crossing
        if early <= made.stored:
            break
        made.stored |= early
    for value, after in late.items():
        _copy_late(made, stages, places, value, after)
    return Pass(stages, places)


def _forward_places(made: Decisions) -> dict[int, list[Place]]:
    places: dict[int, list[Place]] = {}
    if made.adjoint is not None:
        for index in made.arguments():
            if made.graph.nodes[index].op != "state":
                places.setdefault(index, []).append(Place("saved", index))
    for f, result in enumerate(made.results):
        places.setdefault(result, []).append(Place("state", f))
    return places


def _gradient_places(made: Decisions) -> dict[int, list[Place]]:
    assert made.adjoint is not None
    places: dict[int, list[Place]] = {}
    for value in made.gradients():
        places.setdefault(value, []).append(Place("grad", value))
    for f, value in sorted(made.adjoint.states.items()):
        places.setdefault(value, []).append(Place("carry", f))
    return places


class _Stages:
    def __init__(self, made: Decisions, places: dict[int, list[Place]], backward: bool) -> None:
        self.made, self.graph = made, made.graph
        self.places, self.backward = places, backward
        self.mine = [i for i in made.live if made.forward(i) != backward]

    def build(self) -> list[Stage]:
        count = 1 + max((self.graph.levels[i] for i in self._timed()), default=0)
        return [self._stage(level) for level in range(max(count, 1))]

    def _timed(self) -> Iterator[int]:
        yield from self.mine
        yield from self.places

    def _stage(self, level: int) -> Stage:
        graph, stage = self.graph, Stage()
        here = [i for i in self.mine if graph.levels[i] == level]
        for index in here:
            if graph.nodes[index].op in PRODUCTS:
                self._group(stage.products, index)
        for group in stage.products:
            group.sort(key=lambda i: graph.nodes[i].blocks)
        stage.reductions = [i for i in here if graph.nodes[i].op in ("sum", "mean", "amax")]
        sizes = dict.fromkeys((ROW, *sorted(graph.numbers)))
        for size in sizes:
            program = self._program(level, size)
            if program.code or program.copies:
                stage.programs.append(program)
        return stage

    def _group(self, groups: list[list[int]], index: int) -> None:
        """Joins a product to one of the same weight and operand, unless it waits for a later one."""
        node = self.graph.nodes[index]
        position = {i: g for g, group in enumerate(groups) for i in group}
        after = position.get(node.init, -1)
        for g, group in enumerate(groups):
            first = self.graph.nodes[group[0]]
            same = (first.op, first.args, first.source) == (node.op, node.args, node.source)
            if same and node.op == "product" and g > after:
                group.append(index)
                return
        groups.append([index])

    def _program(self, level: int, size: str) -> Pointwise:
        graph, made = self.graph, self.made
        writer = Writer(made, level, size, backward=self.backward)
        roots: list[int] = []
        copies: list[tuple[int, Place]] = []
        for index in dict.fromkeys((*self.mine, *self.places)):
            if max(graph.levels[index], 0) != level or (graph.shapes[index].size or ROW) != size:
                continue
            if made.pointwise(index):
                if made.forward(index) == self.backward:
                    continue
                if index in made.stored or index in self.places:
                    roots.append(index)
            for place in self.places.get(index, ()):
                direct = graph.nodes[index].op in PRODUCTS and place == self.places[index][0]
                if not direct:
                    copies.append((index, place))
        roots.sort(key=lambda i: any(p.kind == "carry" for p in self.places.get(i, ())))
        return Pointwise(size, writer.write(roots, self._sums(level, size)), copies)

    def _sums(self, level: int, size: str) -> list[tuple[int, int]]:
        """(vector's node, value) whose sum over the rows this program adds to the vector's gradient."""
        if not self.backward or self.made.adjoint is None:
            return []
        graph, gradients = self.graph, self.made.gradients()
        return [
            (vector, term)
            for vector, terms in self.made.adjoint.vectors.items()
            for term in terms
            if term not in gradients
            and max(graph.levels[term], 0) == level
            and graph.shapes[vector].size == size
        ]


def _late_carries(
    made: Decisions, stages: list[Stage], places: dict[int, list[Place]]
) -> dict[int, int]:
    """Results whose carry is still read after they exist, with the last stage that reads it."""
    graph = made.graph
    late: dict[int, int] = {}
    last: dict[int, int] = {}
    for s, stage in enumerate(stages):
        for index, wide in _read(made, stage, places):
            if graph.nodes[index].op == "carry":
                # programs over units run after those over rows
                row = wide and graph.shapes[index].kind == "row"
                last[graph.nodes[index].source] = s + row
    for value, wanted in places.items():
        for place in wanted:
            free = last.get(place.key, -1)
            level = max(graph.levels[value], 0)
            product = graph.nodes[value].op in PRODUCTS
            if place.kind == "carry" and (free > level or (free == level and product)):
                late[value] = max(free, late.get(value, 0))
    return late


def _read(
    made: Decisions, stage: Stage, places: dict[int, list[Place]]
) -> Iterable[tuple[int, bool]]:
    """What a stage reads, but for sums that a product forms in place; and whether for units."""
    graph = made.graph
    for group in stage.products:
        for index in group:
            node = graph.nodes[index]
            yield from ((a, False) for a in node.args)
            own = [p.key for p in places.get(index, ()) if p.kind == "carry"]
            if node.init >= 0 and graph.nodes[node.init].source not in own:
                yield node.init, False
    for index in stage.reductions:
        yield from ((a, False) for a in graph.nodes[index].args)
    for program in stage.programs:
        for instruction in program.code:
            yield from ((a, program.size != ROW) for a in instruction.args)


def _copy_late(
    made: Decisions, stages: list[Stage], places: dict[int, list[Place]], value: int, stage: int
) -> None:
    """Moves a value's way into its carry to the last stage that reads the old one."""
    size = made.graph.shapes[value].size or ROW
    moved = [place for place in places[value] if place.kind == "carry"]
    places[value] = [place for place in places[value] if place.kind != "carry"]
    for each in stages:
        for program in each.programs:
            program.copies = [c for c in program.copies if c[0] != value or c[1] not in moved]
    while len(stages) <= stage:
        stages.append(Stage())
    for program in stages[stage].programs:
        if program.size == size:
            break
    else:
        program = Pointwise(size)
        stages[stage].programs.append(program)
    program.copies += [(value, place) for place in moved]
