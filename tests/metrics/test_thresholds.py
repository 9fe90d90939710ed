"""Half of the best F1 is the best threshold, and nothing beats the cut that is found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from unrolled.metrics.thresholds import best_threshold, calibrated_threshold

SCORES = st.lists(st.integers(0, 12).map(lambda n: n / 12), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(SCORES, st.integers(0, 2**32))
def test_no_threshold_has_a_higher_f1(scores: list[float], seed: int) -> None:
    truth = np.random.default_rng(seed).random(len(scores)) < 0.4
    found = best_threshold(truth, scores)
    every = {
        cut: f1_score(truth, np.array(scores) >= cut, zero_division=0) for cut in (*scores, 2.0)
    }
    assert found.f1 == pytest.approx(max(every.values()))
    assert found.f1_all_positive == pytest.approx(every[min(scores)])
    called = np.array(scores) >= found.threshold
    assert found.positives == called.sum()
    assert found.all_positive == bool(called.all())
    assert f1_score(truth, called, zero_division=0) == pytest.approx(found.f1)
    higher = [cut for cut in every if cut > found.threshold]
    assert all(every[cut] < found.f1 for cut in higher)


@settings(deadline=None, max_examples=200)
@given(SCORES)
def test_the_best_threshold_is_half_of_the_best_f1(probabilities: list[float]) -> None:
    """Theorem 1, exactly: positive is what is above F*/2, negative what is below."""
    found = calibrated_threshold(probabilities)
    p = np.array(probabilities)
    assert not (p < found.threshold)[p > found.half_f1 + 1e-12].any()
    assert not (p >= found.threshold)[p < found.half_f1 - 1e-12].any()
    subsets = [p >= cut for cut in p]
    ratios = [2 * p[s].sum() / (s.sum() + p.sum()) if p.any() else 0 for s in subsets]
    assert found.f1 == pytest.approx(max(ratios))
    assert found.half_f1 <= 0.5


def test_no_other_set_of_examples_is_better_either() -> None:
    p = np.random.default_rng(0).random(10) ** 2
    every = (np.arange(1024)[:, None] >> np.arange(10)) % 2 == 1
    ratios = 2 * (every @ p) / (every.sum(axis=1) + p.sum())
    best = every[ratios.argmax()]
    found = calibrated_threshold(p)
    assert found.f1 == pytest.approx(ratios.max())
    assert np.array_equal(best, p >= found.threshold)


def test_with_many_examples_the_labelled_threshold_comes_to_half_the_f1() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, size=200_000)
    found = best_threshold(rng.random(len(p)) < p, p)
    assert found.threshold == pytest.approx(found.half_f1, abs=0.02)
    assert found.f1 == pytest.approx(calibrated_threshold(p).f1, abs=0.005)


def test_who_knows_nothing_calls_everything_positive() -> None:
    for rate in (0.01, 0.2, 0.9):
        truth = np.arange(1000) < 1000 * rate
        found = best_threshold(truth, np.full(1000, rate))
        assert found.all_positive
        assert found.f1 == found.f1_all_positive == pytest.approx(2 * rate / (1 + rate))
        assert calibrated_threshold(np.full(1000, rate)).f1 == pytest.approx(found.f1)
    informed = best_threshold([1, 0, 0, 0], [0.9, 0.1, 0.1, 0.1])
    assert not informed.all_positive
    assert informed.f1_all_positive == 0.4


def test_edges() -> None:
    nothing = best_threshold([0, 0], [0.1, 0.9])
    assert (nothing.threshold, nothing.f1, nothing.positives) == (math.inf, 0, 0)
    assert not nothing.all_positive
    assert best_threshold([1], [-5.0]).threshold == -5
    for truth, scores in (([], []), ([1], [1, 2]), ([1], [math.nan]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="expected"):
            best_threshold(truth, scores)
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="within"):
            calibrated_threshold([wrong])
