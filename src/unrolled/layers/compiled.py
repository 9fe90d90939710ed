"""The layers while ``torch.compile`` traces them: names, then parameters, then one operator.

What a cell computes is found out eagerly, as constants of the graph. Calls that the operator does not take
(no program, another device or dtype, feedback, resets) go through the loop, which the compiler then traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from unrolled import kernels
from unrolled.cells import Cell
from unrolled.kernels import loop, operator
from unrolled.state import leaves


class Layer(Protocol):
    """A layer of cells."""

    def cells(self) -> list[Cell]:
        """Its cells, bound."""


class DescribedCell:
    """A bound cell as a graph needs it; for :func:`unrolled.layers.stack.run_stack` a cell."""

    def __init__(
        self,
        description: operator.Description,
        state: type[Any],
        parameters: Mapping[str, Tensor],
        recurrent_size: int,
        mask: Tensor | None = None,
    ) -> None:
        self.description, self.State, self.parameters = description, state, parameters
        self.recurrent_size, self.mask = recurrent_size, mask

    def initial_state(self, batch_size: int, *, device: str | None = None) -> Any:
        """The state before the first step, for ``batch_size`` rows."""
        return self.State(
            *(torch.full((batch_size, n), v, device=device) for n, v in self.description.initial)
        )

    def with_recurrent_mask(self, mask: Tensor) -> DescribedCell:
        """This cell under recurrent dropout's mask."""
        return DescribedCell(
            self.description, self.State, self.parameters, self.recurrent_size, mask
        )


def descriptions(layer: Layer, training: bool) -> list[operator.Description] | None:
    """The descriptions of a layer's cells, or None; the compiler calls this and keeps the result."""
    options = getattr(layer, "options", None)
    zoneout = options is not None and bool(options.zoneout)
    masked = options is not None and training and options.recurrent_dropout > 0
    if kernels.forced() not in ("auto", "engine"):
        return None
    found = []
    for cell in layer.cells():
        if masked:
            cell = cell.with_recurrent_mask(torch.ones(1, cell.recurrent_size))
        told = operator.describe(cell, zoneout=zoneout)
        if isinstance(told, str):
            return None
        found.append(told)
    return found


# What torch.compiler.assume_constant_result does, which would import the compiler (a second) with us.
descriptions._dynamo_marked_constant = True  # type: ignore[attr-defined]


def takes(x: Tensor, tensors: Sequence[Tensor]) -> bool:
    """Whether the operator takes such a call."""
    transformed = torch._C._are_functorch_transforms_active()  # torch.func
    if 0 in x.shape or transformed or torch.is_autocast_enabled("cpu"):
        return False
    return all(t.dtype is torch.float32 and t.device.type == "cpu" for t in (x, *tensors))


def run(cell: Any, x: Tensor, state: Any, call: Mapping[str, Any]) -> tuple[Tensor, Any]:
    """:func:`unrolled.kernels.run` in a graph."""
    if not isinstance(cell, DescribedCell):
        return loop.run(cell, x, state, **call)
    externs = [] if cell.mask is None else [cell.mask]
    externs += [] if call["zoneout"] is None else leaves(call["zoneout"])
    return operator.run(
        cell.description,
        dict(cell.parameters),
        x,
        state,
        lengths=call["lengths"],
        reverse=call["reverse"],
        externs=externs,
    )
