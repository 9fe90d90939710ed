"""A table of phrase pairs with features, counted on word-aligned sentence pairs.

The features of a pair (f, e) are those of Koehn, Och & Marcu (2003, sections 3 and 4.4): the logs of the
relative frequencies of e given f and of f given e, and of the lexical weights of both directions, here with
the likeliest partner of each word under IBM model 1 (or the empty word):

.. math:: \\prod_{j} \\max_{i = 0 \\dots l} t(e_j \\mid f_i)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.ibm1 import IBM1
from unrolled.baselines.phrases import Runs, numbered
from unrolled.baselines.saved import Arrays

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

RARE = 1e-7  # what a lexical weight counts for a word without any partner
_CHUNK = 1 << 15  # rows whose lexical weights are found at once


@dataclass(frozen=True)
class PhraseTable:
    """P source phrases; each has some of the R rows, the most frequent first.

    Attributes:
        phrases: [words], of all source phrases one after the other.
        lengths: [P], the words of each.
        rows: [P], how many rows each has.
        targets: [words], of all rows one after the other.
        target_lengths: [R], the words of each.
        features: float32 [R, 4].
    """

    phrases: Integers
    lengths: Integers
    rows: Integers
    targets: Integers
    target_lengths: Integers
    features: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        sources: Integers,
        targets: Integers,
        runs: Runs,
        *,
        models: tuple[IBM1, IBM1],
        keep: int,
    ) -> Self:
        """Counts pairs of phrases.

        Args:
            sources: ids of all source words, one sentence after the other.
            targets: ids of all target words.
            runs: the pairs of phrases in them, each once for every time it was seen.
            models: target words given source words, and the other way round.
            keep: rows of a source phrase, at most.
        """
        longest = int(max(lengths.max(initial=1) for lengths in (runs[1], runs[3])))
        f = _numbers(sources, runs.source, runs.source_lengths, longest)
        e = _numbers(targets, runs.target, runs.target_lengths, longest)
        width = int(e.max(initial=0)) + 1
        keys, first, counts = np.unique(f * width + e, return_index=True, return_counts=True)
        f, e = np.divmod(keys, width)
        order = np.lexsort((keys, -counts, f))  # by source phrase, the most frequent first
        f, e, first, count = f[order], e[order], first[order], counts[order]
        of_source, of_target = np.bincount(f, count), np.bincount(e, count)
        begins = np.flatnonzero(np.diff(f, prepend=-1))
        rank = np.arange(len(f)) - np.repeat(begins, np.diff(np.append(begins, len(f))))
        kept = rank < keep
        f, e, first, count = f[kept], e[kept], first[kept], count[kept]
        begins = np.flatnonzero(np.diff(f, prepend=-1))
        lengths, target_lengths = runs.source_lengths[first], runs.target_lengths[first]
        features = np.empty((len(f), 4), np.float32)
        features[:, 0] = np.log(count / of_source[f])
        features[:, 1] = np.log(count / of_target[e])
        for chunk in range(0, len(f), _CHUNK):
            part = slice(chunk, chunk + _CHUNK)
            words = _padded(sources, runs.source[first[part]], lengths[part])
            others = _padded(targets, runs.target[first[part]], target_lengths[part])
            features[part, 2] = _lexical(models[0], words, others)
            features[part, 3] = _lexical(models[1], others, words)
        words = _padded(sources, runs.source[first[begins]], lengths[begins])
        others = _padded(targets, runs.target[first], target_lengths)
        rows = np.diff(np.append(begins, len(f)))
        return cls(
            words[words >= 0], lengths[begins], rows, others[others >= 0], target_lengths, features
        )

    def arrays(self) -> Arrays:
        """The table as named arrays; words and lengths in 32 bits."""
        found: Arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: a if n == "features" else a.astype(np.int32) for n, a in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The table that :meth:`arrays` came from."""
        found = {field.name: np.asarray(arrays[field.name]) for field in fields(cls)}
        features = found.pop("features")
        return cls(**{name: a.astype(np.int64) for name, a in found.items()}, features=features)

    def index(self) -> dict[bytes, tuple[int, int]]:
        """Of each source phrase, by the bytes of its ids (int64), its first row and where its rows end."""
        stops, ends = np.cumsum(self.lengths).tolist(), np.cumsum(self.rows).tolist()
        whole, size = self.phrases.tobytes(), self.phrases.itemsize
        keys = (whole[i * size : j * size] for i, j in zip([0, *stops], stops, strict=False))
        return dict(zip(keys, zip([0, *ends], ends, strict=False), strict=True))

    def padded_targets(self) -> Integers:
        """The target words of each row, [R, L], with -1 after the last."""
        return _padded(
            self.targets, np.cumsum(self.target_lengths) - self.target_lengths, self.target_lengths
        )


def _numbers(tokens: Integers, starts: Integers, lengths: Integers, longest: int) -> Integers:
    levels = np.stack(numbered(tokens, int(tokens.max(initial=0)) + 1, longest=longest))
    found: Integers = levels[lengths - 1, starts]
    return found


def _padded(tokens: Integers, starts: Integers, lengths: Integers) -> Integers:
    """Runs of tokens as rows, with -1 after the last."""
    across = np.arange(int(lengths.max(initial=1)))
    places = np.minimum(starts[:, None] + across, len(tokens) - 1)
    return np.where(across < lengths[:, None], tokens[places], -1)


def _lexical(model: IBM1, given: Integers, words: Integers) -> Floats:
    """The log of the lexical weight of words [N, m] given words [N, l], both padded with -1."""
    null = np.zeros((len(given), 1), np.int64)
    given = np.concatenate([null, np.where(given < 0, -1, given + 1)], axis=1)
    best = model.lookup(given[:, None, :], words[:, :, None]).max(2)  # [N, m]
    logs: Floats = np.where(words < 0, 0.0, np.log(np.maximum(best, RARE))).sum(1)
    return logs
