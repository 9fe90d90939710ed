"""Learning to execute in numbers: the characters, and batches of texts with what follows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.data.batch import PairsBatch, Sequences
from unrolled.data.execution import BETWEEN, Example, Execution, as_read
from unrolled.data.records import field, read_records
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.tasks.execution_options import ExecutionData
from unrolled.tasks.translation_data import Encoded, padded

CHARACTERS = "vocabulary.json"
LINE = "#"  # what stands for a line break where a text must be one line
BEGIN, STOP = "@", "."  # after the source, and after the target
START, END = 1, 2  # their numbers


def generator(data: ExecutionData, part: Any, *, seed: int = 0) -> Execution:
    """The examples of a part, as they are written: not yet reversed or doubled."""
    return Execution(
        data.kind,
        data.length,
        data.nesting,
        data.curriculum,
        part=part,
        seed=seed,
        up_to=data.up_to,
    )


def one_line(text: str) -> str:
    """A text with ``#`` for its line breaks.

    >>> one_line("a=5\\nprint(a)")
    'a=5#print(a)'
    """
    return text.replace("\n", LINE)


@dataclass(frozen=True)
class Characters:
    """Texts to numbers and back.

    Attributes:
        vocabulary: all characters; 1 begins a target, 2 ends it.
        reverse, double: how sources are read, see :func:`unrolled.data.execution.as_read`.
        reverse_target: targets are written from their last character to the first.
    """

    vocabulary: Vocabulary
    reverse: bool = False
    double: bool = False
    reverse_target: bool = False

    @classmethod
    def of(cls, data: ExecutionData) -> Characters:
        """All characters that the examples may have, known beforehand."""
        known = sorted(one_line(generator(data, "train").characters))
        symbols = [BEGIN, STOP, *known, *([BETWEEN] if data.double else [])]
        return cls(Vocabulary(symbols), data.reverse, data.double, data.reverse_target)

    def source_ids(self, text: str) -> list[int]:
        """The numbers of a source.

        Raises:
            DataError: it is empty, or has a character that is not known.
        """
        if not text:
            raise DataError("the source is empty; expected a text")
        read = as_read(self._known(text), reverse=self.reverse, double=self.double)
        return list(map(int, self.vocabulary.encode(read)))

    def target_ids(self, text: str) -> list[int]:
        """The numbers of a target, without begin and end.

        Raises:
            DataError: it has a character that is not known.
        """
        known = self._known(text)
        ids = self.vocabulary.encode(known[::-1] if self.reverse_target else known)
        return list(map(int, ids))

    def target(self, ids: Iterable[int]) -> str:
        """The target that numbers stand for, one line."""
        symbols = self.vocabulary.decode(ids)
        return "".join(reversed(symbols) if self.reverse_target else symbols)

    def _known(self, text: str) -> str:
        line = one_line(text)
        for character in line:
            if character not in self.vocabulary or character in (BEGIN, STOP):
                known = "".join(s for s in self.vocabulary.symbols[END + 1 :])
                raise DataError(
                    f"the character {character!r} of {line!r:.60} is none that this model has learnt; "
                    f"it knows {known!r}"
                )
        return line

    def sources(self, texts: Sequence[str]) -> Sequences:
        """A batch of sources."""
        return padded([self.source_ids(text) for text in texts])

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Examples in numbers."""
        sources = [np.array(self.source_ids(e.source), dtype=np.int64) for e in examples]
        targets = [np.array(self.target_ids(e.target), dtype=np.int64) for e in examples]
        return Encoded(sources, targets)

    def batch(self, examples: Sequence[Example]) -> PairsBatch:
        """Examples to learn from."""
        return self.encode(examples).batch(np.arange(len(examples)))

    def stream(self, example: Example) -> list[int]:
        """Source, begin, target and end in one: what an n-gram model counts."""
        return [*self.source_ids(example.source), START, *self.target_ids(example.target), END]


def to_json(example: Example) -> dict[str, Any]:
    """For a part's file."""
    return {
        "source": example.source,
        "target": example.target,
        "length": example.length,
        "nesting": example.nesting,
    }


def from_json(given: Mapping[str, Any]) -> Example:
    """The inverse; ``length`` and ``nesting`` may be missing, and are 0 then."""
    length, nesting = (_size(given.get(name)) for name in ("length", "nesting"))
    return Example(given["source"], given["target"], length, nesting)


def _size(given: object) -> int:
    """A whole number, or its digits in a table's field; 0 for what is no size."""
    if isinstance(given, str) and len(given) < 10 and given.isdecimal():
        given = int(given)
    return given if type(given) is int and 0 <= given < 2**31 else 0


def read_examples(path: Path, characters: Characters) -> Iterator[Example]:
    """The examples of a file: JSONL, TSV or CSV with the fields ``source`` and ``target``.

    Raises:
        DataError: a field is missing or no text, or has a character that is not known; names the line.
    """
    for record in read_records(path, header=True):
        fields = dict(record.fields)
        for name in ("source", "target"):
            value = field(record, name)
            if not isinstance(value, str):
                message = f"the field {name} holds {value!r:.40}; expected a string"
                raise DataError(message, path=path, line=record.line)
        try:
            characters.source_ids(fields["source"])
            characters.target_ids(fields["target"])
        except DataError as error:
            raise DataError(str(error), path=path, line=record.line) from None
        yield from_json(fields)
