r"""Products over many steps whose weight gradient is formed once.

In a loop over time the gradient of a weight is a sum over steps,

.. math:: \frac{\partial L}{\partial W} = \sum_t \delta_t x_t^\top
          = [\delta_1 \dots \delta_T] \, [x_1 \dots x_T]^\top

and the right-hand form is one large product instead of T small ones, each with an addition of the size of W.
:func:`collect` stands for the weight in the steps, and forms that product when the last of them has been
differentiated. Derivatives of the derivative go the ordinary way, step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

Product = Callable[[Tensor], Tensor]
"""x [B, K] to W x + b, [B, N]."""
Multiply = Callable[[Tensor, Tensor | None], Product]
"""Makes the product with a weight and a bias."""


class Pass:
    """What the steps of one backward pass leave behind.

    A pass may not come to what was handed out, if it stops on its way or asks for other gradients; what it
    left must not be counted with the next one's.
    """

    def __init__(self) -> None:
        self._number = -1
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        raise TypeError(f"{type(self).__name__} defines no reset()")

    def enter(self) -> None:
        """Called by every step and at the end: forgets what another pass left."""
        number = torch._C._current_graph_task_id()
        if number != self._number:
            self._number = number
            self.reset()


class _Pairs(Pass):
    """Inputs and the gradients of outputs, step by step."""

    def reset(self) -> None:
        self.inputs: list[Tensor] = []
        self.deltas: list[Tensor] = []


class Collected:
    """A weight [N, K] and its bias [N] (or None) as the steps use them.

    >>> weight = torch.ones(2, 3, requires_grad=True)
    >>> linear = collect(weight)
    >>> sum(linear(torch.ones(4, 3)).sum() for _ in range(5)).backward()
    >>> weight.grad.tolist()
    [[20.0, 20.0, 20.0], [20.0, 20.0, 20.0]]
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, steps: _Pairs) -> None:
        self._weight, self._bias, self._steps = weight, bias, steps

    def __call__(self, x: Tensor) -> Tensor:
        """W x + b of one step, [B, K] to [B, N]."""
        step: Any = _Product.apply
        return cast(Tensor, step(x, self._weight, self._bias, self._steps))


def collect(weight: Tensor, bias: Tensor | None = None) -> Product:
    """What multiplies by ``weight`` [N, K] and adds ``bias`` [N] in each of many steps."""
    if not (torch.is_grad_enabled() and weight.requires_grad) or transformed():
        return partial(F.linear, weight=weight, bias=bias)
    steps = _Pairs()
    hand_out: Any = _Collect.apply
    weight, bias = hand_out(weight, bias, steps)
    return Collected(weight, bias, steps)


def transformed() -> bool:
    """Whether autograd must see every step: under torch.func, forward mode, the compiler or autocast."""
    return (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Collect(torch.autograd.Function):
    """Hands a weight out; its backward runs after that of every step that used it."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, steps: _Pairs) -> Any:
        ctx.steps = steps
        ctx.set_materialize_grads(False)
        return weight.view_as(weight), None if bias is None else bias.view_as(bias)

    @staticmethod
    def backward(ctx: Any, d_weight: Tensor | None, d_bias: Tensor | None) -> Any:
        steps: _Pairs = ctx.steps
        steps.enter()
        if steps.deltas:
            x, delta = torch.cat(steps.inputs), torch.cat(steps.deltas)
            steps.reset()
            product = delta.t() @ x
            d_weight = product if d_weight is None else d_weight + product
            if ctx.needs_input_grad[1]:
                summed = delta.sum(0)
                d_bias = summed if d_bias is None else d_bias + summed
        return d_weight, d_bias, None


class _Product(torch.autograd.Function):
    """One step: gives the input its gradient, and keeps what the weight's needs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, steps: _Pairs) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps, ctx.bias = steps, bias is not None
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        dx = delta @ weight if ctx.needs_input_grad[0] else None
        if torch.is_grad_enabled():  # create_graph=True
            return dx, delta.t() @ x, delta.sum(0) if ctx.bias else None, None
        steps: _Pairs = ctx.steps
        steps.enter()
        steps.inputs.append(x)
        steps.deltas.append(delta)
        return dx, None, None, None
