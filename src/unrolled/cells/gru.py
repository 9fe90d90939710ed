r"""The gated recurrent unit (Cho et al. 2014, equations 5-8).

.. math::
   r &= \sigma(a_r) \qquad z = \sigma(a_z) \\
   n &= \tanh(W_{nx} x + b_n + W_{nh} (r \odot h^{(t-1)})) \quad\text{(reset before, as published)} \\
   n &= \tanh(W_{nx} x + b_n + r \odot (W_{nh} h^{(t-1)} + b_{nh})) \quad\text{(reset after, torch.nn.GRU)} \\
   h^{(t)} &= (1 - z) \odot n + z \odot h^{(t-1)}
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells.cell import GatedCell, Gates, HiddenState


class GRU(GatedCell):
    """A gated recurrent unit.

    Args:
        input_size: I. hidden_size: H.
        reset_after: apply the reset gate after the recurrent product (torch's, the default), or,
            with False, before it, as Cho et al. published it; the candidate's recurrent weight is
            then ``weight_hn`` [H, H] and it has no second bias.

    >>> sorted(name for name, _ in GRU(3, 4, reset_after=False).named_parameters())
    ['bias_hh', 'bias_ih', 'weight_hh', 'weight_hn', 'weight_ih']
    """

    gates = ("r", "z", "n")
    weight_hn: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, *, reset_after: bool = True, **options: Any
    ) -> None:
        self.reset_after = reset_after
        if not reset_after:
            self.recurrent_gates = ("r", "z")
            self.weights = (("weight_hn", "H", "H"),)
            self.recurrent_weights = ("weight_hh", "weight_hn")
        super().__init__(input_size, hidden_size, **options)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        r, z = torch.sigmoid(gate.r), torch.sigmoid(gate.z)
        if self.reset_after:
            n = torch.tanh(gate.n.input + r * gate.n.recurrent)
        else:
            n = torch.tanh(gate.n + F.linear(self.masked(r * prev.h), self.weight_hn))
        return HiddenState(h=(1 - z) * n + z * prev.h)
