"""Options of word vectors: the text, the models and their training. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least
from unrolled.training.config import FittedAtOnce, TrainingConfig


@dataclass(frozen=True)
class EmbeddingsData:
    """Plain text: a sentence or a document a line, words between white space; `.gz` too.

    Attributes:
        train: Text to learn from.
        valid: Similarities or analogies to measure after training.
        test: Similarities or analogies that `unrolled evaluate` measures where it is given no other file.
        lowercase: Put the text, and words that are asked for, into small letters.
        min_count: Learn words that occur at least so often; windows pass over the others.
        vocabulary_size: Learn at most so many words, the most frequent; 0 sets no limit.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    lowercase: bool = True
    min_count: int = 5
    vocabulary_size: int = 0

    def __post_init__(self) -> None:
        at_least(self, "data", {"min_count": 1, "vocabulary_size": 0})


@dataclass(frozen=True)
class SkipGramModel:
    """Skip-gram with negative sampling: a word predicts those around it.

    Attributes:
        size: Numbers in a vector.
        window: The most words to each side; each word draws its own reach from 1 to this.
        negative: Words drawn at random against which each pair is told apart.
        subsample: Words more frequent than this share of the text are now and then passed over; 0 is off.
    """

    size: int = 100
    window: int = 5
    negative: int = 5
    subsample: float = 1e-4

    def __post_init__(self) -> None:
        at_least(self, "model", {"size": 1, "window": 1, "negative": 1})
        if not 0 <= self.subsample < 1:
            given = f"--model.subsample {self.subsample}"
            raise ConfigError(f"{given}: expected a share from 0 to below 1, such as 1e-4")


@dataclass(frozen=True)
class CbowModel(SkipGramModel):
    """Continuous bag of words with negative sampling: the mean of those around it predicts a word.

    Attributes:
        negative: Words drawn at random against which each word is told apart.
    """


@dataclass(frozen=True)
class GloveModel:
    """GloVe: products of vectors fit the logarithms of how often words stand near each other.

    Attributes:
        size: Numbers in a vector.
        window: The most words to each side; a word d words away counts 1/d.
        x_max: Counts from here on have the full weight 1.
        alpha: A count x below x-max has the weight (x / x-max) to this power.
    """

    size: int = 100
    window: int = 10
    x_max: float = 10.0
    alpha: float = 0.75

    def __post_init__(self) -> None:
        at_least(self, "model", {"size": 1, "window": 1})
        if not self.x_max > 0:
            raise ConfigError(f"--model.x-max {self.x_max}: expected a number above 0")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"--model.alpha {self.alpha}: expected a number from 0 to 1")


@dataclass(frozen=True)
class PpmiSvdModel(FittedAtOnce):
    """The baseline without training: positive mutual information of words, and its largest singular vectors.

    Attributes:
        size: Numbers in a vector.
        window: The most words to each side; a word d words away counts (window + 1 - d) / window.
        negative: k, by whose logarithm mutual information is lowered.
        power: Of the singular values by which the vectors are stretched.
    """

    size: int = 100
    window: int = 5
    negative: float = 1.0
    power: float = 0.5

    def __post_init__(self) -> None:
        at_least(self, "model", {"size": 1, "window": 1, "negative": 1})
        if not 0 <= self.power <= 1:
            raise ConfigError(f"--model.power {self.power}: expected a number from 0 to 1")


@dataclass(frozen=True)
class EmbeddingsTraining:
    """How vectors of words are trained; ppmi-svd is not.

    Attributes:
        learning_rate: The rate at the beginning; it falls to zero by a cosine (glove: by AdaGrad).
            0 takes the model's usual: see the models' pages.
        max_epochs: Passes over the text (glove: over the counts).
        max_steps: Updates. 0 sets no limit.
        max_minutes: Minutes of training, counted across resumes. 0 sets no limit.
        batch_size: Words of the text (glove: counts) in an update.
        checkpoint_every: Updates between checkpoints.
        keep: Newest checkpoints kept.
        tensorboard: Whether to write scalars for TensorBoard (needs the extra tensorboard).
    """

    learning_rate: float = 0.0
    max_epochs: int = 20
    max_steps: int = 0
    max_minutes: float = 0.0
    batch_size: int = 4096
    checkpoint_every: int = 1000
    keep: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        at_least(self, "training", {"max_epochs": 1})
        if not self.learning_rate >= 0:
            given = f"--training.learning-rate {self.learning_rate}"
            raise ConfigError(f"{given}: expected a number above 0, or 0 for the usual one")
        self.resolved(usual_rate=1.0, falling=True)

    def resolved(self, *, usual_rate: float, falling: bool) -> TrainingConfig:
        """The options of the trainer.

        Raises:
            ConfigError: one is out of its range.
        """
        return TrainingConfig(
            optimiser="sgd",
            learning_rate=self.learning_rate or usual_rate,
            gradient_clip=0.0,
            schedule="cosine" if falling else "constant",
            max_epochs=self.max_epochs,
            max_steps=self.max_steps,
            max_minutes=self.max_minutes,
            batch_size=self.batch_size,
            checkpoint_every=self.checkpoint_every,
            keep=self.keep,
            tensorboard=self.tensorboard,
        )
