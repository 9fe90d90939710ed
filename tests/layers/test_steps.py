"""Prepared steps through a stack are the stack's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unrolled
from unrolled import kernels
from unrolled.cells import CELLS
from unrolled.cells.deferred import collect
from unrolled.layers.steps import Steps

FITS = [
    "elman",
    "lstm",
    "lstm-peephole",
    "lstm-coupled",
    "lstm-layer-norm",
    "gru",
    "gru-before",
    "mut1",
    "multiplicative-lstm",
    "indrnn",
    "minlstm",
    "slstm",
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("cell", FITS)
def test_equal_the_stack(cell: str, residual: bool, packed: bool) -> None:
    torch.manual_seed(0)
    stack = unrolled.Recurrent(cell, 6, 6, 3, residual=residual).eval()
    cells = stack.cells()
    assert Steps.fits(cells)
    x = torch.randn(5, 4, 6)
    with torch.no_grad():
        expected, end = stack(x)
        steps = Steps(cells, kernels.Packed if packed else collect, residual=residual)
        states, found = list(stack.initial_state(4)), []
        for row in x:
            y, states = steps(row, states)
            found.append(y)
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-5)
    for one, two in zip(states, end, strict=True):
        torch.testing.assert_close(tuple(one), tuple(two), rtol=1e-4, atol=1e-5)


def test_which_cells_fit() -> None:
    class Own(unrolled.cells.GRU):
        def advance(self, projected, state, context=None):  # type: ignore[no-untyped-def]
            return super().advance(2 * projected, state, context)

    assert not Steps.fits([CELLS["mlstm"](3, 4)])
    assert not Steps.fits([Own(3, 4)])
    assert not Steps.fits([nn.Identity()])  # type: ignore[list-item]
