"""Trigrams of tags: counts at the ends, deleted interpolation by its definition, distributions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unrolled.baselines import tag_trigrams
from unrolled.baselines.tag_trigrams import TagTrigrams


def random_sentences(seed: int, size: int, number: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, size, rng.integers(0, 8)) for _ in range(number)]


def counted(sentences: list[np.ndarray], size: int) -> Counter[tuple[int, int, int]]:
    found: Counter[tuple[int, int, int]] = Counter()
    for sentence in sentences:
        if len(sentence):
            text = [size, size, *sentence.tolist(), size]
            found.update(zip(text, text[1:], text[2:], strict=False))
    return found


@pytest.mark.parametrize("size", [1, 2, 5])
def test_counts_and_weights_by_their_definition(size: int) -> None:
    for seed in range(5):
        sentences = random_sentences(seed, size)
        known = counted(sentences, size)
        grams, counts = TagTrigrams.count(sentences, size)
        found = zip(map(tuple, grams.tolist()), counts.tolist(), strict=True)
        assert dict(found) == dict(known)
        pairs, singles, contexts, after = Counter(), Counter(), Counter(), Counter()
        for (u, v, w), count in known.items():
            pairs[v, w] += count
            singles[w] += count
            contexts[u, v] += count
            after[v] += count
        votes = [1, 1, 1]
        for (u, v, w), count in known.items():
            ratios = [
                (a - 1) / (b - 1) if b > 1 else 0
                for a, b in (
                    (singles[w], sum(singles.values())),
                    (pairs[v, w], after[v]),
                    (count, contexts[u, v]),
                )
            ]
            votes[max(range(3), key=lambda k: (ratios[k], k))] += count
        weights = TagTrigrams(grams, counts, size=size).weights
        np.testing.assert_allclose(weights, np.array(votes) / sum(votes), rtol=1e-12)


def test_a_probability_by_hand() -> None:
    model = TagTrigrams(*TagTrigrams.count([np.array([0, 1]), np.array([0, 0])], 2), size=2)
    one, two, three = model.weights
    # Of seven trigrams... "0 after 0 0": 0 is 3 of 6 outcomes; after 0 come 1, 0 and the end.
    single = (3 + 0.5) / (6 + 1.5)
    expected = one * single + two * (1 / 3) + three * 0.0
    found = np.exp(model(np.array([0]), np.array([0]), np.array([0])))[0, 0, 0]
    assert abs(found - expected) < 1e-12


@pytest.mark.parametrize("dense", [True, False])
def test_distributions_sum_to_one_in_every_context(
    dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dense:
        monkeypatch.setattr(tag_trigrams, "DENSE", 0)
    model = TagTrigrams(*TagTrigrams.count(random_sentences(7, 3, 6), 5), size=5)
    states = np.arange(6)
    chances = np.exp(model(states, states, states))
    np.testing.assert_allclose(chances.sum(2), 1.0, rtol=1e-12)
    assert (chances > 0).all()


def test_table_and_search_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = TagTrigrams.count(random_sentences(8, 6), 6)
    u, v, w = np.array([0, 6]), np.array([5, 2, 6]), np.array([1, 0, 4, 6])
    dense = TagTrigrams(*counts, size=6)(u, v, w)
    monkeypatch.setattr(tag_trigrams, "DENSE", 0)
    assert np.array_equal(TagTrigrams(*counts, size=6)(u, v, w), dense)


def test_nothing_counted() -> None:
    grams, counts = TagTrigrams.count([np.zeros(0, np.int64)], 3)
    assert grams.shape == (0, 3)
    assert counts.shape == (0,)
