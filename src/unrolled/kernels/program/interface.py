"""What a cell's step is given, with sizes by name: H the hidden units, O the outputs where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from unrolled.cells.cell import GatedCell
from unrolled.kernels.program.ir import ROW, Field, Matrix, Signature, Vector
from unrolled.kernels.program.proxy import Untraceable


@dataclass
class Interface:
    """A signature with the numbers behind its names."""

    signature: Signature
    numbers: dict[str, int]
    dtype: torch.dtype
    device: torch.device


@dataclass
class _Sizes:
    """Names for numbers of units; a new one for a number that is neither H nor O nor a multiple."""

    hidden: int
    output: int
    others: dict[int, str] = field(default_factory=dict)

    def declared(self, name: str) -> tuple[str, int] | None:
        """The size and multiple that a declaration such as "4H" means."""
        unit, times = name[-1:], name[:-1]
        if unit not in ("H", "O") or not (times == "" or times.isdigit()):
            return None
        return ("H" if self.hidden == self.output else unit), int(times or 1)

    def named(self, number: int) -> tuple[str, int]:
        """The size and multiple that a number of units is."""
        for name, units in (("H", self.hidden), ("O", self.output)):
            if number == units:
                return name, 1
        for name, units in (("H", self.hidden), ("O", self.output)):
            if units > 1 and number % units == 0:
                return name, number // units
        return self.others.setdefault(number, f"N{len(self.others) + 1}"), 1

    def of(self, declared: Sequence[str], dimension: int, number: int) -> tuple[str, int]:
        """The size and multiple of a parameter's dimension, as declared if it is, else by number."""
        known = self.declared(declared[dimension]) if dimension < len(declared) else None
        return known or self.named(number)

    def single(self) -> bool:
        """Whether one is a size."""
        return 1 in (self.hidden, self.output)

    def one(self, number: int) -> str:
        """The size that a number of units is, alone."""
        name, times = self.named(number)
        return name if times == 1 else self.others.setdefault(number, f"N{len(self.others) + 1}")


def interface(cell: GatedCell, *, zoneout: bool) -> Interface:
    """The interface of a cell; Untraceable if it has parameters or states that no program takes."""
    sizes = _Sizes(cell.hidden_size, cell.output_size)
    gates, recurrent = tuple(cell.gates), tuple(cell.recurrent_gates or ())
    output = "H" if cell.hidden_size == cell.output_size else "O"
    matrices, vectors, scalars = [], [], []
    declared = {name: shape for name, *shape in cell.weights}
    reference = None
    for name, parameter in _in_order(cell):
        reference = parameter if reference is None else reference
        shape = tuple(parameter.shape)
        if parameter.numel() == 0:
            continue
        if name == "weight_ih":
            matrices.append(Matrix(name, "H", len(gates), "I"))
        elif name == "weight_hh":
            matrices.append(Matrix(name, "H", len(recurrent), output))
        elif len(shape) <= 1:
            of_units = _of_gates(cell, name) or name in declared
            if not of_units and (shape == () or (shape == (1,) and not sizes.single())):
                scalars.append(name)
                continue
            size = ("H", shape[0] // cell.hidden_size) if _of_gates(cell, name) else None
            size = size or sizes.of(declared.get(name, ()), 0, shape[0])
            vectors.append(Vector(name, *size))
        elif len(shape) == 2:
            rows = sizes.of(declared.get(name, ()), 0, shape[0])
            columns, times = sizes.of(declared.get(name, ()), 1, shape[1])
            if times != 1:
                columns = sizes.one(shape[1])
            matrices.append(Matrix(name, *rows, columns))
        else:
            raise Untraceable(f"its parameter {name} has {len(shape)} dimensions")
    if reference is None or not matrices or matrices[0].name != "weight_ih":
        raise Untraceable("it has no weight_ih")
    state = _state(cell, sizes)
    externs = []
    if getattr(cell, "recurrent_mask", None) is not None:
        number = getattr(cell, "recurrent_size", 0) or cell.output_size
        externs.append(Field("recurrent_mask", sizes.one(number)))
    if zoneout:
        externs += [Field("zoneout_" + f.name, f.size) for f in state]
    numbers = {"H": cell.hidden_size, output: cell.output_size}
    numbers |= {name: number for number, name in sizes.others.items()}
    signature = Signature(
        gates, recurrent, state, tuple(matrices), tuple(vectors), tuple(scalars), tuple(externs)
    )
    return Interface(signature, numbers, reference.dtype, reference.device)


def _of_gates(cell: GatedCell, name: str) -> bool:
    return name in cell.vectors or (name in ("bias_ih", "bias_hh") and bool(cell.bias))


def _in_order(cell: GatedCell) -> list[tuple[str, torch.Tensor]]:
    """The parameters in the order of a program's matrices and vectors."""
    found: dict[str, torch.Tensor] = dict(cell.named_parameters(remove_duplicate=False))
    first = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *(w[0] for w in cell.weights))
    order = dict.fromkeys((*(n for n in (*first, *cell.vectors) if n in found), *found))
    return [(name, found[name]) for name in order]


def _state(cell: GatedCell, sizes: _Sizes) -> tuple[Field, ...]:
    state = cell.initial_state(1)
    names = getattr(state, "_fields", None)
    if not isinstance(state, tuple) or names is None or type(state) is not cell.State:
        raise Untraceable("its state is no NamedTuple of tensors")
    fields = []
    for name, value in zip(names, state, strict=True):
        if not isinstance(value, torch.Tensor) or value.ndim != 2:
            raise Untraceable(f"its state's {name} is not [rows, units]")
        units = value.shape[1]
        single = units == 1 and not sizes.single()
        fields.append(Field(name, ROW if single else sizes.one(units)))
    return tuple(fields)


def sizes_of(cell: GatedCell) -> dict[str, int]:
    """The number behind each name of a size, which :func:`plan` needs beside the cell's program."""
    return interface(cell, zoneout=False).numbers
