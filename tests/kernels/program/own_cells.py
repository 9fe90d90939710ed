"""Cells as users write them, one for each thing that a step may do."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells import GatedCell, HiddenState, LSTMState


class Leaky(GatedCell):
    gates = ("n", "a")
    vectors = ("rate",)

    def step(self, gate: Any, prev: Any) -> Any:
        a = torch.sigmoid(gate.a + self.rate)
        return self.State(h=(1 - a) * prev.h + a * torch.tanh(gate.n))


class LeakyVector(GatedCell):
    """Expressions of vectors alone."""

    gates = ("n",)
    vectors = ("rate", "floor")

    def step(self, gate: Any, prev: Any) -> Any:
        a = torch.sigmoid(self.rate[None]) * self.floor.abs().clamp(max=0.5).unsqueeze(0)
        return HiddenState(h=(1 - a) * prev.h + a * torch.tanh(gate.n) + self.floor.mean() * a)


class MGU(GatedCell):
    gates = ("f", "n")
    recurrent_gates = ("f",)
    weights = (("weight_hn", "H", "H"),)

    def step(self, gate: Any, prev: Any) -> Any:
        f = torch.sigmoid(gate.f)
        n = torch.tanh(gate.n + F.linear(f * prev.h, self.weight_hn))
        return HiddenState(h=(1 - f) * prev.h + f * n)


class Temperature(GatedCell):
    """A parameter of one number, and one of no dimension."""

    gates = ("n",)

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.shift = nn.Parameter(torch.tensor([0.1]))

    def step(self, gate: Any, prev: Any) -> Any:
        return HiddenState(h=torch.tanh(gate.n * self.scale.exp() + self.shift) * self.scale)


class NormalisedLSTM(GatedCell):
    """torch's layer normalisation, over units and over all gates of a product."""

    gates = ("i", "f", "g", "o")
    recurrent_gates = ()
    State = LSTMState
    weights = (("weight", "4H", "H"), ("gain", "4H"), ("shift", "4H"))

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.norm = nn.LayerNorm(self.hidden_size)

    def step(self, gate: Any, prev: Any) -> Any:
        product = F.linear(prev.h, self.weight)
        product = F.layer_norm(product, (4 * self.hidden_size,), self.gain, self.shift)
        i, f, g, o = product.chunk(4, -1)
        c = torch.sigmoid(gate.f + f) * prev.c + torch.sigmoid(gate.i + i) * torch.tanh(gate.g + g)
        bare = F.layer_norm(gate.o + o, (self.hidden_size,))
        return LSTMState(h=torch.sigmoid(bare) * torch.tanh(self.norm(c)), c=c)


class Statistics(GatedCell):
    """Reductions over the units."""

    gates = ("a", "b", "c")

    def step(self, gate: Any, prev: Any) -> Any:
        a, b, c = gate.a, gate.b, gate.c
        a = a / (a.std(dim=-1, keepdim=True) + b.var(-1, unbiased=False, keepdim=True))
        b = torch.log_softmax(b, -1) * torch.amax(c, -1, keepdim=True)
        c = c - c.sum(-1, keepdim=True) * torch.rsqrt(1 + torch.var(a, -1, keepdim=True))
        return HiddenState(
            h=torch.tanh(a + b) * torch.softmax(c, dim=-1) + F.rms_norm(a, a.shape[-1:])
        )


class Choices(GatedCell):
    """Comparisons, masks, bounds."""

    gates = ("a", "b", "c")

    def step(self, gate: Any, prev: Any) -> Any:
        a, b, c = gate.a, gate.b, gate.c
        large = (a > 0.1) & ~(b >= c) | (prev.h < -0.5)
        x = torch.where(large, F.softplus(a), b.clamp(-1, 0.5)) + large * c
        y = torch.maximum(x, torch.minimum(b, prev.h)) + torch.where(a.ne(b), 1.0, c)
        z = F.silu(y) + F.logsigmoid(c) + torch.relu(x) * (c <= b).to(c.dtype)
        z = z + F.leaky_relu(a) + F.elu(b) + torch.logaddexp(a, c) + torch.sign(b) * c
        return HiddenState(h=torch.tanh(z * 0.3).masked_fill(large & (c > 1), 0.25))


class Arithmetic(GatedCell):
    """Operators and functions, with numbers on either side."""

    gates = ("a", "b")
    vectors = ("v",)

    def step(self, gate: Any, prev: Any) -> Any:
        a, b = gate.a, gate.b
        x = 1 / (2 + a**2) - (-b) / 3 + torch.exp(-a.abs()) * self.v
        y = torch.log1p(torch.square(b)) + torch.sqrt(1 + a * a) + (1 + b.abs()).reciprocal()
        z = (
            torch.log(a.pow(2) + 1)
            - torch.rsqrt(b.square() + 0.5)
            + torch.addcmul(x, a, b, value=0.1)
        )
        w = torch.lerp(x, y, torch.sigmoid(z)) + torch.ones_like(x) - torch.zeros_like(x)
        return HiddenState(h=torch.tanh(w * 0.5 - self.v) + prev.h * 0.1 + x.detach() * a)


class Three(NamedTuple):
    h: Tensor
    a: Tensor
    b: Tensor


class Swapping(GatedCell):
    """Three fields that change places; one is a leaf as it is."""

    gates = ("n",)
    State = Three

    def step(self, gate: Any, prev: Any) -> Any:
        return Three(h=torch.tanh(gate.n + prev.a * prev.b), a=prev.b, b=prev.a)


class Turning(GatedCell):
    """Three fields in a circle, without any arithmetic on two."""

    gates = ("n",)
    State = Three

    def step(self, gate: Any, prev: Any) -> Any:
        return Three(h=prev.a, a=prev.b, b=gate.n)


class Forgetful(GatedCell):
    """A constant field, an unused gate, the same value twice."""

    gates = ("n", "unused")
    recurrent_gates = ("n",)
    State = Three

    def step(self, gate: Any, prev: Any) -> Any:
        h = torch.tanh(gate.n)
        return Three(h=h, a=h, b=torch.ones_like(h))


class Counting(NamedTuple):
    h: Tensor
    n: Tensor


class RowState(GatedCell):
    """A field of one number per row."""

    gates = ("n",)
    State = Counting

    def initial_state(self, batch_size: int, **options: Any) -> Any:
        h = super().initial_state(batch_size, **options).h
        return Counting(h, torch.zeros_like(h[:, :1]))

    def step(self, gate: Any, prev: Any) -> Any:
        n = 0.5 * prev.n + gate.n.mean(-1, keepdim=True)
        return Counting(h=torch.tanh(gate.n * torch.sigmoid(prev.n) + n), n=n * torch.sigmoid(n))


class Deep(GatedCell):
    """A product of a product, a product that is a state, and the same weight twice."""

    gates = ("n",)
    State = LSTMState
    weights = (("deep", "H", "H"), ("deeper", "2H", "H"), ("shift", "2H"))

    def step(self, gate: Any, prev: Any) -> Any:
        inner = F.linear(F.linear(torch.tanh(gate.n), self.deep), self.deep)
        a, b = F.linear(inner * prev.c, self.deeper, torch.tanh(self.shift)).split(
            self.hidden_size, -1
        )
        return LSTMState(
            h=torch.tanh(a) + F.linear(prev.c, self.deep), c=F.linear(torch.tanh(b), self.deep)
        )


class Residual(GatedCell):
    """Products added to what is there: states, other products."""

    gates = ("n",)
    State = LSTMState
    weights = (("w", "H", "H"), ("u", "H", "H"))

    def step(self, gate: Any, prev: Any) -> Any:
        c = prev.c + F.linear(prev.c, self.w)
        h = gate.n + F.linear(prev.c, self.u) + F.linear(torch.tanh(prev.h), self.w)
        return LSTMState(h=torch.tanh(h) + F.linear(torch.sigmoid(h), self.u), c=0.5 * c)


class Shared(GatedCell):
    """Two blocks of one product added to the same value."""

    gates = ("n",)
    recurrent_gates = ()
    weights = (("w", "2H", "H"),)

    def step(self, gate: Any, prev: Any) -> Any:
        r = torch.tanh(gate.n)
        a, b = F.linear(r * prev.h, self.w).chunk(2, -1)
        x = r - prev.h
        return HiddenState(h=torch.tanh(x + a) * torch.sigmoid(x + b))


class Stacked(GatedCell):
    """Blocks of a product taken apart in torch's several ways."""

    gates = ("n",)
    recurrent_gates = ()
    weights = (("w", "3H", "H"),)

    def step(self, gate: Any, prev: Any) -> Any:
        H = self.hidden_size
        product = torch.tanh(prev.h @ self.w.T)
        a, b, c = product.unflatten(-1, (3, H)).unbind(-2)
        d, e = product[:, :H], product[..., H : 2 * H]
        f = product.view(product.shape[0], 3, H)[:, 2]
        return HiddenState(h=a * d + b * e + c * f + gate.n)


class Identity(GatedCell):
    """The output is a gate as it is."""

    gates = ("n",)

    def step(self, gate: Any, prev: Any) -> Any:
        return HiddenState(h=gate.n)


class Wide(GatedCell):
    """More gates than one program of the engine has operands for."""

    gates = tuple(f"g{i}" for i in range(40))
    vectors = tuple(f"v{i}" for i in range(40))

    def step(self, gate: Any, prev: Any) -> Any:
        parts = [torch.tanh(getattr(gate, n)) for n in self.gates]
        total = prev.h * 0.1
        for i, part in enumerate(parts):
            total = total + part * getattr(self, f"v{i}") * parts[i - 3]
        return HiddenState(h=total / 40)


CELLS = {
    cell.__name__: cell
    for cell in (
        *(Leaky, LeakyVector, MGU, Temperature, NormalisedLSTM, Statistics, Choices, Arithmetic),
        *(Swapping, Turning, Forgetful, RowState, Deep, Residual, Shared, Stacked, Identity, Wide),
    )
}
