"""Resets within sequences as more, shorter sequences: what is cut apart runs as rows of its own.

A batch entry whose memory is cut before steps t1 < t2 < ... is the segments [0, t1), [t1, t2), ...; forward,
the first goes on from the given state and the others from the reset state; in reverse the last one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels import loop
from unrolled.kernels.native import engine as _engine
from unrolled.state import map_state


@dataclass(frozen=True)
class Segments:
    """The segments of a batch.

    Attributes:
        sequences: the engine's form of them.
        batch, start, lengths: of each segment, [S].
        fresh: the segments that begin from the reset state, [S] booleans.
        last: for each batch entry, the segment whose final state is the entry's, [B].
        whole: every step of the batch is in a segment.
    """

    sequences: Any
    batch: Tensor
    start: Tensor
    lengths: Tensor
    fresh: Tensor
    last: Tensor
    reverse: bool
    whole: bool

    def begin(self, state: Any, reset_state: Any) -> Any:
        """The state before each segment, [S, n] from [B, n]."""

        def pick(given: Tensor, reset: Tensor) -> Tensor:
            return torch.where(self.fresh[:, None], reset[self.batch], given[self.batch])

        return map_state(pick, state, reset_state)

    def end(self, final: Any) -> Any:
        """The state after each batch entry, [B, n] from the segments' [S, n]."""
        return map_state(lambda part: part[self.last], final)

    def replay(self, cell: Cell, x: Tensor, start: Any, *, zoneout: Any) -> tuple[Tensor, Any]:
        """The same by the loop: outputs [T, B, n] and the segments' final states."""
        t = torch.arange(int(self.lengths.max()))[:, None]
        real = t < self.lengths
        time = torch.where(real, self.start + t, self.start)
        rows = self.batch.expand_as(time)
        if cell.recurrent_mask is not None:
            cell = cell.with_recurrent_mask(cell.recurrent_mask[self.batch])
        if zoneout is not None:
            zoneout = map_state(lambda share: share[time, rows], zoneout)
        y, final = loop.run(
            cell,
            x[time, rows],
            start,
            lengths=self.lengths,
            reverse=self.reverse,
            zoneout=zoneout,
        )
        output = y.new_zeros(*x.shape[:2], y.shape[-1])
        return output.index_put((time[real], rows[real]), y[real]), final


def segments(
    resets: Tensor, lengths: Tensor | None, *, steps: int, batch: int, reverse: bool
) -> Segments:
    """The segments that ``resets`` [T, B] cut a batch of [T, B] steps into."""
    ends = [steps] * batch if lengths is None else lengths.tolist()
    cuts = resets.to(torch.bool).t().tolist()
    entry: list[int] = []
    start: list[int] = []
    count: list[int] = []
    fresh: list[bool] = []
    last: list[int] = []
    for b, end in enumerate(ends):
        begins = [0, *(t for t in range(1, end) if cuts[b][t])]
        first = len(entry)
        for begin, after in zip(begins, [*begins[1:], end], strict=True):
            entry.append(b)
            start.append(begin)
            count.append(after - begin)
            fresh.append(True)
        goes_on = len(entry) - 1 if reverse else first  # the one that the given state precedes
        fresh[goes_on] = not reverse and end > 0 and cuts[b][0]
        last.append(first if reverse else len(entry) - 1)
    return Segments(
        sequences=_engine.Sequences.pieces(entry, start, count, reverse),
        batch=torch.tensor(entry),
        start=torch.tensor(start),
        lengths=torch.tensor(count),
        fresh=torch.tensor(fresh),
        last=torch.tensor(last),
        reverse=reverse,
        whole=sum(count) == steps * batch,
    )
