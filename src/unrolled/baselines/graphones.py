r"""Graphones: pieces of a source and a target that belong together, learnt from whole pairs.

A pair of sequences is a row of units (g, φ), each of a few source symbols and a few target symbols. Their
probabilities p(u) come by expectation-maximisation over all ways to cut the training pairs (Bisani & Ney
2008, "Joint-sequence models for grapheme-to-phoneme conversion", section 3; Jiampojamarn, Kondrak & Sherif
2007 for many-to-many letters and sounds): from equal weights, each round counts every unit as often as it is
expected and normalises. In the end each pair is cut in its likeliest way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.phrases import numbered
from unrolled.decoding.alignment import best_moves, posteriors

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Units of two and two are left out: they would swallow the others, as fewer units are likelier.
MOVES = ((1, 1), (1, 0), (2, 1), (1, 2))

ROUNDS = 8  # of expectation-maximisation
SAMPLE = 20_000  # pairs that it reads, evenly spaced; all are cut
LEAST = 1e-9  # the probability of a unit that no pair of the sample has
CELLS = 1 << 21  # of grids that are computed at once


class Group(NamedTuple):
    """Pairs of equal lengths: their places, and for each move the keys of its units, as weights lie."""

    pairs: Integers
    keys: list[Integers]


def graphones(
    sources: Sequence[Integers], targets: Sequence[Integers], *, rounds: int = ROUNDS
) -> list[list[tuple[int, int]] | None]:
    """The likeliest cut of each pair of id sequences, as moves (source symbols, target symbols).

    None for a pair that no row of units gives: one without a source, or with a target more than twice as
    long.

    >>> ids = [np.array(s) for s in ([0, 1], [0], [1])], [np.array(t) for t in ([5, 6, 7], [5], [6, 7])]
    >>> graphones(*ids)
    [[(1, 1), (1, 2)], [(1, 1)], [(1, 2)]]
    """
    table = _Keys(sources, targets)
    usable = [
        n
        for n, (source, target) in enumerate(zip(sources, targets, strict=True))
        if len(source) and len(target) <= 2 * len(source)
    ]
    cuts: list[list[tuple[int, int]] | None] = [None] * len(sources)
    if not usable:
        return cuts
    step = max(-(-len(usable) // SAMPLE), 1)
    sample = list(table.groups(usable[::step]))
    whole = np.concatenate([keys.reshape(-1) for group in sample for keys in group.keys])
    units = np.unique(whole)
    log_probs = np.zeros(len(units))
    places = [[np.searchsorted(units, keys) for keys in group.keys] for group in sample]
    for _ in range(rounds):
        expected = np.zeros(len(units))
        for place in places:
            found, _ = posteriors([log_probs[unit] for unit in place], MOVES)
            for unit, share in zip(place, found, strict=True):
                expected += np.bincount(unit.reshape(-1), share.reshape(-1), len(units))
        log_probs = np.log(np.maximum(expected / expected.sum(), LEAST))
    for group in table.groups(usable):
        weights = [_look_up(units, log_probs, keys) for keys in group.keys]
        taken, _ = best_moves(weights, MOVES)
        for pair, row in zip(group.pairs.tolist(), taken.tolist(), strict=True):
            cuts[pair] = [MOVES[move] for move in row if move >= 0]
    return cuts


class _Keys:
    """A number for every unit of every pair."""

    def __init__(self, sources: Sequence[Integers], targets: Sequence[Integers]) -> None:
        self._lengths = np.array([[len(s), len(t)] for s, t in zip(sources, targets, strict=True)])
        self._starts = np.cumsum(self._lengths, axis=0) - self._lengths
        self._levels = [self._runs(sources, 0), self._runs(targets, 1)]
        self._width = int(self._levels[1].max(initial=0)) + 2

    def _runs(self, sequences: Sequence[Integers], column: int) -> Integers:
        joined = np.concatenate([*sequences, np.zeros(0, np.int64)]).astype(np.int64)
        longest = max(move[column] for move in MOVES)
        return np.stack(numbered(joined, int(joined.max(initial=0)) + 1, longest=longest))

    def groups(self, pairs: Sequence[int]) -> Iterator[Group]:
        """The pairs by their lengths, not too many at once."""
        chosen = np.array(pairs, np.int64)
        lengths = self._lengths[chosen]
        order = np.lexsort((lengths[:, 1], lengths[:, 0]))
        chosen, lengths = chosen[order], lengths[order]
        cuts = np.flatnonzero(np.any(np.diff(lengths, axis=0) != 0, axis=1)) + 1
        for same in np.split(chosen, cuts):
            S, T = self._lengths[same[0]].tolist()
            most = max(CELLS // ((S + 1) * (T + 1)), 1)
            for begin in range(0, len(same), most):
                part = same[begin : begin + most]
                yield Group(part, [self._units(part, S, T, a, b) for a, b in MOVES])

    def _units(self, pairs: Integers, S: int, T: int, a: int, b: int) -> Integers:
        """The keys of the units that move (a, b) takes from each cell, [N, S - a + 1, T - b + 1]."""
        rows = self._starts[pairs, 0][:, None] + np.arange(max(S - a + 1, 0))
        columns = self._starts[pairs, 1][:, None] + np.arange(max(T - b + 1, 0))
        source = self._levels[0][a - 1][rows]
        target = self._levels[1][b - 1][columns] + 1 if b else np.zeros_like(columns)
        keys: Integers = source[:, :, None] * self._width + target[:, None, :]
        return keys


def _look_up(units: Integers, log_probs: Floats, keys: Integers) -> Floats:
    place = np.minimum(np.searchsorted(units, keys), len(units) - 1)
    found: Floats = np.where(units[place] == keys, log_probs[place], np.log(LEAST))
    return found
