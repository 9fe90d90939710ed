"""Files of word vectors: three forms read alike, damage found."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from unrolled.data.vectors import read_vectors
from unrolled.errors import DataError

WORDS = ("the", "naïve", "猫", "#", "7", "10\u00a0000")
VECTORS = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)


def glove(words: Sequence[str], vectors: NDArray[np.float32]) -> bytes:
    pairs = zip(words, vectors.tolist(), strict=True)
    return "".join(" ".join([word, *map(repr, row)]) + "\n" for word, row in pairs).encode()


def text(words: Sequence[str], vectors: NDArray[np.float32]) -> bytes:
    lines = glove(words, vectors).replace(b"\n", b" \n")  # word2vec.c ends each line with a space
    return f"{len(words)} {vectors.shape[1]}\n".encode() + lines


def binary(words: Sequence[str], vectors: NDArray[np.float32], end: bytes = b"\n") -> bytes:
    rows = zip(words, vectors.astype("<f4"), strict=True)
    body = b"".join(word.encode() + b" " + row.tobytes() + end for word, row in rows)
    return f"{len(words)} {vectors.shape[1]}\n".encode() + body


FORMS = {
    "a.txt": glove(WORDS, VECTORS),
    "a.vec": text(WORDS, VECTORS),
    "tabs.txt": glove(WORDS, VECTORS).replace(b" ", b"\t"),
    "crlf.txt": text(WORDS, VECTORS).replace(b"\n", b"\r\n"),
    "blank.txt": glove(WORDS, VECTORS) + b"\n",
    "a.bin": binary(WORDS, VECTORS),
    "gensim.bin": binary(WORDS, VECTORS, end=b""),
}


def write(folder: Path, content: bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_all_forms_are_read_alike(tmp_path: Path, name: str, packed: bool) -> None:
    content = FORMS[name]
    if packed:
        name, content = name + ".gz", gzip.compress(content)
    path = write(tmp_path, content, name)
    words, vectors = read_vectors(path)
    assert words == list(WORDS)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, VECTORS)
    words, vectors = read_vectors(path, keep={"猫", "the", "absent"})
    assert words == ["the", "猫"]
    assert np.array_equal(vectors, VECTORS[[0, 2]])
    words, vectors = read_vectors(path, keep=())
    assert (words, vectors.shape) == ([], (0, 3))


def test_of_a_word_that_stands_twice_the_first_counts(tmp_path: Path) -> None:
    twice = ("a", "b", "a")
    for name, content in (
        ("a.txt", glove(twice, VECTORS[:3])),
        ("b.txt", text(twice, VECTORS[:3])),
        ("c.bin", binary(twice, VECTORS[:3])),
    ):
        words, vectors = read_vectors(write(tmp_path, content, name))
        assert words == ["a", "b"]
        assert np.array_equal(vectors, VECTORS[:2])


def test_a_word_of_text_may_hold_spaces(tmp_path: Path) -> None:
    path = write(tmp_path, b"a 1 2\n. . 3 4\n", "a.txt")
    words, vectors = read_vectors(path)
    assert (words, vectors.tolist()) == (["a", ". ."], [[1, 2], [3, 4]])
    path = write(tmp_path, b"2 2\n. . 3 4\na 1 2\n", "a.txt")
    assert read_vectors(path)[0] == [". .", "a"]


def test_many_words_and_long_vectors(tmp_path: Path) -> None:
    """Pieces of the binary file end within words and within vectors."""
    words = [f"word-{i}" * (1 + i % 7) for i in range(3000)]
    vectors = np.random.default_rng(1).standard_normal((3000, 300)).astype(np.float32)
    found, read = read_vectors(write(tmp_path, binary(words, vectors), "a.bin"))
    assert found == words
    assert np.array_equal(read, vectors)


@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_any_vectors_come_back(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, data: st.DataObject
) -> None:
    word = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t \ufeff"), min_size=1)
    words = data.draw(st.lists(word, min_size=count, max_size=count, unique=True))
    words = [f"w{word}" for word in words]
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    row = st.lists(number, min_size=size, max_size=size)
    values = data.draw(st.lists(row, min_size=count, max_size=count))
    vectors = np.array(values, dtype=np.float32)
    folder = tmp_path_factory.mktemp("any")
    for name, form in (("a.txt", glove), ("b.txt", text), ("c.bin", binary)):
        found, read = read_vectors(write(folder, form(words, vectors), name))
        assert found == words
        assert np.array_equal(read, vectors)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a 1 2\nb 1\n", 2, "1 numbers after the word; expected 2, as line 1 has it; delete or"),
        (b"2 2\na 1 2\nb 1\n", 3, "1 numbers after the word; expected 2"),
        (b"a 1 2\nb 1 x\n", 2, "could not convert string to float: 'x'; expected a word and 2"),
        (b"a 1 2\nb 1  2\n", 2, "could not convert .*between single spaces"),
        (b"a 1 2\n 1 2\n", 2, "the word is empty; delete the line"),
        (b"a 1 2\nb 1 nan\n", 2, "a number .of 'b'. is not finite"),
        (b"a 1 2\nb 1 1e999\n", 2, "a number .of 'b'. is not finite"),
        (b"3 2\na 1 2\nb 1 2\n", 1, "line 1 says 3 words, the file has 2; copy the file again"),
        (b"1 2\na 1 2\nb 1 2\n", 1, "line 1 says 1 words, the file has 2"),
        (b"0 2\n", 1, "the first line says '0 2'; expected the number of words"),
        (b"2 0\na\n", 1, "the first line says '2 0'"),
        (b"2 99999999\na 1\n", 1, "the first line says '2 99999999'"),
        (b"prose\nand more\n", 1, "0 numbers after the first word; expected 1 to"),
        (b"the cat sat\n", 1, "could not convert string to float: 'cat'"),
        (b"\na 1\n", 1, "0 numbers after the first word"),
        (b"a 1 2\nb\xff 1 2\n", 2, "byte 0xff"),
    ],
)
def test_malformed_text(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    for name, packed in (("a.txt", content), ("a.vec.gz", gzip.compress(content))):
        path = write(tmp_path, packed, name)
        with pytest.raises(DataError, match=message) as caught:
            read_vectors(path)
        assert str(caught.value).startswith(f"{path}:{line}: ")


WHOLE = binary(("ab", "c"), VECTORS[:2])
NAN = np.array([[1, 2, 3], [4, np.nan, 6]], dtype=np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (WHOLE[:end], rf"the file ends at byte {end}, within")
            for end in range(1, len(WHOLE) - 1)
        ),
        (b"", "the file is empty"),
        (WHOLE + b"more", r"it goes on at byte 34, after the 2 words"),
        (b"words and more\n", "the first line is 'words and more'; expected the number of words"),
        (b"the 1 2\n", "a file of text must not be named .bin"),
        (b"2 3\nab" + b"\xff" * 70_000, "word 1 of 2 does not end within 65536 bytes from byte 4"),
        (b"\x01" * 70_000, "the first line, .* does not end within"),
        (b"0 3\n", "the first line says '0 3'"),
        (b"1 99999999\na ", "the first line says '1 99999999'"),
        (
            b"99999999999 3\na " + bytes(12),
            "the file ends at byte 28, within word 2 of 99999999999",
        ),
        (b"1 3\n\xff " + bytes(12), "word 1 of 1, at byte 4, is not UTF-8 .*; convert the file"),
        (b"1 3\n " + bytes(12), "word 1 of 1, at byte 4, is empty"),
        (
            binary(("ab", "c"), NAN),
            "the vector at byte 22 .of 'c'. is not finite; remove this word",
        ),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_malformed_binary(tmp_path: Path, content: bytes, message: str) -> None:
    for name, packed in (("a.bin", content), ("a.bin.gz", gzip.compress(content))):
        path = write(tmp_path, packed, name)
        with pytest.raises(DataError, match=message) as caught:
            read_vectors(path)
        assert caught.value.path == path
        assert len(str(caught.value).splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("a.txt", "a.bin"):
        content = gzip.compress(FORMS[name], mtime=0)
        for broken in (content[:-9], content[: len(content) // 2], content[:-8] + bytes(8)):
            with pytest.raises(DataError, match="truncated or damaged"):
                read_vectors(write(tmp_path, broken, name))
        with pytest.raises(DataError, match="no such file"):
            read_vectors(tmp_path / f"absent-{name}")
        (tmp_path / f"folder-{name}").mkdir()
        with pytest.raises(DataError, match="directory"):
            read_vectors(tmp_path / f"folder-{name}")
    with pytest.raises(DataError, match="is empty"):
        read_vectors(write(tmp_path, b"", "a.txt"))
