r"""Retrieval: the answer to the nearest source seen in training, by cosine of TF-IDF vectors.

Salton & Buckley (1988, "Term-weighting approaches in automatic text retrieval"): a text is a vector with

.. math:: x_w = (1 + \ln c_w) \, \ln \frac{N + 1}{n_w + 1} + \epsilon

for each word w that it has, c its count in the text, n the texts among all N that have it; texts are
compared by the cosine of their vectors. The vectors are kept word by word, so that a query reads only the
lists of its own words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.saved import Arrays, of_text, opened, sealed, text
from unrolled.errors import DataError, RunError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Pairs = Sequence[tuple[Sequence[str], Sequence[str]]]

EPSILON = 1e-3  # what a word counts that is in all texts

_KIND = "retrieval"
_ARRAYS = (
    *("words", "words.ends", "targets", "targets.ends", "target.words", "target.words.ends"),
    *("answers", "lists", "texts", "weights"),
)


class Answer(NamedTuple):
    """A target of the training pairs.

    Attributes:
        tokens: the target.
        score: the cosine of its source and the query, 0 to 1.
        pair: the place of the pair in training, from 0.
    """

    tokens: list[str]
    score: float
    pair: int


class Retrieval:
    """Answers with targets seen in training.

    >>> pairs = [("how are you ?", "fine ."), ("who are you ?", "a program ."), ("hello", "hello !")]
    >>> model = Retrieval().fit([(question.split(), answer.split()) for question, answer in pairs])
    >>> [(answer.tokens, round(answer.score, 2)) for answer in model.answer("who is there ?".split(), 2)]
    [(['a', 'program', '.'], 0.31), (['fine', '.'], 0.05)]
    """

    def __init__(self) -> None:
        self._size = 0

    def fit(self, pairs: Pairs) -> Self:
        """Remembers pairs, each ``(source tokens, target tokens)``. Either may be empty.

        Raises:
            DataError: if there are no pairs.
        """
        if not pairs:
            raise DataError("there are no pairs to remember; at least one is needed")
        words = {
            word: i for i, word in enumerate(sorted({w for source, _ in pairs for w in source}))
        }
        targets = list(dict.fromkeys(tuple(target) for _, target in pairs))
        place = {target: number for number, target in enumerate(targets)}
        counts = [Counter(source) for source, _ in pairs]
        sizes = np.array([len(count) for count in counts], np.int64)
        word = np.array([words[w] for w in chain.from_iterable(counts)], np.int64)
        number = np.array([n for count in counts for n in count.values()], np.float64)
        text_ = np.repeat(np.arange(len(pairs)), sizes)
        lists = np.bincount(word, minlength=len(words))
        weights = (1 + np.log(number)) * _rarity(lists, len(pairs))[word]
        norms = np.sqrt(np.bincount(text_, weights**2, len(pairs)))
        weights /= np.maximum(norms[text_], 1e-300)
        order = np.argsort(word, kind="stable")
        answers = np.array([place[tuple(target)] for _, target in pairs], np.int64)
        self._prepare(tuple(words), targets, answers, lists, text_[order], weights[order])
        return self

    def answer(self, tokens: Sequence[str], n_best: int = 1) -> list[Answer]:
        """The answers to the nearest sources, the nearest first, at most ``n_best``, no two the same.

        Of equally near ones the answer given most often in training comes first, then that of the
        earliest pair; so it is for a query without any known word, too.
        """
        if not self._size:
            raise RunError("this retrieval has seen nothing yet; call fit first")
        scores = np.zeros(len(self._answers))
        norm = 0.0
        for word, count in Counter(tokens).items():
            known = self._words.get(word, -1)
            rarity = self._rarity[known] if known >= 0 else self._unknown
            weight = (1 + np.log(count)) * rarity
            norm += weight**2
            if known >= 0:
                part = slice(self._starts[known], self._starts[known + 1])
                scores[self._texts[part]] += (
                    weight * self._weights[part]
                )  # no text is twice in a list
        scores /= max(np.sqrt(norm), 1e-300)
        scores = np.minimum(scores, 1.0)
        order = np.lexsort((np.arange(len(scores)), -self._often, -scores.round(12)))
        found: dict[int, Answer] = {}
        for pair in order.tolist():
            answer = int(self._answers[pair])
            if len(found) == n_best:
                break
            if answer not in found:
                found[answer] = Answer(list(self._targets[answer]), float(scores[pair]), pair)
        return list(found.values())

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """The best answer's tokens."""
        return self.answer(tokens)[0].tokens

    @property
    def table_entries(self) -> int:
        """The number of words kept with texts."""
        return len(self._weights) if self._size else 0

    def arrays(self) -> Arrays:
        """Everything as named arrays, for safetensors."""
        if not self._size:
            raise RunError("this retrieval has seen nothing yet; call fit first")
        vocabulary = {w: i for i, w in enumerate(sorted({w for t in self._targets for w in t}))}
        ids = [vocabulary[word] for target in self._targets for word in target]
        ends = np.cumsum([len(target) for target in self._targets], dtype=np.int64)
        found = {
            **of_text("words", tuple(self._words)),
            **of_text("target.words", tuple(vocabulary)),
            "targets": np.array(ids, np.int64),
            "targets.ends": ends,
            "answers": self._answers,
            "lists": np.diff(self._starts),
            "texts": self._texts,
            "weights": self._weights,
        }
        return sealed(_KIND, found)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from, with identical answers.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        found = opened(_KIND, arrays, _ARRAYS)
        vocabulary = text(found, "target.words")
        ends = found["targets.ends"].tolist()
        words = [vocabulary[word] for word in found["targets"].tolist()]
        targets = [tuple(words[i:j]) for i, j in zip([0, *ends], ends, strict=False)]
        parts = (found[name] for name in ("answers", "lists", "texts", "weights"))
        model = cls()
        model._prepare(text(found, "words"), targets, *parts)
        return model

    def _prepare(
        self,
        words: Sequence[str],
        targets: Sequence[tuple[str, ...]],
        answers: Integers,
        lists: Integers,
        texts: Integers,
        weights: Floats,
    ) -> None:
        self._size = len(answers)
        self._words = {word: number for number, word in enumerate(words)}
        self._targets, self._answers = targets, answers
        self._texts, self._weights = texts, weights
        self._starts = np.concatenate([[0], np.cumsum(lists)]).astype(np.int64)
        self._rarity = _rarity(lists, len(answers))
        self._unknown = float(_rarity(np.zeros(1, np.int64), len(answers))[0])
        self._often = np.bincount(answers)[answers]  # how often each pair's answer was given


def _rarity(texts: Integers, size: int) -> Floats:
    """The second factor of a word's weight, for words that so many of all ``size`` texts have."""
    rarity: Floats = np.log((size + 1) / (texts + 1)) + EPSILON
    return rarity
