"""Executors of a cell over time, and the choice among them.

The loop runs everything; torch's fused layers run the cells that are exactly theirs. :func:`use` forces
an executor, :func:`explain` says which one a cell gets and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell, cell_named
from unrolled.kernels import fused, loop

EXECUTORS: dict[str, Callable[..., tuple[Tensor, Any]]] = {"fused": fused.run, "loop": loop.run}

_forced = "auto"


def forced() -> str:
    """What :func:`use` last asked for, ``"auto"`` if nothing."""
    return _forced


class _Use:
    """Undoes :func:`use` at the end of a ``with`` block."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        use(self._previous)


def use(executor: str) -> _Use:
    """Forces an executor from here on, or within ``with use(...):``.

    Args:
        executor: ``"auto"`` (the fastest that can), ``"fused"`` or ``"loop"``. A forced executor that
            cannot run a cell raises ValueError instead of running another.

    >>> with use("loop"):
    ...     print(explain("gru"))
    gru: the loop (kernels.use("loop") is in force)
    """
    global _forced
    if executor not in ("auto", *EXECUTORS):
        raise ValueError(f"no executor {executor!r}; choose auto, {', '.join(EXECUTORS)}")
    previous, _forced = _forced, executor
    return _Use(previous)


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
) -> tuple[Tensor, Any]:
    """Runs a cell over time with the chosen executor.

    Args:
        cell: the cell, its parameters bound.
        x: the inputs, [T, B, I].
        state: the state before the first step (the last one where ``reverse``).
        lengths: the true length of each sequence [B], each in 0..T; None if all are T.
        reverse: run from each sequence's own end to its beginning.
        zoneout: a state of [T, B, n] tensors: the share of the previous value that each unit keeps.
        feedback: what is fed back into each step instead of the last output (Jordan's teacher forcing:
            the target of the step before), [T, B, O].
        context: passed to every step.

    Returns:
        The outputs [T, B, O], zero past each length, and the state after each sequence's last step.
    """
    options = {"zoneout": zoneout, "feedback": feedback, "context": context}
    obstacle = call_obstacle(x, lengths=lengths, **options)
    executor = EXECUTORS[choose(cell, obstacle)]
    asked = {name: value for name, value in options.items() if value is not None}
    return executor(cell, x, state, lengths=lengths, reverse=reverse, **asked)


def choose(cell: Cell, obstacle: str | None = None) -> str:
    """The executor for this cell, given what in the call (if anything) torch's layers cannot do.

    Raises:
        ValueError: if the forced executor cannot.
    """
    obstacle = _obstacle(cell) or obstacle
    if _forced == "fused" and obstacle:
        raise ValueError(f"the fused executor cannot run this: {obstacle}; use('auto') can")
    return "loop" if obstacle or _forced == "loop" else "fused"


def explain(cell: Cell | str) -> str:
    """One line: the executor this cell gets over a whole sequence, and why.

    >>> explain("lstm-peephole")
    'lstm-peephole: the loop (torch has no such LSTM)'
    """
    name = cell if isinstance(cell, str) else type(cell).__name__
    instance = cell_named(cell)(2, 2) if isinstance(cell, str) else cell
    if _forced == "loop":
        return f'{name}: the loop (kernels.use("loop") is in force)'
    obstacle = _obstacle(instance)
    if obstacle and _forced == "fused":
        return f'{name}: refused ({obstacle}; kernels.use("fused") is in force)'
    if obstacle:
        return f"{name}: the loop ({obstacle})"
    return f"{name}: torch's fused {fused.mode(instance)}"


def _obstacle(cell: Cell) -> str | None:
    """Why torch's own layers cannot run this cell."""
    return None if fused.mode(cell) else f"torch has no such {type(cell).__name__}"


def call_obstacle(
    x: Tensor,
    *,
    lengths: Tensor | None = None,
    zoneout: Any = None,
    feedback: Tensor | None = None,
    context: Any = None,
) -> str | None:
    """Why torch's own layers cannot run this call."""
    if zoneout is not None:
        return "torch has no zoneout"
    if feedback is not None or context is not None:
        return "torch has neither feedback nor context"
    if x.shape[0] == 0 or (lengths is not None and bool((lengths < 1).any())):
        return "torch refuses empty sequences"
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return "torch's fused layers have no forward mode, vmap or higher derivatives"
    return None


__all__ = ["EXECUTORS", "call_obstacle", "choose", "explain", "forced", "run", "use"]
