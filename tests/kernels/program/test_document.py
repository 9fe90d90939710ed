"""Programs as JSON: the round trip, and texts that are no programs."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_cells import CELLS as OWN

from unrolled.cells import CELLS, LSTM, Elman
from unrolled.kernels.program import Program, plan, trace

TRACED = {name: make for name, make in CELLS.items() if name != "mlstm"} | OWN


@pytest.mark.parametrize("name", TRACED)
def test_round_trip(name: str) -> None:
    program = trace(TRACED[name](3, 5), zoneout=True)
    again = Program.from_json(program.to_json())
    assert again == program
    assert again.hash == program.hash
    for training in (False, True):
        sizes = dict.fromkeys(program.sizes, 7)
        assert plan(again, sizes, training=training) == plan(program, sizes, training=training)


def test_constants_that_are_not_finite_survive() -> None:
    class Bounded(Elman):
        def step(self, gate: Any, prev: Any) -> Any:
            return self.State(h=gate.h.masked_fill(gate.h > 1, float("inf")))

    program = trace(Bounded(3, 4))
    json.loads(program.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert Program.from_json(program.to_json()) == program


def altered(**changes: Any) -> str:
    document = json.loads(trace(LSTM(3, 4)).to_json())
    return json.dumps(document | changes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "format"),
        ('{"format": "other"}', "format"),
        (altered(version=2), "version 2"),
        (altered(version=None), "version None"),
        (altered(nodes={}), "nodes are no list"),
        (altered(nodes=[["tanh", [0]]], results=[0, 0]), "wrong operands"),
        (altered(nodes=[["state", [], {"source": 2}]], results=[0, 0]), "no state 2"),
        (altered(nodes=[["state", [], {"source": -1}]], results=[0, 0]), "an index"),
        (altered(nodes=[["import", []]], results=[0, 0]), "no operation|wrong operands"),
        (altered(nodes=[["const", [], {"value": "1"}]], results=[0, 0]), "damaged"),
        (altered(nodes=[["const", [], {"code": 1}]], results=[0, 0]), "details"),
        (altered(nodes=[["const", []]], results=[0, 0]), "the new h"),
        (altered(results=[0]), "each field"),
        (altered(results=[0, 10**12]), "an index"),
        (altered(results=[0, 1.5]), "an index"),
        (altered(matrices=[]), "first matrix"),
        (altered(matrices=[["weight_ih", "H", 10**9, "I"]]), "blocks"),
        (altered(matrices=[["weight_ih", "row", 4, "I"]]), "units"),
        (altered(vectors=[["v", "H"]]), "unpack"),
        (altered(gates=[1, 2, 3, 4]), "a name"),
    ],
)
def test_other_texts_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Program.from_json(text)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 50),
    st.floats(),
    st.sampled_from(["", "row", "H", "O", "add", "sum", "product", "expand", "units", "state"]),
    st.lists(st.integers(-1, 9), max_size=3),
    st.dictionaries(
        st.sampled_from(["source", "blocks", "size", "init", "value"]), st.integers(0, 3)
    ),
)


def _replace(value: Any, path: list[int], junk: Any) -> Any:
    """The value with what lies at a path of positions replaced."""
    if not path or not isinstance(value, (list, dict)) or not value:
        return junk
    key = list(value)[path[0] % len(value)] if isinstance(value, dict) else path[0] % len(value)
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = _replace(value[key], path[1:], junk)
    return changed


@given(
    st.sampled_from(["gru", "jordan", "lstm-layer-norm", "slstm", "LeakyVector", "Deep"]),
    st.lists(st.integers(0, 200), min_size=1, max_size=5),
    JUNK,
)
@settings(max_examples=300)
def test_a_damaged_program_is_refused_or_whole(name: str, path: list[int], junk: Any) -> None:
    document = json.loads(trace(TRACED[name](3, 5)).to_json())
    with contextlib.suppress(ValueError):
        program = Program.from_json(json.dumps(_replace(document, path, junk)))
        plan(program, dict.fromkeys(program.sizes, 5), training=True).encode()
