"""What several systems said about the same examples, read from files so that row i of each is of one example.

A file is lines, each a label, a number, or the tags of a sentence between spaces (what ``unrolled predict``
prints); or it is columns, one word a line and a blank line between sentences, CoNLL-U among them. Which
of the two is seen by its form; where it could be either, that reading is taken whose sentences are as
long as those of the other files. Texts, such as translations, are read only when asked for: each line
is one, and none may be missing, not even an empty one.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from unrolled.data.text import read_lines
from unrolled.errors import DataError
from unrolled.metrics.comparison import Kind
from unrolled.metrics.tagging import looks_like_spans

_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Rows:
    """One reading of a file.

    Attributes:
        path: the file.
        rows: the tags of each example; of labels and numbers one each.
        lines: the number of each row's (first) line.
        columns: whether the file was read as columns, where each example ends with a blank line.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    columns: bool = False

    def filled(self) -> Rows:
        """Without the rows that hold nothing."""
        kept = [index for index, row in enumerate(self.rows) if row]
        rows = tuple(self.rows[index] for index in kept)
        lines = tuple(self.lines[index] for index in kept)
        return Rows(self.path, rows, lines, self.columns)


def read_outputs(
    reference: Path,
    *systems: Path,
    kind: Literal["labels", "tags", "spans", "numbers", "auto"] = "auto",
    column: str | None = None,
) -> tuple[Kind, list[Rows]]:
    """The truth and the outputs of each system, with equally many rows of equal lengths.

    Args:
        reference: the file of the true answers.
        systems: the files of the systems' answers.
        kind: what the rows are. ``auto``: ``numbers`` if every line is a number and any has a
            fraction, ``labels`` if every line is one word, otherwise ``spans`` if any tag begins
            with B- or I-, otherwise ``tags``.
        column: of files with columns, the one of the tags: its number from 1, from the end with a
            minus, or its name in CoNLL-U; the last, or ``upos``, when absent.

    Returns:
        The kind, and the rows of each file, the reference's first. Rows without anything are left out.

    Raises:
        DataError: a file that cannot be read, or files that part; names the first line where they do.
    """
    forms = [Form.of(path) for path in (reference, *systems)]
    if kind == "auto" and column is None and (found := _one_each(forms)):
        kind = found
    if kind in ("labels", "numbers"):
        read = _answered([form.whole_lines() for form in forms])
        if kind == "numbers":
            for rows in read:
                _require_numbers(rows)
        return kind, read
    words = all(form.width == 1 for form in forms)
    read = _matching([form.readings(column, words=words) for form in forms])
    if kind == "auto":
        tags = itertools.chain.from_iterable(row for rows in read for row in rows.rows)
        kind = "spans" if looks_like_spans(tags) else "tags"
    return kind, read


def read_texts(references: Sequence[Path], *systems: Path) -> list[Rows]:
    """The references of each line, and the text of each system for it.

    Args:
        references: one or more files of right answers.
        systems: the files of the systems' answers.

    Returns:
        Rows of all references together, then those of each system; empty lines are kept.

    Raises:
        DataError: a file that cannot be read or holds JSON, or numbers of lines that differ.
    """
    files = [_whole_texts(path) for path in (*references, *systems)]
    _require_equal(files, "lines")
    true = files[: len(references)]
    together = zip(*(each.rows for each in true), strict=True)
    rows = tuple(tuple(itertools.chain.from_iterable(row)) for row in together)
    return [Rows(true[0].path, rows, true[0].lines), *files[len(references) :]]


def _whole_texts(path: Path) -> Rows:
    lines = list(read_lines(path))
    _refuse_json(lines, path)
    return Rows(path, tuple((line,) for line in lines), tuple(range(1, len(lines) + 1)))


def _refuse_json(lines: Sequence[str], path: Path) -> None:
    """DataError if the first line that holds anything is a JSON object, as predict prints on request."""
    number, first = next(((i, line) for i, line in enumerate(lines, start=1) if line), (0, ""))
    if first.startswith('{"'):
        message = "JSON; expected plain answers, as unrolled predict prints them for plain lines"
        raise DataError(message, path=path, line=number)


@dataclass(frozen=True)
class Form:
    """The lines of a file and what they look like.

    Attributes:
        path: the file.
        lines: its lines, blank ones at the end left out.
        width: how many fields every line has that is not blank; 0 if that differs.
        tabs: whether a TAB parts the fields of every such line.
        gaps: whether there are blank lines between others.
        conllu: whether it is CoNLL-U, by its name or its first lines.
    """

    path: Path
    lines: tuple[str, ...]
    width: int
    tabs: bool
    gaps: bool
    conllu: bool

    @classmethod
    def of(cls, path: Path) -> Form:
        """Read a file and look at it."""
        lines = [line.rstrip() for line in read_lines(path)]
        while lines and not lines[-1]:
            lines.pop()
        if not lines:
            raise DataError("holds only blank lines; expected answers", path=path)
        _refuse_json(lines, path)
        words = [line for line in lines if line]
        widths = {len(_fields(line)) for line in words}
        ten = [line for line in words if not line.startswith("#")]
        conllu = path.name.removesuffix(".gz").endswith(".conllu") or (
            bool(ten) and all(line.count("\t") == 9 for line in ten)
        )
        return cls(
            path=path,
            lines=tuple(lines),
            width=widths.pop() if len(widths) == 1 else 0,
            tabs=all("\t" in line for line in words),
            gaps="" in lines,
            conllu=conllu,
        )

    def whole_lines(self) -> Rows:
        """Each line one answer, whatever it holds."""
        rows = tuple((line.strip(),) if line.strip() else () for line in self.lines)
        return Rows(self.path, rows, tuple(range(1, len(rows) + 1)))

    def readings(self, column: str | None, *, words: bool = False) -> list[Callable[[], Rows]]:
        """How to read it as sentences of tags, the likelier way first.

        Args:
            column: the one of the tags, of a file with columns.
            words: whether the lines of all the files are single words.
        """

        def as_lines() -> Rows:
            rows = tuple(tuple(line.split()) for line in self.lines)
            return Rows(self.path, rows, tuple(range(1, len(rows) + 1)))

        def as_columns() -> Rows:
            return _columns(self, column)

        parted = self.tabs or self.gaps
        if self.conllu or (self.width > 1 and column is not None):
            return [as_columns]
        if self.width == 0 or (self.width > 1 and not parted):
            return [as_lines]
        return [as_columns, as_lines] if words or parted else [as_lines, as_columns]


def _columns(form: Form, column: str | None) -> Rows:
    """The sentences of a file of columns."""
    if form.width == 1 and not form.conllu:
        starts = [
            number
            for number, line in enumerate(form.lines, start=1)
            if line and (number == 1 or not form.lines[number - 2])
        ]
        grouped = itertools.groupby(form.lines, key=bool)
        rows = tuple(tuple(map(str.strip, group)) for filled, group in grouped if filled)
        return Rows(form.path, rows, tuple(starts), columns=True)
    from unrolled.data.columns import read_columns

    wanted: tuple[str | int, ...] = ()
    if column is not None:
        wanted = (int(column) if _WHOLE.fullmatch(column) else column,)
    sentences = list(read_columns(form.path, tags=wanted))
    tags = tuple(sentence.tags[0] for sentence in sentences)
    return Rows(form.path, tags, tuple(sentence.line for sentence in sentences), columns=True)


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _one_each(forms: Sequence[Form]) -> Literal["labels", "numbers"] | None:
    """The kind of files with one word on each line that are not sentences; none if they may be."""
    if any(form.width != 1 or form.conllu for form in forms) or forms[0].gaps:
        return None
    words = [line.strip() for form in forms for line in form.lines if line]
    if looks_like_spans(words):
        return None
    if all(map(_is_number, words)) and not all(map(_WHOLE.fullmatch, words)):
        return "numbers"
    return "labels"


def _answered(files: Sequence[Rows]) -> list[Rows]:
    """Those rows of files of single answers that the reference has; a system may leave them blank."""
    _require_equal(files, "answers")
    kept = [index for index, row in enumerate(files[0].rows) if row]
    return [
        Rows(
            each.path,
            tuple(each.rows[index] or ("",) for index in kept),
            tuple(each.lines[index] for index in kept),
        )
        for each in files
    ]


def _matching(files: Sequence[Sequence[Callable[[], Rows]]]) -> list[Rows]:
    """The first readings that agree in length; those that are likeliest, to complain, if none do."""
    attempt = functools.cache(_attempt)  # the second way is rarely needed
    for choice in itertools.product(*files):
        read = [each for each in map(attempt, choice) if isinstance(each, Rows)]
        if len(read) == len(files) and _alike(rows := _comparable(read)):
            return [each.filled() for each in rows]
    likeliest = []
    for ways in files:
        found = attempt(ways[0])
        if isinstance(found, DataError):
            raise found
        likeliest.append(found)
    _require_equal(_comparable(likeliest), "sentences")
    raise AssertionError("no readings agree, and yet they do not part")


def _alike(files: Sequence[Rows]) -> bool:
    lengths = [[len(row) for row in each.rows] for each in files]
    return all(each == lengths[0] for each in lengths)


def _attempt(way: Callable[[], Rows]) -> Rows | DataError:
    try:
        return way()
    except DataError as error:
        return error


def _comparable(files: list[Rows]) -> list[Rows]:
    """Without blank lines if any file is of columns, where they mean nothing."""
    return [each.filled() for each in files] if any(each.columns for each in files) else files


def _require_equal(files: Sequence[Rows], what: str) -> None:
    """DataError at the first row in which a file parts from the reference."""
    reference = files[0]
    for other in files[1:]:
        for true, given, line, there in zip(
            reference.rows, other.rows, reference.lines, other.lines, strict=False
        ):
            if what == "sentences" and len(true) != len(given):
                message = (
                    f"{_many(len(given), 'tag')} here, but {len(true)} at {reference.path}:{line}"
                )
                mend = "; give --kind labels if each line is one label, --kind text if it is a text"
                mend *= not other.columns
                raise DataError(message + mend, path=other.path, line=there)
        if len(reference.rows) != len(other.rows):
            _refuse_end(reference, other, what)


def _refuse_end(reference: Rows, other: Rows, what: str) -> NoReturn:
    """DataError at the first row that only one of two files has."""
    shared = min(len(reference.rows), len(other.rows))
    longer = max(reference, other, key=lambda each: len(each.rows))
    shorter = other if longer is reference else reference
    message = (
        f"{longer.path} goes on here, {shorter.path} has ended: "
        f"{len(longer.rows)} {what} against {len(shorter.rows)}"
    )
    raise DataError(message, path=longer.path, line=longer.lines[shared])


def _require_numbers(rows: Rows) -> None:
    for (text,), line in zip(rows.rows, rows.lines, strict=True):
        if not _is_number(text):
            raise DataError(f"{text!r} is not a finite number", path=rows.path, line=line)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
