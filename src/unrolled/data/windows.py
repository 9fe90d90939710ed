r"""The windows of a text from which vectors of words are learnt, batch by batch, without a loop over words.

The words of a line are a sentence; what is not in the vocabulary has been left out before windows are
laid. Two random choices of word2vec (Mikolov et al. 2013, "Distributed representations of words and
phrases and their compositionality", section 2.3; its code) are made anew in each epoch:

- a word of frequency f is kept with probability :math:`\min(1, \sqrt{t/f} + t/f)`, and a window reaches over
  what was dropped;
- a window reaches r words to each side, r drawn from 1 to the option ``window``.

Negatives are drawn from the words' counts to the power 3/4 (section 2.2 there). The words that are left
stand in blocks of :data:`BLOCK` places with those around them, so that all pairs of a block are one
product of matrices; all words of a block share its negatives (Ji et al. 2016, "Parallelizing word2vec in
shared and distributed memory", section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.stream import TokenStream
from unrolled.errors import DataError, RunError

BLOCK = 32  # words in a block
NEGATIVES = 32  # negatives that the words of a block share
SMOOTHING = 0.75


@dataclass(frozen=True)
class WindowBatch:
    """Some blocks of a text: N blocks of L words, each with R words to both sides, and K negatives.

    Attributes:
        words: ``[N, L + 2 R]`` the words of each block with those around it; the block is in the middle.
        pairs: ``[N, L, L + 2 R]`` bool: which of them are in the window of which word of the block.
        negatives: ``[N, K]``.
        count: words of the text that were read, those that were dropped, too.
    """

    words: Tensor
    pairs: Tensor
    negatives: Tensor
    count: int

    @property
    def centres(self) -> Tensor:
        """``[N, L]`` the words of each block."""
        reach = (self.words.shape[1] - self.pairs.shape[1]) // 2
        return self.words[:, reach : reach + self.pairs.shape[1]]

    def to(self, device: torch.device) -> WindowBatch:
        """The same on a device."""
        return WindowBatch(
            self.words.to(device), self.pairs.to(device), self.negatives.to(device), self.count
        )


class Sentences:
    """The words of a text that have numbers, and where its sentences begin.

    Args:
        stream: the words with the mark ``end`` after each sentence; 0 is a word without a number.
        end: the number of that mark.

    >>> text = Sentences(TokenStream(np.array([3, 0, 4, 1, 1, 5, 1]), vocabulary_size=6), end=1)
    >>> text.words.tolist(), text.starts.tolist(), text.counts.tolist()
    ([3, 4, 5], [0, 2], [0, 0, 0, 1, 1, 1])

    Raises:
        DataError: no sentence has two words.
    """

    def __init__(self, stream: TokenStream, *, end: int) -> None:
        ids = np.asarray(stream)
        known = (ids != 0) & (ids != end)
        self.words: NDArray[np.integer] = ids[known]
        """``[T]``"""
        ends = np.cumsum(known)[ids == end]
        starts = np.unique(np.append(0, ends))
        self.starts: NDArray[np.int64] = starts[starts < len(self.words)]
        """``[S]`` the places of the first words of sentences."""
        self.counts = np.bincount(self.words, minlength=stream.vocabulary_size)
        """``[V]``"""
        lengths = np.diff(self.starts, append=len(self.words))
        if not len(lengths) or lengths.max() < 2:
            raise DataError(
                "no line holds two words of the vocabulary; expected sentences or documents, one a "
                "line (lower --data.min-count where the text is short)"
            )

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """``[stop - start]`` the sentence of each of these words."""
        return np.searchsorted(self.starts, np.arange(start, stop), side="right")


class WindowLoader:
    """Batches of windows, an epoch per iteration, exactly resumable.

    A batch is ``batch_size`` words that follow each other, and what it draws depends on the seed, the epoch
    and its place alone. Batches come in random order; in each epoch they are cut elsewhere. No window goes
    over the end of a batch.

    Args:
        text: the words.
        window: the most words to each side.
        batch_size: words in a batch.
        subsample: t above; 0 drops none.
        seed: of all that is drawn.

    >>> words = TokenStream(np.array([2, 3, 4, 1] * 50), vocabulary_size=5)
    >>> loader = WindowLoader(Sentences(words, end=1), window=2, batch_size=75, subsample=0, seed=1)
    >>> [batch.count for batch in loader], loader.state_dict()
    ([75, 75], {'epoch': 1, 'position': 0})
    """

    def __init__(
        self, text: Sentences, *, window: int, batch_size: int, subsample: float, seed: int
    ) -> None:
        self.text, self.window, self.seed = text, window, seed
        self.batch_size = min(batch_size, len(text))
        self.kept = kept_shares(text.counts, subsample)
        """``[V]`` the probability that a word is kept."""
        weights = text.counts**SMOOTHING
        self._cumulative = np.cumsum(weights) / weights.sum()
        offsets = np.arange(-window, BLOCK + window) - np.arange(BLOCK)[:, None]
        self._offsets = offsets.astype(np.int32)  # [L, L + 2 R] from a word to those around it
        self._epoch = self._position = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return -(-len(self.text) // self.batch_size)

    def __iter__(self) -> Iterator[WindowBatch]:
        """The batches that remain of the epoch; the place moves on before a batch is handed out."""
        epoch = self._epoch
        draw = np.random.default_rng((self.seed, epoch))
        shift = int(draw.integers(self.batch_size)) if epoch else 0
        order = draw.permutation(len(self))
        while self._epoch == epoch and self._position < len(self):
            position = self._position
            self._position += 1
            start = int(order[position]) * self.batch_size
            stop = min(start + self.batch_size, len(self.text))
            rng = np.random.default_rng((self.seed, epoch, position))
            yield self._batch((np.arange(start, stop) + shift) % len(self.text), rng)
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def _batch(self, places: NDArray[np.int64], rng: np.random.Generator) -> WindowBatch:
        count = len(places)
        words = self.text.words[places]
        kept = rng.random(count, dtype=np.float32) < self.kept[words]
        words, places = words[kept], places[kept]
        sentence = np.searchsorted(self.text.starts, places, side="right")
        blocks = max(1, -(-len(words) // BLOCK))
        size = blocks * BLOCK
        reach = np.zeros((2, size), dtype=np.int32)  # to the left and to the right
        reach[:, : len(words)] = rng.integers(1, self.window + 1, len(words), dtype=np.int32)
        reach[:, : len(words)] = np.minimum(reach[:, : len(words)], _room(sentence))
        padded = np.zeros(size + 2 * self.window, dtype=np.int64)
        padded[self.window : self.window + len(words)] = words
        around = np.lib.stride_tricks.sliding_window_view(padded, BLOCK + 2 * self.window)[::BLOCK]
        left, right = reach.reshape(2, blocks, BLOCK, 1)
        pairs = (self._offsets >= -left) & (self._offsets <= right) & (self._offsets != 0)
        drawn = np.searchsorted(self._cumulative, rng.random((blocks, NEGATIVES)), side="right")
        return WindowBatch(
            torch.from_numpy(around.copy()),
            torch.from_numpy(pairs),
            torch.from_numpy(np.minimum(drawn, len(self._cumulative) - 1)),
            count,
        )

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch and how many of its batches have been taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes to a place that :meth:`state_dict` gave.

        Raises:
            RunError: there is no such place.
        """
        self._epoch, self._position = place_in(state, len(self))


def kept_shares(counts: NDArray[np.int64], subsample: float) -> NDArray[np.float32]:
    """``[V]`` the probability that a word with this count is kept.

    >>> kept_shares(np.array([0, 100, 900]), 0.1).tolist()[:2]
    [1.0, 1.0]
    """
    if not subsample:
        return np.ones(len(counts), dtype=np.float32)
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    return np.asarray(np.minimum(1.0, np.sqrt(ratio) + ratio), dtype=np.float32)


def place_in(state: Mapping[str, int], batches: int) -> tuple[int, int]:
    """The epoch and the position of a saved place.

    Raises:
        RunError: there is no such place among so many batches.
    """
    epoch, position = int(state.get("epoch", -1)), int(state.get("position", -1))
    if epoch < 0 or not 0 <= position <= batches:
        raise RunError(
            f"no place {dict(state)} among {batches} batches per epoch; the data and the batch size "
            "must be those of the checkpoint"
        )
    return epoch, position


def _room(sentence: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[2, T]`` how many words of its sentence stand before each word, and after it."""
    places = np.arange(len(sentence))
    change = np.flatnonzero(np.diff(sentence, prepend=-1, append=-1))  # starts, and the end
    if len(sentence) == 0:
        return np.zeros((2, 0), dtype=np.int64)
    run = np.searchsorted(change, places, side="right") - 1
    return np.stack([places - change[run], change[run + 1] - 1 - places])
