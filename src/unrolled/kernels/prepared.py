"""What the engine keeps for one cell: its traced program, the executables of it, and its packed weights.

A layer makes its cells anew for every call (:meth:`unrolled.Cell.bind`); what was prepared stays with the
template that all those copies share, and is never copied, saved or pickled with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import Any, cast
from weakref import ref

import torch
from torch import Tensor

from unrolled.cells import Cell, GatedCell
from unrolled.cells.cell import Prepared
from unrolled.kernels.native import engine as _engine
from unrolled.kernels.program import Program, Untraceable, hoist, plan, sizes_of, trace


class Ready:
    """A cell's program with what runs it.

    Attributes:
        program: what one step computes.
        names: the cell's parameters, in their order.
        matrices, vectors: those that are the program's matrices and vectors, in its order.
    """

    def __init__(self, cell: GatedCell, *, zoneout: bool) -> None:
        self.program: Program = trace(cell, zoneout=zoneout)
        self.input_size = cell.input_size
        self.names = tuple(name for name, _ in cell.named_parameters(remove_duplicate=False))
        self.matrices = tuple(m.name for m in self.program.signature.matrices)
        self.vectors = tuple(v.name for v in self.program.signature.vectors)
        sizes = tuple(sorted(sizes_of(cell).items()))
        self._executables = tuple(
            _Executable(self.program, sizes, self.input_size, training)
            for training in (False, True)
        )
        self._nested = any("." in name for name in self.names)
        self._kept: _Packed | None = None

    def parameters(self, cell: Cell) -> list[Tensor]:
        """The cell's parameters (any tensors that are bound as such) in the order of ``names``."""
        if not self._nested:
            own = cell._parameters
            return [cast(Tensor, own[name]) for name in self.names]
        return [cast(Tensor, reduce(getattr, name.split("."), cell)) for name in self.names]

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
        executable = self.executable(training=training)
        if not training and self._kept is not None and self._kept.holds(weights):
            return self._kept.packs
        addresses = [w.data_ptr() for w in weights[: executable.counts[0]]]
        packs = executable.pack(addresses, transposed)
        if not training:
            self._kept = _Packed(weights, packs)
        return packs


class _Executable:
    """An executable, made when first needed."""

    def __init__(self, *key: Any) -> None:
        self._key, self._made = key, None

    def get(self) -> Any:
        if self._made is None:
            self._made = _executable(*self._key)
        return self._made


class _Packed:
    """Packed weights, and what they were made of: tensors, addresses, versions, contents.

    Versions alone do not tell: torch's fused optimisers and whatever writes through ``.data`` change a
    parameter without raising its version.
    """

    def __init__(self, weights: list[Tensor], packs: Any) -> None:
        self.packs = packs
        self._made_of = [(ref(w), w.data_ptr(), w._version, _contents(w)) for w in weights]

    def holds(self, weights: list[Tensor]) -> bool:
        """Whether the packed weights are still these."""
        if self.packs.isa != _engine.isa():
            return False
        for w, (made_of, address, version, contents) in zip(weights, self._made_of, strict=True):
            if made_of() is not w or w.data_ptr() != address or w._version != version:
                return False
            if _contents(w) != contents:
                return False
        return True


def _contents(weight: Tensor) -> int:
    return cast(int, _engine.fingerprint(weight.data_ptr(), weight.numel()))


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
            return Ready(cell, zoneout=zoneout)
    except Untraceable as error:
        return str(error)


__all__ = ["Prepared", "Ready", "ready"]
