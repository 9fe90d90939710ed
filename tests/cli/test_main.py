"""Structure, help and exit codes of the whole program."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unrolled import cli
from unrolled.errors import DataError

PROGRAM = [sys.executable, "-m", "unrolled"]


def test_help_lists_every_command_in_the_order_of_the_table(unrolled: Any) -> None:
    ended = unrolled("--help")
    assert ended.code == 0
    places = [ended.out.index(f"│ {name} ") for name in cli.COMMANDS]
    assert places == sorted(places)
    assert unrolled().out == ended.out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_table_of_commands_says_what_each_says_of_itself(name: str) -> None:
    target, summary = cli.COMMANDS[name]
    assert cli.resolve(target)().help.partition("\n\n")[0] == summary


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(unrolled: Any, name: str) -> None:
    ended = unrolled(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: unrolled {name}" in ended.out


def test_help_breaks_lines_by_the_terminal_alone(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    text = unrolled("rerank", "--help").out
    assert (
        'a candidate a line (ID ||| TEXT ||| NAME= VALUE …), or a JSON object a line with "cand'
        in text
    )
    assert "default: ()" not in unrolled("compare-outputs", "--help").out


def test_version(unrolled: Any) -> None:
    assert unrolled("--version").out == f"{cli.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["evaluate", "r", "--jsn"], "Unknown option: --jsn. Did you mean --json?"),
        (["evaluate"], "RUN is missing"),
        (["generate", "r", "--length", "x"], 'unable to convert "x" into int'),
        (["generate", "r", "--length", "-1"], "--length -1: expected 0 or more"),
        (["generate", "r", "--temperature", "-0.1"], "--temperature -0.1: expected 0 or more"),
        (["generate", "r", "--temperature", "nan"], "--temperature nan: expected 0 or more"),
        (["generate", "r", "--top-k", "0"], "--top-k 0: expected 1 or more"),
        (["generate", "r", "--top-p", "1.5"], "--top-p 1.5: expected above 0, at most 1"),
        (["generate", "r", "--prompt", "\udcff"], r"argument '\udcff' is not UTF-8"),
        (["predict", "a", "b", "c"], "Unused Tokens: ['c']"),
    ],
)
def test_usage_errors_exit_with_2_and_one_line(
    unrolled: Any, arguments: list[str], message: str
) -> None:
    ended = unrolled(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("unrolled: error: ")
    assert ended.err.count("\n") == 1
    assert message in ended.err


def _command_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(run: Path, /) -> int:
        raise error

    monkeypatch.setattr("unrolled.cli.evaluate.command", lambda _: cli.single(fail, "evaluate"))


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("not\nUTF-8", path="a", line=3), 1, "unrolled: error: a:3: not UTF-8\n"),
        (OSError(28, "No space left", "a"), 1, "unrolled: error: a: No space left\n"),
        (KeyboardInterrupt(), 130, "unrolled: interrupted\n"),
        (KeyError("k"), 1, "KeyError: 'k' (a defect of unrolled; --debug shows where)\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_exit_codes(
    unrolled: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    _command_that_raises(monkeypatch, error)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    ended = unrolled("evaluate", "r")
    assert ended.code == code
    assert ended.err.endswith(message)
    assert "Traceback" not in ended.err


def test_debug_shows_the_traceback(unrolled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that_raises(monkeypatch, DataError("bad"))
    ended = unrolled("evaluate", "r", "--debug")
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert ended.err.endswith("unrolled: error: bad\n")


def test_sigterm_ends_with_143_and_the_handler_is_put_back(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(run: Path, /) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(
        "unrolled.cli.evaluate.command", lambda _: cli.single(terminate, "evaluate")
    )
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        unrolled("evaluate", "r")
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys; from unrolled.cli import main; main(['train', 'language-modelling', '--help']);"
        "main(['--help']); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    assert any(cpu_seconds([*PROGRAM, "--help"]) <= 0.25 for _ in range(25))


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from unrolled.cli import main; import sys; sys.exit(main(['--version']))"
    ended = subprocess.run(
        [sys.executable, "-u", "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode != 0
