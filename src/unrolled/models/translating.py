"""The state of an encoder–decoder while it says its outputs: sources once, and rows that go on from them.

The rows of a beam share their source. So a source's memory is kept once, and is not copied when rows are
chosen anew; only when a source has no row left does it go.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.cells.attentive import AttentiveCell
from unrolled.cells.deferred import Multiply
from unrolled.cells.scores import Memory
from unrolled.state import batch_size, select


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
        run: list[Any] | None = None,
    ) -> None:
        self.memory, self.fixed, self.states = memory, fixed, states
        rows = batch_size(states)
        self._sources = torch.arange(rows) if sources is None else sources  # of each row, ascending
        self._run: list[Any] = (
            [] if run is None else run
        )  # what the cell's begin made, for all steps

    def __len__(self) -> int:
        """R."""
        return len(self._sources)

    def ready(self, cell: AttentiveCell | None, product: Multiply) -> Any:
        """The memory, as the steps of ``cell`` use it; ``product`` as in its ``begin``."""
        if cell is None or self.memory is None:
            return self.memory
        if not self._run:
            self._run.append(cell.begin(self.memory, product)[1])
        return self._run[0]

    def fixed_rows(self) -> Tensor | None:
        """The fixed vector of each row, [R, C]."""
        return None if self.fixed is None else self.fixed[self._sources]

    def after(self, states: tuple[Any, ...]) -> Translating:
        """The same sources with other states of the rows."""
        return Translating(self.memory, self.fixed, states, sources=self._sources, run=self._run)

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
            kept, sources = chosen, torch.arange(len(chosen))
        every = torch.arange(len(kept))
        count = 0 if self.memory is None else len(self.memory.values)
        if self.fixed is not None:
            count = len(self.fixed)
        if torch.equal(kept, every) and len(kept) == count:
            return Translating(self.memory, self.fixed, states, sources=sources, run=self._run)
        memory = None if self.memory is None else self.memory.select(kept)
        fixed = None if self.fixed is None else self.fixed[kept]
        return Translating(memory, fixed, states, sources=sources)
