"""Options of language modelling: the text and its models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, shares
from unrolled.training.config import FittedAtOnce


@dataclass(frozen=True)
class LanguageData:
    """The text of a language model: UTF-8, one file a part, ``.gz`` too.

    Attributes:
        train: Text to learn from.
        valid: Text to choose by (early stopping, best weights, mixture weights); without it the last
            valid-share of the training text.
        test: Text to measure on; without it the last test-share of the training text, if any.
        level: What a symbol is: characters (line ends too) or words (between white space, and line ends).
        vocabulary_size: Keep so many of the training text's most frequent symbols; 0 keeps all.
        min_count: Keep symbols that occur at least so often.
        valid_share: Share of the training text (less the test part) held out where there is no valid file.
        test_share: Share of the training text at its end held out where there is no test file.
    """

    train: Path
    valid: Path | None = None
    test: Path | None = None
    level: Literal["characters", "words"] = "characters"
    vocabulary_size: int = 0
    min_count: int = 1
    valid_share: float = 0.05
    test_share: float = 0.0

    def __post_init__(self) -> None:
        shares(self, "data", ("valid_share", "test_share"))
        at_least(self, "data", {"vocabulary_size": 0, "min_count": 1})


@dataclass(frozen=True)
class RecurrentModel:
    """The recurrent language model.

    Attributes:
        cell: The recurrent unit; `unrolled info` lists them.
        hidden_size: Units of each layer.
        num_layers: Recurrent layers.
        embedding_size: Size of a symbol's vector; 0 for hidden-size.
        tied: Share the weights of embedding and output.
        dropout: Share of units dropped between layers and before the output, the same all through a window.
        input_dropout: Likewise of the embedded inputs.
        embedding_dropout: Share of symbols dropped altogether.
        zoneout: Share of units that keep their previous value.
        recurrent_dropout: Share of units hidden from the recurrent products, the same all through a window.
        weight_dropout: Share of the recurrent matrices' entries dropped in each window.
        residual: From the second layer on, add a layer's input to its output.
    """

    cell: str = "lstm"
    hidden_size: int = 512
    num_layers: int = 1
    embedding_size: int = 0
    tied: bool = False
    dropout: float = 0.2
    input_dropout: float = 0.0
    embedding_dropout: float = 0.0
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    weight_dropout: float = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        dropouts = ("dropout", "input_dropout", "embedding_dropout")
        shares(self, "model", (*dropouts, "zoneout", "recurrent_dropout", "weight_dropout"))
        at_least(self, "model", {"hidden_size": 1, "num_layers": 1, "embedding_size": 0})


@dataclass(frozen=True)
class MarkovModel(FittedAtOnce):
    """A Markov chain: counts of symbols after a fixed number of symbols.

    Attributes:
        order: Symbols of context, 0 or more.
        smoothing: Added to every count; 0 is maximum likelihood, which gives unseen symbols probability 0.
    """

    order: int = 1
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.order <= 100:
            raise ConfigError(f"--model.order {self.order}: expected 0 to 100")
        if not self.smoothing >= 0:
            raise ConfigError(f"--model.smoothing {self.smoothing}: expected 0 or more")


@dataclass(frozen=True)
class KneserNeyModel(FittedAtOnce):
    """An n-gram model with interpolated, modified Kneser-Ney smoothing.

    Attributes:
        order: n, context and predicted symbol together, 1 or more.
    """

    order: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 100:
            raise ConfigError(f"--model.order {self.order}: expected 1 to 100")


@dataclass(frozen=True)
class MixtureModel(FittedAtOnce):
    """A weighted mean of finished language models of one vocabulary, weights fitted on the valid part.

    Attributes:
        runs: Run directories of the models, two or more.
    """

    runs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise ConfigError(
                f"--model.runs names {len(self.runs)} run(s): expected two or more, "
                "for example --model.runs runs/lstm runs/kneser-ney"
            )
