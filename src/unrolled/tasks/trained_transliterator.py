"""A trained transliterator, from a run directory: its answers measured against all right ones of a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unrolled.data.pairs import PairFields
from unrolled.errors import ConfigError
from unrolled.metrics.edit import edit_counts, error_rates, exact_counts
from unrolled.metrics.significance import Floats, Measure, divided
from unrolled.metrics.summed import Summed
from unrolled.tasks.search import Search
from unrolled.tasks.trained_translator import TrainedTranslator, columns
from unrolled.tasks.translation_data import Example
from unrolled.tasks.translation_models import Counted, Network, Translation, Translator
from unrolled.tasks.transliteration_data import plain, read_words, singly

LETTERS = 3  # symbols that are compared together to find the word spelt most alike


class TrainedTransliterator(TrainedTranslator):
    """A trained transliterator with its vocabularies, from a run directory.

    Measured are ``per``, edits of symbols for each symbol of the nearest right answer (of phonemes: the
    phoneme error rate); ``wer``, the share of words for which no right answer was given; and for networks
    ``nats`` of the likeliest right answer, per symbol.
    """

    TASK: ClassVar[str] = "transliteration"
    ANSWER: ClassVar[str] = "transliteration"
    CANDIDATE: ClassVar[str] = "text"

    @classmethod
    def counted(cls, model: Any, description: Mapping[str, Any]) -> Counted:
        """A model that counts, with the symbols that it reads and says."""
        small = bool(description["lowercase"])
        characters, said = (description[name] == "characters" for name in ("level", "target_level"))

        def source(text: str) -> list[str]:
            text = plain(text.lower() if small else text)
            symbols = list(text) if characters else text.split()
            return pieces(symbols) if description["kind"] == "retrieval" else symbols

        target = list[str] if said else str.split
        return Counted(model, source=source, target=target, space="" if said else " ")

    @classmethod
    def nats_of(
        cls, model: Translator, examples: Sequence[Example]
    ) -> list[tuple[float, int]] | None:
        """The nats of each word's likeliest right answer, and its symbols."""
        each = model.nats(singly(list(examples)))
        if each is None:
            return None
        following = iter(each)
        return [min(next(following) for _ in example.references) for example in examples]

    def _read(self, path: Path) -> Iterator[Example]:
        fields: PairFields | None = self.fields if self.description["pairs"] else None
        return iter(read_words(path, fields, stress=self.description["stress"]))

    def _language(self, given: str | None) -> None:
        if given is not None:
            raise ConfigError("--language: symbols are compared, not stems; leave it out")

    def _measured(
        self, examples: Sequence[Example], outputs: Sequence[str], language: str | None
    ) -> tuple[Measure, Sequence[str]]:
        spaced = self.description["target_level"] == "characters"
        return measure_words(examples, outputs, characters=spaced), ()

    def _checked(self, search: Search, n_best: int = 0) -> Search:
        """As for translation, but a network says a symbol at least: nothing is never the right answer."""
        search = super()._checked(search, n_best)
        if not isinstance(self.model, Network) or search.min_length is not None:
            return search
        return search if search.max_length == 1 else replace(search, min_length=1)

    def _answers(
        self, search: Search, n_best: int, numbers: Iterator[int], texts: Sequence[str]
    ) -> list[list[Translation]]:
        return super()._answers(search, n_best, numbers, [plain(text) for text in texts])

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        """ln p(target | source) of each pair (source, target); see the class above."""
        return super().score((s if s is None else plain(s), plain(t)) for s, t in pairs)


def measure_words(
    examples: Sequence[Example], outputs: Sequence[str], *, characters: bool = False
) -> Measure:
    """``per`` and ``wer`` of answers; any right answer of a word counts.

    Args:
        characters: symbols are characters, not what stands between white space.

    >>> words = [Example("read", ("R EH D", "R IY D")), Example("cat", ("K AE T",))]
    >>> measure_words(words, ["R IY D", "K AA T"]).metrics()
    {'per': 0.16666666666666666, 'wer': 0.5}
    """
    references = columns([example.references for example in examples])
    edits = edit_counts(outputs, references, characters=characters)
    right = exact_counts(outputs, references)

    def of(sums: Floats) -> Floats:
        wrong = divided(sums[..., 3] - sums[..., 2], sums[..., 3])
        return np.stack([error_rates(sums[..., :2]), wrong], axis=-1)

    rows = np.concatenate([edits, right, np.ones_like(right)], axis=1)
    return Summed(("per", "wer"), rows[None], of).measure()


def pieces(symbols: Sequence[str], size: int = LETTERS) -> list[str]:
    """All stretches of a word's symbols, its ends marked.

    >>> pieces(list("cat"))
    ['# # c', '# c a', 'c a t', 'a t #', 't # #']
    """
    padded = ["#"] * (size - 1) + list(symbols) + ["#"] * (size - 1)
    return [" ".join(padded[i : i + size]) for i in range(len(padded) - size + 1)]
