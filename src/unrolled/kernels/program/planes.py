"""The plan: planes, stages and gradients as the engine takes them, and their encoding as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

VERSION = 1
ROW_SIZE = -1
KINDS = (
    *("gate", "state", "saved", "step", "vector", "extern", "dy", "grad", "carry", "bstep"),
    "vecgrad",
)
OPS = (
    *("copy", "add", "sub", "mul", "div", "fma", "fnma", "fms", "addc", "mulc", "rsubc", "const"),
    *("sigmoid", "tanh", "relu", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "recip"),
    *("max", "min", "maxc", "minc", "lt", "le", "eq", "ltc", "lec", "eqc", "gtc", "gec", "where"),
    *("dsigmoid", "dtanh", "drelu", "lerp", "softplus", "vecacc", "vecsum", "neg", "dabs"),
)
REDUCTION_OPS = ("sum", "mean", "amax")
BINDINGS, TEMPS = 48, 24  # the most of one program
BLOCKS = 63  # the last that a weight, or a block of one, may be


class Plane(NamedTuple):
    """What holds one value: its kind, size (an index, or -1 for one number per row) and sources."""

    kind: str
    size: int
    source: int = -1
    source2: int = -1


class Operand(NamedTuple):
    """A plane at this step, or (a state at shift -1) at the one before."""

    plane: int
    shift: int = 0


class Output(NamedTuple):
    """Where a product goes, and what it is added to: 0 nothing, 1 a plane, 2 a vector."""

    to: Operand
    init: int = 0
    start: Operand = Operand(-1)


class Product(NamedTuple):
    """Blocks of a weight times one operand; transposed, the sum over blocks of each times its own."""

    weight: int
    transposed: bool
    block_size: int
    blocks: tuple[int, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Output, ...]


class Reduction(NamedTuple):
    """Units to one number per row."""

    op: str
    source: Operand
    to: Operand


class Code(NamedTuple):
    """One instruction on registers: bindings first, then temporaries."""

    op: str
    d: int
    a: int
    b: int
    c: int
    number: float


class PointwiseProgram(NamedTuple):
    """Elementwise instructions over one size."""

    size: int
    bindings: tuple[Operand, ...]
    temps: int
    code: tuple[Code, ...]


class PlanStage(NamedTuple):
    """Products, then reductions, then programs."""

    products: tuple[Product, ...]
    reductions: tuple[Reduction, ...]
    programs: tuple[PointwiseProgram, ...]


class WeightGradient(NamedTuple):
    """dW[block] is the sum over rows of a gradient times what was multiplied."""

    slot: int
    block: int
    size: int
    plane: int
    argument: Operand


class VectorGradient(NamedTuple):
    """The gradient of a vector's block gets the column sums of a plane."""

    tensor: int
    block: int
    plane: int


@dataclass(frozen=True)
class Plan:
    """How the engine runs a cell: see ``docs/explanation/engine.md`` for each field."""

    training: bool
    sizes: tuple[int, ...]
    planes: tuple[Plane, ...]
    gates: tuple[tuple[int, tuple[int, ...]], ...]
    states: tuple[tuple[int, int], ...]
    dy: int
    forward: tuple[PlanStage, ...]
    backward: tuple[PlanStage, ...]
    gate_gradients: tuple[int, ...]
    weight_gradients: tuple[WeightGradient, ...]
    vector_gradients: tuple[VectorGradient, ...]

    def encode(self) -> tuple[list[int], list[float]]:
        """The plan as integers and, for each instruction in order, its number."""
        floats: list[float] = []
        ints = [VERSION, int(self.training), len(self.sizes), *self.sizes, len(self.planes)]
        for plane in self.planes:
            ints += [KINDS.index(plane.kind), *plane[1:]]
        ints.append(len(self.gates))
        for gate, biases in self.gates:
            ints += [gate, len(biases), *biases]
        ints.append(len(self.states))
        for state in self.states:
            ints += state
        ints.append(self.dy)
        for stages in (self.forward, self.backward):
            ints.append(len(stages))
            for stage in stages:
                ints += _encode_stage(stage, floats)
        ints += [len(self.gate_gradients), *self.gate_gradients, len(self.weight_gradients)]
        for slot, block, size, plane_index, argument in self.weight_gradients:
            ints += [slot, block, size, plane_index, *argument]
        ints.append(len(self.vector_gradients))
        for gradient in self.vector_gradients:
            ints += gradient
        return ints, floats


def _encode_stage(stage: PlanStage, floats: list[float]) -> list[int]:
    ints = [len(stage.products)]
    for p in stage.products:
        ints += [p.weight, int(p.transposed), p.block_size, len(p.blocks), *p.blocks]
        ints.append(len(p.inputs))
        for operand in p.inputs:
            ints += operand
        ints.append(len(p.outputs))
        for to, init, start in p.outputs:
            ints += [*to, init, *start]
    ints.append(len(stage.reductions))
    for op, source, to in stage.reductions:
        ints += [REDUCTION_OPS.index(op), *source, *to]
    ints.append(len(stage.programs))
    for program in stage.programs:
        ints += [program.size, len(program.bindings)]
        for operand in program.bindings:
            ints += operand
        ints += [program.temps, len(program.code)]
        for op, *registers, number in program.code:
            ints += [OPS.index(op), *registers]
            floats.append(number)
    return ints
