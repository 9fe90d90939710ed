"""Running bound cells as layers and directions; shared by every recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import kernels
from unrolled.cells import Cell
from unrolled.layers.dropout import variational_mask
from unrolled.state import check_like, map_state


@dataclass(frozen=True)
class StackOptions:
    """What happens between the layers and steps of a stack; see :class:`unrolled.Recurrent`."""

    dropout: float = 0.0
    variational: bool = False
    residual: bool = False
    zoneout: tuple[float, ...] = ()


def run_stack(
    cells: Sequence[Cell],
    x: Tensor,
    states: Sequence[Any] | None,
    *,
    directions: int,
    options: StackOptions,
    training: bool,
    lengths: Tensor | Sequence[int] | None = None,
    feedback: Tensor | None = None,
) -> tuple[Tensor, tuple[Any, ...]]:
    """Runs x [T, B, I] through ``cells`` (by layer, forward before reverse); output and final states.

    Without ``states`` it starts from the initial ones.
    """
    lengths = check_lengths(lengths, steps=x.shape[0], batch=x.shape[1])
    if states is None:
        states = [cell.initial_state(x.shape[1]) for cell in cells]
    else:
        _check_states(cells, states, x.shape[1])
    final: list[Any] = []
    for first in range(0, len(cells), directions):
        if first:
            x = _drop(x, options, training)
        outputs = []
        for direction in range(directions):
            cell, state = cells[first + direction], states[first + direction]
            output, state = kernels.run(
                cell,
                x,
                state,
                lengths=lengths,
                reverse=direction == 1,
                zoneout=_zoneout(state, len(x), options.zoneout, training),
                feedback=feedback,
            )
            outputs.append(output)
            final.append(state)
        output = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        x = output + x if options.residual and first else output
    return x, tuple(final)


def _check_states(cells: Sequence[Cell], states: Sequence[Any], batch: int) -> None:
    if len(states) != len(cells):
        raise ValueError(
            f"a state of {len(states)} parts given, {len(cells)} expected (one for each cell)"
        )
    for cell, state in zip(cells, states, strict=True):
        check_like(state, cell.initial_state(batch, device="meta"))


def check_lengths(
    lengths: Tensor | Sequence[int] | None, *, steps: int, batch: int
) -> Tensor | None:
    """``lengths`` as an int64 tensor [B]; None if every sequence is whole.

    Raises:
        ValueError: unless there is one integer in 0..T for each sequence.
    """
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.shape != (batch,):
        raise ValueError(
            f"lengths must be {batch} integers (one for each sequence), "
            f"{list(lengths.shape)} of {lengths.dtype} given"
        )
    lengths = lengths.to(torch.int64)
    if batch and not (int(lengths.min()) >= 0 and int(lengths.max()) <= steps):
        raise ValueError(f"lengths must be in 0..{steps} (the input's T), {lengths.tolist()} given")
    return None if bool((lengths == steps).all()) else lengths


def _drop(x: Tensor, options: StackOptions, training: bool) -> Tensor:
    if not training or options.dropout == 0:
        return x
    if options.variational:
        return x * variational_mask(x, options.dropout, time=0)
    return F.dropout(x, options.dropout)


def _zoneout(state: Any, steps: int, rates: tuple[float, ...], training: bool) -> Any:
    """The share each unit keeps, a state of [T, B, n]: drawn in training, its expectation otherwise."""
    if not rates:
        return None
    remaining = iter(rates)

    def keep(part: Tensor) -> Tensor:
        rate = next(remaining)
        shape = (steps, *part.shape)
        if training:
            return torch.empty(shape, device=part.device, dtype=part.dtype).bernoulli_(rate)
        return torch.full((1,), rate, device=part.device, dtype=part.dtype).expand(shape)

    return map_state(keep, state)
