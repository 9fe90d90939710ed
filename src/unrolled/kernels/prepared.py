"""What the engine keeps for one cell: its traced program, the executables of it, and its packed weights.

A layer makes its cells anew for every call (:meth:`unrolled.Cell.bind`); what was prepared stays with the
template that all those copies share, and is never copied, saved or pickled with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.cells import Cell, GatedCell
from unrolled.cells.cell import Prepared
from unrolled.kernels.native import engine as _engine
from unrolled.kernels.native import halved
from unrolled.kernels.program import Program, Untraceable, hoist, plan, sizes_of, trace
from unrolled.kernels.program.ir import ROW
from unrolled.kernels.witness import Witness


class Runner(ABC):
    """A program of known sizes with what runs it.

    Attributes:
        program: what one step computes.
        names: the parameters that a call gives, in their order.
        matrices, vectors: those that are the program's matrices and vectors, in its order.
    """

    program: Program
    names: tuple[str, ...]
    matrices: tuple[str, ...]
    vectors: tuple[str, ...]

    def __init__(self, program: Program, sizes: Mapping[str, int], input_size: int) -> None:
        self.program = program
        self.matrices = tuple(m.name for m in program.signature.matrices)
        self.vectors = tuple(v.name for v in program.signature.vectors)
        ordered = tuple(sorted(sizes.items()))
        self._executables = tuple(
            _Executable(program, ordered, input_size, training) for training in (False, True)
        )

    def executable(self, *, training: bool) -> Any:
        """The program planned for these sizes; one for all cells of the same."""
        return self._executables[training].get()

    def all_vectors(self, parameters: Mapping[str, Tensor]) -> list[Tensor]:
        """The program's vectors, then those that it computes from vectors, as contiguous tensors."""
        own = [parameters[name].contiguous() for name in self.vectors]
        if not self.program.hoisted:
            return own
        return [*own, *(v.contiguous() for v in hoist(self.program, parameters))]

    def packs(self, weights: list[Tensor], *, training: bool, transposed: bool = False) -> Any:
        """Packed weights; those of inference are kept while tensors and versions stay."""
        kept = None if training else self.kept(weights)
        if kept is not None and kept.holds(weights):
            return kept.packs
        executable = self.executable(training=training)
        addresses = [w.data_ptr() for w in weights[: executable.counts[0]]]
        packs = executable.pack(addresses, transposed, halved() and not training)
        if not training:
            self.keep(weights, Packed(weights, packs))
        return packs

    @abstractmethod
    def kept(self, weights: list[Tensor]) -> Packed | None:
        """What :meth:`keep` was given last, perhaps out of date."""

    @abstractmethod
    def keep(self, weights: list[Tensor], packed: Packed) -> None:
        """Keeps packed weights for the next call."""


class Ready(Runner):
    """A cell's program with what runs it; ``names`` are the cell's parameters in their order.

    Attributes:
        fields, externs: the units of each of the state's fields; of the mask and the shares of zoneout.
        shapes: of the parameters; what has others must not reach the engine.
    """

    def __init__(self, cell: GatedCell, *, zoneout: bool) -> None:
        _check_declared(cell)
        numbers = sizes_of(cell)
        super().__init__(trace(cell, zoneout=zoneout), numbers, cell.input_size)
        signature = self.program.signature
        units = {**numbers, "I": cell.input_size, ROW: 1}
        self.fields = [units[field.size] for field in signature.state]
        self.externs = [units[field.size] for field in signature.externs]
        shapes = {n: tuple(p.shape) for n, p in cell.named_parameters(remove_duplicate=False)}
        shapes |= {v.name: (units[v.size] * v.blocks,) for v in signature.vectors}
        shapes |= {m.name: (units[m.rows] * m.blocks, units[m.columns]) for m in signature.matrices}
        self.shapes = [*shapes.values()]
        self.names = tuple(name for name, _ in cell.named_parameters(remove_duplicate=False))
        self._nested = any("." in name for name in self.names)
        self._kept: Packed | None = None

    def parameters(self, cell: Cell) -> list[Tensor]:
        """The cell's parameters (any tensors that are bound as such) in the order of ``names``."""
        if not self._nested:
            own = cell._parameters
            return [cast(Tensor, own[name]) for name in self.names]
        return [cast(Tensor, reduce(getattr, name.split("."), cell)) for name in self.names]

    def kept(self, weights: list[Tensor]) -> Packed | None:
        """The last packed weights: a cell has one set."""
        return self._kept

    def keep(self, weights: list[Tensor], packed: Packed) -> None:
        """Keeps packed weights for the next call."""
        self._kept = packed


def _check_declared(cell: GatedCell) -> None:
    """Raises ValueError if a declared parameter has another shape: what is found out here is kept."""
    H, gates, recurrent = cell.hidden_size, len(cell.gates), len(cell.recurrent_gates or ())
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (gates * H, cell.input_size),
        "weight_hh": (recurrent * H, cell.output_size),
        "bias_ih": (gates * H,),
        "bias_hh": (recurrent * H,),
    }
    shapes |= {name: tuple(map(cell._size, shape)) for name, *shape in cell.weights}
    shapes |= dict.fromkeys(cell.vectors, (H,))
    for name, parameter in cell.named_parameters(remove_duplicate=False):
        expected = shapes.get(name, parameter.shape)
        if parameter.shape != expected:
            raise ValueError(
                f"{name} of shape {list(parameter.shape)} given, {list(expected)} expected"
            )


class _Executable:
    """An executable, made when first needed."""

    def __init__(self, *key: Any) -> None:
        self._key, self._made = key, None

    def get(self) -> Any:
        if self._made is None:
            self._made = _executable(*self._key)
        return self._made


class Packed:
    """Packed weights, and what they were made of."""

    def __init__(self, weights: list[Tensor], packs: Any) -> None:
        self.packs = packs
        self._made_of = Witness(weights)

    def holds(self, weights: list[Tensor]) -> bool:
        """Whether the packed weights are still these."""
        if self.packs.isa != _engine.isa() or self.packs.half != halved():
            return False
        return self._made_of.holds(weights)


@lru_cache(maxsize=1024)
def _executable(
    program: Program, sizes: tuple[tuple[str, int], ...], input_size: int, training: bool
) -> Any:
    ints, floats = plan(program, dict(sizes), training=training).encode()
    return _engine.Executable.make(ints, floats, input_size)


def ready(cell: Cell, *, zoneout: bool = False) -> Ready | str:
    """What runs this cell on the engine, or why it cannot; found out once."""
    store = cell.prepared()
    key = (zoneout, cell.recurrent_mask is not None)
    found = store.get(key)
    if found is None:
        found = store[key] = _prepare(cell, zoneout)
    return found


def _prepare(cell: Cell, zoneout: bool) -> Ready | str:
    if _engine is None:
        return "the engine is not built"
    if not isinstance(cell, GatedCell):
        return f"{type(cell).__name__} is no gated cell"
    try:
        with torch.no_grad():
            runner = Ready(cell, zoneout=zoneout)
    except Untraceable as error:
        return str(error)
    try:
        runner.executable(training=False)
    except ValueError as error:  # more than an executable holds: 64 gates, 48 values of one program
        return f"its step is too large for the engine ({error})"
    return runner


__all__ = ["Packed", "Prepared", "Ready", "Runner", "ready"]
