r"""Multiplicative units, whose recurrent matrix depends on the input.

.. math::
   m &= (W_{mx} x + b_m) \odot (W_{mh} h^{(t-1)} + b_m') \\
   \text{RNN:}\quad h^{(t)} &= \tanh(W_{hx} x + W_{hm} m + b_h) \\
   \text{LSTM:}\quad i &= \sigma(W_{ix} x + W_{im} m + b_i) \qquad f, o \text{ likewise} \\
   c^{(t)} &= f \odot c^{(t-1)} + i \odot \tanh(W_{gx} x + W_{gm} m + b_g) \qquad
   h^{(t)} = o \odot \tanh(c^{(t)})

The first is Sutskever, Martens & Hinton's (2011, "Generating text with recurrent neural networks", the
section "The multiplicative RNN", with as many factors m as units), the second Krause, Lu, Murray &
Renals' (2016, "Multiplicative LSTM for sequence modelling", section 2). Both are published without the
biases of m, which start at zero here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells.cell import GatedCell, Gates, HiddenState
from unrolled.cells.lstm import LSTMState


class _Multiplicative(GatedCell):
    """What the two have in common: the factors m, the first block of ``weight_ih``, all of ``weight_hh``."""

    recurrent_gates = ("m",)
    recurrent_weights = ("weight_hh", "weight_hm")
    weight_hm: Tensor

    def reset_parameters(self) -> None:
        """torch's uniform initialisation, without the biases of m."""
        super().reset_parameters()
        if self.bias:
            with torch.no_grad():
                self.bias_ih[: self.hidden_size] = 0.0
            nn.init.zeros_(self.bias_hh)

    def _factors(self, gate: Gates) -> Tensor:
        return gate.m.input * gate.m.recurrent


class MultiplicativeRNN(_Multiplicative):
    """A simple recurrent network whose transition each input chooses.

    >>> MultiplicativeRNN(3, 4).weight_hm.shape
    torch.Size([4, 4])
    """

    gates = ("m", "h")
    weights = (("weight_hm", "H", "H"),)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        return HiddenState(h=torch.tanh(gate.h + F.linear(self._factors(gate), self.weight_hm)))


class MultiplicativeLSTM(_Multiplicative):
    """A memory cell whose gates see the last output through a product with the input.

    >>> MultiplicativeLSTM(3, 4).weight_hm.shape
    torch.Size([16, 4])
    """

    gates = ("m", "i", "f", "g", "o")
    State = LSTMState
    weights = (("weight_hm", "4H", "H"),)

    def step(self, gate: Gates, prev: LSTMState) -> LSTMState:
        """The equations above."""
        i, f, g, o = F.linear(self._factors(gate), self.weight_hm).chunk(4, -1)
        written = torch.sigmoid(gate.i + i) * torch.tanh(gate.g + g)
        c = torch.sigmoid(gate.f + f) * prev.c + written
        return LSTMState(h=torch.sigmoid(gate.o + o) * torch.tanh(c), c=c)
