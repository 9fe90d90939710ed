"""Second-order chains against enumeration; the beam; long sentences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from unrolled.decoding.trellis import Candidates, Follow, best_tags, posteriors

SIZE = 4  # tags 0 to 3; 4 is the boundary


def random_follow(rng: np.random.Generator) -> Follow:
    table = np.log(rng.dirichlet(np.ones(SIZE + 1), (SIZE + 1, SIZE + 1)))
    return lambda u, v, w: table[u[:, None, None], v[:, None], w]


def random_positions(rng: np.random.Generator, length: int) -> list[Candidates]:
    found = []
    for _ in range(length):
        tags = np.sort(rng.choice(SIZE, rng.integers(1, SIZE + 1), replace=False))
        found.append(Candidates(tags, rng.normal(0, 3, len(tags))))
    return found


def enumerated(positions: list[Candidates], follow: Follow) -> dict[tuple[int, ...], float]:
    found = {}
    for places in itertools.product(*(range(len(p.tags)) for p in positions)):
        path = [int(p.tags[place]) for p, place in zip(positions, places, strict=True)]
        score = sum(float(p.scores[place]) for p, place in zip(positions, places, strict=True))
        text = [SIZE, SIZE, *path, SIZE]
        for u, v, w in zip(text, text[1:], text[2:], strict=False):
            score += float(follow(np.array([u]), np.array([v]), np.array([w]))[0, 0, 0])
        found[tuple(path)] = score
    return found


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_equals_enumeration(length: int) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        follow, positions = random_follow(rng), random_positions(rng, length)
        known = enumerated(positions, follow)
        path = best_tags(positions, follow, boundary=SIZE)
        assert tuple(path.tolist()) == max(known, key=known.__getitem__)
        weights = np.exp(np.array(list(known.values())))
        for t, (tags, chance) in enumerate(posteriors(positions, follow, boundary=SIZE)):
            assert tags.tolist() == positions[t].tags.tolist()
            where = np.array([p[t] for p in known])
            expected = [weights[where == tag].sum() / weights.sum() for tag in tags]
            np.testing.assert_allclose(chance, expected, rtol=1e-10)


def test_a_wide_beam_changes_nothing_and_a_narrow_one_keeps_the_best_of_each_position() -> None:
    rng = np.random.default_rng(3)
    follow, positions = random_follow(rng), random_positions(rng, 30)
    exact = best_tags(positions, follow, boundary=SIZE)
    assert np.array_equal(best_tags(positions, follow, boundary=SIZE, beam=40.0), exact)
    narrow = best_tags(positions, follow, boundary=SIZE, beam=1e-9)
    assert all(tag in p.tags for tag, p in zip(narrow, positions, strict=True))
    kept = posteriors(positions, follow, boundary=SIZE, beam=1e-9)
    assert all(len(tags) == 1 and chance.tolist() == [1.0] for tags, chance in kept)


def test_no_tokens() -> None:
    follow = random_follow(np.random.default_rng(0))
    assert best_tags([], follow, boundary=SIZE).tolist() == []
    assert posteriors([], follow, boundary=SIZE) == []


def test_probabilities_of_a_long_sentence_neither_vanish_nor_overflow() -> None:
    rng = np.random.default_rng(1)
    follow, positions = random_follow(rng), random_positions(rng, 5000)
    shifted = [Candidates(p.tags, p.scores - 900) for p in positions]
    found = posteriors(positions, follow, boundary=SIZE)
    for (_, chance), (_, same) in zip(
        found, posteriors(shifted, follow, boundary=SIZE), strict=True
    ):
        assert abs(chance.sum() - 1) < 1e-12
        np.testing.assert_allclose(chance, same, rtol=1e-9)
    assert len(best_tags(positions, follow, boundary=SIZE)) == 5000
