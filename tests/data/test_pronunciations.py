"""Pronouncing dictionaries and their fixed split."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from unrolled.data.pronunciations import Entry, part_of, read_pronunciations
from unrolled.errors import ConfigError, DataError

NUMBERED = "READ 1 R EH1 D\nREADS 1 R IY1 D Z\nREAD 2 R IY1 D\nREAD 3 R IY2 D\n"
VARIANTS = (
    ";;; a comment\n\nREAD  R EH1 D # past\nREADS  R IY1 D Z\nREAD(1)  R IY1 D\nREAD(2)  R IY2 D\n"
)
READ, READS = (("R", "EH", "D"), ("R", "IY", "D")), (("R", "IY", "D", "Z"),)


@pytest.mark.parametrize(("text", "first"), [(NUMBERED, 1), (VARIANTS, 3)])
def test_both_forms(tmp_path: Path, text: str, first: int) -> None:
    path = tmp_path / "d.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_pronunciations(path) == [
        Entry("READ", READ, first),
        Entry("READS", READS, first + 1),
    ]
    stressed = read_pronunciations(path, stress=True)
    assert stressed[0].pronunciations == (("R", "EH1", "D"), ("R", "IY1", "D"), ("R", "IY2", "D"))


def test_odd_words(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_text("#SHARP 1 SH AA1 R P\n(1) 1 W AH1 N\n1 1 W AH1 N\nCAFÉ 1 K AE F EY1\nX 1 1\n")
    assert [(e.word, e.pronunciations[0][-1]) for e in read_pronunciations(path)] == [
        ("#SHARP", "P"),
        ("(1)", "N"),
        ("1", "N"),
        ("CAFÉ", "EY"),
        ("X", "1"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("READ 1 R EH1 D\nCAT\n", r"d:2: 'CAT' has no phoneme; expected a line such as"),
        ("CAT 1\n", r"d:1: 'CAT' has no phoneme"),
        (";;; nothing\n\n # \n", r"d: no word in it"),
        ("", r"d: the file is empty"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d").write_text(text)
    with pytest.raises(DataError, match=message):
        read_pronunciations(tmp_path / "d")


def test_the_split_is_fixed() -> None:
    words = [f"WORD{number}" for number in range(2000)]
    parts = [part_of(word) for word in words]
    assert [parts.count(part) for part in ("train", "valid", "test")] == [1701, 101, 198]
    assert parts == [part_of(word.lower()) for word in words]
    assert {part_of(word, valid_share=0, test_share=0) for word in words} == {"train"}
    larger = [part_of(word, test_share=0.2) for word in words]
    assert all(b == "test" for a, b in zip(parts, larger, strict=True) if a == "test")


@pytest.mark.parametrize(
    "shares", [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.1), (0.1, float("nan"))]
)
def test_shares(shares: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="together below 1"):
        part_of("a", valid_share=shares[0], test_share=shares[1])


def test_cmudict(data: Path) -> None:
    entries = read_pronunciations(data / "cmudict" / "cmudict.gz")
    assert len(entries) == 123_455
    assert len({phoneme for e in entries for said in e.pronunciations for phoneme in said}) == 39
    assert sum(part_of(entry.word) == "test" for entry in entries) == 12_311
    assert {e.word: e.pronunciations for e in entries}["READ"] == READ
