"""Pooling: each kind against its equation, padding, empty sequences, gradients."""

from __future__ import annotations

import pytest
import torch

from unrolled.layers import POOLINGS, Recurrent
from unrolled.layers.pooling import AttentionPooling

LENGTHS = torch.tensor([4, 1, 3])


def outputs(*, poison: float = 0.0) -> torch.Tensor:
    """[3, 4, 6], something else past each sequence's end."""
    values = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    real = torch.arange(4) < LENGTHS[:, None]
    return torch.where(real[:, :, None], values, values.new_tensor(poison))


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("poison", [9.0, float("nan"), float("inf")])
def test_padding_changes_nothing(name: str, poison: float) -> None:
    torch.manual_seed(0)
    pool = POOLINGS[name](6, directions=2).double()
    expected = pool(outputs(), LENGTHS)
    torch.testing.assert_close(pool(outputs(poison=poison), LENGTHS), expected)
    longer = torch.cat([outputs(), outputs()], 1)
    torch.testing.assert_close(pool(longer, LENGTHS), expected)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = pool(outputs()[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone[0], expected[row])


@pytest.mark.parametrize("name", POOLINGS)
def test_a_sequence_of_no_steps_gives_zeros(name: str) -> None:
    pool = POOLINGS[name](6)
    for steps in (0, 2):
        found = pool(torch.ones(2, steps, 6), torch.tensor([0, 0]))
        assert found.shape == (2, 6)
        assert not found.any()


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients(name: str) -> None:
    torch.manual_seed(0)
    pool = POOLINGS[name](6, directions=2).double()
    x = outputs().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, LENGTHS), (x,))
    pool(x, LENGTHS).sum().backward()
    assert x.grad is not None
    assert not x.grad[1, 1:].any()


def test_equations() -> None:
    x = outputs()
    mean = torch.stack([x[row, :n].mean(0) for row, n in enumerate(LENGTHS)])
    torch.testing.assert_close(POOLINGS["mean"](6)(x, LENGTHS), mean)
    largest = torch.stack([x[row, :n].max(0)[0] for row, n in enumerate(LENGTHS)])
    torch.testing.assert_close(POOLINGS["max"](6)(x, LENGTHS), largest)
    pool = AttentionPooling(6).double()
    for row, n in enumerate(LENGTHS.tolist()):
        alpha = (torch.tanh(pool.hidden(x[row, :n])) @ pool.weight).softmax(0)
        torch.testing.assert_close(pool(x, LENGTHS)[row], alpha @ x[row, :n])
        torch.testing.assert_close(pool.weights(x, LENGTHS)[row, :n], alpha)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_last_is_the_final_state_of_both_directions(cell: str) -> None:
    layer = Recurrent(cell, 2, 3, num_layers=2, bidirectional=True, batch_first=True)
    output, state = layer(torch.randn(3, 4, 2), lengths=LENGTHS)
    final = torch.cat([state[2].h, state[3].h], -1)
    torch.testing.assert_close(POOLINGS["last"](6, directions=2)(output, LENGTHS), final)
