"""Numbers worked by hand from the papers of the units after LSTM and GRU."""

from __future__ import annotations

import math
from math import exp, sqrt, tanh

import numpy as np
import pytest
import torch

from unrolled.cells import LSTMState, cell_named
from unrolled.cells.xlstm import MLSTM, SLSTM, MLSTMState, SLSTMState
from unrolled.state import leaves


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_unit(name: str, weights: dict[str, list[float]], **options: object) -> torch.nn.Module:
    """The cell with one input and one unit, its parameters zero but for those given."""
    cell = cell_named(name)(1, 1, **options).double()
    with torch.no_grad():
        for own, parameter in cell.named_parameters():
            parameter.zero_()
            if own in weights:
                parameter.copy_(
                    torch.tensor(weights.pop(own), dtype=torch.float64).reshape(parameter.shape)
                )
    assert not weights, f"no parameters {list(weights)}"
    return cell


def column(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


X, H = column(2.0), 0.5  # the input, and the output of the step before


def test_mut1_by_hand() -> None:
    cell = one_unit(
        "mut1",
        {
            "weight_ih": [0.1, 0.2, 0.3],
            "bias_ih": [0.05, 0.0, 0.0],
            "weight_hh": [0.7],
            "weight_hn": [1.5],
            "bias_n": [-0.25],
        },
    )
    h, _ = cell(X, cell.State(column(H)))
    z, r = sigmoid(0.2 + 0.05), sigmoid(0.4 + 0.7 * H)
    n = tanh(1.5 * r * H + tanh(0.6) - 0.25)
    assert h.item() == pytest.approx(n * z + H * (1 - z), abs=1e-12)


def test_mut2_by_hand() -> None:
    weights = {"weight_ih": [0.1, 1.0, 0.3], "weight_hh": [-0.4, 0.7], "weight_hn": [1.5]}
    cell = one_unit("mut2", weights)
    h, _ = cell(X, cell.State(column(H)))
    z, r = sigmoid(0.2 - 0.4 * H), sigmoid(2.0 + 0.7 * H)
    n = tanh(1.5 * r * H + 0.6)
    assert h.item() == pytest.approx(n * z + H * (1 - z), abs=1e-12)


def test_mut3_by_hand() -> None:
    weights = {"weight_ih": [0.1, 0.2, 0.3], "weight_hh": [0.7]}
    cell = one_unit("mut3", weights | {"weight_hz": [-0.4], "weight_hn": [1.5]})
    h, _ = cell(X, cell.State(column(H)))
    z, r = sigmoid(0.2 - 0.4 * tanh(H)), sigmoid(0.4 + 0.7 * H)
    n = tanh(1.5 * r * H + 0.6)
    assert h.item() == pytest.approx(n * z + H * (1 - z), abs=1e-12)


def test_indrnn_by_hand() -> None:
    cell = one_unit("indrnn", {"weight_ih": [0.3], "bias_ih": [0.1], "u": [-0.8]})
    h, _ = cell(X, cell.State(column(H)))
    assert h.item() == pytest.approx(0.6 + 0.1 - 0.8 * H, abs=1e-12)
    assert cell(-X, cell.State(column(H)))[0].item() == 0.0


def test_indrnn_starts_within_what_its_length_allows() -> None:
    torch.manual_seed(0)
    u = cell_named("indrnn")(2, 1000, time_steps=2).u.detach()
    assert 0 <= float(u.min()) < 0.05
    assert 1.35 < float(u.max()) <= sqrt(2)
    u = cell_named("indrnn")(2, 1000).u.detach()
    assert 0.95 < float(u.max()) <= 1


def test_multiplicative_rnn_by_hand() -> None:
    weights = {"weight_ih": [0.4, 0.3], "weight_hh": [-0.6], "weight_hm": [1.5]}
    cell = one_unit("multiplicative-rnn", weights | {"bias_ih": [0.0, 0.1]})
    h, _ = cell(X, cell.State(column(H)))
    m = (0.4 * 2) * (-0.6 * H)
    assert h.item() == pytest.approx(tanh(0.6 + 0.1 + 1.5 * m), abs=1e-12)


def test_multiplicative_lstm_by_hand() -> None:
    weights = {"weight_ih": [0.9, 0.1, 0.2, 0.3, 0.4], "weight_hh": [-0.6]}
    cell = one_unit("multiplicative-lstm", weights | {"weight_hm": [1.0, -2.0, 3.0, 0.5]})
    h, state = cell(X, LSTMState(h=column(H), c=column(0.8)))
    m = (0.9 * 2) * (-0.6 * H)
    i, f, o = sigmoid(0.2 + m), sigmoid(0.4 - 2 * m), sigmoid(0.8 + 0.5 * m)
    c = f * 0.8 + i * tanh(0.6 + 3 * m)
    assert state.c.item() == pytest.approx(c, abs=1e-12)
    assert h.item() == pytest.approx(o * tanh(c), abs=1e-12)


def test_multiplicative_factors_start_without_biases() -> None:
    cell = cell_named("multiplicative-lstm")(3, 4)
    assert not cell.bias_ih[:4].any()
    assert not cell.bias_hh.any()
    assert cell.bias_ih[4:].all()


def test_mingru_by_hand() -> None:
    weights = {"weight_ih": [0.1, -0.3], "bias_ih": [0.2, 0.0]}
    cell = one_unit("mingru", dict(weights))
    h, _ = cell(X, cell.State(column(H)))
    z = sigmoid(0.4)
    assert h.item() == pytest.approx((1 - z) * H - z * 0.6, abs=1e-12)
    positive = one_unit("mingru", dict(weights), candidate="positive")
    h, _ = positive(X, cell.State(column(H)))
    assert h.item() == pytest.approx((1 - z) * H + z * sigmoid(-0.6), abs=1e-12)
    h, _ = positive(-X, cell.State(column(H)))
    assert h.item() == pytest.approx(H / 2 + (0.6 + 0.5) / 2, abs=1e-12)  # z = sigmoid(0)


def test_minlstm_by_hand() -> None:
    cell = one_unit("minlstm", {"weight_ih": [0.1, -0.2, 0.3]})
    h, _ = cell(X, cell.State(column(H)))
    f, i = sigmoid(0.2), sigmoid(-0.4)
    assert h.item() == pytest.approx((f * H + i * 0.6) / (f + i), abs=1e-12)


def test_sru_by_hand() -> None:
    weights = {"weight_ih": [0.5, 0.1, 0.2, 1.7], "bias_ih": [0.0, 0.1, -0.1, 0.0]}
    cell = one_unit("sru", weights | {"v_f": [0.6], "v_r": [-0.9]})
    h, state = cell(X, cell.State(h=column(99.0), c=column(0.8)))
    f, r = sigmoid(0.2 + 0.6 * 0.8 + 0.1), sigmoid(0.4 - 0.9 * 0.8 - 0.1)
    c = f * 0.8 + (1 - f) * 1.0
    assert state.c.item() == pytest.approx(c, abs=1e-12)
    assert h.item() == pytest.approx(r * c + (1 - r) * 1.7 * 2, abs=1e-12)


def test_sru_passes_on_its_input_scaled() -> None:
    cell = cell_named("sru")(3, 3, highway_bias=-2.0)
    assert torch.allclose(cell.weight_ih[9:], sqrt(1 + 2 * exp(-2)) * torch.eye(3))
    assert cell.bias_ih[6:9].tolist() == [-2.0] * 3
    assert not cell.bias_ih[:6].any()
    with pytest.raises(ValueError, match="highway_bias needs a bias"):
        cell_named("sru")(3, 3, highway_bias=-2.0, bias=False)


def test_layer_norm_lstm_normalises_each_product_as_one_row() -> None:
    torch.manual_seed(0)
    cell = cell_named("lstm-layer-norm")(3, 5).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    x, h, c = (torch.randn(2, n, dtype=torch.float64) for n in (3, 5, 5))
    output, state = cell(x, LSTMState(h=h, c=c))

    def norm(z: torch.Tensor) -> torch.Tensor:
        deviation = (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return (z - z.mean(-1, keepdim=True)) / deviation

    def row(prefix: str) -> torch.Tensor:
        return torch.cat([getattr(cell, prefix + name) for name in "ifgo"])

    a = row("gain_hh_") * norm(h @ cell.weight_hh.T) + row("gain_ih_") * norm(x @ cell.weight_ih.T)
    i, f, g, o = (a + row("bias_")).chunk(4, -1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    torch.testing.assert_close(state.c, new)
    shown = (cell.gain_c * norm(new) + cell.bias_c).tanh()
    torch.testing.assert_close(output, o.sigmoid() * shown)
    bare = cell_named("lstm-layer-norm")(3, 5, bias=False)
    assert not any(name.startswith("bias") for name, _ in bare.named_parameters())


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
def test_slstm_is_the_equations_without_the_stabiliser(forget_gate: str) -> None:
    torch.manual_seed(0)
    cell = SLSTM(3, 4, forget_gate=forget_gate).double()  # type: ignore[arg-type]
    xs = torch.randn(6, 2, 3, dtype=torch.float64)
    state = cell.initial_state(2)
    h = c = n = torch.zeros(2, 4, dtype=torch.float64)
    for x in xs:
        output, state = cell(x, state)
        a = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        i, f, z, o = a.chunk(4, -1)
        f = f.exp() if forget_gate == "exponential" else f.sigmoid()
        c = f * c + i.exp() * z.tanh()
        n = f * n + i.exp()
        h = o.sigmoid() * c / n
        torch.testing.assert_close(output, h)
        torch.testing.assert_close(state.n * state.m.exp(), n)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
def test_mlstm_is_the_equations_without_the_stabiliser(heads: int, forget_gate: str) -> None:
    torch.manual_seed(0)
    cell = MLSTM(3, 4, num_heads=heads, forget_gate=forget_gate)  # type: ignore[arg-type]
    cell.double()
    xs = 3 * torch.randn(6, 1, 3, dtype=torch.float64)
    state, size = cell.initial_state(1), 4 // heads
    weight, bias = (p.detach().numpy() for p in (cell.weight_ih, cell.bias_ih))
    C = np.zeros((heads, size, size))
    n = np.zeros((heads, size))
    for x in xs:
        output, state = cell(x, state)
        a = weight @ x[0].numpy() + bias
        q, k, v, o = (a[4 * j : 4 * j + 4].reshape(heads, size) for j in range(4))
        k = k / sqrt(size)
        for head in range(heads):
            i, f = exp(a[16 + head]), a[16 + heads + head]
            f = exp(f) if forget_gate == "exponential" else sigmoid(f)
            C[head] = f * C[head] + i * np.outer(v[head], k[head])
            n[head] = f * n[head] + i * k[head]
            read = C[head] @ q[head] / max(abs(n[head] @ q[head]), 1.0)
            expected = read / (1 + np.exp(-o[head]))
            found = output[0, head * size : (head + 1) * size].detach().numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["slstm", "mlstm"])
@pytest.mark.parametrize("size", [30.0, 3000.0])
def test_xlstm_stays_finite_where_exponentials_do_not(name: str, size: float) -> None:
    torch.manual_seed(0)
    cell = cell_named(name)(2, 3, forget_gate="exponential")
    state = cell.initial_state(4)
    total = torch.zeros(())
    for x in size * torch.randn(8, 4, 2):
        output, state = cell(x, state)
        total = total + output.sum()
        assert all(bool(leaf.isfinite().all()) for leaf in (output, *leaves(state)))
    gradients = torch.autograd.grad(total, list(cell.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_xlstm_that_never_writes_reads_nothing() -> None:
    """An input gate below the smallest number from the first step on: zero, not 0/0."""
    slstm = one_unit("slstm", {"bias_ih": [-1e5, 0.0, 1.0, 1.0]}).float()
    mlstm = one_unit("mlstm", {"bias_ih": [1.0, 1.0, 1.0, 0.0, -1e5, 0.0]}).float()
    for cell in (slstm, mlstm):
        state = cell.initial_state(1)
        for _ in range(200):
            output, state = cell(X.float(), state)
        gradients = torch.autograd.grad(output.sum(), list(cell.parameters()), allow_unused=True)
        assert output.item() == 0
        assert all(g is None or bool(g.isfinite().all()) for g in gradients)


def test_the_stabiliser_of_an_empty_memory_does_not_matter() -> None:
    torch.manual_seed(0)
    slstm, mlstm = SLSTM(3, 4).double(), MLSTM(3, 4).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    for cell in (slstm, mlstm):
        start: SLSTMState | MLSTMState = cell.initial_state(2)
        output, _ = cell(x, start)
        for m in (-3.0, 7.0, -1e9):
            moved = start._replace(m=torch.full_like(start.m, m))
            torch.testing.assert_close(cell(x, moved)[0], output)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("indrnn", {"time_steps": 0}, "time_steps must be at least 1"),
        ("indrnn", {"activation": "swish"}, "no activation 'swish'"),
        ("mingru", {"candidate": "log"}, "no activation 'log'"),
        ("slstm", {"forget_gate": "exp"}, "'sigmoid' or 'exponential', not 'exp'"),
        ("mlstm", {"forget_gate": "exp"}, "'sigmoid' or 'exponential', not 'exp'"),
        ("mlstm", {"num_heads": 3}, "num_heads must divide hidden_size 4"),
        ("lstm-layer-norm", {"epsilon": 0.0}, "epsilon must be above 0"),
    ],
)
def test_bad_values_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell_named(name)(3, 4, **options)
    with pytest.raises(ValueError, match="at least 1"):
        cell_named(name)(0, 4)


@pytest.mark.parametrize("name", ["lstm-layer-norm", "mut1", "mlstm", "slstm", "indrnn", "sru"])
def test_every_cell_goes_without_biases(name: str) -> None:
    cell = cell_named(name)(3, 4, bias=False)
    assert cell(torch.randn(2, 3), cell.initial_state(2))[0].shape == (2, 4)
    assert not any(own.startswith("bias") for own, _ in cell.named_parameters())
