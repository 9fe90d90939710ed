"""Scores of replies: values by hand and by other means, intervals that hold them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unrolled.metrics.bleu import bleu
from unrolled.tasks.dialogue_scores import likelihood, likeness

TRUE = ["it is open until nine", "yes it is open today", "no", "thank you very much sir"]
SAID = ["it is open until ten", "yes it is open today", "yes", "thank you very much"]
OWNERS = [0, 0, 7, 9]


def test_likelihood_is_by_symbols_and_not_by_dialogues() -> None:
    nats = [np.array([1.0, 2.0]), np.array([3.0]), np.empty(0)]
    metrics, intervals = likelihood(nats)
    assert metrics == pytest.approx({"nats": 2.0, "perplexity": math.exp(2.0)})
    low, high = intervals["nats"]
    assert low < 2.0 < high <= 3.0
    assert intervals["perplexity"] == pytest.approx((math.exp(low), math.exp(high)))
    assert likelihood([np.array([800.0])])[0]["perplexity"] == math.inf


def test_likeness_by_hand() -> None:
    metrics, intervals = likeness(OWNERS, TRUE, SAID)
    assert metrics["bleu"] == pytest.approx(bleu(SAID, [TRUE]).score)
    assert metrics["exact"] == 1 / 4
    words = [text.split() for text in SAID]
    pairs = [tuple(text[k : k + 2]) for text in words for k in range(len(text) - 1)]
    singles = [word for text in words for word in text]
    assert metrics["distinct_1"] == len(set(singles)) / len(singles)
    assert metrics["distinct_2"] == len(set(pairs)) / len(pairs)
    for name, (low, high) in intervals.items():
        assert low <= metrics[name] <= high


def test_the_same_reply_again_and_again() -> None:
    owners = [k // 5 for k in range(200)]
    truth = [f"word{k} and {k}" for k in range(200)]
    same = likeness(owners, truth, ["I do not know"] * 200)
    assert same[0]["distinct_1"] == 4 / 800
    varied = likeness(owners, truth, truth)
    assert varied[0]["exact"] == 1
    assert varied[0]["distinct_2"] == 1.0
    low, high = varied[1]["distinct_2"]
    assert 0.5 < low <= 1.0 == high


def test_silence() -> None:
    metrics, intervals = likeness([0, 1], ["hello", "yes"], ["", ""])
    assert metrics == {"bleu": 0.0, "exact": 0.0, "distinct_1": 0.0, "distinct_2": 0.0}
    assert all(np.isfinite(ends).all() for ends in intervals.values())
