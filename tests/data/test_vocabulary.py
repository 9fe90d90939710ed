"""Vocabularies: counting, coding, and files that do not lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigError, RunError


def test_most_frequent_first_and_ties_by_appearance() -> None:
    text = [*"dbabca", "<eos>", "d", "c"]
    assert Vocabulary.count(text).symbols == ("<unk>", "d", "b", "a", "c", "<eos>")
    assert Vocabulary.count(text, max_size=2).symbols == ("<unk>", "d", "b", "<eos>")
    assert Vocabulary.count(text, min_count=2).symbols == ("<unk>", "d", "b", "a", "c", "<eos>")
    assert Vocabulary.count(text, min_count=3).symbols == ("<unk>", "<eos>")


def test_the_unknown_symbol_is_never_doubled() -> None:
    assert Vocabulary.count(["<unk>", "a", "<unk>"]).symbols == ("<unk>", "a")
    assert Vocabulary(["<unk>", "a"]) == Vocabulary(["a"])
    assert Vocabulary([]).symbols == ("<unk>",)
    for twice in (["a", "b", "a"], ["a", "<unk>"]):
        with pytest.raises(ValueError, match="given twice"):
            Vocabulary(twice)


def test_unseen_symbols_become_zero() -> None:
    vocabulary = Vocabulary(["a", "b"])
    ids = vocabulary.encode(iter(["b", "zebra", "a"]))
    assert ids.dtype == np.int64
    assert ids.tolist() == [2, 0, 1]
    assert vocabulary.decode(ids) == ["b", "<unk>", "a"]
    assert vocabulary.encode([]).shape == (0,)
    assert vocabulary.decode([]) == []
    for wrong in ([3], [-1], [0, 9]):
        with pytest.raises(ValueError, match="from 0 to 2"):
            vocabulary.decode(wrong)


@pytest.mark.parametrize("limits", [{"max_size": 0}, {"min_count": 0}])
def test_limits_are_checked(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Vocabulary.count("abc", **limits)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True))
def test_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, symbols: list[str]) -> None:
    vocabulary = Vocabulary([symbol for symbol in symbols if symbol != "<unk>"])
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded == vocabulary
    assert hash(loaded) == hash(vocabulary)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert loaded.decode(loaded.encode(symbols)) == symbols


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    Vocabulary(["a", "é"]).save(path)
    whole = path.read_bytes().rstrip()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(RunError, match=r"vocabulary\.json: .*restore"):
            Vocabulary.load(path)


def test_altered_newer_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    Vocabulary(["a", "b"]).save(path)
    content = json.loads(path.read_text())
    altered = [
        {"symbols": ["<unk>", "b", "a"]},
        {"symbols": ["<unk>", "a", "b", "c"]},
        {"symbols": "abc"},
        {"symbols": [1, 2]},
        {"symbols": []},
        {"sha256": 3},
        {"format_version": "x"},
    ]
    for change in altered:
        path.write_text(json.dumps(content | change))
        with pytest.raises(RunError, match="restore"):
            Vocabulary.load(path)
    for other in ("[]", "3", "null", "\udcff"):
        path.write_text(other, errors="surrogateescape")
        with pytest.raises(RunError, match="restore"):
            Vocabulary.load(path)
    path.write_text(json.dumps(content | {"format_version": 2}))
    with pytest.raises(RunError, match="newer than 1"):
        Vocabulary.load(path)
    with pytest.raises(RunError, match="cannot be read"):
        Vocabulary.load(tmp_path / "absent")
    with pytest.raises(RunError, match="cannot be written"):
        Vocabulary(["a"]).save(tmp_path / "absent" / "vocabulary.json")
