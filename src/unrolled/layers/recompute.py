r"""Recomputation: memory for time (Chen et al. 2016, "Training deep nets with sublinear memory cost").

A sequence of T steps is run in pieces. Of each piece only its inputs and the state before it are kept; its
activations are computed again when the backward pass comes to it. With :math:`\sqrt T` pieces of
:math:`\sqrt T` steps, memory for the activations of T steps shrinks to that of :math:`\sqrt T` steps and as
many states, at the price of a second forward pass. Nothing else changes: what is random is drawn outside, and
a cell that draws in its own step sees the same random numbers again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unrolled import kernels
from unrolled.cells import Cell
from unrolled.state import leaves, rebuild, select, where


def piece_length(recompute: int, steps: int) -> int:
    """Steps in a piece of T: ``recompute`` itself, or for True the least whole number from sqrt(T)."""
    return math.isqrt(max(steps - 1, 0)) + 1 if recompute is True else int(recompute)


def applies() -> bool:
    """Whether it can save anything: a graph is built, and neither by torch.func nor in forward mode."""
    transformed = torch._C._are_functorch_transforms_active()
    return torch.is_grad_enabled() and not (
        transformed or torch.autograd.forward_ad._current_level >= 0
    )


def run(
    cell: Cell,
    x: Tensor,
    state: Any,
    *,
    piece: int,
    lengths: Tensor | None = None,
    reverse: bool = False,
    zoneout: Any = None,
    feedback: Tensor | None = None,
    resets: Tensor | None = None,
    reset_state: Any = None,
) -> tuple[Tensor, Any]:
    """:func:`unrolled.kernels.run` in pieces of ``piece`` steps, each computed again for its gradient."""
    steps = x.shape[0]
    lengths = None if lengths is None else lengths.to(x.device)
    outputs: list[Tensor] = []
    inputs = torch.split(
        x, piece
    )  # one backward for all; that of a slice fills a gradient as long as x
    fed = None if feedback is None else torch.split(feedback, piece)
    starts = range(0, steps, piece)
    for start in reversed(starts) if reverse else starts:
        stop = min(start + piece, steps)
        part = slice(start, stop)
        own = None if lengths is None else (lengths - start).clamp(0, stop - start)
        if (
            reverse and resets is not None and stop < steps
        ):  # the piece after this one was cut off it
            cut = resets[stop] if lengths is None else resets[stop] & (lengths > stop)
            state = where(cut, reset_state, state)
        options = {
            "reverse": reverse,
            "zoneout": None if zoneout is None else select(zoneout, part),  # of steps, here
            "feedback": None if fed is None else fed[start // piece],
            "resets": None if resets is None else resets[part],
            "reset_state": reset_state,
        }
        output, state = _piece(cell, inputs[start // piece], state, own, options)
        outputs.append(output)
    if reverse:
        outputs.reverse()
    return torch.cat(outputs), state


def _piece(
    cell: Cell, x: Tensor, state: Any, lengths: Tensor | None, options: dict[str, Any]
) -> tuple[Tensor, Any]:
    """One piece. Sequences without a step in it are run, for the executors' sake, and overlooked."""
    named = dict(cell.named_parameters(remove_duplicate=False))
    names, parameters = list(named), list(named.values())
    begun = None
    if lengths is not None:
        begun = lengths > 0
        x = torch.where(begun[None, :, None], x, 0.0)
        lengths = lengths.clamp(min=1)
        lengths = None if bool((lengths == x.shape[0]).all()) else lengths
    counts = [len(leaves(state)), len(parameters)]
    traced = _tensors(options)

    def compute(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        before = rebuild(state, tensors[: counts[0]])
        own = dict(zip(names, tensors[counts[0] : sum(counts)], strict=True))
        given = _with_tensors(options, tensors[sum(counts) :])
        output, following = kernels.run(cell.bind(own), x, before, lengths=lengths, **given)
        return (output, *leaves(following))

    tensors = [x, *leaves(state), *parameters, *traced]
    output, *after = _Recomputed.apply(compute, *tensors)  # type: ignore[no-untyped-call]
    following = rebuild(state, after)
    if begun is not None:
        output = torch.where(begun[None, :, None], output, 0.0)
        following = where(begun, following, state)
    return output, following


def _tensors(options: dict[str, Any]) -> list[Tensor]:
    """Of a call's options, the tensors that may have a gradient."""
    feedback, reset_state = options["feedback"], options["reset_state"]
    return [
        *([] if feedback is None else [feedback]),
        *([] if reset_state is None else leaves(reset_state)),
    ]


def _with_tensors(options: dict[str, Any], tensors: Sequence[Tensor]) -> dict[str, Any]:
    """The options with those tensors in the place of :func:`_tensors`."""
    given, rest = dict(options), list(tensors)
    if given["feedback"] is not None:
        given["feedback"] = rest.pop(0)
    if given["reset_state"] is not None:
        given["reset_state"] = rebuild(given["reset_state"], rest)
    return given


class _Recomputed(torch.autograd.Function):
    """A function of tensors whose inner graph is built when its gradient is asked for.

    torch.utils.checkpoint frees what is saved as tensors; this frees whatever an executor keeps.
    """

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.compute, ctx.surroundings = compute, _Surroundings(tensors[0].device)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        found: tuple[Tensor, ...] = compute(*tensors)
        # A state that stands still is its own input: autograd wants another tensor.
        return tuple(t.clone() if any(t is given for given in tensors) else t for t in found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled()  # a derivative of this derivative may follow
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        with torch.enable_grad(), ctx.surroundings.restored():
            needed = ctx.needs_input_grad[1:]
            inputs = [
                tensor.view_as(tensor) if again else tensor.detach().requires_grad_(wanted)
                for tensor, wanted in zip(saved, needed, strict=True)
            ]
            outputs = ctx.compute(*inputs)
            pairs = [
                (output, gradient)
                for output, gradient in zip(outputs, gradients, strict=True)
                if gradient is not None and output.requires_grad
            ]
            wanted_inputs = [
                tensor for tensor, wanted in zip(inputs, needed, strict=True) if wanted
            ]
            found = iter(
                torch.autograd.grad(
                    [output for output, _ in pairs],
                    wanted_inputs,
                    [gradient for _, gradient in pairs],
                    create_graph=again,
                    allow_unused=True,
                )
                if pairs
                else [None] * len(wanted_inputs)
            )
        return (None, *(next(found) if wanted else None for wanted in needed))


class _Surroundings:
    """What a computation depends on besides its inputs: random state and automatic mixed precision."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self.autocast: dict[str, Any] = {
            "device_type": device.type,
            "enabled": torch.is_autocast_enabled(device.type),
            "dtype": torch.get_autocast_dtype(device.type),
            "cache_enabled": torch.is_autocast_cache_enabled(),
        }

    @contextmanager
    def restored(self) -> Iterator[None]:
        """A block in which they are as they were, and after which they are as before it."""
        devices = [] if self.cuda is None else [self.device]
        with torch.random.fork_rng(devices), torch.autocast(**self.autocast):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield
