"""Cells: what happens in one time step. A new cell is one file here and one row of ``CELLS``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from unrolled.cells.cell import Activation, Cell, GatedCell, Gates, HiddenState
from unrolled.cells.elman import Elman
from unrolled.cells.gru import GRU
from unrolled.cells.indrnn import IndRNN
from unrolled.cells.jordan import Jordan, JordanState
from unrolled.cells.layer_norm import LayerNormLSTM
from unrolled.cells.lstm import LSTM, LSTMState
from unrolled.cells.minimal import MinGRU, MinLSTM
from unrolled.cells.multiplicative import MultiplicativeLSTM, MultiplicativeRNN
from unrolled.cells.mut import MUT1, MUT2, MUT3
from unrolled.cells.sru import SRU, SRUState
from unrolled.cells.xlstm import MLSTM, SLSTM, MLSTMState, SLSTMState

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": Elman,
    "elman-sigmoid": partial(Elman, activation="sigmoid"),
    "irnn": partial(Elman, activation="relu", recurrent_init="identity"),
    "jordan": Jordan,
    "lstm": LSTM,
    "lstm-1997": partial(
        LSTM, forget_gate=False, input_activation="centred2", output_activation="centred1"
    ),
    "lstm-peephole": partial(LSTM, peepholes=True),
    "lstm-coupled": partial(LSTM, coupled=True),
    "lstm-review": partial(LSTM, output_activation="identity"),
    "lstm-layer-norm": LayerNormLSTM,
    "gru": GRU,
    "gru-before": partial(GRU, reset_after=False),
    "mut1": MUT1,
    "mut2": MUT2,
    "mut3": MUT3,
    "multiplicative-rnn": MultiplicativeRNN,
    "multiplicative-lstm": MultiplicativeLSTM,
    "indrnn": IndRNN,
    "sru": SRU,
    "slstm": SLSTM,
    "mlstm": MLSTM,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}


def cell_named(name: str) -> Callable[..., Cell]:
    """The cell class (or preset) of that name; ValueError with the known names for any other.

    >>> cell_named("gru")(3, 4).gates
    ('r', 'z', 'n')
    """
    try:
        return CELLS[name]
    except KeyError:
        known = ", ".join(CELLS)
        raise ValueError(f"no cell {name!r}; the cells are {known}") from None


def describe(factory: Callable[..., Any]) -> str:
    """The first line of what a cell documents, for lists of cells."""
    described = factory.func if isinstance(factory, partial) else factory
    return (described.__doc__ or "").strip().partition("\n")[0]


__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "MLSTM",
    "MUT1",
    "MUT2",
    "MUT3",
    "SLSTM",
    "SRU",
    "Activation",
    "Cell",
    "Elman",
    "GatedCell",
    "Gates",
    "HiddenState",
    "IndRNN",
    "Jordan",
    "JordanState",
    "LSTMState",
    "LayerNormLSTM",
    "MLSTMState",
    "MinGRU",
    "MinLSTM",
    "MultiplicativeLSTM",
    "MultiplicativeRNN",
    "SLSTMState",
    "SRUState",
    "cell_named",
    "describe",
]
