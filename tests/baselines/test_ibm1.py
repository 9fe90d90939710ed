"""IBM model 1 against expectation-maximisation written out with loops."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.baselines import IBM1
from unrolled.baselines.ibm1 import UNKNOWN, Pairs
from unrolled.errors import ConfigError, DataError, RunError

PAIRS = [
    (f.split(), e.split())
    for f, e in [
        ("das haus", "the house"),
        ("das buch", "the book"),
        ("ein buch", "a book"),
        ("das buch ist alt", "the book is old"),
        ("", "well"),
        ("ja", ""),
    ]
]
SENTENCES = st.lists(st.sampled_from("abcd"), max_size=4)
NO_TARGETS = st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=6)


def by_loops(pairs: Pairs, rounds: int) -> dict[tuple[str | None, str], float]:
    """t by the equations, one word at a time."""
    t: dict[tuple[str | None, str], float] = defaultdict(lambda: 1.0)
    for _ in range(rounds):
        counts: dict[tuple[str | None, str], float] = defaultdict(float)
        totals: dict[str | None, float] = defaultdict(float)
        for source, target in pairs:
            words = [None, *source]
            for e in target:
                whole = sum(t[f, e] for f in words)
                for f in words:
                    counts[f, e] += t[f, e] / whole
                    totals[f] += t[f, e] / whole
        t = defaultdict(float, {(f, e): count / totals[f] for (f, e), count in counts.items()})
    return t


@given(NO_TARGETS.filter(lambda pairs: any(target for _, target in pairs)), st.integers(1, 4))
@settings(max_examples=60)
def test_loops_find_the_same(pairs: Pairs, rounds: int) -> None:
    right = by_loops(pairs, rounds)
    model = IBM1(iterations=rounds).fit(pairs)
    words = sorted({w for _, target in pairs for w in target})
    for f, e in itertools.product([None, *"abcd"], words):
        assert model.probability([f], [e])[0] == pytest.approx(right[f, e], abs=2e-3)


def test_the_likelihood_is_a_sum_over_all_alignments() -> None:
    model = IBM1(iterations=3).fit(PAIRS)
    source, target = ["das", "buch"], ["the", "book", "is"]
    places = [None, *source]
    spread = UNKNOWN / (len(model.target_words) + 1)
    total = 0.0
    for way in itertools.product(places, repeat=len(target)):
        terms = [(1 - UNKNOWN) * t + spread for t in model.probability(way, target)]
        total += math.prod(terms) / len(places) ** len(target)
    assert model.log_probability(source, target) == pytest.approx(math.log(total))
    assert model.log_probability(["nie"], ["gesehen"]) > -math.inf
    assert model.log_probability([], []) == 0.0


def test_each_round_makes_the_training_pairs_likelier() -> None:
    likelihoods = []
    for rounds in range(1, 9):
        model = IBM1(iterations=rounds).fit(PAIRS)
        likelihoods.append(sum(model.log_probability(f, e) for f, e in PAIRS))
    assert (np.diff(likelihoods) > -1e-9).all()
    assert likelihoods[-1] > likelihoods[0] + 1


def test_probabilities_sum_to_one_and_words_are_found() -> None:
    model = IBM1(iterations=30).fit(PAIRS)
    for word in (None, "das", "haus", "buch"):
        row = model.probability([word] * len(model.target_words), model.target_words)
        assert row.sum() == pytest.approx(1)
    assert model.translate(["ein", "haus", "und", "ja"]) == ["a", "house", "und", "ja"]
    assert model.translate([]) == []


def test_alignments() -> None:
    model = IBM1(iterations=30).fit(PAIRS)
    assert model.align(["das", "haus"], ["the", "house", "zzz"]).tolist() == [0, 1, -1]
    assert model.align([], ["the"]).tolist() == [-1]
    assert model.align(["das"], []).tolist() == []
    # Of equal words the one nearest to the diagonal.
    twice = ["das", "haus", "das", "buch"], ["the", "house", "the", "book"]
    assert model.align(*twice).tolist() == [0, 1, 2, 3]
    one_by_one = [model.align(f, e).tolist() for f, e in PAIRS]
    assert [found.tolist() for found in model.align_all(PAIRS)] == one_by_one
    assert model.align_all([]) == []


def test_saving() -> None:
    model = IBM1(iterations=4).fit(PAIRS)
    again = IBM1.from_arrays(model.arrays())
    assert again.iterations == 4
    assert again.table_entries == model.table_entries
    assert again.source_words == model.source_words
    for source, target in PAIRS:
        assert again.translate(source) == model.translate(source)
        assert again.log_probability(source, target) == model.log_probability(source, target)
    arrays = model.arrays()
    arrays["probabilities"][0] += 1e-9
    with pytest.raises(RunError, match="saved dictionary is damaged"):
        IBM1.from_arrays(arrays)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"--model\.iterations is at least 1, not 0"):
        IBM1(iterations=0)
    for pairs in ([], [(["a"], [])]):
        with pytest.raises(DataError, match="no words to translate into"):
            IBM1().fit(pairs)  # type: ignore[arg-type]
    for call in (lambda m: m.translate(["a"]), lambda m: m.align(["a"], ["b"]), IBM1.arrays):
        with pytest.raises(RunError, match="fit first"):
            call(IBM1())
