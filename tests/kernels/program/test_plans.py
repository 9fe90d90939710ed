"""Plans of the table's cells, run slowly, equal the loop: outputs, states, gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from against_loop import I, check, prepare

from unrolled.cells import CELLS, LSTM, Jordan
from unrolled.kernels.program import Untraceable, trace

UNTRACEABLE = ("mlstm",)
H = 5
VARIANTS: dict[str, Any] = {
    **{name: factory for name, factory in CELLS.items() if name not in UNTRACEABLE},
    "lstm-projection": partial(LSTM, projection_size=3),
    "lstm-projection-peephole": partial(LSTM, projection_size=2, peepholes=True),
    "jordan-softmax": partial(Jordan, output_size=3, output_activation="softmax"),
    "jordan-one-output": partial(Jordan, output_size=1, output_activation="tanh"),
}
cells = pytest.mark.parametrize("name", VARIANTS)


@cells
@pytest.mark.parametrize("bias", [True, False])
def test_plans_equal_the_loop(name: str, bias: bool) -> None:
    check(prepare(VARIANTS[name](I, H, bias=bias)))


@cells
def test_without_lengths(name: str) -> None:
    check(prepare(VARIANTS[name](I, H)), lengths=None)


@cells
def test_from_the_initial_state(name: str) -> None:
    cell = prepare(VARIANTS[name](I, H))
    check(cell, state=cell.initial_state(4))


@cells
def test_zoneout(name: str) -> None:
    check(prepare(VARIANTS[name](I, H)), zoneout=True)


@cells
def test_recurrent_mask(name: str) -> None:
    cell = prepare(VARIANTS[name](I, H))
    if cell.recurrent_size == 0:
        pytest.skip("the cell has no recurrent product")
    check(cell, mask=True)
    check(cell, mask=True, zoneout=True)


@cells
def test_one_unit(name: str) -> None:
    if "projection" in name or "jordan" in name:
        pytest.skip("sizes of its own")
    check(prepare(VARIANTS[name](I, 1)))


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_has_no_program_says_so(name: str) -> None:
    with pytest.raises(Untraceable):
        trace(CELLS[name](I, 4))


def test_sizes_are_names() -> None:
    assert trace(LSTM(3, 5)) == trace(LSTM(7, 8))
    assert trace(LSTM(3, 1)).hash == trace(LSTM(3, 64)).hash
    assert trace(LSTM(3, 5)).hash != trace(LSTM(3, 5, peepholes=True)).hash
