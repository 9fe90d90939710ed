r"""Files of n-best lists and of the weights of their features; gzip too.

Two forms, told by the first line. That of Moses, a candidate a line, the lists in the order of their numbers:

.. code-block:: text

   0 ||| a small house ||| lm= -12.5 tm= -3.1 -4.0 ||| -9.2
   0 ||| the small house ||| lm= -11.9 tm= -3.3 -4.4 ||| -9.3

Values of one name are numbered (``tm_1``, ``tm_2``); the total in the fourth field is the feature ``total``
where a line names no features. Numbers count lines from 0; a number that is left out is an empty list. And
JSONL, a list a line: ``{"source": …, "candidates": [{"text": …, "features": {"lm": -12.5}}, …]}``, or what
``unrolled predict RUN --n-best N`` prints for a translation: its numbers are features, a blank line is an
empty list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.data.atomic import replacing
from unrolled.data.records import parse_object
from unrolled.data.text import read_lines
from unrolled.decoding.rerank import NBest
from unrolled.errors import DataError

Place = str | PathLike[str]

_FORMAT = 1
_FORM = "expected ID ||| TEXT ||| NAME= VALUE … ||| TOTAL"


@dataclass(frozen=True)
class _Candidate:
    text: str
    features: dict[str, float]
    line: int


@dataclass(frozen=True)
class _List:
    candidates: list[_Candidate]
    source: str | None = None


def read_nbest(path: Place) -> NBest:
    """The lists of a file.

    Raises:
        DataError: the file is missing or empty, a line is malformed, a feature is not finite, candidates
            have different features, or lists are not in order; names the line.
    """
    numbered = list(enumerate(read_lines(path), start=1))
    first = next((line for _, line in numbered if line.strip()), None)
    if first is None:
        raise DataError("holds only blank lines; expected n-best lists", path=path)
    read = (_objects if first.lstrip().startswith("{") else _moses)(path, numbered)
    lists = list(read)
    names = next((tuple(c.features) for each in lists for c in each.candidates), ())
    rows = [_row(path, each, names) for one in lists for each in one.candidates]
    return NBest(
        tuple(each.text for one in lists for each in one.candidates),
        names,
        np.array(rows, dtype=np.float64).reshape(len(rows), len(names)),
        np.cumsum([0, *(len(one.candidates) for one in lists)]),
        tuple(one.source for one in lists),
    )


def nbest_lines(lists: NBest) -> Iterator[str]:
    """The lists as lines of JSONL, which :func:`read_nbest` reads."""
    for number, source in enumerate(lists.sources):
        places = range(lists.offsets[number], lists.offsets[number + 1])
        candidates = [
            {
                "text": lists.texts[place],
                "features": dict(zip(lists.names, lists.features[place].tolist(), strict=True)),
            }
            for place in places
        ]
        known = {} if source is None else {"source": source}
        yield json.dumps({"id": number, **known, "candidates": candidates}, ensure_ascii=False)


def moses_line(number: int, text: str, features: Mapping[str, float], total: float) -> str:
    """One candidate in the form of Moses.

    >>> moses_line(0, "to be", {"lm": -2.5}, -2.5)
    '0 ||| to be ||| lm= -2.5 ||| -2.5'
    """
    named = " ".join(f"{name}= {value:.10g}" for name, value in features.items())
    return f"{number} ||| {text} ||| {named} ||| {total:.10g}"


def read_weights(path: Place) -> dict[str, float]:
    """The weights of features, as :func:`write_weights` wrote them.

    Raises:
        DataError: the file is missing, no JSON, of a newer format, or a weight is no finite number.
    """
    content = parse_object("\n".join(read_lines(path)), path=path)
    version, weights = content.get("format_version"), content.get("weights")
    if not isinstance(weights, dict) or not isinstance(version, int):
        message = 'no file of weights; expected {"format_version": 1, "weights": {"NAME": NUMBER}}'
        raise DataError(message, path=path)
    if version > _FORMAT:
        raise DataError(
            f"format {version} is newer than {_FORMAT}, the newest known here; update unrolled",
            path=path,
        )
    return {name: _finite(name, value, path, None) for name, value in weights.items()}


def write_weights(path: Place, content: str) -> None:
    """Writes what :func:`weights_text` gave; the file appears whole or not at all."""
    with replacing(path) as file:
        file.write(content.encode())


def weights_text(names: Sequence[str], weights: Iterable[float], **facts: Any) -> str:
    """Weights, and what is to be known of them, as JSON."""
    named = {name: float(weight) for name, weight in zip(names, weights, strict=True)}
    content = {"format_version": _FORMAT, "weights": named, **facts}
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_column(path: Place, lists: int, what: str) -> list[str]:
    """The lines of a file that has one for each list.

    Raises:
        DataError: it has more or fewer.
    """
    lines = list(read_lines(path))
    if len(lines) != lists:
        raise DataError(
            f"{len(lines)} {what} for {lists} n-best lists; expected one line for each list "
            "(their numbers count from 0)",
            path=path,
            line=min(len(lines), lists) + (len(lines) > lists),
        )
    return lines


def _row(path: Place, candidate: _Candidate, names: Sequence[str]) -> list[float]:
    if candidate.features.keys() != set(names):
        given = ", ".join(candidate.features) or "none"
        message = (
            f"the features are {given}; the first candidate has {', '.join(names) or 'none'}: "
            "every candidate needs the same"
        )
        raise DataError(message, path=path, line=candidate.line)
    return [candidate.features[name] for name in names]


def _finite(name: str, value: Any, path: Place, line: int | None) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{name} is {value!r}; expected a finite number", path=path, line=line)
    return number


# ---------------------------------------------------------------------------------- Moses


def _moses(path: Place, lines: Iterable[tuple[int, str]]) -> Iterator[_List]:
    """Lists by their numbers; a number that is left out is an empty list."""
    now: list[_Candidate] = []
    current = 0
    for line, text in lines:
        if not text.strip():
            continue
        fields = [field.strip() for field in text.split("|||")]
        if len(fields) < 2:
            raise DataError(f"no ||| in the line; {_FORM}", path=path, line=line)
        if not fields[0].isdecimal():
            message = f"{fields[0]!r} is no number of a list (from 0 up); {_FORM}"
            raise DataError(message, path=path, line=line)
        number = int(fields[0])
        if number < current:
            message = (
                f"list {number} after list {current}; put all candidates of a list together and "
                "the lists in order"
            )
            raise DataError(message, path=path, line=line)
        if number > current + 10_000_000:
            raise DataError(
                f"list {number} after list {current}; numbers count the lists from 0",
                path=path,
                line=line,
            )
        while current < number:
            yield _List(now)
            now, current = [], current + 1
        features = _named(fields[2] if len(fields) > 2 else "", path, line)
        if not features and len(fields) > 3:
            features = {"total": _finite("the total", fields[3], path, line)}
        now.append(_Candidate(fields[1], features, line))
    yield _List(now)


def _named(text: str, path: Place, line: int) -> dict[str, float]:
    """``name= value value other= value`` (or ``name:``) by name, several values numbered."""
    found: dict[str, list[float]] = {}
    name: str | None = None
    for token in text.split():
        begins, _, value = token.rpartition("=")
        if not begins and len(token) > 1 and token.endswith(":"):
            begins, value = token[:-1], ""
        if begins:
            if begins in found:
                message = f"the feature {begins} stands twice; remove one"
                raise DataError(message, path=path, line=line)
            found[name := begins] = []
            if not value:
                continue
            token = value
        if name is None:
            message = f"the value {token} has no name before it; {_FORM}"
            raise DataError(message, path=path, line=line)
        found[name].append(_finite(name, token, path, line))
    for each, values in found.items():
        if not values:
            raise DataError(f"the feature {each} has no value; {_FORM}", path=path, line=line)
    return _numbered(found)


def _numbered(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {
        name if len(values) == 1 else f"{name}_{place}": value
        for name, values in found.items()
        for place, value in enumerate(values, start=1)
    }


# ---------------------------------------------------------------------------------- JSONL


def _objects(path: Place, lines: Iterable[tuple[int, str]]) -> Iterator[_List]:
    for line, text in lines:
        if not text.strip():
            yield _List([])
            continue
        content = parse_object(text, path=path, line=line)
        source = content.get("source")
        candidates = content.get("candidates", content.get("n_best"))
        if source is not None and not isinstance(source, str):
            raise DataError(f"source is {source!r}; expected a text", path=path, line=line)
        if not isinstance(candidates, list):
            message = (
                'no list "candidates"; expected {"candidates": [{"text": …, "features": {…}}]}'
            )
            raise DataError(message, path=path, line=line)
        yield _List([_candidate(each, path, line) for each in candidates], source)


def _candidate(given: Any, path: Place, line: int) -> _Candidate:
    known = given if isinstance(given, dict) else {}
    text = known.get("text", known.get("translation"))
    features = known.get("features", _numbers(known))
    if not isinstance(text, str) or not isinstance(features, dict):
        message = (
            f'the candidate {given!r:.60}; expected {{"text": …, "features": {{"NAME": NUMBER}}}}'
        )
        raise DataError(message, path=path, line=line)
    if "\n" in text or "\r" in text:
        message = f"the text {text!r:.60} holds a line break; a candidate is one line"
        raise DataError(message, path=path, line=line)
    found = {
        name: [_finite(name, each, path, line) for each in value]
        if isinstance(value, list)
        else [_finite(name, value, path, line)]
        for name, value in features.items()
    }
    return _Candidate(text, _numbered(found), line)


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """The fields of an object that are numbers."""
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def save_lines(path: Place, lines: Iterable[str]) -> None:
    """Writes lines to a file, which appears whole or not at all."""
    with replacing(Path(path)) as file:
        for line in lines:
            file.write(line.encode() + b"\n")
