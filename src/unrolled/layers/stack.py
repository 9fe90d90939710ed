"""Running bound cells as layers and directions; shared by every recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import kernels
from unrolled.cells import Cell
from unrolled.kernels import loop
from unrolled.layers import compiled, recompute
from unrolled.layers.dropout import recurrent_mask, variational_mask
from unrolled.state import check_like, map_state, stack


@dataclass(frozen=True)
class StackOptions:
    """What happens between the layers and steps of a stack; see :class:`unrolled.Recurrent`."""

    dropout: float = 0.0
    variational: bool = False
    residual: bool = False
    zoneout: tuple[float, ...] = ()
    recurrent_dropout: float = 0.0
    recompute: int = False


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
    resets: Tensor | None = None,
    initial: Sequence[Any] | None = None,
    record: list[Any] | None = None,
) -> tuple[Tensor, tuple[Any, ...]]:
    """Runs x [T, B, I] through ``cells`` (by layer, forward before reverse); output and final states.

    Without ``states`` it starts from the ``initial`` ones (default: the cells'), to which ``resets``
    [T, B] go back. ``record`` receives the states after every step, [T, B, n], of each cell.
    """
    steps, batch = x.shape[:2]
    lengths = check_lengths(lengths, steps=steps, batch=batch)
    resets = check_resets(resets, steps=steps, batch=batch, device=x.device)
    if states is not None:
        _check_states(cells, states, batch)
    if initial is None and (states is None or resets is not None):
        initial = [cell.initial_state(batch) for cell in cells]
    final: list[Any] = []
    for first in range(0, len(cells), directions):
        if first:
            x = _drop(x, options, training)
        outputs = []
        for direction in range(directions):
            index = first + direction
            state = cast(Sequence[Any], initial if states is None else states)[index]
            call: dict[str, Any] = {
                "lengths": lengths,
                "reverse": direction == 1,
                "zoneout": _zoneout(state, steps, options.zoneout, training),
                "feedback": feedback,
            }
            if resets is not None:
                call |= {"resets": resets, "reset_state": cast(Sequence[Any], initial)[index]}
            cell = _thinned(cells[index], x, options, training)
            output, state = _run(cell, x, state, call, options, record)
            outputs.append(output)
            final.append(state)
        output = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        x = output + x if options.residual and first else output
    return x, tuple(final)


def _run(
    cell: Cell,
    x: Tensor,
    state: Any,
    call: dict[str, Any],
    options: StackOptions,
    record: list[Any] | None,
) -> tuple[Tensor, Any]:
    """One cell over time: by the chosen executor, in pieces, or by the loop that shows every state."""
    if record is not None:
        after: dict[int, Any] = {}
        output, final = loop.run(cell, x, state, record=after.__setitem__, **call)
        ordered = [after[t] for t in range(len(x))]
        empty = map_state(lambda part: part.new_zeros(0, *part.shape), state)
        record.append(stack(ordered) if ordered else empty)
        return output, final
    if torch.compiler.is_compiling():
        return compiled.run(cell, x, state, call)
    piece = recompute.piece_length(options.recompute, len(x))
    if options.recompute and piece < len(x) and recompute.applies():
        return recompute.run(cell, x, state, piece=piece, **call)
    return kernels.run(cell, x, state, **call)


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
    if torch.compiler.is_compiling():  # values are not known yet
        return lengths
    if batch and not (int(lengths.min()) >= 0 and int(lengths.max()) <= steps):
        raise ValueError(f"lengths must be in 0..{steps} (the input's T), {lengths.tolist()} given")
    return None if bool((lengths == steps).all()) else lengths


def check_resets(
    resets: Tensor | None, *, steps: int, batch: int, device: torch.device
) -> Tensor | None:
    """``resets`` on ``device``; None if nothing is reset.

    Raises:
        ValueError: unless they are booleans [T, B].
    """
    if resets is None:
        return None
    resets = torch.as_tensor(resets)
    if resets.dtype != torch.bool or resets.shape != (steps, batch):
        raise ValueError(
            f"resets must be booleans, one for each of {steps} steps of {batch} sequences, "
            f"{list(resets.shape)} of {resets.dtype} given"
        )
    if torch.compiler.is_compiling():
        return resets.to(device)
    return resets.to(device) if bool(resets.any()) else None


def _thinned(cell: Cell, x: Tensor, options: StackOptions, training: bool) -> Cell:
    """The cell under recurrent dropout's mask, drawn anew for each call, in training."""
    if not training or options.recurrent_dropout == 0:
        return cell
    return cell.with_recurrent_mask(
        recurrent_mask(x, cell.recurrent_size, options.recurrent_dropout)
    )


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
