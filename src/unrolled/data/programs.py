r"""Programs drawn at random, as trees with an interpreter of their own (Zaremba & Sutskever 2014).

"Learning to execute" (arXiv:1410.4615, section 3.1) asks a network to read a program character by
character and to write what it prints. Two numbers say how hard a program is: ``length``, the digits of
its numbers, and ``nesting``, how many operations are combined. An operation is one of

- a sum or difference, ``(a+b)`` or ``(a-b)``;
- a small product, ``(a*k)`` or ``(k*a)`` with k from 1 to 4 · length;
- a variable, ``v=a`` and then ``(v+b)`` or ``(v-b)``;
- an if-statement, ``(c if a<b else d)`` or with ``>``;
- a for-loop, ``v=a`` and then ``for x in range(k):v+=b`` or ``v-=b`` with k from 1 to 4 · length;
- nothing but the number, ``a``;

where one of a, b, c, d is the operation before it and the others are new numbers, so that the tree is as
deep as there are operations. There are no loops in loops: one reading with a small memory is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unrolled.errors import ConfigError

NAMES = "abcdefghijklmnopqrstuvwyz"  # of variables; x counts the rounds of loops
LONGEST = 18  # digits; longer numbers are beyond 64 bits


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number, as it stands in the program."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a variable."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Binary:
    """A sum, a difference or a product: ``operator`` is ``+``, ``-`` or ``*``."""

    operator: str
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"({self.left}{self.operator}{self.right})"


@dataclass(frozen=True, slots=True)
class Choice:
    """``then`` where ``left`` compares to ``right`` (by ``<`` or ``>``), else ``otherwise``."""

    then: Expression
    left: Expression
    comparison: str
    right: Expression
    otherwise: Expression

    def __str__(self) -> str:
        condition = f"{self.left}{self.comparison}{self.right}"
        return f"({self.then} if {condition} else {self.otherwise})"


Expression = Number | Variable | Binary | Choice


@dataclass(frozen=True, slots=True)
class Assignment:
    """Gives a variable its first value."""

    name: str
    value: Expression

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Loop:
    """Adds to a variable, or takes from it, so many times."""

    times: int
    name: str
    operator: str
    value: Expression

    def __str__(self) -> str:
        return f"for x in range({self.times}):{self.name}{self.operator}={self.value}"


@dataclass(frozen=True, slots=True)
class Program:
    """Statements, and the expression that is printed in the end; ``str`` gives its text.

    >>> print(Program((Assignment("j", Number(85)), Loop(3, "j", "+", Number(9))), Variable("j")))
    j=85
    for x in range(3):j+=9
    print(j)
    """

    statements: tuple[Assignment | Loop, ...]
    printed: Expression

    def __str__(self) -> str:
        return "\n".join([*map(str, self.statements), f"print({self.printed})"])


def execute(program: Program) -> int:
    """What a program prints.

    >>> execute(Program((Assignment("j", Number(85)), Loop(3, "j", "+", Number(9))), Variable("j")))
    112
    """
    memory: dict[str, int] = {}
    for statement in program.statements:
        match statement:
            case Assignment(name, value):
                memory[name] = evaluate(value, memory)
            case Loop(times, name, operator, value):
                for _ in range(times):
                    step = evaluate(value, memory)
                    memory[name] += step if operator == "+" else -step
    return evaluate(program.printed, memory)


def evaluate(expression: Expression, memory: dict[str, int]) -> int:
    """The value of an expression, given those of the variables.

    >>> evaluate(Binary("*", Variable("a"), Number(3)), {"a": 14})
    42
    """
    match expression:
        case Number(number):
            return number
        case Variable(name):
            return memory[name]
        case Binary(operator, a, b):
            left, right = evaluate(a, memory), evaluate(b, memory)
            return (
                left + right
                if operator == "+"
                else left - right
                if operator == "-"
                else left * right
            )
        case Choice(then, a, comparison, b, otherwise):
            left, right = evaluate(a, memory), evaluate(b, memory)
            holds = left < right if comparison == "<" else left > right
            return evaluate(then if holds else otherwise, memory)


def draw_program(rng: np.random.Generator, *, length: int, nesting: int) -> Program:
    """A random program: numbers uniform from 1 to ``10**length - 1``, ``nesting`` operations.

    >>> print(draw_program(np.random.default_rng(9), length=4, nesting=2))
    c=8702
    print((6426 if 6675>7775 else (c+9610)))

    Raises:
        ConfigError: if a size is out of its range.
    """
    check_sizes(length=length, nesting=nesting)
    unused = list(NAMES)
    statements: list[Assignment | Loop] = []
    before: Expression | None = None

    def operands(count: int) -> list[Expression]:
        drawn: list[Expression] = [Number(n) for n in rng.integers(1, 10**length, count).tolist()]
        if before is not None:
            drawn[int(rng.integers(count))] = before
        return drawn

    def one_of(choices: str) -> str:
        return choices[int(rng.integers(len(choices)))]

    def new_variable(value: Expression) -> str:
        name = unused.pop(int(rng.integers(len(unused))))
        statements.append(Assignment(name, value))
        return name

    for _ in range(nesting):
        match int(rng.integers(6)):
            case 0:
                a, b = operands(2)
                before = Binary(one_of("+-"), a, b)
            case 1:
                (a,), small = operands(1), Number(int(rng.integers(1, 4 * length + 1)))
                before = Binary("*", a, small) if rng.integers(2) else Binary("*", small, a)
            case 2:
                a, b = operands(2)
                before = Binary(one_of("+-"), Variable(new_variable(a)), b)
            case 3:
                a, b, c, d = operands(4)
                before = Choice(c, a, one_of("<>"), b, d)
            case 4:
                a, b = operands(2)
                name, times = new_variable(a), int(rng.integers(1, 4 * length + 1))
                statements.append(Loop(times, name, one_of("+-"), b))
                before = Variable(name)
            case _:
                (before,) = operands(1)
    assert before is not None  # nesting is at least 1
    return Program(tuple(statements), before)


def check_sizes(*, length: int, nesting: int) -> None:
    """ConfigError if numbers of so many digits, or so many operations, cannot be drawn."""
    if not 1 <= length <= LONGEST:
        raise ConfigError(f"--data.length is 1 to {LONGEST} digits, not {length}")
    if not 1 <= nesting <= len(NAMES):
        raise ConfigError(f"--data.nesting is 1 to {len(NAMES)} operations, not {nesting}")
