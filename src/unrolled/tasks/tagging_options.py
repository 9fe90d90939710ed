"""Options of tagging: the sentences, the models and the training's own defaults. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, shares
from unrolled.training.config import FittedAtOnce, TrainingConfig


@dataclass(frozen=True)
class TaggingData:
    """Sentences with a tag for each word: CoNLL-U, or columns with a blank line after a sentence; `.gz` too.

    Attributes:
        train: Sentences to learn from.
        valid: Sentences to choose by (early stopping, best weights); without it a valid-share of the
            training sentences, drawn at random.
        test: Sentences to measure on; without it a test-share of the training sentences, if any.
        token: Column of the words: a name of CoNLL-U (form, lemma), or a number from 1, or from -1 at
            the end. Default form, or 1.
        tags: Columns of the tags to learn, one or more, likewise. Default upos, or -1.
        spans: Whether tags mark spans (B-PER, I-PER, O), measured by F1; auto looks at them.
        lowercase: Look words up in small letters; spellings keep capitals.
        min_count: Learn a vector for words that occur at least so often.
        valid_share: Share of the training sentences held out where there is no valid file.
        test_share: Share of the training sentences held out where there is no test file.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    token: str = ""
    tags: tuple[str, ...] = ()
    spans: Literal["auto", "yes", "no"] = "auto"
    lowercase: bool = True
    min_count: int = 1
    valid_share: float = 0.1
    test_share: float = 0.0

    def __post_init__(self) -> None:
        shares(self, "data", ("valid_share", "test_share"))
        at_least(self, "data", {"min_count": 1})
        if len(set(self.tags)) != len(self.tags):
            raise ConfigError(f"--data.tags {' '.join(self.tags)}: a column is named twice")


@dataclass(frozen=True)
class RecurrentTagger:
    """The bidirectional recurrent tagger.

    Attributes:
        cell: The recurrent unit; `unrolled info` lists them.
        hidden_size: Units of each direction.
        num_layers: Recurrent layers.
        head: Each tag alone (softmax), or the tags of a sentence together (crf).
        word_size: Size of a word's vector; 0 for none.
        character_size: Size of a character's vector.
        character_hidden: Units of each direction that read a word's spelling; 0 for none.
        dropout: Share of units dropped before, between and after the layers, the same all through a sentence.
        word_dropout: a in a / (a + n), the share of a word's n occurrences read as unknown; 0 is off.
        vectors: Pretrained vectors: word2vec text or binary, or GloVe text. They stand beside those learnt.
        tune_vectors: Train them, too.
    """

    cell: str = "lstm"
    hidden_size: int = 200
    num_layers: int = 1
    head: Literal["softmax", "crf"] = "softmax"
    word_size: int = 100
    character_size: int = 32
    character_hidden: int = 64
    dropout: float = 0.33
    word_dropout: float = 4.0
    vectors: Path | None = None
    tune_vectors: bool = False

    def __post_init__(self) -> None:
        shares(self, "model", ("dropout",))
        sizes = {"word_size": 0, "character_size": 1, "character_hidden": 0}
        at_least(self, "model", {"hidden_size": 1, "num_layers": 1, "word_dropout": 0, **sizes})
        if not (self.word_size or self.character_hidden or self.vectors):
            raise ConfigError(
                "--model.word-size 0 and --model.character-hidden 0 leave nothing of a word to read"
            )


@dataclass(frozen=True)
class HiddenMarkovModel(FittedAtOnce):
    """A hidden Markov model of tag trigrams, for each column.

    Attributes:
        suffix_length: The longest ending, in characters, that tells the tags of an unknown word.
        rare: Words seen at most this often teach the endings.
        beam: In nats: tags whose best path is further below the best of their position are dropped.
        decoding: Best tags of the sentence together (viterbi), or of each word alone (posterior).
    """

    suffix_length: int = 10
    rare: int = 10
    beam: float = 15.0
    decoding: Literal["viterbi", "posterior"] = "viterbi"

    def __post_init__(self) -> None:
        at_least(self, "model", {"suffix_length": 0, "rare": 1})
        if not self.beam > 0:
            raise ConfigError(f"--model.beam {self.beam}: expected a number above 0")


@dataclass(frozen=True)
class WindowModel:
    """A feedforward network over a fixed window of words.

    Attributes:
        window: Words seen, an odd number: the one to be tagged in the middle.
        hidden_size: Units of the hidden layer; 0 for none.
        word_size: Size of a word's vector; 0 for one-hot vectors, if spellings are not read either.
        character_size: Size of a character's vector.
        character_hidden: Units of each direction that read a word's spelling; 0 for none.
        dropout: Share of units dropped of the window and the hidden layer.
        word_dropout: a in a / (a + n), the share of a word's n occurrences read as unknown; 0 is off.
    """

    window: int = 5
    hidden_size: int = 200
    word_size: int = 64
    character_size: int = 32
    character_hidden: int = 0
    dropout: float = 0.33
    word_dropout: float = 1.0

    def __post_init__(self) -> None:
        shares(self, "model", ("dropout",))
        if self.window < 1 or self.window % 2 == 0:
            raise ConfigError(f"--model.window {self.window}: expected an odd number, 1 or more")
        sizes = {"hidden_size": 0, "word_size": 0, "character_size": 1, "character_hidden": 0}
        at_least(self, "model", {**sizes, "word_dropout": 0})


@dataclass(frozen=True)
class TaggingTraining(TrainingConfig):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for taggers.

    Attributes:
        learning_rate: The learning rate before the schedule's factor. 0 takes 3e-3 for adam and adamw,
            else the optimiser's usual: 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
        batch_size: Sentences in a batch of all processes together.
        window: Has no effect here: sentences are read whole.
    """

    gradient_clip: float = 5.0
    max_epochs: int = 15
    average: float = 0.998
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in ("adam", "adamw"):
            object.__setattr__(self, "learning_rate", 3e-3)
        super().__post_init__()
