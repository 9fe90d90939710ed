"""The engine under autograd: higher derivatives, transforms, changed tensors, copies, NaN."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from against_engine import FACTORIES, Problem, close, distance, needs_engine, threads, weighted
from torch import Tensor, nn

import unrolled
from unrolled import Recurrent, kernels
from unrolled.kernels import engine as executor
from unrolled.kernels import loop
from unrolled.state import leaves

pytestmark = needs_engine
SECOND = 1e-4  # of second derivatives in float32
TWICE = [
    *(("lstm", case) for case in ("plain", "lengths", "reverse", "zoneout", "mask", "resets")),
    *(
        ("gru", "plain"),
        ("gru", "resets-reverse"),
        ("LeakyVector", "plain"),
        ("Swapping", "zoneout"),
    ),
]


def second(problem: Problem, run: Callable[..., Any]) -> dict[str, Tensor]:
    """Derivatives of a sum of squared derivatives."""
    inputs = problem.inputs()
    output, final = run(problem.cell, problem.x, problem.state, **problem.call)
    loss = weighted([output.tanh(), *(t.tanh() for t in leaves(final))])
    first = torch.autograd.grad(loss, [*inputs.values()], create_graph=True, allow_unused=True)
    squared = sum((g.square().sum() for g in first if g is not None), torch.zeros(()))
    found = torch.autograd.grad(squared, [*inputs.values()], allow_unused=True)
    return {
        name: torch.zeros_like(t) if g is None else g
        for (name, t), g in zip(inputs.items(), found, strict=True)
    }


@pytest.mark.parametrize(("name", "case"), TWICE)
def test_double_backward(name: str, case: str) -> None:
    problem = Problem(name, case)
    close(second(problem, executor.run), second(problem.double(), loop.run), SECOND)


def test_backward_twice() -> None:
    problem = Problem("lstm", "resets")
    output, final = executor.run(problem.cell, problem.x, problem.state, **problem.call)
    inputs = [t for t in problem.inputs().values() if t.requires_grad]
    loss = weighted([output, *leaves(final)])
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    executor.run(problem.cell, problem.x, problem.state, **problem.call)  # another use of the pool
    for a, b in zip(torch.autograd.grad(loss, inputs), first, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, inputs)


def test_evaluation_mode_and_anomaly_mode() -> None:
    layer = unrolled.LSTM(3, 5, 2, dropout=0.5).eval()
    x = torch.randn(4, 2, 3, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        found = torch.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()])
    with kernels.use("loop"):
        expected = torch.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()])
    for a, b in zip(found, expected, strict=True):
        assert distance(a, b) <= 1e-5


@pytest.mark.parametrize("name", ["lstm", "gru", "LeakyVector"])
def test_transforms_go_through_the_loop(name: str) -> None:
    layer = Recurrent(FACTORIES[name], 3, 4)
    x = torch.randn(3, 2, 3)

    def scalar(x: Tensor) -> Tensor:
        return layer(x)[0].pow(2).sum()

    gradient = torch.func.grad(scalar)(x)
    given = x.clone().requires_grad_()
    assert distance(torch.autograd.grad(scalar(given), given)[0], gradient) <= 1e-5
    rows = torch.func.vmap(torch.func.grad(lambda row: scalar(row[:, None])), in_dims=1)(x)
    assert distance(rows.transpose(0, 1), gradient) <= 1e-5
    _, tangent = torch.func.jvp(scalar, (x,), (torch.ones_like(x),))
    assert distance(tangent, gradient.sum()) <= 1e-5
    wide = copy.deepcopy(layer).double()
    exact = torch.func.hessian(lambda x: wide(x)[0].pow(2).sum())(x.double())
    assert distance(torch.func.hessian(scalar)(x), exact) <= SECOND
    assert distance(torch.autograd.functional.hessian(scalar, x), exact) <= SECOND


@pytest.mark.parametrize("name", ["lstm", "LeakyVector"])
def test_many_gradients_at_once(name: str) -> None:
    """torch runs the backward pass itself under vmap."""
    layer = Recurrent(FACTORIES[name], 3, 4)
    x = torch.randn(3, 2, 3, requires_grad=True)
    inputs = [x, *layer.parameters()]
    y = layer(x)[0]
    seeds = torch.randn(5, *y.shape)
    found = torch.autograd.grad(y, inputs, seeds, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(y, inputs, seed, retain_graph=True) for seed in seeds]
    for together, *apart in zip(found, *each, strict=True):
        assert distance(together, torch.stack(apart)) <= 1e-5
    slow, fast = (
        torch.autograd.functional.jacobian(lambda x: layer(x)[0].sum(0), x, vectorize=v)
        for v in (False, True)
    )
    assert distance(fast, slow) <= 1e-5


@pytest.mark.parametrize("which", ["weight_ih", "weight_hh", "bias_ih", "x", "rate"])
def test_a_change_between_forward_and_backward_is_an_error(which: str) -> None:
    problem = Problem("LeakyVector")
    x = problem.x * 1.0
    output, _ = executor.run(problem.cell, x, problem.state)
    with torch.no_grad():
        (x if which == "x" else problem.inputs()[which]).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_copies_after_use() -> None:
    layer, x = unrolled.LSTM(3, 5, 2), torch.randn(4, 2, 3)
    own = Recurrent(FACTORIES["MGU"], 3, 5)
    for each in (layer, own):
        each(x)[0].sum().backward()
        with torch.no_grad():
            expected = each(x)[0]
        file = io.BytesIO()
        torch.save(each.state_dict(), file)
        file.seek(0)
        other = copy.deepcopy(each)
        with torch.no_grad():
            for p in other.parameters():
                p.zero_()
            assert not torch.equal(other(x)[0], expected)
            assert torch.equal(each(x)[0], expected)
            other.load_state_dict(torch.load(file, weights_only=True))
            assert torch.equal(other(x)[0], expected)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x)[0], layer(x)[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["lstm", "gru", "elman", "mingru", "LeakyVector", "Choices"])
@pytest.mark.parametrize("batch", [5, 33])
def test_rows_that_are_no_numbers_stay_alone(name: str, value: float, batch: int) -> None:
    """Which outputs of which rows are NaN is as in the loop; all others are what they were."""
    problem = Problem(name, shape=(5, batch, 3, 9))
    problem.x.data[2, 3] = value
    with torch.no_grad():
        got, expected = problem.results(executor.run), problem.results(loop.run)
    for key, a in got.items():
        assert torch.equal(a.isnan(), expected[key].isnan()), key
        finite = expected[key].isfinite()
        assert torch.equal(a.isfinite(), finite), key
        assert distance(a[finite], expected[key][finite]) <= 1e-5, key


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_accuracy_beside_torch(kind: str) -> None:
    """Close to torch, and at most three times as far from float64 as torch is, but for some ulp."""
    x = torch.randn(64, 32, 64)
    reference = getattr(nn, kind)(64, 64)
    layer = getattr(unrolled, kind)(64, 64)
    layer.load_state_dict(reference.state_dict())
    exact = copy.deepcopy(reference).double()

    def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        output, state = layer(x)
        state = state if isinstance(state, tuple) else (state,)
        gradients = torch.autograd.grad(weighted([output, *state]), [x, *layer.parameters()])
        return [output, *state, *gradients]

    for count in (1, 2):
        with threads(count):
            results_of = (results(layer, x), results(reference, x), results(exact, x.double()))
        for ours, torchs, truth in zip(*results_of, strict=True):
            assert distance(ours, torchs) <= 1e-5
            assert distance(ours, truth) <= 3 * distance(torchs, truth) + 4 * torch.finfo().eps


WRONG: dict[str, Callable[[Problem], Any]] = {
    "state": lambda p: p.state._replace(h=p.state.h[:1]),
    "state's units": lambda p: p.state._replace(c=p.state.c[:, :2]),
    "x": lambda p: setattr(p, "x", p.x[..., :2]),
    "x's dimensions": lambda p: setattr(p, "x", p.x[0]),
    "lengths": lambda p: p.call.update(lengths=torch.tensor([1, 2, 3, 99])),
    "negative lengths": lambda p: p.call.update(lengths=torch.tensor([1, 2, 3, -1])),
    "few lengths": lambda p: p.call.update(lengths=torch.tensor([1, 2])),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_shapes_never_reach_memory(what: str) -> None:
    problem = Problem("lstm")
    state = WRONG[what](problem)
    with pytest.raises(ValueError, match=r"given"):
        kernels.run(problem.cell, problem.x, state or problem.state, **problem.call)


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
def test_wrong_parameters_never_reach_memory(name: str) -> None:
    layer, x = Recurrent("lstm", 3, 4), torch.randn(5, 2, 3)
    expected = Recurrent("lstm", 3, 4)
    expected.load_state_dict(layer.state_dict())
    for _ in range(2):  # before anything is kept for the layer, and after
        with pytest.raises(ValueError, match="expected"):
            torch.func.functional_call(layer, {name: getattr(layer, name)[:3]}, (x,))
        assert torch.equal(layer(x)[0], expected(x)[0])


def test_masks_and_shares_of_other_kinds_go_through_the_loop() -> None:
    """Broadcast, of another type, with a gradient: not what the engine reads."""
    problem = Problem("lstm")
    mask = torch.rand(4, 5) < 0.5
    for given in (mask, mask.float()[:1], mask.float()[0], mask.float().requires_grad_()):
        cell = problem.cell.with_recurrent_mask(given)
        output, _ = kernels.run(cell, problem.x, problem.state)
        assert distance(output, loop.run(cell, problem.x, problem.state)[0]) <= 1e-5
    output.sum().backward()
    assert given.grad is not None
    for shape in ((6, 1, 5), (6, 4, 1), (6, 1, 1)):
        shares = type(problem.state)(*(torch.rand(shape) for _ in range(2)))
        found = kernels.run(problem.cell, problem.x, problem.state, zoneout=shares)[0]
        expected = loop.run(problem.cell, problem.x, problem.state, zoneout=shares)[0]
        assert distance(found, expected) <= 1e-5
