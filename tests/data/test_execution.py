"""Learning to execute: additions and copying, curricula, parts that share no text, exact resume."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from unrolled.data.execution import Curriculum, Execution, part_of
from unrolled.errors import ConfigError, DataError

KINDS: list[dict[str, Any]] = [
    {"kind": "programs", "length": 3, "nesting": 3},
    {"kind": "addition", "length": 3},
    {"kind": "addition", "length": 3, "up_to": True},
    {"kind": "copying", "length": 6},
    {"kind": "copying", "length": 6, "reverse": True, "double": True},
]


@pytest.mark.parametrize("options", KINDS)
def test_an_example_depends_on_seed_part_index_and_stage_alone(options: dict[str, Any]) -> None:
    options = {**options, "curriculum": "combined"}
    forward = [Execution(**options).example(i, 1) for i in range(50)]
    backward = [Execution(**options).example(i, 1) for i in reversed(range(50))]
    assert forward == backward[::-1]
    other = [Execution(**options, seed=1).example(i, 1) for i in range(50)]
    assert forward != other
    assert len({e.source for e in forward}) > 20


@pytest.mark.parametrize("options", KINDS)
def test_parts_share_no_text_whatever_the_seed(options: dict[str, Any]) -> None:
    train = {
        Execution(**options, seed=s, curriculum="mix")[i].source for s in (0, 1) for i in range(500)
    }
    for part in ("valid", "test"):
        held = {
            Execution(**options, part=part, seed=s)[i].source for s in (0, 1) for i in range(100)
        }
        assert not train & held


@pytest.mark.parametrize("options", KINDS)
def test_the_characters_are_all_that_occur(options: dict[str, Any]) -> None:
    source = Execution(**options)
    seen = {c for i in range(500) for e in [source[i]] for c in e.source + e.target}
    assert seen <= set(source.characters)
    assert sorted(source.characters) == list(source.characters)
    if options["kind"] != "programs":
        assert seen == set(source.characters)


def test_additions() -> None:
    exact = [Execution("addition", length=4)[i] for i in range(300)]
    up_to = [Execution("addition", length=4, up_to=True)[i] for i in range(300)]
    lengths = set()
    for example in exact + up_to:
        found = re.fullmatch(r"print\((\d+)\+(\d+)\)", example.source)
        assert found is not None
        assert int(found[1]) + int(found[2]) == int(example.target)
        lengths.add((len(found[1]), len(found[2])))
    assert all(re.fullmatch(r"print\([1-9]\d{3}\+[1-9]\d{3}\)", e.source) for e in exact)
    assert lengths == {(a, b) for a in range(1, 5) for b in range(1, 5)}


def test_single_digits_reach_zero_and_nine() -> None:
    seen = {c for i in range(200) for c in Execution("addition", length=1)[i].source if c.isdigit()}
    assert seen == set("0123456789")


def test_copying() -> None:
    plain = [Execution("copying", length=5)[i] for i in range(50)]
    changed = [Execution("copying", length=5, reverse=True, double=True)[i] for i in range(50)]
    for before, after in zip(plain, changed, strict=True):
        assert before.source == before.target == after.target
        assert len(before.source) == 5
        assert after.source == f"{before.source[::-1]};{before.source[::-1]}"


def test_curricula() -> None:
    rng = np.random.default_rng(0)
    naive = Curriculum("naive", 3, 2)
    path = [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)]
    assert [naive.at(stage) for stage in range(naive.stages)] == path
    assert naive.at(100) == (3, 2)
    assert {naive.draw(rng, 2) for _ in range(20)} == {(3, 1)}
    assert [naive.stage(p) for p in (0, 0.16, 0.17, 0.5, 0.999, 1, 2)] == [0, 0, 1, 3, 5, 5, 5]
    none = Curriculum("none", 3, 2)
    assert (none.stages, none.draw(rng, 0)) == (1, (3, 2))
    mix = [Curriculum("mix", 3, 2).draw(rng, 0) for _ in range(600)]
    assert {pair: mix.count(pair) > 60 for pair in path} == dict.fromkeys(path, True)
    combined = [Curriculum("combined", 3, 2).draw(rng, 1) for _ in range(3000)]
    share = combined.count((2, 1)) / 3000
    assert share == pytest.approx(0.8 + 0.2 / 6, abs=0.03)
    assert set(combined) == set(path)


def test_the_curriculum_is_of_the_training_part_only() -> None:
    easy = Execution("programs", length=6, nesting=3, curriculum="naive")
    assert max(easy.example(i, 0).length for i in range(20)) == 1
    held = Execution("programs", length=6, nesting=3, curriculum="naive", part="test")
    assert {(held[i].length, held[i].nesting) for i in range(20)} == {(6, 3)}


def test_shares_of_the_parts() -> None:
    parts = [part_of(f"print({i})") for i in range(20_000)]
    assert parts.count("test") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert parts.count("valid") / 20_000 == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "sorting"}, "--data.kind is one of programs, addition, copying, not 'sorting'"),
        ({"part": "dev"}, "--data.part is one of"),
        ({"curriculum": "blend"}, "--data.curriculum is one of none, naive, mix, combined"),
        ({"kind": "addition", "nesting": 2}, "--data.nesting is 1 for addition"),
        ({"kind": "copying", "up_to": True}, "--data.up-to is for additions"),
        ({"seed": -1}, "at least 0, not -1"),
        ({"length": 0}, "--data.length is 1 to 18"),
    ],
)
def test_options_that_do_not_go(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        Execution(**options)


def test_places_that_are_not_there() -> None:
    with pytest.raises(DataError, match="no example -1"):
        Execution()[-1]
    with pytest.raises(ConfigError, match="stage is at least 0"):
        Execution(curriculum="naive", length=2).example(0, -1)


@pytest.mark.parametrize("kind", ["programs", "addition", "copying"])
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_the_shortest_texts_are_in_every_part(kind: Any, part: Any) -> None:
    assert Execution(kind, length=1, part=part)[0].target


def test_a_part_without_any_text_is_refused_instead_of_searched_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unrolled.data.execution.part_of", lambda text: "train")
    with pytest.raises(
        DataError, match=r"none is in the part 'test'; give a greater --data.length"
    ):
        Execution("copying", length=1, part="test")[0]
