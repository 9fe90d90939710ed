"""Lines of JSON that are no examples: each is said in a line, after those before it are answered."""

from __future__ import annotations

from typing import Any

import pytest

from unrolled.errors import DataError
from unrolled.tasks.lines import Lines

GOOD = '{"text": "a"}'


def lines() -> Lines[str, int]:
    def record(given: Any) -> str:
        return str(given["text"])

    def count(texts: Any) -> list[int]:
        return [len(text) for text in texts]

    return Lines(text=str, record=record, answer=count, plain=str, fields=lambda _, n: {"n": n})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "<input>:{}: nested too deeply"),
        ('{"text": "\\ud800"}', "<input>:{}: half of a surrogate pair"),
        ('{"id": "\\udc00", "text": "a"}', "<input>:{}: half of a surrogate pair"),
        ('{"text": "a", "id": ' + "1" * 5000 + "}", "<input>:{}: no JSON"),
        ("[1]", "<input>:{}: no JSON object"),
    ],
    ids=["deep", "surrogate", "surrogate beside", "digits", "list"],
)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_lines_that_are_no_example(line: str, message: str, batch_size: int) -> None:
    answers = lines().run([GOOD, line], batch_size=batch_size)
    found = [next(answers)]
    with pytest.raises(DataError, match=message.format(2)):
        next(answers)
    assert found == ['{"text": "a", "n": 1}']


def test_deep_lines_may_be_the_first() -> None:
    with pytest.raises(DataError, match="<input>:1: nested too deeply"):
        list(lines().run(['{"text": ' + "[" * 100_000]))


def test_whole_pairs_of_surrogates_are_text() -> None:
    assert list(lines().run(['{"text": "\\ud83d\\ude00"}'])) == ['{"text": "\U0001f600", "n": 1}']
