"""The demo corpus: large enough, the same each time, its parts alike and without common paragraphs."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import chain

import pytest

from unrolled.data.python_reference import paragraphs, split
from unrolled.errors import DataError


def test_paragraphs_are_there_once() -> None:
    words = [" ".join(paragraph.split()) for paragraph in paragraphs()]
    assert len(words) == len(set(words)) > 1000
    assert all(words)
    assert paragraphs() == paragraphs()


def test_parts_are_whole_paragraphs_and_share_none() -> None:
    parts = split()
    assert parts == split()
    pieces = [part.removesuffix("\n").split("\n\n") for part in parts]
    assert sorted(chain.from_iterable(pieces)) == sorted(paragraphs())
    for part in parts:
        assert part.endswith("\n")
        assert "\r" not in part
        assert not part.endswith("\n\n")
    size = sum(map(len, parts))
    assert size > 250_000
    assert 0.87 < len(parts.train) / size < 0.93
    assert 0.03 < len(parts.valid) / size < 0.07
    assert 0.03 < len(parts.test) / size < 0.07


def test_parts_are_alike() -> None:
    train, valid, test = (Counter(part) for part in split())
    for other in (valid, test):
        distance = sum(
            abs(train[c] / train.total() - other[c] / other.total()) for c in train | other
        )
        assert distance < 0.3  # out of 2; chance differences of so few blocks are about 0.1 to 0.2


def test_a_python_without_the_topics_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"pydoc_data\.topics"):
        split()
