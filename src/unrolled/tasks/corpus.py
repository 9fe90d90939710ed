"""The text of a language model, prepared: vocabulary fitted on the training part alone, parts as streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from unrolled.data.stream import TokenStream
from unrolled.data.text import EOS, read_lines, tokens
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.tasks.language_modelling_options import LanguageData

VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Corpus:
    """What training reads. ``valid`` and ``test`` are None where there is no such part."""

    vocabulary: Vocabulary
    train: TokenStream
    valid: TokenStream | None
    test: TokenStream | None


def line_end(level: str) -> str:
    """The symbol that ends a line, and is taken to stand before a text."""
    return "\n" if level == "characters" else EOS


def prepare(data: LanguageData, folder: Path) -> None:
    """Reads the text, once for each thing to know, and writes vocabulary and streams to ``folder``.

    A folder that an interrupted run prepared is left as it is.

    Raises:
        DataError: a file is missing, empty or no UTF-8.
    """
    if not (folder / "cache" / "train.tokens").exists():
        _write(data, folder, folder / "cache")


def prepared(data: LanguageData, folder: Path) -> Corpus:
    """What :func:`prepare` wrote; reads nothing but that.

    Raises:
        DataError: the training part is too short.
        RunError: there is nothing prepared, or it is damaged.
    """
    cache = folder / "cache"
    train_cache = cache / "train.tokens"
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    whole = TokenStream.open(train_cache)
    train, valid, test = _cut(whole, data)
    if data.valid is not None:
        valid = TokenStream.open(cache / "valid.tokens")
    if data.test is not None:
        test = TokenStream.open(cache / "test.tokens")
    return Corpus(vocabulary, train, valid, test)


def encode(path: Path, vocabulary: Vocabulary, level: str) -> TokenStream:
    """A file's symbols as a stream in memory.

    Raises:
        DataError: the file is missing, empty or no UTF-8.
    """
    ids = vocabulary.encode(_symbols(path, level))
    if not len(ids):
        raise DataError("the text has no symbols; expected at least one", path=path)
    return TokenStream(ids, vocabulary_size=len(vocabulary))


def _symbols(path: Path, level: str) -> Iterator[str]:
    return tokens(read_lines(path), level)  # type: ignore[arg-type]


def _write(data: LanguageData, folder: Path, cache: Path) -> None:
    for path in (data.valid, data.test):  # complain before the long work
        if path is not None:
            next(iter(read_lines(path)))
    symbols = _symbols(data.train, data.level)
    if shares(data) != (0.0, 0.0):
        length = sum(1 for _ in _symbols(data.train, data.level))
        symbols = islice(symbols, bounds(length, data)[0])
    vocabulary = Vocabulary.count(
        symbols, max_size=data.vocabulary_size or None, min_count=data.min_count
    )
    if line_end(data.level) not in vocabulary:
        vocabulary = Vocabulary([*vocabulary.symbols, line_end(data.level)])
    vocabulary.save(folder / VOCABULARY)
    cache.mkdir(exist_ok=True)
    for name, path in (("valid", data.valid), ("test", data.test), ("train", data.train)):
        if path is not None:  # train last: its presence says that all are there
            TokenStream.write(_symbols(path, data.level), vocabulary, cache / f"{name}.tokens")


def shares(data: LanguageData) -> tuple[float, float]:
    """The shares of the training file held out for validation and test."""
    return (
        data.valid_share if data.valid is None else 0.0,
        data.test_share if data.test is None else 0.0,
    )


def bounds(length: int, data: LanguageData) -> tuple[int, int]:
    """Where in a training file of ``length`` symbols the validation part begins, and the test part."""
    valid_share, test_share = shares(data)
    test = int(length * (1 - test_share))
    return int(test * (1 - valid_share)), test


def _cut(
    whole: TokenStream, data: LanguageData
) -> tuple[TokenStream, TokenStream | None, TokenStream | None]:
    ids = np.asarray(whole)
    valid, test = bounds(len(ids), data)
    if valid < 2:
        raise DataError(
            f"the training part has {valid} symbols; at least 2 are needed to predict one from the "
            "other (of a very short text hold nothing out: --data.valid-share 0)",
            path=data.train,
        )

    def part(start: int, stop: int) -> TokenStream | None:
        size = whole.vocabulary_size
        return TokenStream(ids[start:stop], vocabulary_size=size) if stop > start else None

    train = part(0, valid)
    assert train is not None
    return train, part(valid, test), part(test, len(ids))
