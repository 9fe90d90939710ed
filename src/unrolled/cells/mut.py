r"""The three best cells of an architecture search (Jozefowicz, Zaremba & Sutskever 2015, "An empirical
exploration of recurrent network architectures", section 3.3).

.. math::
   \text{MUT1:}\quad z &= \sigma(W_{zx} x + b_z) \qquad r = \sigma(W_{rx} x + W_{rh} h + b_r) \\
   n &= \tanh(W_{nh} (r \odot h) + \tanh(W_{nx} x) + b_n) \\
   \text{MUT2:}\quad z &= \sigma(W_{zx} x + W_{zh} h + b_z) \qquad r = \sigma(W_{rx} x + W_{rh} h + b_r) \\
   n &= \tanh(W_{nh} (r \odot h) + W_{nx} x + b_n) \\
   \text{MUT3:}\quad z &= \sigma(W_{zx} x + W_{zh} \tanh(h) + b_z) \qquad r, n \text{ as MUT2's} \\
   h^{(t)} &= n \odot z + h^{(t-1)} \odot (1 - z), \quad h = h^{(t-1)}

The paper adds x itself in MUT1's candidate and in MUT2's r, which asks for inputs of size H; here they
go through :math:`W_{nx}` and :math:`W_{rx}`, of which the identity is a special case (without it, and
started like the others, MUT2 is the GRU of Cho et al. with z and 1 - z exchanged).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells.cell import GatedCell, Gates, HiddenState


class _Mutation(GatedCell):
    """What the three have in common: the candidate's recurrent matrix ``weight_hn`` and the last line."""

    gates = ("z", "r", "n")
    weights: tuple[tuple[str, ...], ...] = (("weight_hn", "H", "H"),)
    recurrent_weights: tuple[str, ...] = ("weight_hh", "weight_hn")
    weight_hn: Tensor

    def _reset(self, r: Tensor, prev: HiddenState) -> Tensor:
        return F.linear(self.masked(torch.sigmoid(r) * prev.h), self.weight_hn)

    def _mix(self, z: Tensor, n: Tensor, prev: HiddenState) -> HiddenState:
        z = torch.sigmoid(z)
        return HiddenState(h=torch.tanh(n) * z + prev.h * (1 - z))


class MUT1(_Mutation):
    """A GRU whose update gate sees the input alone and whose candidate squashes the input by itself.

    >>> sorted(name for name, _ in MUT1(3, 4).named_parameters())
    ['bias_hh', 'bias_ih', 'bias_n', 'weight_hh', 'weight_hn', 'weight_ih']
    """

    recurrent_gates = ("r",)
    bias_n: Tensor

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        if options.get("bias", True):
            self.vectors = ("bias_n",)  # outside the inner tanh, where bias_ih is inside
        super().__init__(input_size, hidden_size, **options)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        n = self._reset(gate.r, prev) + torch.tanh(gate.n)
        return self._mix(gate.z, n + self.bias_n if self.bias else n, prev)


class MUT2(_Mutation):
    """A GRU with its recurrent product after the reset gate, written from the other end.

    >>> MUT2(3, 4).recurrent_gates
    ('z', 'r')
    """

    recurrent_gates = ("z", "r")

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        return self._mix(gate.z, self._reset(gate.r, prev) + gate.n, prev)


class MUT3(_Mutation):
    """A GRU whose update gate sees the squashed state.

    >>> MUT3(3, 4).weight_hz.shape
    torch.Size([4, 4])
    """

    recurrent_gates = ("r",)
    weights = (("weight_hz", "H", "H"), ("weight_hn", "H", "H"))
    recurrent_weights = ("weight_hh", "weight_hz", "weight_hn")
    weight_hz: Tensor

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        z = gate.z + F.linear(self.masked(torch.tanh(prev.h)), self.weight_hz)
        return self._mix(z, self._reset(gate.r, prev) + gate.n, prev)
