"""Heads: chunked cross-entropy against torch's, Jordan's identity head."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from unrolled.layers import heads


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_chunked_loss_equals_torchs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNKED_FROM", 2)
    head = heads.SoftmaxHead(6, 11).double()
    torch.nn.init.normal_(head.bias)
    h = torch.randn(rows, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (rows,))
    loss = head.loss(h, targets)
    expected = F.cross_entropy(F.linear(h, head.weight, head.bias), targets, reduction="sum")
    assert loss.count == rows
    torch.testing.assert_close(loss.sum, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.mean, expected / rows, rtol=1e-12, atol=0)
    inputs = [h, head.weight, head.bias]
    for a, b in zip(
        torch.autograd.grad(3 * loss.sum, inputs),
        torch.autograd.grad(3 * expected, inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(head.loss(h, targets).sum, expected)


def test_infinite_scores_come_out_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNKED_FROM", 2)
    head = heads.SoftmaxHead(2, 3)
    assert head.loss(torch.full((1, 2), float("nan")), torch.tensor([0])).sum.isnan()


def test_log_probabilities_sum_to_one() -> None:
    head = heads.SoftmaxHead(4, 7)
    torch.testing.assert_close(head(torch.randn(2, 3, 4)).exp().sum(-1), torch.ones(2, 3))


def test_identity_head_takes_probabilities() -> None:
    p = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    loss = heads.IdentityHead().loss(p, torch.tensor([1, 1]))
    assert loss.count == 2
    assert torch.isfinite(loss.sum)
    assert loss.sum > 80  # a target of probability zero costs dearly, not infinitely


def test_several_labels_sum_their_cross_entropies() -> None:
    head = heads.SigmoidHead(4, 3)
    h, targets = torch.randn(5, 4), (torch.rand(5, 3) < 0.5).float()
    p = torch.sigmoid(h @ head.weight.T + head.bias)
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum()
    loss = head.loss(h, targets)
    torch.testing.assert_close(loss.sum, expected)
    assert loss.count == 5
    torch.testing.assert_close(head(h).exp(), p)


def test_a_number_has_half_the_squared_error() -> None:
    head = heads.LinearHead(4)
    h, targets = torch.randn(5, 4), torch.randn(5)
    loss = head.loss(h, targets)
    torch.testing.assert_close(loss.sum, 0.5 * ((head(h) - targets) ** 2).sum())
    torch.testing.assert_close(head(h), h @ head.weight[0] + head.bias)
    assert loss.count == 5
