"""Scheduled sampling: what is drawn, how often, and that nothing else changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.data.batch import Sequences
from unrolled.models.scheduled_sampling import ScheduledSampling
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.translation_data import Encoded

START, END, V = 1, 2, 9
SOURCE = Sequences(torch.zeros(4, 1, dtype=torch.int64), torch.ones(4, dtype=torch.int64))


class Successor:
    """Says the symbol after the last, of 1000, and remembers what it read."""

    def __init__(self) -> None:
        self.training, self.seen = True, []

    def train(self, mode: bool = True) -> None:
        self.training = mode

    def start_from(self, source: Sequences) -> Any:
        assert not self.training, "dropout is on"
        return None

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.seen.append(tokens)
        following = torch.nn.functional.one_hot((tokens + 1) % 1000, 1000)
        return following.double().log(), None


def test_draws_follow_what_was_read() -> None:
    torch.manual_seed(0)
    sampling, model = ScheduledSampling(0.5, 1), Successor()
    inputs = torch.randint(100, 900, (4, 300))
    assert torch.equal(sampling(model, SOURCE, inputs), inputs)  # the first batch: epsilon 0
    mixed = sampling(model, SOURCE, inputs)
    assert model.training
    assert torch.equal(mixed[:, 0], inputs[:, 0])
    own = mixed[:, 1:] == mixed[:, :-1] + 1
    assert torch.equal(mixed[:, 1:][~own], inputs[:, 1:][~own])
    share = own.double().mean().item()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / own.numel())
    for t, tokens in enumerate(model.seen):
        assert torch.equal(tokens, mixed[:, t])  # drawn symbols are read, not the true ones


def test_grows_linearly() -> None:
    sampling, inputs = ScheduledSampling(0.8, 4), torch.zeros(4, 1, dtype=torch.int64)
    found = []
    for _ in range(6):
        found.append(sampling.probability())
        sampling(Successor(), SOURCE, inputs)
    assert found == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8])
    again = ScheduledSampling(0.8, 4)
    again.load_state_dict(sampling.state_dict())
    assert again.probability() == 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [({"share": 1.5, "steps": 1}, "share"), ({"share": 0.5, "steps": 0}, "at least 1")],
)
def test_what_is_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduledSampling(**options)


def test_the_gradient_is_that_of_the_drawn_inputs() -> None:
    torch.manual_seed(1)
    model = Seq2Seq(V, V, hidden_size=7, embedding_size=6, scheduled_sampling=1.0, sampling_steps=1)
    ids = np.random.default_rng(0).integers(3, V, (5, 6))
    batch = Encoded([np.append(row, END) for row in ids], list(ids)).batch(np.arange(5))
    assert batch.targets is not None
    assert model.sampling is not None
    assert batch.inputs is not None
    model.sampling.batches += 1
    torch.manual_seed(2)
    drawn = model.sampling(model, batch.source, batch.inputs.values)
    assert not torch.equal(drawn, batch.inputs.values)
    torch.manual_seed(2)
    model.loss(model(batch)[0], batch).sum.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    plain = replace(batch, inputs=Sequences(drawn, batch.inputs.lengths))
    torch.manual_seed(2)
    model.sampling.share = 0.0
    model.loss(model(plain)[0], plain).sum.backward()
    expected = [p.grad for p in model.parameters()]
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two)
    model.eval()  # in use nothing is drawn
    before = int(model.sampling.batches)
    model(batch)
    assert int(model.sampling.batches) == before


def test_learns_with_it() -> None:
    torch.manual_seed(0)
    options: Any = {"scheduled_sampling": 0.5, "sampling_steps": 100}
    model = Seq2Seq(V, V, hidden_size=32, embedding_size=16, **options)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    draw = np.random.default_rng(0)
    losses = []
    for _ in range(200):
        ids = draw.integers(3, V, (32, 5))
        batch = Encoded([np.append(r, END) for r in ids], [r[::-1].copy() for r in ids]).batch(
            np.arange(32)
        )
        loss = model.loss(model(batch)[0], batch)
        optimiser.zero_grad()
        (loss.sum / loss.count).backward()
        optimiser.step()
        losses.append(float(loss.sum.detach() / loss.count))
    model.eval()
    with torch.no_grad():
        loss = model.loss(model(batch)[0], batch)
    assert losses[0] > 2
    assert float(loss.sum / loss.count) < 0.2
