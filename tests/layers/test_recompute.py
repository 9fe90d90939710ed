"""Recomputation changes memory and time, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from unrolled import kernels
from unrolled.cells import GatedCell
from unrolled.layers import Recurrent
from unrolled.layers.recompute import piece_length
from unrolled.state import leaves, map_state

T, B = 11, 3
LENGTHS = torch.tensor([11, 4, 0])
RESETS = torch.zeros(T, B, dtype=torch.bool)
RESETS[4, 0] = RESETS[5, 0] = RESETS[2, 1] = RESETS[8, 0] = True


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def results(name: Any, *, recompute: int | bool, call: dict[str, Any], **options: Any) -> Any:
    torch.manual_seed(0)
    layer = Recurrent(name, 2, 3, recompute=recompute, **options).double()
    torch.manual_seed(1)  # of dropout
    x = double(T, B, 2).requires_grad_()
    state = map_state(lambda part: part + 0.5, layer.initial_state(B))
    output, final = layer(x, state, **call)
    tensors = [output, *leaves(final)]
    loss = sum((t * double(*t.shape, seed=7)).sum() for t in tensors)
    inputs = [x, *layer.parameters()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    pairs = zip(inputs, gradients, strict=True)
    return [*tensors, *(torch.zeros_like(i) if g is None else g for i, g in pairs)]


def assert_same(name: Any, *, recompute: int | bool, call: Any = (), **options: Any) -> None:
    call = dict(call)
    expected = results(name, recompute=False, call=call, **options)
    found = results(name, recompute=recompute, call=call, **options)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


CALLS: dict[str, dict[str, Any]] = {
    "whole": {},
    "lengths": {"lengths": LENGTHS},
    "resets": {"resets": RESETS},
    "lengths and resets": {"lengths": LENGTHS, "resets": RESETS},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["elman", "lstm", "lstm-peephole", "slstm", "mlstm"])
def test_pieces_equal_the_whole(name: str, call: str) -> None:
    for recompute in (True, 1, 3, 11):
        assert_same(name, recompute=recompute, call=CALLS[call], num_layers=2, bidirectional=True)


@pytest.mark.parametrize("call", CALLS)
def test_whatever_is_random_is_the_same(call: str) -> None:
    options = {"dropout": 0.5, "zoneout": 0.5, "recurrent_dropout": 0.5, "weight_dropout": 0.5}
    options |= {"num_layers": 2, "bidirectional": True, "learned_initial_state": True}
    assert_same("gru", recompute=True, call=CALLS[call], **options)


def test_feedback_is_cut_too() -> None:
    assert_same("jordan", recompute=4, call={"feedback": double(T, B, 3), "lengths": LENGTHS})


def test_a_cell_that_draws_in_its_step_sees_the_same_numbers() -> None:
    class Noisy(GatedCell):
        gates = ("n",)

        def __init__(self, *sizes: int) -> None:
            super().__init__(*sizes)
            self.noise = nn.Dropout(0.5)

        def step(self, gate: Any, prev: Any) -> Any:
            return self.State(h=self.noise(torch.tanh(gate.n)))

    assert_same(Noisy, recompute=True)
    torch.manual_seed(3)
    layer = Recurrent(Noisy, 2, 3, recompute=True)
    output, _ = layer(torch.ones(9, 1, 2))
    before = torch.get_rng_state()
    output.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_derivatives_of_the_derivative() -> None:
    torch.manual_seed(0)
    layer = Recurrent("lstm", 2, 3, recompute=2, bidirectional=True).double()
    x = double(4, 2, 2).requires_grad_()
    with kernels.use("loop"):
        assert torch.autograd.gradgradcheck(lambda x: layer(x, lengths=[4, 3])[0], (x,))
        per_sample = torch.func.jacrev(lambda x: layer(x)[0].sum())(x.detach())
    torch.testing.assert_close(per_sample, torch.autograd.grad(layer(x)[0].sum(), x)[0])


def test_mixed_precision_is_repeated_as_it_was() -> None:
    gradients = []
    for recompute in (3, False):
        torch.manual_seed(0)
        layer = Recurrent("lstm-peephole", 4, 5, recompute=recompute)
        x = torch.randn(7, 2, 4)
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = layer(x)
        gradients.append(torch.autograd.grad(output.float().sum(), list(layer.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.02)


def saved_bytes(layer: Recurrent, x: torch.Tensor) -> int:
    """Bytes of all distinct storages that the graph keeps."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = layer(x)
    given = [x, *layer.parameters()]
    for tensor in given:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    assert output.requires_grad
    return sum(storages.values())


def test_recomputation_keeps_states_between_pieces_alone() -> None:
    steps, batch, hidden = 400, 4, 32
    x = torch.randn(steps, batch, 8)
    with kernels.use("loop"):
        whole = saved_bytes(Recurrent("lstm", 8, hidden), x)
        pieces = saved_bytes(Recurrent("lstm", 8, hidden, recompute=True), x)
    states = 20 * 2 * batch * hidden * 4  # of h and c before each of 20 pieces
    assert pieces <= 1.5 * states
    assert pieces < whole / 50


def test_nothing_is_recomputed_without_a_gradient() -> None:
    layer = Recurrent("lstm", 2, 3, recompute=True)
    calls = []
    original = kernels.run

    def spy(cell: Any, x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        calls.append(len(x))
        return original(cell, x, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "run", spy)
        with torch.no_grad():
            layer(torch.zeros(9, 1, 2))
        assert calls == [9]
        calls.clear()
        layer(torch.zeros(9, 1, 2))[0].sum().backward()
        assert calls == [3] * 6


def test_pieces_of_about_the_square_root() -> None:
    assert [piece_length(True, steps) for steps in (0, 1, 2, 4, 9, 10, 400)] == [
        1, 1, 2, 2, 3, 4, 20,
    ]  # fmt: skip
    assert piece_length(7, 400) == 7
