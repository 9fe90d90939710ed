"""The engine as one operator of ``torch.library`` for all cells, for ``torch.compile``.

``unrolled::recurrent`` runs a cell over time; which one is an argument, the program's canonical JSON, so
that a graph with the operator in it stands alone. It saves nothing but its inputs, and
``unrolled::recurrent_backward`` runs forward once more. ``unrolled::hoisted`` computes the program's
vectors of vectors in torch's own operators, which autograd and the compiler see through. Eager calls do
not come here.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from unrolled.cells import Cell
from unrolled.kernels import engine
from unrolled.kernels.prepared import Packed, Runner, ready
from unrolled.kernels.program import Program, hoist
from unrolled.kernels.program.ir import ROW
from unrolled.state import leaves, rebuild

_NAMESPACE = "unrolled"
_GIVEN = (
    "Tensor x, Tensor[] states, Tensor[] matrices, Tensor[] vectors, Tensor[] externs, "
    "Tensor? lengths, str program, bool reverse"
)
torch.library.define(f"{_NAMESPACE}::recurrent", f"({_GIVEN}) -> Tensor[]")
torch.library.define(
    f"{_NAMESPACE}::recurrent_backward",
    f"({_GIVEN}, Tensor?[] gradients, bool[] wanted) -> Tensor[]",
)
torch.library.define(f"{_NAMESPACE}::hoisted", "(Tensor[] parameters, str program) -> Tensor[]")


class Description(NamedTuple):
    """What a graph must know of a cell: constants alone.

    Attributes:
        program: its canonical JSON.
        matrices, vectors, scalars: the names of its parameters, in the program's order.
        hoists: whether the program computes vectors from vectors.
        initial: of each field of the initial state, its units and the number they all are.
    """

    program: str
    matrices: tuple[str, ...]
    vectors: tuple[str, ...]
    scalars: tuple[str, ...]
    hoists: bool
    initial: tuple[tuple[int, float], ...]


def describe(cell: Cell, *, zoneout: bool) -> Description | str:
    """The description of a bound cell, or why it has none."""
    found = ready(cell, zoneout=zoneout)
    if isinstance(found, str):
        return found
    initial = []
    for part in leaves(cell.initial_state(1)):
        if part.requires_grad or (part != part.reshape(-1)[0]).any():
            return "its initial state is no constant"
        initial.append((part.shape[1], float(part.reshape(-1)[0])))
    program = found.program
    return Description(
        program.to_json(),
        found.matrices,
        found.vectors,
        program.signature.scalars,
        bool(program.hoisted),
        tuple(initial),
    )


def run(
    description: Description,
    parameters: dict[str, Tensor],
    x: Tensor,
    state: Any,
    *,
    lengths: Tensor | None = None,
    reverse: bool = False,
    externs: list[Tensor],
) -> tuple[Tensor, Any]:
    """A described cell over time; ``externs`` are the recurrent mask and zoneout's shares, if any."""
    matrices = [parameters[name] for name in description.matrices]
    vectors = [parameters[name] for name in description.vectors]
    if description.hoists:
        scalars = [parameters[name] for name in description.scalars]
        vectors += torch.ops.unrolled.hoisted([*matrices, *vectors, *scalars], description.program)
    y, *final = torch.ops.unrolled.recurrent(
        x, leaves(state), matrices, vectors, externs, lengths, description.program, reverse
    )
    return y, rebuild(state, final)


class _Runner(Runner):
    """A program of known sizes that gets its computed vectors too, for all cells that have it."""

    def __init__(self, program: Program, units: dict[str, int]) -> None:
        super().__init__(
            program, {n: u for n, u in units.items() if n not in ("I", ROW)}, units["I"]
        )
        signature = program.signature
        self.vectors += tuple(f"computed {index}" for index in program.hoisted)
        self.names = (*self.matrices, *self.vectors)
        self.fields = [units[f.size] for f in signature.state]
        self.externs = [units[e.size] for e in signature.externs]
        self.shapes: list[tuple[int, ...]] = [
            *((units[m.rows] * m.blocks, units[m.columns]) for m in signature.matrices),
            *((units[v.size] * v.blocks,) for v in signature.vectors),
            *((units[program.shapes[index].size],) for index in program.hoisted),
        ]
        self._packed: Any = WeakTensorKeyDictionary()  # by a cell's first weight, while it lives

    def kept(self, weights: list[Tensor]) -> Packed | None:
        """The last packed weights of the cell with these."""
        found: Packed | None = self._packed.get(weights[0])
        return found

    def keep(self, weights: list[Tensor], packed: Packed) -> None:
        """Keeps packed weights for the next call."""
        self._packed[weights[0]] = packed


@lru_cache(maxsize=256)
def _program(text: str) -> Program:
    return Program.from_json(text)


@lru_cache(maxsize=256)
def _runner(text: str, units: tuple[tuple[str, int], ...]) -> _Runner:
    return _Runner(_program(text), dict(units))


def _units(program: Program, inputs: _Inputs) -> tuple[tuple[str, int], ...]:
    """The number behind the name of each size, from the shapes of what is given."""
    signature, found = program.signature, {ROW: 1}
    for matrix, m in zip(signature.matrices, inputs.matrices, strict=True):
        found.setdefault(matrix.rows, m.shape[0] // matrix.blocks)
        found.setdefault(matrix.columns, m.shape[1])
    for vector, v in zip(signature.vectors, inputs.vectors, strict=False):
        found.setdefault(vector.size, v.shape[0] // vector.blocks)
    for field, s in zip(signature.state, inputs.states, strict=True):
        found.setdefault(field.size, s.shape[1])
    for field, e in zip(signature.externs, inputs.externs, strict=True):
        found.setdefault(field.size, e.shape[-1])
    return tuple(sorted(found.items()))


class _Inputs(NamedTuple):
    """What both operators are given, in their order."""

    x: Tensor
    states: list[Tensor]
    matrices: list[Tensor]
    vectors: list[Tensor]
    externs: list[Tensor]
    lengths: Tensor | None
    program: str
    reverse: bool

    def tensors(self) -> list[Tensor]:
        """States, parameters, externs."""
        return [*self.states, *self.matrices, *self.vectors, *self.externs]

    def call(self) -> tuple[engine.Call, list[Tensor]]:
        """The engine's form of the call and its :meth:`tensors`, checked."""
        (steps, batch), program = self.x.shape[:2], _program(self.program)
        runner = _runner(self.program, _units(program, self))
        given = self.tensors()
        if any(t.dtype is not torch.float32 or not t.is_cpu for t in (self.x, *given)):
            raise ValueError("unrolled::recurrent computes in float32 on the CPU")
        shapes = [(steps, batch, runner.shapes[0][1]), *((batch, n) for n in runner.fields)]
        shapes += runner.shapes
        shapes += [(*e.shape[:-1], n) for e, n in zip(self.externs, runner.externs, strict=True)]
        if [tuple(t.shape) for t in (self.x, *given)] != shapes:
            raise ValueError(
                f"unrolled::recurrent was given {[list(t.shape) for t in (self.x, *given)]}, "
                f"{[list(shape) for shape in shapes]} expected"
            )
        if any(e.shape[:-1] not in ((batch,), (steps, batch)) for e in self.externs):
            raise ValueError("unrolled::recurrent needs externs of [B, n] or [T, B, n]")
        lengths = self._lengths(steps, batch)
        sequences, whole = engine.sequences_of(steps, batch, lengths, self.reverse)
        externs = [engine.extern(e, steps) for e in self.externs]
        count = len(self.states)
        call = engine.Call(None, runner, sequences, whole, lengths, self.reverse, None, count)
        return call, [*given[: len(given) - len(externs)], *externs]

    def _lengths(self, steps: int, batch: int) -> Tensor | None:
        """The lengths, None if every sequence is whole; checked here, where their values are known."""
        if self.lengths is None:
            return None
        ends = self.lengths.tolist()
        if len(ends) != batch or not all(0 <= end <= steps for end in ends):
            raise ValueError(f"lengths must be {batch} in 0..{steps} (the input's T), {ends} given")
        return None if all(end == steps for end in ends) else self.lengths


def _forward(*arguments: Any) -> list[Tensor]:
    call, tensors = _Inputs(*arguments).call()
    vectors = [v.contiguous() for v in arguments[3]]
    return list(call.forward(arguments[0], tensors, training=False, vectors=vectors))


def _backward(*arguments: Any) -> list[Tensor]:
    """The gradients that are wanted, of x, states, matrices and vectors in turn."""
    *given, gradients, wanted = arguments
    inputs = _Inputs(*given)
    call, tensors = inputs.call()
    vectors = [v.contiguous() for v in inputs.vectors]
    saved: list[Any] = []
    call.forward(inputs.x, tensors, training=True, vectors=vectors, saved=saved)
    context = SimpleNamespace(
        call=call,
        saved_tensors=(inputs.x, *tensors, SimpleNamespace(kept=saved[0])),
        needs_input_grad=(False, *wanted, *(False for _ in inputs.externs)),
        vectors=vectors,
    )
    dy, *d_final = gradients
    _, *found = engine.backward(context, dy, d_final)
    leading = [inputs.x, *tensors[: len(wanted) - 1]]
    return [
        torch.zeros_like(t, memory_format=torch.contiguous_format) if g is None else g
        for t, g, want in zip(leading, found, wanted, strict=False)
        if want
    ]


def _fake_forward(*arguments: Any) -> list[Tensor]:
    x, states = arguments[:2]
    final = [torch.empty_like(s, memory_format=torch.contiguous_format) for s in states]
    return [engine.like_input(x, states[0].shape[-1], zeros=False), *final]


def _fake_backward(*arguments: Any) -> list[Tensor]:
    x, states, matrices, vectors = arguments[:4]
    found = [engine.like_input(x, x.shape[-1], zeros=False)]
    found += [
        torch.empty_like(t, memory_format=torch.contiguous_format)
        for t in (*states, *matrices, *vectors)
    ]
    return [g for g, want in zip(found, arguments[-1], strict=True) if want]


def _hoisted(parameters: list[Tensor], program: str) -> list[Tensor]:
    known = _program(program)
    signature = known.signature
    names = [m.name for m in signature.matrices] + [v.name for v in signature.vectors]
    return hoist(known, dict(zip([*names, *signature.scalars], parameters, strict=True)))


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, states, matrices, vectors, externs, lengths, ctx.program, ctx.reverse = inputs
    ctx.counts = [1, len(states), len(matrices), len(vectors), len(externs), lengths is not None]
    ends = [] if lengths is None else [lengths]
    ctx.save_for_backward(x, *states, *matrices, *vectors, *externs, *ends)


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> Any:
    saved = list(ctx.saved_tensors)
    (x,), states, matrices, vectors, externs, ends = (
        [saved.pop(0) for _ in range(count)] for count in ctx.counts
    )
    needs = ctx.needs_input_grad
    wanted = [needs[0], *(want for group in needs[1:4] for want in group)]
    found = torch.ops.unrolled.recurrent_backward(
        x, states, matrices, vectors, externs, ends[0] if ends else None,
        ctx.program, ctx.reverse, gradients, wanted,
    )  # fmt: skip
    left = iter(found)
    every = [next(left) if want else None for want in wanted]
    groups = [[every.pop(1) for _ in range(count)] for count in ctx.counts[1:4]]
    return every[0], *groups, [None] * ctx.counts[4], None, None, None


def _refuse(ctx: Any, *gradients: Any) -> Any:
    raise RuntimeError(
        "Trying to backward through unrolled::recurrent_backward but no autograd formula was registered: "
        "derivatives of the derivative need the layer itself, not compiled"
    )


for _name, _real, _fake in (
    ("recurrent", _forward, _fake_forward),
    ("recurrent_backward", _backward, _fake_backward),
):
    torch.library.impl(f"{_NAMESPACE}::{_name}", "CPU", _real)
    torch.library.register_fake(f"{_NAMESPACE}::{_name}", _fake)
torch.library.impl(f"{_NAMESPACE}::hoisted", "CompositeImplicitAutograd", _hoisted)
torch.library.register_autograd(f"{_NAMESPACE}::recurrent", _differentiate, setup_context=_setup)
torch.library.register_autograd(f"{_NAMESPACE}::recurrent_backward", _refuse)
