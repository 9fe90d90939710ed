"""Comparison of the native engine in float32 with the loop in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import own_cells
import pytest
import torch
from torch import Tensor

from unrolled.cells import CELLS, Cell
from unrolled.kernels import engine as executor
from unrolled.kernels import loop, native
from unrolled.state import leaves, map_state

ENGINE: Any = native.engine
needs_engine = pytest.mark.skipif(ENGINE is None, reason="the native engine is not built")
ISAS: list[str] = [] if ENGINE is None else ENGINE.isas()
TOLERANCE = 1e-5  # of float32, max|a - b| / max|b|
FACTORIES: dict[str, Callable[..., Cell]] = {
    **{name: factory for name, factory in CELLS.items() if name != "mlstm"},
    **own_cells.CELLS,
}
DELICATE = ("slstm", "lstm-layer-norm")  # their states must stay near sound ones
CASES = ("plain", "lengths", "reverse", "zoneout", "mask", "resets", "resets-reverse")


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """The engine on that instruction set."""
    before = ENGINE.isa()
    ENGINE.use_isa(name)
    try:
        yield
    finally:
        ENGINE.use_isa(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Problem:
    """A cell with inputs, in float32 (``run`` on the engine) and float64 (``expected``, by the loop)."""

    def __init__(
        self, name: str, case: str = "plain", *, shape: Sequence[int] = (6, 4, 3, 5), seed: int = 0
    ) -> None:
        steps, batch, inputs, hidden = shape
        torch.manual_seed(seed)
        self.cell: Cell = FACTORIES[name](inputs, hidden)
        noise = 0.05 if name in DELICATE else 0.5

        def near(t: Tensor) -> Tensor:
            return (t + noise * torch.randn_like(t)).requires_grad_()

        self.x = torch.randn(steps, batch, inputs, requires_grad=True)
        initial = self.cell.initial_state(batch)
        self.state = map_state(near, initial)
        self.call: dict[str, Any] = {"reverse": "reverse" in case}
        if case in ("lengths", "reverse", "resets", "resets-reverse"):
            self.call["lengths"] = torch.randint(0, steps + 1, (batch,))
            self.call["lengths"][batch // 2] = 0 if batch > 1 else steps
        if "resets" in case:
            self.call["resets"] = torch.rand(steps, batch) < 0.3
            self.call["reset_state"] = map_state(near, initial)
        if case == "zoneout":
            self.call["zoneout"] = map_state(lambda t: torch.rand(steps, *t.shape), initial)
        if case == "mask" and self.cell.recurrent_size:
            drawn = torch.rand(batch, self.cell.recurrent_size) < 0.5
            self.cell = self.cell.with_recurrent_mask(2.0 * drawn)

    def inputs(self) -> dict[str, Tensor]:
        """All that may have a gradient."""
        given = {"x": self.x}
        given |= {f"state {i}": t for i, t in enumerate(leaves(self.state))}
        if "reset_state" in self.call:
            given |= {f"reset {i}": t for i, t in enumerate(leaves(self.call["reset_state"]))}
        return given | dict(self.cell.named_parameters())

    def double(self) -> Problem:
        """The same in float64."""

        def widened(t: Tensor) -> Tensor:
            made = t.detach().double() if t.is_floating_point() else t
            return made.requires_grad_(t.requires_grad)

        other = copy.copy(self)
        other.cell = copy.deepcopy(self.cell).double()
        if self.cell.recurrent_mask is not None:
            other.cell = other.cell.with_recurrent_mask(self.cell.recurrent_mask.double())
        other.x, other.state = widened(self.x), map_state(widened, self.state)
        other.call = {
            name: value if isinstance(value, bool | None) else map_state(widened, value)
            for name, value in self.call.items()
        }
        return other

    def results(self, run: Callable[..., Any], *, gradients: bool = True) -> dict[str, Tensor]:
        """Outputs, final states and the gradients of whatever requires one, zeros for none."""
        output, final = run(self.cell, self.x, self.state, **self.call)
        made = {"output": output} | {f"final {i}": t for i, t in enumerate(leaves(final))}
        wanted = {n: t for n, t in self.inputs().items() if t.requires_grad}
        if gradients and wanted and any(t.requires_grad for t in made.values()):
            found = torch.autograd.grad(
                weighted(made.values()), [*wanted.values()], allow_unused=True
            )
            for (name, t), g in zip(wanted.items(), found, strict=True):
                made["d " + name] = torch.zeros_like(t) if g is None else g
        return made


def weighted(tensors: Any) -> Tensor:
    """A sum that weights every element differently."""
    generator = torch.Generator().manual_seed(3)
    total: Tensor = torch.zeros(())
    for t in tensors:
        if t.requires_grad:
            total = total + (t * torch.randn(t.shape, generator=generator).to(t.dtype)).sum()
    return total


def check(problem: Problem, *, tolerance: float = TOLERANCE) -> None:
    """The engine, in training and in inference, equals the loop in float64."""
    expected = problem.double().results(loop.run)
    assert executor.obstacle(problem.cell, problem.x, problem.state) is None
    found = problem.results(executor.run)
    with torch.no_grad():
        inferred = problem.results(executor.run, gradients=False)
    if all(distance(got[n], expected[n]) <= tolerance for got in (found, inferred) for n in got):
        return
    close(found, expected, tolerance, problem.results(loop.run))  # what float32 cannot do better
    close(inferred, expected, tolerance, problem.results(loop.run))


def close(
    got: dict[str, Tensor],
    expected: dict[str, Tensor],
    tolerance: float = TOLERANCE,
    beside: dict[str, Tensor] | None = None,
) -> None:
    """max|a - b| / max|b| of each tensor; beyond the tolerance at most three times that of ``beside``."""
    for name, a in got.items():
        error = distance(a, expected[name])
        other = 0.0 if beside is None else 3 * distance(beside[name], expected[name])
        assert error <= tolerance + other, f"{name}: relative error {error:.2e}"


def distance(a: Tensor, b: Tensor, floor: float = 1e-3) -> float:
    """max|a - b| / max|b|, the latter at least ``floor``."""
    assert a.shape == b.shape
    if not b.numel():
        return 0.0
    scale = max(float(b.detach().abs().max()), floor)
    return float((a - b).detach().abs().max()) / scale
