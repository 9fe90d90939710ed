"""Filters of distributions, and drawing from step-protocol models."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.baselines import KneserNey
from unrolled.decoding import filter_log_probs, sample, stream
from unrolled.errors import ConfigError, RunError

P = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.05, 0.05, 0.05, 0.85]])


class Counter:
    """Predicts the last token plus one (modulo 5), and sums what it read in its state."""

    def __init__(self) -> None:
        self.read: list[list[int] | None] = []

    def start(self, batch_size: int) -> tuple[Tensor]:
        return (torch.zeros(batch_size, 1),)

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        self.read.append(None if tokens is None else tokens.tolist())
        following = torch.zeros(len(state[0])).long() if tokens is None else (tokens + 1) % 5
        log_probs = torch.full((len(following), 5), -math.inf)
        log_probs[torch.arange(len(following)), following] = 0.0
        return log_probs, (state[0] + (0 if tokens is None else tokens[:, None]),)


def filtered(**options: Any) -> list[list[float]]:
    return filter_log_probs(P.double().log(), **options).exp().numpy().round(4).tolist()


def test_filters() -> None:
    assert filtered() == P.double().numpy().round(4).tolist()
    assert filtered(temperature=0) == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert filtered(top_k=1) == filtered(temperature=0, top_k=3)
    assert filtered(top_k=2)[0] == [0.5714, 0, 0.4286, 0]
    assert filtered(top_k=99) == filtered()
    assert filtered(top_p=0.7) == [[0.5714, 0, 0.4286, 0], [0, 0, 0, 1]]
    assert filtered(top_p=0.71)[0] == [0.4444, 0, 0.3333, 0.2222]
    assert filtered(top_p=1.0) == filtered()
    assert filtered(top_p=1e-9) == filtered(temperature=0)
    assert filtered(temperature=0.5)[0] == [0.5333, 0.0333, 0.3, 0.1333]
    assert filtered(temperature=0.5, top_k=3, top_p=0.5)[0] == [1, 0, 0, 0]


def test_filters_take_logits_and_impossible_tokens() -> None:
    log_probs = torch.tensor([[0.0, -math.inf, 0.0]]) + 7
    for options in (
        {},
        {"temperature": 2.0},
        {"top_k": 3},
        {"top_p": 0.99},
        {"temperature": 1e-30},
    ):
        kept = filter_log_probs(log_probs, **options).exp()
        torch.testing.assert_close(kept, torch.tensor([[0.5, 0.0, 0.5]]))


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 2}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        filter_log_probs(P.log(), **options)
    with pytest.raises(ConfigError):
        stream(Counter(), prompt=torch.zeros(1, 1).long(), length=3, **options)


def test_no_distribution_is_refused() -> None:
    for row in ([math.nan, 0.0], [-math.inf, -math.inf], [math.inf, 0.0]):
        with pytest.raises(RunError, match="NaN or infinite"):
            filter_log_probs(torch.tensor([row]))


def test_the_prompt_is_read_once_and_the_last_token_is_not() -> None:
    model = Counter()
    drawn = sample(model, prompt=torch.tensor([[0, 1], [3, 2]]), length=3)
    assert drawn.tolist() == [[2, 3, 4], [3, 4, 0]]
    assert model.read == [[0, 3], [1, 2], [2, 3], [3, 4]]


def test_no_prompt_starts_from_nothing() -> None:
    model = Counter()
    assert sample(model, prompt=torch.empty(2, 0).long(), length=2).tolist() == [[0, 1], [0, 1]]
    assert model.read == [None, [0, 0]]
    assert sample(model, prompt=torch.empty(2, 0).long(), length=0).shape == (2, 0)


def test_copies_share_the_reading_of_the_prompt() -> None:
    model = Counter()
    drawn = sample(model, prompt=torch.tensor([[0], [2]]), length=2, copies=2)
    assert drawn.tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert model.read == [[0, 2], [1, 1, 3, 3]]


def test_a_state_continues() -> None:
    model = KneserNey(4).fit(np.random.default_rng(0).integers(0, 3, 300), 3)
    prompt = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0]])
    whole = sample(model, prompt=prompt, length=20, generator=torch.Generator().manual_seed(0))
    state = model.start(2)
    for tokens in prompt[:, :3].unbind(1):
        _, state = model.step(tokens, state)
    generator = torch.Generator().manual_seed(0)
    rest = sample(model, prompt=prompt[:, 3:], length=20, generator=generator, state=state)
    assert torch.equal(whole, rest)


def test_the_stream_equals_the_sample_and_may_be_endless() -> None:
    model = KneserNey(3).fit(np.random.default_rng(0).integers(0, 9, 300), 9)
    prompt = torch.zeros(2, 1).long()
    options = {"temperature": 0.8, "top_k": 5, "top_p": 0.9}
    seeded = [torch.Generator().manual_seed(7) for _ in range(2)]
    whole = sample(model, prompt=prompt, length=10, generator=seeded[0], **options)
    pieces = stream(model, prompt=prompt, length=None, generator=seeded[1], **options)
    assert torch.equal(whole, torch.stack(list(itertools.islice(pieces, 10)), 1))


def test_frequencies_follow_the_distribution() -> None:
    model = KneserNey(1).fit(np.repeat([0, 1, 2], [10, 30, 60]), 3)
    generator = torch.Generator().manual_seed(0)
    drawn = sample(
        model, prompt=torch.zeros(1, 1).long(), length=20, generator=generator, copies=2000
    )
    expected = model.step(None, model.start(1))[0].exp()[0]
    torch.testing.assert_close(
        drawn.flatten().bincount() / 40_000, expected.float(), atol=0.01, rtol=0
    )


def test_gradients_are_left_alone_between_pieces() -> None:
    pieces = stream(Counter(), prompt=torch.zeros(1, 1).long(), length=2)
    next(pieces)
    assert torch.is_grad_enabled()


def test_an_end_stops_each_sequence() -> None:
    """Those that have ended are read no further, and the last stops all."""
    model = Counter()
    drawn = sample(model, prompt=torch.tensor([[0], [3], [2]]), length=9, end=4)
    assert drawn.tolist() == [[1, 2, 3, 4], [4, 4, 4, 4], [3, 4, 4, 4]]
    assert model.read == [[0, 3, 2], [1, 3], [2], [3]]
    assert sample(Counter(), prompt=torch.tensor([[0]]), length=2, end=4).tolist() == [[1, 2]]
    endless = list(stream(Counter(), prompt=torch.tensor([[1]]), length=None, end=0))
    assert torch.stack(endless, 1).tolist() == [[2, 3, 4, 0]]
    assert sample(Counter(), prompt=torch.tensor([[0]]), length=0, end=4).shape == (1, 0)
    with pytest.raises(ConfigError, match="tokens 0 to 4, and the end is to be 5"):
        sample(Counter(), prompt=torch.tensor([[0]]), length=2, end=5)


def test_an_end_changes_nothing_before_it() -> None:
    model = KneserNey(3).fit(np.random.default_rng(0).integers(0, 9, 300), 9)
    prompt = torch.tensor([[3]])
    options = {"prompt": prompt, "length": 30, "temperature": 1.5}
    whole = sample(model, generator=torch.Generator().manual_seed(1), **options)[0].tolist()
    ended = sample(model, generator=torch.Generator().manual_seed(1), end=4, **options)[0].tolist()
    assert 4 in whole
    assert ended == whole[: whole.index(4) + 1]


def test_strange_prompts_are_refused() -> None:
    model = Counter()
    with pytest.raises(ConfigError, match="prompt"):
        sample(model, prompt=torch.zeros(3).long(), length=1)
    with pytest.raises(ConfigError, match="length"):
        sample(model, prompt=torch.zeros(1, 1).long(), length=-1)
    with pytest.raises(ConfigError, match="copies"):
        sample(model, prompt=torch.zeros(1, 1).long(), length=1, copies=0)
    with pytest.raises(ConfigError, match="at least one token"):
        sample(model, prompt=torch.zeros(1, 0).long(), length=1, state=model.start(1))
    with pytest.raises(ConfigError, match="the state has 2 sequences"):
        sample(model, prompt=torch.zeros(1, 1).long(), length=1, state=model.start(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_options_leave_a_distribution(dtype: torch.dtype) -> None:
    """Also: a heat beyond the type's numbers allows nothing that was impossible."""
    log_probs = torch.tensor([[math.log(0.7), math.log(0.3), -math.inf]], dtype=dtype)
    hot = filter_log_probs(log_probs, temperature=1e308).exp()
    assert hot[0].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert filter_log_probs(log_probs, top_p=1e-320).exp()[0].tolist() == [1.0, 0.0, 0.0]
