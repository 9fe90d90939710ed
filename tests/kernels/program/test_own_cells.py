"""Plans of cells as users write them equal the loop."""

from __future__ import annotations

import pytest
from against_loop import I, check, prepare
from own_cells import CELLS

cells = pytest.mark.parametrize("name", CELLS)


@cells
@pytest.mark.parametrize("bias", [True, False])
def test_plans_equal_the_loop(name: str, bias: bool) -> None:
    check(prepare(CELLS[name](I, 5, bias=bias)))


@cells
def test_zoneout_and_mask(name: str) -> None:
    cell = prepare(CELLS[name](I, 3))
    check(cell, zoneout=True, mask=cell.recurrent_size > 0, lengths=None)


@cells
def test_from_the_initial_state(name: str) -> None:
    cell = prepare(CELLS[name](I, 4))
    check(cell, state=cell.initial_state(4))
