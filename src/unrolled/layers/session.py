"""A session: a recurrent computation that goes on step by step, its state an object of its own.

A session never trains: it runs without autograd and with dropout and zoneout at their expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unrolled.cells import Cell
from unrolled.data.atomic import replacing
from unrolled.errors import RunError
from unrolled.kernels import Streams, streams
from unrolled.state import check_like, leaves, rebuild, where

NO_SESSION = (
    "a bidirectional layer needs the end of the sequence before its first output, so it has no "
    "session; use bidirectional=False, or buffer whole sequences and run those"
)
FORMAT = "unrolled-session-1"


class Session:
    """One stream (or a batch of them) through a model or layer.

    Args:
        step: ``(input, state) -> (output, state)``.
        initial: the initial state for a batch size.
        batch_size: B, the number of parallel streams.
    """

    def __init__(
        self,
        step: Callable[[Any, Any], tuple[Any, Any]],
        initial: Callable[[int], Any],
        batch_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, {batch_size} given")
        self._step, self._initial, self.batch_size = step, initial, batch_size
        self.state = initial(batch_size)

    @torch.no_grad()
    def step(self, x: Any) -> Any:
        """Advances every stream by one step; returns the output, [B, ...]."""
        output, self.state = self._step(x, self.state)
        return output

    def fork(self) -> Session:
        """A second session that goes on from the same state, independently."""
        other = Session(self._step, self._initial, self.batch_size)
        other.state = self.state
        return other

    def reset(self, rows: Tensor | None = None) -> None:
        """Back to the initial state: every stream, or those of ``rows`` (a mask or indices)."""
        fresh = self._initial(self.batch_size)
        if rows is None:
            self.state = fresh
            return
        device = leaves(fresh)[0].device
        mask = torch.zeros(self.batch_size, dtype=torch.bool, device=device)
        mask[rows] = True
        self.state = where(mask, fresh, self.state)

    def save(self, path: str | Path) -> None:
        """Writes the state to a safetensors file."""
        tensors = {str(i): leaf.cpu().clone() for i, leaf in enumerate(leaves(self.state))}
        with replacing(path) as file:
            file.write(save(tensors, {"format": FORMAT}))

    def load(self, path: str | Path) -> None:
        """Goes on from a state that :meth:`save` wrote, of this model and batch size.

        Raises:
            RunError: if the file is missing, damaged, or of another model or batch size.
        """
        try:
            with safe_open(path, "pt") as file:
                known = (file.metadata() or {}).get("format") == FORMAT
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise RunError(f"{path}: no such session file") from None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path}: not a whole session file ({error})") from error
        if not known:
            raise RunError(f"{path}: no session file of this program; save one with session.save")
        template = self._initial(self.batch_size)
        try:
            state = rebuild(template, [tensors[str(i)] for i in range(len(tensors))])
            check_like(state, template)
            dtypes = {str(leaf.dtype) for leaf in leaves(state)}
            if dtypes != (own := {str(leaf.dtype) for leaf in leaves(template)}):
                raise ValueError(f"of {dtypes} where {own} is expected")
        except (KeyError, ValueError) as error:
            raise RunError(
                f"{path}: not a session of this model and batch size {self.batch_size} ({error})"
            ) from error
        device = leaves(template)[0].device
        self.state = rebuild(template, [leaf.to(device) for leaf in leaves(state)])


class StackSession(Session):
    """A session through a stack of cells on the engine, its state kept there between steps."""

    def __init__(
        self,
        cells: Sequence[Cell],
        runs: Streams,
        step: Callable[[Any, Any], tuple[Any, Any]],
        initial: Callable[[int], Any],
    ) -> None:
        self._cells, self._streams = cells, runs
        super().__init__(step, initial, runs.batch)
        self.step = runs.step  # type: ignore[method-assign]  # no call more than needed

    @property
    def state(self) -> Any:
        """The state of every cell, copied out of the engine; assigning it goes on from another."""
        return self._streams.state()

    @state.setter
    def state(self, state: Any) -> None:
        self._streams.set_state(state)

    def fork(self) -> Session:
        other = StackSession(
            self._cells, Streams(self._cells, self.batch_size), self._step, self._initial
        )
        other.state = self.state
        return other


def stack_session(
    cells: Sequence[Cell],
    batch_size: int,
    step: Callable[[Any, Any], tuple[Any, Any]],
    initial: Callable[[int], Any],
    *,
    plain: bool = True,
) -> Session:
    """A session through cells, each fed by the one before: on the engine where it can be.

    Args:
        cells: bound cells, lowest first. batch_size: the number of streams.
        step, initial: as :class:`Session`'s, for where the engine cannot.
        plain: whether nothing (residual, zoneout) stands between the cells.
    """
    runs = streams(cells, batch_size) if plain and batch_size > 0 else None
    if runs is None:
        return Session(step, initial, batch_size)
    return StackSession(cells, runs, step, initial)
