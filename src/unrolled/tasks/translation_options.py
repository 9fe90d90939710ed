"""Options of translation: pairs of texts and the models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, held_out, shares
from unrolled.training.config import FittedAtOnce, TrainingConfig

Level = Literal["words", "characters", "bpe", "unigram"]


@dataclass(frozen=True)
class TranslationData:
    """Pairs of texts: parallel files, or TSV, CSV or JSONL, one pair a line. `.gz` too.

    Attributes:
        train: Pairs to learn from. For parallel files what their names have in common: corpus/train for
            corpus/train.en and corpus/train.de with --data.source en --data.target de.
        valid: Pairs to choose by (best weights, early stopping), likewise; without it a valid-share of
            the training pairs, drawn at random, the same for every seed.
        test: Pairs to measure on, likewise; without it a test-share of the training pairs, if any.
        source: Ending of the file, or field, of what is read.
        target: Ending of the file, or field, of what is to be said. Several are several references to
            measure on; the first is learnt.
        level: What the source is cut into: words (between white space), characters, or pieces of words,
            learnt by bpe or unigram.
        target_level: What the target is cut into; as the source when absent.
        vocabulary_size: Symbols of a vocabulary, at most; 0 keeps all words or characters.
        joint: One vocabulary learnt from both sides, where both are cut likewise.
        lowercase: Put everything into small letters.
        reverse: Read the source from its end (Sutskever, Vinyals and Le 2014).
        max_length: Learn only from pairs of at most so many symbols a side; 0 takes all.
        valid_share: Share of the training pairs held out where there is no valid file.
        test_share: Share of the training pairs held out where there is no test file.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    source: str = "source"
    target: tuple[str, ...] = ("target",)
    level: Level = "bpe"
    target_level: Level | None = None
    vocabulary_size: int = 8000
    joint: bool = True
    lowercase: bool = False
    reverse: bool = False
    max_length: int = 100
    valid_share: float = 0.1
    test_share: float = 0.0

    def __post_init__(self) -> None:
        held_out(self)
        at_least(self, "data", {"max_length": 0, "vocabulary_size": 0})
        if not self.target:
            raise ConfigError("--data.target names no file or field; give one")

    @property
    def lowercase_target(self) -> bool:
        """Whether targets are put into small letters, too."""
        return self.lowercase


@dataclass(frozen=True)
class EncoderDecoder:
    """An encoder and a decoder, whatever their symbols are.

    Attributes:
        cell: The recurrent unit of the decoder, and of the encoder; `unrolled info` lists them.
        encoder_cell: Another unit for the encoder.
        hidden_size: Units of each layer and direction.
        num_layers: Recurrent layers of encoder and of decoder.
        embedding_size: Size of a symbol's vector.
        bidirectional: Read the source in both directions.
        attention: What the decoder knows of the source: it looks at it in each step (conditional, bahdanau,
            luong) or after its layers (global); has one vector of it beside each input (fixed); or starts
            from the encoder's last state (none).
        score: How well a place fits: additive, general or dot. Default additive; general for luong and
            global.
        residual: From the second layer on, add each layer's input to its output; in a decoder that looks at
            the source in each step, from the third.
        tied: The output layer has the weights of the target's vectors.
        embedding_dropout: Share of units dropped of the vectors that are read.
        dropout: Share of units dropped after the encoder, between layers and before the output.
        label_smoothing: Share of each target that is spread over all symbols.
        scheduled_sampling: Share of the target's symbols that the decoder reads in training from its own
            answers instead of the true ones (Bengio et al. 2015); 0 is off.
        sampling_steps: Batches over which that share grows from 0.
    """

    cell: str = "gru"
    encoder_cell: str = ""
    hidden_size: int = 256
    num_layers: int = 1
    embedding_size: int = 256
    bidirectional: bool = True
    attention: Literal["conditional", "bahdanau", "luong", "global", "fixed", "none"] = (
        "conditional"
    )
    score: Literal["", "additive", "general", "dot"] = ""
    residual: bool = False
    tied: bool = True
    embedding_dropout: float = 0.3
    dropout: float = 0.4
    label_smoothing: float = 0.1
    scheduled_sampling: float = 0.0
    sampling_steps: int = 10_000

    def __post_init__(self) -> None:
        rates = ("embedding_dropout", "dropout", "label_smoothing", "scheduled_sampling")
        shares(self, "model", rates)
        least = ("hidden_size", "num_layers", "embedding_size", "sampling_steps")
        at_least(self, "model", dict.fromkeys(least, 1))


@dataclass(frozen=True)
class RecurrentTranslator(EncoderDecoder):
    """An encoder and a decoder.

    Attributes:
        shared: Both sides have the same vectors; needs one joint vocabulary.
    """

    shared: bool = False


@dataclass(frozen=True)
class DictionaryModel(FittedAtOnce):
    """Word for word, by the likeliest translation of each (model 1 of IBM).

    Attributes:
        iterations: Rounds of expectation and maximisation.
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        at_least(self, "model", {"iterations": 1})


@dataclass(frozen=True)
class PhraseModel(FittedAtOnce):
    """Phrase by phrase from left to right, by counted phrases and an n-gram model of the target.

    Attributes:
        longest: Words of a phrase, at most.
        order: Words that the n-gram model sees at once.
        beam: Translations that go on together.
    """

    longest: int = 5
    order: int = 3
    beam: int = 10

    def __post_init__(self) -> None:
        at_least(self, "model", {"longest": 1, "order": 1, "beam": 1})


@dataclass(frozen=True)
class RetrievalModel(FittedAtOnce):
    """The target of the training pair whose source is most alike (TF-IDF)."""


@dataclass(frozen=True)
class TranslationTraining(TrainingConfig):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for translation.

    Attributes:
        learning_rate: The learning rate before the schedule's factor. 0 takes 1e-3 for adam and adamw,
            and for other optimisers their usual: 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
        batch_size: Pairs in a batch of all processes together.
        window: Has no effect here: texts are read whole.
    """

    schedule: Literal["constant", "plateau", "zaremba", "sutskever", "cosine"] = "constant"
    max_epochs: int = 30
    average: float = 0.999

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in ("adam", "adamw"):
            object.__setattr__(self, "learning_rate", 1e-3)
        super().__post_init__()
