"""``unrolled predict RUN``: lines in, one prediction per line out, as they come."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.searching import Others, opened, searched, with_search
from unrolled.errors import DataError
from unrolled.tasks.search import Search

FILE_BATCH = 256  # lines of a file
INPUT = "<input>"  # how lines are named by those who know no file
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``predict`` App."""
    return single(searched(predict), "predict")


def predict(
    run: Path,
    file: Path | None = None,
    /,
    *,
    probabilities: _Flag = False,
    n_best: int = 0,
    others: Others = None,
    search: Search | None = None,
) -> int:
    """Predict for each line of the standard input, or of a file.

    Plain lines are answered with plain lines, JSON objects with the same objects and what the model
    adds. Lines of a pipe or a terminal are answered one by one, as they come.

    Args:
        run: The run directory; nothing else is needed.
        file: UTF-8 text, also compressed (.gz); the standard input when absent.
        probabilities: Answer with JSON objects that hold the probability of each tag or label.
        n_best: Answer with JSON objects that hold so many of the likeliest answers, or so many samples; 0 is
            off.
        others: Runs whose models are averaged with the first, step by step.
        search: How outputs are found, of models that say texts.
    """
    if n_best < 0:
        raise UsageError(f"--n-best {n_best}: expected 0 or more")
    from unrolled.data.text import read_lines

    lines = utf8_lines(sys.stdin.buffer) if file is None else read_lines(file)
    batch_size = together(file)
    answer = with_search(opened(run, others).predict, search, run)
    with named(file):
        for prediction in answer(
            lines, probabilities=probabilities, n_best=n_best, batch_size=batch_size
        ):
            print(prediction, flush=batch_size == 1)
    return 0


def together(file: Path | None) -> int:
    """How many lines are answered together: one of a pipe or a terminal, whose other end may be waiting."""
    if file is not None:
        return FILE_BATCH
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # no file of the system's
        return 1
    return FILE_BATCH if stat.S_ISREG(mode) else 1


@contextlib.contextmanager
def named(file: Path | None) -> Iterator[None]:
    """Errors about lines name the file that these are from."""
    try:
        yield
    except DataError as error:
        if file is None or error.path != INPUT:
            raise
        message = str(error).removeprefix(f"{INPUT}:{error.line}: ")
        raise DataError(message, path=file, line=error.line) from error


def utf8_lines(stream: Iterable[bytes], name: str = "<stdin>") -> Iterator[str]:
    r"""Lines of a byte stream as :func:`unrolled.data.text.read_lines` gives those of a file.

    Strictly UTF-8; each line is given as soon as it has ended, so that a pipe can be followed.

    Raises:
        DataError: bytes that are no UTF-8; names the line.

    >>> list(utf8_lines([b"one\r\n", b"two"]))
    ['one', 'two']
    """
    number = 0
    for raw in stream:
        line = raw if number else raw.removeprefix(codecs.BOM_UTF8)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"byte 0x{line[error.start]:02x} after {error.start} bytes is not UTF-8; "
                "convert the input, for instance with iconv -f latin1 -t utf-8",
                path=name,
                line=number + line.count(b"\r", 0, error.start) + 1,
            ) from None
        for part in text.removesuffix("\n").removesuffix("\r").split("\r"):
            number += 1
            yield part
