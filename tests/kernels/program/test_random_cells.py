"""Plans of cells whose steps are drawn at random equal the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from against_loop import I, check, prepare
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells import GatedCell

Step = tuple[str, int, int, int]


class Two(NamedTuple):
    h: Tensor
    c: Tensor


def softened(x: Tensor) -> Tensor:
    """Kept in range, so that no step of the loop overflows."""
    return x / (1 + x.abs())


BINARY: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda a, b: a / (1.5 + b.abs()),
    "max": torch.maximum,
    "min": torch.minimum,
    "mix": lambda a, b: (1 - torch.sigmoid(a)) * b + torch.sigmoid(a) * a,
}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": lambda a: torch.exp(-a.abs()),
    "log": lambda a: torch.log1p(a * a),
    "root": lambda a: torch.rsqrt(a.square() + 0.5),
    "neg": torch.neg,
    "softplus": F.softplus,
    "clamp": lambda a: a.clamp(-0.4, 0.6),
    "detach": lambda a: a.detach(),
    "scaled": lambda a: 0.5 - a * 0.3,
    "mean": lambda a: a - a.mean(-1, keepdim=True),
    "normed": lambda a: F.layer_norm(a, a.shape[-1:]),
    "greatest": lambda a: a * torch.amax(a, -1, keepdim=True),
    "softmax": lambda a: torch.softmax(a, -1),
}
TERNARY: dict[str, Callable[..., Tensor]] = {
    "where": lambda a, b, c: torch.where(a < b, b, c),
    "fma": lambda a, b, c: a * b + c,
    "lerp": lambda a, b, c: torch.lerp(a, b, torch.sigmoid(c)),
}
PRODUCTS = ("w", "u0", "u1", "vw")


class Drawn(GatedCell):
    """A step that is a list of operations on what came before."""

    gates = ("a", "b", "c")
    recurrent_gates = ("a", "c")
    State = Two
    vectors = ("v", "r")
    weights = (("w", "H", "H"), ("u", "2H", "H"), ("shift", "2H"))

    def __init__(self, *sizes: int, steps: list[Step], **options: Any) -> None:
        self.steps = steps
        super().__init__(*sizes, **options)

    def step(self, gate: Any, prev: Any) -> Any:
        values = [gate.a, gate.b, gate.c, gate.c.recurrent, gate.b.input, prev.h, prev.c]
        values += [values[0] * torch.sigmoid(self.v), self.r + values[5]]
        for op, *which in self.steps:
            # recent values first, so that long chains are likely
            args = [values[-1 - i % min(len(values), 9)] for i in which]
            values.append(softened(self.apply(op, *args)))
        return Two(h=torch.tanh(values[-1] + values[-3]), c=softened(values[-2]))

    def apply(self, op: str, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        if op in UNARY:
            return UNARY[op](a)
        if op in BINARY:
            return BINARY[op](a, b)
        if op in TERNARY:
            return TERNARY[op](a, b, c)
        if op == "w":
            return F.linear(a, self.w) + b
        if op == "vw":
            return F.linear(a, self.w, self.v * 2) * self.r
        return F.linear(a, self.u, self.shift).chunk(2, -1)[int(op[1])]


operations = st.sampled_from([*UNARY, *BINARY, *TERNARY, *PRODUCTS])
indices = st.integers(0, 20)


@given(
    st.lists(st.tuples(operations, indices, indices, indices), min_size=2, max_size=14),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=60)
def test_random_cells_equal_the_loop(
    steps: list[Step], zoneout: bool, ragged: bool, seed: int
) -> None:
    cell = prepare(Drawn(I, 5, steps=steps), seed)
    options: dict[str, Any] = {} if ragged else {"lengths": None}
    check(cell, zoneout=zoneout, mask=zoneout and ragged, tolerance=1e-8, **options)
