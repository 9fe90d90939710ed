"""What an update does, when training ends, what is kept and what is refused."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_training import Source, Toy, train, trainer, validate

from unrolled.errors import ConfigError, DataError, TrainingError
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.journal import WALL_CLOCK
from unrolled.training.methods import TruncatedBPTT
from unrolled.training.optimisers import OPTIMISERS
from unrolled.training.progress import Progress
from unrolled.training.run_directory import RunDirectory

SCRIPT = str(Path(__file__).with_name("toy_training.py"))


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records(run: Path, split: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def updated(config: TrainingConfig, groups: list[int]) -> tuple[Toy, TruncatedBPTT]:
    torch.manual_seed(0)
    model = Toy(dropout=0.0)
    method = TruncatedBPTT(model, config, Workers.join("cpu"), precision="32")
    state, batches = None, iter(Source())
    for size in groups:
        state = method.update(model, [next(batches) for _ in range(size)], state)
    return model, method


def test_one_update_against_plain_torch() -> None:
    config = TrainingConfig(optimiser="sgd", momentum=0.0, learning_rate=0.5, gradient_clip=0.1)
    model, method = updated(config, [1])
    torch.manual_seed(0)
    plain = Toy(dropout=0.0)
    batch = next(iter(Source()))
    loss = plain.loss(plain(batch, None)[0], batch)
    (loss.sum / loss.count).backward()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
    torch.optim.SGD(plain.parameters(), lr=0.5).step()
    assert method.last.norm == pytest.approx(float(norm), rel=1e-5)
    assert method.last.norm > 0.1
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_accumulation_is_one_larger_batch() -> None:
    """Three windows of one update, cut off from each other, equal their joint sum over the count."""
    config = TrainingConfig(optimiser="sgd", momentum=0.0, learning_rate=0.5, gradient_clip=0)
    model, method = updated(config, [3])
    torch.manual_seed(0)
    plain = Toy(dropout=0.0)
    state, total, count = None, 0.0, 0
    for batch, _ in zip(Source(), range(3), strict=False):
        outputs, state = plain(batch, state)
        state = tuple(part.detach() for part in state)
        loss = plain.loss(outputs, batch)
        total, count = total + loss.sum, count + loss.count
    (total / count).backward()
    torch.optim.SGD(plain.parameters(), lr=0.5).step()
    assert method.last.count == count
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_learns(tmp_path: Path, name: str) -> None:
    rate = {"sgd": 0.5, "adadelta": 3.0, "adagrad": 0.2, "rmsprop": 0.005}.get(name, 0.02)
    options = {"dropout": 0.0, "max_epochs": 30, "checkpoint_every": 500, "validate_every": 42}
    outcome = train(tmp_path / "run", optimiser=name, learning_rate=rate, **options)
    assert outcome.best is not None
    first = records(tmp_path / "run", "valid")[0]["nats"]
    assert outcome.best < first - 0.2


def test_limits(tmp_path: Path) -> None:
    assert train(tmp_path / "a", max_steps=9).reason == "max-steps"
    assert train(tmp_path / "b", max_epochs=2).steps == 14
    assert train(tmp_path / "c", max_epochs=2, accumulate=3).steps == 6
    outcome = train(tmp_path / "d", max_epochs=0, max_minutes=1e-9, schedule="constant")
    assert (outcome.reason, outcome.steps) == ("max-minutes", 0)
    outcome = train(tmp_path / "e", max_epochs=99, patience=2, learning_rate=3.0, gradient_clip=9.0)
    assert outcome.reason == "patience"
    values = [record["nats"] for record in records(tmp_path / "e", "valid")]
    assert min(values[-2:]) >= min(values[:-2]) == outcome.best


def test_best_weights_are_kept(tmp_path: Path) -> None:
    for average in (0.0, 0.5):
        with RunDirectory(tmp_path / f"run{average}").open() as run:
            toy = trainer(run, learning_rate=1.0, average=average, schedule="constant")
            outcome = toy.fit()
        with torch.no_grad():
            assert validate(toy.live.model.eval())["nats"] == outcome.best
        assert outcome.best == min(r["nats"] for r in records(run.path, "valid"))
        assert outcome.best < records(run.path, "valid")[-1]["nats"]  # the last is worse


def test_validate_every_and_final_validation(tmp_path: Path) -> None:
    train(tmp_path / "run", validate_every=4, max_steps=10)
    assert [record["step"] for record in records(tmp_path / "run", "valid")] == [4, 8, 10]
    tokens = sum(record["tokens"] for record in records(tmp_path / "run", "train"))
    assert tokens == 10 * 6 * 5
    assert set(WALL_CLOCK) <= records(tmp_path / "run", "train")[0].keys()


def test_learning_rates_in_the_record(tmp_path: Path) -> None:
    train(tmp_path / "run", schedule="zaremba", decay_after=2, max_epochs=4, learning_rate=0.1)
    rates = [record["learning_rate"] for record in records(tmp_path / "run", "train")]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.025])


class Exploding(Toy):
    def loss(self, outputs: torch.Tensor, batch: Any) -> Any:
        loss = super().loss(outputs, batch)
        loss.sum = loss.sum * self.factor
        return loss

    factor = 1.0


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_non_finite_stops_with_advice_and_keeps_the_checkpoint(
    tmp_path: Path, factor: float
) -> None:
    with RunDirectory(tmp_path / "run").open() as run:
        toy = trainer(run, max_steps=5, checkpoint_every=2)
        toy.fit()
        before = run.checkpoints.read(5)
        toy = trainer(run, max_steps=9)
        toy.live.model.__class__ = Exploding
        toy.live.model.factor = factor
        pattern = "step 5: the loss is not finite.*gradient is that of .*--training.learning-rate"
        with pytest.raises(TrainingError, match=pattern) as caught:
            toy.fit()
        assert "step-5 is kept" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert run.checkpoints.read(5) == before


def test_non_finite_gradient_names_the_parameter(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").open() as run:
        toy = trainer(run, max_steps=5)
        weights = {name: p.detach().clone() for name, p in toy.live.model.named_parameters()}
        toy.live.model.output.bias.register_hook(lambda gradient: gradient * float("nan"))
        with pytest.raises(TrainingError, match=r"gradient is not finite.*output\.bias"):
            toy.fit()
        for name, parameter in toy.live.model.named_parameters():
            assert torch.equal(parameter, weights[name])


def test_weights_that_overflow_are_not_saved(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").open() as run:
        trainer(run, max_steps=2).fit()
        options = {"optimiser": "adam", "learning_rate": 3e38, "weight_decay": 1.0}
        toy = trainer(run, max_steps=5, checkpoint_every=1, validate=None, **options)
        with pytest.raises(TrainingError, match="not finite"):
            toy.fit()
        weights = run.checkpoints.read(run.checkpoints.steps()[-1])
        assert weights


def test_non_finite_validation(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the validation's nats is nan"):
        train(tmp_path / "run", validate=lambda model: {"nats": float("nan")})
    assert records(tmp_path / "run", "valid")[0]["nats"] is None


def test_wrong_arguments(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").open() as run:
        with pytest.raises(ConfigError, match="--precision 16"):
            trainer(run, precision="16")
        if not torch.cuda.is_available():
            with pytest.raises(ConfigError, match="--device cuda"):
                trainer(run, device="cuda")
        toy = trainer(run)
        toy.live.source.windows = 0
        with pytest.raises(DataError, match="no batch in a whole epoch"):
            toy.fit()


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tmp_path / "run", max_steps=7, tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_tensorboard_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"unrolled\[tensorboard\]"):
        train(tmp_path / "run", tensorboard=True)


def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("unrolled.training.progress._BAR_EVERY", 0.0)
    progress = Progress(total=4)
    progress.start()
    for step in range(1, 5):
        progress.update(step, nats=2.0, tokens=10)
    progress.validated(4, {"nats": 1.5})
    progress.close()
    assert "validation nats 1.5" in progress.text(4)
    assert "tokens/s" in progress.text(4)


def test_lines_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.training.progress.LINE_EVERY", 0.0)
    train(tmp_path / "run", max_steps=5)
    log = (tmp_path / "run" / "train.log").read_text()
    assert "step 3/5, " in log
    assert "validation: nats" in log


def launched(run: Path, processes: int, *options: str) -> str:
    command = [sys.executable, SCRIPT, str(run), *options]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command[1:1] = [*launcher, str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_reach_the_losses_of_one(tmp_path: Path) -> None:
    options = ("dropout=0.0", "accumulate=2", "max_epochs=4", "average=0.5", "validate_every=3")
    launched(tmp_path / "one", 1, *options)
    assert launched(tmp_path / "two", 2, *options).strip() == "max-epochs"
    for split in ("train", "valid"):
        one, two = records(tmp_path / "one", split), records(tmp_path / "two", split)
        assert [r["step"] for r in one] == [r["step"] for r in two]
        assert [r["nats"] for r in two] == pytest.approx([r["nats"] for r in one], abs=1e-4)


def test_two_processes_resume_exactly(tmp_path: Path) -> None:
    """Dropout differs between processes; their generators and states go on where they were."""
    fixed = ('schedule="constant"', "validate=null", "average=0.9")
    launched(tmp_path / "whole", 2, "max_steps=12", *fixed)
    launched(tmp_path / "run", 2, "max_steps=5", *fixed)
    (tmp_path / "run" / ".finished").unlink()
    launched(tmp_path / "run", 2, "max_steps=12", *fixed)
    whole, run = (tmp_path / name / "model.safetensors" for name in ("whole", "run"))
    assert whole.read_bytes() == run.read_bytes()
