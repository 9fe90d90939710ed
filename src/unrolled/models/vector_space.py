"""Words as points: cosines, nearest neighbours, and analogies by arithmetic.

An analogy *a is to b as c is to …* is answered by the word x, none of the three, that maximises

- 3CosAdd: cos(x, b) - cos(x, a) + cos(x, c) (Mikolov, Yih & Zweig 2013), or
- 3CosMul: s(x, b) s(x, c) / (s(x, a) + 0.001) with s = (cos + 1) / 2 (Levy & Goldberg 2014, "Linguistic
  regularities in sparse and explicit word representations", section 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HELD = 4_000_000  # cosines held at once
_LEAST = 1e-3


class VectorSpace:
    """The vectors of words, scaled to length 1.

    Args:
        words: V words, each once.
        vectors: ``[V, E]``. A word with a vector of zeros has the cosine 0 with all.

    >>> space = VectorSpace(["up", "above", "left"], np.array([[0, 2], [0.1, 1], [-1, 0.0]]))
    >>> space.nearest(["up"], 1)
    [[('above', 0.995037)]]
    """

    def __init__(self, words: Sequence[str], vectors: NDArray[np.floating]) -> None:
        self.words = tuple(words)
        self._places = {word: place for place, word in enumerate(self.words)}
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        self.units: NDArray[np.float32] = units.astype(np.float32)
        """``[V, E]``"""

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def places(self, groups: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        """``[N, K]`` the places of groups of K known words.

        Raises:
            KeyError: a word is not known.
        """
        found = [[self._places[word] for word in group] for group in groups]
        width = len(groups[0]) if groups else 0
        return np.array(found, dtype=np.int64).reshape(len(groups), width)

    def cosines(self, pairs: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """``[N]`` the cosine of each pair of known words."""
        if not len(pairs):
            return np.zeros(0, dtype=np.float32)
        first, second = self.places(pairs).T
        return np.asarray(np.einsum("ne,ne->n", self.units[first], self.units[second]))

    def nearest(self, words: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """The ``count`` words nearest to each known word, without itself, with their cosines."""
        found: list[list[tuple[str, float]]] = []
        step = max(1, _HELD // max(1, len(self)))
        for start in range(0, len(words), step):
            [places] = self.places([words[start : start + step]])
            cosines = self.units[places] @ self.units.T
            cosines[np.arange(len(places)), places] = -np.inf
            for row in cosines:
                best = _largest(row, min(count, len(self) - 1))
                found.append([(self.words[p], round(float(row[p]), 6)) for p in best])
        return found

    def analogies(self, questions: Sequence[Sequence[str]], *, product: bool) -> list[str]:
        """The answer to each question (a, b, c) of known words: 3CosMul if ``product``, else 3CosAdd."""
        answers: list[str] = []
        step = max(1, _HELD // max(1, len(self)))
        for start in range(0, len(questions), step):
            places = self.places(questions[start : start + step])
            if product:
                a, b, c = ((self.units[p] @ self.units.T + 1) / 2 for p in places.T)
                scores = b * c / (a + _LEAST)
            else:
                a, b, c = (self.units[p] for p in places.T)
                scores = (b - a + c) @ self.units.T
            np.put_along_axis(scores, places, -np.inf, axis=1)
            answers += [self.words[place] for place in scores.argmax(axis=1)]
        return answers


def _largest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The places of the largest values, the largest first, ties in order."""
    if count < len(values) // 8:
        chosen = np.sort(np.argpartition(-values, count)[:count])
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")][:count]
