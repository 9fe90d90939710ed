r"""Phrase memory: translation by phrases seen in training, in the order of the source.

Koehn, Och & Marcu (2003, "Statistical phrase-based translation"), without reordering: the source is cut
into phrases and each gets a target phrase so that

.. math:: \sum_k \Big( \sum_m \lambda_m h_m(\bar f_k, \bar e_k) + \lambda_p + \lambda_w |\bar e_k| \Big)
          + \lambda_{LM} \ln p_{LM}(e)

is greatest: h are the features of :mod:`unrolled.baselines.phrase_table`, λ their weights, one for each
phrase and one for each target word. Phrases are read off alignments by IBM model 1
(:mod:`unrolled.baselines.phrases`), the language model is a Kneser-Ney model of the targets. A source that
was seen whole is answered with its most frequent target; a word never seen stands for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.ibm1 import IBM1, Pairs
from unrolled.baselines.ngram import KneserNey
from unrolled.baselines.phrase_table import PhraseTable
from unrolled.baselines.phrases import Runs, grow_diag_final, phrase_pairs
from unrolled.baselines.saved import Arrays, of_text, opened, sealed, text, within
from unrolled.decoding.monotone import Options, Piece, monotone
from unrolled.errors import ConfigError, RunError

Integers = NDArray[np.int64]

FEATURE_WEIGHTS = np.array([0.3, 0.2, 0.1, 0.2])
PHRASE_WEIGHT = -0.15
WORD_WEIGHT = 0.45
LM_WEIGHT = 0.8
ROWS = 10  # targets kept for a source phrase
UNSEEN = -5.0  # the score of a word that was never a phrase

_KIND = "phrase-memory"
_OWN = (
    *("options", "source", "source.ends", "target", "target.ends"),
    *("dictionary", "sentences", "sentence.ends"),
)


class PhraseMemory:
    """A translator that remembers phrases.

    Args:
        longest: words of a phrase, at most.
        order: of the language model.
        beam: hypotheses kept for each number of translated words.

    >>> pairs = [("das alte haus", "the old house"), ("das buch", "the book"), ("ein buch", "a book")]
    >>> model = PhraseMemory().fit([(f.split(), e.split()) for f, e in pairs])
    >>> model.translate("ein alte haus 42".split())
    ['a', 'old', 'house', '42']

    Raises:
        ConfigError: if an option is out of its range.
    """

    def __init__(self, *, longest: int = 5, order: int = 3, beam: int = 10) -> None:
        for flag, number in (("longest", longest), ("order", order), ("beam", beam)):
            if number < 1:
                raise ConfigError(f"--model.{flag} is at least 1, not {number}")
        self.longest, self.order, self.beam = longest, order, beam
        self.source_words: tuple[str, ...] = ()
        self.target_words: tuple[str, ...] = ()

    def fit(self, pairs: Pairs) -> Self:
        """Learns from sentence pairs, each ``(source tokens, target tokens)``. Either may be empty.

        Raises:
            DataError: if there is no source token or no target token.
        """
        forward = IBM1().fit(pairs)
        backward = IBM1().fit([(target, source) for source, target in pairs])
        self._name(forward.source_words, forward.target_words)
        sources = [self._source(source) for source, _ in pairs]
        targets = [self._target(target) for _, target in pairs]
        runs = self._runs(pairs, forward, backward)
        joined = np.concatenate(sources), np.concatenate(targets)
        table = PhraseTable.of(*joined, runs, models=(forward, backward), keep=ROWS)
        boundary = np.full(max(self.order - 1, 1), len(self.target_words))
        stream = [part for target in targets for part in (boundary, target)]
        lm = KneserNey(self.order).fit(
            np.concatenate([*stream, boundary]), len(self.target_words) + 2
        )
        unknown = len(self.target_words) + 1
        best = [self._target_ids.get(w, unknown) for w in forward.translate(self.source_words)]
        self._prepare(table, lm, np.array(best, np.int64), _remembered(sources, targets))
        return self

    @property
    def table_entries(self) -> int:
        """The number of phrase pairs stored."""
        self._fitted()
        return len(self.table.target_lengths)

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """The target of a source seen whole, else the best translation by phrases; of nothing, nothing."""
        return self.n_best(tokens, 1)[0][0]

    def n_best(self, tokens: Sequence[str], count: int) -> list[tuple[list[str], float]]:
        """At most ``count`` different translations with their scores, the best first.

        A source seen whole has one, with the score 0.
        """
        self._fitted()
        ids = self._source(tokens)
        known = self._sentences.get(ids.tobytes()) if len(ids) and ids.min() >= 0 else None
        if known is not None:
            return [([self.target_words[word] for word in known], 0.0)]
        if not len(tokens):
            return [([], 0.0)]
        write = partial(self._writes, tokens)
        paths = monotone(
            [self._options(ids, position) for position in range(len(ids))],
            self.lm.extend,
            state=self._start,
            end=len(self.target_words),
            weight=LM_WEIGHT,
            beam=self.beam,
            n_best=count,
            write=write,
        )
        return [([word for p in path.pieces for word in write(p)], path.score) for path in paths]

    def arrays(self) -> Arrays:
        """Everything as named arrays, for safetensors."""
        self._fitted()
        pieces = [piece for pair in self._sentences.items() for piece in pair]
        ids = [np.frombuffer(p, np.int64) if isinstance(p, bytes) else np.array(p) for p in pieces]
        found = {
            "options": np.array([self.longest, self.order, self.beam], np.int64),
            **of_text("source", self.source_words),
            **of_text("target", self.target_words),
            "dictionary": self._dictionary,
            "sentences": np.concatenate([np.zeros(0), *ids]).astype(np.int32),
            "sentence.ends": np.cumsum([len(piece) for piece in ids], dtype=np.int64),
            **{f"table.{name}": array for name, array in self.table.arrays().items()},
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
        table = [f"table.{name}" for name in PhraseTable.__dataclass_fields__]
        found = opened(_KIND, arrays, [*_OWN, *table, *inner])
        longest, order, beam = found["options"].tolist()
        model = cls(longest=longest, order=order, beam=beam)
        model._name(text(found, "source"), text(found, "target"))
        ids, ends = found["sentences"].astype(np.int64), found["sentence.ends"].tolist()
        pieces = [ids[i:j] for i, j in zip([0, *ends], ends, strict=False)]
        pairs = zip(pieces[::2], pieces[1::2], strict=True)
        model._prepare(
            PhraseTable.from_arrays(within("table.", found)),
            KneserNey.from_arrays(within("lm.", found)),
            found["dictionary"],
            {source.tobytes(): tuple(target.tolist()) for source, target in pairs},
        )
        return model

    def _name(self, source_words: Sequence[str], target_words: Sequence[str]) -> None:
        self.source_words, self.target_words = tuple(source_words), tuple(target_words)
        self._source_ids = {word: number for number, word in enumerate(self.source_words)}
        self._target_ids = {word: number for number, word in enumerate(self.target_words)}

    def _prepare(
        self,
        table: PhraseTable,
        lm: KneserNey,
        dictionary: Integers,
        sentences: dict[bytes, tuple[int, ...]],
    ) -> None:
        self.table, self.lm = table, lm
        self._dictionary, self._sentences = dictionary, sentences
        self._index = table.index()
        self._targets = table.padded_targets()
        self._start = lm.after(np.full(self.order - 1, len(self.target_words)))
        weights = PHRASE_WEIGHT + WORD_WEIGHT * table.target_lengths
        self._scores = table.features.astype(np.float64) @ FEATURE_WEIGHTS + weights

    def _runs(self, pairs: Pairs, forward: IBM1, backward: IBM1) -> Runs:
        """The phrase pairs of all sentences."""
        there = forward.align_all(pairs)
        back = backward.align_all([(target, source) for source, target in pairs])
        links = [grow_diag_final(f.tolist(), b.tolist()) for f, b in zip(there, back, strict=True)]
        lengths = [len(source) for source, _ in pairs], [len(target) for _, target in pairs]
        return phrase_pairs(*lengths, links, longest=self.longest)

    def _options(self, ids: Integers, position: int) -> Options:
        """The phrases that begin at a position of a source, by its ids (-1 for unknown words)."""
        rows: list[Integers] = []
        ends: list[int] = []
        for end in range(position + 1, min(position + self.longest, len(ids)) + 1):
            first, last = self._index.get(ids[position:end].tobytes(), (0, 0))
            rows.append(np.arange(first, last))
            ends += [end] * (last - first)
        chosen = np.concatenate(rows)
        tokens, scores = self._targets[chosen], self._scores[chosen]
        lengths = self.table.target_lengths[chosen]
        if position + 1 not in ends:  # never a phrase of its own
            word = int(ids[position])
            alone = np.full((1, tokens.shape[1]), -1)
            alone[0, 0] = len(self.target_words) + 1 if word < 0 else self._dictionary[word]
            tokens, lengths = np.concatenate([tokens, alone]), np.append(lengths, 1)
            scores = np.append(scores, UNSEEN)
            ends.append(position + 1)
        return Options(np.array(ends), np.maximum(tokens, 0), lengths, scores)

    def _writes(self, tokens: Sequence[str], piece: Piece) -> tuple[str, ...]:
        """The words of a piece; unknown ones are those of the source."""
        known = len(self.target_words)
        return tuple(
            self.target_words[word] if word < known else tokens[piece.start]
            for word in piece.tokens
        )

    def _source(self, tokens: Sequence[str]) -> Integers:
        return np.array([self._source_ids.get(token, -1) for token in tokens], np.int64)

    def _target(self, tokens: Sequence[str]) -> Integers:
        return np.array([self._target_ids[token] for token in tokens], np.int64)

    def _fitted(self) -> None:
        if not self.target_words:
            raise RunError("this phrase memory has learnt nothing yet; call fit first")


def _remembered(
    sources: Sequence[Integers], targets: Sequence[Integers]
) -> dict[bytes, tuple[int, ...]]:
    """The most frequent target of each source that is not empty; of equally frequent ones the first."""
    seen: dict[bytes, Counter[tuple[int, ...]]] = {}
    for source, target in zip(sources, targets, strict=True):
        if len(source):
            seen.setdefault(source.tobytes(), Counter())[tuple(target.tolist())] += 1
    return {source: found.most_common(1)[0][0] for source, found in seen.items()}
