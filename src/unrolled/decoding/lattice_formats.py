r"""Lattices as text: HTK's standard lattice format, and one arc a line.

The standard lattice format (SLF; Young et al., "The HTK Book", chapter on lattice files): header fields,
a line ``I=…`` for each node and a line ``J=… S=… E=…`` for each arc; a word stands on its arc, or on the
node where the arc ends. Comments begin with ``#``. Fields that say nothing of words and scores are passed
over. Scores are logarithms of the base that the header names, or probabilities if that is 0.

The plain format has a line ``from to word [acoustic [language]]`` for each arc, white space between the
fields, natural logarithms, 0 where left out, and a blank line between lattices; a line ``# name`` before
the first arc names one. Nodes are called by any words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike

from unrolled.decoding.lattice import SILENT, Lattice, Link
from unrolled.errors import DataError

Path = str | PathLike[str]

_FIELD = re.compile(
    r"""([A-Za-z_]\w*) = ( "(?:\\.|[^"\\])*"(?=\s|$) | '(?:\\.|[^'\\])*'(?=\s|$) | \S* ) """, re.X
)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.S)
_NAMES = {
    "VERSION": "V",
    "UTTERANCE": "U",
    "SUBLAT": "SUBLAT",
    "NODES": "N",
    "LINKS": "L",
    "START": "S",
    "END": "E",
    "WORD": "W",
    "acoustic": "a",
    "language": "l",
    "time": "t",
}
_SUBLATTICE = (
    "names a sublattice, which is not read; write the lattice out with every sublattice expanded"
)


@dataclass
class _Document:
    """What the lines of an SLF file say."""

    path: Path | None
    header: dict[str, tuple[str, int]] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)  # and their lines
    words: dict[str, str] = field(default_factory=dict)  # of nodes
    arcs: list[tuple[dict[str, str], int]] = field(default_factory=list)

    def number(self, name: str, text: str, line: int | None) -> float:
        """A score or a factor."""
        try:
            return float(text)
        except ValueError:
            message = f"{name}={text} is no number; expected one, such as {name}=-12.5"
            raise DataError(message, path=self.path, line=line) from None

    def factor(self, name: str, default: float) -> float:
        """A finite number of the header."""
        if name not in self.header:
            return default
        text, line = self.header[name]
        found = self.number(name, text, line)
        if not math.isfinite(found):
            raise DataError(f"{name}={text}; expected a finite number", path=self.path, line=line)
        return found


def parse_slf(lines: Iterable[str], *, path: Path | None = None) -> Lattice:
    """The lattice of an SLF file.

    Acoustic scores are scaled by the header's ``acscale``, and pronunciation scores (``r=``), scaled by its
    ``prscale``, are added to them.

    Raises:
        DataError: a malformed line, a count that does not fit, a sublattice, or what
            :meth:`unrolled.decoding.lattice.Lattice.connect` refuses.

    >>> lattice = parse_slf(["N=2 L=1", "I=0", "I=1", "J=0 S=0 E=1 W=yes a=-3 l=-1"])
    >>> lattice.arcs
    (Arc(source=0, target=1, word='yes', acoustic=-3.0, language=-1.0),)
    """
    document = _Document(path)
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            _read(document, line, number)
    for name, found, what in (
        ("N", len(document.nodes), "nodes"),
        ("L", len(document.arcs), "arcs"),
    ):
        text, at = document.header.get(name, (str(found), 0))
        if not text.isdecimal() or int(text) != found:
            message = (
                f"{name}={text} promises {text} {what}, the file has {found}; it may be cut short: "
                "copy it again, or mend the number"
            )
            raise DataError(message, path=path, line=at)
    return _assemble(document)


def _read(document: _Document, line: str, number: int) -> None:
    """One line of an SLF file."""
    fields = {_NAMES.get(name, name): value for name, value in _fields(document, line, number)}
    first = next(iter(fields))
    if first == "I":
        if "L" in fields:
            raise DataError(f"L={fields['L']} {_SUBLATTICE}", path=document.path, line=number)
        node = fields["I"]
        if node in document.nodes:
            message = (
                f"the node {node} is declared twice, first on line {document.nodes[node]}; "
                "remove one of the lines"
            )
            raise DataError(message, path=document.path, line=number)
        document.nodes[node] = number
        if "W" in fields:
            document.words[node] = fields["W"]
    elif first == "J":
        for name in ("S", "E"):
            if not fields.get(name):
                message = f"the arc J={fields['J']} has no {name}=; expected S=node E=node"
                raise DataError(message, path=document.path, line=number)
        document.arcs.append((fields, number))
    else:
        if "SUBLAT" in fields or "S" in fields:
            named = fields.get("SUBLAT", fields.get("S"))
            raise DataError(f"SUBLAT={named} {_SUBLATTICE}", path=document.path, line=number)
        document.header.update({name: (value, number) for name, value in fields.items()})


def _fields(document: _Document, line: str, number: int) -> Iterator[tuple[str, str]]:
    """The fields of a line, quotes and escapes undone."""
    place, line = 0, line.strip()
    while place < len(line):
        found = _FIELD.match(line, place)
        if found is None:
            piece = line[place:].split()[0]
            message = f"{piece!r} is no field; expected NAME=VALUE between spaces"
            raise DataError(message, path=document.path, line=number)
        name, value = found.groups()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        yield name, _unescaped(value[1:-1] if quoted else value)
        place = found.end()
        while place < len(line) and line[place].isspace():
            place += 1


def _unescaped(text: str) -> str:
    r"""Without HTK's escapes: ``\ooo`` is a byte, a backslash before anything else is that."""
    if "\\" not in text:
        return text

    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code, 8) & 255]) if len(code) == 3 else code

    return _ESCAPE.sub(plain, text.encode()).decode(errors="replace")


def _assemble(document: _Document) -> Lattice:
    base = document.factor("base", math.e)
    if base < 0 or base == 1:
        text, line = document.header["base"]
        message = f"base={text}; expected 0 (no logarithms) or the base of the logarithms"
        raise DataError(message, path=document.path, line=line)
    acoustic_scale = document.factor("acscale", 1.0)
    pronunciation_scale = document.factor("prscale", 1.0)

    def log(name: str, fields: dict[str, str], line: int) -> float:
        if name not in fields:
            return 0.0
        value = document.number(name, fields[name], line)
        if base:
            return value * math.log(base)
        if not value > 0:
            message = f"{name}={fields[name]}; with base=0 expected a probability above 0"
            raise DataError(message, path=document.path, line=line)
        return math.log(value)

    links = []
    for fields, line in document.arcs:
        word = fields.get("W", document.words.get(fields["E"], "!NULL"))
        acoustic = acoustic_scale * log("a", fields, line)
        acoustic += pronunciation_scale * log("r", fields, line)
        links.append(Link(fields["S"], fields["E"], word, acoustic, log("l", fields, line), line))
    start = document.header.get("start", (None, None))[0]
    end = document.header.get("end", (None, None))[0]
    lattice = Lattice.connect(
        links,
        nodes=document.nodes,
        start=start,
        end=end,
        name=document.header.get("U", ("", None))[0],
        lm_scale=document.factor("lmscale", 1.0),
        word_penalty=document.factor("wdpenalty", 0.0) * (math.log(base) if base else 1.0),
        path=document.path,
    )
    first = document.words.get(lattice.nodes[0])
    if first is not None and first not in SILENT and not _words_on_arcs(document):
        return _with_first_word(lattice, first)
    return lattice


def _words_on_arcs(document: _Document) -> bool:
    return any("W" in fields for fields, _ in document.arcs)


def _with_first_word(lattice: Lattice, word: str) -> Lattice:
    """The word of the start node stands before all others: an arc from a new start carries it."""
    name = "start"
    while name in lattice.nodes:
        name += "'"
    arcs = [arc._replace(source=arc.source + 1, target=arc.target + 1) for arc in lattice.arcs]
    first = arcs[0]._replace(source=0, target=1, word=word, acoustic=0.0, language=0.0)
    nodes = (name, *lattice.nodes)
    return Lattice(nodes, (first, *arcs), lattice.name, lattice.lm_scale, lattice.word_penalty)


def parse_arcs(lines: Iterable[str], *, path: Path | None = None) -> Iterator[Lattice]:
    """The lattices of a plain file of arcs, one after the other.

    Raises:
        DataError: a malformed line, or what :meth:`unrolled.decoding.lattice.Lattice.connect` refuses.

    >>> [lattice.paths for lattice in parse_arcs(["0 1 to -1", "0 1 two -2", "", "a b <eps>"])]
    [2, 1]
    """
    links: list[Link] = []
    name = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            if links:
                yield Lattice.connect(links, name=name, path=path)
            links, name = [], ""
        elif line.startswith("#"):
            if links:
                message = "a name after an arc; put a blank line between lattices and the line # name first"
                raise DataError(message, path=path, line=number)
            name = line[1:].strip()
        else:
            links.append(_arc(line, path, number))
    if links:
        yield Lattice.connect(links, name=name, path=path)


def _arc(line: str, path: Path | None, number: int) -> Link:
    fields = line.split()
    if not 3 <= len(fields) <= 5:
        message = f"{len(fields)} fields; expected an arc: from to word [acoustic [language]]"
        raise DataError(message, path=path, line=number)
    scores = [0.0, 0.0]
    for place, text in enumerate(fields[3:]):
        try:
            scores[place] = float(text)
        except ValueError:
            message = (
                f"the score {text!r} is no number; expected from to word [acoustic [language]]"
            )
            raise DataError(message, path=path, line=number) from None
    return Link(fields[0], fields[1], fields[2], scores[0], scores[1], number)
