"""Errors of numbers against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from unrolled.metrics.regression import (
    mean_absolute_error,
    mean_squared_error,
    measure_numbers,
    r_squared,
)

NUMBERS = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2))
def test_numbers_are_scored_as_by_sklearn(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    assert mean_squared_error(truth, predicted) == pytest.approx(
        sklearn.mean_squared_error(truth, predicted)
    )
    assert mean_absolute_error(truth, predicted) == pytest.approx(
        sklearn.mean_absolute_error(truth, predicted)
    )
    # scikit-learn's mean of equal numbers may differ from them by rounding, and so its zero.
    same = float((truth == predicted).all())
    expected = sklearn.r2_score(truth, predicted) if np.ptp(truth) else same
    assert r_squared(truth, predicted) == pytest.approx(expected, rel=1e-6)


def test_far_from_zero_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    truth = 1e9 + rng.normal(size=1000)
    predicted = truth + rng.normal(size=1000) / 10
    assert r_squared(truth, predicted) == pytest.approx(sklearn.r2_score(truth, predicted))


def test_draws_are_scored_as_by_sklearn() -> None:
    rng = np.random.default_rng(0)
    truth, one, two = rng.normal(size=(3, 12))
    measure = measure_numbers(truth, one, two)
    weights = rng.multinomial(12, np.full(12, 1 / 12), size=30).astype(float)
    weights[0] = 0
    weights[0, 3] = 12  # one number again and again: no variance
    for row, found in zip(weights, measure.of(weights), strict=True):
        drawn = np.repeat(np.arange(12), row.astype(int))
        for system, predicted in enumerate((one, two)):
            assert found[system].tolist() == pytest.approx(
                [
                    sklearn.mean_squared_error(truth[drawn], predicted[drawn]),
                    sklearn.mean_absolute_error(truth[drawn], predicted[drawn]),
                    sklearn.r2_score(truth[drawn], predicted[drawn]),
                ]
            )


def test_edges() -> None:
    assert r_squared([0.1] * 3, [0.1] * 3) == 1
    assert r_squared([0.1] * 3, [0.1, 0.1, 0.2]) == 0
    assert math.isnan(r_squared([1], [1]))
    assert math.isnan(mean_squared_error([1.0, 2.0], [1.0, math.nan]))
    measure = measure_numbers([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0])
    assert measure.intervals()["mse"] == (0.0, 0.75)
    for truth, predicted in (([], []), ([1], [1, 2]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="expected"):
            measure_numbers(truth, predicted)
