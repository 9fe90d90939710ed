r"""Byte pair encoding with joins left out at random ("BPE-dropout").

A word is cut as always, by the learnt joins of neighbouring pieces, those learnt first before others, but
in each step every join that could be made is left out with the probability p. In training a model so meets a
word in many cuts and learns what its pieces mean; in use there is only the one without dropout (Provilkov,
Emelianenko & Voita 2020, section 3).
"""

from __future__ import annotations

import json
import random
from functools import cached_property
from itertools import pairwise

import torch

from unrolled.data.segment import SPECIAL, UNKNOWN, Segmenter
from unrolled.data.subwords import runs
from unrolled.errors import ConfigError

WAYS = 32  # cuts of a word, drawn once


class Recutter:
    """A segmenter of pieces by byte pair encoding whose cuts are drawn anew each time.

    Of each word there are :data:`WAYS` cuts that depend on the word and the seed alone; torch's generator,
    with which a training goes on where it stopped, chooses among them.

    Args:
        segmenter: what would cut without dropout, of the kind ``bpe``. rate: p, in [0, 1).

    Raises:
        ConfigError: a segmenter of another kind.

    >>> segmenter = Segmenter.fit(["to be or not to be"], kind="bpe", size=14)
    >>> segmenter.encode("to be") == Recutter(segmenter, 0.0, seed=0).encode("to be")
    True
    >>> {segmenter.decode(Recutter(segmenter, 0.5, seed=0).encode("to be")) for _ in range(9)}
    {'to be'}
    """

    def __init__(self, segmenter: Segmenter, rate: float, *, seed: int) -> None:
        if segmenter.kind != "bpe":
            raise ConfigError(
                f"--data.subword-dropout is of the level bpe, not of {segmenter.kind}; set it to 0"
            )
        self._segmenter, self._rate, self._seed = segmenter, rate, seed
        self._numbers = {s: i for i, s in enumerate(segmenter.symbols) if i >= len(SPECIAL)}
        self._ways: dict[str, list[list[int]]] = {}

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        """The joins in the order in which they were learnt."""
        joins = json.loads(self._segmenter.model)["model"]["merges"]
        return {(left, right): rank for rank, (left, right) in enumerate(joins)}

    def encode(self, text: str) -> list[int]:
        """The numbers of a text in a cut that is drawn, without start and end."""
        words = (text.lower() if self._segmenter.lowercase else text).split()
        ids: list[int] = []
        for word, way in zip(words, torch.randint(WAYS, (len(words),)).tolist(), strict=True):
            ids += self._ways_of(word)[way]
        return ids

    def _ways_of(self, word: str) -> list[list[int]]:
        found = self._ways.get(word)
        if found is None:
            draw = random.Random(f"{self._seed} {word}")
            found = self._ways[word] = [self._cut(word, draw) for _ in range(WAYS)]
        return found

    def _cut(self, word: str, draw: random.Random) -> list[int]:
        ids: list[int] = []
        for run, known in runs(" " + word, self._numbers):
            if known:
                ids += [self._numbers[piece] for piece in self._joined(run, draw)]
            else:
                ids.append(UNKNOWN)
        return ids

    def _joined(self, run: str, draw: random.Random) -> list[str]:
        """The pieces of a stretch of known characters."""
        pieces, ranks = list(run), self._ranks
        while True:
            joins = [
                (ranks[pair], place)
                for place, pair in enumerate(pairwise(pieces))
                if pair in ranks and draw.random() >= self._rate
            ]
            if not joins:
                return pieces
            _, place = min(joins)
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
