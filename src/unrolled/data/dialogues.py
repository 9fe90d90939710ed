"""Dialogues: turns of speakers, from JSONL with a dialogue or a turn a line, or from a JSON array of
dialogues as the Schema-Guided set has them (Rastogi et al. 2020, "Towards scalable multi-domain
conversational agents: the schema-guided dialogue dataset")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from unrolled.data.text import read_lines
from unrolled.errors import DataError

_SPACE = re.compile(r"\s*")
_EXPECTED = (
    'expected {"turns": [{"speaker": …, "text": …}, …]}, {"turns": ["…", "…"]}, ["…", "…"], or for each '
    'turn a line {"dialogue_id": …, "speaker": …, "text": …}'
)


@dataclass(frozen=True)
class Turn:
    """What one speaker says at a time.

    Attributes:
        speaker: who; empty if the file does not say.
        text: what; may be empty.
    """

    speaker: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Turns in order, at least one.

    Attributes:
        turns: what is said.
        line: the number of the line on which it begins.

    >>> Dialogue((Turn("user", "Hello?"), Turn("system", "Hello.")), line=1).turns[-1].text
    'Hello.'
    """

    turns: tuple[Turn, ...]
    line: int


def read_dialogues(path: str | PathLike[str]) -> Iterator[Dialogue]:
    """The dialogues of a file, gzip too, or of the files ``dialogues_*.json`` of a folder, by name.

    A file named ``.json``, or whose first line is ``[``, is one JSON array of objects with ``turns``. Any
    other is JSONL, each line an object with ``turns``, a list of texts, or one turn with its
    ``dialogue_id`` (or ``dialogue``), where lines next to each other with the same one are a dialogue.
    A turn is a text or an object with ``text`` (or ``utterance``) and perhaps a ``speaker``; whatever else
    objects hold is passed over. Memory: a dialogue; of a JSON array, the file.

    Raises:
        DataError: when the first dialogue is asked for, if the file is missing, unreadable, empty or no
            JSON array; then at each malformed line or dialogue; at the end, if there was none.
    """
    folder = Path(path)
    if folder.is_dir():
        files = sorted(p for p in folder.glob("dialogues_*") if _is_array(p))
        if not files:
            message = "no file dialogues_*.json or dialogues_*.json.gz in the folder; name a file"
            raise DataError(message, path=path)
        for file in files:
            yield from read_dialogues(file)
        return
    some = False
    for dialogue in _dialogues(path):
        some = True
        yield dialogue
    if not some:
        raise DataError(f"no dialogue in it; {_EXPECTED}", path=path)


def dialogue_of(value: object) -> tuple[Turn, ...]:
    """The turns of a dialogue that was read elsewhere: an object with ``turns``, or a list of turns.

    Raises:
        DataError: there are none, or one is malformed; without a place.

    >>> dialogue_of({"turns": ["Hello?"]})
    (Turn(speaker='', text='Hello?'),)
    """
    return _Place(None, None).dialogue(value).turns


def _is_array(path: str | PathLike[str]) -> bool:
    return str(path).removesuffix(".gz").endswith(".json")


def _dialogues(path: str | PathLike[str]) -> Iterator[Dialogue]:
    if _is_array(path) or next(read_lines(path)).strip() == "[":
        return _array(path)
    return _lines(path)


# ---------------------------------------------------------------------------------- JSONL


def _lines(path: str | PathLike[str]) -> Iterator[Dialogue]:
    """One or more lines a dialogue."""
    turns: list[Turn] = []
    start, current = 0, ""
    begun: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        place = _Place(path, number)
        value, _ = place.parse(line)
        one = isinstance(value, dict) and "turns" not in value
        name = place.name(value) if one else ""
        if turns and (not one or name != current):
            yield Dialogue(tuple(turns), start)
            turns = []
        if not one:
            yield place.dialogue(value)
            continue
        if not turns:
            if name in begun:
                message = f"dialogue {name} goes on that began in line {begun[name]} and had ended"
                raise place.error(f"{message}; put its turns next to each other")
            begun[name] = start = number
            current = name
        turns.append(place.turn(value, len(turns) + 1))
    if turns:
        yield Dialogue(tuple(turns), start)


# -------------------------------------------------------------------------------- an array


def _array(path: str | PathLike[str]) -> Iterator[Dialogue]:
    """The elements one after the other, each with its line."""
    text = "\n".join(read_lines(path))
    at = _after_space(text, 0)
    if not text.startswith("[", at):
        message = "expected a JSON array of dialogues; name the file .jsonl if it has one a line"
        raise DataError(message, path=path, line=1 + text.count("\n", 0, at))
    line, counted, closing = 1, 0, False
    at = _after_space(text, at + 1)
    while not text.startswith("]", at) or closing:
        line += text.count("\n", counted, at)
        counted = at
        place = _Place(path, line)
        value, at = place.parse(text, at)
        yield place.dialogue(value)
        at = _after_space(text, at)
        closing = text.startswith(",", at)
        if closing:
            at = _after_space(text, at + 1)
        elif not text.startswith("]", at):
            line += text.count("\n", counted, at)
            message = "expected a comma or ] after the dialogue; the file may be cut short"
            raise DataError(message, path=path, line=line)
    if _after_space(text, at + 1) != len(text):
        line += text.count("\n", counted, at)
        raise DataError("there is more after the JSON array; remove it", path=path, line=line)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


# ------------------------------------------------------------------------------ what it says


@dataclass(frozen=True)
class _Place:
    """Reads values, and says where they stand if they are not as they should be."""

    path: str | PathLike[str] | None
    line: int | None

    def error(self, message: str) -> DataError:
        return DataError(message, path=self.path, line=self.line)

    def parse(self, text: str, at: int | None = None) -> tuple[Any, int]:
        """A JSON value: all of a line, or of a longer text the one at ``at``; and where it ends."""
        try:
            if at is None:
                return json.loads(text), len(text)
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            place = f"character {error.colno}"
            if at is not None:
                lines = text.count("\n", at, error.pos)
                place = f"{place} of line {(self.line or 1) + lines}"
            raise self.error(f"no JSON ({error.msg} at {place}); {_EXPECTED}") from None
        except RecursionError:
            raise self.error(f"lists or objects are nested too deeply; {_EXPECTED}") from None
        except ValueError as error:  # a number of too many digits
            raise self.error(f"{error}; {_EXPECTED}") from None
        return value, end

    def dialogue(self, value: object) -> Dialogue:
        """An object with turns, or a list of texts."""
        turns = value.get("turns") if isinstance(value, dict) else value
        if not isinstance(turns, list):
            what = "no list of turns" if isinstance(value, dict) else f"{value!r:.40}"
            raise self.error(f"{what}; {_EXPECTED}")
        if not turns:
            raise self.error("the dialogue has no turn; remove it")
        found = [self.turn(turn, number) for number, turn in enumerate(turns, start=1)]
        return Dialogue(tuple(found), self.line or 0)

    def turn(self, value: object, number: int) -> Turn:
        """A text, or an object with text and speaker."""
        speaker: object = ""
        text: object = value
        if isinstance(value, dict):
            text = value.get("text", value.get("utterance"))
            speaker = value.get("speaker", "")
        for what, given in (("text", text), ("speaker", speaker)):
            if not isinstance(given, str):
                said = "no text" if given is None else f"the {what} {given!r:.40}"
                raise self.error(f"turn {number} has {said}; expected a string")
            try:
                given.encode()
            except UnicodeEncodeError:
                message = (
                    f"the {what} of turn {number} has half of a surrogate pair; expected Unicode"
                )
                raise self.error(message) from None
        return Turn(str(speaker), str(text))

    def name(self, value: dict[str, Any]) -> str:
        """The dialogue that a turn belongs to."""
        name = value.get("dialogue_id", value.get("dialogue"))
        if isinstance(name, (str, int)) and not isinstance(name, bool):
            return str(name)
        raise self.error(f"neither turns nor a dialogue_id; {_EXPECTED}")


_DECODER = json.JSONDecoder()
