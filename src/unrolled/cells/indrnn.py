r"""The independently recurrent network (Li, Li, Cook, Zhu & Gao 2018, "Independently recurrent neural
network (IndRNN)", equation 4).

.. math:: h^{(t)} = \phi(W_{hx} x^{(t)} + b_h + u \odot h^{(t-1)})

Each unit sees only its own past. Over T steps its memory is multiplied by :math:`u^T`, so with a
rectifier the paper keeps u below :math:`\gamma^{1/T}` and starts it uniformly between 0 and that bound
(section 4, with :math:`\gamma = 2`).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from unrolled.cells.activations import activation as activation_named
from unrolled.cells.cell import GatedCell, Gates, HiddenState


class IndRNN(GatedCell):
    """Units with a recurrent weight each instead of a recurrent matrix.

    Args:
        input_size: I. hidden_size: H.
        activation: φ, the rectifier of the paper by default.
        time_steps: T, the length for which ``u`` starts in [0, 2^(1/T)]; None for [0, 1].

    >>> IndRNN(3, 4, time_steps=10).u.shape
    torch.Size([4])
    """

    gates = ("h",)
    recurrent_gates = ()
    vectors = ("u",)
    u: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "relu",
        time_steps: int | None = None,
        **options: Any,
    ) -> None:
        if time_steps is not None and time_steps < 1:
            raise ValueError(f"time_steps must be at least 1, {time_steps} given")
        self.activation, self.time_steps = activation, time_steps
        self._activation = activation_named(activation)
        super().__init__(input_size, hidden_size, **options)
        self.recurrent_size = self.hidden_size

    def reset_parameters(self) -> None:
        """torch's uniform initialisation of ``weight_ih``, no bias, and u as the paper starts it."""
        super().reset_parameters()
        nn.init.uniform_(
            self.u, 0.0, 1.0 if self.time_steps is None else 2 ** (1 / self.time_steps)
        )
        if self.bias:
            nn.init.zeros_(self.bias_ih)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        """The equation above."""
        return HiddenState(h=self._activation(gate.h + self.u * self.masked(prev.h)))
