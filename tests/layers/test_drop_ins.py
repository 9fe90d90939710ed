"""unrolled.RNN, LSTM and GRU against torch.nn's, and the conversion of whole models."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import unrolled
from unrolled import kernels

PAIRS = [
    (unrolled.RNN, nn.RNN, {}),
    (unrolled.RNN, nn.RNN, {"nonlinearity": "relu", "bias": False}),
    (unrolled.LSTM, nn.LSTM, {}),
    (unrolled.LSTM, nn.LSTM, {"proj_size": 3}),
    (unrolled.GRU, nn.GRU, {"bias": False}),
]
pairs = pytest.mark.parametrize(("mine", "theirs", "options"), PAIRS)
executors = pytest.mark.parametrize("executor", ["auto", "loop"])


def flat(result) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for part in result for t in flat(part)] if isinstance(result, tuple) else []


def assert_same(a, b, tolerance=1e-12) -> None:  # type: ignore[no-untyped-def]
    for x, y in zip(flat(a), flat(b), strict=True):
        assert x.shape == y.shape
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, check_dtype=True)


@pairs
@executors
@pytest.mark.parametrize("batch_first", [False, True])
def test_same_results_as_torch(mine, theirs, options, executor, batch_first) -> None:  # type: ignore[no-untyped-def]
    kwargs = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first, **options}
    a, b = mine(4, 5, **kwargs).double(), theirs(4, 5, **kwargs).double()
    a.load_state_dict(b.state_dict())
    b.load_state_dict(a.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    unbatched = x[:, 0] if not batch_first else x[0]
    packed = pack_sequence([torch.randn(n, 4).double() for n in (2, 5, 3)], enforce_sorted=False)
    in_order = pack_sequence([torch.randn(n, 4).double() for n in (5, 3, 2)])
    with kernels.use(executor):
        for value in (x, unbatched, packed, in_order):
            assert_same(a(value), b(value))
        _, state = b(x)
        assert_same(a(x, state), b(x, state))
        one = tuple(s[:, 0] for s in state) if isinstance(state, tuple) else state[:, 0]
        assert_same(a(unbatched, one), b(unbatched, one))


@pairs
@executors
def test_lengths_need_no_packing(mine, theirs, options, executor) -> None:  # type: ignore[no-untyped-def]
    a = mine(4, 5, bidirectional=True, **options).double()
    b = theirs(4, 5, bidirectional=True, **options).double()
    b.load_state_dict(a.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    lengths = [2, 6, 3]
    packed = pack_sequence([x[:n, i] for i, n in enumerate(lengths)], enforce_sorted=False)
    expected, state = b(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected, total_length=6)
    with kernels.use(executor):
        assert_same(a(x, lengths=lengths), (expected, state))
        output, _ = a(x, lengths=torch.tensor([0, 6, 3]))  # an empty sequence
        assert not output[:, 0].any()


def test_gradients_equal_torchs() -> None:
    a, b = unrolled.LSTM(4, 5), nn.LSTM(4, 5)
    a.load_state_dict(b.state_dict())
    x = torch.randn(6, 3, 4)
    for executor, tolerance in (("auto", 1e-5), ("fused", 0.0)):
        for layer in (a, b):
            layer.zero_grad()
            with kernels.use(executor):
                layer(x)[0].pow(2).sum().backward()
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            assert float((p.grad - q.grad).abs().max() / q.grad.abs().max()) <= tolerance


@pytest.mark.parametrize("kind", [unrolled.RNN, unrolled.LSTM, unrolled.GRU])
def test_session_of_a_drop_in(kind) -> None:  # type: ignore[no-untyped-def]
    layer = kind(4, 5, num_layers=2).double()
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    session = layer.session(3)
    streamed = torch.stack([session.step(x_t) for x_t in x])
    assert_same(streamed, layer(x)[0])
    with pytest.raises(ValueError, match="bidirectional=False"):
        kind(4, 5, bidirectional=True).session()


def test_second_derivatives_go_through_torch_func() -> None:
    layer = unrolled.GRU(2, 3).double()
    x = torch.randn(4, 1, 2, dtype=torch.float64)
    hessian = torch.func.hessian(lambda x: layer(x)[0].pow(2).sum())(x)
    assert bool(torch.isfinite(hessian).all())
    assert torch.allclose(hessian.reshape(8, 8), hessian.reshape(8, 8).T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m(x, lengths=[7, 1, 1]), r"0\.\.6"),
        (lambda m, x: m(x, lengths=[1, 1]), "3 integers"),
        (lambda m, x: m(x, lengths=[1.0, 2.0, 3.0]), "3 integers"),
        (lambda m, x: m(x[:, 0], lengths=[3]), "needs a batch"),
        (lambda m, x: m(pack_sequence([x[:, 0]]), lengths=[3]), "leave out lengths"),
    ],
)
def test_bad_lengths_are_named(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(unrolled.LSTM(4, 5), torch.randn(6, 3, 4))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(4, 5, batch_first=True)
        self.inner = nn.Sequential(nn.Linear(5, 5), nn.ModuleDict({"gru": nn.GRU(5, 5)}))
        self.cell = nn.LSTMCell(5, 5)
        self.plain = type("Own", (nn.RNN,), {})(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner[1]["gru"](self.inner[0](self.encoder(x)[0]))[0]


def test_convert_swaps_in_place_and_says_what_it_did() -> None:
    model = Model()
    before, encoder = copy.deepcopy(model), model.encoder
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    told = unrolled.convert(model)
    assert model.encoder is encoder
    assert isinstance(model.encoder, unrolled.LSTM)
    assert told.model is model
    assert told.converted == {"encoder": "LSTM", "inner.1.gru": "GRU"}
    assert set(told.left) == {"cell", "plain"}
    assert "encoder: LSTM -> unrolled.LSTM" in str(told)
    x = torch.randn(2, 6, 4)
    assert_same(model(x), before(x), tolerance=1e-6)
    model(x).sum().backward()
    optimiser.step()
    assert float((model(x) - before(x)).detach().abs().max()) > 1e-3
    assert not unrolled.convert(model).converted  # once is enough
    assert str(unrolled.convert(nn.Linear(1, 1))) == "no recurrent module found"
    alone = nn.GRU(2, 3)
    unrolled.convert(alone)
    assert isinstance(alone, unrolled.GRU)


def test_copies_and_moves_like_torch() -> None:
    layer = unrolled.LSTM(4, 5)
    twin = copy.deepcopy(layer).to(torch.float64)
    assert twin(torch.randn(2, 1, 4).double())[0].dtype == torch.float64
    with kernels.use("loop"):
        assert twin(torch.randn(2, 1, 4).double())[0].dtype == torch.float64


def test_convert_prints_the_measured_speed_up(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.ModuleDict({"first": nn.GRU(3, 4), "second": nn.LSTM(4, 2, batch_first=True)})
    told = unrolled.convert(model, measure=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["first", "second"]
    assert all(ratio > 0 for ratios in told.speed.values() for ratio in ratios)
    assert lines[0].startswith(f"first: GRU {told.speed['first'][0]:.2f}x in inference, ")
    assert all(isinstance(m, (unrolled.GRU, unrolled.LSTM)) for m in model.values())


@pytest.mark.skipif(kernels.isa() is None, reason="needs the native engine")
@pytest.mark.parametrize("gradient", [False, True])
def test_the_engine_can_be_forced(gradient: bool) -> None:
    layer, x = unrolled.LSTM(3, 4, bidirectional=True), torch.randn(5, 2, 3, requires_grad=gradient)
    with kernels.use("engine"):
        output = layer(x, lengths=torch.tensor([5, 3]))[0]
    with kernels.use("loop"):
        torch.testing.assert_close(output, layer(x, lengths=torch.tensor([5, 3]))[0])
    with kernels.use("engine"), pytest.raises(ValueError, match="computes in float32"):
        layer.double()(x.double())
