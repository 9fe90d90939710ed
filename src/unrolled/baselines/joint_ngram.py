r"""Joint n-grams: letters to sounds, or one script to another, as a language model of graphones.

Galescu & Allen (2001, "Bi-directional conversion between graphemes and phonemes using a joint n-gram
model"), Bisani & Ney (2008, "Joint-sequence models for grapheme-to-phoneme conversion"): training pairs are
cut into units of a few source and a few target symbols (:mod:`unrolled.baselines.graphones`), the rows of
units are the text of a Kneser-Ney n-gram model, and a source is answered with

.. math:: \arg\max_{\varphi} \; \max_{u_1 \dots u_k : \, g(u) = g, \, \varphi(u) = \varphi} \;
          \prod_i p(u_i \mid u_{i-n+1} \dots u_{i-1}) .

A symbol that was never seen stands for itself if it is a target symbol, too, else for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.graphones import MOVES, graphones
from unrolled.baselines.ngram import KneserNey
from unrolled.baselines.saved import Arrays, of_text, opened, sealed, text, within
from unrolled.decoding.monotone import Options, Piece, monotone
from unrolled.errors import ConfigError, DataError, RunError

Integers = NDArray[np.int64]
Pairs = Sequence[tuple[Sequence[str], Sequence[str]]]
Unit = tuple[tuple[str, ...], tuple[str, ...]]

_KIND = "joint-ngram"
_ARRAYS = ("options", "symbols", "symbols.ends", "units")


class JointNGram:
    """Answers symbol by symbol.

    Args:
        order: n, at least 1.
        beam: hypotheses kept for each number of symbols read.

    >>> words = [("cat", "K AE T"), ("cab", "K AE B"), ("bat", "B AE T"), ("chat", "CH AE T")]
    >>> model = JointNGram(order=3).fit([(list(word), said.split()) for word, said in words])
    >>> model.translate(list("chab"))
    ['CH', 'AE', 'B']

    Raises:
        ConfigError: if an option is below 1.
    """

    def __init__(self, *, order: int = 7, beam: int = 10) -> None:
        for flag, number in (("order", order), ("beam", beam)):
            if number < 1:
                raise ConfigError(f"--model.{flag} is at least 1, not {number}")
        self.order, self.beam = order, beam
        self.units: tuple[Unit, ...] = ()

    def fit(self, pairs: Pairs) -> Self:
        """Learns from pairs, each ``(source symbols, target symbols)``.

        Pairs without a source, or with a target more than twice as long, are passed over.

        Raises:
            DataError: if no pair is left.
        """
        ids: dict[str, int] = {}
        for symbol in chain.from_iterable(chain(*pair) for pair in pairs):
            ids.setdefault(symbol, len(ids))
        sources = [np.array([ids[symbol] for symbol in source], np.int64) for source, _ in pairs]
        targets = [np.array([ids[symbol] for symbol in target], np.int64) for _, target in pairs]
        rows = [
            list(_units(source, target, cut))
            for (source, target), cut in zip(pairs, graphones(sources, targets), strict=True)
            if cut is not None
        ]
        if not rows:
            raise DataError(
                f"none of {len(pairs)} pairs can be cut into units: a pair needs a source symbol, and a "
                "target at most twice as long as its source"
            )
        units = tuple(sorted(set(chain.from_iterable(rows))))
        places = {unit: number for number, unit in enumerate(units)}
        gap = [len(units)] * max(self.order - 1, 1)
        stream = [place for row in rows for place in (*gap, *(places[unit] for unit in row))]
        self._prepare(units, KneserNey(self.order).fit(np.array(stream + gap), len(units) + 2))
        return self

    @property
    def table_entries(self) -> int:
        """The number of n-grams of units stored, of all lengths."""
        self._fitted()
        return self.lm.table_entries

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """The best target of a source; of nothing, nothing."""
        return self.n_best(tokens, 1)[0][0]

    def n_best(self, tokens: Sequence[str], count: int) -> list[tuple[list[str], float]]:
        """At most ``count`` different targets, the best first, each with ln p of its best row of units."""
        self._fitted()
        if not len(tokens):
            return [([], 0.0)]
        options = [self._options(tokens, position) for position in range(len(tokens))]
        write = partial(self._writes, tokens)
        paths = monotone(
            options,
            self.lm.extend,
            state=self._start,
            end=len(self.units),
            beam=self.beam,
            n_best=count,
            write=write,
        )
        return [([word for p in path.pieces for word in write(p)], path.score) for path in paths]

    def arrays(self) -> Arrays:
        """Units and counts as named arrays, for safetensors."""
        self._fitted()
        symbols = sorted({symbol for unit in self.units for part in unit for symbol in part})
        ids = {symbol: number for number, symbol in enumerate(symbols)}
        longest = [max(move[side] for move in MOVES) for side in (0, 1)]
        units = np.full((len(self.units), sum(longest)), -1)
        for row, (source, target) in enumerate(self.units):
            units[row, : len(source)] = [ids[symbol] for symbol in source]
            units[row, longest[0] : longest[0] + len(target)] = [ids[symbol] for symbol in target]
        found = {
            "options": np.array([self.order, self.beam, longest[0]], np.int64),
            **of_text("symbols", symbols),
            "units": units,
            **{f"lm.{name}": array for name, array in self.lm.arrays().items()},
        }
        return sealed(_KIND, found)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from, with identical answers.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        inner = [name for name in arrays if name.startswith("lm.")]
        found = opened(_KIND, arrays, [*_ARRAYS, *inner])
        order, beam, longest = found["options"].tolist()
        symbols = text(found, "symbols")
        units: list[Unit] = []
        for row in found["units"].tolist():
            source = tuple(symbols[i] for i in row[:longest] if i >= 0)
            units.append((source, tuple(symbols[i] for i in row[longest:] if i >= 0)))
        model = cls(order=order, beam=beam)
        model._prepare(tuple(units), KneserNey.from_arrays(within("lm.", found)))
        return model

    def _prepare(self, units: tuple[Unit, ...], lm: KneserNey) -> None:
        self.units, self.lm = units, lm
        self._start = lm.after(np.full(self.order - 1, len(units)))
        self._by_source: dict[tuple[str, ...], list[int]] = {}
        for number, (source, _) in enumerate(units):
            self._by_source.setdefault(source, []).append(number)
        self._targets = {symbol for _, target in units for symbol in target}

    def _options(self, tokens: Sequence[str], position: int) -> Options:
        """The units whose source stands at a position; where no single symbol is one, an unknown unit."""
        ends: list[int] = []
        units: list[int] = []
        for end in range(position + 1, min(position + max(MOVES)[0], len(tokens)) + 1):
            known = self._by_source.get(tuple(tokens[position:end]), [])
            if end == position + 1 and not known:
                known = [len(self.units) + 1]
            units += known
            ends += [end] * len(known)
        one = np.ones(len(units), np.int64)
        return Options(np.array(ends), np.array(units)[:, None], one, np.zeros(len(units)))

    def _writes(self, tokens: Sequence[str], piece: Piece) -> tuple[str, ...]:
        """The target symbols of a piece; an unknown source symbol is its own, if it is one of them."""
        (unit,) = piece.tokens
        if unit < len(self.units):
            return self.units[unit][1]
        symbol = tokens[piece.start]
        return (symbol,) if symbol in self._targets else ()

    def _fitted(self) -> None:
        if not self.units:
            raise RunError("this joint n-gram model has learnt nothing yet; call fit first")


def _units(
    source: Sequence[str], target: Sequence[str], cut: Sequence[tuple[int, int]]
) -> Iterator[Unit]:
    """The units of a pair, by its cut."""
    i = j = 0
    for a, b in cut:
        yield tuple(source[i : i + a]), tuple(target[j : j + b])
        i, j = i + a, j + b
