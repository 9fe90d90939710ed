"""The Python language reference as a small real corpus that needs no download: every Python carries
it as ``pydoc_data.topics`` (what ``help("assert")`` prints), about half a million characters.
Passages stand there under several topics, so repeated paragraphs are removed before the text is
split: no paragraph of one part is in another, in whatever lines it is broken."""

from __future__ import annotations

import re
from typing import NamedTuple

from unrolled.errors import DataError

_BLOCK = 1000  # characters, rounded up to whole paragraphs
_CYCLE = 20  # blocks: 18 for training, one each for validation and test, that is 90/5/5


class ReferenceSplit(NamedTuple):
    """The three parts as texts that end in a line feed."""

    train: str
    valid: str
    test: str


def paragraphs() -> list[str]:
    """The paragraphs of the language reference, topics in alphabetical order, each once.

    Two paragraphs are the same if they differ in white space only; the first one stays. Line
    ends within a paragraph are kept, those around it are removed.

    Raises:
        DataError: this Python was built without ``pydoc_data.topics``.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python lacks pydoc_data.topics, the text of the language reference; use another "
            "Python or a text of your own (--data.train PATH)"
        ) from error
    unique: dict[str, str] = {}
    for topic in sorted(topics):
        for paragraph in re.split(r"\n[ \t]*\n", topics[topic]):
            trimmed = "\n".join(line.rstrip() for line in paragraph.splitlines()).strip("\n")
            if words := " ".join(trimmed.split()):
                unique.setdefault(words, trimmed)
    return list(unique.values())


def split() -> ReferenceSplit:
    """The reference in parts for training (90 %), validation (5 %) and test (5 %).

    The paragraphs are dealt out in blocks of about 1,000 characters: of every 20 blocks in a row
    the tenth is for validation and the twentieth for the test. So each part holds something of
    every subject, in runs long enough for a context, and is the same on each call with the same
    Python. Paragraphs are separated by one empty line.

    Raises:
        DataError: as :func:`paragraphs`.

    >>> train, valid, test = split()
    >>> len(train) > 15 * len(test) > 0
    True
    """
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    block = size = 0
    for paragraph in paragraphs():
        place = block % _CYCLE
        part = 1 if place == _CYCLE // 2 - 1 else 2 if place == _CYCLE - 1 else 0
        parts[part].append(paragraph)
        size += len(paragraph) + 2
        if size >= _BLOCK:
            block, size = block + 1, 0
    return ReferenceSplit(*("\n\n".join(part) + "\n" for part in parts))
