"""Allocation: a plane for every value that outlives its program, the same one where lives do not meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from unrolled.kernels.program.ir import ROW
from unrolled.kernels.program.lowering import Pass, Place, Pointwise, Stage
from unrolled.kernels.program.planes import ROW_SIZE, Operand, Plane
from unrolled.kernels.program.step import PRODUCTS, SOURCES
from unrolled.kernels.program.storage import Decisions

WORKSPACE = {False: ("gate", "saved", "step"), True: ("bstep",)}  # planes that may change hands


@dataclass
class Store:
    """The planes of a plan, and which value each holds."""

    made: Decisions
    sizes: list[str]
    planes: list[Plane] = field(default_factory=list)
    holds: dict[int, int] = field(default_factory=dict)  # plane: the value last written to it
    home: dict[int, Operand] = field(default_factory=dict)  # value: where it is read
    known: dict[Plane, int] = field(default_factory=dict)

    def new(self, kind: str, size: str, source: int = -1, source2: int = -1) -> int:
        """A plane; one with a source exists once."""
        index = ROW_SIZE if size == ROW else self.sizes.index(size)
        plane = Plane(kind, index, source, source2)
        if (source >= 0 or kind == "dy") and plane in self.known:
            return self.known[plane]
        self.planes.append(plane)
        self.known[plane] = len(self.planes) - 1
        return len(self.planes) - 1

    def size_of(self, value: int) -> str:
        """The size of a value's plane."""
        return self.made.graph.shapes[value].size or ROW

    def locate(self, value: int) -> Operand:
        """Where a value is read."""
        if value not in self.home:
            node = self.made.graph.nodes[value]
            assert node.op in SOURCES, f"{node.op} {value} has no plane"
            self.home[value] = self._leaf(value)
        return self.home[value]

    def _leaf(self, value: int) -> Operand:
        node, size = self.made.graph.nodes[value], self.size_of(value)
        if node.op == "vector":
            return Operand(self.new("vector", size, node.source, node.blocks[0]))
        kind = {"input": "gate"}.get(node.op, node.op)
        plane = self.new(kind, size, node.source)
        if node.op in ("input", "carry"):
            self.holds.setdefault(plane, value)
        return Operand(plane, -1 if node.op == "state" else 0)

    def kind(self, plane: int) -> str:
        """The kind of a plane."""
        return self.planes[plane].kind

    def keep(self, plane: int) -> None:
        """Makes a scratch plane one that every step keeps."""
        if self.kind(plane) == "step":
            self.planes[plane] = self.planes[plane]._replace(kind="saved")


class Lives:
    """When each value of a pass is read last, in the order in which the pass does things.

    Args:
        made: the step. forever: values that are read after the pass.
    """

    def __init__(self, made: Decisions, lowered: Pass, forever: Iterable[int]) -> None:
        self.last: dict[int, float] = {}
        self.joined: dict[int, float] = {}  # product: when it reads what it alone then adds to
        self.clock = 0
        for stage in lowered.stages:
            self._stage(made, stage)
        self.last |= dict.fromkeys(forever, math.inf)

    def _read(self, values: Iterable[int]) -> None:
        self.last.update((value, self.clock) for value in values)

    def _stage(self, made: Decisions, stage: Stage) -> None:
        nodes = made.graph.nodes
        for group in stage.products:
            inits = [nodes[i].init for i in group]
            self._read(inits)
            self.joined.update((i, self.clock) for i in group if inits.count(nodes[i].init) == 1)
            self.clock += 1
        for index in stage.reductions:
            self._read(nodes[index].args)
            self.clock += 1
        for program in stage.programs:
            for instruction in program.code:
                self._read(instruction.args)
                self.clock += 1
            for value, _ in program.copies:
                self._read((value,))
                self.clock += 1
        for group in stage.products:  # other units of the stage may still be multiplying
            self._read(nodes[group[0]].args)
        self.clock += 1


class Allocator:
    """Chooses planes for the values of one pass, in order.

    Args:
        store: the planes. lowered: the pass. forever: values that are read after it.
        backward: which pass.
    """

    def __init__(
        self, store: Store, lowered: Pass, forever: Iterable[int], *, backward: bool
    ) -> None:
        self.store, self.lowered, self.backward = store, lowered, backward
        self.graph, self.made = store.made.graph, store.made
        self.forever = set(forever)
        lives = Lives(store.made, lowered, self.forever)
        self.last = lives.last
        self.clock = 0
        nodes = self.graph.nodes
        products = [i for i in self.made.live if nodes[i].op in PRODUCTS]
        # the product that a value ends in, if that is the last to read it
        self.sums = {
            nodes[i].init: i
            for i in products
            if lives.joined.get(i) == self.last.get(nodes[i].init)
        }

    def product(self, group: list[int]) -> list[Operand]:
        """Planes for the results of a product."""
        outputs = [self._product(index) for index in group]
        self.clock += 1
        return outputs

    def reduction(self, index: int) -> Operand:
        """The plane for the result of a reduction."""
        to = self._settle(index, self._any(index, (), strict=True))
        self.clock += 1
        return to

    def result(self, value: int, args: Iterable[int], places: list[Place]) -> Place | bool | None:
        """A plane for what an instruction computes.

        Returns:
            The place in which it is, True if it has another plane, None if it needs a temporary alone.
        """
        for place in places:
            plane = self._place(place)
            if self._free(plane, strict=False):
                self._settle(value, plane)
                return place
        if value not in self.made.stored:
            return None
        target = self._carry_of_sum(value)
        if target is not None and self._free(target, strict=False):
            self._settle(value, target)
        else:
            self._settle(value, self._any(value, args, strict=False))
        return True

    def write(self, value: int, place: Place) -> Operand:
        """The plane of a place to which a value is copied."""
        plane = self._place(place)
        assert self._free(plane, strict=False), f"{place} is still read"
        if value not in self.store.home:
            return self._settle(value, plane)
        return Operand(plane)

    def _place(self, place: Place) -> int:
        store, made = self.store, self.made
        if place.kind in ("state", "carry"):
            size = made.graph.signature.state[place.key].size
            return store.new(place.kind, size, place.key)
        size = store.size_of(place.key)
        if place.kind == "saved":
            found = self._pool(size, ("saved", "step"), strict=True)
            plane = found[0] if found else store.new("saved", size)
            store.keep(plane)
            return plane
        return store.new("grad", size)

    def _product(self, index: int) -> Operand:
        places = self.lowered.places.get(index, [])
        node = self.graph.nodes[index]
        own = node.init if self.sums.get(node.init) == index else -1  # it may be overwritten
        if places:
            plane = self._place(places[0])
            assert self._free(plane, strict=True, but=own), f"{places[0]} is still read"
            return self._settle(index, plane)
        if node.init >= 0 and self.graph.nodes[node.init].op != "vector":
            start = self.store.locate(node.init)
            kinds = (*WORKSPACE[self.backward], "carry")
            if self.store.kind(start.plane) in kinds and start.shift == 0:
                chain = self._carry_of_sum(index)
                mine = self.store.kind(start.plane) != "carry" or chain == start.plane
                if mine and self._free(start.plane, strict=True, but=own):
                    return self._settle(index, start.plane)
        target = self._carry_of_sum(index)
        if target is not None and self._free(target, strict=True):
            return self._settle(index, target)
        return self._settle(index, self._any(index, (), strict=True))

    def _carry_of_sum(self, value: int) -> int | None:
        """The carry in which a sum that begins with this value ends, if it does."""
        while value in self.sums:
            value = self.sums[value]
            for place in self.lowered.places.get(value, ())[:1]:
                if place.kind == "carry":
                    return self._place(place)
        return None

    def _any(self, value: int, args: Iterable[int], *, strict: bool) -> int:
        """A plane that is free: an operand's, another, or a new one."""
        store, size = self.store, self.store.size_of(value)
        kept = value in self.forever
        order = ("gate", "saved", "step") if kept else ("step", "gate", "saved")
        kinds = ("bstep",) if self.backward else order
        free = self._pool(size, kinds, strict=strict)
        own = [store.home[a].plane for a in args if a in store.home]
        for plane in own:
            if plane in free:
                return plane
        if free:
            return free[0]
        return store.new("bstep" if self.backward else "saved" if kept else "step", size)

    def _pool(self, size: str, kinds: tuple[str, ...], *, strict: bool) -> list[int]:
        store = self.store
        number = ROW_SIZE if size == ROW else store.sizes.index(size)
        found = [
            (kinds.index(plane.kind), i)
            for i, plane in enumerate(store.planes)
            if plane.kind in kinds and plane.size == number and self._free(i, strict=strict)
        ]
        return [i for _, i in sorted(found)]

    def _free(self, plane: int, *, strict: bool, but: int = -1) -> bool:
        value = self.store.holds.get(plane)
        if value is None:
            return True
        last = self.last.get(value, -1)
        return last < self.clock or (last == self.clock and (not strict or value == but))

    def _settle(self, value: int, plane: int) -> Operand:
        self.store.holds[plane] = value
        self.store.home[value] = Operand(plane)
        if value in self.forever:
            self.store.keep(plane)
        return Operand(plane)


def read_values(lowered: Pass, graph_args: dict[int, tuple[int, ...]]) -> Iterator[int]:
    """Every value that a pass reads."""
    for stage in lowered.stages:
        for group in stage.products:
            for index in group:
                yield from graph_args[index]
        for index in stage.reductions:
            yield from graph_args[index]
        for program in stage.programs:
            yield from program_reads(program)


def program_reads(program: Pointwise) -> Iterator[int]:
    """Every value that a program reads."""
    for instruction in program.code:
        yield from instruction.args
    for value, _ in program.copies:
        yield value
