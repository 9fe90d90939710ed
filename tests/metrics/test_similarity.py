"""Spearman's rho and shares of analogies against scipy and a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from unrolled.metrics.similarity import measure_analogies, measure_similarity, spearman


@pytest.mark.parametrize("values", [3, 10, 1000])
def test_equal_to_scipy(values: int) -> None:
    rng = np.random.default_rng(values)
    for _ in range(5):
        one, two = rng.integers(values, size=(2, 60))
        assert spearman(one, two) == pytest.approx(spearmanr(one, two)[0], abs=1e-12)


def test_weights_are_repeated_pairs() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.integers(6, size=(2, 25))
    weights = rng.integers(4, size=(8, 25))
    found = measure_similarity(one, two).of(weights.astype(np.float64))[:, 0, 0]
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(spearmanr(np.repeat(one, row), np.repeat(two, row))[0])


def test_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(40):
        one = rng.normal(size=150)
        two = 0.6 * one + 0.8 * rng.normal(size=150)
        low, high = measure_similarity(one, two).intervals(seed=seed, samples=200)["spearman"]
        held += low < 6 / math.pi * math.asin(0.6 / 2) < high
    assert 34 <= held <= 40


def test_without_a_rank_there_is_no_rho() -> None:
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1], [2]))


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [([1, 2], [1], "shapes"), ([], [], "at least 1"), ([1, math.nan], [1, 2], "not finite")],
)
def test_refused(one: list[float], two: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        measure_similarity(one, two)


def test_shares_of_analogies() -> None:
    right = [True, False, True, True, False, False]
    sections = ["capital", "capital", "family", "gram1", "gram1", "gram2"]
    measure = measure_analogies(right, sections)
    assert measure.metrics() == pytest.approx(
        {
            "accuracy": 1 / 2,
            "semantic": 2 / 3,
            "syntactic": 1 / 3,
            "accuracy:capital": 1 / 2,
            "accuracy:family": 1,
            "accuracy:gram1": 1 / 2,
            "accuracy:gram2": 0,
        }
    )
    assert measure.intervals()["accuracy:family"] == (1.0, 1.0)
    assert "syntactic" not in measure_analogies([1], ["capital"]).metrics()
    with pytest.raises(ValueError, match="expected as many"):
        measure_analogies([1], [])
