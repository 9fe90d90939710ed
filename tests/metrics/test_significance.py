"""Intervals cover as often as they say, and tests reject as often as they may."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unrolled.metrics.significance import (
    bootstrap,
    kinds,
    mcnemar,
    paired_bootstrap,
    percentiles,
    ratio,
    resampled,
)

ROWS = np.random.default_rng(0).integers(0, 2, size=(60, 2)).astype(float)


def test_kinds_with_counts_are_drawn_like_the_examples_themselves() -> None:
    rows, counts = kinds(ROWS)
    assert len(rows) == 4  # a multinomial
    assert counts.sum() == 60
    quick = resampled(ratio(rows[:, 0], rows[:, 1]), counts, samples=20_000, seed=1)
    plain = resampled(ratio(*ROWS.T), np.ones(60, int), samples=20_000, seed=2)
    assert quick.mean() == pytest.approx(plain.mean(), rel=0.01)
    assert quick.std() == pytest.approx(plain.std(), rel=0.03)


def test_a_draw_has_as_many_examples_as_there_are() -> None:
    for counts in (np.ones(7, int), np.array([1000, 3]), np.array([2, 1, 3])):
        totals = resampled(lambda w: w.sum(axis=1), counts, samples=50, seed=0)
        assert (totals == counts.sum()).all()


def test_draws_do_not_depend_on_how_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    for counts in (np.ones(60, int), np.array([100, 200])):
        statistic = ratio(np.arange(len(counts)), np.ones(len(counts)))
        whole = resampled(statistic, counts, samples=100, seed=3)
        monkeypatch.setattr("unrolled.metrics.significance._HELD", 130)
        assert np.array_equal(whole, resampled(statistic, counts, samples=100, seed=3))
        monkeypatch.undo()


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        right = rng.random(400) < 0.8
        low, high = bootstrap(ratio(right, np.ones(400)), 400, samples=400, seed=trial)
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 199


def test_the_interval_is_near_that_of_the_normal_distribution() -> None:
    right = np.arange(1000) < 900
    low, high = bootstrap(ratio(right, np.ones(1000)), 1000, samples=10_000)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.9 * 0.1 / 1000), rel=0.05)
    narrow = bootstrap(ratio(right, np.ones(1000)), 1000, samples=10_000, confidence=0.5)
    assert low < narrow[0] < 0.9 < narrow[1] < high


def test_any_statistic_has_an_interval() -> None:
    values = np.sort(np.random.default_rng(0).exponential(size=201))

    def median(weights: np.ndarray) -> np.ndarray:
        return values[(np.cumsum(weights, axis=1) > 100).argmax(axis=1)]

    low, high = bootstrap(median, 201)
    assert low < math.log(2) < high
    assert bootstrap(median, 201) == (low, high)
    assert bootstrap(median, 201, seed=1) != (low, high)


def test_draws_without_the_statistic_are_left_out() -> None:
    assert percentiles(np.array([math.nan, 1.0, 2.0])) == (1.0, 2.0)
    assert all(map(math.isnan, percentiles(np.array([math.nan]))))


def test_equal_systems_are_called_different_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for trial in range(200):
        one, two = rng.random((2, 300)) < 0.7
        result = paired_bootstrap(
            ratio(one, np.ones(300)), ratio(two, np.ones(300)), 300, samples=500, seed=trial
        )
        found += result.p_value < 0.05
        # Interval and p value say the same, but for the one draw more.
        assert (result.low > 0 or result.high < 0) == (result.p_value < 0.05) or (
            result.p_value == pytest.approx(0.05, abs=0.01)
        )
    assert 1 <= found <= 20


def test_pairing_finds_what_separate_intervals_cannot() -> None:
    worse = np.arange(1000) < 800
    better = np.arange(1000) < 812  # right wherever the other is, and on twelve more
    ones = np.ones(1000)
    apart = [bootstrap(ratio(right, ones), 1000) for right in (worse, better)]
    assert apart[0][1] > apart[1][0]
    found = paired_bootstrap(ratio(better, ones), ratio(worse, ones), 1000)
    assert found.low > 0
    assert found.p_value == pytest.approx(2 / 1001)
    back = paired_bootstrap(ratio(worse, ones), ratio(better, ones), 1000)
    assert (back.difference, back.low, back.high) == (-found.difference, -found.high, -found.low)
    assert back.p_value == found.p_value


def test_a_system_does_not_differ_from_itself() -> None:
    same = ratio(*ROWS.T)
    found = paired_bootstrap(same, same, 60)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_and_the_chi_square_of_scipy(one: int, two: int) -> None:
    first = np.repeat([True, False, True], [one, two, 5])
    second = np.repeat([False, True, True], [one, two, 5])
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (one, two)
    exact = stats.binomtest(one, one + two).pvalue if one + two else 1.0
    assert found.exact == pytest.approx(exact, rel=1e-9, abs=1e-300)
    corrected = 1.0
    if one != two:
        corrected = stats.chi2.sf((abs(one - two) - 1) ** 2 / (one + two), df=1)
    assert found.corrected == pytest.approx(corrected, rel=1e-9, abs=1e-300)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: 2 (1 + 6) / 2^6
    found = mcnemar([1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1])
    assert found.exact == 14 / 64
    assert found.corrected == pytest.approx(math.erfc(math.sqrt(9 / 6 / 2)))


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_parameters_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap(ratio([1], [1]), 1, **wrong)  # type: ignore[arg-type]


def test_shapes_are_checked() -> None:
    for examples in (0, [], [0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="no examples"):
            bootstrap(ratio([1], [1]), examples)
    with pytest.raises(ValueError, match="differ"):
        ratio([1], [1, 1])
    with pytest.raises(ValueError, match="twice"):
        mcnemar([1], [1, 0])
