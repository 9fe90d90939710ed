"""Transliteration: sounds for letters, or one script for another, by an encoder and decoder, by joint
n-grams, or as the word that is spelt most alike.

It is :mod:`unrolled.tasks.translation` of words: sources are cut into characters and targets into
phonemes, a pronouncing dictionary is read as it is, and a word may have several right answers. A network
learns all of them, and its weights are chosen by its edits of the validation words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from unrolled.config import RunConfig
from unrolled.tasks.search import Search
from unrolled.tasks.trained_transliterator import TrainedTransliterator, measure_words
from unrolled.tasks.translation import Translation
from unrolled.tasks.translation_data import Example
from unrolled.tasks.translation_models import Network
from unrolled.tasks.transliteration_data import fields_of, prepare, singly

WORD, SAID = "word", "pronunciation"  # what source and target of a dictionary are called


class Transliteration(Translation):
    """The task: see :mod:`unrolled.tasks.transliteration`."""

    trained: ClassVar[type[TrainedTransliterator]] = TrainedTransliterator
    monitor: ClassVar[str] = "cost"
    unit: ClassVar[str] = "words"

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """Every model heeds all options of the data."""

    @classmethod
    def read_parts(cls, data: Any, folder: Path) -> None:
        """Reads the words of all parts into the run's cache."""
        prepare(data, folder)

    @classmethod
    def learnt(cls, data: Any, examples: list[Example]) -> list[Example]:
        """All right answers as examples of their own, or the first of each word."""
        return singly(examples) if data.learn == "all" else examples

    @classmethod
    def description(cls, config: RunConfig) -> dict[str, Any]:
        """What every model's ``model.json`` says."""
        data = config.data
        pairs = fields_of(data) is not None
        fields = {"source": data.source, "target": list(data.target), "header": None}
        return {
            "task": cls.trained.TASK,
            "kind": config.model_name,
            "pairs": pairs,
            "fields": fields if pairs else {"source": WORD, "target": [SAID], "header": None},
            "level": data.level,
            "target_level": data.target_level,
            "stress": data.stress,
            "lowercase": data.lowercase,
            "reverse": data.reverse,
        }

    @classmethod
    def validate(cls, model: Network, examples: Sequence[Example]) -> dict[str, float]:
        """Nats, the error rates of answers found with a beam of 1, and their ``cost``.

        That is PER and, to decide between equals, a thousandth of the nats.
        """
        search = Search(beam_size=1, min_length=1)
        answers = model.translate([example.source for example in examples], search)
        characters = model.encoder.target.kind == "characters"
        measure = measure_words(examples, [a[0].text for a in answers], characters=characters)
        found = super().validate(model, examples) | measure.metrics()
        return found | {"cost": found["per"] + found["nats"] / 1000}
