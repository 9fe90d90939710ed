"""The bag of words: n-grams, scikit-learn as its oracle, saving, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigError, RunError
from unrolled.models.bag_of_words import EDGE, BagOfWords, Bags, ngrams


def examples(count: int = 60, features: int = 12) -> tuple[Bags, np.ndarray]:
    """Bags and the same as a matrix."""
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary([f"w{i}" for i in range(features)])
    texts = [
        [f"w{i}" for i in rng.integers(0, features + 3, rng.integers(0, 9))] for _ in range(count)
    ]
    bags = Bags.of(texts, vocabulary)
    matrix = np.zeros((count, features))
    for row, text in enumerate(texts):
        for word in text:
            if word in vocabulary:
                matrix[row, int(word[1:])] += 1
    return bags, matrix


def test_ngrams() -> None:
    assert list(ngrams(["a", "b", "c"], 2)) == ["a", "b", "c", "a b", "b c"]
    assert list(ngrams("ab", 2, letters=True)) == ["a", "b", EDGE + "a", "ab", "b" + EDGE]
    assert list(ngrams(["a"], 4)) == ["a"]
    assert list(ngrams([], 3)) == []


def test_presence_counts_once() -> None:
    vocabulary = Vocabulary(["a"])
    assert Bags.of([["a", "a"]], vocabulary).values.tolist() == [2.0]
    assert Bags.of([["a", "a"]], vocabulary, presence=True).values.tolist() == [1.0]


@pytest.mark.parametrize("strength", [0.1, 10.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_one_label_equals_scikit_learn(strength: float, classes: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    bags, matrix = examples()
    labels = np.random.default_rng(1).integers(0, classes, len(bags))
    model = BagOfWords(matrix.shape[1], classes, kind="label").fit(bags, labels, strength=strength)
    # Two classes have one weight vector there, two here: w and -w of half the penalty each.
    scale = 2.0 if classes == 2 else 1.0
    oracle = linear_model.LogisticRegression(C=strength * scale, tol=1e-8, max_iter=10_000)
    oracle.fit(matrix, labels)
    found = np.exp(model.scores(bags))
    found /= found.sum(1, keepdims=True)
    expected = oracle.predict_proba(matrix)
    assert np.abs(found - expected).max() < 2e-4


def test_several_labels_are_one_regression_each() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    bags, matrix = examples()
    truth = np.random.default_rng(1).random((len(bags), 3)) < 0.4
    model = BagOfWords(matrix.shape[1], 3, kind="labels").fit(bags, truth, strength=1.0)
    for label in range(3):
        oracle = linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000)
        oracle.fit(matrix, truth[:, label])
        expected = oracle.decision_function(matrix)
        assert np.abs(model.scores(bags)[:, label] - expected).max() < 2e-3


def test_a_number_is_ridge_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    bags, matrix = examples()
    numbers = matrix @ np.random.default_rng(1).standard_normal(matrix.shape[1])
    model = BagOfWords(matrix.shape[1], 1, kind="number").fit(bags, numbers, strength=2.0)
    oracle = linear_model.Ridge(alpha=0.5).fit(matrix, numbers)
    assert np.abs(model.scores(bags)[:, 0] - oracle.predict(matrix)).max() < 1e-2


def test_saved_and_loaded_scores_the_same() -> None:
    bags, matrix = examples()
    labels = np.arange(len(bags)) % 3
    model = BagOfWords(matrix.shape[1], 3, kind="label").fit(bags, labels, strength=1.0)
    again = BagOfWords.from_arrays(model.arrays(), kind="label")
    assert np.array_equal(again.scores(bags), model.scores(bags))
    with pytest.raises(RunError, match="no weights"):
        BagOfWords.from_arrays({"weight": np.zeros((2, 2))}, kind="label")
    with pytest.raises(RunError, match="damaged"):
        BagOfWords.from_arrays({"weight": np.zeros((2, 2)), "bias": np.zeros(3)}, kind="label")


def test_a_text_of_unknown_words_has_the_bias_alone() -> None:
    bags, matrix = examples()
    model = BagOfWords(matrix.shape[1], 3, kind="label").fit(
        bags, np.arange(len(bags)) % 3, strength=1.0
    )
    empty = Bags.of([["never"], []], Vocabulary(["w0"]))
    assert np.allclose(model.scores(empty), model.bias.numpy())


def test_too_many_weights_are_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match=r"--data.min-count"):
        BagOfWords(100_000, 50_000, kind="label")
