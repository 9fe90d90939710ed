r"""The reference executor: the cell's step, one time step after another.

.. math:: (y^{(t)}, s^{(t)}) = F(x^{(t)}, s^{(t-1)}), \quad t = 1 \dots T

Always there and always right; every other executor is checked against it. The input's part of all
steps is projected at once. Past a sequence's end its state stands still and its output is zero, in the
reversed direction likewise before its beginning, so padding changes nothing, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.state import map_state, where


def run(
    cell: Cell,
    x: Tensor,
    state: Any,
    *,
    lengths: Tensor | None = None,
    reverse: bool = False,
    zoneout: Any = None,
    feedback: Tensor | None = None,
    context: Any = None,
    resets: Tensor | None = None,
    reset_state: Any = None,
    record: Callable[[int, Any], None] | None = None,
) -> tuple[Tensor, Any]:
    """Runs ``cell`` over time; arguments and result as :func:`unrolled.kernels.run`.

    Args:
        record: called with (t, the state after step t), in the order in which steps are run. Past a
            sequence's end (in reverse: before its beginning) that is the state that stands still.
    """
    steps, batch = x.shape[:2]
    if steps == 0:
        return x.new_zeros(0, batch, cell.output_size), state
    real = None
    if lengths is not None:
        real = torch.arange(steps, device=x.device)[:, None] < lengths.to(x.device)  # [T, B]
        x = torch.where(real[:, :, None], x, 0.0)
    boundary = None if resets is None else _boundaries(resets, real, reverse)
    cell, context = cell.begin(context)
    inputs = cell.project_input(x).unbind(0)
    outputs: list[Tensor] = []
    for t in reversed(range(steps)) if reverse else range(steps):
        if boundary is not None:
            state = where(boundary[t], reset_state, state)
        if feedback is not None:
            forced = cell.force(state, feedback[t])
            state = forced if real is None else where(real[t], forced, state)
        output, following = cell.advance(inputs[t], state, context)
        if zoneout is not None:
            following = _zone_state(zoneout, t, state, following)
            output = following[0]
        if real is not None:
            following = where(real[t], following, state)
            output = torch.where(real[t][:, None], output, 0.0)
        state = following
        outputs.append(output)
        if record is not None:
            record(t, state)
    if reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def _boundaries(resets: Tensor, real: Tensor | None, reverse: bool) -> Tensor:
    """Where the state is reset before a step in the direction of running, [T, B].

    A segment that begins with step t is cut from step t - 1: forward before t is run, in reverse
    before t - 1 is.
    """
    boundary = resets.to(torch.bool) if real is None else resets & real
    if not reverse:
        return boundary
    return torch.cat([boundary[1:], torch.zeros_like(boundary[:1])])


def _zone_state(zoneout: Any, t: int, previous: Any, following: Any) -> Any:
    """Zoneout (Krueger et al. 2017): a share of the previous value, the rest of the new one."""

    def zone(share: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return share[t] * old + (1 - share[t]) * new

    return map_state(zone, zoneout, previous, following)
