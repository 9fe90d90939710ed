r"""LSTM with layer normalisation (Ba, Kiros & Hinton 2016, supplementary material, equations 20-22).

.. math::
   (a_i, a_f, a_g, a_o) &= LN(W_h h^{(t-1)}; \alpha_1) + LN(W_x x^{(t)}; \alpha_2) + b \\
   c^{(t)} &= \sigma(a_f) \odot c^{(t-1)} + \sigma(a_i) \odot \tanh(a_g) \\
   h^{(t)} &= \sigma(a_o) \odot \tanh(LN(c^{(t)}; \alpha_3, \beta_3)) \\
   LN(z; \alpha, \beta) &= \alpha \odot \frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

Mean :math:`\mu` and variance :math:`\sigma^2` are of one row: over all 4H activations of the two
products together, over the H units of c. The shifts of the products and b are one sum, b.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.cell import GatedCell, Gates
from unrolled.cells.lstm import LSTMState


class LayerNormLSTM(GatedCell):
    """An LSTM whose input product, recurrent product and cell are normalised in each step.

    Args:
        input_size: I. hidden_size: H.
        bias: learn the shifts ``bias_i`` ... ``bias_o`` and ``bias_c``.
        epsilon: added to each variance.

    >>> LayerNormLSTM(3, 4).gain_ih_f.tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    gates = ("i", "f", "g", "o")
    State = LSTMState
    gain_c: Tensor
    bias_c: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        epsilon: float = 1e-5,
        **options: Any,
    ) -> None:
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0, {epsilon} given")
        self.epsilon, self.shifted = epsilon, bias
        gains = [f"gain_{product}_{gate}" for product in ("ih", "hh") for gate in self.gates]
        shifts = [f"bias_{name}" for name in (*self.gates, "c")] if bias else []
        self.vectors = (*gains, "gain_c", *shifts)
        # The products are normalised bare: a bias inside would only be taken out again with the mean.
        super().__init__(input_size, hidden_size, bias=False, **options)

    def reset_parameters(self) -> None:
        """torch's uniform initialisation of the weights; gains of one, shifts of zero."""
        super().reset_parameters()
        for name in self.vectors:
            nn.init.constant_(getattr(self, name), 1.0 if name.startswith("gain") else 0.0)

    def step(self, gate: Gates, prev: LSTMState) -> LSTMState:
        """The equations above."""
        i, f, g, o = self._normalised(
            "gain_ih_", gate.i.input, gate.f.input, gate.g.input, gate.o.input
        )
        hi, hf, hg, ho = self._normalised(
            "gain_hh_", gate.i.recurrent, gate.f.recurrent, gate.g.recurrent, gate.o.recurrent
        )
        written = torch.sigmoid(self._shift(i + hi, "i")) * torch.tanh(self._shift(g + hg, "g"))
        c = torch.sigmoid(self._shift(f + hf, "f")) * prev.c + written
        centred = c - c.mean(-1, keepdim=True)
        deviation = torch.sqrt((centred * centred).mean(-1, keepdim=True) + self.epsilon)
        shown = torch.tanh(self._shift(self.gain_c * centred / deviation, "c"))
        return LSTMState(h=torch.sigmoid(self._shift(o + ho, "o")) * shown, c=c)

    def _normalised(self, gains: str, *parts: Tensor) -> list[Tensor]:
        """The parts of one row [B, 4H], normalised as that row and scaled."""
        mean = _mean(*(part.mean(-1, keepdim=True) for part in parts))
        centred = [part - mean for part in parts]
        variance = _mean(*((part * part).mean(-1, keepdim=True) for part in centred))
        deviation = torch.sqrt(variance + self.epsilon)
        scaled = zip(self.gates, centred, strict=True)
        return [getattr(self, gains + name) * part / deviation for name, part in scaled]

    def _shift(self, activation: Tensor, name: str) -> Tensor:
        return activation + getattr(self, "bias_" + name) if self.shifted else activation


def _mean(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> Tensor:
    return (i + f + g + o) * 0.25
