"""Contracts that every cell of the table keeps; a new cell is tested here without a line of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unrolled
from unrolled import kernels
from unrolled.cells import CELLS
from unrolled.layers import Recurrent
from unrolled.state import leaves, map_state, select

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
TORCH = {"elman": (nn.RNN, {}), "lstm": (nn.LSTM, {}), "gru": (nn.GRU, {})}
cells = pytest.mark.parametrize("name", CELLS)
I, H, B, T = 3, 5, 4, 7  # noqa: E741 (the field's names)


def close(a: torch.Tensor, b: torch.Tensor, *, factor: float = 1.0) -> None:
    """max|a - b| / max|b| within the tolerance of the dtype."""
    assert a.shape == b.shape
    scale = max(float(b.detach().abs().max()) if b.numel() else 0.0, 1e-30)
    error = float((a - b).detach().abs().max()) / scale if b.numel() else 0.0
    assert error <= factor * TOLERANCE[b.dtype], f"relative error {error:.2e}"


def layer_of(name: str, dtype: torch.dtype = torch.float64, **options: object) -> Recurrent:
    torch.manual_seed(1)
    return Recurrent(name, I, H, **options).to(dtype)  # type: ignore[arg-type]


def inputs(dtype: torch.dtype = torch.float64, steps: int = T) -> torch.Tensor:
    return torch.randn(steps, B, I, generator=torch.Generator().manual_seed(2), dtype=dtype)


def results(layer: nn.Module, x: torch.Tensor, **call: object) -> list[torch.Tensor]:
    """Output, final state and every gradient, of a loss that weights them all differently."""
    x = x.clone().requires_grad_()
    output, state = layer(x, **call)
    tensors = [output, *leaves(state)]
    generator = torch.Generator().manual_seed(3)
    loss = sum(
        (t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in tensors
    )
    gradients = torch.autograd.grad(loss, [x, *layer.parameters()])
    return [*tensors, *gradients]


@cells
def test_one_step_is_the_layer_of_one_step(name: str) -> None:
    layer = layer_of(name)
    x = inputs(steps=1)
    cell = layer.cells()[0]
    output, state = cell(x[0], cell.initial_state(B, dtype=torch.float64))
    whole, (final,) = layer(x)
    close(output, whole[0])
    for a, b in zip(leaves(state), leaves(final), strict=True):
        close(a, b)
    assert output.shape == (B, cell.output_size)


@cells
def test_chunks_equal_the_whole(name: str) -> None:
    layer = layer_of(name, num_layers=2)
    x = inputs()
    whole, final = layer(x)
    state, parts = None, []
    for chunk in x.split([1, 4, 2]):
        part, state = layer(chunk, state)
        parts.append(part)
    close(torch.cat(parts), whole)
    for a, b in zip(leaves(state), leaves(final), strict=True):
        close(a, b)


@cells
def test_a_session_equals_the_whole(name: str) -> None:
    layer = layer_of(name, num_layers=2)
    x = inputs()
    session = layer.session(B)
    close(torch.stack([session.step(x_t) for x_t in x]), layer(x)[0])


@cells
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(name: str, bidirectional: bool) -> None:
    layer = layer_of(name, bidirectional=bidirectional)
    lengths = torch.tensor([7, 3, 1, 5])
    x = inputs()
    for b, n in enumerate(lengths):
        x[n:, b] = float("nan")  # whatever it holds
    output, state = layer(x, lengths=lengths)
    for b, n in enumerate(lengths):
        alone, last = layer(x[:n, b : b + 1])
        close(output[:n, b : b + 1], alone)
        assert not output[n:, b].any()
        for a, e in zip(leaves(select(state, slice(b, b + 1))), leaves(last), strict=True):
            close(a, e)
    gradients = torch.autograd.grad(output.sum(), list(layer.parameters()), allow_unused=True)
    assert all(g is None or bool(torch.isfinite(g).all()) for g in gradients)


@cells
def test_every_executor_equals_the_loop(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        layer = layer_of(name, dtype, num_layers=2, bidirectional=True)
        for steps, lengths in ((1, None), (T, None), (T, torch.tensor([7, 3, 1, 5]))):
            x = inputs(dtype, steps)
            with kernels.use("loop"):
                expected = results(layer, x, lengths=lengths)
            for got, want in zip(results(layer, x, lengths=lengths), expected, strict=True):
                close(got, want, factor=5)


@cells
def test_every_executor_equals_the_loop_under_options(name: str) -> None:
    cell = CELLS[name](I, H)
    gated = isinstance(cell, unrolled.GatedCell)
    options = {
        "recurrent_dropout": 0.5 if cell.recurrent_size else 0.0,
        "weight_dropout": 0.5 if cell.recurrent_weights else 0.0,
        "zoneout": 0.5 if gated else 0.0,
        "learned_initial_state": gated,
        "bidirectional": True,
    }
    resets = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.3
    layer = layer_of(name, torch.float32, **options)
    recomputed = layer_of(name, torch.float32, recompute=True, **options)
    for call in ({}, {"resets": resets, "lengths": torch.tensor([7, 3, 1, 5])}):
        torch.manual_seed(5)  # of what is dropped
        with kernels.use("loop"):
            expected = results(layer, inputs(torch.float32), **call)
        for each in (layer, recomputed):
            torch.manual_seed(5)
            found = results(each, inputs(torch.float32), **call)
            for got, want in zip(found, expected, strict=True):
                close(got, want, factor=10)


@cells
def test_gradients_by_finite_differences(name: str) -> None:
    layer = layer_of(name)
    names = [n for n, _ in layer.named_parameters()]
    x = inputs(steps=3)[:, :2].requires_grad_()

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = dict(zip(names, parameters, strict=True))
        output, state = torch.func.functional_call(layer, values, (x,))
        return (output, *leaves(state))

    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    with kernels.use("loop"):
        assert torch.autograd.gradcheck(run, (x, *parameters))


@cells
def test_not_a_number_comes_out_as_one(name: str) -> None:
    layer = layer_of(name)
    x = inputs()
    x[2, 1] = float("nan")
    output, _ = layer(x)
    assert bool(torch.isfinite(output[:2]).all())
    assert bool(output[2, 1].isnan().any())
    assert bool(torch.isfinite(output[:, [0, 2, 3]]).all())


@cells
def test_no_steps_and_no_rows(name: str) -> None:
    layer = layer_of(name)
    output, state = layer(inputs(steps=0))
    assert output.shape == (0, B, layer.output_size)
    for a, b in zip(leaves(state), leaves(layer.initial_state(B)), strict=True):
        assert torch.equal(a, b)
    with kernels.use("loop"):
        assert layer(inputs()[:, :0])[0].shape == (T, 0, layer.output_size)


@cells
def test_vmap_and_forward_mode_go_through(name: str) -> None:
    layer = layer_of(name)
    x = inputs(steps=2)

    def scalar(x: torch.Tensor) -> torch.Tensor:
        return layer(x)[0].pow(2).sum()

    per_sample = torch.func.vmap(torch.func.grad(lambda row: scalar(row[:, None])), in_dims=1)(x)
    close(per_sample, torch.func.grad(scalar)(x).transpose(0, 1))
    _, tangent = torch.func.jvp(scalar, (x,), (torch.ones_like(x),))
    close(tangent, torch.func.grad(scalar)(x).sum(), factor=10)


@cells
def test_save_and_load_is_the_same(name: str) -> None:
    layer, other = layer_of(name), Recurrent(name, I, H).double()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(inputs())[0], other(inputs())[0])


@cells
def test_initial_state_can_be_given(name: str) -> None:
    layer = layer_of(name)
    start = map_state(lambda t: torch.randn_like(t), layer.initial_state(B))
    with kernels.use("loop"):
        expected = layer(inputs(), start)[0]
    close(layer(inputs(), start)[0], expected)
    with pytest.raises(ValueError, match="expected"):
        layer(inputs(), select(start, slice(0, 2)))


@cells
@pytest.mark.parametrize("bidirectional", [False, True])
def test_resets_equal_the_pieces(name: str, bidirectional: bool) -> None:
    layer = layer_of(name, bidirectional=bidirectional)
    x, resets = inputs(), torch.zeros(T, B, dtype=torch.bool)
    resets[3] = resets[5] = True
    output, state = layer(x, resets=resets)
    pieces = [layer(x[part])[0] for part in (slice(0, 3), slice(3, 5), slice(5, T))]
    close(output, torch.cat(pieces))
    ends = [layer(x[5:])[1][0], *([layer(x[:3])[1][1]] if bidirectional else [])]
    for a, b in zip(leaves(state), leaves(tuple(ends)), strict=True):
        close(a, b)


@cells
def test_recomputation_changes_nothing(name: str) -> None:
    plain = layer_of(name, bidirectional=True)
    layer = layer_of(name, bidirectional=True, recompute=True)
    for lengths in (None, torch.tensor([7, 3, 1, 5])):
        expected = results(plain, inputs(), lengths=lengths)
        for got, want in zip(results(layer, inputs(), lengths=lengths), expected, strict=True):
            close(got, want)


@cells
def test_all_states_end_in_the_last(name: str) -> None:
    layer = layer_of(name)
    output, (final,) = layer(inputs())
    (states,) = layer.states(inputs())
    close(states[0], output)
    for a, b in zip(leaves(states), leaves(final), strict=True):
        close(a[-1], b)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("executor", ["auto", "loop"])
def test_equals_torch(name: str, dtype: torch.dtype, executor: str) -> None:
    kind, options = TORCH[name]
    layer = layer_of(name, dtype, num_layers=2, bidirectional=True)
    reference = kind(I, H, 2, bidirectional=True, **options).to(dtype)
    reference.load_state_dict(layer.state_dict())
    with kernels.use(executor):
        mine = results(layer, inputs(dtype))
    x = inputs(dtype)

    class Regrouped(nn.Module):
        """torch's layer with its stacked state taken apart as ours is."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = reference

        def forward(self, x: torch.Tensor) -> object:
            output, hx = self.inner(x)
            parts = hx if isinstance(hx, tuple) else (hx,)
            return output, tuple(tuple(part[i] for part in parts) for i in range(4))

    for a, b in zip(mine, results(Regrouped(), x), strict=True):
        close(a, b)


def test_projection_equals_torch() -> None:
    layer = layer_of("lstm", projection_size=2)
    reference = nn.LSTM(I, H, proj_size=2).double()
    reference.load_state_dict(layer.state_dict())
    for executor in ("auto", "loop"):
        with kernels.use(executor):
            output, ((h, c),) = layer(inputs())
        expected, (h_n, c_n) = reference(inputs())
        for a, b in ((output, expected), (h, h_n[0]), (c, c_n[0])):
            close(a, b)


def test_relu_and_no_bias_equal_torch() -> None:
    layer = layer_of("elman", activation="relu", bias=False)
    reference = nn.RNN(I, H, nonlinearity="relu", bias=False).double()
    reference.load_state_dict(layer.state_dict())
    close(layer(inputs())[0], reference(inputs())[0])


def test_a_cell_of_ones_own() -> None:
    class Leaky(unrolled.GatedCell):
        gates = ("n",)
        vectors = ("rate",)

        def step(self, gate, prev):  # type: ignore[no-untyped-def]
            a = torch.sigmoid(self.rate)
            return self.State(h=(1 - a) * prev.h + a * torch.tanh(gate.n))

    layer = Recurrent(Leaky, I, H, num_layers=2, bidirectional=True)
    output, _ = layer(inputs(torch.float32), lengths=[7, 3, 1, 5])
    assert output.shape == (T, B, 2 * H)
    assert "rate_l1_reverse" in layer.state_dict()
