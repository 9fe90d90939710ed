r"""How often words stand near each other, counted once for the whole text.

.. math:: X_{ij} = \sum_{\text{places of } i} \; \sum_{\text{places of } j} w(d), \qquad 1 \le d \le R

over places of one sentence that lie d words apart, with the weight ``inverse``, 1/d (Pennington, Socher &
Manning 2014, "GloVe", section 4.2), or ``linear``, (R + 1 - d)/R, what windows of a random reach from 1 to R
give on average (Levy, Goldberg & Dagan 2015, "Improving distributional similarity with lessons learned from
word embeddings", section 3.1). X is symmetric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.windows import Sentences, place_in

Weighting = Literal["inverse", "linear"]
_CHUNK = 1 << 20  # words counted before their pairs are merged with the earlier ones


@dataclass(frozen=True)
class Cooccurrences:
    """The entries of X above zero, by rows.

    Attributes:
        size: V, the number of words.
        rows, columns: ``[M]`` int64.
        values: ``[M]`` float32.

    >>> from unrolled.data.stream import TokenStream
    >>> text = Sentences(TokenStream(np.array([2, 3, 4, 1, 3, 4, 1]), vocabulary_size=5), end=1)
    >>> found = Cooccurrences.count(text, window=2, weighting="inverse")
    >>> list(zip(found.rows.tolist(), found.columns.tolist(), found.values.tolist()))[:3]
    [(2, 3, 1.0), (2, 4, 0.5), (3, 2, 1.0)]
    """

    size: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]

    @classmethod
    def count(cls, text: Sentences, *, window: int, weighting: Weighting) -> Cooccurrences:
        """Counts the pairs of a text that are at most ``window`` words apart."""
        size = len(text.counts)
        keys, sums = np.zeros(0, dtype=np.int64), np.zeros(0)
        for start in range(0, len(text), _CHUNK):
            stop = min(start + _CHUNK, len(text))
            found = _pairs(text, start, stop, window, weighting)
            keys, sums = _merged(np.append(keys, found[0]), np.append(sums, found[1]))
        rows, columns = np.divmod(keys, size)
        keys, sums = _merged(np.append(keys, columns * size + rows), np.append(sums, sums))
        rows, columns = np.divmod(keys, size)
        return cls(size, rows, columns, sums.astype(np.float32))

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class EntryBatch:
    """Entries of X: ``rows``, ``columns`` and ``values``, each ``[B]``."""

    rows: Tensor
    columns: Tensor
    values: Tensor

    def to(self, device: torch.device) -> EntryBatch:
        """The same on a device."""
        return EntryBatch(self.rows.to(device), self.columns.to(device), self.values.to(device))


class EntryLoader:
    """Batches of entries in random order, each entry once in an epoch, exactly resumable.

    >>> numbers = np.arange(3)
    >>> entries = Cooccurrences(3, numbers, numbers, numbers.astype(np.float32))
    >>> loader = EntryLoader(entries, batch_size=2, seed=0)
    >>> [len(batch.values) for batch in loader], loader.state_dict()
    ([2, 1], {'epoch': 1, 'position': 0})
    """

    def __init__(self, entries: Cooccurrences, *, batch_size: int, seed: int) -> None:
        self.entries, self.batch_size, self.seed = entries, batch_size, seed
        self._epoch = self._position = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return -(-len(self.entries) // self.batch_size)

    def __iter__(self) -> Iterator[EntryBatch]:
        """The batches that remain of the epoch; the place moves on before a batch is handed out."""
        epoch, entries = self._epoch, self.entries
        order = np.random.default_rng((self.seed, epoch)).permutation(len(entries))
        while self._epoch == epoch and self._position < len(self):
            start = self._position * self.batch_size
            self._position += 1
            chosen = order[start : start + self.batch_size]
            yield EntryBatch(
                torch.from_numpy(entries.rows[chosen]),
                torch.from_numpy(entries.columns[chosen]),
                torch.from_numpy(entries.values[chosen]),
            )
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch and how many of its batches have been taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes to a place that :meth:`state_dict` gave.

        Raises:
            RunError: there is no such place.
        """
        self._epoch, self._position = place_in(state, len(self))


def _pairs(
    text: Sentences, start: int, stop: int, window: int, weighting: Weighting
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The pairs whose first word is in ``[start, stop)``: keys i V + j with j after i, and weights."""
    end = min(stop + window, len(text))
    words = text.words[start:end].astype(np.int64)
    sentence = text.numbers(start, end)
    keys, sums = np.zeros(0, dtype=np.int64), np.zeros(0)
    for distance in range(1, window + 1):
        count = min(stop - start, len(words) - distance)
        if count < 1:
            break
        first, second = slice(0, count), slice(distance, distance + count)
        near = sentence[first] == sentence[second]
        found = (words[first] * len(text.counts) + words[second])[near]
        weight = 1 / distance if weighting == "inverse" else (window + 1 - distance) / window
        keys = np.append(keys, found)
        sums = np.append(sums, np.full(len(found), weight))
    return _merged(keys, sums)


def _merged(
    keys: NDArray[np.int64], sums: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each key once, in order, with the sum of its numbers."""
    if not len(keys):
        return keys, sums
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    return ordered[first], np.add.reduceat(sums[order], first)
