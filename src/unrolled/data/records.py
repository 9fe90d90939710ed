"""Records of named fields from TSV (no quoting), CSV (RFC 4180) and JSONL (one object a line)."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from unrolled.data.text import read_lines
from unrolled.errors import DataError

Path = str | PathLike[str]

_NUMBER = re.compile(r"-?[0-9]{1,9}")
_SUFFIXES: dict[str, Literal["tsv", "csv", "jsonl"]] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


@dataclass(frozen=True)
class Record:
    """One row or object.

    Attributes:
        fields: its values by name: strings from TSV and CSV, any JSON values from JSONL. Without a
            header the names are ``"1"``, ``"2"``, …
        line: the number of its first line.
        path: its file, where there is one.
        columns: whether the fields have places, so that they can be asked for by number, too.

    >>> record = Record({"label": "N", "text": "ACGT"}, line=2, columns=True)
    >>> field(record, "text"), field(record, "-1"), field(record, "1")
    ('ACGT', 'ACGT', 'N')
    """

    fields: Mapping[str, Any]
    line: int
    path: Path | None = None
    columns: bool = False


def field(record: Record, name: str, *, path: Path | None = None) -> Any:
    """The value of a field by its name, or in a table by its number: from 1, or from -1 at the end.

    Raises:
        DataError: there is no such field; names those that exist.
    """
    if name in record.fields:
        return record.fields[name]
    values = list(record.fields.values()) if record.columns else []
    if values and _NUMBER.fullmatch(name):
        number = int(name)
        if 1 <= number <= len(values) or -len(values) <= number <= -1:
            return values[number - (number > 0)]
    known = ", ".join(record.fields) or "none at all"
    counted = f" (by number 1 to {len(values)}, from the end -1 to -{len(values)})"
    if not _NUMBER.fullmatch(name):
        counted += "; if the first line is no header, give numbers instead of names"
    message = f"there is no field {name}; the fields are {known}{counted if values else ''}"
    raise DataError(message, path=record.path if path is None else path, line=record.line)


def needs_header(names: Iterable[str]) -> bool:
    """Whether any of the names asked for is no number, so that a table must name its columns.

    >>> needs_header(["1", "-1"]), needs_header(["1", "text"])
    (False, True)
    """
    return not all(_NUMBER.fullmatch(name) for name in names)


def read_records(path: Path, *, header: bool | None = None) -> Iterator[Record]:
    """The records of a file, gzip too. Memory: one record.

    The form is told by the name: ``.tsv`` or ``.tab``, ``.csv``, ``.jsonl`` or ``.ndjson``, each also
    with ``.gz``. Under any other name it is JSONL if the first line that is not blank begins with ``{``,
    CSV if that line has a comma and no TAB, and TSV otherwise. Blank lines are passed over. All rows of
    a table have equally many fields.

    Args:
        path: the file.
        header: whether the first row of a table names the columns; None is False. JSONL has none.

    Raises:
        DataError: when the first record is asked for, if the file is missing, unreadable or empty;
            then at each malformed line; at the end, if there was no record.
    """
    lines = read_lines(path)
    skipped = 0
    first = next(lines)
    while _blank(first):
        skipped += 1
        try:
            first = next(lines)
        except StopIteration:
            raise DataError("only blank lines; expected a record", path=path) from None
    form = _form(path, first)
    rest = itertools.chain([first], lines)
    if form == "jsonl":
        yield from _objects(path, rest, skipped)
    else:
        rows = (_tsv if form == "tsv" else _csv)(path, rest, skipped)
        yield from _table(path, rows, header=bool(header), form=form)


def _blank(line: str) -> bool:
    return not line or (line.isspace() and "\t" not in line)


def _form(path: Path, first: str) -> Literal["tsv", "csv", "jsonl"]:
    name = str(path).removesuffix(".gz")
    for suffix, form in _SUFFIXES.items():
        if name.endswith(suffix):
            return form
    if first.lstrip().startswith("{"):
        return "jsonl"
    return "csv" if "," in first and "\t" not in first else "tsv"


def _table(
    path: Path, rows: Iterator[tuple[int, list[str]]], *, header: bool, form: str
) -> Iterator[Record]:
    line, row = next(rows)
    names = tuple(row) if header else tuple(str(place) for place in range(1, len(row) + 1))
    start = line
    if header:
        _check_names(path, names, line)
        found = next(rows, None)
        if found is None:
            message = "a header and no record; expected at least one line below it"
            raise DataError(message, path=path, line=line)
        line, row = found
    for number, values in itertools.chain([(line, row)], rows):
        if len(values) != len(names):
            what = "the header" if header else "the first row"
            has = "field" if len(values) == 1 else "fields"
            parted = "TABs" if form == "tsv" else "commas (quote a field that holds one)"
            message = (
                f"{len(values)} {has}; expected {len(names)} between {parted}, as in {what} "
                f"(line {start})"
            )
            raise DataError(message, path=path, line=number)
        yield Record(dict(zip(names, values, strict=True)), number, path, columns=True)


def _check_names(path: Path, names: Sequence[str], line: int) -> None:
    for place, name in enumerate(names):
        if not name.strip():
            message = f"column {place + 1} has no name in the header; give it one"
            raise DataError(message, path=path, line=line)
        if (before := names.index(name)) != place:
            message = (
                f"the header names columns {before + 1} and {place + 1} both {name!r}; "
                "rename one of them"
            )
            raise DataError(message, path=path, line=line)


def _tsv(path: Path, lines: Iterable[str], skipped: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=skipped + 1):
        if not _blank(line):
            yield number, line.split("\t")


def _csv(path: Path, lines: Iterable[str], skipped: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    start = skipped + 1
    try:
        for row in reader:
            if row and not (len(row) == 1 and _blank(row[0])):
                yield start, row
            start = skipped + reader.line_num + 1
    except csv.Error as error:
        limit = "field larger than field limit" in str(error)
        reason = f"a field of over {csv.field_size_limit():,} characters" if limit else str(error)
        message = (
            f"no CSV ({reason}); close each quote, double a quote inside quotes, or name the "
            "file .tsv if fields are parted by TABs and not quoted"
        )
        raise DataError(message, path=path, line=start) from None


# ---------------------------------------------------------------------------------- JSONL


def _objects(path: Path, lines: Iterable[str], skipped: int) -> Iterator[Record]:
    for number, line in enumerate(lines, start=skipped + 1):
        if not _blank(line):
            yield Record(parse_object(line, path=path, line=number), number, path)


def parse_object(text: str, *, path: Path | None = None, line: int | None = None) -> dict[str, Any]:
    """The JSON object of a line: no NaN or infinity, no name twice, nothing but Unicode.

    Raises:
        DataError: it is none; says at which character.

    >>> parse_object('{"text": "to be", "label": 1}')
    {'text': 'to be', 'label': 1}
    """
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:  # an escape may be half of a pair
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = f"no JSON ({error.msg} at character {error.pos + 1}); expected one object a line"
        raise DataError(message, path=path, line=line) from None
    except UnicodeEncodeError:
        message = "half of a surrogate pair is escaped (\\ud800 to \\udfff); expected Unicode"
        raise DataError(message, path=path, line=line) from None
    except RecursionError:
        message = "lists or objects are nested too deeply; expected one object a line"
        raise DataError(message, path=path, line=line) from None
    except ValueError as error:
        raise DataError(f"{error}; expected one object a line", path=path, line=line) from None
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a value")
        message = f'{kind}; expected one JSON object a line, such as {{"text": …, "label": …}}'
        raise DataError(message, path=path, line=line)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in an object; remove one")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_finite
)
