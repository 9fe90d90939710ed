r"""The network of Jordan (1986, "Serial order"; review, section 3.1 and figure 5).

Its outputs feed context units, which have self-connections of weight :math:`\alpha` and feed the hidden
units of the next step:

.. math::
   s^{(t)} &= \alpha s^{(t-1)} + y^{(t-1)} \\
   h^{(t)} &= \phi(W_{hx} x^{(t)} + W_{hs} s^{(t)} + b_h) \\
   y^{(t)} &= \psi(W_{yh} h^{(t)} + b_y)

The cell owns its output layer: a model puts no head after it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells.activations import activation as activation_named
from unrolled.cells.cell import GatedCell, Gates


class JordanState(NamedTuple):
    """``y`` [B, O], the last output, and ``s`` [B, O], the context units that step used."""

    y: Tensor
    s: Tensor


class Jordan(GatedCell):
    """Jordan's network as a cell.

    Args:
        input_size: I. hidden_size: H.
        output_size: O, the size of the network's output; default H.
        decay: the context units' self-connection α, in [0, 1).
        activation: of the hidden units, default the logistic sigmoid of the paper.
        output_activation: of the outputs: ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"softmax"``.

    >>> cell = Jordan(3, 8, output_size=2)
    >>> y, state = cell(torch.zeros(1, 3), cell.initial_state(1))
    >>> y.shape
    torch.Size([1, 2])
    """

    gates = ("h",)
    State = JordanState
    weights = (("weight_yh", "O", "H"), ("bias_y", "O"))
    owns_output = True
    weight_yh: Tensor
    bias_y: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        decay: float = 0.5,
        activation: str = "sigmoid",
        output_activation: str = "identity",
        **options: Any,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), {decay} given")
        self.decay = decay
        self.activation, self.output_activation = activation, output_activation
        self._hidden = activation_named(activation)
        self._output = activation_named(output_activation)
        super().__init__(input_size, hidden_size, **options)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> JordanState:
        """Zero outputs and context units, [B, O] each."""
        y = super().initial_state(batch_size, device=device, dtype=dtype).y
        return JordanState(y=y, s=torch.zeros_like(y))

    def context_units(self, prev: JordanState) -> Tensor:
        """s of this step."""
        return self.decay * prev.s + prev.y

    def recurrent_input(self, prev: JordanState) -> Tensor:
        """``weight_hh`` multiplies the context units."""
        return self.context_units(prev)

    def step(self, gate: Gates, prev: JordanState) -> JordanState:
        """The equations above."""
        h = self._hidden(gate.h)
        y = self._output(F.linear(h, self.weight_yh, self.bias_y))
        return JordanState(y=y, s=self.context_units(prev))

    def force(self, state: JordanState, feedback: Tensor) -> JordanState:
        """Teacher forcing: the target [B, O] of the last step instead of its output."""
        return state._replace(y=feedback)
