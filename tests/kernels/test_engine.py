"""The engine equals the loop: outputs, final states and every gradient of every cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from against_engine import (
    CASES,
    FACTORIES,
    ISAS,
    TOLERANCE,
    Problem,
    check,
    distance,
    instruction_set,
    needs_engine,
    threads,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_random_cells import Drawn, Step, indices, operations

from unrolled import Recurrent, kernels
from unrolled.cells.cell import GatedCell, Gates, HiddenState
from unrolled.kernels import engine as executor
from unrolled.kernels import loop

pytestmark = needs_engine
cells = pytest.mark.parametrize("name", FACTORIES)
sizes = st.integers(1, 130)
units = st.integers(2, 130)  # a gradient that is one number has no scale but its own
steps_of_a_cell = st.lists(
    st.tuples(operations, indices, indices, indices), min_size=2, max_size=12
)
NORMALISING = ("Statistics", "NormalisedLSTM", "lstm-layer-norm")  # few units: by next to nothing
FEW = ("lstm", "gru", "LeakyVector", "RowState", "NormalisedLSTM", "MGU")


@cells
@pytest.mark.parametrize("case", CASES)
def test_every_cell_equals_the_loop(name: str, case: str) -> None:
    for shape in ((7, 4, 3, 5), (5, 9, 17, 33)):
        check(Problem(name, case, shape=shape))


@cells
def test_one_of_everything(name: str) -> None:
    if name in NORMALISING:
        pytest.skip("normalises its one unit: rounding, divided by its own size")
    check(Problem(name, shape=(1, 1, 1, 1)))


@given(
    st.sampled_from([*FACTORIES]), st.sampled_from(CASES), st.integers(1, 4), sizes, sizes, units
)
@settings(max_examples=20)
def test_shapes(name: str, case: str, steps: int, batch: int, inputs: int, hidden: int) -> None:
    hidden = max(hidden, 8) if name in NORMALISING else hidden
    check(Problem(name, case, shape=(steps, batch, inputs, hidden)))


@pytest.mark.parametrize("isa", ISAS)
@cells
def test_every_instruction_set(name: str, isa: str) -> None:
    with instruction_set(isa):
        for case in ("lengths", "zoneout"):
            check(Problem(name, case, shape=(3, 7, 11, 19)))
        check(Problem(name, shape=(2, 37, 9, 66)))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", FEW)
def test_threads(name: str, count: int) -> None:
    with threads(count):
        for case in ("plain", "resets"):
            for shape in ((3, 70, 20, 40), (3, 2, 70, 130)):
                check(Problem(name, case, shape=shape))


LAYOUTS: dict[str, Any] = {
    "batch first": lambda t, b, i: torch.randn(b, t, i).transpose(0, 1),
    "units first": lambda t, b, i: torch.randn(i, t, b).permute(1, 2, 0),
    "steps": lambda t, b, i: torch.randn(2 * t, b, i)[::2],
    "rows": lambda t, b, i: torch.randn(t, 3 * b, i)[:, 1::3],
    "units": lambda t, b, i: torch.randn(t, b, 2 * i)[..., ::2],
    "part": lambda t, b, i: torch.randn(t, b, 2 * i)[..., i:],
    "one step": lambda t, b, i: torch.randn(1, b, i).expand(t, b, i),
    "one row": lambda t, b, i: torch.randn(t, 1, i).expand(t, b, i),
    "one unit": lambda t, b, i: torch.randn(t, b, 1).expand(t, b, i),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["lstm", "RowState"])
def test_layouts_of_memory(name: str, layout: str) -> None:
    for shape in ((6, 4, 3, 5), (5, 3, 1, 4)):
        problem = Problem(name, "lengths", shape=shape)
        problem.x = LAYOUTS[layout](*shape[:3]).requires_grad_()
        problem.state = type(problem.state)(
            *(t.detach().t().contiguous().t().requires_grad_() for t in problem.state)
        )
        for p in problem.cell.parameters():
            if p.dim() == 2:
                p.data = p.data.t().contiguous().t()
        check(problem)


@pytest.mark.parametrize("name", ["lstm", "gru", "LeakyVector", "NormalisedLSTM", "Temperature"])
def test_gradients_of_some_alone(name: str) -> None:
    every = [*Problem(name, "resets").inputs()]
    for wanted in (*([each] for each in every), every[:1] + every[-1:], []):
        problem = Problem(name, "resets")
        for key, tensor in problem.inputs().items():
            tensor.requires_grad_(key in wanted)
        check(problem)


@pytest.mark.parametrize("name", FACTORIES)
def test_without_biases(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = FACTORIES[name]
    monkeypatch.setitem(FACTORIES, name, lambda i, h: factory(i, h, bias=False))
    check(Problem(name, "lengths"))


@pytest.mark.parametrize("name", ["lstm", "LeakyVector", "RowState"])
def test_the_gradient_of_one_result_alone(name: str) -> None:
    """The others' are None in the backward pass."""
    problem = Problem(name, "lengths")
    for index in range(1 + len(problem.state)):
        found: list[Any] = []
        for each, run in ((problem, executor.run), (problem.double(), loop.run)):
            output, final = run(each.cell, each.x, each.state, **each.call)
            result = (output, *final)[index].square().sum()
            inputs = [*each.inputs().values()]
            gradients = torch.autograd.grad(result, inputs, allow_unused=True)
            pairs = zip(inputs, gradients, strict=True)
            found.append([torch.zeros_like(t) if g is None else g for t, g in pairs])
        for a, b in zip(*found, strict=True):
            assert distance(a, b) <= TOLERANCE


@given(steps_of_a_cell, st.sampled_from(CASES), st.integers(0, 1000))
@settings(max_examples=30)
def test_random_cells(drawn: list[Step], case: str, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FACTORIES, "drawn", lambda i, h: Drawn(i, h, steps=drawn))
        check(Problem("drawn", case, shape=(3, 5, 3, 7), seed=seed))


class Deaf(GatedCell):
    """Has a recurrent product, so a mask for it, and looks at neither."""

    gates = ("a",)

    def step(self, gate: Gates, prev: HiddenState) -> HiddenState:
        return HiddenState(h=torch.tanh(gate.a.input))


@pytest.mark.parametrize("zoneout", [0.0, 0.5])
def test_a_mask_that_no_product_uses(zoneout: float) -> None:
    layer = Recurrent(Deaf, 3, 4, recurrent_dropout=0.5, zoneout=zoneout)
    x = torch.randn(5, 2, 3)
    outputs = []
    for name in ("engine", "loop"):
        torch.manual_seed(0)
        with kernels.use(name):
            outputs.append(layer(x)[0])
            outputs[-1].sum().backward()
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
