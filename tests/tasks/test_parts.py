"""The parts of a task's data: who is held out, what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks.parts import Example, build, held_out, prepare, prepared, split


@dataclass(frozen=True)
class Data:
    train: Path
    valid: Path | None = None
    test: Path | None = None
    valid_share: float = 0.0
    test_share: float = 0.0


def read(path: Path) -> Iterator[Example]:
    for line in path.read_text().splitlines():
        yield {"n": int(line)}


def numbers(path: Path, start: int, stop: int) -> Path:
    path.write_text("".join(f"{n}\n" for n in range(start, stop)))
    return path


@given(st.integers(0, 60), st.floats(0, 0.99), st.floats(0, 0.99))
def test_every_example_is_in_one_part(count: int, valid: float, test: float) -> None:
    parts = split(count, valid_share=valid, test_share=test)
    assert sorted(np.concatenate(parts)) == list(range(count))
    again = split(count, valid_share=valid, test_share=test)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    if count > 4:
        assert (len(parts[2]) > 0) == (test > 0)
        assert len(parts[1]) > 0 or valid == 0 or test > 0


def test_shares_are_held_out_only_where_there_is_no_file(tmp_path: Path) -> None:
    train = numbers(tmp_path / "train", 0, 100)
    test = numbers(tmp_path / "test", 100, 120)
    prepare(Data(train, test=test, valid_share=0.25, test_share=0.5), tmp_path, read)
    parts = prepared(tmp_path)
    assert (len(parts.train), len(parts.valid or ()), len(parts.test or ())) == (75, 25, 20)
    assert {each["n"] for each in parts.test or ()} == set(range(100, 120))
    train.write_text("what a run prepared stays\n")
    prepare(Data(train), tmp_path, read)
    assert prepared(tmp_path) == parts


def test_nothing_held_out(tmp_path: Path) -> None:
    prepare(Data(numbers(tmp_path / "train", 0, 3)), tmp_path, read)
    parts = prepared(tmp_path)
    assert (len(parts.train), parts.valid, parts.test) == (3, None, None)


def test_empty_parts_are_refused(tmp_path: Path) -> None:
    train, empty = numbers(tmp_path / "train", 0, 3), numbers(tmp_path / "empty", 0, 0)
    for data in (Data(empty), Data(train, valid=empty), Data(train, test=empty)):
        with pytest.raises(DataError, match="empty: the file holds no example"):
            prepare(data, tmp_path, read)
    with pytest.raises(DataError, match="no example is left to learn from"):
        prepare(Data(train, valid_share=0.9, test_share=0.9), tmp_path, read)
    assert not (tmp_path / "cache").exists()


def test_damaged_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        prepared(tmp_path)
    (tmp_path / "test.jsonl").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        held_out(tmp_path, "test")
    with pytest.raises(ConfigError, match="holds out no valid part"):
        held_out(tmp_path, "valid")


def test_models_that_cannot_be_built_are_options_errors() -> None:
    def fail(error: Exception) -> nn.Module:
        raise error

    with pytest.raises(ConfigError, match="--model: odd"):
        build(lambda: fail(ValueError("odd")))
    with pytest.raises(ConfigError, match="no memory"):
        build(lambda: fail(RuntimeError("can't allocate")))
    with pytest.raises(RuntimeError, match="other"):
        build(lambda: fail(RuntimeError("other")))
