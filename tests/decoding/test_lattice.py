"""Lattices from text, and what makes one invalid."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from unrolled.data.lattices import read_lattices
from unrolled.decoding.lattice import Arc, Lattice, Link
from unrolled.decoding.lattice_formats import parse_arcs, parse_slf
from unrolled.errors import DataError

# The form of the HTK Book's example: words on arcs.
ON_ARCS = """\
# a comment
VERSION=1.0
UTTERANCE=test-7
lmname=bigram  lmscale=8.5  wdpenalty=-2.0
acscale=0.5
NODES=5 LINKS=6
I=0 t=0.00
I=1 t=0.25
I=2 t=0.25
I=3 t=0.75
I=4 t=1.00
J=0 S=0 E=1 W=!NULL a=-4 l=0
J=1 S=0 E=2 W=the v=1 a=-6 l=-1.5
J=2 S=1 E=3 W="new  york" a=-8 l=-2
J=3 S=2 E=3 W=\\'cause a=-8 r=-0.5 l=-2
J=4 S=2 E=3 W='t\\351 l=-3
J=5 S=3 E=4 W=</s> a=-2 l=-0.25
"""

ON_NODES = """\
base=10
N=4 L=4
I=0 W=!NULL
I=1 W=to
I=2 W=two
I=3 W=!NULL
J=0 S=0 E=1 a=-1 l=-0.5
J=1 S=0 E=2 a=-2
J=2 S=1 E=3 a=-3
J=3 S=2 E=3 a=-4
"""


def slf(text: str) -> Lattice:
    return parse_slf(text.splitlines(), path="x.slf")


def test_words_on_arcs() -> None:
    lattice = slf(ON_ARCS)
    assert (lattice.name, lattice.lm_scale, lattice.word_penalty) == ("test-7", 8.5, -2.0)
    assert lattice.nodes == ("0", "1", "2", "3", "4")
    assert lattice.arcs == (
        Arc(0, 1, None, -2.0, 0.0),
        Arc(0, 2, "the", -3.0, -1.5),
        Arc(1, 3, "new  york", -4.0, -2.0),
        Arc(2, 3, "'cause", -4.5, -2.0),
        Arc(2, 3, "'t\ufffd", 0.0, -3.0),
        Arc(3, 4, None, -1.0, -0.25),
    )
    assert lattice.paths == 3
    assert lattice.levels == (0, 1, 1, 2, 3)


def test_octal_escapes_are_bytes_of_utf8() -> None:
    lattice = slf(ON_ARCS.replace("W='t\\351", "W='t\\303\\251'"))
    assert lattice.arcs[4].word == "té"


def test_words_on_nodes_and_logarithms_to_another_base() -> None:
    lattice = slf(ON_NODES)
    ten = math.log(10)
    assert lattice.arcs[0] == Arc(0, 1, "to", -ten, -0.5 * ten)
    assert [arc.word for arc in lattice.arcs] == ["to", "two", None, None]
    probabilities = slf(ON_NODES.replace("base=10", "base=0").replace("-", ""))
    assert probabilities.arcs[0] == Arc(0, 1, "to", 0.0, math.log(0.5))


def test_the_word_of_the_start_node_is_read_first() -> None:
    lattice = slf(ON_NODES.replace("I=0 W=!NULL", "I=0 W=go"))
    assert lattice.nodes == ("start", "0", "1", "2", "3")
    assert lattice.arcs[0] == Arc(0, 1, "go", 0.0, 0.0)
    assert lattice.paths == 2
    assert lattice.levels == (0, 1, 2, 2, 3)


def test_start_and_end_may_be_named() -> None:
    lattice = slf(ON_NODES.replace("N=4", "start=0 end=3\nN=4"))
    assert lattice == slf(ON_NODES)
    with pytest.raises(DataError, match=r"the start node 9 is not among the nodes"):
        slf(ON_NODES.replace("N=4", "start=9\nN=4"))
    with pytest.raises(DataError, match=r"x.slf:4: the node 0 cannot be reached from the start"):
        slf(ON_NODES.replace("N=4", "start=1\nN=4"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("S=2 E=3 a=-4", "S=2 E=8 a=-4", r"x.slf:10: .* names the node 8, which is not declared"),
        ("N=4", "N=5", r"x.slf:2: N=5 promises 5 nodes, the file has 4"),
        ("L=4", "L=many", r"x.slf:2: L=many promises many arcs, the file has 4"),
        ("a=-2", "a=-inf", r"x.slf:8: the acoustic score of the arc from 0 to 2 is -inf"),
        ("l=-0.5", "l=nan", r"x.slf:7: the language score of the arc from 0 to 1 is nan"),
        ("a=-2", "a=high", r"x.slf:8: a=high is no number"),
        ("a=-2", "a= -2", r"x.slf:8: '-2' is no field"),
        ("I=3", "I=2", r"x.slf:6: the node 2 is declared twice, first on line 5"),
        ("J=1 S=0", "J=1", r"x.slf:8: the arc J=1 has no S=; expected S=node E=node"),
        ("S=1 E=3", "S=1 E=0", r"x.slf:9: the arc from 1 to 0 closes a cycle \(1 → 0 → 1\)"),
        ("S=1 E=3", "S=1 E=1", r"x.slf:9: the arc from 1 to 1 closes a cycle \(1 → 1\)"),
        ("I=1 W=to", "I=1 L=digits", r"x.slf:4: L=digits names a sublattice, which is not read"),
        ("N=4", "SUBLAT=digits\nN=4", r"x.slf:2: SUBLAT=digits names a sublattice"),
        ("base=10", "base=1", r"x.slf:1: base=1; expected 0"),
        ("base=10", "base=0", r"x.slf:7: a=-1; with base=0 expected a probability above 0"),
        ("base=10", "acscale=inf", r"x.slf:1: acscale=inf; expected a finite number"),
        ("base=10", "base=", r"x.slf:1: base= is no number"),
    ],
)
def test_malformed_slf_is_named(old: str, new: str, message: str) -> None:
    text = ON_NODES.replace(old, new, 1)
    assert text != ON_NODES
    with pytest.raises(DataError, match=message):
        slf(text)


def test_several_starts_dead_ends_and_no_arcs() -> None:
    extra = "\nI=4\nJ=4 S=4 E=1 a=0\n"
    counts = ON_NODES.replace("N=4 L=4", "N=5 L=5")
    with pytest.raises(DataError, match=r"x.slf:12: 2 nodes have no arcs into them \(0, 4\)"):
        slf(counts + extra)
    with pytest.raises(DataError, match=r"x.slf:12: 2 nodes have no arcs out of them \(3, 4\)"):
        slf(counts + extra.replace("S=4 E=1", "S=1 E=4"))
    ended = counts.replace("base=10", "base=10 end=3") + extra.replace("S=4 E=1", "S=1 E=4")
    with pytest.raises(DataError, match=r"x.slf:12: the node 4 is a dead end: no arcs lead"):
        slf(ended)
    with pytest.raises(DataError, match=r"x.slf: the lattice has no arcs"):
        slf("N=1 L=0\nI=0\n")
    with pytest.raises(DataError, match=r"x.slf: the lattice has no arcs"):
        slf("VERSION=1.0\n")


def test_a_long_cycle_is_shown_in_part() -> None:
    links = [Link(str(i), str(i + 1), "w", 0, 0, i + 1) for i in range(50)]
    links += [Link("49", "20", "w", 0, 0, 51)]
    with pytest.raises(DataError, match=r"closes a cycle \(49 → 20 → 21 → .* → 27 → … → 49\)"):
        Lattice.connect(links)


def test_plain_arcs() -> None:
    text = "# first\nA B to -1 -2\nA B two -3\nB C <eps>\n\n\n0 1 x\n".splitlines()
    first, second = parse_arcs(text)
    assert (first.name, second.name) == ("first", "")
    assert first.arcs == (
        Arc(0, 1, "to", -1.0, -2.0),
        Arc(0, 1, "two", -3.0, 0.0),
        Arc(1, 2, None, 0.0, 0.0),
    )
    assert second.arcs == (Arc(0, 1, "x", 0.0, 0.0),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2", r"x:2: 2 fields; expected an arc"),
        ("1 2 a b", r"x:2: the score 'b' is no number"),
        ("1 2 a -1 -2 -3", r"x:2: 6 fields"),
        ("1 2 a 1e999", r"x:2: the acoustic score of the arc from 1 to 2 is inf"),
        ("# late", r"x:2: a name after an arc"),
        ("1 0 a", r"x:2: the arc from 1 to 0 closes a cycle"),
    ],
)
def test_malformed_arcs_are_named(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(parse_arcs(["0 1 a -1", line], path="x"))


def test_files_tell_their_form(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n# name\n0 1 a\n\n0 1 b\n")
    assert [lattice.name for lattice in read_lattices(tmp_path / "a.txt")] == ["name", ""]
    (tmp_path / "b").write_text(ON_NODES)
    with gzip.open(tmp_path / "c.lat.gz", "wt") as file:
        file.write(ON_NODES)
    assert list(read_lattices(tmp_path / "b")) == list(read_lattices(tmp_path / "c.lat.gz"))
    (tmp_path / "d.slf").write_text("0 1 a\n")
    with pytest.raises(DataError, match=r"d.slf:1: '0' is no field"):
        list(read_lattices(tmp_path / "d.slf"))
    (tmp_path / "e").write_text("# nothing\n\n")
    with pytest.raises(DataError, match=r"e: holds only blank lines and comments"):
        list(read_lattices(tmp_path / "e"))
    with pytest.raises(DataError, match=r"no such file"):
        list(read_lattices(tmp_path / "f"))
