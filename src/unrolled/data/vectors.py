"""Pretrained vectors of words: word2vec's text and binary files (Mikolov et al. 2013), GloVe's text
(Pennington et al. 2014). Text: a line ``word x_1 … x_E`` for each word, in word2vec's after a line
``V E``. Binary: that line, then for each word its bytes, a space, and E little-endian float32."""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from array import array
from collections.abc import Container, Iterable, Iterator
from os import PathLike
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from unrolled.data.text import read_lines
from unrolled.errors import DataError

Path = str | PathLike[str]
Vectors = NDArray[np.float32]

_HEADER = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})")
_WIDEST = 1 << 16  # numbers of a vector
_LONGEST = 1 << 16  # bytes of a word or of the first line
_CHUNK = 1 << 20


def read_vectors(path: Path, *, keep: Container[str] | None = None) -> tuple[list[str], Vectors]:
    """The words of a file and their vectors, in the file's order.

    A name that ends in ``.bin`` is word2vec's binary form; any other is text, with word2vec's first line
    or without; each may be compressed by gzip. Of a word that stands twice the first vector counts.

    Args:
        path: the file.
        keep: the words to keep, all when None. Memory: those.

    Returns:
        V words and their vectors [V, E], float32; V may be 0 if ``keep`` is given.

    Raises:
        DataError: the file is missing, unreadable, empty or cut short, or a line or (in binary) a place
            is malformed or no finite number.
    """
    if str(path).removesuffix(".gz").endswith(".bin"):
        return _binary(path, keep)
    return _text(path, keep)


class _Table:
    """Words and vectors [V, E] of one file, growing."""

    def __init__(self, path: Path, keep: Container[str] | None, size: int) -> None:
        self._path, self._keep, self._size = path, keep, size
        self._words: dict[str, int] = {}  # and where each stands: a line or a byte
        self._values = array("f")

    def wants(self, word: str) -> bool:
        return word not in self._words and (self._keep is None or word in self._keep)

    def add(self, word: str, place: int, values: Iterable[float] | bytes) -> None:
        """Takes one vector.

        Raises:
            ValueError: a value is no number.
        """
        if isinstance(values, bytes):
            self._values.frombytes(values)
        else:
            self._values.extend(values)
        self._words[word] = place

    def vectors(self, *, byte: bool = False) -> tuple[list[str], Vectors]:
        """What was taken; DataError if anything is not finite."""
        flat = np.frombuffer(self._values, dtype=np.float32) if self._values else np.zeros(0, "f4")
        vectors = flat.reshape(len(self._words), self._size)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            word, place = list(self._words.items())[bad[0]]
            where = f"the vector at byte {place}" if byte else "a number"
            message = f"{where} (of {word!r}) is not finite; remove this word"
            raise DataError(message, path=self._path, line=None if byte else place)
        return list(self._words), vectors


def _text(path: Path, keep: Container[str] | None) -> tuple[list[str], Vectors]:
    lines: Iterator[tuple[int, str]] = enumerate(map(_spaced, read_lines(path)), start=1)
    number, first = next(lines)
    expected = None
    if header := _HEADER.fullmatch(first):
        expected, size = _sizes(first, header, path, line=number)
    else:
        size = first.count(" ")
        lines = itertools.chain([(number, first)], lines)
        if not 1 <= size <= _WIDEST:
            message = f"{size} numbers after the first word; expected 1 to {_WIDEST} between spaces"
            raise DataError(message, path=path, line=number)
    table = _Table(path, keep, size)
    count = 0
    for number, line in lines:
        if not line:
            continue
        count += 1
        spaces = line.count(" ")
        if spaces < size:
            message = f"{spaces} numbers after the word; expected {size}, as line 1 has it"
            raise DataError(f"{message}; delete or mend the line", path=path, line=number)
        if spaces == size:
            word, _, numbers = line.partition(" ")
        else:  # some files have words with spaces
            word, *parts = line.rsplit(" ", size)
            numbers = " ".join(parts)
        if not word:
            raise DataError("the word is empty; delete the line", path=path, line=number)
        if table.wants(word):
            try:
                table.add(word, number, map(float, numbers.split(" ")))
            except ValueError as error:
                message = f"{error}; expected a word and {size} numbers between single spaces"
                raise DataError(message, path=path, line=number) from None
    if expected is not None and count != expected:
        message = f"line 1 says {expected} words, the file has {count}; copy the file again"
        raise DataError(message, path=path, line=1)
    return table.vectors()


def _spaced(line: str) -> str:
    return line.replace("\t", " ").rstrip(" ")


def _sizes(first: str, header: re.Match[str], path: Path, *, line: int | None) -> tuple[int, int]:
    """The number of words and the size of their vectors."""
    words, size = int(header[1]), int(header[2])
    if not words or not 1 <= size <= _WIDEST:
        message = (
            f"the first line says {first!r}; expected the number of words and the size of the "
            f"vectors, 1 to {_WIDEST}"
        )
        raise DataError(message, path=path, line=line)
    return words, size


def _binary(path: Path, keep: Container[str] | None) -> tuple[list[str], Vectors]:
    try:
        with open(path, "rb") as raw:
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return _records(cast("BinaryIO", unpacked), path, keep)
            return _records(raw, path, keep)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"the gzip data is truncated or damaged ({error}); copy the file again"
        raise DataError(message, path=path) from error
    except FileNotFoundError as error:
        raise DataError("no such file; check the path", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _records(file: BinaryIO, path: Path, keep: Container[str] | None) -> tuple[list[str], Vectors]:
    source = _Bytes(file, path)
    first = source.until(b"\n", "the first line, the number of words and the size of their vectors")
    text = first.decode("ascii", errors="replace").strip()
    header = _HEADER.fullmatch(text)
    if header is None:
        message = (
            f"the first line is {text[:40]!r}; expected the number of words and the size of their "
            "vectors, as word2vec writes it; a file of text must not be named .bin"
        )
        raise DataError(message, path=path)
    count, size = _sizes(text, header, path, line=None)
    table = _Table(path, keep, size)
    for index in range(count):
        what = f"word {index + 1} of {count}"
        place = source.place
        name = source.until(b" ", what).lstrip(b"\n")  # some writers end a vector with a line feed
        begin = source.place
        values = source.take(4 * size, f"the vector of {what}")
        try:
            word = name.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{what}, at byte {place}, is not UTF-8 ({error.reason})"
            raise DataError(f"{message}; convert the file", path=path) from None
        if not word:
            raise DataError(f"{what}, at byte {place}, is empty; remove it", path=path)
        if table.wants(word):
            table.add(word, begin, np.frombuffer(values, "<f4").astype("f4").tobytes())
    source.end(f"the {count} words that the first line says")
    return table.vectors(byte=True)


class _Bytes:
    """The bytes of a file in pieces. ``place``: how many have been taken."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._held, self._start = b"", 0
        self.place = 0

    def until(self, mark: bytes, what: str) -> bytes:
        """What comes before the mark, which is taken, too."""
        while (end := self._held.find(mark, self._start)) < 0:
            if len(self._held) - self._start > _LONGEST:
                message = f"{what} does not end within {_LONGEST} bytes from byte {self.place}"
                raise DataError(f"{message}; no word2vec file, or damaged", path=self._path)
            self._more(what)
        piece = self._held[self._start : end]
        self._advance(len(piece) + len(mark))
        return piece

    def take(self, count: int, what: str) -> bytes:
        """The next bytes."""
        while len(self._held) - self._start < count:
            self._more(what)
        piece = self._held[self._start : self._start + count]
        self._advance(count)
        return piece

    def end(self, what: str) -> None:
        """DataError unless nothing but a line feed is left."""
        if (self._held[self._start :] + self._file.read(2)).strip(b"\n"):
            message = f"it goes on at byte {self.place}, after {what}; copy the file again"
            raise DataError(message, path=self._path)

    def _advance(self, count: int) -> None:
        self._start += count
        self.place += count

    def _more(self, what: str) -> None:
        more = self._file.read(_CHUNK)
        if not more:
            size = self.place + len(self._held) - self._start
            if not size:
                raise DataError("the file is empty; expected vectors of words", path=self._path)
            message = f"the file ends at byte {size}, within {what}; copy the file again"
            raise DataError(message, path=self._path)
        self._held, self._start = self._held[self._start :] + more, 0
