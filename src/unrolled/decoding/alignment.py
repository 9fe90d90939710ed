r"""Alignment of two sequences by moves over a grid: all of them (forward and backward), and the best.

A move (a, b) takes a symbols of the source and b of the target together. With w_m(i, j) the log weight of
move m from cell (i, j), all ways from (0, 0) to (S, T),

.. math:: \alpha(i, j) = \ln \sum_m \exp\big(\alpha(i - a_m, j - b_m) + w_m(i - a_m, j - b_m)\big)

(Bisani & Ney 2008, "Joint-sequence models for grapheme-to-phoneme conversion", section 3.2), backwards
alike; the best way has a maximum in place of the sum. Every move takes at least one source symbol, so that
a row depends on rows before it only and is computed at once, for all pairs of equal lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Moves = Sequence[tuple[int, int]]


def posteriors(weights: Sequence[Floats], moves: Moves) -> tuple[list[Floats], Floats]:
    """The probability of each move at each cell, given the pair.

    Args:
        weights: for each move (a, b) the log weights from all cells where it fits, float64
            [N, S - a + 1, T - b + 1] (no cells where it never fits).
        moves: with a at least 1.

    Returns:
        The probabilities, in the shapes of the weights, and the log of the sum over all ways, [N]. A pair
        without any way has the sum -inf and zeros.

    >>> one, both = np.log([[[0.5, 0.25]]]), np.log([[[0.5]]])  # a source of 1, a target of 1
    >>> found, total = posteriors([one, both], [(1, 0), (1, 1)])
    >>> found[1].tolist(), np.exp(total).tolist()
    ([[[1.0]]], [0.5])
    """
    N, S, T = _sizes(weights, moves)
    forward, backward = np.full((N, S + 1, T + 1), -np.inf), np.full((N, S + 1, T + 1), -np.inf)
    forward[:, 0, 0] = backward[:, S, T] = 0.0
    for i in range(1, S + 1):
        for (a, b), weight in zip(moves, weights, strict=True):
            if a <= i and b <= T:
                row = forward[:, i, b:]
                np.logaddexp(row, forward[:, i - a, : T - b + 1] + weight[:, i - a], out=row)
    for i in range(S - 1, -1, -1):
        for (a, b), weight in zip(moves, weights, strict=True):
            if i + a <= S and b <= T:
                row = backward[:, i, : T - b + 1]
                np.logaddexp(row, backward[:, i + a, b:] + weight[:, i], out=row)
    total: Floats = forward[:, S, T]
    safe = np.where(np.isfinite(total), total, 0.0)[:, None, None]
    found = []
    for (a, b), weight in zip(moves, weights, strict=True):
        if a > S or b > T:
            found.append(np.zeros(weight.shape))
            continue
        log_probs = forward[:, : S - a + 1, : T - b + 1] + weight + backward[:, a:, b:]
        found.append(np.exp(log_probs - safe))
    return found, total


def best_moves(weights: Sequence[Floats], moves: Moves) -> tuple[Integers, Floats]:
    """The best way of each pair.

    Returns:
        The places in ``moves`` of its moves in order, [N, S], -1 after the last, and its log weight, [N]:
        -inf (and no moves) if there is no way. Of equally good moves the first in ``moves`` wins.

    >>> one, both = np.log([[[0.5, 0.25]]]), np.log([[[0.5]]])
    >>> best_moves([one, both], [(1, 0), (1, 1)])[0].tolist()
    [[1]]
    """
    N, S, T = _sizes(weights, moves)
    best = np.full((N, S + 1, T + 1), -np.inf)
    last = np.full((N, S + 1, T + 1), -1)
    best[:, 0, 0] = 0.0
    for i in range(1, S + 1):
        for number, ((a, b), weight) in enumerate(zip(moves, weights, strict=True)):
            if a <= i and b <= T:
                through = best[:, i - a, : T - b + 1] + weight[:, i - a]
                better = through > best[:, i, b:]
                best[:, i, b:][better] = through[better]
                last[:, i, b:][better] = number
    taken = np.full((N, S), -1)
    row, column, pairs = np.full(N, S), np.full(N, T), np.arange(N)
    steps = np.array(moves, np.int64)
    for place in range(S):
        move = np.where(row > 0, last[pairs, row, column], -1)
        taken[:, place] = move
        row = row - np.where(move < 0, 0, steps[move, 0])
        column = column - np.where(move < 0, 0, steps[move, 1])
    order = np.argsort(taken[:, ::-1] < 0, axis=1, kind="stable")  # forwards, the padding last
    return np.take_along_axis(taken[:, ::-1], order, axis=1), best[:, S, T]


def _sizes(weights: Sequence[Floats], moves: Moves) -> tuple[int, int, int]:
    """N, S and T, from the first move that fits."""
    for (a, b), weight in zip(moves, weights, strict=True):
        if weight.shape[1] and weight.shape[2]:
            return weight.shape[0], weight.shape[1] + a - 1, weight.shape[2] + b - 1
    raise ValueError("no move fits: expected a source of at least one symbol and a move for it")
