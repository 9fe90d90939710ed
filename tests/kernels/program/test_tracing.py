"""What tracing accepts, how it refuses, and that programs are canonical."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells import GRU, LSTM, Cell, Elman, GatedCell, HiddenState, Jordan
from unrolled.kernels.program import Program, Untraceable, plan, trace


def cell_with(step: Callable[..., Any], **attributes: Any) -> GatedCell:
    """A cell of one gate with that step."""

    def wrapped(self: Any, gate: Any, prev: Any) -> Any:
        return HiddenState(h=step(self, gate.n, prev.h))

    own = type("Own", (GatedCell,), {"gates": ("n",), "step": wrapped, **attributes})
    return own(3, 4)  # type: ignore[no-any-return]


CONSTANT = torch.ones(4)
REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "unknown operation": (lambda self, n, h: torch.erf(n), "uses erf"),
    "unknown method": (lambda self, n, h: n.cumsum(-1), "uses cumsum"),
    "in place": (lambda self, n, h: n.mul_(2), "uses mul_"),
    "random numbers": (lambda self, n, h: torch.rand_like(n), "uses rand_like"),
    "dropout": (lambda self, n, h: F.dropout(n), "uses dropout"),
    "a tensor of its own": (lambda self, n, h: n * CONSTANT, "neither a parameter nor a state"),
    "its own first": (lambda self, n, h: CONSTANT * n, "neither a parameter nor a state"),
    "a branch": (lambda self, n, h: n if n.sum() > 0 else h, "another dimension"),
    "a branch on a mask": (lambda self, n, h: n if (n > 0) else h, "branches"),
    "a number taken out": (lambda self, n, h: h * float(n), "takes a number out"),
    "an item": (lambda self, n, h: h * n.item(), "uses item"),
    "iteration": (lambda self, n, h: sum(x for x in n), "iterates"),
    "the batch size": (lambda self, n, h: n / n.shape[0], "number of rows"),
    "over the batch": (lambda self, n, h: n - n.mean(0, keepdim=True), "another dimension"),
    "over all": (lambda self, n, h: n - n.mean(), "another dimension"),
    "without keepdim": (lambda self, n, h: n - n.mean(-1), "keepdim=True"),
    "matrix arithmetic": (lambda self, n, h: F.linear(h, self.weight_hh * 2), "matrix weight_hh"),
    "a transposed product": (lambda self, n, h: h @ self.weight_hh, "otherwise than as F.linear"),
    "the input's weight": (lambda self, n, h: F.linear(h, self.weight_ih), "input alone"),
    "a slice": (lambda self, n, h: n[:, :2], "not a block of units"),
    "one unit": (lambda self, n, h: n[:, 0], "not a block of units"),
    "a roll": (lambda self, n, h: n.roll(1, -1), "uses roll"),
    "concatenation": (lambda self, n, h: torch.cat([n, h], -1), "uses cat"),
    "a cut": (lambda self, n, h: n.chunk(2, -1)[0], "cuts 1 blocks"),
    "a power": (lambda self, n, h: n**1.5, "power 1.5"),
    "a power of two": (lambda self, n, h: 2**n, "power"),
    "another softplus": (lambda self, n, h: F.softplus(n, beta=2), "beta"),
    "norm over less": (lambda self, n, h: F.layer_norm(n, (2,)), "more than the units"),
    "a vector as result": (lambda self, n, h: self.bias_ih, "is not"),
    "a number as result": (lambda self, n, h: 0.0, "float"),
    "a row as result": (lambda self, n, h: n.mean(-1, keepdim=True), "is not"),
    "a tensor as result": (lambda self, n, h: torch.zeros(2, 4), "neither a parameter"),
    "where without mask": (lambda self, n, h: torch.where(n, n, h), "no comparison"),
    "not without mask": (lambda self, n, h: n * ~h, "no comparison"),
    "an error": (lambda self, n, h: n + self.missing, "missing"),
    "a type": (lambda self, n, h: n + "a", "calculates with a str"),
    "a wrong argument": (lambda self, n, h: torch.sigmoid(n, out=h), "out"),
    "another gate": (lambda self, n, h: n.recurrent.input, "input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_program_expresses_is_refused_with_a_reason(name: str) -> None:
    step, reason = REFUSED[name]
    with pytest.raises(Untraceable, match=reason) as caught:
        trace(cell_with(step))
    assert "\n" not in str(caught.value)


def test_buffers_are_refused() -> None:
    cell = cell_with(lambda self, n, h: n * self.scale)
    cell.register_buffer("scale", torch.ones(4))
    with pytest.raises(Untraceable, match="neither a parameter"):
        trace(cell)


def test_parameters_of_three_dimensions_are_refused() -> None:
    cell = cell_with(lambda self, n, h: n)
    cell.cube = nn.Parameter(torch.ones(2, 2, 2))
    with pytest.raises(Untraceable, match="3 dimensions"):
        trace(cell)


class Other(Cell):
    """A cell of another kind."""

    input_size, hidden_size, output_size = 3, 4, 4


def test_other_cells_are_refused() -> None:
    with pytest.raises(Untraceable, match="no GatedCell"):
        trace(Other())


@pytest.mark.parametrize("method", ["forward", "advance", "project_input", "_gates"])
def test_cells_with_ways_of_their_own_are_refused(method: str) -> None:
    def own(self: Any, *args: Any) -> Any:
        return getattr(GatedCell, method)(self, *args)

    with pytest.raises(Untraceable, match=method):
        trace(cell_with(lambda self, n, h: n, **{method: own}))


class Matrix(NamedTuple):
    h: Tensor
    m: Tensor


def test_states_of_matrices_are_refused() -> None:
    def initial_state(self: Any, batch_size: int, **options: Any) -> Any:
        h = GatedCell.initial_state(self, batch_size, **options)[0]
        return Matrix(h, h[:, :, None] * h[:, None])

    own = {"State": Matrix, "initial_state": initial_state}
    with pytest.raises(Untraceable, match=r"m is not \[rows, units\]"):
        trace(cell_with(lambda self, n, h: n, **own))


def test_equal_cells_give_equal_programs() -> None:
    for make in (LSTM, GRU, Elman):
        first, second = trace(make(3, 4)), trace(make(5, 9))
        assert first == second
        assert first.to_json() == second.to_json()
        assert first.hash == second.hash
        assert len(first.hash) == 64
    assert trace(Jordan(3, 4, decay=0.5)).hash != trace(Jordan(3, 4, decay=0.25)).hash
    assert trace(Jordan(3, 4, output_size=2)).sizes == ("H", "O")
    assert trace(LSTM(3, 4), zoneout=True).hash != trace(LSTM(3, 4)).hash


def test_the_names_of_parameters_are_in_order() -> None:
    signature = trace(LSTM(3, 4, peepholes=True, projection_size=2)).signature
    assert [m.name for m in signature.matrices] == ["weight_ih", "weight_hh", "weight_hr"]
    peepholes = ["peephole_i", "peephole_f", "peephole_o"]
    assert [v.name for v in signature.vectors] == ["bias_ih", "bias_hh", *peepholes]
    assert [f.name for f in trace(LSTM(3, 4), zoneout=True).signature.externs] == [
        "zoneout_h",
        "zoneout_c",
    ]


def test_shared_parameters_keep_their_names() -> None:
    cell = GRU(4, 4)
    tensors = dict(cell.named_parameters())
    tensors["weight_hh"] = tensors["weight_ih"]
    assert trace(cell.bind(tensors)) == trace(cell)


def test_the_mask_is_given_not_read() -> None:
    cell = LSTM(3, 4).with_recurrent_mask(torch.full((2, 4), float("nan")))
    program = trace(cell, zoneout=True)
    names = [f.name for f in program.signature.externs]
    assert names == ["recurrent_mask", "zoneout_h", "zoneout_c"]


def test_gradients_that_are_switched_off_stay_off() -> None:
    def step(self: Any, n: Any, h: Any) -> Any:
        with torch.no_grad():
            scale = torch.sigmoid(n)
        return h * scale

    def detached(self: Any, n: Any, h: Any) -> Any:
        return h * torch.sigmoid(n).detach()

    assert trace(cell_with(step)) == trace(cell_with(detached))
    assert "stop" in [node.op for node in trace(cell_with(step)).nodes]


def test_plan_refuses_missing_sizes() -> None:
    program = trace(Jordan(3, 4, output_size=2))
    for sizes in ({"H": 4}, {"H": 4, "O": 0}, {"H": 4, "O": "2"}):
        with pytest.raises(ValueError, match="size O"):
            plan(program, sizes, training=True)  # type: ignore[arg-type]


def test_a_program_has_no_torch_in_it() -> None:
    program = trace(LSTM(3, 4))

    def types(value: Any) -> set[type]:
        found = {type(value)}
        if isinstance(value, tuple):
            found |= {t for item in value for t in types(item)}
        elif hasattr(value, "__dataclass_fields__"):
            found |= {t for f in value.__dataclass_fields__ for t in types(getattr(value, f))}
        return found

    assert not [t for t in types(program) if t.__module__.startswith("torch")]
    assert isinstance(program, Program)
