"""Steps of a session on the engine: weights packed once, states kept inside, only the output allocated.

What :meth:`Streams.step` returns equals the executors' result for one time step. Weights that
change between steps are noticed, by address, version and a sample of their values, and packed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels.native import engine as _engine
from unrolled.kernels.native import halved
from unrolled.kernels.prepared import Ready, ready
from unrolled.state import check_like, leaves, rebuild


class Streams:
    """A batch of streams through a stack of cells (each fed by the one before), step by step."""

    def __init__(self, cells: Sequence[Cell], batch: int) -> None:
        self.cells, self.batch = tuple(cells), batch
        self._runners = [cast(Ready, ready(cell)) for cell in cells]
        executables = [runner.executable(training=False) for runner in self._runners]
        self._stepper = _engine.Stepper(executables, batch)
        self._input = torch.Size((batch, cells[0].input_size))
        self._output = (batch, cells[-1].output_size)
        self._template = tuple(cell.initial_state(batch, device="cpu") for cell in cells)
        self._watched: list[tuple[Tensor, int, int]] = []
        self._halved = halved()
        self._pack()
        self.set_state(self._template)

    def _pack(self) -> None:
        """Packs the weights as they are now."""
        self._watched, watched = [], []
        for index, (cell, runner) in enumerate(zip(self.cells, self._runners, strict=True)):
            own = runner.parameters(cell)
            tracked = [p for p in own if not p.is_inference()]  # the others have no version
            self._watched += [(p, p.data_ptr(), p._version) for p in tracked]
            watched += [number for p in own for number in (p.data_ptr(), p.numel())]
            named = dict(zip(runner.names, (p.detach() for p in own), strict=True))
            executable = runner.executable(training=False)
            matrices = [
                named[name].contiguous() for name in runner.matrices[: executable.counts[0]]
            ]
            packs = executable.pack([m.data_ptr() for m in matrices], False, self._halved)
            vectors = runner.all_vectors(named)[: executable.counts[1]]
            addresses = [number for v in vectors for number in (v.data_ptr(), v.numel())]
            self._stepper.set_parameters(index, packs, addresses)
        self._stepper.watch(watched)

    def step(self, x: Tensor) -> Tensor:
        """One step of every stream: x [B, I] to the last cell's output [B, O].

        Raises:
            ValueError: x has another shape.
        """
        for tensor, address, version in self._watched:
            if tensor._version != version or tensor.data_ptr() != address:
                self._pack()
                break
        if x.dtype is not torch.float32 or x.shape != self._input or not x.is_contiguous():
            x = self._checked(x)
        y = torch.empty(self._output)
        if not self._stepper.step(x.data_ptr(), y.data_ptr()):  # weights changed without a version
            self._pack()
            self._stepper.step(x.data_ptr(), y.data_ptr())
        return y

    def _checked(self, x: Tensor) -> Tensor:
        if x.shape != self._input:
            raise ValueError(
                f"input of shape {list(x.shape)} given, {list(self._input)} (streams, units) expected"
            )
        return x.to(torch.float32).contiguous()

    def state(self) -> Any:
        """The state of every cell, copied out."""
        tensors = [torch.empty_like(leaf) for leaf in leaves(self._template)]
        self._stepper.store([t.data_ptr() for t in tensors])
        return rebuild(self._template, tensors)

    def set_state(self, state: Any) -> None:
        """Goes on from another state.

        Raises:
            ValueError: it is not of these cells and this batch.
        """
        check_like(state, self._template)
        tensors = [t.detach().to("cpu", torch.float32).contiguous() for t in leaves(state)]
        self._stepper.load([t.data_ptr() for t in tensors])


def streams(cells: Sequence[Cell], batch: int) -> Streams | None:
    """The engine's streams through these cells, if it can run all of them."""
    if _engine is None:
        return None
    for cell in cells:
        runner = ready(cell)
        if isinstance(runner, str):
            return None
        for p in runner.parameters(cell):
            if p.dtype != torch.float32 or p.device.type != "cpu":
                return None
    return Streams(cells, batch)
