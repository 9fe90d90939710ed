"""Scores of language models and their intervals."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.metrics.language import LanguageScore, bootstrap_interval, intervals


def test_a_uniform_model_has_the_perplexity_of_its_alphabet() -> None:
    score = LanguageScore.of(np.full((3, 4), math.log(16)))
    assert score.tokens == 12
    assert score.nats == pytest.approx(math.log(16))
    assert score.bits == pytest.approx(4)
    assert score.perplexity == pytest.approx(16)
    assert score.metrics() == {
        "nats": score.nats,
        "bits": score.bits,
        "perplexity": score.perplexity,
    }


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(0, 50), min_size=1), min_size=1))
def test_parts_add_up(parts: list[list[float]]) -> None:
    whole = LanguageScore.of(list(chain.from_iterable(parts)))
    summed = sum(map(LanguageScore.of, parts), start=LanguageScore(0.0, 0))
    assert summed.tokens == whole.tokens
    assert summed.nats == pytest.approx(whole.nats)


def test_extremes() -> None:
    assert LanguageScore.of([0.0, math.inf]).perplexity == math.inf
    assert LanguageScore(1e6, 1).perplexity == math.inf
    assert LanguageScore(0.0, 1).perplexity == 1
    with pytest.raises(ValueError, match="at least one"):
        _ = LanguageScore.of([]).nats


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        nats = rng.exponential(2.0, size=2000)
        low, high = bootstrap_interval(nats, block=20, samples=300, seed=trial)
        covered += low <= 2.0 <= high
    assert 88 <= covered <= 100


def test_blocks_widen_the_interval_of_dependent_tokens() -> None:
    nats = np.repeat(np.random.default_rng(0).exponential(2.0, size=200), 50)
    single = bootstrap_interval(nats, block=1)
    blocks = bootstrap_interval(nats, block=100)
    independent = bootstrap_interval(nats[::50], block=1)
    assert blocks[1] - blocks[0] > 4 * (single[1] - single[0])
    assert blocks[1] - blocks[0] == pytest.approx(independent[1] - independent[0], rel=0.3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=100), st.integers(1, 30))
def test_any_length_has_an_interval(nats: list[float], block: int) -> None:
    low, high = bootstrap_interval(nats, block=block, samples=20)
    assert min(nats) - 1e-9 <= low <= high <= max(nats) + 1e-9
    assert (low, high) == bootstrap_interval(nats, block=block, samples=20)


def test_intervals_of_all_three() -> None:
    found = intervals(np.random.default_rng(0).exponential(2.0, size=5000))
    low, high = found["nats"]
    assert low < 2.0 < high
    assert found["bits"] == (low / math.log(2), high / math.log(2))
    assert found["perplexity"] == (math.exp(low), math.exp(high))
    assert intervals([math.inf])["perplexity"] == (math.inf, math.inf)


@pytest.mark.parametrize(
    "wrong", [{"block": 0}, {"samples": 0}, {"confidence": 0.0}, {"confidence": 1.0}]
)
def test_parameters_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bootstrap_interval([1.0], **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one token"):
        bootstrap_interval([])
