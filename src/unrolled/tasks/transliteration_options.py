"""Options of transliteration: words and how they are said or written, and the models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, held_out
from unrolled.tasks.translation_options import EncoderDecoder, TranslationTraining
from unrolled.training.config import USUAL_RATE, FittedAtOnce

_RECORDS = (".jsonl", ".csv", ".tsv")  # endings of files that have fields


@dataclass(frozen=True)
class TransliterationData:
    """Words and what they become: a pronouncing dictionary, or pairs as in translation. `.gz` too.

    Attributes:
        train: Words to learn from: a dictionary in the format of CMUdict, or pairs (parallel files, TSV,
            CSV, JSONL) where source and target are named.
        valid: Words to choose by (best weights, early stopping), likewise; without it a valid-share of
            the training words.
        test: Words to measure on, likewise; without it a test-share of the training words.
        source: Of pairs: ending of the file, or field, of what is read. A dictionary has none.
        target: Of pairs: ending of the file, or field, of what is to be said; several are several right
            answers, as are several lines with one source.
        level: What the source is cut into: characters, or words between white space.
        target_level: What the target is cut into: words (phonemes with spaces between), or characters.
        lowercase: Read small letters for capitals.
        stress: Of a dictionary: keep the digits of vowels, AH0 and AH1, apart.
        learn: Of several right answers of a word, learn all, or the first.
        reverse: Read the source from its end.
        max_length: Learn only from pairs of at most so many symbols a side; 0 takes all.
        valid_share: Share of the training words held out where there is no valid file. Which ones is
            decided by a hash of each word, so that the parts are the same everywhere.
        test_share: Share of the training words held out where there is no test file, likewise.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    source: str = ""
    target: tuple[str, ...] = ()
    level: Literal["characters", "words"] = "characters"
    target_level: Literal["words", "characters"] = "words"
    lowercase: bool = True
    stress: bool = False
    learn: Literal["all", "first"] = "all"
    reverse: bool = False
    max_length: int = 100
    valid_share: float = 0.05
    test_share: float = 0.1

    def __post_init__(self) -> None:
        held_out(self)
        at_least(self, "data", {"max_length": 0})
        if bool(self.source) != bool(self.target):
            given, missing = ("source", "target") if self.source else ("target", "source")
            raise ConfigError(
                f"--data.{given} is of pairs, which need --data.{missing}, too; "
                "leave both out for a pronouncing dictionary"
            )
        if self.source and self.stress:
            raise ConfigError(
                "--data.stress is of pronouncing dictionaries; targets of pairs are kept as they are, "
                "leave it out"
            )
        for path in (self.train, self.valid, self.test):
            if path is not None and not self.source:
                self._no_records(path)

    @staticmethod
    def _no_records(path: Path) -> None:
        if path.name.removesuffix(".gz").endswith(_RECORDS):
            raise ConfigError(
                f"{path}: which fields hold words and targets? "
                "Give --data.source NAME --data.target NAME, or numbers from 1"
            )

    @property
    def vocabulary_size(self) -> int:
        """All symbols are kept."""
        return 0

    @property
    def joint(self) -> bool:
        """Each side has its own symbols."""
        return False

    @property
    def lowercase_target(self) -> bool:
        """Targets are kept as they are."""
        return False


@dataclass(frozen=True)
class RecurrentTransliterator(EncoderDecoder):
    """An encoder and a decoder, with defaults for words of letters."""

    embedding_size: int = 64
    embedding_dropout: float = 0.1
    dropout: float = 0.2


@dataclass(frozen=True)
class JointNGramModel(FittedAtOnce):
    """Pieces of a few letters and a few sounds, and an n-gram model of their rows (Bisani & Ney 2008).

    Attributes:
        order: Pieces that the n-gram model sees at once.
        beam: Answers that go on together.
    """

    order: int = 7
    beam: int = 10

    def __post_init__(self) -> None:
        at_least(self, "model", {"order": 1, "beam": 1})


@dataclass(frozen=True)
class NearestWordModel(FittedAtOnce):
    """The answer to the training word that is spelt most alike (TF-IDF of three symbols each)."""


@dataclass(frozen=True)
class TransliterationTraining(TranslationTraining):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for transliteration.

    Attributes:
        learning_rate: The learning rate before the schedule's factor. 0 takes 2e-3 for adam and adamw,
            and for other optimisers their usual: 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
    """

    schedule: Literal["constant", "plateau", "zaremba", "sutskever", "cosine"] = "cosine"
    max_epochs: int = 15

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in USUAL_RATE:
            object.__setattr__(self, "learning_rate", USUAL_RATE[self.optimiser])
        super().__post_init__()
