r"""The simple recurrent unit (Lei, Zhang, Wang, Dai & Artzi 2018, "Simple recurrent units for highly
parallelizable recurrence", section 3).

.. math::
   f &= \sigma(W_f x^{(t)} + v_f \odot c^{(t-1)} + b_f) \\
   c^{(t)} &= f \odot c^{(t-1)} + (1 - f) \odot (W x^{(t)}) \\
   r &= \sigma(W_r x^{(t)} + v_r \odot c^{(t-1)} + b_r) \\
   h^{(t)} &= r \odot c^{(t)} + (1 - r) \odot \alpha x^{(t)}

Nothing multiplies the last output by a matrix, so all products are of inputs. The last line is a highway
connection past the unit; :math:`\alpha = \sqrt{1 + 2 e^{b_r}}` keeps the output's variance at the start.
For inputs of another size than H the paper's authors send x through a matrix there; here it always is
one, ``W_s`` (with α inside), which starts as α times the identity where the sizes agree. The
biases of W and W_s, which the paper has not, start at zero.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolled.cells.cell import GatedCell, Gates


class SRUState(NamedTuple):
    """``h`` [B, H], the output, and ``c`` [B, H], the internal state, which alone is remembered."""

    h: Tensor
    c: Tensor


class SRU(GatedCell):
    """A unit without a recurrent matrix: light gates on the state, and a highway past it.

    Args:
        input_size: I. hidden_size: H.
        highway_bias: where b_r starts; below zero the unit starts by passing its input on.

    >>> cell = SRU(4, 4)
    >>> torch.equal(cell.weight_ih[12:], 3**0.5 * torch.eye(4))
    True
    """

    gates = ("g", "f", "r", "s")
    recurrent_gates = ()
    State = SRUState
    vectors = ("v_f", "v_r")
    v_f: Tensor
    v_r: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, *, highway_bias: float = 0.0, **options: Any
    ) -> None:
        if highway_bias and not options.get("bias", True):
            raise ValueError("highway_bias needs a bias; leave out bias=False")
        self.highway_bias = highway_bias
        super().__init__(input_size, hidden_size, **options)

    def reset_parameters(self) -> None:
        """Keeps the variance: W in ±sqrt(3/I), the gates' rows and v smaller by sqrt(1/2)."""
        hidden, bound = self.hidden_size, math.sqrt(3 / self.input_size)
        scale = math.sqrt(1 + 2 * math.exp(self.highway_bias))
        with torch.no_grad():
            self.weight_ih.uniform_(-bound, bound)
            self.weight_ih[hidden : 3 * hidden] *= math.sqrt(0.5)
            if self.input_size == hidden:
                nn.init.eye_(self.weight_ih[3 * hidden :])
            self.weight_ih[3 * hidden :] *= scale
            for v in (self.v_f, self.v_r):
                v.uniform_(-math.sqrt(1.5), math.sqrt(1.5))
            if self.bias:
                self.bias_ih.zero_()
                self.bias_ih[2 * hidden : 3 * hidden] = self.highway_bias

    def step(self, gate: Gates, prev: SRUState) -> SRUState:
        """The equations above."""
        f = torch.sigmoid(gate.f + self.v_f * prev.c)
        r = torch.sigmoid(gate.r + self.v_r * prev.c)
        c = f * prev.c + (1 - f) * gate.g
        return SRUState(h=r * c + (1 - r) * gate.s, c=c)
