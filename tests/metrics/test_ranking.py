"""Areas against scikit-learn, with ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from unrolled.metrics.ranking import average_precision, measure_ranking, roc_area


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(1, 8))
def test_areas_are_those_of_sklearn(seed: int, N: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(N) < 0.4
    truth[:2] = (True, False)
    scores = rng.integers(0, levels, size=N) / 10  # few levels: many ties
    assert roc_area(truth, scores) == pytest.approx(sklearn.roc_auc_score(truth, scores))
    assert average_precision(truth, scores) == pytest.approx(
        sklearn.average_precision_score(truth, scores)
    )


def test_draws_are_scored_as_by_sklearn() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 3 == 0
    one, two = rng.integers(0, 9, size=(2, 40))
    measure = measure_ranking(truth, one, two)
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    for row, found in zip(weights, measure.of(weights), strict=True):
        for system, scores in enumerate((one, two)):
            expected = [
                sklearn.roc_auc_score(truth, scores, sample_weight=row),
                sklearn.average_precision_score(truth, scores, sample_weight=row),
            ]
            assert found[system].tolist() == pytest.approx(expected)


def test_scores_that_say_nothing_have_half_the_area() -> None:
    assert roc_area([1, 0, 0, 0], [0.3] * 4) == 0.5
    assert average_precision([1, 0, 0, 0], [0.3] * 4) == 0.25
    assert roc_area([1, 0], [-math.inf, math.inf]) == 0


def test_without_both_kinds_there_is_no_area() -> None:
    assert math.isnan(roc_area([1, 1], [0.1, 0.2]))
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert average_precision([1, 1], [0.1, 0.2]) == 1
    low, high = measure_ranking([1, 0, 0], [0.3, 0.2, 0.1]).intervals()["roc_area"]
    assert (low, high) == (1.0, 1.0)  # draws without a positive are left out


def test_bad_input_is_refused() -> None:
    for truth, scores in (([], []), ([1], [1, 2]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="expected"):
            roc_area(truth, scores)
    with pytest.raises(ValueError, match="not a number"):
        roc_area([1, 0], [0.5, math.nan])
