r"""The simple recurrent network (Elman 1990, "Finding structure in time"; review, section 3).

.. math:: h^{(t)} = \sigma(W_{hx} x^{(t)} + W_{hh} h^{(t-1)} + b_h)

With ``activation="relu"`` and ``recurrent_init="identity"`` it is the IRNN of Le, Jaitly & Hinton
(2015, section 2). ``"tanh"`` and ``"relu"`` are torch.nn.RNN exactly.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from unrolled.cells.activations import activation as activation_named
from unrolled.cells.cell import GatedCell, Gates, HiddenState


class Elman(GatedCell):
    """Elman's unit.

    Args:
        input_size: I. hidden_size: H.
        activation: ``"tanh"`` (torch's default), ``"relu"`` or ``"sigmoid"`` (the review's).
        recurrent_init: how ``weight_hh`` starts: ``"uniform"`` as torch's, ``"identity"``, ``"orthogonal"``.

    >>> Elman(3, 4, activation="relu", recurrent_init="identity").weight_hh.trace().item()
    4.0
    """

    gates = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
        recurrent_init: Literal["uniform", "identity", "orthogonal"] = "uniform",
        **options: Any,
    ) -> None:
        if recurrent_init not in ("uniform", "identity", "orthogonal"):
            raise ValueError(
                f"recurrent_init is 'uniform', 'identity' or 'orthogonal', not {recurrent_init!r}"
            )
        self.activation, self.recurrent_init = activation, recurrent_init
        self._activation = activation_named(activation)
        super().__init__(input_size, hidden_size, **options)

    def reset_parameters(self) -> None:
        """torch's uniform initialisation, then the chosen recurrent matrix (with zero biases)."""
        super().reset_parameters()
        if self.recurrent_init == "uniform":
            return
        start = nn.init.eye_ if self.recurrent_init == "identity" else nn.init.orthogonal_
        start(self.weight_hh)
        if self.bias:
            nn.init.zeros_(self.bias_ih)
            nn.init.zeros_(self.bias_hh)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equation above."""
        return HiddenState(h=self._activation(gate.h))
