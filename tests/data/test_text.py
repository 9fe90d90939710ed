"""Lines and tokens of text files: what must work, and what must be refused with file and line."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.text import read_lines, text_of, tokens
from unrolled.errors import ConfigError, DataError


def written(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\r\nb\nc\rd", ["a", "b", "c", "d"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),  # only the first mark is one
        (b"\n", [""]),
        (b"a\n\n\nb\n\n", ["a", "", "", "b", ""]),
        (b"one", ["one"]),
        ("é\u2028ü\x0b\x85\n".encode(), ["é\u2028ü\x0b\x85"]),  # no line ends for text files
    ],
)
def test_lines(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    assert list(read_lines(written(tmp_path, content))) == lines
    assert list(read_lines(written(tmp_path, gzip.compress(content), "a.txt.gz"))) == lines
    assert list(read_lines(written(tmp_path, gzip.compress(content), "unnamed"))) == lines


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff")), min_size=1))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    assert list(read_lines(path)) == lines
    characters = list(tokens(read_lines(path), "characters"))
    assert "".join(text_of(characters, "characters")) == "".join(line + "\n" for line in lines)


def test_a_line_of_100k_tokens(tmp_path: Path) -> None:
    path = written(tmp_path, b"word " * 100_000 + b"\nend\n")
    assert sum(1 for _ in tokens(read_lines(path), "words")) == 100_003


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = written(tmp_path, b"some words of a line\n" * 200_000)  # 4.2 MB
    tracemalloc.start()
    try:
        count = sum(1 for _ in tokens(read_lines(path), "words"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 1_200_000
    assert peak < 1_000_000


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match="is empty") as caught:
        list(read_lines(path))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82", b"\xf5\x80\x80\x80"]
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\nmore\n"])
def test_bad_utf8_is_refused_with_file_and_line(tmp_path: Path, bad: bytes, end: bytes) -> None:
    path = written(tmp_path, "gut\rschön\n".encode() + b"ab" + bad + end)
    lines = read_lines(path)
    assert [next(lines), next(lines)] == ["gut", "schön"]
    with pytest.raises(DataError, match=f"byte 0x{bad[0]:02x} after 2 characters") as caught:
        next(lines)
    assert caught.value.line == 3
    assert str(caught.value).startswith(f"{path}:3: ")


def test_bad_utf8_far_into_a_file_has_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "größer\n".encode() * 50_000 + b"\xfc\n")
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert caught.value.line == 50_001


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(32, 120)) * 3000 + b"\n", mtime=0)
    flipped = whole[:-8] + bytes(8)  # a wrong checksum
    for content in (whole[:-9], whole[: len(whole) // 2], whole[:11], whole[:3], flipped):
        with pytest.raises(DataError, match="truncated or damaged"):
            list(read_lines(written(tmp_path, content)))
    with pytest.raises(DataError, match="not gzip"):
        list(read_lines(written(tmp_path, b"plain\n", "a.gz")))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        next(read_lines(tmp_path / "absent"))
    with pytest.raises(DataError, match="directory"):
        next(read_lines(tmp_path))


def test_tokens_and_their_text() -> None:
    assert list(tokens([" to  be\tor ", "", "x"], "words")) == [
        *("to", "be", "or", "<eos>"),
        "<eos>",
        *("x", "<eos>"),
    ]
    pieces = list(text_of(["to", "be", "<eos>", "<eos>", "x", "<eos>"], "words"))
    assert "".join(pieces) == "to be\n\nx\n"
    with pytest.raises(ConfigError, match="'bytes'"):
        tokens(["a"], "bytes")  # type: ignore[arg-type]
