"""``predict`` for every task with examples: lines in, a line out for each, as they come.

Plain lines give plain lines. Where the first line that is not blank is a JSON object, all lines are, and
each comes back with all its fields and those that the model adds. A number that is not finite, which JSON
lacks, is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from unrolled.errors import DataError
from unrolled.metrics.evaluation import json_line

E = TypeVar("E")  # what the model is given for a line
A = TypeVar("A")  # what it answers

STREAMED = 1  # lines that are read before the first is answered, unless told otherwise


@dataclass(frozen=True)
class Lines(Generic[E, A]):
    """How a task reads and answers lines.

    Attributes:
        text: the example in a plain line. record: the example in a JSON object. A DataError or ValueError
            of either says what is wrong with it.
        answer: the answers to some examples, in their order.
        plain: an answer as a plain line.
        fields: the fields that an answer adds to an object; None given for a plain line's, which
            gets fields for its example, too.

    >>> lines = Lines(
    ...     text=str.split,
    ...     record=lambda given: given["words"],
    ...     answer=lambda examples: [len(words) for words in examples],
    ...     plain=str,
    ...     fields=lambda words, count: {"count": count},
    ... )
    >>> list(lines.run(["a b", "", "c"]))
    ['2', '', '1']
    >>> list(lines.run(['{"id": 7, "words": ["a"]}']))
    ['{"id": 7, "words": ["a"], "count": 1}']
    """

    text: Callable[[str], E]
    record: Callable[[Mapping[str, Any]], E]
    answer: Callable[[Sequence[E]], Sequence[A]]
    plain: Callable[[A], str]
    fields: Callable[[E, A], Mapping[str, Any]]

    def run(
        self, lines: Iterable[str], *, objects: bool = False, batch_size: int = STREAMED
    ) -> Iterator[str]:
        """A line of output for each line; blank ones stay blank.

        Args:
            lines: what is read.
            objects: answer plain lines with JSON objects, too.
            batch_size: lines that are read before they are answered, together.

        Raises:
            DataError: a line that is no example; names the line. Those before it are answered first.
        """
        mode: bool | None = (
            None  # whether lines are objects; known from the first that is not blank
        )
        waiting: list[tuple[Mapping[str, Any] | None, E] | None] = []
        for number, line in enumerate(lines, start=1):
            try:
                if not line.strip():
                    waiting.append(None)
                else:
                    mode = _is_object(line) if mode is None else mode
                    waiting.append(self._read(line, number, mode))
            except DataError:
                yield from self._answers(waiting, objects)
                raise
            if len(waiting) >= batch_size:
                yield from self._answers(waiting, objects)
                waiting = []
        yield from self._answers(waiting, objects)

    def _read(self, line: str, number: int, mode: bool) -> tuple[Mapping[str, Any] | None, E]:
        if not mode:
            try:
                return None, self.text(line)
            except ValueError as error:
                raise _wrong(str(error), number) from None
        try:
            given = json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            raise _wrong(
                f"no JSON ({error}); the lines before it are JSON objects", number
            ) from None
        except RecursionError:
            raise _wrong("nested too deeply; expected a flat JSON object", number) from None
        if not isinstance(given, dict):
            raise _wrong("no JSON object, as the lines before it are", number)
        try:
            found = self.record(given)
        except ValueError as error:
            raise _wrong(str(error), number) from None
        if "\\u" in line and not _is_unicode(json.dumps(given, ensure_ascii=False)):
            raise _wrong("half of a surrogate pair in it; expected Unicode", number)
        return given, found

    def _answers(
        self, waiting: Sequence[tuple[Mapping[str, Any] | None, E] | None], objects: bool
    ) -> Iterator[str]:
        asked = [item[1] for item in waiting if item is not None]
        answers = iter(self.answer(asked) if asked else ())
        for item in waiting:
            if item is None:
                yield ""
                continue
            given, example = item
            answer = next(answers)
            if given is None and not objects:
                yield self.plain(answer)
            else:
                content = {**(given or {}), **self.fields(example, answer)}
                yield json_line(content)


def _is_object(line: str) -> bool:
    """Whether a line is a JSON object, and not a text that happens to begin with a brace."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
    except RecursionError:
        return True  # whoever reads it says what is wrong


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _wrong(message: str, number: int) -> DataError:
    return DataError(message, path="<input>", line=number)
