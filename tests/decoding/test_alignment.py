"""Moves over a grid against every way written out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from unrolled.decoding.alignment import best_moves, posteriors

MOVES = ((1, 1), (1, 0), (2, 1), (1, 2), (2, 2))
Floats = NDArray[np.float64]


def ways(S: int, T: int, i: int = 0, j: int = 0) -> Iterator[list[tuple[int, int, int]]]:
    """All ways from (i, j) to (S, T), as (move, i, j)."""
    if (i, j) == (S, T):
        yield []
    for move, (a, b) in enumerate(MOVES):
        if i + a <= S and j + b <= T:
            yield from ([(move, i, j), *rest] for rest in ways(S, T, i + a, j + b))


def weights_of(N: int, S: int, T: int, seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [np.log(rng.random((N, max(S - a + 1, 0), max(T - b + 1, 0)))) for a, b in MOVES]


@pytest.mark.parametrize(
    ("S", "T"), [(1, 0), (1, 1), (1, 2), (2, 1), (3, 5), (4, 3), (5, 0), (2, 4)]
)
def test_all_ways_and_the_best(S: int, T: int) -> None:
    weights = weights_of(3, S, T)
    found, total = posteriors(weights, MOVES)
    taken, best = best_moves(weights, MOVES)
    for n in range(3):
        values = {tuple(way): sum(weights[m][n, i, j] for m, i, j in way) for way in ways(S, T)}
        whole = sum(np.exp(value) for value in values.values())
        assert np.exp(total[n]) == pytest.approx(whole)
        expected = [np.zeros(weight.shape[1:]) for weight in weights]
        for way, value in values.items():
            for move, i, j in way:
                expected[move][i, j] += np.exp(value) / whole
        for mine, right in zip(found, expected, strict=True):
            assert mine[n] == pytest.approx(right)
        top = max(values, key=lambda way: values[way])
        assert best[n] == pytest.approx(values[top])
        assert [move for move in taken[n].tolist() if move >= 0] == [move for move, _, _ in top]
        assert (np.diff(taken[n] < 0) >= 0).all()  # padding last


def test_a_pair_without_any_way() -> None:
    weights = weights_of(2, 1, 3)
    found, total = posteriors(weights, MOVES)
    taken, best = best_moves(weights, MOVES)
    assert (total == -np.inf).all()
    assert (best == -np.inf).all()
    assert (taken == -1).all()
    assert not any(part.any() for part in found)


def test_long_pairs_do_not_underflow() -> None:
    weights = [np.log(np.full((1, 400 - a + 1, 400 - b + 1), 1e-4)) for a, b in MOVES]
    found, total = posteriors(weights, MOVES)
    assert np.isfinite(total).all()
    symbols = sum(part.sum() * a for part, (a, _) in zip(found, MOVES, strict=True))
    assert symbols == pytest.approx(400)  # every source symbol is taken once


def test_no_move_fits() -> None:
    with pytest.raises(ValueError, match="no move fits"):
        posteriors([np.zeros((1, 0, 1))], [(1, 0)])
