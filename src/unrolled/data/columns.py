"""Sentences with their tags from CoNLL-U (https://universaldependencies.org/format.html) and from column
files: one token a line, its fields in columns, and a blank line after each sentence."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from os import PathLike

from unrolled.data.text import read_lines
from unrolled.errors import DataError

NAMES = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U."""

_NUMBER = re.compile(r"-?[0-9]{1,9}")
_ID = re.compile(r"[1-9][0-9]*")
_NO_WORD = re.compile(r"[1-9][0-9]*-[1-9][0-9]*|[0-9]+\.[1-9][0-9]*")  # range, empty node
_LOOKED_AT = 1000  # lines beginning with # before the first that shows what a file is
_DOCUMENT = "-DOCSTART-"

Column = str | int


@dataclass(frozen=True)
class Sentence:
    """A sentence.

    Attributes:
        tokens: its words.
        tags: for each column asked for, the tags of the words.
        line: the number of its first word's line.

    >>> Sentence(("a", "cat"), (("DET", "NOUN"),), line=1).tags[0]
    ('DET', 'NOUN')
    """

    tokens: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    line: int


def read_columns(
    path: str | PathLike[str],
    *,
    token: Column | None = None,
    tags: Sequence[Column] = (),
    tagged: bool = True,
) -> Iterator[Sentence]:
    """The sentences of a file, gzip too. Memory: one sentence.

    A file is CoNLL-U if its name ends in ``.conllu`` or its first line that is neither blank nor a
    comment has ten fields between TABs, the first of them an id. Its ranges (``1-2``) and empty nodes
    (``1.1``) are left out. In other files the fields are parted by TABs if the first line has one, else
    by white space; all lines have equally many; nothing is a comment. Blank is also a line of nothing
    but white space. Spaces around a field are dropped. ``-DOCSTART-`` lines are passed over.

    Args:
        path: the file.
        token: the column of the words: in CoNLL-U a name of :data:`NAMES`; anywhere a number from 1, or
            from -1 at the end. The form, or 1, when None.
        tags: the columns of tags, likewise. None given: ``upos``, or -1.
        tagged: False reads words only.

    Raises:
        DataError: when the first sentence is asked for, if the file is missing, unreadable or empty;
            then at each malformed line; at the end, if there was no sentence.
    """
    lines = read_lines(path)
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        shows = line and not line.isspace() and not line.startswith(("#", _DOCUMENT))
        if shows or len(seen) == _LOOKED_AT:
            break
    conllu = _is_conllu(path, seen)
    columns = tuple(tags) if tagged else None
    reader = (_Conllu if conllu else _Plain)(path, token, columns)
    words: list[tuple[str, ...]] = []
    start = 0
    for number, line in enumerate(itertools.chain(seen, lines), start=1):
        if not line or line.isspace() or line.startswith(reader.ends):
            if words:
                yield _sentence(words, start)
                words = []
        elif word := reader.word(line, number, len(words) + 1):
            if not words:
                start = number
            words.append(word)
    if words:
        yield _sentence(words, start)
    if not start:
        message = f"there are no words in it; expected {reader.expected}"
        raise DataError(message, path=path)


def _is_conllu(path: str | PathLike[str], lines: Sequence[str]) -> bool:
    if str(path).removesuffix(".gz").endswith(".conllu"):
        return True
    fields = lines[-1].split("\t") if lines else []
    first = fields[0] if fields else ""
    return len(fields) == len(NAMES) and bool(_ID.fullmatch(first) or _NO_WORD.fullmatch(first))


def _sentence(words: list[tuple[str, ...]], line: int) -> Sentence:
    tokens, *tags = zip(*words, strict=True)
    return Sentence(tokens, tuple(tags), line)


class _Reader(ABC):
    """The fields asked for in the lines of one file."""

    ends: tuple[str, ...] = ()
    expected = ""

    def __init__(
        self,
        path: str | PathLike[str],
        token: Column | None,
        tags: Sequence[Column] | None,
    ) -> None:
        self.path, self._token, self._tags = path, token, tags
        self._places: list[int] = []
        self._get: Callable[[Sequence[str]], tuple[str, ...]]

    @abstractmethod
    def word(self, line: str, number: int, place: int) -> tuple[str, ...] | None:
        """The token and tags of a line, the ``place``-th of its sentence; None if it has none."""

    def _find(self, count: int, names: Sequence[str], line: int | None) -> None:
        """Settles which fields the columns asked for are, of ``count``."""
        token = self._token if self._token is not None else "form" if names else 1
        tags = self._tags if self._tags != () else ("upos",) if names else (-1,)
        self._places = [
            self._place(column, count, names, line) for column in (token, *(tags or ()))
        ]
        own, *others = self._places
        # Of two places or more an itemgetter makes a tuple.
        self._get = itemgetter(own, *others) if others else lambda fields: (fields[own],)
        if own in others:
            have = "one field" if count == 1 else f"{count} fields"
            raise self._error(
                f"the tags would be the tokens themselves (column {own + 1}; the line "
                f"has {have}); expected a token and its tags, each in its own column",
                line,
            )

    def _place(self, column: Column, count: int, names: Sequence[str], line: int | None) -> int:
        if isinstance(column, int) or _NUMBER.fullmatch(column):
            number = int(column)
            if 1 <= number <= count:
                return number - 1
            if -count <= number <= -1:
                return count + number
        elif column in names:
            return names.index(column)
        named = f"{', '.join(names)}, or " if names else ""
        range_ = f"1 to {count}, from the end -1 to -{count}" if count > 1 else "1"
        raise self._error(f"there is no column {column}; the columns are {named}{range_}", line)

    def _chosen(self, fields: Sequence[str], number: int, *, spaced: bool) -> tuple[str, ...]:
        """The fields asked for, none of them empty."""
        word = self._get(fields)
        if spaced:
            word = tuple([field.strip(" ") for field in word])
        if "" in word:
            place = self._places[word.index("")] + 1
            what = "token" if word[0] == "" else "tag"
            raise self._error(
                f"the {what} (column {place}) is empty; fill it in, or delete the line", number
            )
        return word

    def _error(self, message: str, line: int | None) -> DataError:
        return DataError(message, path=self.path, line=line)


class _Conllu(_Reader):
    ends = ()
    expected = "the lines of CoNLL-U: ten fields between TABs"

    def word(self, line: str, number: int, place: int) -> tuple[str, ...] | None:
        if line.startswith("#"):
            return None
        if not self._places:
            self._find(len(NAMES), NAMES, None)
        fields = line.split("\t")
        if len(fields) != len(NAMES):
            has = "field" if len(fields) == 1 else "fields"
            raise self._error(
                f"{len(fields)} {has} between TABs; expected the {len(NAMES)} of CoNLL-U: "
                f"{', '.join(NAMES)}",
                number,
            )
        if fields[0] != str(place):
            if _NO_WORD.fullmatch(fields[0]):
                return None
            raise self._error(
                f"the id is {fields[0]!r}; expected {place}, as words are numbered from 1 after each "
                "blank line (or a range such as 1-2, or an empty node such as 1.1)",
                number,
            )
        return self._chosen(fields, number, spaced=" " in line)


class _Plain(_Reader):
    ends = (_DOCUMENT,)
    expected = "a line for each word, with its tags, and a blank line after each sentence"
    _tabs = False
    _count = 0
    _first = 0
    _comment = False

    def word(self, line: str, number: int, place: int) -> tuple[str, ...] | None:
        if not self._count:
            self._tabs, self._first = "\t" in line, number
            self._comment = line.startswith("# ")
        if self._tabs:
            fields = line.split("\t")
        else:  # not split(), since a no-break space belongs to its token
            fields = [field for field in line.replace("\t", " ").split(" ") if field]
        if not self._count:
            self._count = len(fields)
            self._find(self._count, (), number)
        if len(fields) != self._count:
            raise self._error(self._mismatch(len(fields), line), number)
        return self._chosen(fields, number, spaced=self._tabs and " " in line)

    def _mismatch(self, count: int, line: str) -> str:
        between = "TABs" if self._tabs else "white space"
        has = "field" if count == 1 else "fields"
        message = (
            f"{count} {has} between {between}; expected {self._count} as in line {self._first}"
        )
        if self._tabs and "\t" not in line:
            return f"{message}; part the fields by TABs, not spaces"
        if line.startswith("# ") or self._comment:
            return (
                f"{message}; only CoNLL-U has comments: ten fields between TABs, or named .conllu"
            )
        return f"{message}; a sentence ends with a blank line"
