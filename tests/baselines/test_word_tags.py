"""The tags of words: hand-worked smoothing, other cases, distributions."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.baselines.word_tags import (
    CASE_WEIGHT,
    ENDING_WEIGHT,
    WORD_WEIGHT,
    WordTags,
    capitalised,
)


def smooth(counts: list[float], lower: np.ndarray, weight: float) -> np.ndarray:
    return (np.array(counts) + weight * lower) / (sum(counts) + weight)


def test_a_word_by_hand() -> None:
    model = WordTags({"ab": {0: 2}, "cb": {0: 1, 1: 1}, "Ab": {1: 3}}, 2, suffix_length=1)
    prior = np.array([3.5, 4.5]) / 8
    np.testing.assert_allclose(model.prior, prior)
    small = smooth([3, 1], prior, 2 * ENDING_WEIGHT)  # no ending: ab and cb
    b = smooth([3, 1], small, 2 * ENDING_WEIGHT)
    np.testing.assert_allclose(model("xb"), b, rtol=1e-12)
    np.testing.assert_allclose(model("x"), small, rtol=1e-12)
    known = smooth([2, 0], smooth([0, 3], b, CASE_WEIGHT), WORD_WEIGHT)
    np.testing.assert_allclose(model("ab"), known, rtol=1e-12)
    capital = smooth([0, 3], prior, ENDING_WEIGHT)
    np.testing.assert_allclose(model("XB"), capital, rtol=1e-12)  # no such ending in capitals
    capital_b = smooth([0, 3], capital, ENDING_WEIGHT)
    other = smooth([1, 1], capital_b, CASE_WEIGHT)
    np.testing.assert_allclose(model("Cb"), other, rtol=1e-12)


def test_frequent_words_teach_no_endings() -> None:
    model = WordTags({"thing": {0: 11}, "song": {1: 2}}, 2, rare=10)
    assert model("king")[1] > model.prior[1]
    assert WordTags({"thing": {0: 11}, "song": {1: 2}}, 2, rare=11)("king")[1] < 0.5


@pytest.mark.parametrize("word", ["", "x", "X", "İ", "ß", "\ud800", "\n", "1" * 10_000])
def test_every_word_has_a_distribution_without_zeros(word: str) -> None:
    model = WordTags({"": {0: 1}, "ab": {1: 5}, "İx": {2: 1}}, 4)
    for given in (word, word + "ab"):
        assert abs(model(given).sum() - 1) < 1e-12
        assert (model(given) > 0).all()


def test_capitals() -> None:
    assert [capitalised(word) for word in ("A", "a", "", "1A", "Éa", "ǅ")] == [
        True, False, False, False, True, False,
    ]  # fmt: skip
