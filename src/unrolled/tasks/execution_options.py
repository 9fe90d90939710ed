"""Options of learning to execute: the examples, which are generated, and the models. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks.limits import at_least, shares
from unrolled.training.config import FittedAtOnce, TrainingConfig


@dataclass(frozen=True)
class ExecutionData:
    """Examples made by rules: a text, and what is to be written after it. There is no file to read.

    Of all texts 8 in 10 are for training, 1 in 10 for validation and 1 in 10 for the test, by their hash,
    whatever the seed.

    Attributes:
        kind: addition, of two numbers; programs, which print a number; copying, digits to repeat.
        length: Digits of the numbers, or how many to copy, at most 18.
        nesting: Operations of a program, at most 25; 1 for the other kinds.
        curriculum: How hard the training's examples are: none (all as hard as length and nesting say), naive
            (by stages, longer and then more deeply nested), mix (drawn anew for each example), combined (four
            of five as naive, one as mix). What is measured is always as hard as length and nesting say.
        curriculum_share: Share of the training in which the stages of naive and combined pass, each in equal
            time; what is left is as the last one, which is as hard as length and nesting say.
        up_to: Numbers to add have any number of digits up to length, each as often, in all parts.
        reverse: Read texts from the last character to the first.
        double: Read texts twice, with a semicolon between.
        reverse_target: Write the last character first, as one adds by hand.
        examples: Examples of an epoch; none comes twice. For ngram all that are counted.
        valid_examples: Examples of the validation part, all different; fewer where there are not so many.
        test_examples: Examples of the test part, likewise.
    """

    kind: Literal["addition", "programs", "copying"] = "addition"
    length: int = 5
    nesting: int = 1
    curriculum: Literal["none", "naive", "mix", "combined"] = "combined"
    curriculum_share: float = 0.5
    up_to: bool = False
    reverse: bool = False
    double: bool = False
    reverse_target: bool = True
    examples: int = 100_000
    valid_examples: int = 1000
    test_examples: int = 5000

    def __post_init__(self) -> None:
        at_least(self, "data", {"examples": 1, "valid_examples": 0, "test_examples": 0})
        if not 0 < self.curriculum_share <= 1:
            raise ConfigError(
                f"--data.curriculum-share {self.curriculum_share}: expected above 0, at most 1"
            )
        from unrolled.data.execution import Execution  # reads numpy, which --help does without

        Execution(self.kind, self.length, self.nesting, self.curriculum, up_to=self.up_to)

    @property
    def train(self) -> str:
        """What is learnt from, in words, where other tasks name a file."""
        nested = f", nesting {self.nesting}" if self.kind == "programs" else ""
        return f"{self.kind}, length {self.length}{nested}, curriculum {self.curriculum}"


@dataclass(frozen=True)
class RecurrentExecutor:
    """One network that reads on and writes (stream), or an encoder and a decoder.

    Attributes:
        form: stream: the same layers read the text, then write the target (Zaremba and Sutskever 2014).
            encoder-decoder: one network reads, another writes.
        cell: The recurrent unit; `unrolled info` lists them.
        hidden_size: Units of each layer and direction.
        num_layers: Recurrent layers, of either side.
        embedding_size: Size of a character's vector; 0 for the hidden size.
        tied: The output layer has the weights of the characters' vectors.
        dropout: Share of units dropped between layers and before the output.
        attention: What a decoder knows of the text: it looks at it in each step (conditional, bahdanau,
            luong) or after its layers (global); has one vector of it beside each input (fixed); or starts
            from the encoder's last state (none). Default conditional.
        bidirectional: An encoder reads in both directions; without effect in a stream.
    """

    form: Literal["stream", "encoder-decoder"] = "stream"
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    embedding_size: int = 64
    tied: bool = False
    dropout: float = 0.0
    attention: Literal["", "conditional", "bahdanau", "luong", "global", "fixed", "none"] = ""
    bidirectional: bool = True

    def __post_init__(self) -> None:
        shares(self, "model", ("dropout",))
        at_least(self, "model", {"hidden_size": 1, "num_layers": 1, "embedding_size": 0})
        if self.form == "stream" and self.attention:
            raise ConfigError(
                f"--model.attention {self.attention} is for --model.form encoder-decoder; a stream has "
                "nothing to look at"
            )


@dataclass(frozen=True)
class NGramExecutor(FittedAtOnce):
    """The likeliest characters after the last ones, by counts smoothed after Kneser and Ney.

    Attributes:
        order: Characters that are seen at once, the next one among them. With 3 little more than what
            targets look like.
    """

    order: int = 6

    def __post_init__(self) -> None:
        at_least(self, "model", {"order": 1})


@dataclass(frozen=True)
class ExecutionTraining(TrainingConfig):
    """As :class:`~unrolled.training.config.TrainingConfig`, with defaults for these examples.

    Attributes:
        learning_rate: The learning rate before the schedule's factor. 0 takes 3e-3 for adam and adamw,
            and for other optimisers their usual: 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
        max_epochs: Times that data.examples new examples are learnt from. 0 sets no limit.
        batch_size: Examples in a batch of all processes together.
        window: Has no effect here: texts are read whole.
    """

    max_epochs: int = 16
    batch_size: int = 64
    warmup_steps: int = 200

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in ("adam", "adamw"):
            object.__setattr__(self, "learning_rate", 3e-3)
        super().__post_init__()
