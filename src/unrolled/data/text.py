"""Lines of a text file and the tokens of a line, one at a time, so that a corpus may be larger than
memory. A character-level text is its lines, each followed by a line feed; a word-level text is
split on white space and each line is followed by ``<eos>``, as is usual for word language models
(Mikolov et al. 2010, Zaremba et al. 2014)."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Literal, TextIO

from unrolled.errors import ConfigError, DataError

Level = Literal["characters", "words"]

EOS = "<eos>"
_GZIP_MAGIC = b"\x1f\x8b"  # never the start of valid UTF-8: 0x8b cannot follow an ASCII byte


def read_lines(path: str | PathLike[str]) -> Iterator[str]:
    r"""The lines of a UTF-8 text file, without their ends; gzip is recognised by its first bytes.

    ``\n``, ``\r\n`` and ``\r`` all end a line, a byte order mark at the start is dropped, empty
    lines are kept, and the last line needs no end. Memory: one line.

    Raises:
        DataError: when the first line is asked for, if the file is missing, unreadable or empty;
            later, at the first byte that is not UTF-8 (with its line) or where gzip data breaks.
    """
    number = 0
    try:
        with open(path, "rb") as raw, _decoded(raw, path) as text:
            for number, line in enumerate(text, start=1):
                if not line.isascii():
                    _refuse_escaped(line, path, number)
                yield line.rstrip("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"the gzip data is truncated or damaged ({error}); copy the file again"
        raise DataError(message, path=path, line=number + 1) from error
    except FileNotFoundError as error:
        raise DataError("no such file; check the path", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    if not number:
        raise DataError("the file is empty; expected at least one line of text", path=path)


def _decoded(raw: io.BufferedReader, path: str | PathLike[str]) -> TextIO:
    """The file as text with unified line ends; wrong bytes become lone surrogates, found later."""
    binary: io.BufferedReader | gzip.GzipFile = raw
    if raw.peek(2)[:2] == _GZIP_MAGIC:
        binary = gzip.GzipFile(fileobj=raw)
    elif str(path).endswith(".gz") and raw.peek(1):
        raise DataError("not gzip data in spite of its name; rename or compress it", path=path)
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline=None)


def _refuse_escaped(line: str, path: str | PathLike[str], number: int) -> None:
    """DataError if the line holds a byte that was not UTF-8 (strict decoding has no surrogates)."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) - 0xDC00
        message = (
            f"byte 0x{byte:02x} after {error.start} characters is not UTF-8; "
            "convert the file, for instance with iconv -f latin1 -t utf-8"
        )
        raise DataError(message, path=path, line=number) from None


def tokens(lines: Iterable[str], level: Level) -> Iterator[str]:
    r"""The tokens of the lines, each line closed by ``"\n"`` (characters) or ``"<eos>"`` (words).

    Raises:
        ConfigError: for another level.

    >>> list(tokens(["to be", ""], "words"))
    ['to', 'be', '<eos>', '<eos>']
    >>> list(tokens(["to"], "characters"))
    ['t', 'o', '\n']
    """
    if level == "characters":
        return (character for line in lines for character in line + "\n")
    if level == "words":
        return (word for line in lines for word in (*line.split(), EOS))
    raise ConfigError(f"the level of a text is 'characters' or 'words', not {level!r}")


def text_of(symbols: Iterable[str], level: Level) -> Iterator[str]:
    r"""The inverse of :func:`tokens` as pieces to print one after the other, for streamed output.

    Words of a line are put apart by one space; ``<eos>`` ends the line.

    >>> "".join(text_of(["to", "be", "<eos>", "or"], "words"))
    'to be\nor'
    """
    if level == "characters":
        yield from symbols
        return
    gap = ""
    for symbol in symbols:
        if symbol == EOS:
            yield "\n"
            gap = ""
        else:
            yield gap + symbol
            gap = " "
