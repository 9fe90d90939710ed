r"""The tags of a word, known or not: p(tag | word) from the word, its other spellings and its endings.

After Samuelsson (1993) and Brants (2000, section 2.3), the rare words of a text stand for the unknown
ones, those with a capital letter apart from the others. The distribution of each ending is smoothed
with that of the ending one letter shorter, down to that of all rare words. Then come the counts c of the
word in other cases, as of "Apple" for "apple", and of the word itself where it is known:

.. math:: p_k(t) = \frac{c_k(t) + m_k \, p_{k-1}(t)}{\sum_{t'} c_k(t') + m_k}

For endings m is ``ENDING_WEIGHT`` times the number of tags seen with it, as Witten & Bell (1991) weigh
n-grams; Brants's weight, for all endings the standard deviation of the tags' probabilities, finds fewer of
the unknown words' tags. For other cases m is ``CASE_WEIGHT``, for the word itself ``WORD_WEIGHT``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = Mapping[int, int]  # of tags

ENDING_WEIGHT = 4.0
CASE_WEIGHT = 3.0
WORD_WEIGHT = 0.5


class WordTags:
    """p(tag | word) for any word.

    Args:
        counts: for each word, how often each tag, by id, was seen with it.
        size: K, the number of tags.
        suffix_length: the longest ending, in characters; 0 tells unknown words apart by their capital
            letter only.
        rare: words seen at most this often teach the tags of unknown ones.

    >>> model = WordTags({"walking": {0: 2}, "talking": {0: 1}, "king": {1: 1}}, 2)
    >>> model("joking").round(2).tolist()
    [0.74, 0.26]
    """

    def __init__(
        self, counts: Mapping[str, Counts], size: int, *, suffix_length: int = 10, rare: int = 10
    ) -> None:
        self.size = size
        self.suffix_length = suffix_length
        self.words = counts
        self.folded: dict[str, list[str]] = defaultdict(list)
        self.endings: dict[str, dict[int, int]] = {}
        for word, seen in counts.items():
            self.folded[word.lower()].append(word)
            if sum(seen.values()) <= rare:
                for ending in self._endings(word):
                    below = self.endings.setdefault(ending, {})
                    for tag, count in seen.items():
                        below[tag] = below.get(tag, 0) + count
        total = np.zeros(size)
        for seen in counts.values():
            _add(total, seen)
        self.prior = (total + 0.5) / (total.sum() + 0.5 * size)

    def __call__(self, word: str) -> Floats:
        """p(tag | word), float64 [K], nowhere zero."""
        p = self.prior
        for ending in self._endings(word):
            seen = self.endings.get(ending)
            if seen is None:
                break
            p = _smoothed(seen, p, ENDING_WEIGHT * len(seen))
        others: dict[int, int] = defaultdict(int)
        for other in self.folded.get(word.lower(), ()):
            if other != word:
                for tag, count in self.words[other].items():
                    others[tag] += count
        if others:
            p = _smoothed(others, p, CASE_WEIGHT)
        known = self.words.get(word)
        return p if known is None else _smoothed(known, p, WORD_WEIGHT)

    def _endings(self, word: str) -> list[str]:
        """Keys, the shortest first: whether it begins with a capital, and its last letters."""
        kind = "A" if capitalised(word) else "a"
        longest = min(len(word), self.suffix_length)
        return [kind + word[len(word) - length :] for length in range(longest + 1)]


def capitalised(word: str) -> bool:
    """Whether a word begins with a capital letter."""
    return word[:1].isupper()


def _smoothed(seen: Counts, lower: Floats, weight: float) -> Floats:
    p = lower * weight
    _add(p, seen)
    total = weight + sum(seen.values())
    smoothed: Floats = p / total
    return smoothed


def _add(values: Floats, seen: Counts) -> None:
    for tag, count in seen.items():
        values[tag] += count
