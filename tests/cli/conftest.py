"""A small task without torch, so that the command line is tested alone and in milliseconds."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from unrolled import tasks
from unrolled.cli import main
from unrolled.config import RunConfig
from unrolled.errors import ConfigError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.training.trainer import Outcome

RESULT = Evaluation("recurrent", "test", 9, {"nats": 1.5, "perplexity": 4.5}, {"nats": (1.4, 1.6)})


@dataclass(frozen=True)
class Data:
    """Language modelling: predict the next symbol.

    Attributes:
        train: Text to learn from.
        level: What a symbol is.
    """

    train: Path
    level: Literal["characters", "words"] = "characters"


@dataclass(frozen=True)
class Recurrent:
    """A model.

    Attributes:
        hidden_size: Units of each layer.
        tied: Share weights.
    """

    hidden_size: int = 512
    tied: bool = False


@dataclass(frozen=True)
class Mixture:
    """A mixture.

    Attributes:
        runs: Runs to mix.
    """

    runs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Training:
    """Training.

    Attributes:
        max_epochs: Passes over the data, 0 or more.
    """

    max_epochs: int = 10

    def __post_init__(self) -> None:
        if self.max_epochs < 0:
            raise ConfigError(f"--training.max-epochs {self.max_epochs}: expected 0 or more")


class FakeTask:
    """Records what it is asked to train; ``action`` may interrupt it."""

    trained: list[RunConfig] = []  # noqa: RUF012
    action: Callable[[], str | None] | None = None

    @classmethod
    def train(cls, config: RunConfig, run: Any) -> Outcome:
        cls.trained.append(config)
        reason = None if cls.action is None else cls.action()
        outcome = Outcome(steps=1, epochs=1, reason=reason or "max-epochs", best=None)
        if not outcome.interrupted:
            run.write_text("evaluation.json", RESULT.to_json())
            run.finish()
        return outcome


class FakeTrained:
    """Predicts a line by its capitals, generates the alphabet."""

    level = "characters"

    def evaluate(self, data: Path | None = None, *, split: str = "test") -> Evaluation:
        return replace(RESULT, split=split)

    def predict(self, lines: Iterable[str], **options: Any) -> Iterator[str]:
        given = "".join(f" {name}={value}" for name, value in options.items() if value)
        return (line.upper() + given.replace(" batch_size=1", "") for line in lines)

    def generate(self, *, length: int, **options: Any) -> Iterator[str]:
        return iter("abcdefghijklmnopqrstuvwxyz"[:length])


def _load(run: Path) -> FakeTrained:
    if not Path(run).is_dir():
        raise RunError(f"{run}: no such run directory")
    return FakeTrained()


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeTask]:
    """Put the fake task in place of the real ones."""
    module = types.ModuleType("fake_task")
    module.FakeTask = FakeTask  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_task", module)
    models = {"recurrent": Recurrent, "mixture": Mixture}
    schema = tasks.TaskOptions("A task of the tests.", data=Data, models=models, training=Training)
    monkeypatch.setattr(tasks, "OPTIONS", {"language-modelling": schema})
    monkeypatch.setattr(tasks, "TASKS", {"language-modelling": "fake_task:FakeTask"})
    monkeypatch.setattr(tasks, "load", _load)
    FakeTask.trained, FakeTask.action = [], None
    return FakeTask


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def unrolled(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run one command line in this process."""

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return call
