"""Words and how they are said, from files in the format of the CMU Pronouncing Dictionary, and a split into
parts that depends on the word alone, so that it is the same everywhere and for every edition."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from unrolled.data.text import read_lines
from unrolled.errors import ConfigError, DataError

Part = Literal["train", "valid", "test"]

_COUNTER = re.compile(r"[0-9]+")
_VARIANT = re.compile(r"(.+)\([0-9]+\)")


@dataclass(frozen=True)
class Entry:
    """A word with all its pronunciations.

    Attributes:
        word: as the file spells it.
        pronunciations: different sequences of phonemes, at least one, in the order of the file.
        line: the number of the first one's line.

    >>> Entry("READ", (("R", "EH", "D"), ("R", "IY", "D")), line=1).pronunciations[1]
    ('R', 'IY', 'D')
    """

    word: str
    pronunciations: tuple[tuple[str, ...], ...]
    line: int


def read_pronunciations(path: str | PathLike[str], *, stress: bool = False) -> list[Entry]:
    """The words of a dictionary, gzip too, in order of appearance.

    A line is ``WORD n PHONEME PHONEME …`` with a counter n, or ``WORD PHONEME …`` where a further
    pronunciation is of ``WORD(2)``; the lines of a word need not be neighbours. Blank lines, lines that
    begin with ``;;;`` and what follows a `` # `` are passed over.

    Args:
        path: the file.
        stress: whether to keep the digit of a vowel (0 none, 1 first, 2 second). Pronunciations that
            differ in nothing else are one without it.

    Raises:
        DataError: the file is missing, unreadable or empty, or a line has no phoneme.
    """
    found: dict[str, dict[tuple[str, ...], None]] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if line.startswith(";;;"):
            continue
        word, *phonemes = line.partition(" # ")[0].split() or [""]
        if not word:
            continue
        if phonemes and _COUNTER.fullmatch(phonemes[0]):
            del phonemes[0]
        elif variant := _VARIANT.fullmatch(word):
            word = variant[1]
        if not phonemes:
            message = f"{word!r} has no phoneme; expected a line such as READ 1 R EH1 D"
            raise DataError(message, path=path, line=number)
        if not stress:
            phonemes = [p[:-1] if p[-1] in "012" and len(p) > 1 else p for p in phonemes]
        lines.setdefault(word, number)
        found.setdefault(word, {})[tuple(phonemes)] = None
    if not found:
        message = "no word in it; expected lines such as READ 1 R EH1 D"
        raise DataError(message, path=path)
    return [Entry(word, tuple(said), lines[word]) for word, said in found.items()]


def part_of(word: str, *, valid_share: float = 0.05, test_share: float = 0.1) -> Part:
    """The part a word belongs to, by its SHA-256, capitals and small letters alike.

    Raises:
        ConfigError: shares below 0, or that leave nothing to learn from.

    >>> [part_of(word) for word in ("cat", "NATURAL", "natural")]
    ['train', 'test', 'test']
    """
    if min(valid_share, test_share) < 0 or not valid_share + test_share < 1:
        raise ConfigError(
            "--data.valid-share and --data.test-share are at least 0 and together below 1, not "
            f"{valid_share:g} and {test_share:g}"
        )
    digest = hashlib.sha256(word.casefold().encode("utf-8")).digest()
    place = int.from_bytes(digest[:6], "big") / 2**48  # exact in a float, in [0, 1)
    if place < test_share:
        return "test"
    return "valid" if place < test_share + valid_share else "train"
