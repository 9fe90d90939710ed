"""Executors of a cell over time, and the choice among them.

The engine runs any cell that can be traced, on a CPU in float32; torch's fused layers run the cells that are
exactly theirs; the loop runs everything. :func:`use` forces an executor, :func:`explain` says which one
a cell gets and what it computes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell, cell_named
from unrolled.kernels import engine, fused, loop
from unrolled.kernels.dense import Packed, linear, linear_cross_entropy
from unrolled.kernels.native import isa, missing, weights
from unrolled.kernels.prepared import ready
from unrolled.kernels.program import Untraceable
from unrolled.kernels.streams import Streams, streams

EXECUTORS: dict[str, Callable[..., tuple[Tensor, Any]]] = {
    "engine": engine.run,
    "fused": fused.run,
    "loop": loop.run,
}

_LOG = logging.getLogger("unrolled.kernels")
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
        executor: ``"auto"`` (the fastest that can), ``"engine"``, ``"fused"`` or ``"loop"``. A forced
            executor that cannot run a cell raises ValueError instead of running another.

    >>> with use("loop"):
    ...     print(executor_of("gru"))
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
    resets: Tensor | None = None,
    reset_state: Any = None,
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
        resets: booleans [T, B]: True where a new segment begins with that step. Memory is cut between
            that step and the one before it, in both directions; past a length nothing is reset.
        reset_state: the state that each segment begins with, needed with ``resets``.

    Returns:
        The outputs [T, B, O], zero past each length, and the state after each sequence's last step.

    Raises:
        ValueError: if x has another shape, or a forced executor cannot run this.
    """
    if x.dim() != 3 or x.shape[-1] != cell.input_size:
        raise ValueError(
            f"x of shape {list(x.shape)} given, [T, B, I] with I = {cell.input_size} expected"
        )
    options = {"zoneout": zoneout, "feedback": feedback, "context": context, "resets": resets}
    executor = EXECUTORS[choose(cell, x, state, lengths=lengths, **options)]
    asked = {name: value for name, value in options.items() if value is not None}
    if resets is not None:
        asked["reset_state"] = reset_state
    return executor(cell, x, state, lengths=lengths, reverse=reverse, **asked)


def choose(
    cell: Cell, x: Tensor, state: Any, *, lengths: Tensor | None = None, **options: Any
) -> str:
    """The executor of this call.

    Raises:
        ValueError: if the forced executor cannot.
    """
    if _forced == "loop":
        return "loop"
    if _forced != "fused":
        obstacle = engine.obstacle(cell, x, state, **options)
        if obstacle is None:
            return "engine"
        if _forced == "engine":
            raise ValueError(f"the engine cannot run this: {obstacle}; use('auto') can")
    not_fused = _obstacle(cell) or _lacks_bfloat16(cell, x)
    not_fused = not_fused or _call_obstacle(x, lengths=lengths, **options)
    if _forced == "fused" and not_fused:
        raise ValueError(f"the fused executor cannot run this: {not_fused}; use('auto') can")
    if not_fused:
        if options.get("context") is None:
            _say_once(cell, x)
        return "loop"
    return "fused"


_said: set[Any] = set()


def _say_once(cell: Cell, x: Tensor) -> None:
    """That a cell runs in the loop for want of a program, or all of them for want of the engine."""
    if torch.compiler.is_compiling():
        return
    found = ready(cell)
    key = "engine" if missing() else type(cell)
    if not isinstance(found, str) or key in _said or x.device.type != "cpu":
        return
    _said.add(key)
    if key == "engine":
        _LOG.warning("%s: cells that torch lacks run in a loop, many times slower", found)
    else:
        _LOG.warning("%s runs in the loop: %s", type(cell).__name__, found)


def executor_of(cell: Cell | str) -> str:
    """One line: the executor this cell gets over a whole sequence on a CPU in float32, and why.

    >>> executor_of("mlstm")
    'mlstm: the loop (MLSTM is no gated cell)'
    """
    name = cell if isinstance(cell, str) else type(cell).__name__
    instance = cell_named(cell)(2, 2) if isinstance(cell, str) else cell
    if _forced == "loop":
        return f'{name}: the loop (kernels.use("loop") is in force)'
    obstacle = ready(instance)
    if isinstance(obstacle, str):
        if _forced == "engine":
            return f'{name}: refused ({obstacle}; kernels.use("engine") is in force)'
    elif _forced != "fused":
        return f"{name}: the engine ({isa()})"
    not_fused = _obstacle(instance)
    if not_fused and _forced == "fused":
        return f'{name}: refused ({not_fused}; kernels.use("fused") is in force)'
    if not_fused:
        return f"{name}: the loop ({obstacle if isinstance(obstacle, str) else not_fused})"
    return f"{name}: torch's fused {fused.mode(instance)}"


def explain(cell: Cell | str) -> str:
    """What a cell computes in one step, and what runs it.

    :func:`executor_of`'s line, then (where the cell can be traced) its program, the stages of the forward and
    backward passes, the values kept between them, and the operations and bytes of one step of one row.

    >>> print(explain("elman").partition("\\n")[0].partition(" (")[0])
    elman: the engine
    """
    from unrolled.kernels.program import explain_program

    instance = cell_named(cell)(256, 256) if isinstance(cell, str) else cell
    first = executor_of(cell)
    try:
        return f"{first}\n{explain_program(instance)}"
    except Untraceable:
        return first


def _obstacle(cell: Cell) -> str | None:
    """Why torch's own layers cannot run this cell."""
    if cell.recurrent_mask is not None:
        return "torch has no recurrent dropout"
    return None if fused.mode(cell) else f"torch has no such {type(cell).__name__}"


def _lacks_bfloat16(cell: Cell, x: Tensor) -> str | None:
    """oneDNN has a bfloat16 LSTM only where the processor has the instructions."""
    if x.device.type != "cpu" or fused.mode(cell) != "lstm":
        return None
    mixed = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    if (mixed or x.dtype == torch.bfloat16) and not _cpu_has_bfloat16():
        return "this CPU has no bfloat16 LSTM"
    return None


@lru_cache
def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _call_obstacle(
    x: Tensor,
    *,
    lengths: Tensor | None = None,
    zoneout: Any = None,
    feedback: Tensor | None = None,
    context: Any = None,
    resets: Tensor | None = None,
) -> str | None:
    """Why torch's own layers cannot run this call."""
    if zoneout is not None:
        return "torch has no zoneout"
    if feedback is not None or context is not None:
        return "torch has neither feedback nor context"
    if resets is not None:
        return "torch has no resets within a sequence"
    if x.shape[0] == 0 or (lengths is not None and bool((lengths < 1).any())):
        return "torch refuses empty sequences"
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return "torch's fused layers have no forward mode, vmap or higher derivatives"
    return None


__all__ = [
    "Packed",
    "EXECUTORS",
    "Streams",
    "choose",
    "executor_of",
    "explain",
    "forced",
    "isa",
    "linear",
    "linear_cross_entropy",
    "run",
    "streams",
    "use",
    "weights",
]
