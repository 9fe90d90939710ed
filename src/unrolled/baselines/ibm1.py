r"""IBM's translation model 1: a dictionary learnt from sentence pairs by expectation-maximisation.

Brown, Della Pietra, Della Pietra & Mercer (1993, "The mathematics of statistical machine translation",
section 4.1): each of the m words of a target f comes from one of the l words of the source e, or from the
empty word :math:`e_0`, all equally likely:

.. math:: p(f \mid e) = \prod_{j=1}^{m} \frac{1}{l + 1} \sum_{i=0}^{l} t(f_j \mid e_i)

The E-step shares each target word among the words of its source in proportion to t, the M-step is
t = shares, normalised for each source word. The likelihood of t is concave: from equal t there is one
summit. (The factor for the target's length is left out.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.saved import Arrays, of_text, opened, sealed, text
from unrolled.errors import ConfigError, DataError, RunError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Pairs = Sequence[tuple[Sequence[str], Sequence[str]]]

UNLIKELY = 1e-4  # entries below this are dropped in the end
UNKNOWN = (
    1e-4  # the share of a word's probability that is spread over all words and one unknown one
)

_ARRAYS = ("options", "source", "source.ends", "target", "target.ends", "keys", "probabilities")


class IBM1:
    """A dictionary with probabilities.

    Args:
        iterations: rounds of expectation-maximisation, at least 1.

    >>> pairs = [("das haus", "the house"), ("das buch", "the book"), ("ein buch", "a book")]
    >>> model = IBM1(iterations=20).fit([(f.split(), e.split()) for f, e in pairs])
    >>> model.translate(["ein", "haus", "42"])
    ['a', 'house', '42']
    >>> model.align(["das", "haus"], ["the", "house"]).tolist()
    [0, 1]

    Raises:
        ConfigError: if ``iterations`` is below 1.
    """

    def __init__(self, *, iterations: int = 10) -> None:
        if iterations < 1:
            raise ConfigError(f"--model.iterations is at least 1, not {iterations}")
        self.iterations = iterations
        self.target_words: tuple[str, ...] = ()

    def fit(self, pairs: Pairs) -> Self:
        """Learns from sentence pairs, each ``(source tokens, target tokens)``. Either may be empty.

        Raises:
            DataError: if there is no target token.
        """
        sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
        source_words = tuple(sorted(set(chain.from_iterable(sources))))
        self.target_words = tuple(sorted(set(chain.from_iterable(targets))))
        if not self.target_words:
            raise DataError(
                "there are no words to translate into; at least one sentence pair is needed"
            )
        self._index(source_words)
        found = _links([self._source(s) for s in sources], [self._target(t) for t in targets])
        size = len(self.target_words)
        keys, entry = np.unique(found.source * size + found.target, return_inverse=True)
        words = keys // size  # of each entry, increasing
        first = np.searchsorted(
            words, np.arange(len(source_words) + 1)
        )  # every word has an entry ...
        present = first < np.append(first[1:], len(keys))  # ... unless all its targets are empty
        t: Floats = np.ones(len(keys))
        for _ in range(self.iterations):
            weights = t[entry]
            weights /= np.repeat(np.add.reduceat(weights, found.starts), found.sizes)
            t = np.bincount(entry, weights, len(keys)).astype(np.float64)
            total = np.zeros(len(first))
            total[present] = np.add.reduceat(t, first[present])
            t /= total[words]
        kept = t >= UNLIKELY
        self._prepare(
            keys[kept], t[kept] / np.bincount(words[kept], t[kept], len(first))[words[kept]]
        )
        return self

    @property
    def source_words(self) -> tuple[str, ...]:
        """The source words, in the order of their ids from 1; 0 is the empty word."""
        return tuple(self._source_ids)

    @property
    def table_entries(self) -> int:
        """The number of word pairs stored."""
        self._fitted()
        return len(self._keys)

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """The likeliest target word of each source word; a word never seen stands for itself."""
        self._fitted()
        best = [self._best.get(self._source_ids.get(token, -1), -1) for token in tokens]
        return [
            token if word < 0 else self.target_words[word]
            for token, word in zip(tokens, best, strict=True)
        ]

    def probability(self, source: Sequence[str | None], target: Sequence[str]) -> Floats:
        """t(target[k] | source[k]) for each k; None is the empty source word. Zero for unknown words."""
        self._fitted()
        ids = [0 if word is None else self._source_ids.get(word, -1) for word in source]
        return self.lookup(np.array(ids, np.int64), self._target(target))

    def log_probability(self, source: Sequence[str], target: Sequence[str]) -> float:
        """The natural log of p(target | source), without a factor for the length.

        A share ``UNKNOWN`` of t is spread evenly over the target words and one unknown word, so that
        nothing is impossible.
        """
        self._fitted()
        places = np.concatenate([[0], self._source(source)])
        t = self.lookup(places[None, :], self._target(target)[:, None])  # [m, l + 1]
        spread = UNKNOWN / (len(self.target_words) + 1)
        return float(np.log((1 - UNKNOWN) * t.mean(1) + spread).sum())

    def align(self, source: Sequence[str], target: Sequence[str]) -> Integers:
        """For each target word the place of the source word it most likely comes from; -1: of none.

        Among equal source words the one nearest to the diagonal is taken.
        """
        return self.align_all([(source, target)])[0]

    def align_all(self, pairs: Pairs) -> list[Integers]:
        """:meth:`align` of many pairs at once."""
        self._fitted()
        sources = [self._source(source) for source, _ in pairs]
        targets = [self._target(target) for _, target in pairs]
        found = _links(sources, targets)
        lengths = np.array([len(target) for target in targets], np.int64)
        ends = np.cumsum(lengths)
        number = np.repeat(np.arange(len(found.starts)), found.sizes)  # of each link's target token
        place = (
            np.arange(len(number)) - found.starts[number] - 1
        )  # in the source, -1 the empty word
        across = np.arange(len(found.starts)) - np.repeat(ends - lengths, lengths)  # in the target
        slope = (across + 0.5) / np.repeat(lengths, lengths)
        far = np.abs((place + 0.5) / np.maximum(found.sizes - 1, 1)[number] - slope[number])
        far[place < 0] = 2.0  # the empty word only if no other is as likely
        t = self.lookup(found.source, found.target)
        if len(t):
            best = np.maximum.reduceat(t, found.starts)
            far[(t < best[number]) | ((t == 0) & (place >= 0))] = np.inf
            hits = np.flatnonzero(far == np.minimum.reduceat(far, found.starts)[number])
            _, first = np.unique(number[hits], return_index=True)
            place = place[hits[first]]
        return np.split(place, ends[:-1]) if len(ends) else []

    def arrays(self) -> Arrays:
        """Words and probabilities as named arrays, for safetensors."""
        self._fitted()
        found = {
            "options": np.array([self.iterations], np.int64),
            **of_text("source", self.source_words),
            **of_text("target", self.target_words),
            "keys": self._keys,
            "probabilities": self._probabilities,
        }
        return sealed("dictionary", found)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from, with identical answers.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        found = opened("dictionary", arrays, _ARRAYS)
        model = cls(iterations=int(found["options"][0]))
        model.target_words = text(found, "target")
        model._index(text(found, "source"))
        model._prepare(found["keys"], found["probabilities"])
        return model

    def _index(self, source_words: Sequence[str]) -> None:
        self._source_ids = {word: number for number, word in enumerate(source_words, start=1)}
        self._target_ids = {word: number for number, word in enumerate(self.target_words)}

    def _prepare(self, keys: Integers, probabilities: Floats) -> None:
        self._keys, self._probabilities = keys, probabilities
        words, targets = np.divmod(keys, len(self.target_words))
        order = np.lexsort((-probabilities, words))
        unique, first = np.unique(words[order], return_index=True)
        self._best = dict(zip(unique.tolist(), targets[order][first].tolist(), strict=True))

    def lookup(self, source: Integers, target: Integers) -> Floats:
        """t of ids (source words from 1, 0 the empty word; target words from 0), broadcast.

        It is 0 where one is unknown (-1) or they were never seen together.
        """
        wanted = source * len(self.target_words) + target
        wanted = np.where((source < 0) | (target < 0), -1, wanted)
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        found: Floats = np.where(self._keys[place] == wanted, self._probabilities[place], 0.0)
        return found

    def _source(self, tokens: Sequence[str]) -> Integers:
        return np.array([self._source_ids.get(token, -1) for token in tokens], np.int64)

    def _target(self, tokens: Sequence[str]) -> Integers:
        return np.array([self._target_ids.get(token, -1) for token in tokens], np.int64)

    def _fitted(self) -> None:
        if not self.target_words:
            raise RunError("this dictionary has learnt nothing yet; call fit first")


class Links(NamedTuple):
    """Every target token of a corpus with every source token of its sentence, the empty word first.

    Attributes:
        source: [links], ids of source words.
        target: [links], ids of target words; the links of one target token lie side by side.
        starts: [target tokens], where those of each begin.
        sizes: [target tokens], how many they are.
    """

    source: Integers
    target: Integers
    starts: Integers
    sizes: Integers


def _links(sources: Sequence[Integers], targets: Sequence[Integers]) -> Links:
    empty = np.zeros(1, np.int64)
    places = np.concatenate([part for source in sources for part in (empty, source)] or [empty])
    width = np.array([len(source) + 1 for source in sources], np.int64)
    tokens = np.concatenate([*targets, empty[:0]])
    sentence = np.repeat(np.arange(len(targets)), [len(target) for target in targets])
    sizes = width[sentence]
    starts = np.cumsum(sizes) - sizes
    begin = (np.cumsum(width) - width)[sentence]  # of each target token's source
    place = np.arange(int(sizes.sum())) + np.repeat(begin - starts, sizes)
    return Links(places[place], np.repeat(tokens, sizes), starts, sizes)
