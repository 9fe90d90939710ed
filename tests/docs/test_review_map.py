"""docs/review-map.md is complete in rows and honest in form; its links exist.

Its commands are resolved with those of all pages, in test_pages.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "docs" / "review-map.md"
TEXT = MAP.read_text(encoding="utf-8")

# The review's headings, in order: what the row of that name must speak of.
SECTIONS = {
    "S0": "Abstract",
    "S1": "Introduction",
    "S1.1": "Comparison to prior work",
    "S1.2": "Why recurrent nets",
    "S1.2a": "Why explicitly model time",
    "S1.2b": "Why neural networks and not Markov models",
    "S1.2c": "Are RNNs too expressive",
    "S2": "Background",
    "S2.1": "Time",
    "S2.2": "Neural networks",
    "S2.3": "Feedforward",
    "S2.4": "backpropagation",
    "S3": "Recurrent neural networks",
    "S3.1": "Past approaches",
    "S3.2": "Training recurrent networks",
    "S3.3": "Modern RNNs",
    "S3.3.1": "Long short-term memory",
    "S3.4": "Bidirectional",
    "S4": "Applications of LSTM and BRNN",
    "S4.1": "Representing natural language",
    "S4.1.1": "Evaluation methodology",
    "S4.2": "Text translation",
    "S4.3": "Image captioning",
    "S4.4": "Other applications",
    "S5": "Conclusion",
    "S6": "Acknowledgements",
    "S7": "References",
}
# The other rows are numbered; how many of each there are (equations, figures and references are the
# review's own; claims, methods, applications and measures as read out of it in order).
NUMBERED = {
    "E": 27,
    "F": 12,
    "C": 66,
    "M": 45,
    "A": 22,
    "P": 8,
    "R": 73,
    "N": 17,
    "K": 16,
    "T": 13,
}
ROOMS = {
    "archsearch",
    "baselines",
    "cells",
    "data",
    "decoding",
    "diagnostics",
    "kernels",
    "layers",
    "metrics",
    "models",
    "serving",
    "tasks",
    "training",
}
STATUSES = ("works", "partly", "planned", "reference only")


class Row(NamedTuple):
    name: str
    review: str
    where: str
    command: str
    measured: str
    status: str


def read_rows() -> list[Row]:
    rows = []
    for line in TEXT.splitlines():
        if line.startswith("| **"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found = re.match(r"\*\*(\w[\w.]*)\*\* (.*)", cells[0])
            assert found, line
            assert len(cells) == 5, line
            rows.append(Row(found[1], found[2], *cells[1:]))
    return rows


ROWS = read_rows()
LINKS = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", TEXT, flags=re.MULTILINE))


def test_every_section_equation_figure_claim_and_reference_has_its_row() -> None:
    names = [row.name for row in ROWS]
    numbered = [f"{kind}{i}" for kind, count in NUMBERED.items() for i in range(1, count + 1)]
    assert names == [*SECTIONS, *numbered]
    by_name = {row.name: row for row in ROWS}
    for name, words in SECTIONS.items():
        assert words.lower() in by_name[name].review.lower(), f"{name} does not speak of {words}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_honest_in_form(row: Row) -> None:
    assert row.status.startswith(STATUSES), row.status
    linked = re.findall(r"\[([^\]]+)\]", row.where)
    assert set(linked) <= set(LINKS), "a file named without a link below"
    if row.status.startswith(("works", "partly")) and row.name != "S7":
        assert linked, "what works must say where"
        pages_only = all(name.endswith(".md") for name in linked)
        assert "`" in row.command or pages_only or row.status.startswith("partly")
    if row.status.startswith("works"):
        assert "planned" not in row.status
    rooms = set(re.findall(r"(?<!\*)\*(\w+)\*(?!\*)", row.status))
    assert rooms <= ROOMS
    if "planned" in row.status:
        assert rooms, "what is planned names its room"
    if row.status.startswith("planned"):
        assert row.measured == "–"


@pytest.mark.parametrize("name", LINKS)
def test_link_resolves(name: str) -> None:
    assert (MAP.parent / LINKS[name]).is_file(), LINKS[name]
    assert f"[{name}]" in TEXT.replace(f"[{name}]: ", ""), "a link that no row uses"
