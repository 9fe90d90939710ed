"""Comparison of a cell's plans, run by the slow executor, with the loop and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from plan_reference import PlanRun
from torch import Tensor

from unrolled.cells import GatedCell
from unrolled.kernels import loop
from unrolled.kernels.program import Program, hoist, plan, sizes_of, trace

T, B, I = 5, 4, 3  # noqa: E741 (the field's names)
RAGGED = torch.tensor([2, 5, 0, 3])


def tensors(*shapes: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> list[Tensor]:
    """Random tensors in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=generator, dtype=torch.float64) * scale for shape in shapes
    ]


def prepare(cell: GatedCell, seed: int = 1) -> GatedCell:
    """The cell in float64 with random parameters, all of them away from zero and one."""
    cell = cell.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
    return cell


def check(
    cell: GatedCell,
    *,
    lengths: Tensor | None = RAGGED,
    zoneout: bool = False,
    mask: bool = False,
    state: Any = None,
    tolerance: float = 1e-9,
) -> Program:
    """Compares outputs, final states and every gradient, of training and inference plans."""
    if state is None:
        shapes = [tuple(t.shape) for t in cell.initial_state(B)]
        state = cell.State(*tensors(*shapes, seed=3, scale=0.5))
    state = type(state)(*(t.detach().clone().requires_grad_() for t in state))
    (x,) = tensors((T, B, I), seed=2)
    x.requires_grad_()
    shares = None
    if zoneout:
        drawn = tensors(*((T, *t.shape) for t in state), seed=4)
        shares = type(state)(*(t.sigmoid().round() * 0.75 for t in drawn))
    if mask:
        (drawn,) = tensors((B, cell.recurrent_size), seed=5)
        cell = cell.with_recurrent_mask((drawn > 0).double() * 1.5)
    program = trace(cell, zoneout=zoneout)
    assert trace(cell, zoneout=zoneout) == program
    assert Program.from_json(program.to_json()) == program
    output, final = loop.run(cell, x, state, lengths=lengths, zoneout=shares)
    seeds = tensors(output.shape, *(t.shape for t in final), seed=6)
    names = [name for name, _ in cell.named_parameters()]
    leaves = [x, *state, *(p for _, p in cell.named_parameters())]
    pairs = zip((output, *final), seeds, strict=True)
    loss = sum(((o * s).sum() for o, s in pairs), start=0 * x.sum())  # some may have no gradient
    expected = torch.autograd.grad(loss, leaves, allow_unused=True)
    externs = [] if not mask else [cell.recurrent_mask.expand(T, -1, -1)]
    run = Run(program, cell, x, state, lengths, [*externs, *(shares or ())])
    for training in (False, True):
        got, last = run.forward(training=training)
        close("output", got, output, tolerance)
        for field, a, b in zip(final._fields, last, final, strict=True):
            close(field, a, b, tolerance)
    for name, a, b in zip(
        ("x", *state._fields, *names), run.backward(seeds, names), expected, strict=True
    ):
        close("gradient of " + name, a, torch.zeros(a.shape) if b is None else b, tolerance)
    return program


def close(name: str, got: Any, want: Tensor, tolerance: float) -> None:
    """max|a - b| / max|b| within the tolerance."""
    expected = want.detach().numpy()
    assert got.shape == expected.shape, name
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3)
    error = np.abs(got - expected).max(initial=0.0) / scale
    assert error <= tolerance, f"{name}: relative error {error:.2e}"


class Run:
    """The plans of one cell on one input."""

    def __init__(
        self, program: Program, cell: Any, x: Tensor, state: Any, lengths: Any, externs: Any
    ) -> None:
        self.program, self.parameters = program, dict(cell.named_parameters())
        self.hoisted = hoist(program, self.parameters)
        signature = program.signature
        weights = [self.parameters[m.name] for m in signature.matrices]
        vectors = [*(self.parameters[v.name] for v in signature.vectors), *self.hoisted]
        steps, rows = x.shape[:2]
        lengths = torch.full((rows,), steps) if lengths is None else lengths
        groups = ([x], state, [lengths], weights, vectors, externs)
        self.inputs = [[t.detach().numpy() for t in group] for group in groups]
        self.sizes = sizes_of(cell)

    def forward(self, *, training: bool) -> Any:
        """Outputs and final state."""
        (x,), state, (lengths,), weights, vectors, externs = self.inputs
        made = plan(self.program, self.sizes, training=training)
        ints, floats = made.encode()
        assert all(type(i) is int for i in ints)
        assert all(type(f) is float for f in floats)
        self.call = PlanRun(made, x, state, lengths, weights, vectors, externs)
        return self.call.forward()

    def backward(self, seeds: list[Tensor], names: list[str]) -> list[Any]:
        """Gradients of x, the state, and the parameters by name."""
        dy, *dstate = (seed.numpy() for seed in seeds)
        dy = dy.copy()
        for row, length in enumerate(self.inputs[2][0]):
            dy[length:, row] = np.nan
        found = self.call.backward(dy, dstate)
        signature = self.program.signature
        own = {m.name: g for m, g in zip(signature.matrices, found["weights"], strict=True)}
        count = len(signature.vectors)
        own |= {v.name: g for v, g in zip(signature.vectors, found["vectors"], strict=False)}
        if self.hoisted:
            used = [self.parameters[n] for n in names]
            given = [torch.from_numpy(g) for g in found["vectors"][count:]]
            further = torch.autograd.grad(
                self.hoisted, used, given, allow_unused=True, retain_graph=True
            )
            for name, gradient in zip(names, further, strict=True):
                if gradient is not None:
                    own[name] = own.get(name, 0) + gradient.numpy()
        zero = [np.zeros(tuple(self.parameters[n].shape)) for n in names]
        values = [own.get(n, z) for n, z in zip(names, zero, strict=True)]
        return [found["x"], *found["state"], *values]
