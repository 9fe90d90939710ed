"""Single steps through a stack of gated cells, each product with a weight prepared once for all of them.

A search takes a step at a time, of rows that change in number and order. A call of the engine for each costs
more than the step itself; so does looking each time whether the weights are still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unrolled.cells import Cell, GatedCell
from unrolled.cells.deferred import Multiply, Product


class Steps:
    """The layers of a stack in one direction, for steps without dropout.

    Args:
        cells: bound cells, lowest first; see :meth:`fits`.
        product: makes what multiplies by a weight in every step. residual: as in a stack.

    >>> import torch
    >>> from unrolled.cells import GRU
    >>> from unrolled.cells.deferred import collect
    >>> cell = GRU(3, 4)
    >>> y, states = Steps([cell], collect)(torch.zeros(2, 3), [cell.initial_state(2)])
    >>> y.shape
    torch.Size([2, 4])
    """

    def __init__(self, cells: Sequence[Cell], product: Multiply, *, residual: bool = False) -> None:
        self._residual = residual
        self._layers: list[tuple[GatedCell, Product, Product | None]] = []
        for cell in cells:
            assert isinstance(cell, GatedCell)
            into = product(cell.weight_ih, cell.bias_ih if cell.bias else None)
            again = None
            if cell.recurrent_gates:
                again = product(cell.weight_hh, cell.bias_hh if cell.bias else None)
            self._layers.append((cell, into, again))

    @staticmethod
    def fits(cells: Sequence[Cell]) -> bool:
        """Whether all of these are gated cells that change nothing but the equations of a step."""
        usual = ("project_input", "advance", "advance_with", "forward")
        return all(
            isinstance(cell, GatedCell)
            and all(getattr(type(cell), name) is getattr(GatedCell, name) for name in usual)
            for cell in cells
        )

    def __call__(self, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """x [R, I] and the states of the cells: the last cell's output [R, O], the states after it."""
        found = []
        for number, ((cell, into, again), state) in enumerate(
            zip(self._layers, states, strict=True)
        ):
            state = cell.advance_with(into(x), state, again)
            x = state[0] + x if self._residual and number else state[0]
            found.append(state)
        return x, found
