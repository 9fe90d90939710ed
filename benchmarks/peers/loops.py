"""Cells that torch lacks as a good user of torch writes them: an eager loop, as quick as eager gets.

All inputs are projected at once with both biases, ``unbind`` gives the steps, the recurrent product and
its addition are one ``addmm``, gates that share a squashing function share its call, what ``addcmul`` and
``lerp`` can do in one call is one call, and without autograd everything happens in place. Each loop takes
the parameters by name and x [T, B, I].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unrolled

Parameters = Mapping[str, Tensor]


class Leaky(unrolled.GatedCell):
    """The reader's own cell: a tanh unit that moves a gated share of the way to its new value."""

    gates = ("n", "a")
    vectors = ("rate",)

    def step(self, gate: unrolled.cells.Gates, prev: unrolled.cells.HiddenState):
        a = torch.sigmoid(gate.a + self.rate)
        return self.State(h=(1 - a) * prev.h + a * torch.tanh(gate.n))


def parameters(layer: nn.Module) -> dict[str, Tensor]:
    """The parameters of a layer of one direction, without the layer's suffix."""
    return {name.removesuffix("_l0"): value for name, value in layer.named_parameters()}


class _Fresh:
    """Operations as autograd needs them."""

    sigmoid, tanh, add, mul = torch.sigmoid, torch.tanh, torch.add, torch.mul
    addmm, addcmul, lerp = torch.addmm, torch.addcmul, torch.lerp


class _InPlace:
    """The same for inference, in the memory of the first argument: a tenth quicker."""

    sigmoid, tanh, add, mul = Tensor.sigmoid_, Tensor.tanh_, Tensor.add_, Tensor.mul_
    addmm, addcmul, lerp = Tensor.addmm_, Tensor.addcmul_, Tensor.lerp_


def _operations() -> type[_Fresh] | type[_InPlace]:
    return _InPlace if torch.is_inference_mode_enabled() else _Fresh


def _projected(p: Parameters, x: Tensor) -> tuple[Tensor, ...]:
    return F.linear(x, p["weight_ih"], p["bias_ih"] + p["bias_hh"]).unbind(0)


def _zeros(p: Parameters, x: Tensor) -> Tensor:
    return x.new_zeros(x.shape[1], p["weight_hh"].shape[1])


def lstm(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    c, H = h, h.shape[1]
    for a in _projected(p, x):
        both, g, o = do.addmm(a, h, w).split((2 * H, H, H), 1)
        i, f = do.sigmoid(both).chunk(2, 1)
        c = do.addcmul(do.mul(f, c), i, do.tanh(g))
        h = do.mul(do.sigmoid(o), torch.tanh(c))
        outputs.append(h)
    return torch.stack(outputs)


def peephole(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    c, H = h, h.shape[1]
    gated = torch.stack([p["peephole_i"], p["peephole_f"]])  # [2, H]
    for a in _projected(p, x):
        both, g, o = do.addmm(a, h, w).split((2 * H, H, H), 1)
        i, f = do.sigmoid(do.addcmul(both.view(-1, 2, H), gated, c[:, None])).unbind(1)
        c = do.addcmul(do.mul(f, c), i, do.tanh(g))
        h = do.mul(do.sigmoid(do.addcmul(o, p["peephole_o"], c)), torch.tanh(c))
        outputs.append(h)
    return torch.stack(outputs)


def coupled(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    c = h
    for a in _projected(p, x):
        i, g, o = do.addmm(a, h, w).chunk(3, 1)
        c = torch.lerp(c, do.tanh(g), do.sigmoid(i))
        h = do.mul(do.sigmoid(o), torch.tanh(c))
        outputs.append(h)
    return torch.stack(outputs)


def review(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    c, H = h, h.shape[1]
    for a in _projected(p, x):
        both, g, o = do.addmm(a, h, w).split((2 * H, H, H), 1)
        i, f = do.sigmoid(both).chunk(2, 1)
        c = do.addcmul(do.mul(f, c), i, do.tanh(g))
        h = do.mul(do.sigmoid(o), c)
        outputs.append(h)
    return torch.stack(outputs)


def gru_before(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, wn, h, outputs = p["weight_hh"].t(), p["weight_hn"].t(), _zeros(p, x), []
    H = h.shape[1]
    bias = F.pad(p["bias_hh"], (0, H)) + p["bias_ih"]
    gates, candidates = F.linear(x, p["weight_ih"], bias).split((2 * H, H), 2)
    for a, n in zip(gates.unbind(0), candidates.unbind(0), strict=True):
        r, z = do.sigmoid(do.addmm(a, h, w)).chunk(2, 1)
        h = do.lerp(do.tanh(do.addmm(n, do.mul(r, h), wn)), h, z)
        outputs.append(h)
    return torch.stack(outputs)


def mut1(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, wn, h, outputs = p["weight_hh"].t(), p["weight_hn"].t(), _zeros(p, x), []
    H = h.shape[1]
    bias = p["bias_ih"] + F.pad(p["bias_hh"], (H, H))
    z, r, n = F.linear(x, p["weight_ih"], bias).chunk(3, 2)
    steps = zip(
        do.sigmoid(z).unbind(0),
        r.unbind(0),
        do.add(do.tanh(n), p["bias_n"]).unbind(0),
        strict=True,
    )
    for z_t, r_t, n_t in steps:
        r_t = do.sigmoid(do.addmm(r_t, h, w))
        h = torch.lerp(h, do.tanh(do.addmm(n_t, do.mul(r_t, h), wn)), z_t)
        outputs.append(h)
    return torch.stack(outputs)


def layer_norm(p: Parameters, x: Tensor) -> Tensor:
    """Ba et al. 2016, equations 20-22: both products and the cell are normalised."""
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    c, H = h, h.shape[1]

    def joined(name: str) -> Tensor:
        return torch.cat([p[f"{name}_{gate}"] for gate in "ifgo"])

    projected = F.layer_norm(
        F.linear(x, p["weight_ih"]), (4 * H,), joined("gain_ih"), joined("bias")
    )
    gain = joined("gain_hh")
    for a in projected.unbind(0):
        a = do.add(a, F.layer_norm(torch.mm(h, w), (4 * H,), gain))
        both, g, o = a.split((2 * H, H, H), 1)
        i, f = do.sigmoid(both).chunk(2, 1)
        c = do.addcmul(do.mul(f, c), i, do.tanh(g))
        h = do.mul(do.sigmoid(o), torch.tanh(F.layer_norm(c, (H,), p["gain_c"], p["bias_c"])))
        outputs.append(h)
    return torch.stack(outputs)


def leaky(p: Parameters, x: Tensor) -> Tensor:
    do = _operations()
    w, h, outputs = p["weight_hh"].t(), _zeros(p, x), []
    bias = p["bias_ih"] + p["bias_hh"]
    bias = torch.cat([bias[: h.shape[1]], bias[h.shape[1] :] + p["rate"]])
    for step in F.linear(x, p["weight_ih"], bias).unbind(0):
        n, a = do.addmm(step, h, w).chunk(2, 1)
        h = torch.lerp(h, do.tanh(n), do.sigmoid(a))
        outputs.append(h)
    return torch.stack(outputs)


def min_gru(p: Parameters, x: Tensor) -> Tensor:
    """Feng et al. 2024: gates of the input alone; z and n side by side in ``weight_ih``."""
    z, n = F.linear(x, p["weight_ih"], p["bias_ih"]).chunk(2, 2)
    h, outputs = x.new_zeros(x.shape[1], z.shape[2]), []
    for z_t, n_t in zip(torch.sigmoid(z).unbind(0), n.unbind(0), strict=True):
        h = torch.lerp(h, n_t, z_t)
        outputs.append(h)
    return torch.stack(outputs)


def min_lstm(p: Parameters, x: Tensor) -> Tensor:
    """Feng et al. 2024: f and i normalised to sum to one, all but the carry computed at once."""
    f, i, n = F.linear(x, p["weight_ih"], p["bias_ih"]).chunk(3, 2)
    f, i = torch.sigmoid(f), torch.sigmoid(i)
    share = i / (f + i)
    h, outputs = x.new_zeros(x.shape[1], n.shape[2]), []
    for share_t, n_t in zip(share.unbind(0), n.unbind(0), strict=True):
        h = torch.lerp(h, n_t, share_t)
        outputs.append(h)
    return torch.stack(outputs)


def _scanned(log_kept: Tensor, log_new: Tensor) -> Tensor:
    """h_t = kept_t h_{t-1} + new_t in logarithms, from h_0 = 0 (Heinsen 2023)."""
    total = log_kept.cumsum(0)
    return (total + torch.logcumsumexp(log_new - total, 0)).exp()


def _log_positive(n: Tensor) -> Tensor:
    """ln g(n), with the paper's g: n + 0.5 where n is positive, else its sigmoid."""
    return torch.where(n >= 0, (F.relu(n) + 0.5).log(), -F.softplus(-n))


def min_gru_scan(p: Parameters, x: Tensor) -> Tensor:
    """The paper's own parallel form (its appendix B)."""
    z, n = F.linear(x, p["weight_ih"], p["bias_ih"]).chunk(2, 2)
    return _scanned(-F.softplus(z), -F.softplus(-z) + _log_positive(n))


def min_lstm_scan(p: Parameters, x: Tensor) -> Tensor:
    """The paper's own parallel form (its appendix B)."""
    f, i, n = F.linear(x, p["weight_ih"], p["bias_ih"]).chunk(3, 2)
    difference = F.softplus(-f) - F.softplus(-i)
    return _scanned(-F.softplus(difference), -F.softplus(-difference) + _log_positive(n))


Loop = Callable[[Parameters, Tensor], Tensor]
