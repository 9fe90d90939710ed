"""``unrolled chat`` with a real model of a small dialogue: through a pipe, in this process, at a terminal."""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled import tasks
from unrolled.cli import main

OPTIONS, TASKS, LOAD = tasks.OPTIONS, tasks.TASKS, tasks.load
SAID = (("hello", "hi there"), ("are you well ?", "yes thank you"), ("goodbye", "see you"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("chat")
    turns = [
        {"speaker": speaker, "text": text}
        for pair in SAID
        for speaker, text in zip(("USER", "SYSTEM"), pair, strict=True)
    ]
    lines = [json.dumps({"turns": turns[first:]}) for first in (0, 2, 4)]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    data = {
        "train": folder / "train.jsonl",
        "valid-share": 0,
        "level": "words",
        "speaker": "SYSTEM",
    }
    model = {"cell": "indrnn", "hidden-size": 32, "embedding-size": 16}
    model |= {"dropout": 0, "input-dropout": 0}
    training = {"max-epochs": 80, "learning-rate": 0.02, "schedule": "constant"}
    for name, sections in {
        "recurrent": {"data": data, "model": model, "training": training},
        "retrieval": {"data": data},
    }.items():
        command = ["train", "dialogue", name, "--output", str(folder / name)]
        for section, values in sections.items():
            for key, value in values.items():
                command += [f"--{section}.{key}", str(value)]
        with pytest.MonkeyPatch.context() as patch:
            unfaked(patch)
            assert main(command) == 0
    return {name: folder / name for name in ("recurrent", "retrieval")}


def unfaked(patch: pytest.MonkeyPatch) -> None:
    for name, value in (("OPTIONS", OPTIONS), ("TASKS", TASKS), ("load", LOAD)):
        patch.setattr(tasks, name, value)


@pytest.fixture(autouse=True)
def real(monkeypatch: pytest.MonkeyPatch, fake: object) -> None:
    """The real tasks in place of the fake one."""
    unfaked(monkeypatch)


@pytest.fixture
def piped(unrolled: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def call(run: Path, text: str | bytes, *arguments: object) -> Any:
        content = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
        return unrolled("chat", run, *arguments)

    return call


@pytest.mark.parametrize("name", ["recurrent", "retrieval"])
def test_a_reply_a_line(piped: Any, runs: dict[str, Path], name: str) -> None:
    ended = piped(runs[name], "".join(f"{asked}\n" for asked, _ in SAID))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [answer for _, answer in SAID]


@pytest.mark.parametrize("name", ["recurrent", "retrieval"])
def test_saved_and_gone_on(piped: Any, runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    kept = tmp_path / "a b.chat"
    whole = piped(runs[name], "hello\nare you zebra ?\n\nwhat ?\ngoodbye\n")
    first = piped(runs[name], f"hello\nare you zebra ?\n/save {kept}\n/quit\ngoodbye\n")
    assert (first.code, first.err) == (0, f"saved: {kept}\n")
    second = piped(runs[name], "\nwhat ?\ngoodbye", "--state", kept)
    assert first.out + second.out == whole.out
    assert whole.out.splitlines()[2] == ""  # nothing was said, nothing is answered


def test_drawn_replies_go_on_where_they_stopped(
    piped: Any, runs: dict[str, Path], tmp_path: Path
) -> None:
    hot = ("--temperature", 5, "--top-k", 9, "--top-p", 0.99)
    run = runs["recurrent"]
    whole = piped(run, "hello\nhello\nhello\nhello\n", *hot, "--seed", 3)
    assert whole.out == piped(run, "hello\nhello\nhello\nhello\n", *hot, "--seed", 3).out
    assert whole.out != piped(run, "hello\nhello\nhello\nhello\n", *hot).out
    first = piped(run, f"hello\nhello\n/save {tmp_path / 'kept'}\n", *hot, "--seed", 3)
    second = piped(run, "hello\nhello\n", *hot, "--state", tmp_path / "kept")
    assert first.out + second.out == whole.out
    other = piped(run, "hello\nhello\n", *hot, "--state", tmp_path / "kept", "--seed", 4)
    assert other.out != second.out


def test_reset_and_slashes(piped: Any, runs: dict[str, Path]) -> None:
    ended = piped(runs["recurrent"], "what\nwhat\n/reset\nhello\n//save me\n")
    assert ended.code == 0
    assert ended.err == "all that was said is forgotten\n"
    lines = ended.out.splitlines()
    assert len(lines) == 4
    assert lines[2] == "hi there"


def test_a_mistyped_command_ends_no_conversation(piped: Any, runs: dict[str, Path]) -> None:
    ended = piped(runs["retrieval"], "hello\n/rest\n/save\ngoodbye\n")
    assert (ended.code, ended.out) == (1, "hi there\nsee you\n")
    assert ended.err.count("unrolled: error: ") == ended.err.count("\n") == 2


def test_the_other_part(piped: Any, runs: dict[str, Path]) -> None:
    ended = piped(runs["recurrent"], "hi there\n", "--speaker", "USER", "--beam-size", 3)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "arguments", "code", "message"),
    [
        ("/sing\n", (), 1, "'/sing' is no command: expected /reset, /save FILE, /quit"),
        ("/save\n", (), 1, "/save needs a file: /save FILE"),
        ("/save no/such/folder/x\n", (), 1, "no/such/folder/x: cannot be written"),
        (b"\xff\n", (), 1, "<stdin>:1: byte 0xff"),
        ("", ("--speaker", "Bob"), 1, "--speaker 'Bob': nobody in training is called so"),
        ("", ("--state", "nowhere"), 1, "nowhere: no such file; /save FILE in a chat writes one"),
        ("", ("--temperature", "-1"), 2, "--temperature -1.0: expected 0 or more"),
        ("", ("--top-p", "0"), 2, "--top-p 0.0: expected above 0"),
        ("", ("--top-k", "0"), 2, "--top-k 0: expected 1 or more"),
        ("", ("--beam-size", "2", "--top-k", "3"), 2, "give one or the other"),
        ("", ("--seed", "-1"), 2, "--seed -1"),
        ("", ("--seed", "1"), 2, "--seed is of drawn replies; give --temperature, --top-k or"),
    ],
)
def test_what_is_wrong_is_said(
    piped: Any, runs: dict[str, Path], text: Any, arguments: Any, code: int, message: str
) -> None:
    ended = piped(runs["recurrent"], text, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_runs_without_a_dialogue_are_refused(
    piped: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tasks, "load", lambda run: object())
    ended = piped(tmp_path, "hello\n")
    assert ended.code == 1
    assert "holds no dialogue; use: unrolled predict" in ended.err


def test_retrieval_draws_nothing(piped: Any, runs: dict[str, Path]) -> None:
    ended = piped(runs["retrieval"], "hello\n", "--temperature", 1)
    assert (ended.code, ended.out) == (1, "")
    assert "retrieval neither searches nor draws" in ended.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("ending", [EOFError, KeyboardInterrupt])
def test_at_a_terminal(
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: type[BaseException],
) -> None:
    typed = iter(["hello", "", "/sing", "are you well ?"])
    prompts = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        line = next(typed, None)
        if line is None:
            raise ending
        return line

    shown = Terminal()
    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", shown)
    code = main(["chat", str(runs["recurrent"])])
    assert shown.getvalue() == "SYSTEM: hi there\nSYSTEM: yes thank you\n\n"
    assert prompts == ["USER: "] * 5
    errors = capsys.readouterr().err
    assert "You are USER." in errors
    assert "'/sing' is no command" in errors
    assert code == (0 if ending is EOFError else 130)


@pytest.fixture
def process(runs: dict[str, Path]) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-m", "unrolled", "chat", str(runs["recurrent"])]
    pipe = subprocess.PIPE
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A shell starts what runs in its background with SIGINT ignored, and that is inherited.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        started = subprocess.Popen(
            program, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with started:
        yield started
        started.kill()


def test_a_pipe_is_answered_line_by_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    for asked, answer in SAID:
        process.stdin.write(asked + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == answer + "\n"
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.returncode == 130
    out, err = process.communicate()
    assert (out, err) == ("", "unrolled: interrupted\n")
