"""torch's own recurrent layers (oneDNN, MKL, cuDNN) for the cells that are exactly theirs.

:func:`mode` says which of torch's operators a cell equals, if any. One time step alone takes torch's cell
operator, which skips the weight reordering that its layer operator repeats at every call.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import _VF, Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.cells import GRU, LSTM, Cell, Elman, HiddenState, LSTMState


def mode(cell: Cell) -> str | None:
    """torch's operator that equals this cell (lstm, gru, rnn_tanh or rnn_relu), or None.

    Never of a cell with a recurrent mask: torch has no recurrent dropout.
    """
    if cell.recurrent_mask is not None:
        return None
    if type(cell) is Elman and cell.activation in ("tanh", "relu"):
        return "rnn_" + cell.activation
    if type(cell) is GRU and cell.reset_after:
        return "gru"
    if type(cell) is LSTM:
        squashing = (cell.input_activation, cell.output_activation)
        plain = cell.forget_gate and not cell.coupled and not cell.peepholes
        return "lstm" if plain and squashing == ("tanh", "tanh") else None
    return None


def run(
    cell: Cell, x: Tensor, state: Any, *, lengths: Tensor | None = None, reverse: bool = False
) -> tuple[Tensor, Any]:
    """Runs ``cell`` over time; arguments and result as :func:`unrolled.kernels.run`."""
    operator = cast(str, mode(cell))
    weights = _weights(cell)
    if x.shape[0] == 1 and lengths is None and not getattr(cell, "projection_size", 0):
        return _single_step(operator, weights, x, state)
    order = _reversal(x.shape[0], lengths, x.device) if reverse and lengths is not None else None
    if order is not None:
        x = _reorder(x, order)
    elif reverse:
        x = x.flip(0)
    output, state = _layer(operator, weights, x, state, lengths)
    if order is not None:
        output = _reorder(output, order)
    elif reverse:
        output = output.flip(0)
    return output, state


def _weights(cell: Cell) -> list[Tensor]:
    names = ["weight_ih", "weight_hh"]
    names += ["bias_ih", "bias_hh"] if cast(Any, cell).bias else []
    names += ["weight_hr"] if getattr(cell, "projection_size", 0) else []
    return [cast(Tensor, getattr(cell, name)) for name in names]


def _single_step(operator: str, weights: list[Tensor], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    if operator == "lstm":
        following = LSTMState(*_VF.lstm_cell(x[0], tuple(state), *weights))
        return following.h[None], following
    h = getattr(_VF, operator + "_cell")(x[0], state.h, *weights)
    return h[None], HiddenState(h)


def _layer(
    operator: str, weights: list[Tensor], x: Tensor, state: Any, lengths: Tensor | None
) -> tuple[Tensor, Any]:
    initial = tuple(part[None] for part in state)  # [1, B, H]: one layer, one direction
    hx = initial if operator == "lstm" else initial[0]
    # has_biases, num_layers, dropout, train, bidirectional
    flags = (len(weights) > 3, 1, 0.0, torch.is_grad_enabled(), False)
    function = getattr(_VF, operator)
    if lengths is None:
        output, *final = function(x, hx, weights, *flags, False)
    else:
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        hx = tuple(h.index_select(1, packed.sorted_indices) for h in initial)
        data, *final = function(
            packed.data, packed.batch_sizes, hx if operator == "lstm" else hx[0], weights, *flags
        )
        output, _ = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])
        final = [h.index_select(1, packed.unsorted_indices) for h in final]
    parts = [h[0] for h in final]
    return output, LSTMState(*parts) if operator == "lstm" else HiddenState(*parts)


def _reversal(steps: int, lengths: Tensor, device: torch.device) -> Tensor:
    """For each sequence the time steps back from its own end, then the padding, [T, B]."""
    t = torch.arange(steps, device=device)[:, None]
    lengths = lengths.to(device)
    return torch.where(t < lengths, lengths - 1 - t, t)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(0, order[:, :, None].expand_as(x))
