"""Weights packed as bfloat16: exactly the results of weights rounded to bfloat16, in layers and sessions."""

from __future__ import annotations

import copy

import pytest
import torch
from against_engine import FACTORIES, needs_engine
from torch import nn

import unrolled
from unrolled import Recurrent, kernels

pytestmark = needs_engine


def rounded(layer: nn.Module) -> nn.Module:
    """The same with matrices that are bfloat16 numbers."""
    result = copy.deepcopy(layer)
    with torch.no_grad():
        for p in result.parameters():
            if p.dim() == 2:
                p.copy_(p.bfloat16().float())
    return result


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("batch", [1, 5])
def test_equal_to_rounded_weights(name: str, batch: int) -> None:
    layer = Recurrent(FACTORIES[name], 5, 19, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(7, batch, 5), torch.randint(1, 8, (batch,))
    with torch.no_grad():
        plain = layer(x, lengths=lengths)[0]
        with kernels.weights("bfloat16"):
            found = layer(x, lengths=lengths)[0]
        assert torch.equal(layer(x, lengths=lengths)[0], plain)
        assert torch.equal(found, rounded(layer)(x, lengths=lengths)[0])
    assert not torch.equal(found, plain)


def test_a_session_keeps_what_was_in_force() -> None:
    layer = unrolled.LSTM(5, 33)
    x = torch.randn(4, 2, 5)
    with kernels.weights("bfloat16"):
        session = layer.session(2)
    steps = torch.stack([session.step(row) for row in x])
    assert torch.equal(
        steps, torch.stack([s.step(r) for s in [rounded(layer).session(2)] for r in x])
    )
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2.0)
    expected = rounded(layer).session(2)
    expected.state = session.state
    assert torch.equal(session.step(x[0]), expected.step(x[0]))


def test_training_stays_in_float32() -> None:
    layer, x = unrolled.GRU(5, 9), torch.randn(4, 2, 5)
    plain = layer(x)[0]
    with kernels.weights("bfloat16"):
        found = layer(x)[0]
        found.sum().backward()
    assert torch.equal(found, plain)


def test_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="float32 or bfloat16, not 'float16'"):
        kernels.weights("float16")
    assert not kernels.native.halved()
