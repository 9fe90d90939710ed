"""The state of an encoder–decoder while it says its outputs: sources once, and rows that go on from them.

The rows of a beam share their source. So a source's memory is kept once, and is not copied when rows are
chosen anew; only when a source has no row left does it go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from unrolled.cells.scores import Memory
from unrolled.state import leaves, select

R = TypeVar("R")


class Translating:
    """R rows, those of one source beside one another and equally many for each of N sources.

    Args:
        memory: what is attended to, of N sources, or None. fixed: a vector of each, [N, C], or None.
        states: the states of the decoder's layers, of R rows.
    """

    def __init__(
        self,
        memory: Memory | None,
        fixed: Tensor | None,
        states: tuple[Any, ...],
        *,
        sources: Tensor | None = None,
        ready: dict[bool, Any] | None = None,
    ) -> None:
        self.memory, self.fixed, self.states = memory, fixed, states
        first = leaves(states)[0]
        if sources is None:
            sources = torch.arange(len(first), device=first.device)
        self._sources = sources  # of each row, ascending
        self._ready: dict[bool, Any] = {} if ready is None else ready

    def __len__(self) -> int:
        """R."""
        return len(self._sources)

    def ready(self, make: Callable[[Memory | None], R]) -> R:
        """What ``make`` makes of the memory, once for all steps with gradients and once for those without."""
        with_gradients = torch.is_grad_enabled()
        if with_gradients not in self._ready:
            self._ready[with_gradients] = make(self.memory)
        return cast(R, self._ready[with_gradients])

    def fixed_rows(self) -> Tensor | None:
        """The fixed vector of each row, [R, C]."""
        return None if self.fixed is None else self.fixed[self._sources]

    def after(self, states: tuple[Any, ...]) -> Translating:
        """The same sources with other states of the rows."""
        return Translating(
            self.memory, self.fixed, states, sources=self._sources, ready=self._ready
        )

    def select(self, rows: Tensor) -> Translating:
        """These rows (numbers, which may repeat), those of one source beside one another."""
        chosen = self._sources[rows]
        states = select(self.states, rows)
        if len(chosen) == len(self) and torch.equal(chosen, self._sources):
            return self.after(states)
        kept, sources, counts = torch.unique_consecutive(
            chosen, return_inverse=True, return_counts=True
        )
        if len(kept) and int(counts.min()) != int(counts.max()):  # each row its own source
            kept, sources = chosen, torch.arange(len(chosen), device=chosen.device)
        every = torch.arange(len(kept), device=kept.device)
        count = 0 if self.memory is None else len(self.memory.values)
        if self.fixed is not None:
            count = len(self.fixed)
        if torch.equal(kept, every) and len(kept) == count:
            return Translating(self.memory, self.fixed, states, sources=sources, ready=self._ready)
        memory = None if self.memory is None else self.memory.select(kept)
        fixed = None if self.fixed is None else self.fixed[kept]
        return Translating(memory, fixed, states, sources=sources)
