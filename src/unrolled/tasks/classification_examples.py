"""The examples of classification as files hold them: a text, string or sequence of vectors, and its answer.

An answer is one label, several, or a number. Several labels of an example stand in several fields, in one
field with a separator between them, or in a list (JSON). Fields of nothing but 0 and 1 in the training
file are indicators: the field's name is the label. Vectors come from ``.npz`` (``values`` [M, F],
``offset`` [N + 1], and ``label`` or the target [N]: item i is ``values[offset[i] : offset[i + 1]]``), from
rows of TSV or CSV that share a field, or from JSONL (a list of lists of numbers).
"""

from __future__ import annotations

import itertools
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.data.records import Record, field, needs_header, read_records
from unrolled.errors import DataError
from unrolled.tasks.classification_options import ClassificationData

Answer = Literal["label", "labels", "number"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        input: The text, or vectors [T, F].
        answer: A label, several, or a number; None where it is to be predicted.
        line: Where it begins in its file, from 1 (in ``.npz``: the number of the item, from 1).
    """

    input: str | Vectors
    answer: str | tuple[str, ...] | float | None
    line: int

    def to_json(self) -> dict[str, Any]:
        """The example as the held-out parts of a run keep it."""
        key, value = ("text", self.input) if isinstance(self.input, str) else ("vectors", None)
        answer = list(self.answer) if isinstance(self.answer, tuple) else self.answer
        return {key: self.input.tolist() if value is None else value, "label": answer}  # type: ignore[union-attr]

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any], line: int) -> Example:
        """What :meth:`to_json` gave."""
        answer = mapping["label"]
        answer = tuple(answer) if isinstance(answer, list) else answer
        if "text" in mapping:
            return cls(mapping["text"], answer, line)
        return cls(np.asarray(mapping["vectors"], np.float32), answer, line)


def held_examples(kept: Iterable[Mapping[str, Any]]) -> list[Example]:
    """The examples of a part of a run."""
    return [Example.from_json(mapping, line) for line, mapping in enumerate(kept, start=1)]


@dataclass(frozen=True)
class Fields:
    """Where a file holds what, and what kind of answer there is: decided by the training file.

    Attributes:
        level, text, label, separator, target, sequence, header: see :class:`ClassificationData`.
        answer: ``label``, ``labels`` or ``number``.
        indicators: Whether the label fields say 0 or 1 of the label they are named by.
    """

    level: str
    text: tuple[str, ...]
    label: tuple[str, ...]
    separator: str = ""
    target: str = ""
    sequence: str = ""
    header: str = "auto"
    answer: Answer = "label"
    indicators: bool = False

    @classmethod
    def of(cls, data: ClassificationData) -> Fields:
        """As the options say; a list in the data may still make one label several."""
        text = data.text or (() if data.level == "vectors" else ("text",))
        answer: Answer = "labels" if data.separator or len(data.label) > 1 else "label"
        return cls(
            level=data.level,
            text=text,
            label=() if data.target else data.label,
            separator=data.separator,
            target=data.target,
            sequence=data.sequence,
            header=data.header,
            answer="number" if data.target else answer,
        )

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Fields:
        """What ``dataclasses.asdict`` gave, lists for tuples."""
        values: dict[str, Any] = dict(given)
        return cls(**values | {name: tuple(given[name]) for name in ("text", "label")})

    def decided(self, values: Iterable[tuple[Any, ...]]) -> Fields:
        """The same, knowing the label fields' values in the training file."""
        if self.answer == "number":
            return self
        seen = list(values)
        several = self.answer == "labels" or any(isinstance(row[0], list) for row in seen)
        bits = ("0", "1", 0, 1, False, True)
        indicators = len(self.label) > 1 and all(
            not isinstance(value, list) and value in bits for row in seen for value in row
        )
        return replace(self, answer="labels" if several else "label", indicators=indicators)


@dataclass(frozen=True)
class Raw:
    """An example with the values of its label or target fields as they stand."""

    input: str | Vectors
    values: tuple[Any, ...]
    line: int


def read_raw(path: Path, fields: Fields) -> Iterator[Raw]:
    """The examples of a file in their order, answers not yet understood.

    Raises:
        DataError: names the file and the line that is malformed.
    """
    if zipfile.is_zipfile(path):
        yield from _read_npz(path, fields)
        return
    names = [*fields.text, *fields.label, *filter(None, (fields.target, fields.sequence))]
    header = {"auto": needs_header(names), "yes": True, "no": False}[fields.header]
    records = read_records(path, header=header)
    if fields.level == "vectors" and fields.sequence:
        yield from _grouped(path, records, fields)
        return
    for record in records:
        values = answers(record, fields, path)
        yield Raw(read_input(record, fields, path), values, record.line)


def answers(record: Record, fields: Fields, path: Path | str) -> tuple[Any, ...]:
    """The values of the label or target fields of a record."""
    return tuple(field(record, name, path=path) for name in fields.label or (fields.target,))


def read_input(record: Record, fields: Fields, path: Path | str) -> str | Vectors:
    """The text or the vectors of a record.

    Raises:
        DataError: a field is missing, or no text (no list of lists of numbers).
    """
    if fields.level == "vectors":
        name = fields.text[0] if fields.text else "vectors"
        return matrix(field(record, name, path=path), path, record.line)
    parts = [field(record, name, path=path) for name in fields.text]
    return " ".join(_text(part, path, record.line) for part in parts)


def _text(value: Any, path: Path | str, line: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    given = type(value).__name__
    raise DataError(f"the text is a {given}; expected a string", path=path, line=line)


def matrix(value: Any, path: Path | str, line: int) -> Vectors:
    """A list of lists of numbers as [T, F].

    Raises:
        DataError: it is none, or not all are finite.
    """
    expected = "expected a list of lists of numbers, all of one length, such as [[0.5, 1], [2, 3]]"
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        raise DataError(f"no vectors: {expected}", path=path, line=line) from None
    if found.ndim != 2 or not found.size:
        raise DataError(f"no vectors: {expected}", path=path, line=line)
    with np.errstate(over="ignore"):
        single = found.astype(np.float32)
    if not np.isfinite(single).all():
        raise DataError("a value is not a finite number", path=path, line=line)
    return single


def understood(raws: Iterable[Raw], fields: Fields, path: Path) -> Iterator[Example]:
    """Examples with their answers.

    Raises:
        DataError: a label is missing, or a target is no finite number; names the line.
    """
    for raw in raws:
        yield Example(raw.input, _answer(raw.values, fields, path, raw.line), raw.line)


def _answer(
    values: tuple[Any, ...], fields: Fields, path: Path, line: int
) -> str | tuple[str, ...] | float:
    if fields.answer == "number":
        return number(values[0], fields.target, path, line)
    if fields.answer == "label":
        name = label_name(values[0], path, line)
        if not name:
            raise DataError(
                f"the label (field {fields.label[0]}) is empty; expected one", path=path, line=line
            )
        return name
    if fields.indicators:
        for name, value in zip(fields.label, values, strict=True):
            if str(value).strip().lower() not in ("0", "1", "true", "false"):
                raise DataError(f"field {name} is {value!r}; expected 0 or 1", path=path, line=line)
        pairs = zip(fields.label, values, strict=True)
        return tuple(name for name, value in pairs if str(value).strip().lower() in ("1", "true"))
    found: list[str] = []
    for value in values:
        if isinstance(value, list):
            parts = [label_name(part, path, line) for part in value]
        elif value is None:
            parts = []
        else:
            text = label_name(value, path, line)
            parts = text.split(fields.separator) if fields.separator else [text]
        found += [part.strip() for part in parts]
    return tuple(dict.fromkeys(filter(None, found)))


def label_name(value: Any, path: Path | str, line: int) -> str:
    """A label as a string; whole numbers and truth values of JSON are labels, too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)):
        return str(value).strip()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise DataError(
        f"the label is {value!r}; expected a string (for a number give --data.target)",
        path=path,
        line=line,
    )


def number(value: Any, name: str, path: Path | str, line: int) -> float:
    """A finite number; DataError otherwise."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(
            f"field {name} is {value!r}; expected a finite number", path=path, line=line
        )
    return found


def _grouped(path: Path, records: Iterable[Record], fields: Fields) -> Iterator[Raw]:
    """Rows that share the sequence field, together, in the order of their first rows."""
    groups: dict[str, tuple[list[list[float]], tuple[Any, ...], int]] = {}
    other = {fields.sequence, fields.target, *fields.label}
    for record in records:
        key = str(field(record, fields.sequence, path=path))
        values = answers(record, fields, path)
        rows, before, line = groups.setdefault(key, ([], values, record.line))
        if values != before:
            raise DataError(
                f"sequence {key} has the label {values[0]!r} here and {before[0]!r} in line {line}; "
                "expected the same in all its rows",
                path=path,
                line=record.line,
            )
        names = fields.text or tuple(name for name in record.fields if name not in other)
        rows.append(
            [number(field(record, name, path=path), name, path, record.line) for name in names]
        )
    for rows, values, line in groups.values():
        yield Raw(matrix(rows, path, line), values, line)


def _read_npz(path: Path, fields: Fields) -> Iterator[Raw]:
    name = fields.target or fields.label[0]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            given = {key: arrays[key] for key in ("values", "offset", name) if key in arrays}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"no arrays to read ({error})", path=path) from None
    missing = [key for key in ("values", "offset", name) if key not in given]
    if missing:
        raise DataError(
            f"the array {missing[0]} is missing; expected values [M, F], offset [N + 1] and {name} [N]",
            path=path,
        )
    values, offset, answer = given["values"], given["offset"], given[name]
    values = values[:, None] if values.ndim == 1 else values
    whole = offset.ndim == 1 and offset.dtype.kind in "iu" and len(offset) == len(answer) + 1
    if not whole or values.ndim != 2 or values.dtype.kind not in "iuf" or answer.ndim != 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in given.items())
        raise DataError(
            f"arrays do not fit: {shapes}; expected values [M, F], whole offsets [N + 1], {name} [N]",
            path=path,
        )
    ends = offset.astype(np.int64)
    if ends[0] != 0 or ends[-1] != len(values) or (np.diff(ends) < 0).any():
        raise DataError(f"offset must rise from 0 to {len(values)}, the rows of values", path=path)
    for item, (start, stop) in enumerate(itertools.pairwise(ends), start=1):
        if start == stop:
            raise DataError(f"item {item} has no rows; expected at least one", path=path)
        yield Raw(matrix(values[start:stop], path, item), (answer[item - 1].item(),), item)


def split_tokens(text: str, level: str) -> Sequence[str]:
    """The tokens of a text at a level.

    >>> split_tokens("AC GT", "symbols")
    ['A', 'C', 'G', 'T']
    """
    if level == "words":
        return text.split()
    if level == "symbols":
        return [letter for letter in text if not letter.isspace()]
    return list(text)
