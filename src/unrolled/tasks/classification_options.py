"""Options of classification: the examples and the models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, held_out, shares
from unrolled.training.config import FittedAtOnce, TrainingConfig


@dataclass(frozen=True)
class ClassificationData:
    """The examples: TSV, CSV or JSONL, one a line; or sequences of vectors. `.gz` too.

    Attributes:
        train: Examples to learn from.
        valid: Examples to choose by (early stopping, best weights, thresholds); without it a
            valid-share of the training examples, drawn at random, the same for every seed.
        test: Examples to measure on; without it a test-share of the training examples, if any.
        text: Field of the text, by name or number from 1; several are joined by a space. Default text;
            for vectors all fields but the label's and the sequence's.
        label: Field of the label, by name or number. Several fields, or a list in a JSON field, are
            several labels of an example; fields of nothing but 0 and 1 are labels by their own names.
        separator: What stands between several labels in one field.
        target: Field of a number to predict in place of a label.
        level: What is read: words (between white space), characters, symbols (characters but white
            space: DNA, proteins), or vectors.
        sequence: For vectors in TSV or CSV: the field that rows of one sequence share.
        header: Whether the first line of TSV and CSV names the fields; auto says yes if an option above
            gives a name.
        lowercase: Look words up in small letters; spellings, characters and symbols keep capitals.
        max_length: Read only so many tokens of an example; 0 reads all.
        min_count: Keep words, characters or n-grams that occur at least so often.
        vocabulary_size: Keep so many of the most frequent words or characters; 0 keeps all.
        thresholds: From which probability on several labels are given: one for all, for the best micro
            F1 of the validation part; each its own, for the best macro F1; or half.
        valid_share: Share of the training examples held out where there is no valid file.
        test_share: Share of the training examples held out where there is no test file.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ("label",)
    separator: str = ""
    target: str = ""
    level: Literal["words", "characters", "symbols", "vectors"] = "words"
    sequence: str = ""
    header: Literal["auto", "yes", "no"] = "auto"
    lowercase: bool = True
    max_length: int = 0
    min_count: int = 1
    vocabulary_size: int = 0
    thresholds: Literal["one", "each", "half"] = "one"
    valid_share: float = 0.1
    test_share: float = 0.0

    def __post_init__(self) -> None:
        held_out(self)
        at_least(self, "data", {"max_length": 0, "vocabulary_size": 0, "min_count": 1})
        if not self.label and not self.target:
            raise ConfigError("--data.label names no field; give one, or --data.target")
        if self.sequence and self.level != "vectors":
            raise ConfigError("--data.sequence is for --data.level vectors")
        if self.target and self.separator:
            raise ConfigError("--data.separator is for labels; --data.target is one number")


@dataclass(frozen=True)
class RecurrentClassifier:
    """The recurrent classifier.

    Attributes:
        cell: The recurrent unit; `unrolled info` lists them.
        hidden_size: Units of each layer and direction.
        num_layers: Recurrent layers.
        bidirectional: Read in both directions.
        word_size: Size of a token's learnt vector; 0 for none, then one-hot if nothing else is read. -1
            takes 128 for words, 64 for characters, 0 for symbols.
        character_size: Size of a character's vector.
        character_hidden: Units of each direction that read a word's spelling; 0 for none.
        vectors: Pretrained vectors: word2vec text or binary, or GloVe text. They stand beside those learnt.
        tune_vectors: Train them, too.
        pooling: How the outputs of all steps become one vector: last, mean, max or attention.
        dropout: Share of units dropped of the embedded inputs, between layers and before the output. -1
            takes 0.5 for words, 0.2 for all else.
        recurrent_dropout: Share of units hidden from the recurrent products, the same all through a text.
        word_dropout: a in a / (a + n), the share of a token's n occurrences read as unknown; 0 is off.
    """

    cell: str = "gru"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    word_size: int = -1
    character_size: int = 32
    character_hidden: int = 32
    vectors: Path | None = None
    tune_vectors: bool = False
    pooling: Literal["last", "mean", "max", "attention"] = "max"
    dropout: float = -1.0
    recurrent_dropout: float = 0.0
    word_dropout: float = 3.0

    def __post_init__(self) -> None:
        shares(self, "model", ("recurrent_dropout",))
        _dropout(self.dropout)
        least = {"hidden_size": 1, "num_layers": 1, "word_size": -1, "word_dropout": 0}
        at_least(self, "model", least | {"character_size": 1, "character_hidden": 0})


@dataclass(frozen=True)
class WindowClassifier:
    """A feedforward network on each window of tokens, without memory of the others.

    Attributes:
        window: Tokens in a window, an odd number.
        hidden_size: Units that look at a window.
        word_size: Size of a token's vector; 0 for one-hot. -1 takes 128 for words, 64 for characters,
            0 for symbols.
        pooling: How the units of all windows become one vector: mean, max or attention.
        dropout: Share of units dropped of the embedded inputs and before the output. -1 takes 0.5 for
            words, 0.2 for all else.
        word_dropout: a in a / (a + n), the share of a token's n occurrences read as unknown; 0 is off.
    """

    window: int = 5
    hidden_size: int = 256
    word_size: int = -1
    pooling: Literal["mean", "max", "attention"] = "max"
    dropout: float = -1.0
    word_dropout: float = 3.0

    def __post_init__(self) -> None:
        _dropout(self.dropout)
        least = {"window": 1, "hidden_size": 1, "word_size": -1, "word_dropout": 0}
        at_least(self, "model", least)
        if self.window % 2 == 0:
            raise ConfigError(f"--model.window {self.window}: expected an odd number")


@dataclass(frozen=True)
class BagOfWordsModel(FittedAtOnce):
    """Logistic regression (of a number: ridge regression) on counts of n-grams.

    Attributes:
        ngrams: The longest n-gram; 0 takes 2 for words, 4 for characters and symbols.
        counts: What an n-gram is worth: its count, or 1 if it is there (presence).
        strength: C, how much to trust the examples rather than small weights; 0 chooses 0.01 to 100 by
            the validation part, or takes 1 without one.
        max_features: Keep so many of the most frequent n-grams; 0 keeps all.
    """

    ngrams: int = 0
    counts: Literal["count", "presence"] = "count"
    strength: float = 0.0
    max_features: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ngrams <= 20:
            raise ConfigError(f"--model.ngrams {self.ngrams}: expected 0 to 20")
        if not 0 <= self.strength < float("inf"):
            raise ConfigError(f"--model.strength {self.strength}: expected 0 or more")
        at_least(self, "model", {"max_features": 0})


@dataclass(frozen=True)
class ClassChainsModel(FittedAtOnce):
    """A Markov chain or n-gram model for each class, and Bayes' rule.

    Attributes:
        order: Tokens of context, 0 or more; -1 takes 1 for words, 3 for characters and symbols.
        estimate: How counts become probabilities: kneser-ney, or additive smoothing.
        smoothing: What additive smoothing adds to every count.
    """

    order: int = -1
    estimate: Literal["kneser-ney", "additive"] = "kneser-ney"
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        if not -1 <= self.order <= 100:
            raise ConfigError(f"--model.order {self.order}: expected 0 to 100, or -1")
        if not 0 < self.smoothing < float("inf"):
            raise ConfigError(f"--model.smoothing {self.smoothing}: expected a number above 0")


@dataclass(frozen=True)
class ClassificationTraining(TrainingConfig):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for classifiers.

    Attributes:
        learning_rate: The learning rate before the schedule's factor. 0 takes 4e-3 for adam and adamw,
            and for other optimisers their usual: 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
        batch_size: Examples in a batch of all processes together.
        window: Has no effect here: sequences are read whole.
    """

    batch_size: int = 32
    max_epochs: int = 8
    average: float = 0.99

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in ("adam", "adamw"):
            object.__setattr__(self, "learning_rate", 4e-3)
        super().__post_init__()


def _dropout(value: float) -> None:
    if value != -1 and not 0 <= value < 1:
        raise ConfigError(f"--model.dropout {value:g}: expected a share from 0 to below 1, or -1")
