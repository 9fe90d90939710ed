r"""Dense layers on the engine's packed products: a linear layer, and its cross-entropy over many classes.

.. math::
   y = x W^\top + b \qquad
   L &= \sum_r \log \sum_v e^{y_{rv}} - (1 - \epsilon) y_{r t_r} - \frac{\epsilon}{V} \sum_v y_{rv} \\
   \partial L / \partial y_{rv} &= \mathrm{softmax}(y_r)_v - (1 - \epsilon) [v = t_r] - \epsilon / V

With a smoothing :math:`\epsilon` (Szegedy et al. 2016, section 7) so much of each target is spread over
all V classes. The loss, exact, is formed with its gradients, some rows at a time, so that the [rows, V]
matrix never exists as a whole. Where the engine cannot (another device or dtype, few rows, transforms of
torch.func), torch computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels.native import batched
from unrolled.kernels.native import engine as _engine
from unrolled.kernels.witness import Witness

FEW_ROWS = 16  # with fewer, packing the weight costs more than it gains
CHUNK_ROWS = 256  # of torch's own chunks


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As torch.nn.functional.linear: x [..., K], weight [N, K], bias [N] to [..., N].

    >>> linear(torch.ones(2, 3), torch.ones(4, 3)).shape
    torch.Size([2, 4])
    """
    rows = x.numel() // max(1, x.shape[-1])
    fits = weight.shape[1:] == x.shape[-1:] and (bias is None or bias.shape == weight.shape[:1])
    if not _can(x, weight, bias) or rows < FEW_ROWS or not fits:
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    apply: Callable[..., Tensor] = _Linear.apply
    return apply(flat, weight, bias).view(*x.shape[:-1], weight.shape[0])


class Packed:
    """A linear layer that is used again and again with few rows, its weight packed once.

    Keeps no gradient. :meth:`current` says whether the weight is still what was packed; where the engine
    cannot, torch computes the same.

    Args:
        weight: [N, K]. bias: [N] or None.

    >>> Packed(torch.ones(4, 3))(torch.ones(2, 3)).tolist()[0]
    [3.0, 3.0, 3.0, 3.0]
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight, self._bias = weight, bias
        self._matrix = None
        self._outer, inner = weight.shape
        given = [t for t in (weight, bias) if t is not None]
        if _can(weight, bias) and all(t.is_contiguous() for t in given):
            self._made_of = Witness(given)
            self._matrix = _engine.Matrix(weight.data_ptr(), self._outer, inner, False)

    def current(self, weight: Tensor, bias: Tensor | None = None) -> bool:
        """Whether these are the very tensors that were packed, unchanged since."""
        if weight is not self._weight or bias is not self._bias:
            return False
        given = [t for t in (weight, bias) if t is not None]
        return self._matrix is None or self._made_of.holds(given)

    def __call__(self, x: Tensor) -> Tensor:
        """x [R, K] to [R, N]."""
        if self._matrix is None or not _can(x):
            return F.linear(x, self._weight, self._bias)
        x = _rows(x)
        y = x.new_empty(len(x), self._outer)
        offset = _address(self._bias)
        place = (x.data_ptr(), x.stride(0), len(x), offset, y.data_ptr(), self._outer)
        _engine.linear(self._matrix, *place, torch.get_num_threads())
        return y


def linear_cross_entropy(
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Summed cross-entropy in nats of ``linear(h, weight, bias)`` against targets.

    Args:
        h: [rows, K]. weight: [V, K]. bias: [V] or None.
        targets: [rows] of 0..V-1; a row of a negative target does not count.
        label_smoothing: in [0, 1], as in :func:`torch.nn.functional.cross_entropy`.

    Raises:
        ValueError: a shape does not fit, a target is V or more, or the smoothing out of its range.

    >>> float(linear_cross_entropy(torch.zeros(2, 3), torch.zeros(4, 3), None, torch.tensor([0, -1])))
    1.386...
    """
    if h.dim() != 2 or weight.dim() != 2 or h.shape[1] != weight.shape[1]:
        raise ValueError(
            f"h of shape {list(h.shape)} and weight of {list(weight.shape)} given, "
            "[rows, K] and [V, K] expected"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias of shape {list(bias.shape)} given, [{len(weight)}] expected")
    if targets.shape != h.shape[:1] or targets.is_floating_point():
        raise ValueError(
            f"targets must be {h.shape[0]} integers, {list(targets.shape)} of {targets.dtype} given"
        )
    if targets.numel() and int(targets.max()) >= weight.shape[0]:
        raise ValueError(
            f"a target is {int(targets.max())}, but there are {weight.shape[0]} classes (0..V-1)"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], {label_smoothing} given")
    transformed = torch._C._are_functorch_transforms_active()
    transformed = transformed or torch.autograd.forward_ad._current_level >= 0
    if transformed or torch.is_autocast_enabled(h.device.type):
        counted = targets.clamp_min(0)
        logits = F.linear(h, weight, bias)
        nats = F.cross_entropy(logits, counted, reduction="none", label_smoothing=label_smoothing)
        return torch.where(targets >= 0, nats, 0.0).sum()
    apply: Callable[..., Tensor] = _LinearCrossEntropy.apply
    return apply(h, weight, bias, targets, label_smoothing)


def _can(*tensors: Tensor | None) -> bool:
    """Whether the engine computes with these."""
    if _engine is None or torch.is_autocast_enabled("cpu"):
        return False
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return False
    if torch.compiler.is_compiling():
        return False
    return all(
        t is None
        or (t.dtype == torch.float32 and t.device.type == "cpu" and t.layout == torch.strided)
        for t in tensors
    ) and all(t is None or t.numel() for t in tensors)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _rows(x: Tensor) -> Tensor:
    """[rows, K] with contiguous columns."""
    return x if x.stride(1) == 1 or x.shape[1] == 1 else x.contiguous()


class _Linear(torch.autograd.Function):
    """A linear layer of 2-D inputs on the engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        x, whole = _rows(x), weight.contiguous()
        outer, inner = weight.shape
        y = x.new_empty(len(x), outer)
        matrix = _engine.Matrix(whole.data_ptr(), outer, inner, False)
        offset = None if bias is None else bias.contiguous()
        _engine.linear(
            matrix,
            x.data_ptr(),
            x.stride(0),
            len(x),
            _address(offset),
            y.data_ptr(),
            outer,
            torch.get_num_threads(),
        )
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        if torch.is_grad_enabled() or batched(dy):  # create_graph=True, or vmap
            dx = dy @ weight if wants_x else None
            d_weight = dy.t() @ x if wants_weight else None
            return dx, d_weight, dy.sum(0) if wants_bias and ctx.bias else None
        x, dy, whole = _rows(x), _rows(dy), weight.contiguous()
        (outer, inner), threads = weight.shape, torch.get_num_threads()
        dx = d_weight = d_bias = None
        if wants_x:
            dx = x.new_empty(x.shape)
            matrix = _engine.Matrix(whole.data_ptr(), outer, inner, True)
            place = (dy.data_ptr(), dy.stride(0), len(dy))
            _engine.linear(matrix, *place, 0, dx.data_ptr(), inner, threads)
        if wants_weight or (wants_bias and ctx.bias):
            d_weight = x.new_zeros(outer, inner) if wants_weight else None
            d_bias = x.new_zeros(outer) if wants_bias and ctx.bias else None
            places = (x.data_ptr(), x.stride(0), dy.data_ptr(), dy.stride(0), len(x), inner, outer)
            _engine.linear_gradient(*places, _address(d_weight), _address(d_bias), threads)
        return dx, d_weight, d_bias


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are formed with the loss and only scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad[:3])
        gradients: list[Tensor | None] = [None, None, None]
        if wanted:
            gradients = [
                None if t is None else make(t, memory_format=torch.contiguous_format)
                for t, make in (
                    (h, torch.empty_like),
                    (weight, torch.zeros_like),
                    (bias, torch.zeros_like),
                )
            ]
        compute = _by_engine if _can(h, weight, bias) else _by_torch
        total = compute(h, weight, bias, targets.to(torch.int64), smoothing, gradients)
        ctx.smoothing = smoothing
        ctx.made = [g is not None for g in gradients]
        ctx.save_for_backward(h, weight, bias, targets, *(g for g in gradients if g is not None))
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        h, weight, bias, targets, *gradients = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            counted = targets >= 0
            y = F.linear(h[counted], weight, bias)
            total = F.cross_entropy(
                y, targets[counted], reduction="sum", label_smoothing=ctx.smoothing
            )
            inputs = [t for t in (h, weight, bias) if t is not None and t.requires_grad]
            found = iter(torch.autograd.grad(total, inputs, grad, create_graph=True))
            wants = [t is not None and t.requires_grad for t in (h, weight, bias)]
            return *(next(found) if want else None for want in wants), None, None
        remaining = iter(gradients)
        scaled = [next(remaining) * grad if made else None for made in ctx.made]
        return *scaled, None, None


def _by_engine(
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    smoothing: float,
    out: list[Tensor | None],
) -> Tensor:
    h, whole, targets = _rows(h), weight.contiguous(), targets.contiguous()
    offset = None if bias is None else bias.contiguous()
    outer, inner = weight.shape
    losses = h.new_empty(len(h))
    wanted = out[0] is not None
    forward = _engine.Matrix(whole.data_ptr(), outer, inner, False)
    back = _engine.Matrix(whole.data_ptr(), outer, inner, True) if wanted else None
    _engine.cross_entropy(
        forward,
        back,
        h.data_ptr(),
        h.stride(0),
        len(h),
        _address(offset),
        targets.data_ptr(),
        smoothing,
        losses.data_ptr(),
        *(_address(g) for g in out),
        torch.get_num_threads(),
    )
    return losses.sum()


def _by_torch(
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    smoothing: float,
    out: list[Tensor | None],
) -> Tensor:
    dh, d_weight, d_bias = out
    total = h.new_zeros(())
    for start in range(0, len(h), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        logits = F.linear(h[part], weight, bias)
        counted = targets[part, None] >= 0
        picked = targets[part, None].clamp_min(0)
        log_norm = torch.logsumexp(logits, -1, keepdim=True)
        nats = log_norm - logits.gather(1, picked)
        if smoothing:
            nats = torch.lerp(nats, log_norm - logits.mean(-1, keepdim=True), smoothing)
        total += torch.where(counted, nats, 0.0).sum()
        if dh is None or d_weight is None:
            continue
        gradient = logits.sub_(log_norm).exp_()
        gradient.scatter_add_(1, picked, torch.full_like(log_norm, smoothing - 1))
        if smoothing:
            gradient -= smoothing / len(weight)
        gradient *= counted
        torch.mm(gradient, weight, out=dh[part])
        d_weight.addmm_(gradient.t(), h[part])
        if d_bias is not None:
            d_bias += gradient.sum(0)
    return total
