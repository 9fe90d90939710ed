"""``unrolled demo`` with the real task on a small text."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from unrolled.cli import demo
from unrolled.data import python_reference
from unrolled.data.python_reference import ReferenceSplit

LINES = "".join(f"the {i % 7} statements of a {i % 5} class are executed.\n" for i in range(80))
SMALL = {"hidden_size": 8, "dropout": 0.0}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, fake: object) -> None:
    """The real task in place of the fake one, on a small text."""
    monkeypatch.undo()
    monkeypatch.setattr(python_reference, "split", lambda: ReferenceSplit(LINES, LINES, LINES))
    monkeypatch.setattr(demo, "PAGE", 40)


def recipe(monkeypatch: pytest.MonkeyPatch, **training: Any) -> None:
    options = {"batch_size": 4, "window": 16, **training}
    sections = {"data": {"level": "characters"}, "model": SMALL, "training": options}
    monkeypatch.setattr(demo, "RECIPE", sections)


def test_the_demo_measures_writes_and_ends_with_commands(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe(monkeypatch, max_epochs=1)
    ended = unrolled("demo", tmp_path / "demo")
    assert ended.code == 0, ended.err
    assert "Ctrl-C at any time is safe" in ended.err
    assert re.search(r"Kneser-Ney 5-gram  \d\.\d{3}\n  recurrent model    \d\.\d{3}\n", ended.out)
    assert "The 5-gram is ahead" in ended.out
    assert f"The run: {tmp_path / 'demo' / 'recurrent'}\n" in ended.out
    assert ended.out.count("\n  unrolled ") == 3
    again = unrolled("demo", tmp_path / "demo")
    assert (again.code, again.out) == (0, ended.out)
    assert f"to begin anew: unrolled demo {tmp_path / 'demo'} --overwrite" in again.err


def interrupt_after_a_checkpoint(run: Path, known: set[str]) -> threading.Thread:
    def watch() -> None:
        while not {path.name for path in run.glob("checkpoints/step-*")} - known:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_an_interrupted_demo_continues_with_the_same_weights(
    unrolled: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe(monkeypatch, max_epochs=100_000, checkpoint_every=5, validate_every=1_000_000)
    run = tmp_path / "demo" / "recurrent"
    thread = interrupt_after_a_checkpoint(run, set())
    first = unrolled("demo", tmp_path / "demo")
    thread.join()
    assert first.code == 130
    saved = re.search(r"Saved (step \d+, weights with sha-256 [0-9a-f]{16})", first.err)
    assert saved is not None, first.err
    assert f"To continue: unrolled demo {tmp_path / 'demo'}\n" in first.err
    known = {path.name for path in run.glob("checkpoints/step-*")}
    thread = interrupt_after_a_checkpoint(run, known)
    second = unrolled("demo", tmp_path / "demo")
    thread.join()
    assert second.code == 130
    assert f"Saved before: {saved[1]}." in second.err
    loaded = re.search(r"loaded weights with sha-256 ([0-9a-f]{16})", caplog.text)
    assert loaded is not None, caplog.text
    assert saved[1].endswith(loaded[1])
