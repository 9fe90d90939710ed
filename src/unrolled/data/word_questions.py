"""Questions about words, for measuring their vectors: judged similarities and analogies.

A file of similarities has a line ``word word score`` for each pair, fields between TABs, commas or white
space; its first line may be a header. A file of analogies has a line of four words for each question, *a b
c d*: a is to b as c is to d; a line ``: name`` begins a section. Blank lines are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any

from unrolled.data.text import read_lines
from unrolled.errors import DataError


@dataclass(frozen=True)
class Similarity:
    """Two words and how alike people find them."""

    words: tuple[str, str]
    score: float


@dataclass(frozen=True)
class Analogy:
    """Four words, of which the last is asked for, and the section that they stand in."""

    words: tuple[str, str, str, str]
    section: str = ""


def read_questions(path: str | PathLike[str]) -> list[Similarity] | list[Analogy]:
    """The questions of a file, all of one kind; the first line that is not blank tells which.

    Raises:
        DataError: the file is missing, unreadable or without questions, or a line is malformed.
    """
    lines = ((number, line.strip()) for number, line in enumerate(read_lines(path), start=1))
    given = [(number, line) for number, line in lines if line]
    if not given:
        raise DataError("the file holds no question; expected at least one", path=path)
    first = given[0][1]
    if first.startswith(":") or len(_fields(first)) == 4:
        analogies = list(_analogies(path, given))
        if not analogies:
            raise DataError("only names of sections; expected questions", path=path)
        return analogies
    if len(_fields(first)) == 3 and math.isnan(_number(_fields(first)[2])) and given[1:]:
        given = given[1:]  # a header
    return [_similarity(path, number, line) for number, line in given]


def to_json(question: Similarity | Analogy) -> dict[str, Any]:
    """A question as a JSON object.

    >>> to_json(Similarity(("car", "automobile"), 3.9))
    {'words': ['car', 'automobile'], 'score': 3.9}
    """
    if isinstance(question, Similarity):
        return {"words": list(question.words), "score": question.score}
    return {"words": list(question.words), "section": question.section}


def from_json(content: dict[str, Any]) -> Similarity | Analogy:
    """What :func:`to_json` gave."""
    if "score" in content:
        first, second = content["words"]
        return Similarity((first, second), float(content["score"]))
    a, b, c, d = content["words"]
    return Analogy((a, b, c, d), content["section"])


def _fields(line: str) -> list[str]:
    for mark in ("\t", ","):
        if mark in line:
            return [field.strip() for field in line.split(mark)]
    return line.split()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _similarity(path: str | PathLike[str], number: int, line: str) -> Similarity:
    fields = _fields(line)
    if len(fields) != 3 or not all(fields):
        message = f"{len(fields)} fields; expected two words and a score, or (analogies) four words"
        raise DataError(message, path=path, line=number)
    score = _number(fields[2])
    if not math.isfinite(score):
        message = f"{fields[2]!r} is no finite number; expected two words and a score"
        raise DataError(message, path=path, line=number)
    return Similarity((fields[0], fields[1]), score)


def _analogies(path: str | PathLike[str], given: list[tuple[int, str]]) -> Iterator[Analogy]:
    section = ""
    for number, line in given:
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        fields = _fields(line)
        if len(fields) != 4 or not all(fields):
            message = f"{len(fields)} fields; expected four words, or `: name` of a section"
            raise DataError(message, path=path, line=number)
        a, b, c, d = fields
        yield Analogy((a, b, c, d), section)
