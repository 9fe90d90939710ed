"""Options of dialogue: the turns and who answers, and the models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.tasks.language_modelling_options import KneserNeyModel, RecurrentModel
from unrolled.tasks.limits import at_least, held_out
from unrolled.training.config import FittedAtOnce, TrainingConfig

Level = Literal["bpe", "unigram", "words", "characters"]


@dataclass(frozen=True)
class DialogueData:
    """Dialogues: JSONL with a dialogue or a turn a line, a JSON array, or a folder of such. `.gz` too.

    Attributes:
        train: Dialogues to learn from.
        valid: Dialogues to choose by (best weights, early stopping); without it a valid-share of the
            training dialogues, drawn at random, the same for every seed.
        test: Dialogues to measure on; without it a test-share of the training dialogues, if any.
        speaker: Who answers, as the files name the speaker: the replies that are measured and given are
            theirs. Without it those of every speaker are measured.
        level: What a text is cut into: pieces of words, learnt by bpe or unigram; words (between white
            space); or characters.
        vocabulary_size: Symbols of the vocabulary, at most; 0 keeps all words or characters.
        lowercase: Put everything into small letters.
        max_length: Learn longer dialogues in pieces of at most so many symbols, cut between turns; 0
            learns all whole. Nothing is cut when replies are given or measured.
        valid_share: Share of the training dialogues held out where there is no valid file.
        test_share: Share of the training dialogues held out where there is no test file.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    speaker: str = ""
    level: Level = "bpe"
    vocabulary_size: int = 4000
    lowercase: bool = False
    max_length: int = 2000
    valid_share: float = 0.1
    test_share: float = 0.0

    def __post_init__(self) -> None:
        held_out(self)
        at_least(self, "data", {"max_length": 0, "vocabulary_size": 0})


@dataclass(frozen=True)
class RecurrentSpeaker(RecurrentModel):
    """One recurrent network that reads and speaks, turn after turn.

    Attributes:
        dropout: Share of units dropped between layers and before the output, the same all through a dialogue.
        recurrent_dropout: Share of units hidden from the recurrent products, the same all through a dialogue.
        weight_dropout: Share of the recurrent matrices' entries dropped in each batch.
        learn: Whose symbols the loss counts: everybody's, or those of data.speaker only. All are read.
    """

    embedding_size: int = 256
    tied: bool = True
    dropout: float = 0.4
    input_dropout: float = 0.2
    learn: Literal["all", "speaker"] = "all"


@dataclass(frozen=True)
class SymbolGrams(KneserNeyModel):
    """An n-gram model (Kneser-Ney) of the same symbols, turn after turn."""

    order: int = 6


@dataclass(frozen=True)
class RememberedReplies(FittedAtOnce):
    """The reply of the most similar context seen in training (TF-IDF).

    Attributes:
        context: Turns before a reply that are compared, at most.
    """

    context: int = 1

    def __post_init__(self) -> None:
        at_least(self, "model", {"context": 1})


@dataclass(frozen=True)
class DialogueTraining(TrainingConfig):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for dialogue.

    Attributes:
        batch_size: Dialogues in a batch of all processes together.
        window: Has no effect here: dialogues are read whole.
    """

    max_epochs: int = 30
    batch_size: int = 8
