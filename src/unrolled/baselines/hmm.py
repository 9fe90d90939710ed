r"""The trigram tagger: a hidden Markov model of the second order, learned from tagged text by counting.

Brants (2000, "TnT: a statistical part-of-speech tagger"): of all tags t of the words w,

.. math:: \arg\max_t \prod_i p(t_i \mid t_{i-2}, t_{i-1}) \, p(w_i \mid t_i), \qquad
          p(w \mid t) \propto \frac{p(t \mid w)}{p(t)} ,

with trigrams by deleted interpolation (:mod:`unrolled.baselines.tag_trigrams`) that see the ends of
sentences, and p(t | w) of unknown words from their endings (:mod:`unrolled.baselines.word_tags`). As there
(section 2.1.4), states are tags with a flag, whether the word begins with a capital letter. For text
without tags see :mod:`unrolled.baselines.baum_welch`.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.tag_trigrams import TagTrigrams
from unrolled.baselines.word_tags import WordTags, capitalised
from unrolled.decoding.trellis import Candidates, best_tags, posteriors
from unrolled.errors import ConfigError, DataError, RunError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNLIKELY = 1e-4  # tags of a word below this share of its likeliest are not tried ...
MOST = 64  # ... nor more than so many
REMEMBERED = 50_000  # words whose candidates are kept


class HiddenMarkov:
    """A trigram tagger.

    Args:
        suffix_length: the longest ending, in characters, that tells the tags of an unknown word.
        rare: words seen at most this often teach the endings.
        beam: in nats: tags whose best path is further below the best of their position are dropped.

    >>> tagger = HiddenMarkov().fit([(["the", "dog", "barks"], ["D", "N", "V"])] * 3)
    >>> tagger.predict(["the", "cat", "barks"])
    ['D', 'N', 'V']
    >>> tagger.tags, tagger.probabilities(["the"]).round(3).tolist()
    (('D', 'N', 'V'), [[0.991, 0.0, 0.009]])

    Raises:
        ConfigError: if an option is out of its range.
    """

    def __init__(self, *, suffix_length: int = 10, rare: int = 10, beam: float = 15.0) -> None:
        if suffix_length < 0:
            raise ConfigError(f"--model.suffix-length is at least 0, not {suffix_length}")
        if rare < 1:
            raise ConfigError(f"--model.rare is at least 1, not {rare}")
        if not beam > 0:
            raise ConfigError(f"--model.beam is above 0, in nats, not {beam}")
        self.suffix_length = suffix_length
        self.rare = rare
        self.beam = float(beam)
        self.tags: tuple[str, ...] = ()
        self._words: dict[str, dict[int, int]] = {}

    def fit(self, sentences: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Self:
        """Counts the words and tags of sentences, each ``(tokens, tags)``.

        Raises:
            DataError: if there is no token, or a sentence has not one tag for each token.
        """
        for number, (tokens, tags) in enumerate(sentences, start=1):
            if len(tokens) != len(tags):
                raise DataError(
                    f"sentence {number} has {len(tokens)} tokens and {len(tags)} tags; "
                    "give one tag for each token"
                )
        names = tuple(sorted({tag for _, tags in sentences for tag in tags}))
        if not names:
            raise DataError("there are no tagged tokens to count; at least one is needed")
        ids = {tag: number for number, tag in enumerate(names)}
        words: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        states = []
        for tokens, tags in sentences:
            numbers = [ids[tag] for tag in tags]
            for token, tag in zip(tokens, numbers, strict=True):
                words[token][tag] += 1
            flags = [capitalised(token) for token in tokens]
            states.append(2 * np.array(numbers, np.int64) + np.array(flags, np.int64))
        size = 2 * len(names)
        grams = TagTrigrams.count(states, size)
        self._prepare(names, {w: dict(seen) for w, seen in words.items()}, *grams)
        return self

    @property
    def table_entries(self) -> int:
        """The number of counts stored: of words with tags, and of trigrams."""
        self._fitted()
        return sum(map(len, self._words.values())) + len(self._follow.counts)

    def predict(self, tokens: Sequence[str]) -> list[str]:
        """The tags of the best path through a sentence; none for an empty one."""
        self._fitted()
        states = best_tags(
            [self._candidates(token) for token in tokens],
            self._follow,
            boundary=self._follow.size,
            beam=self.beam,
        )
        return [self.tags[state] for state in (states // 2).tolist()]

    def probabilities(self, tokens: Sequence[str]) -> Floats:
        """The probability of each tag at each token given the whole sentence: float64 [T, K], in the
        order of :attr:`tags`. Tags that were not tried have the probability zero."""
        self._fitted()
        found = np.zeros((len(tokens), len(self.tags)))
        chances = posteriors(
            [self._candidates(token) for token in tokens],
            self._follow,
            boundary=self._follow.size,
            beam=self.beam,
        )
        for t, (states, chance) in enumerate(chances):
            found[t, states // 2] = chance
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Options and counts as named arrays, for safetensors; nothing is pickled."""
        self._fitted()
        words = list(self._words)
        seen = [
            (number, tag, count)
            for number, word in enumerate(words)
            for tag, count in self._words[word].items()
        ]
        found = {
            "options": np.array([self.suffix_length, self.rare, self.beam], np.float64),
            "emissions": np.array(seen, np.int64),
            "trigrams": np.column_stack([self._follow.grams, self._follow.counts]),
            **_of_text("tags", self.tags),
            **_of_text("words", words),
        }
        return {"hmm": _checksum(found), **found}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The tagger that :meth:`arrays` came from, with identical answers.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        names = ("options", "emissions", "trigrams", "tags", "tags.ends", "words", "words.ends")
        strange = set(arrays) ^ {"hmm", *names}
        if strange:
            raise _foreign(f"array {min(strange)!r} is missing or not expected")
        found = {name: np.asarray(arrays[name]) for name in names}
        if not np.array_equal(_checksum(found), np.asarray(arrays["hmm"])):
            raise _foreign("the checksum differs")
        suffix_length, rare, beam = found["options"].tolist()
        model = cls(suffix_length=int(suffix_length), rare=int(rare), beam=beam)
        words = _text(found, "words")
        counts: dict[str, dict[int, int]] = {word: {} for word in words}
        for number, tag, count in found["emissions"].tolist():
            counts[words[number]][tag] = count
        grams = np.ascontiguousarray(found["trigrams"][:, :3])
        model._prepare(_text(found, "tags"), counts, grams, found["trigrams"][:, 3].copy())
        return model

    def _prepare(
        self,
        tags: tuple[str, ...],
        words: dict[str, dict[int, int]],
        grams: Integers,
        counts: Integers,
    ) -> None:
        self.tags = tags
        self._words = words
        size = 2 * len(tags)
        self._follow = TagTrigrams(grams, counts, size=size)
        self._word_tags = WordTags(
            words, len(tags), suffix_length=self.suffix_length, rare=self.rare
        )
        states = np.bincount(grams[:, 2], counts, size + 1)[:-1] + 0.5
        self._log_prior = np.log(states / states.sum()).reshape(-1, 2)  # by flag
        self._seen: dict[str, Candidates] = {}

    def _candidates(self, token: str) -> Candidates:
        known = self._seen.get(token)
        if known is not None:
            return known
        chance = self._word_tags(token)
        flag = int(capitalised(token))
        tags = np.flatnonzero(chance >= UNLIKELY * chance.max())
        if len(tags) > MOST:
            tags = np.sort(tags[np.argpartition(chance[tags], -MOST)[-MOST:]])
        scores = np.log(chance[tags]) - self._log_prior[tags, flag]
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        found = self._seen[token] = Candidates(2 * tags + flag, scores)
        return found

    def _fitted(self) -> None:
        if not self.tags:
            raise RunError("this tagger has counted nothing yet; call fit first")


def _of_text(name: str, strings: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Strings as their UTF-8 bytes, one after the other, and where each ends."""
    coded = [string.encode("utf-8", "surrogatepass") for string in strings]
    return {
        name: np.frombuffer(b"".join(coded), np.uint8).copy(),
        f"{name}.ends": np.cumsum([len(code) for code in coded], dtype=np.int64),
    }


def _text(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    whole, ends = arrays[name].tobytes(), arrays[f"{name}.ends"].tolist()
    starts = [0, *ends[:-1]]
    parts = (whole[i:j] for i, j in zip(starts, ends, strict=True))
    return tuple(part.decode("utf-8", "surrogatepass") for part in parts)


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> Integers:
    checksum = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return np.array([checksum], np.int64)


def _foreign(what: str) -> RunError:
    return RunError(f"a saved hidden Markov model is damaged or foreign: {what}; train it again")
