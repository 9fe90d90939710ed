"""Generated programs: Python itself is the oracle of the interpreter, on hundreds of them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.programs import (
    NAMES,
    Assignment,
    Binary,
    Choice,
    Expression,
    Loop,
    Number,
    Program,
    draw_program,
    execute,
)
from unrolled.errors import ConfigError


def python(source: str) -> str:
    """What Python prints for a program."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "program", "exec"), {})
    return printed.getvalue().strip()


@given(st.integers(0, 2**32), st.integers(1, 18), st.integers(1, len(NAMES)))
@settings(max_examples=300)
def test_python_prints_the_same(seed: int, length: int, nesting: int) -> None:
    program = draw_program(np.random.default_rng(seed), length=length, nesting=nesting)
    assert python(str(program)) == str(execute(program))


def test_every_operation_both_ways_and_within_its_sizes() -> None:
    rng = np.random.default_rng(0)
    programs = [draw_program(rng, length=2, nesting=3) for _ in range(2000)]
    text = "\n".join(map(str, programs))
    for piece in ("+=", "-=", "<", ">", " if ", "*", "range(1)", "range(8)"):
        assert piece in text, piece
    times = [s.times for p in programs for s in p.statements if isinstance(s, Loop)]
    assert (min(times), max(times)) == (1, 8)  # 4 times the length
    numbers = [n.value for p in programs for n in leaves(p) if isinstance(n, Number)]
    assert (min(numbers), max(numbers)) == (1, 99)
    assert max(depth(p.printed) for p in programs) == 3


def test_one_operation_is_one_of_six_kinds_each_as_often() -> None:
    rng = np.random.default_rng(1)
    kinds: dict[str, int] = {}
    for _ in range(3000):
        program = draw_program(rng, length=3, nesting=1)
        shape = type(program.printed).__name__ + "".join(
            type(s).__name__ for s in program.statements
        )
        if isinstance(program.printed, Binary) and program.printed.operator == "*":
            shape = "Product"
        kinds[shape] = kinds.get(shape, 0) + 1
    assert set(kinds) == {
        *("Binary", "Product", "BinaryAssignment", "Choice", "VariableAssignmentLoop", "Number")
    }
    assert min(kinds.values()) > 400


def test_variables_are_never_the_loop_counter_nor_used_twice() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        program = draw_program(rng, length=1, nesting=len(NAMES))
        names = [s.name for s in program.statements if isinstance(s, Assignment)]
        assert "x" not in names
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(("length", "nesting"), [(0, 1), (19, 1), (1, 0), (1, 26), (-1, 1)])
def test_sizes_out_of_range(length: int, nesting: int) -> None:
    with pytest.raises(ConfigError, match=r"--data\.(length|nesting) is 1 to"):
        draw_program(np.random.default_rng(0), length=length, nesting=nesting)


def leaves(program: Program) -> list[Expression]:
    """The numbers and variables of a program's expressions."""
    found: list[Expression] = []
    open_: list[Expression] = [program.printed, *(s.value for s in program.statements)]
    while open_:
        match open_.pop():
            case Binary(operator, left, right):
                open_ += [left] if operator == "*" and isinstance(right, Number) else []
                open_ += [right] if operator == "*" and not isinstance(right, Number) else []
                open_ += [left, right] if operator != "*" else []
            case Choice(then, left, _, right, otherwise):
                open_ += [then, left, right, otherwise]
            case leaf:
                found.append(leaf)
    return found


def depth(expression: Expression) -> int:
    """The operations on the longest way down an expression."""
    match expression:
        case Binary(_, left, right):
            return 1 + max(depth(left), depth(right))
        case Choice(then, left, _, right, otherwise):
            return 1 + max(map(depth, (then, left, right, otherwise)))
    return 0
