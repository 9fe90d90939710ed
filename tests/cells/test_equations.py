"""Numbers worked by hand from each paper's equations, one unit, one or two steps."""

from __future__ import annotations

import math

import pytest
import torch

from unrolled.cells import CELLS, GRU, LSTM, Elman, Jordan, LSTMState, cell_named


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_unit(cell: torch.nn.Module, **weights: list[float]) -> torch.nn.Module:
    cell.double()
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.zero_()
            if name in weights:
                parameter.copy_(
                    torch.tensor(weights[name], dtype=torch.float64).reshape(parameter.shape)
                )
    return cell


X = torch.tensor([[2.0]], dtype=torch.float64)


def test_elman_sigmoid_is_the_reviews_equation() -> None:
    cell = one_unit(
        Elman(1, 1, activation="sigmoid"), weight_ih=[0.5], weight_hh=[-1.0], bias_ih=[0.1]
    )
    _, state = cell(X, cell.initial_state(1))
    h1 = sigmoid(0.5 * 2 + 0.1)
    assert state.h.item() == pytest.approx(h1, abs=1e-12)
    assert cell(X, state)[0].item() == pytest.approx(sigmoid(1.1 - h1), abs=1e-12)


def test_jordan_feeds_back_its_output_through_context_units() -> None:
    cell = one_unit(
        Jordan(1, 1, decay=0.5), weight_ih=[1.0], weight_hh=[0.7], weight_yh=[3.0], bias_y=[-1.0]
    )
    y1, state = cell(X, cell.initial_state(1))
    first = 3 * sigmoid(2.0) - 1
    assert y1.item() == pytest.approx(first, abs=1e-12)
    y2, state = cell(X, state)
    s2 = first
    second = 3 * sigmoid(2 + 0.7 * s2) - 1
    assert y2.item() == pytest.approx(second, abs=1e-12)
    s3 = 0.5 * s2 + second
    assert cell(X, state)[0].item() == pytest.approx(3 * sigmoid(2 + 0.7 * s3) - 1, abs=1e-12)


def test_jordan_teacher_forcing_puts_the_target_in_place_of_the_output() -> None:
    cell = Jordan(1, 4, output_size=2)
    state = cell(torch.ones(3, 1), cell.initial_state(3))[1]
    target = torch.full((3, 2), 9.0)
    assert torch.equal(cell.force(state, target).y, target)
    with pytest.raises(ValueError, match="does not feed its output back"):
        LSTM(1, 1).force(state, target)


def test_lstm_1997_only_adds_and_squashes_as_published() -> None:
    cell = one_unit(cell_named("lstm-1997")(1, 1), weight_ih=[0.3, 0.4, 0.5])
    start = LSTMState(h=torch.zeros(1, 1).double(), c=torch.full((1, 1), 0.25, dtype=torch.float64))
    h, state = cell(X, start)
    c = 0.25 + sigmoid(0.6) * (4 * sigmoid(0.8) - 2)
    assert state.c.item() == pytest.approx(c, abs=1e-12)
    assert h.item() == pytest.approx(sigmoid(1.0) * (2 * sigmoid(c) - 1), abs=1e-12)


def test_lstm_peepholes_see_the_cell_before_and_the_output_gate_after() -> None:
    cell = one_unit(
        LSTM(1, 1, peepholes=True),
        weight_ih=[0.1, 0.2, 0.3, 0.4],
        peephole_i=[0.5],
        peephole_f=[-0.6],
        peephole_o=[0.7],
    )
    start = LSTMState(h=torch.zeros(1, 1).double(), c=torch.full((1, 1), 0.8, dtype=torch.float64))
    h, state = cell(X, start)
    c = sigmoid(0.4 - 0.48) * 0.8 + sigmoid(0.2 + 0.4) * math.tanh(0.6)
    assert state.c.item() == pytest.approx(c, abs=1e-12)
    assert h.item() == pytest.approx(sigmoid(0.8 + 0.7 * c) * math.tanh(c), abs=1e-12)


def test_closed_gates_trap_the_state() -> None:
    """Review, section 3.3.1: with both gates closed the state neither grows nor shrinks nor shows."""
    cell = one_unit(cell_named("lstm-1997")(1, 1), bias_ih=[-50.0, 3.0, -50.0])
    start = LSTMState(h=torch.zeros(1, 1).double(), c=torch.full((1, 1), 0.75, dtype=torch.float64))
    state = start
    for _ in range(1000):
        h, state = cell(X, state)
        assert abs(h.item()) < 1e-20
    assert state.c.item() == pytest.approx(0.75, abs=1e-15)


def test_lstm_coupled_forgets_what_it_does_not_write() -> None:
    cell = one_unit(LSTM(1, 1, coupled=True), weight_ih=[0.1, 0.3, 0.4])
    start = LSTMState(h=torch.zeros(1, 1).double(), c=torch.full((1, 1), 0.8, dtype=torch.float64))
    _, state = cell(X, start)
    i = sigmoid(0.2)
    assert state.c.item() == pytest.approx((1 - i) * 0.8 + i * math.tanh(0.6), abs=1e-12)


def test_the_reviews_lstm_outputs_the_cell_times_the_gate() -> None:
    cell = one_unit(cell_named("lstm-review")(1, 1), weight_ih=[0.1, 0.2, 0.3, 0.4])
    h, state = cell(X, cell.initial_state(1))
    assert state.c.item() == pytest.approx(sigmoid(0.2) * math.tanh(0.6), abs=1e-12)
    assert h.item() == pytest.approx(sigmoid(0.8) * state.c.item(), abs=1e-12)


def test_gru_resets_before_the_product_as_published() -> None:
    cell = one_unit(GRU(1, 1, reset_after=False), weight_ih=[0.1, 0.2, 0.3], weight_hn=[2.0])
    state = cell.State(torch.full((1, 1), 0.5, dtype=torch.float64))
    h, _ = cell(X, state)
    r, z = sigmoid(0.2), sigmoid(0.4)
    n = math.tanh(0.6 + 2 * r * 0.5)
    assert h.item() == pytest.approx((1 - z) * n + z * 0.5, abs=1e-12)


def test_forget_bias_starts_where_asked() -> None:
    cell = LSTM(2, 3, forget_bias=1.5)
    assert cell.bias_ih[3:6].tolist() == [1.5] * 3
    assert cell.bias_hh[3:6].tolist() == [0.0] * 3


def test_orthogonal_and_identity_starts() -> None:
    weight = Elman(2, 4, recurrent_init="orthogonal").weight_hh
    assert torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-6)
    assert torch.equal(cell_named("irnn")(2, 4).weight_hh, torch.eye(4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LSTM(0, 1), "input_size must be at least 1"),
        (lambda: LSTM(1, 2, projection_size=2), "below hidden_size"),
        (lambda: LSTM(1, 1, coupled=True, forget_gate=False), "coupled"),
        (lambda: LSTM(1, 1, coupled=True, forget_bias=1.0), "forget gate"),
        (lambda: LSTM(1, 1, input_activation="swish"), "choose one of tanh"),
        (lambda: Elman(1, 1, recurrent_init="zero"), "recurrent_init"),
        (lambda: Jordan(1, 1, decay=1.0), "decay"),
        (lambda: cell_named("lstn"), "the cells are elman"),
    ],
)
def test_bad_values_are_named(build, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


def test_an_undeclared_gate_is_named() -> None:
    class Wrong(LSTM):
        def step(self, gate, prev):  # type: ignore[no-untyped-def]
            return gate.q

    cell = Wrong(1, 1)
    with pytest.raises(AttributeError, match="no gate 'q'; its gates are i, f, g, o"):
        cell(torch.zeros(1, 1), cell.initial_state(1))


def test_table_names_are_documented() -> None:
    from unrolled.cells import describe

    assert all(describe(factory) for factory in CELLS.values())
