"""A chain for each class: Bayes' rule by hand, order 0 as naive Bayes, saving, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unrolled.baselines.class_chains import ClassChains
from unrolled.errors import ConfigError, DataError, RunError

SEQUENCES = [np.array(s) for s in ([0, 1, 0, 1], [0, 1], [1, 1, 1], [1], [1, 1, 0])]
LABELS = np.array([0, 0, 1, 1, 1])


def test_bayes_rule_by_hand() -> None:
    chains = ClassChains(1, estimate="additive", smoothing=1.0)
    chains.fit(SEQUENCES, LABELS, 2, vocabulary_size=2)
    # Class 0, boundary b: b0 0 -> 1 three times; after b: 0 twice; after 1: 0 once, b twice.
    first = np.log(2 / 5) + np.log(3 / 5) + np.log(4 / 6) + np.log(3 / 6)  # the sequence 0 1
    # Class 1: after b: 1 three times; after 0: b once; after 1: 1 three times, 0 once, b twice.
    second = np.log(3 / 5) + np.log(1 / 6) + np.log(1 / 4) + np.log(3 / 9)
    expected = np.array([first, second])
    expected -= np.log(np.exp(expected).sum())
    found = chains.log_probabilities([np.array([0, 1])])[0]
    assert found == pytest.approx(expected)


def test_order_0_is_multinomial_naive_bayes_with_an_end() -> None:
    chains = ClassChains(0, estimate="additive", smoothing=0.5)
    chains.fit(SEQUENCES, LABELS, 2, vocabulary_size=2)
    counts = np.array([[3, 3, 2], [1, 6, 3]]) + 0.5  # of 0, 1 and the end
    shares = counts / counts.sum(1, keepdims=True)
    joint = (
        np.log([0.4, 0.6]) + np.log(shares[:, 0]) + 2 * np.log(shares[:, 1]) + np.log(shares[:, 2])
    )
    found = chains.log_probabilities([np.array([0, 1, 1])])[0]
    assert found == pytest.approx(joint - np.log(np.exp(joint).sum()))


@pytest.mark.parametrize("options", [{}, {"estimate": "additive", "smoothing": 0.1}])
@pytest.mark.parametrize("order", [0, 2])
def test_sequences_do_not_know_each_other(options: dict[str, Any], order: int) -> None:
    chains = ClassChains(order, **options).fit(SEQUENCES, LABELS, 2, vocabulary_size=2)
    together = chains.log_probabilities(SEQUENCES)
    alone = np.concatenate([chains.log_probabilities([s]) for s in SEQUENCES])
    assert together == pytest.approx(alone)
    assert np.exp(together).sum(1) == pytest.approx(np.ones(5))
    again = ClassChains.from_arrays(chains.arrays())
    assert np.array_equal(again.log_probabilities(SEQUENCES), together)
    assert (again.order, again.estimate) == (order, chains.estimate)


def test_it_learns_which_class_alternates() -> None:
    rng = np.random.default_rng(0)
    alternating = [np.arange(n) % 2 for n in rng.integers(4, 12, 30)]
    random = [rng.integers(0, 2, n) for n in rng.integers(4, 12, 30)]
    labels = np.repeat([0, 1], 30)
    chains = ClassChains(2).fit([*alternating, *random], labels, 2, vocabulary_size=2)
    found = chains.log_probabilities([*alternating, *random]).argmax(1)
    assert (found == labels).mean() > 0.9


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="1,001 classes"):
        ClassChains(1).fit(SEQUENCES, LABELS, 1001, vocabulary_size=2)
    with pytest.raises(DataError, match="class 2"):
        ClassChains(1).fit(SEQUENCES, LABELS, 3, vocabulary_size=2)
    with pytest.raises(RunError, match="fit first"):
        ClassChains(1).log_probabilities(SEQUENCES)
    arrays = ClassChains(1).fit(SEQUENCES, LABELS, 2, vocabulary_size=2).arrays()
    with pytest.raises(RunError, match="damaged"):
        ClassChains.from_arrays({"priors": arrays["priors"]})
