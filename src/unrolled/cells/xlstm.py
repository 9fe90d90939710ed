r"""The cells of xLSTM (Beck et al. 2024, "xLSTM: Extended long short-term memory"): sLSTM (section 2.2,
equations 8-17) and mLSTM (section 2.3, equations 19-27), in their stabilised forms.

Both let gates be exponential and divide by n, which counts what was written. With
:math:`\log f = \log \sigma(a_f)` (or :math:`a_f` itself, the exponential forget gate),

.. math::
   m^{(t)} &= \max(\log f + m^{(t-1)}, a_i) \qquad
   i' = e^{a_i - m^{(t)}} \qquad f' = e^{\log f + m^{(t-1)} - m^{(t)}} \\
   \text{sLSTM:}\quad c^{(t)} &= f' \odot c^{(t-1)} + i' \odot \tanh(a_z) \qquad
   n^{(t)} = f' \odot n^{(t-1)} + i' \qquad h^{(t)} = \sigma(a_o) \odot c^{(t)} / n^{(t)} \\
   \text{mLSTM:}\quad C^{(t)} &= f' C^{(t-1)} + i'\, v k^\top \qquad
   n^{(t)} = f' n^{(t-1)} + i' k \qquad
   h^{(t)} = \sigma(a_o) \odot \frac{C^{(t)} q}{\max(|n^{(t)\top} q|, e^{-m^{(t)}})}

m only keeps the exponentials in range: c and n carry the factor :math:`e^{-m}`, which cancels in h.
All states start at zero: with c and n zero, any m says the same.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells.cell import Cell, GatedCell, Gates

ForgetGate = Literal["sigmoid", "exponential"]


def _check_forget_gate(forget_gate: str) -> None:
    if forget_gate not in ("sigmoid", "exponential"):
        raise ValueError(f"forget_gate is 'sigmoid' or 'exponential', not {forget_gate!r}")


def _log_forget(activation: Tensor, forget_gate: str) -> Tensor:
    return activation if forget_gate == "exponential" else -F.softplus(-activation)


class SLSTMState(NamedTuple):
    """``h`` [B, H], the output; ``c``, ``n`` [B, H], memory and normaliser over e^m; ``m`` [B, H]."""

    h: Tensor
    c: Tensor
    n: Tensor
    m: Tensor


class SLSTM(GatedCell):
    """An LSTM with an exponential input gate and a normaliser (one head).

    Zoneout, if any, is meant for ``h`` alone, ``zoneout=(rate, 0, 0, 0)``: c and n are in units of e^m.

    Args:
        input_size: I. hidden_size: H.
        forget_gate: ``"sigmoid"`` or ``"exponential"``.

    >>> cell = SLSTM(3, 4)
    >>> cell(torch.zeros(2, 3), cell.initial_state(2))[1].n.shape
    torch.Size([2, 4])
    """

    gates = ("i", "f", "z", "o")
    State = SLSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_gate: ForgetGate = "sigmoid",
        **options: Any,
    ) -> None:
        _check_forget_gate(forget_gate)
        self.forget_gate = forget_gate
        super().__init__(input_size, hidden_size, **options)

    def step(self, gate: Gates, prev: SLSTMState) -> SLSTMState:
        """The equations above."""
        kept = _log_forget(gate.f, self.forget_gate) + prev.m
        m = torch.maximum(kept, gate.i)
        i, f = torch.exp(gate.i - m), torch.exp(kept - m)
        c = f * prev.c + i * torch.tanh(gate.z)
        n = f * prev.n + i
        # n is zero only if nothing was ever written (each i below the smallest float): then c is too.
        return SLSTMState(h=torch.sigmoid(gate.o) * (c / (n + 1e-30)), c=c, n=n, m=m)


class MLSTMState(NamedTuple):
    """``h`` [B, H], the output; per head ``C`` [B, N, D, D], ``n`` [B, N, D] over e^m; ``m`` [B, N]."""

    h: Tensor
    C: Tensor
    n: Tensor
    m: Tensor


class MLSTM(Cell):
    """A memory of key-value pairs: a matrix for each of N heads of D = H/N units, with scalar gates.

    The rows of ``weight_ih`` are q, k, v, o (H each), i, f (N each). Nothing multiplies the last output.
    Keys are (W_k x + b_k)/sqrt(D): the paper's b_k is ``bias_ih``'s over sqrt(D).

    Args:
        input_size: I. hidden_size: H.
        num_heads: N, a divisor of H.
        forget_gate: ``"sigmoid"`` or ``"exponential"``.
        bias: whether the projections have one.

    >>> cell = MLSTM(3, 8, num_heads=2)
    >>> cell.initial_state(1).C.shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 1,
        forget_gate: ForgetGate = "sigmoid",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, {value} given")
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(f"num_heads must divide hidden_size {hidden_size}, {num_heads} given")
        _check_forget_gate(forget_gate)
        self.input_size, self.hidden_size, self.output_size = input_size, hidden_size, hidden_size
        self.num_heads, self.forget_gate, self.bias = num_heads, forget_gate, bias
        rows = 4 * hidden_size + 2 * num_heads
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, device=device, dtype=dtype))
        if bias:
            self.bias_ih = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))
        if not self.weight_ih.is_meta:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/sqrt(H), as torch.nn initialises its recurrent layers."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MLSTMState:
        """Zeros."""
        weight = self._parameters.get("weight_ih")
        if weight is not None:
            device = weight.device if device is None else device
            dtype = weight.dtype if dtype is None else dtype
        heads, size = self.num_heads, self.hidden_size // self.num_heads
        shapes = ((self.hidden_size,), (heads, size, size), (heads, size), (heads,))
        return MLSTMState(
            *(torch.zeros(batch_size, *shape, device=device, dtype=dtype) for shape in shapes)
        )

    def project_input(self, x: Tensor) -> Tensor:
        """Queries, keys, values, gates of every step, [..., I] to [..., 4H + 2N]."""
        return F.linear(x, self.weight_ih, self.bias_ih if self.bias else None)

    def forward(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, MLSTMState]:
        """One step, from x [B, I]; the output is the state's first field."""
        return self.advance(self.project_input(x), state, context)

    def advance(
        self, projected: Tensor, state: MLSTMState, context: Any = None
    ) -> tuple[Tensor, MLSTMState]:
        """The equations above, from the projected input [B, 4H + 2N]."""
        heads, size = self.num_heads, self.hidden_size // self.num_heads
        width = self.hidden_size
        q, k, v, o, i, f = torch.split(projected, [*[width] * 4, heads, heads], -1)
        q, k, v = (part.view(*part.shape[:-1], heads, size) for part in (q, k / math.sqrt(size), v))
        kept = _log_forget(f, self.forget_gate) + state.m
        m = torch.maximum(kept, i)  # [B, N]
        i, f = torch.exp(i - m)[..., None], torch.exp(kept - m)[..., None]  # [B, N, 1]
        C = f[..., None] * state.C + i[..., None] * v[..., :, None] * k[..., None, :]
        n = f * state.n + i * k
        # Beyond ±60 the floor is past all that n·q can be; e^-m would end in infinity or zero.
        floor = torch.exp(-m.clamp(-60.0, 60.0))
        scale = torch.maximum((n * q).sum(-1).abs(), floor)[..., None]
        h = torch.sigmoid(o) * ((C @ q[..., None]).squeeze(-1) / scale).flatten(-2)
        return h, MLSTMState(h=h, C=C, n=n, m=m)
