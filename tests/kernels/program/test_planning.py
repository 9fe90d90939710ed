"""What plans decide: stages, what is kept, where it lies, how it is encoded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from against_loop import prepare
from own_cells import CELLS as OWN
from own_cells import LeakyVector, Temperature, Wide

from unrolled.cells import CELLS, GRU, LSTM, Elman
from unrolled.kernels.program import Plan, explain_program, hoist, plan, sizes_of, trace
from unrolled.kernels.program.planes import BINDINGS, KINDS, OPS, TEMPS


def planned(cell: Any, *, training: bool = True) -> Plan:
    return plan(trace(cell), sizes_of(cell), training=training)


def count(made: Plan, kind: str) -> int:
    return sum(plane.kind == kind for plane in made.planes)


def operations(stages: Any) -> list[str]:
    return [code.op for stage in stages for program in stage.programs for code in program.code]


def test_lstm_for_training() -> None:
    made = planned(LSTM(3, 4))
    assert (len(made.forward), len(made.backward)) == (1, 2)
    (product,) = made.forward[0].products
    gates = [gate for gate, _ in made.gates]
    assert product.blocks == (0, 1, 2, 3)
    assert [(o.to.plane, o.init, o.start.plane) for o in product.outputs] == [
        (gate, 1, gate) for gate in gates
    ]
    assert [len(biases) for _, biases in made.gates] == [2, 2, 2, 2]
    assert count(made, "saved") == 1  # tanh(c); the gates lie in their own planes
    assert count(made, "step") == 0
    assert count(made, "grad") == 4
    assert sorted(operations(made.forward)) == sorted(
        ["sigmoid"] * 3 + ["tanh"] * 2 + ["mul", "fma", "mul"]
    )
    first, second = made.backward
    assert not first.products
    assert not second.programs
    (back,) = second.products
    assert back.transposed
    assert back.outputs[0].init == 0
    assert made.planes[back.outputs[0].to.plane].kind == "carry"


def test_lstm_for_inference() -> None:
    made = planned(LSTM(3, 4), training=False)
    assert made.backward == ()
    assert count(made, "saved") == 0
    assert count(made, "step") == 0
    assert made.states == tuple((state, -1) for state, _ in made.states)


def test_gru_for_training() -> None:
    made = planned(GRU(3, 4))
    assert (len(made.forward), len(made.backward)) == (1, 2)
    assert count(made, "saved") == 1  # the recurrent part of n
    assert "lerp" in operations(made.forward)
    (back,) = made.backward[1].products
    (output,) = back.outputs
    assert output.init == 1
    assert output.start == output.to
    assert made.planes[output.to.plane].kind == "carry"


def test_elman_keeps_nothing_but_its_state() -> None:
    made = planned(Elman(3, 4))
    assert {plane.kind for plane in made.planes} == {
        "gate",
        "vector",
        "state",
        "grad",
        "carry",
        "dy",
    }
    assert operations(made.forward) == ["tanh"]
    assert operations(made.backward) == ["add", "dtanh"]


def test_nothing_dear_is_computed_again() -> None:
    dear = {"sigmoid", "tanh", "exp", "log", "log1p", "sqrt", "rsqrt", "softplus"}
    for name, make in CELLS.items():
        if name not in ("mlstm", "slstm"):  # softplus' derivative is a new sigmoid
            assert not dear & set(operations(planned(make(3, 4)).backward)), name


@pytest.mark.parametrize("name", OWN)
def test_encoding_can_be_read_again(name: str) -> None:
    for training in (False, True):
        made = planned(OWN[name](3, 5), training=training)
        ints, floats = made.encode()
        assert decode(ints, floats) == made


def test_a_large_step_is_cut() -> None:
    made = planned(Wide(3, 4))
    programs = [p for s in (*made.forward, *made.backward) for p in s.programs]
    assert len(made.forward) == 1
    assert len(programs) > 4
    assert all(len(p.bindings) <= BINDINGS and p.temps <= TEMPS for p in programs)


def test_hoisted_vectors_have_gradients() -> None:
    cell = prepare(LeakyVector(3, 4))
    program = trace(cell)
    parameters = dict(cell.named_parameters())
    hoisted = hoist(program, parameters)
    assert [tuple(h.shape) for h in hoisted] == [(4,)] * len(program.hoisted)
    a = torch.sigmoid(cell.rate) * cell.floor.abs().clamp(max=0.5)
    expected = [1 - a, a, a * cell.floor.mean()]
    for want in expected:
        assert any(torch.allclose(want, got) for got in hoisted)
    found = torch.autograd.grad(sum(h.sum() for h in hoisted), [cell.rate, cell.floor])
    wanted = torch.autograd.grad(sum(e.sum() for e in expected), [cell.rate, cell.floor])
    for got, want in zip(found, wanted, strict=True):
        assert torch.allclose(got, want)


def test_a_number_as_parameter_is_hoisted_as_a_vector() -> None:
    cell = Temperature(3, 4)
    hoisted = hoist(trace(cell), dict(cell.named_parameters()))
    assert hoisted
    assert all(h.shape == (4,) for h in hoisted)
    assert hoist(trace(LSTM(3, 4)), {}) == []


def test_explaining_names_values_stages_and_costs() -> None:
    text = explain_program(LSTM(3, 256))
    assert "sigmoid" in text
    assert "weight_hh" in text
    assert "forward, 1 stage" in text
    assert "backward, 2 stages" in text
    assert f"forward: products {2 * 4 * 256 * (256 + 3)}" in text
    assert "kept per step and row: 7168 bytes" in text
    for name, make in CELLS.items():
        if name != "mlstm":
            assert "operations per step and row" in explain_program(make(3, 4))


def decode(ints: list[int], floats: list[float]) -> Plan:
    """The plan that was encoded, read as the engine reads it."""
    from unrolled.kernels.program import planes as p

    stream, numbers = iter(ints), iter(floats)

    def take(n: int) -> list[int]:
        return [next(stream) for _ in range(n)]

    def many(read: Any) -> tuple[Any, ...]:
        return tuple(read() for _ in range(next(stream)))

    def operand() -> p.Operand:
        return p.Operand(*take(2))

    def output() -> p.Output:
        return p.Output(operand(), next(stream), operand())

    def product() -> p.Product:
        weight, transposed, size = take(3)
        blocks = many(lambda: next(stream))
        return p.Product(weight, bool(transposed), size, blocks, many(operand), many(output))

    def reduction() -> p.Reduction:
        return p.Reduction(p.REDUCTION_OPS[next(stream)], operand(), operand())

    def code() -> p.Code:
        op, *registers = take(5)
        return p.Code(OPS[op], *registers, next(numbers))

    def program() -> p.PointwiseProgram:
        size, bindings, temps = next(stream), many(operand), next(stream)
        return p.PointwiseProgram(size, bindings, temps, many(code))

    def stage() -> p.PlanStage:
        return p.PlanStage(many(product), many(reduction), many(program))

    version, training = take(2)
    assert version == 1
    sizes = many(lambda: next(stream))
    planes = many(lambda: p.Plane(KINDS[next(stream)], *take(3)))
    gates = many(lambda: (next(stream), many(lambda: next(stream))))
    states = many(lambda: tuple(take(2)))
    dy = next(stream)
    made = Plan(
        training=bool(training),
        sizes=sizes,
        planes=planes,
        gates=gates,
        states=states,
        dy=dy,
        forward=many(stage),
        backward=many(stage),
        gate_gradients=many(lambda: next(stream)),
        weight_gradients=many(lambda: p.WeightGradient(*take(4), operand())),
        vector_gradients=many(lambda: p.VectorGradient(*take(3))),
    )
    assert next(stream, None) is None
    assert next(numbers, None) is None
    return made
