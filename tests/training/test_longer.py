"""A finished run goes on when the same command has wider limits, as if it had been begun with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unrolled.cli import main
from unrolled.training import trainer
from unrolled.training.signals import Signals

TEXT = "".join(f"the cat {verb} on mat {i % 7}\n" for i in range(40) for verb in ("sat", "ran"))
WEIGHTS = "model.safetensors"


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    (tmp_path / "text").write_text(TEXT)

    def call(name: str, epochs: int, *more: str, schedule: str = "constant") -> tuple[int, str]:
        code = main(
            ["train", "language-modelling", "--data.train", str(tmp_path / "text"),
             "--data.valid-share", "0.1", "--model.hidden-size", "12", "--model.dropout", "0.2",
             "--training.batch-size", "4", "--training.window", "16", "--training.learning-rate", "0.02",
             "--training.average", "0.9", "--training.schedule", schedule,
             "--training.max-epochs", str(epochs), "--output", str(tmp_path / name), *more]
        )  # fmt: skip
        return code, capsys.readouterr().err

    return call


def files(run: Path) -> dict[str, bytes]:
    """What a reader of a run sees, but for its log."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("train.log", ".unrolled")
    }


def validations(run: Path) -> list[Any]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["nats"]) for row in rows if row["split"] == "valid"]


def test_longer_is_as_if_begun_longer(train: Any, tmp_path: Path) -> None:
    one, whole = tmp_path / "one", tmp_path / "whole"
    assert train("one", 1)[0] == 0
    short = (one / WEIGHTS).read_bytes()
    code, said = train("one", 3)
    assert code == 0
    assert f"{one} goes on: training.max_epochs was 1, is 3\n" in said
    assert train("whole", 3)[0] == 0
    assert (one / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes() != short
    assert validations(one) == validations(whole)
    assert len(validations(one)) == 3
    assert (one / "evaluation.json").read_bytes() == (whole / "evaluation.json").read_bytes()
    assert (one / "config.toml").read_text() == (whole / "config.toml").read_text()
    assert "already finished" in train("one", 3)[1]


def test_what_is_no_going_on_is_refused(train: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("run", 2)[0] == 0
    before = files(run)
    for epochs, more, said in (
        (1, (), "another configuration (training.max_epochs was 2, is 1)"),
        (3, ("--seed", "1"), "seed was 0, is 1"),
        (2, ("--training.max-minutes", "9"), "(training.max_minutes was 0.0, is 9.0)"),
    ):
        code, errors = train("run", epochs, *more)
        assert (code, errors.count("\n")) == (1, 1)
        assert said in errors
    assert train("falling", 1, schedule="cosine")[0] == 0
    code, errors = train("falling", 2, schedule="cosine")
    assert (code, errors.count("\n")) == (1, 1)
    assert "whose learning rate falls to 0 at its end, so that it cannot go on" in errors
    code, errors = train("falling", 0, "--training.max-minutes", "1")  # no cosine has no end
    assert (code, errors.count("\n")) == (1, 1)
    assert "holds a run with another configuration (" in errors
    assert "training.schedule was " in errors
    assert files(run) == before


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_without_its_data_a_run_stays_as_it_was(train: Any, tmp_path: Path, what: str) -> None:
    run, text = tmp_path / "run", tmp_path / "text"
    assert train("run", 1)[0] == 0
    before = files(run)
    if what == "gone":
        text.unlink()
    else:
        text.write_text(TEXT.replace("cat", "dog"))
    code, errors = train("run", 2)
    assert code == 1
    expected = "no such file" if what == "gone" else "not the one that this model was trained with"
    assert expected in errors.splitlines()[-1]
    assert files(run) == before
    text.write_text(TEXT)
    assert train("run", 2)[0] == 0
    assert len(validations(run)) == 2


def test_interrupted_while_it_goes_on(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Signals):
        def __init__(self) -> None:
            super().__init__()
            self.received = "SIGINT"

    run = tmp_path / "run"
    assert train("run", 1)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "Signals", Stopped)
        assert train("run", 3)[0] == 130
    assert not (run / ".finished").exists()
    assert main(["evaluate", str(run), "--split", "valid"]) == 0  # the model of before is there
    code, errors = train("run", 1)
    assert code == 1
    assert "training.max_epochs was 3, is 1" in errors
    assert train("run", 3)[0] == 0
    assert train("whole", 3)[0] == 0
    assert (run / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_an_interrupted_training_can_be_ended_there(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = tmp_path / "run", iter(range(100))

    class Stopped(Signals):
        @property  # type: ignore[override]
        def received(self) -> str:
            return "SIGINT" if next(steps) == 25 else ""

        @received.setter
        def received(self, value: str) -> None:
            pass

    assert train("run", 9, "--finish")[0] == 1
    assert not run.exists()
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "Signals", Stopped)
        assert train("run", 9)[0] == 130
    config, before = (run / "config.toml").read_text(), validations(run)
    assert main(["evaluate", str(run), "--split", "valid"]) == 1
    code, said = train("run", 9, "--finish")
    assert code == 0
    assert before
    assert validations(run)[: len(before)] == before
    assert len(validations(run)) <= len(before) + 1
    assert (run / "config.toml").read_text() == config
    assert main(["evaluate", str(run), "--split", "valid"]) == 0
    assert "already finished" in train("run", 9, "--finish")[1]
    code, said = train("run", 9, "--finish", "--overwrite")
    assert (code, "--finish keeps what --overwrite removes" in said) == (2, True)
