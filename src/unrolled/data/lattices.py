"""Files of lattices: SLF (HTK), or one arc a line; gzip too. The formats are those of
:mod:`unrolled.decoding.lattice_formats`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from os import PathLike

from unrolled.data.text import read_lines
from unrolled.decoding.lattice import Lattice
from unrolled.decoding.lattice_formats import parse_arcs, parse_slf
from unrolled.errors import DataError

_SLF_NAMES = (".slf", ".lat", ".htk")
_SLF_FIELD = re.compile(r"\s*[A-Za-z_]\w*=")


def read_lattices(path: str | PathLike[str]) -> Iterator[Lattice]:
    """The lattices of a file: one of SLF, any number of plain ones.

    The form is told by the name (``.slf``, ``.lat``, ``.htk``, each also with ``.gz``), else by the first
    line that is neither blank nor a comment: SLF if it begins with a field ``NAME=``.

    Raises:
        DataError: the file is missing, unreadable, empty, malformed, or holds no valid lattice.
    """
    lines = read_lines(path)
    skipped: list[str] = []
    first = next((line for line in _kept(lines, skipped) if line.strip()), None)
    if first is None:
        raise DataError("holds only blank lines and comments; expected a lattice", path=path)
    whole = itertools.chain(skipped, lines)
    name = str(path).removesuffix(".gz")
    if name.endswith(_SLF_NAMES) or _SLF_FIELD.match(first):
        yield parse_slf(whole, path=path)
    else:
        yield from parse_arcs(whole, path=path)


def _kept(lines: Iterator[str], skipped: list[str]) -> Iterator[str]:
    """The lines that are no comments; all are put into ``skipped``."""
    for line in lines:
        skipped.append(line)
        if not line.lstrip().startswith("#"):
            yield line
