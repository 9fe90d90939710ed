"""evaluate, predict, generate and info on a fake model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from unrolled.cli.info import extras, interleaved


def test_evaluate_prints_aligned_lines(unrolled: Any, tmp_path: Path) -> None:
    ended = unrolled("evaluate", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "nats        1.5000  [1.4000, 1.6000]\n" in ended.out


def test_evaluate_prints_json(unrolled: Any, tmp_path: Path) -> None:
    found = json.loads(unrolled("evaluate", tmp_path, "--json", "--data.test", "t").out)
    assert list(found) == ["model", "split", "examples", "metrics", "intervals"]
    assert found["intervals"] == {"nats": [1.4, 1.6]}


def test_the_part_to_choose_by(unrolled: Any, tmp_path: Path) -> None:
    for options, split in (((), "test"), (("--split", "valid"), "valid")):
        assert json.loads(unrolled("evaluate", tmp_path, "--json", *options).out)["split"] == split
    ended = unrolled("evaluate", tmp_path, "--split", "valid", "--data.test", "t")
    assert (ended.code, ended.out) == (2, "")
    assert "--split is of the run's own data; leave out --split or --data.test" in ended.err


@pytest.mark.parametrize("command", ["evaluate", "predict", "generate"])
def test_a_missing_run_is_refused(unrolled: Any, command: str) -> None:
    ended = unrolled(command, "no-such-run")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "unrolled: error: no-such-run: no such run directory\n"


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["A"]),
        ("ü\r\n\n".encode(), ["Ü", ""]),
        (b"\xef\xbb\xbfa\rb\r\nc", ["A", "B", "C"]),
    ],
)
def test_predict_reads_the_standard_input(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, lines: list[str]
) -> None:
    give(monkeypatch, content)
    ended = unrolled("predict", tmp_path)
    assert ended.code == 0
    assert ended.out == "".join(line + "\n" for line in lines)


def test_predict_names_the_line_that_is_not_utf8(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give(monkeypatch, b"a\nb\xff\n")
    ended = unrolled("predict", tmp_path)
    assert (ended.code, ended.out) == (1, "A\n")
    assert ended.err.startswith("unrolled: error: <stdin>:2: byte 0xff after 1 bytes is not UTF-8")


def test_predict_reads_a_file(unrolled: Any, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n", encoding="utf-8")
    out = unrolled("predict", tmp_path, tmp_path / "lines").out
    assert out == "ONE batch_size=256\nTWO batch_size=256\n"  # read ahead: nobody waits for a line
    missing = unrolled("predict", tmp_path, tmp_path / "none")
    assert missing.code == 1
    assert "no such file" in missing.err


def test_predict_passes_its_options_on(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give(monkeypatch, b"a\n")
    ended = unrolled("predict", tmp_path, "--probabilities", "--n-best", 3)
    assert ended.out == "A probabilities=True n_best=3\n"
    ended = unrolled("predict", tmp_path, "--n-best", -1)
    assert (ended.code, ended.out) == (2, "")
    assert "--n-best -1: expected 0 or more" in ended.err


def test_generate_is_for_models_that_can(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("unrolled.tasks.load", lambda run: object())
    ended = unrolled("generate", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert f"{tmp_path}: this model draws no text" in ended.err


def test_generate_prints_the_prompt_and_the_text(unrolled: Any, tmp_path: Path) -> None:
    assert unrolled("generate", tmp_path, "--prompt", ">", "--length", 3).out == ">abc\n"
    assert unrolled("generate", tmp_path, "--length", 0).out == "\n"


def test_info_without_the_comparison(unrolled: Any) -> None:
    ended = unrolled("info", "--seconds", 0)
    assert ended.code == 0
    for word in ("unrolled", "torch", "instruction set", "threads", "executors", "lstm-peephole"):
        assert word in ended.out


def test_info_compares_with_torch(unrolled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("T", 2), ("B", 2), ("H", 4)):
        monkeypatch.setattr(f"unrolled.cli.info.{name}", size)
    out = unrolled("info", "--seconds", 0.05).out
    assert out.count("   unrolled ") == 3
    assert out.count(" x as fast\n") == 3


def test_extras_are_those_of_the_package() -> None:
    assert set(extras()) == {"tensorboard", "text", "tokenizers"}


def test_interleaved_calls_in_turns() -> None:
    calls: list[str] = []
    medians = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], 0.001)
    assert len(medians) == 2
    assert "".join(calls).replace("ab", "") == ""
