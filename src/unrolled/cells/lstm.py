r"""Long short-term memory, with its history as options (review, section 3.3.1).

.. math::
   i &= \sigma(a_i + p_i \odot c^{(t-1)}) \qquad f = \sigma(a_f + p_f \odot c^{(t-1)}) \\
   c^{(t)} &= f \odot c^{(t-1)} + i \odot g(a_g) \\
   o &= \sigma(a_o + p_o \odot c^{(t)}) \qquad h^{(t)} = W_{hr}\,(o \odot h(c^{(t)}))

* Hochreiter & Schmidhuber 1997: no forget gate (f = 1), g in [-2, 2], h in [-1, 1].
* Gers, Schmidhuber & Cummins 2000: the forget gate f.
* Gers & Schmidhuber 2000: the peepholes p, which let the gates see the cell.
* Greff et al. 2015 (CIFG): coupled gates, f = 1 - i.
* Sak, Senior & Beaufays 2014: the recurrent projection W_hr.
* Lipton 2015: h is the identity, :math:`h = s \odot o`. The default, h = tanh, is torch.nn.LSTM's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells.activations import activation as activation_named
from unrolled.cells.cell import GatedCell, Gates


class LSTMState(NamedTuple):
    """``h`` [B, H] (or [B, P]), the output, and ``c`` [B, H], the internal state."""

    h: Tensor
    c: Tensor


class LSTM(GatedCell):
    """A memory cell.

    Args:
        input_size: I. hidden_size: H.
        forget_gate: without it (1997) the internal state only ever adds.
        coupled: the forget gate is 1 - i, with no weights of its own.
        peepholes: per-unit weights from the internal state to the gates.
        projection_size: P, the size of h after the projection; 0 for none.
        input_activation: g; output_activation: h (see :mod:`unrolled.cells.activations`).
        forget_bias: where the forget gate's bias starts, for example 1 (Gers 2000); None as torch's.

    >>> cell = LSTM(3, 4, peepholes=True)
    >>> h, state = cell(torch.zeros(2, 3), cell.initial_state(2))
    >>> state.c.shape
    torch.Size([2, 4])
    """

    gates: tuple[str, ...] = ("i", "f", "g", "o")
    State = LSTMState
    weight_hr: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_gate: bool = True,
        coupled: bool = False,
        peepholes: bool = False,
        projection_size: int = 0,
        input_activation: str = "tanh",
        output_activation: str = "tanh",
        forget_bias: float | None = None,
        **options: Any,
    ) -> None:
        own_forget_gate = forget_gate and not coupled
        if not 0 <= projection_size < hidden_size:
            raise ValueError(
                f"projection_size must be 0 (none) or below hidden_size {hidden_size}, "
                f"{projection_size} given"
            )
        if coupled and not forget_gate:
            raise ValueError("coupled=True is a forget gate of 1 - i; leave forget_gate=True")
        if forget_bias is not None and not (own_forget_gate and options.get("bias", True)):
            raise ValueError("forget_bias needs a forget gate with a bias of its own")
        self.forget_gate, self.coupled, self.peepholes = forget_gate, coupled, peepholes
        self.projection_size, self.forget_bias = projection_size, forget_bias
        self.input_activation, self.output_activation = input_activation, output_activation
        self._g, self._h = activation_named(input_activation), activation_named(output_activation)
        if not own_forget_gate:
            self.gates = ("i", "g", "o")
        if peepholes:
            self.vectors = tuple("peephole_" + n for n in self.gates if n != "g")
        if projection_size:
            self.weights = (("weight_hr", "O", "H"),)
        super().__init__(input_size, hidden_size, output_size=projection_size or None, **options)

    def reset_parameters(self) -> None:
        """torch's uniform initialisation, then the forget gate's bias where one is asked for."""
        super().reset_parameters()
        if self.forget_bias is not None:
            rows = slice(self.hidden_size, 2 * self.hidden_size)
            with torch.no_grad():
                self.bias_ih[rows] = self.forget_bias
                self.bias_hh[rows] = 0.0

    def step(self, gate: Gates, prev: LSTMState) -> LSTMState:
        """The equations above."""
        i = torch.sigmoid(self._peep(gate.i, "peephole_i", prev.c))
        written = i * self._g(gate.g)
        if self.coupled:
            c = (1 - i) * prev.c + written
        elif self.forget_gate:
            c = torch.sigmoid(self._peep(gate.f, "peephole_f", prev.c)) * prev.c + written
        else:
            c = prev.c + written
        o = torch.sigmoid(self._peep(gate.o, "peephole_o", c))
        h = o * self._h(c)
        return LSTMState(h=F.linear(h, self.weight_hr) if self.projection_size else h, c=c)

    def _peep(self, activation: Tensor, name: str, c: Tensor) -> Tensor:
        return activation + getattr(self, name) * c if self.peepholes else activation
