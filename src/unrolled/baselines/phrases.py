r"""Pairs of phrases read off word-aligned sentence pairs.

Koehn, Och & Marcu (2003, "Statistical phrase-based translation", sections 3 and 4.3). The alignments of
both directions are joined by *grow-diag-final*: from the links in both, add those of either one that touch
(also diagonally) a link already there and bring in a word without any; at last those of either one that
bring in a word without any, wherever. Two runs of words are a pair if no link leaves it and at least one is
inside:

.. math:: \forall (i, j) \in A: \; i \in [i_1, i_2] \iff j \in [j_1, j_2]

Runs are found for all sentences of a text at once: of each length, the least and the greatest partner
of the words from every position on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Link = tuple[int, int]

_AROUND = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def grow_diag_final(forward: Sequence[int], backward: Sequence[int]) -> list[Link]:
    """Joins two alignments of a sentence pair.

    Args:
        forward: for each target word the place of its source word, or -1.
        backward: for each source word the place of its target word, or -1.

    Returns:
        Links (source place, target place), in order.

    >>> grow_diag_final([0, 1, 1], [0, 1])
    [(0, 0), (1, 1), (1, 2)]
    """
    one = {(i, j) for j, i in enumerate(forward) if i >= 0}
    two = {(i, j) for i, j in enumerate(backward) if j >= 0}
    found = one & two
    either = sorted(one | two)
    rows, columns = {i for i, _ in found}, {j for _, j in found}
    waiting = [link for link in either if link not in found]
    growing = True
    while growing:
        growing = False
        left = []
        for i, j in waiting:
            new = i not in rows or j not in columns
            if new and any((i + a, j + b) in found for a, b in _AROUND):
                found.add((i, j))
                rows.add(i)
                columns.add(j)
                growing = True
            else:
                left.append((i, j))
        waiting = left
    for i, j in waiting:
        if i not in rows or j not in columns:
            found.add((i, j))
            rows.add(i)
            columns.add(j)
    return sorted(found)


class Runs(NamedTuple):
    """Pairs of runs of words in two texts, by their starts and lengths; each [pairs]."""

    source: Integers
    source_lengths: Integers
    target: Integers
    target_lengths: Integers


def phrase_pairs(
    sources: Sequence[int], targets: Sequence[int], links: Sequence[Sequence[Link]], *, longest: int
) -> Runs:
    """All pairs of phrases of at most ``longest`` words.

    Args:
        sources: the length of each source sentence.
        targets: the length of each target sentence.
        links: of each sentence pair.
        longest: words of a phrase, at most.

    Returns:
        Places in all sources one after the other, and in all targets.

    >>> [part.tolist() for part in phrase_pairs([2], [2], [[(0, 1), (1, 0)]], longest=2)]
    [[0, 1, 0], [1, 1, 2], [1, 0, 0], [1, 1, 2]]
    """
    source_sizes, target_sizes = np.array(sources, np.int64), np.array(targets, np.int64)
    source_ends, target_ends = np.cumsum(source_sizes), np.cumsum(target_sizes)
    counts = np.array([len(sentence) for sentence in links], np.int64)
    flat = np.array([link for sentence in links for link in sentence], np.int64).reshape(-1, 2)
    flat[:, 0] += np.repeat(source_ends - source_sizes, counts)
    flat[:, 1] += np.repeat(target_ends - target_sizes, counts)
    source_stop = np.repeat(source_ends, source_sizes)  # of each word, where its sentence ends
    target_start = np.repeat(target_ends - target_sizes, target_sizes)
    target_stop = np.repeat(target_ends, target_sizes)
    partners = _partners(flat[:, 0], flat[:, 1], len(source_stop))
    owners = _partners(flat[:, 1], flat[:, 0], len(target_stop))
    unlinked = owners[0] > owners[1]  # target words without any link
    back = np.stack(_windows(owners, longest))  # [longest, 2, target words]
    found: list[Integers] = []
    for length, (low, high) in enumerate(_windows(partners, longest), start=1):
        start = np.arange(len(source_stop))
        size = high - low + 1
        inside = (start + length <= source_stop) & (size >= 1) & (size <= longest)
        start, low, high = start[inside], low[inside], high[inside]
        size = high - low
        closed = (back[size, 0, low] >= start) & (back[size, 1, low] < start + length)
        start, low, high = start[closed], low[closed], high[closed]
        first, last = target_start[low], target_stop[low]
        # Words without a link may stand at either end.
        grown = np.ones(len(start), bool)
        for before in range(longest):
            if before:
                left = low - before
                grown = grown & (left >= first) & unlinked[np.maximum(left, 0)]
            reach = grown.copy()
            for after in range(longest - before):
                if after:
                    right = high + after
                    reach = reach & (right < last) & unlinked[np.minimum(right, len(unlinked) - 1)]
                width = high - low + 1 + before + after
                rows = np.flatnonzero(reach & (width <= longest))
                if not len(rows):
                    break
                pairs = start[rows], np.full(len(rows), length), low[rows] - before, width[rows]
                found.append(np.stack(pairs))
    if not found:
        return Runs(*np.zeros((4, 0), np.int64))
    return Runs(*np.concatenate(found, axis=1))


def numbered(tokens: Integers, size: int, *, longest: int) -> list[Integers]:
    """For each length from 1, a number for the run that begins at each position: equal runs, equal numbers.

    Numbers count from 0 over all lengths. Runs beyond the end of the text have none: -1.

    >>> [level.tolist() for level in numbered(np.array([5, 6, 5, 6]), 9, longest=2)]
    [[0, 1, 0, 1], [2, 3, 2, -1]]
    """
    levels: list[Integers] = []
    nodes = np.zeros(len(tokens), np.int64)
    base = 0
    for length in range(1, longest + 1):
        count = max(len(tokens) - length + 1, 0)
        unique, number = np.unique(nodes[:count] * size + tokens[length - 1 :], return_inverse=True)
        levels.append(np.concatenate([base + number, np.full(len(tokens) - count, -1)]))
        base += len(unique)
        nodes = number
    return levels


Ranges = tuple[Integers, Integers]


def _partners(words: Integers, partners: Integers, size: int) -> Ranges:
    """The least and the greatest partner of each word; for a word without any, least > greatest."""
    low, high = np.full(size, np.iinfo(np.int64).max // 2), np.full(size, -1)
    np.minimum.at(low, words, partners)
    np.maximum.at(high, words, partners)
    return low, high


def _windows(ranges: Ranges, longest: int) -> list[Ranges]:
    """For each length from 1, the ranges of the runs that begin at each position (cut at the text's end)."""
    low, high = ranges
    found = [ranges]
    for length in range(1, longest):
        last_low, last_high = found[-1]
        low_, high_ = last_low.copy(), last_high.copy()
        kept = max(len(low) - length, 0)
        np.minimum(low_[:kept], low[length:], out=low_[:kept])
        np.maximum(high_[:kept], high[length:], out=high_[:kept])
        found.append((low_, high_))
    return found
