"""Pairs of texts, a source and its targets: from parallel files, where line i of one belongs to line i of
the other, or from two or more fields of TSV, CSV or JSONL. Several targets are several references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from unrolled.data.records import Record, field, needs_header, read_records
from unrolled.data.text import read_lines
from unrolled.errors import DataError


@dataclass(frozen=True)
class PairFields:
    """Where source and targets stand.

    Attributes:
        source: the ending of a file's name (``en`` of ``train.en``), or a field's name or number from 1.
        target: likewise, one or more for as many references; none where only sources are read.
        header: whether the first row of TSV or CSV names the fields; None says yes if a field above is
            asked for by name.

    >>> PairFields("en", ("de",))
    PairFields(source='en', target=('de',), header=None)
    """

    source: str
    target: tuple[str, ...] = ()
    header: bool | None = None


@dataclass(frozen=True)
class Pair:
    """A source and its targets; any of them may be empty.

    Attributes:
        source: the text to map.
        target: the first of the references; None if there are none.
        references: all targets.
        line: the number of its first line.

    >>> Pair("a cat", "eine Katze", ("eine Katze",), line=1).target
    'eine Katze'
    """

    source: str
    target: str | None
    references: tuple[str, ...]
    line: int


def read_pairs(path: str | PathLike[str], fields: PairFields) -> Iterator[Pair]:
    """The pairs of parallel files or of one file, gzip too. Memory: one pair.

    If there is a file ``PATH.SOURCE`` or ``PATH.SOURCE.gz``, the files are parallel: the targets stand in
    ``PATH.TARGET``, and an empty line is an empty text. Else PATH is one file of records
    (:func:`unrolled.data.records.read_records`). There, a list of strings in a JSON field is several
    targets, and blank lines are passed over.

    Raises:
        DataError: when the first pair is asked for, if a file is missing (names what was looked for),
            unreadable or empty, or a field is not there; then at each malformed line; at the end, if
            parallel files have not equally many lines.
    """
    source = _parallel(path, fields.source)
    if source is not None:
        return _zipped(path, fields, source)
    return _records(path, fields)


# ------------------------------------------------------------------------- parallel files


def _parallel(path: str | PathLike[str], ending: str) -> Path | None:
    for name in _names(path, ending):
        if name.is_file():
            return name
    return None


def _names(path: str | PathLike[str], ending: str) -> tuple[Path, Path]:
    return Path(f"{path}.{ending}"), Path(f"{path}.{ending}.gz")


def _zipped(path: str | PathLike[str], fields: PairFields, source: Path) -> Iterator[Pair]:
    files = [source]
    for ending in fields.target:
        found = _parallel(path, ending)
        if found is None:
            plain, gzipped = _names(path, ending)
            message = (
                f"no such file, nor {gzipped.name}, to go with {source.name}; check --data.target"
            )
            raise DataError(message, path=plain)
        files.append(found)
    readers = [read_lines(file) for file in files]
    for number, texts in enumerate(itertools.zip_longest(*readers), start=1):
        if None in texts:
            raise _unequal(files, readers, texts, number)
        first, *references = texts
        yield Pair(first, references[0] if references else None, tuple(references), number)


def _unequal(
    files: Sequence[Path],
    readers: Sequence[Iterator[str]],
    texts: Sequence[str | None],
    number: int,
) -> DataError:
    """One file ended before ``number``; the rest of the others is counted."""
    counts = [
        number - 1 if text is None else number + sum(1 for _ in reader)
        for text, reader in zip(texts, readers, strict=True)
    ]
    short = texts.index(None)
    long = next(place for place, text in enumerate(texts) if text is not None)
    message = (
        f"the line has no partner in {files[short].name}: {files[long].name} has {counts[long]:,} "
        f"lines, {files[short].name} {counts[short]:,}; expected as many, line by line"
    )
    return DataError(message, path=files[long], line=number)


# ------------------------------------------------------------------------------- one file


def _records(path: str | PathLike[str], fields: PairFields) -> Iterator[Pair]:
    if not Path(path).exists():
        plain, gzipped = _names(path, fields.source)
        message = (
            f"no such file, nor {plain.name} or {gzipped.name} beside it; "
            "check the path and --data.source"
        )
        raise DataError(message, path=path)
    for ending in (fields.source, *fields.target):
        stem = str(path).removesuffix(".gz").removesuffix(f".{ending}")
        if stem not in (str(path), str(path).removesuffix(".gz")) and _parallel(
            stem, fields.source
        ):
            message = f"one of several parallel files; give what their names have in common, {stem}"
            raise DataError(message, path=path)
    header = fields.header
    if header is None:
        header = needs_header((fields.source, *fields.target))
    for record in read_records(path, header=header):
        source = _text(record, fields.source, field(record, fields.source))
        references: list[str] = []
        for name in fields.target:
            value = field(record, name)
            several = value if isinstance(value, list) else [value]
            references += [_text(record, name, one) for one in several]
        if fields.target and not references:
            message = f"the field {fields.target[0]} is an empty list; expected a target"
            raise DataError(message, path=record.path, line=record.line)
        yield Pair(source, references[0] if references else None, tuple(references), record.line)


def _text(record: Record, name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    message = f"the field {name} holds {value!r:.40}; expected a string"
    raise DataError(message, path=record.path, line=record.line)
