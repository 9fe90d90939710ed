"""Scores of labels against scikit-learn, tables, calibration."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from unrolled.metrics.classification import (
    Confusion,
    Score,
    accuracy,
    calibration_error,
    label_set_scores,
    macro,
    measure_label_sets,
    measure_labels,
    micro,
)

PAIRS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1)


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_labels_are_scored_as_by_sklearn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = (list(column) for column in zip(*pairs, strict=True))
    table = Confusion.of(truth, predicted)
    expected: Any = sklearn.classification_report(
        truth, predicted, output_dict=True, zero_division=0
    )
    found = table.scores()
    for label, score in found.items():
        row = expected[label]
        assert (score.precision, score.recall, score.f1, score.actual) == pytest.approx(
            (row["precision"], row["recall"], row["f1-score"], row["support"])
        )
    means = expected["macro avg"]
    assert macro(found.values()) == pytest.approx(
        {"precision": means["precision"], "recall": means["recall"], "f1": means["f1-score"]}
    )
    right = sklearn.accuracy_score(truth, predicted)
    assert accuracy(truth, predicted) == pytest.approx(right)
    assert micro(found.values()).f1 == pytest.approx(right)  # one label each: all the same
    assert measure_labels(truth, predicted).metrics() == pytest.approx(
        {"accuracy": right, "macro_f1": means["f1-score"]}
    )
    cells = np.zeros((len(table.labels),) * 2)
    cells[tuple(table.cells.T)] = table.counts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one label
        assert np.array_equal(cells, sklearn.confusion_matrix(truth, predicted))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 5))
def test_sets_of_labels_are_scored_as_by_sklearn(seed: int, N: int, K: int) -> None:
    truth, predicted = np.random.default_rng(seed).random((2, N, K)) < 0.3
    both = (truth.astype(int), predicted.astype(int))
    if K == 1:  # scikit-learn takes one column for two labels
        both = tuple(np.concatenate([each, np.zeros((N, 1), int)], axis=1) for each in both)
    expected = {
        "micro_f1": sklearn.f1_score(*both, average="micro", zero_division=0),
        "macro_f1": sklearn.f1_score(*both, average=None, zero_division=0)[:K].mean(),
        "exact_match": sklearn.accuracy_score(*both),
    }
    assert measure_label_sets(truth, predicted).metrics() == pytest.approx(expected)
    scores = label_set_scores(truth, predicted)
    assert micro(scores).f1 == pytest.approx(expected["micro_f1"])
    assert macro(scores)["f1"] == pytest.approx(expected["macro_f1"])


def test_draws_are_scored_as_by_sklearn() -> None:
    """Macro F1 of a weighted sample is that of the sample written out."""
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, size=(2, 30))
    measure = measure_labels(truth, predicted, truth)  # type: ignore[arg-type]
    weights = rng.multinomial(30, measure.counts / 30, size=20).astype(float)
    kinds = np.unique(np.stack([truth, predicted], axis=1), axis=0)
    for row, found in zip(weights, measure.of(weights), strict=True):
        drawn = np.repeat(kinds, row.astype(int), axis=0).T
        assert found[0, 0] == pytest.approx(sklearn.accuracy_score(*drawn))
        assert found[0, 1] == pytest.approx(sklearn.f1_score(*drawn, average="macro"))
        assert found[1].tolist() == pytest.approx([1, 1])


def test_a_label_that_a_draw_lacks_is_left_out_and_one_that_all_lack_counts_nothing() -> None:
    measure = measure_label_sets([[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 0]])
    assert measure.of(np.array([[1.0, 1.0], [2.0, 0.0]]))[:, 0, 1].tolist() == [2 / 3, 1 / 2]


def test_intervals_are_of_the_examples() -> None:
    measure = measure_labels(["a", "b"] * 200, ["a"] * 400)
    low, high = measure.intervals()["accuracy"]
    assert 0.4 < low < 0.5 < high < 0.6
    assert measure.intervals() == measure.intervals(seed=0) != measure.intervals(seed=1)
    assert measure.examples == 400
    sets = measure_label_sets(np.eye(2)[[0, 1] * 200], np.eye(2)[[0, 0] * 200])
    assert set(sets.intervals()) == set(sets.metrics())


def test_fifty_thousand_labels_are_no_matter() -> None:
    truth = [f"label {i}" for i in range(50_000)]
    predicted = [*truth[1:], truth[0]]
    predicted[7] = truth[7]
    measure = measure_labels(truth, predicted)
    assert measure.metrics()["accuracy"] == 1 / 50_000
    assert set(measure.intervals(samples=5)) == {"accuracy", "macro_f1"}
    table = str(Confusion.of(truth, predicted))
    assert table.count("\n") == 11
    assert "others" in table


def test_a_table_is_small_and_can_be_printed() -> None:
    labels = ["a\nb", "x" * 50, *(str(i) for i in range(20))]
    table = str(Confusion.of([*labels, "x" * 50, "a\nb"], [*labels, "1", "2"]))
    lines = table.splitlines()
    assert len(lines) == 12
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 120
    assert r"a\nb" in table
    assert "xxxxxxxxxxx…" in table
    assert sum(int(n) for line in lines[1:] for n in line.split()[1:]) == 24


def test_labels_may_be_numbers_and_are_sorted_as_such() -> None:
    table = Confusion.of(np.array([10, 9]), np.array([9, 9]))  # type: ignore[arg-type]
    assert table.labels == (9, 10)
    assert Confusion.of(["b", 1, "a"], ["b", 2, "a"]).labels == (1, 2, "a", "b")


def test_nothing_divided_by_nothing_is_zero() -> None:
    nothing = Score(0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    assert macro([]) == {"precision": 0, "recall": 0, "f1": 0}
    assert measure_label_sets([[0]], [[0]]).metrics()["micro_f1"] == 0


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_calibration_error_is_what_the_curve_of_sklearn_says(bins: int) -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    probabilities = rng.integers(0, 31, size=1000) / 30  # many lie on an edge of a bin
    events = rng.random(1000) < probabilities**2
    share, confidence = calibration_curve(events, probabilities, n_bins=bins)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    counts = np.bincount(np.searchsorted(edges, probabilities), minlength=bins)
    expected = (np.abs(share - confidence) * counts[counts > 0]).sum() / 1000
    assert calibration_error(probabilities, events, bins=bins) == pytest.approx(expected)


def test_calibrated_probabilities_have_a_small_error_and_overconfident_ones_a_large() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert calibration_error(probabilities, truth) < 0.02
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert calibration_error(sharp, truth) > 0.15
    assert calibration_error(np.eye(4)[truth], truth) == 0


def test_bad_input_is_refused() -> None:
    for truth, predicted in ((["a"], []), ([], [])):
        with pytest.raises(ValueError, match="equally many, at least one"):
            measure_labels(truth, predicted)
    with pytest.raises(ValueError, match="N, K"):
        measure_label_sets([[1, 0]], [[1]])
    for probabilities, truth in (([], []), ([0.5], [1, 0]), ([[[0.5]]], [1])):
        with pytest.raises(ValueError, match="expected"):
            calibration_error(probabilities, truth)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="within"):
            calibration_error([wrong], [1])
