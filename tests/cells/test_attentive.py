"""Attentive cells: gradients of every order, whatever a backward pass was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unrolled.cells import GRU
from unrolled.cells.attentive import ATTENTIVE, AttentiveCell
from unrolled.cells.deferred import collect
from unrolled.kernels import loop

KINDS = [(name, score) for name in ATTENTIVE for score in ("additive", "general")]


def made(name: str, score: str, **options: int) -> AttentiveCell:
    torch.manual_seed(0)
    return ATTENTIVE[name](2, 2, memory_size=2, cell=GRU, score=score, **options).double()


def inputs(cell: AttentiveCell) -> list[Tensor]:
    given = [torch.randn(2, 2, 2), torch.randn(2, 3, 2)]
    return [t.double().requires_grad_() for t in given] + list(cell.parameters())


def run(cell: AttentiveCell, x: Tensor, values: Tensor, *parameters: Tensor) -> Tensor:
    names = [name for name, _ in cell.named_parameters()]
    bound = cell.bind(dict(zip(names, parameters, strict=True)))
    assert isinstance(bound, AttentiveCell)
    memory = bound.attention.remember(values, torch.tensor([3, 2]))
    y, state = loop.run(bound, x, bound.initial_state(2), context=memory)
    return y.sin().sum() + state.weights.cos().sum()


@pytest.mark.parametrize(("name", "score"), KINDS)
def test_gradients_of_both_orders(name: str, score: str) -> None:
    cell = made(name, score)
    given = inputs(cell)
    assert torch.autograd.gradcheck(lambda *t: run(cell, *t), given, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *t: run(cell, *t), given, fast_mode=True)


@pytest.mark.parametrize(("name", "score"), KINDS)
def test_a_partial_pass_leaves_nothing_behind(name: str, score: str) -> None:
    """Gradients of the inputs alone, then all, from one graph."""
    cell = made(name, score)
    given = inputs(cell)
    expected = torch.autograd.grad(run(cell, *given), given)
    total = run(cell, *given)
    torch.autograd.grad(total, given[0], retain_graph=True)
    for _ in range(2):
        found = torch.autograd.grad(total, given, retain_graph=True)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_a_pass_that_breaks_off_leaves_nothing_behind() -> None:
    weight = torch.randn(2, 2, requires_grad=True)
    linear = collect(weight)
    x = torch.randn(1, 2, requires_grad=True)
    middle = linear(x)
    broken = [True]

    def fail(gradient: Tensor) -> None:
        if broken[0]:
            raise RuntimeError("broken off")

    middle.register_hook(fail)
    total = linear(middle).sum()
    with pytest.raises(RuntimeError, match="broken off"):
        total.backward(retain_graph=True)
    broken[0] = False
    total.backward()
    [expected] = torch.autograd.grad((x @ weight.t() @ weight.t()).sum(), weight)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("name", list(ATTENTIVE))
def test_autocast(name: str) -> None:
    torch.manual_seed(0)
    cell = ATTENTIVE[name](4, 4, memory_size=6, cell=GRU)
    x, values = torch.randn(3, 2, 4), torch.randn(2, 5, 6)

    def gradients(enabled: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y, _ = loop.run(cell, x, cell.initial_state(2), context=cell.attention.remember(values))
        return list(torch.autograd.grad(y.float().square().sum(), list(cell.parameters())))

    for half, whole in zip(gradients(True), gradients(False), strict=True):
        assert float((half - whole).abs().max()) <= 0.1 * float(whole.abs().max()) + 1e-3
