r"""minGRU and minLSTM (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?",
sections 3.1 and 3.2).

.. math::
   \tilde h &= g(a_n) \\
   \text{minGRU:}\quad z &= \sigma(a_z) \qquad h^{(t)} = (1 - z) \odot h^{(t-1)} + z \odot \tilde h \\
   \text{minLSTM:}\quad f &= \sigma(a_f) \qquad i = \sigma(a_i) \qquad
   h^{(t)} = \frac{f}{f + i} \odot h^{(t-1)} + \frac{i}{f + i} \odot \tilde h

The gates see the input alone, so the recurrence is linear. g is the identity; the paper's form in the
logarithm of h (appendix B) needs a positive candidate, ``candidate="positive"``.
"""

from __future__ import annotations

from typing import Any

import torch

from unrolled.cells.activations import activation as activation_named
from unrolled.cells.cell import GatedCell, Gates, HiddenState


class _Minimal(GatedCell):
    """What the two have in common: no gate has recurrent rows."""

    recurrent_gates = ()

    def __init__(
        self, input_size: int, hidden_size: int, *, candidate: str = "identity", **options: Any
    ) -> None:
        self.candidate = candidate
        self._candidate = activation_named(candidate)
        super().__init__(input_size, hidden_size, **options)


class MinGRU(_Minimal):
    """A gated unit whose one gate sees the input alone.

    Args:
        input_size: I. hidden_size: H.
        candidate: g, ``"identity"`` or, as in the paper's logarithmic form, ``"positive"``.

    >>> sorted(name for name, _ in MinGRU(3, 4).named_parameters())
    ['bias_ih', 'weight_ih']
    """

    gates = ("z", "n")

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        z = torch.sigmoid(gate.z)
        return HiddenState(h=(1 - z) * prev.h + z * self._candidate(gate.n))


class MinLSTM(_Minimal):
    """A forget and an input gate that see the input alone and sum to one.

    Args:
        input_size: I. hidden_size: H.
        candidate: g, ``"identity"`` or, as in the paper's logarithmic form, ``"positive"``.

    >>> cell = MinLSTM(3, 4)
    >>> cell(torch.zeros(2, 3), cell.initial_state(2))[0].shape
    torch.Size([2, 4])
    """

    gates = ("f", "i", "n")

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equations above."""
        f, i = torch.sigmoid(gate.f), torch.sigmoid(gate.i)
        return HiddenState(h=(f * prev.h + i * self._candidate(gate.n)) / (f + i))
