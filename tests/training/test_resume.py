"""Whatever interrupts a training, what comes out in the end is bit-equal."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_training import Source, Toy, train, trainer

from unrolled.errors import RunError
from unrolled.training.journal import WALL_CLOCK
from unrolled.training.run_directory import RunDirectory

SCRIPT = str(Path(__file__).with_name("toy_training.py"))


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in lines]


def assert_equal_runs(one: Path, other: Path) -> None:
    names = "model.safetensors"
    assert (one / names).read_bytes() == (other / names).read_bytes()
    assert records(one) == records(other)


def start(run: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, str(run), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


OPTIONS: list[dict[str, Any]] = [
    {},
    {"accumulate": 2, "average": 0.9, "schedule": "plateau", "optimiser": "sgd"},
    {"accumulate": 3, "optimiser": "rmsprop", "schedule": "zaremba", "validate_every": 3},
    {"optimiser": "adagrad", "max_steps": 17, "warmup_steps": 5, "keep": 2},
    {"optimiser": "adadelta", "schedule": "sutskever", "validate": None},
    {"optimiser": "adamw", "weight_decay": 0.1, "precision": "bf16-mixed", "patience": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("every", [4, 7])
def test_stopping_after_each_few_steps_changes_nothing(
    tmp_path: Path, options: dict[str, Any], every: int
) -> None:
    """Every step of the loop is stopped at once, in turns of a few steps."""
    whole = train(tmp_path / "whole", checkpoint_every=every, **options)

    class Stop(Source):
        taken = 0

        def __iter__(self) -> Any:
            for batch in super().__iter__():
                self.taken += 1
                if self.taken == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    for _ in range(60):
        with RunDirectory(tmp_path / "pieces").open() as run:
            toy = trainer(run, checkpoint_every=every, **options)
            toy.live.source = Stop()
            outcome = toy.fit()
            if not outcome.interrupted:
                run.write_model(toy.live.model, {"kind": "toy"})
                break
            assert outcome.reason == "SIGTERM"
    assert outcome == whole
    assert_equal_runs(tmp_path / "whole", tmp_path / "pieces")


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    options = ("max_epochs=12", "checkpoint_every=5", "average=0.9")
    assert train(tmp_path / "whole", max_epochs=12, checkpoint_every=5, average=0.9)
    draw = random.Random(1)
    killed = 0
    while killed < 3:
        process = start(tmp_path / "killed", *options, "pause=0.02")
        metrics = tmp_path / "killed" / "metrics.jsonl"
        before = metrics.read_text() if metrics.exists() else ""
        while process.poll() is None and (not metrics.exists() or metrics.read_text() == before):
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        killed += 1
    process = start(tmp_path / "killed", *options)
    out, err = process.communicate()
    assert out.strip() == "max-epochs", err
    assert "continuing after step" in err
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_a_second_aborts(tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(run, "pause=0.05", "max_epochs=1000")
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.strip() == number.name
    assert "finishing this step and saving" in err
    saved = RunDirectory(run).checkpoints.steps()[-1]

    process = start(run, "pause=3", "max_epochs=1000")  # sleeps within its first step
    assert process.stderr is not None
    assert f"continuing after step {saved}" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(number)
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == -number


def test_no_handlers_outside_the_main_thread(tmp_path: Path) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(train(tmp_path / "run", max_steps=2)))
    thread.start()
    thread.join()
    assert results[0].reason == "max-steps"


def interrupted(path: Path, **options: Any) -> RunDirectory:
    """A run directory with checkpoints and no end."""
    with RunDirectory(path).open() as run:
        trainer(run, max_steps=6, checkpoint_every=2, keep=3, **options).fit()
    return RunDirectory(path)


def test_longer_training_continues_a_shorter_one(tmp_path: Path) -> None:
    options = {"schedule": "constant", "validate_every": 2}
    train(tmp_path / "whole", max_steps=11, checkpoint_every=2, keep=3, **options)
    interrupted(tmp_path / "run", **options)
    train(tmp_path / "run", max_steps=11, checkpoint_every=2, keep=3, **options)
    assert records(tmp_path / "run")[-1] == records(tmp_path / "whole")[-1]


@pytest.mark.parametrize("name", ["weights.safetensors", "rank-0.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["truncate", "alter", "remove"])
def test_damaged_checkpoint_is_refused_with_the_mend(tmp_path: Path, name: str, harm: str) -> None:
    run = interrupted(tmp_path / "run")
    file = run.checkpoints.path(6) / name
    data = bytearray(file.read_bytes())
    if harm == "remove":
        file.unlink()
    elif harm == "truncate":
        file.write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    metrics = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match=f"step-6: damaged checkpoint: {name}.*remove .*step-6") as e:
        train(run.path, max_steps=9)
    assert "\n" not in str(e.value)
    assert (run.path / "metrics.jsonl").read_bytes() == metrics
    for file in run.checkpoints.path(6).iterdir():  # what the message says helps
        file.unlink()
    run.checkpoints.path(6).rmdir()
    assert train(run.path, max_steps=9).steps == 9


@pytest.mark.parametrize("text", ["", "{}", '{"format_version": 1, "files": {"a": {}}}', "[]"])
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    run = interrupted(tmp_path / "run")
    (run.checkpoints.path(6) / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=r"manifest\.json was altered"):
        train(run.path)


def test_newer_checkpoint_is_refused(tmp_path: Path) -> None:
    run = interrupted(tmp_path / "run")
    place = run.checkpoints.path(6) / "manifest.json"
    place.write_text(place.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(RunError, match=r"format 2 by a newer unrolled.*update unrolled"):
        train(run.path)


def test_cut_metrics_file_is_refused(tmp_path: Path) -> None:
    run = interrupted(tmp_path / "run")
    (run.path / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match="truncated; start again with --overwrite"):
        train(run.path)


def test_another_optimiser_is_refused(tmp_path: Path) -> None:
    run = interrupted(tmp_path / "run")
    with pytest.raises(RunError, match="trained with optimiser adam, not sgd"):
        train(run.path, optimiser="sgd")


def test_another_environment_is_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted(tmp_path / "run")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "Z80")
    with caplog.at_level(logging.WARNING):
        train(run.path, max_steps=9)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "is Z80" in warnings[0]
    assert "threads" not in warnings[0]


def test_only_newest_and_best_are_kept(tmp_path: Path) -> None:
    train(tmp_path / "run", max_epochs=8, checkpoint_every=3, learning_rate=0.3)
    run = RunDirectory(tmp_path / "run")
    best = (run.path / "checkpoints/best").read_text().strip()
    last = (run.path / "checkpoints/last").read_text().strip()
    assert {f"step-{step}" for step in run.checkpoints.steps()} == {best, last}
    valid = [r for r in records(run.path) if r["split"] == "valid"]
    assert best == f"step-{min(valid, key=lambda r: r['nats'])['step']}"
    state = json.loads(run.checkpoints.read(int(best[5:]))["state.json"])
    assert state["position"]["best_step"] == int(best[5:])


def test_tied_tensor_is_saved_once(tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=2)
    _, tensors = RunDirectory(tmp_path / "run").read_model()
    assert "embedding.weight" in tensors
    assert "output.weight" not in tensors
    assert len(tensors) == len(Toy().state_dict()) - 1


def test_nothing_is_pickled(tmp_path: Path) -> None:
    run = interrupted(tmp_path / "run")
    suffixes = {path.suffix for path in run.checkpoints.folder.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ""}
