r"""Lists of the n best outputs of a system, reordered by a log-linear model of their features.

Of a list's candidates y with features :math:`f_k(y)`, logarithms of probabilities as a rule, that is chosen
which has the largest

.. math:: s(y) = \sum_k \lambda_k f_k(y)

(Och & Ney 2002, "Discriminative training and maximum entropy models for statistical machine translation").
The weights come from :mod:`unrolled.decoding.error_rate_training`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.errors import ConfigError, DataError

WORDS = "words"  # a feature that every list can have
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NBest:
    """N lists of candidates, C in all; a list may be empty.

    Attributes:
        texts: the candidates of all lists, one list after the other, [C].
        names: of the features, [F].
        features: [C, F], finite.
        offsets: [N + 1]: the candidates of list i are those from ``offsets[i]`` to ``offsets[i + 1]``.
        sources: what each list is the output for, [N]; None where that is not known.

    >>> lists = NBest(("a", "b", "c"), ("tm", "lm"), np.array([[-1.0, -9], [-2, -3], [-1, -1]]),
    ...               np.array([0, 2, 3]), (None, None))
    >>> lists.best([1.0, 0.0]), lists.best([1.0, 0.5])
    (['a', 'c'], ['b', 'c'])
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]
    features: Floats
    offsets: Integers
    sources: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lists(self) -> Integers:
        """Which list each candidate belongs to, [C]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def chosen(self, weights: ArrayLike) -> Integers:
        """The place of each list's best candidate, the first of equal ones; -1 of an empty list. [N]"""
        scores = self.features @ np.asarray(weights, dtype=np.float64)
        order = np.lexsort((np.arange(len(scores)), -scores, self.lists))
        filled = np.diff(self.offsets) > 0
        found = np.full(len(self), -1)
        found[filled] = order[self.offsets[:-1][filled]]
        return found

    def best(self, weights: ArrayLike) -> list[str]:
        """The best candidate of each list; an empty text for an empty list."""
        return ["" if place < 0 else self.texts[place] for place in self.chosen(weights)]

    def with_feature(self, name: str, values: Sequence[float]) -> NBest:
        """The same lists with one feature more, of every candidate.

        Raises:
            ConfigError: there is a feature of that name.
            DataError: a value that is not finite.
        """
        if name in self.names:
            raise ConfigError(
                f"the lists have a feature {name!r} already; give the new one another name"
            )
        column = np.asarray(values, dtype=np.float64).reshape(len(self.texts))
        if not np.isfinite(column).all():
            worst = int(np.flatnonzero(~np.isfinite(column))[0])
            raise DataError(
                f"the feature {name!r} of the candidate {self.texts[worst]!r} is {column[worst]}; "
                "features are finite: leave the candidate out"
            )
        features = np.concatenate([self.features, column[:, None]], axis=1)
        return replace(self, names=(*self.names, name), features=features)

    def only(self, names: Sequence[str]) -> NBest:
        """The same lists with these features, in this order.

        ``words``, the number of words of a candidate, is counted where it is no feature yet: with it a
        sum of log-probabilities, which every word lowers, need not favour what is short.

        Raises:
            ConfigError: a feature that the lists do not have, or one twice.
        """
        lists = self
        if WORDS in names and WORDS not in self.names:
            lists = self.with_feature(WORDS, [len(text.split()) for text in self.texts])
        for place, name in enumerate(names):
            if name not in lists.names or name in names[:place]:
                problem = "twice" if name in lists.names else f"not one of {', '.join(lists.names)}"
                raise ConfigError(f"--features {name}: {problem}")
        columns = [lists.names.index(name) for name in names]
        return replace(lists, names=tuple(names), features=lists.features[:, columns])

    def with_sources(self, sources: Sequence[str]) -> NBest:
        """The same lists with what they are outputs for.

        Raises:
            DataError: not one for each list.
        """
        if len(sources) != len(self):
            raise DataError(
                f"{len(sources)} sources for {len(self)} lists; expected one line for each list"
            )
        return replace(self, sources=tuple(sources))

    def weights(self, named: Mapping[str, float]) -> Floats:
        """Weights by name as an array [F].

        Raises:
            DataError: a feature without weight, or a weight other than 0 without feature.
        """
        missing = [name for name in self.names if name not in named]
        unknown = [name for name, value in named.items() if value and name not in self.names]
        if missing or unknown:
            what = f"no weight for {missing[0]!r}" if missing else f"no feature {unknown[0]!r}"
            raise DataError(
                f"{what}; the features are {', '.join(self.names) or 'none'}, the weights are of "
                f"{', '.join(named) or 'none'}: give the same --score, --reverse and --features as in tuning"
            )
        return np.array([named[name] for name in self.names], dtype=np.float64)
