"""torch.compile passes through every layer, by one operator, to the same outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.cells import GatedCell, HiddenState
from unrolled.kernels import loop, operator
from unrolled.kernels.native import missing
from unrolled.state import leaves

pytestmark = [
    pytest.mark.skipif(missing(), reason="the engine is not built"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler's own
]
LENGTHS = torch.tensor([5, 2, 3])


class Leaky(GatedCell):
    """A user's own cell, with a vector computed from a vector."""

    gates = ("n",)
    vectors = ("rate",)

    def step(self, gate: Any, prev: Any) -> Any:
        a = torch.sigmoid(self.rate)
        return HiddenState(h=(1 - a) * prev.h + a * torch.tanh(gate.n))


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    import torch._dynamo

    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):  # for subclasses of torch.nn.LSTM and its like
        yield
    torch._dynamo.reset()


def compiled(layer: nn.Module, backend: str = "aot_eager", **options: Any) -> Callable[..., Any]:
    return torch.compile(layer, fullgraph=True, backend=backend, **options)


def computed(call: Callable[..., Any], layer: nn.Module, x: Tensor, *given: Any) -> list[Tensor]:
    """Outputs, final states and every gradient."""
    layer.zero_grad()
    x = x.detach().clone().requires_grad_()
    tensors = [t.clone().requires_grad_() if t.is_floating_point() else t for t in given]
    if isinstance(layer, nn.RNNBase):
        state = tensors[0] if tensors and tensors[0].is_floating_point() else None
        lengths = tensors[-1] if tensors and not tensors[-1].is_floating_point() else None
    else:
        state, lengths = None, tensors[0] if tensors else None
    output, final = call(x, state, lengths)
    found = [output, *leaves(final)]
    torch.manual_seed(1)
    torch.stack([(t * torch.randn_like(t)).sum() for t in found]).sum().backward()
    wanted = [x, *(t for t in tensors if t.requires_grad), *layer.parameters()]
    return [*(t.detach() for t in found), *(t.grad for t in wanted)]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[Tensor, ...]]] = {
    "lstm": (lambda: unrolled.LSTM(3, 4, 2, bidirectional=True), (5, 3, 3), (LENGTHS,)),
    "lstm-whole": (lambda: unrolled.LSTM(3, 4), (5, 3, 3), ()),
    "gru": (lambda: unrolled.GRU(3, 4, batch_first=True), (3, 5, 3), (torch.ones(1, 3, 4),)),
    "rnn-unbatched": (lambda: unrolled.RNN(3, 4), (5, 3), ()),
    "peephole": (lambda: unrolled.Recurrent("lstm-peephole", 3, 4), (5, 3, 3), (LENGTHS,)),
    "mut1": (lambda: unrolled.Recurrent("mut1", 3, 4, bidirectional=True), (5, 3, 3), ()),
    "own": (
        lambda: unrolled.Recurrent(Leaky, 3, 4, 2, batch_first=True, residual=True),
        (3, 5, 3),
        (LENGTHS,),
    ),
    "learned": (
        lambda: unrolled.Recurrent("gru", 3, 4, learned_initial_state=True, zoneout=0.1).eval(),
        (5, 3, 3),
        (),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_eager(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape, given = CASES[name]
    layer, x = make(), torch.randn(shape)
    expected = computed(layer, layer, x, *given)
    monkeypatch.setattr(loop, "run", None)  # it is the operator that runs
    for got, want in zip(computed(compiled(layer), layer, x, *given), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_inductor() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = unrolled.Recurrent(Leaky, 3, 4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor, state: Any, lengths: Tensor) -> tuple[Tensor, Any]:
            output, final = self.recurrent(x, state, lengths)
            return self.head(output).relu(), final

    model, x = Tagger(), torch.randn(3, 5, 3)
    expected = computed(model, model, x, LENGTHS)
    function = compiled(model, "inductor", options={"compile_threads": 1})
    for got, want in zip(computed(function, model, x, LENGTHS), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_inference_sees_new_weights() -> None:
    layer, x = unrolled.Recurrent("lstm", 3, 4).eval(), torch.randn(5, 2, 3)
    function = compiled(layer)
    with torch.no_grad():
        first = function(x)[0]
        torch.testing.assert_close(first, layer(x)[0])
        for parameter in layer.parameters():
            parameter.mul_(2)
        assert not torch.allclose(function(x)[0], first)
        torch.testing.assert_close(function(x)[0], layer(x)[0])


def test_training_with_every_dropout() -> None:
    layer = unrolled.Recurrent(
        "lstm", 3, 16, 2, dropout=0.5, zoneout=0.2, recurrent_dropout=0.3, weight_dropout=0.2
    )
    function, x = compiled(layer), torch.randn(5, 2, 3)
    first, second = function(x)[0], function(x)[0]
    assert not torch.equal(first, second)
    first.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    layer.eval()
    torch.testing.assert_close(function(x)[0], layer(x)[0])


def test_drop_in_dropout() -> None:
    layer, x = unrolled.LSTM(3, 16, 2, dropout=0.5), torch.randn(5, 2, 3)
    function = compiled(layer)
    assert not torch.equal(function(x)[0], function(x)[0])


def test_dynamic_shapes() -> None:
    layer = unrolled.Recurrent("gru", 3, 4, batch_first=True)
    function = compiled(layer, dynamic=True)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    for batch, steps in ((5, 8), (6, 9), (7, 10)):  # no number twice, or torch takes them for one
        x, lengths = torch.randn(batch, steps, 3), torch.arange(1, batch + 1).clamp(max=steps)
        for got, want in zip(
            computed(function, layer, x, lengths), computed(layer, layer, x, lengths), strict=True
        ):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert graphs["unique_graphs"] == before + 1


def test_what_the_operator_does_not_take_goes_through_the_loop() -> None:
    x, lengths = torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([2, 1, 2])
    for layer in (unrolled.Recurrent("gru", 3, 4), unrolled.LSTM(3, 4)):
        layer.double()
        expected = computed(layer, layer, x, lengths)
        for got, want in zip(computed(compiled(layer), layer, x, lengths), expected, strict=True):
            torch.testing.assert_close(got, want)
    layer, x = unrolled.Recurrent("mlstm", 3, 4), x.float()
    torch.testing.assert_close(compiled(layer)(x)[0], layer(x)[0])
    layer, resets = unrolled.Recurrent("lstm", 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    resets[1, 1] = True
    output, _ = compiled(layer)(x, resets=resets)
    torch.testing.assert_close(output, layer(x, resets=resets)[0])
    empty, _ = compiled(layer)(x[:0])
    assert empty.shape == (0, 3, 4)


def test_without_the_flag_a_drop_in_breaks_the_graph_and_runs() -> None:
    layer, x = unrolled.LSTM(3, 4), torch.randn(5, 2, 3)
    with torch._dynamo.config.patch(allow_rnn=False):
        torch.testing.assert_close(torch.compile(layer, backend="aot_eager")(x)[0], layer(x)[0])


def arguments(kind: Any, *, gradients: bool, **options: Any) -> tuple[Any, ...]:
    """The operator's for a cell of 3 inputs and 4 units."""
    layer = unrolled.Recurrent(kind, 3, 4, **options)
    cell = layer.cells()[0]
    told = operator.describe(cell, zoneout=False)
    assert not isinstance(told, str)

    def fresh(*shape: int) -> Tensor:
        return torch.randn(shape).requires_grad_(gradients)

    matrices = [fresh(*getattr(cell, name).shape) for name in told.matrices]
    vectors = [fresh(*getattr(cell, name).shape) for name in told.vectors]
    vectors += [fresh(4) for _ in range(told.hoists)]
    states = [fresh(3, n) for n, _ in told.initial]
    return fresh(5, 3, 3), states, matrices, vectors, [], LENGTHS, told.program, True


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("kind", ["lstm-peephole", "mut1"])
def test_the_operator_is_sound(kind: str, gradients: bool) -> None:
    torch.library.opcheck(
        torch.ops.unrolled.recurrent.default, arguments(kind, gradients=gradients)
    )


def test_the_other_operators_are_sound() -> None:
    given = arguments("lstm", gradients=False)
    changes = [torch.randn(5, 3, 4), torch.randn(3, 4), None]
    wanted = [True, False, True, True, False, True, True]
    torch.library.opcheck(
        torch.ops.unrolled.recurrent_backward.default, (*given, changes, wanted[: 1 + 2 + 2 + 2])
    )
    layer = unrolled.Recurrent(Leaky, 3, 4)
    told = operator.describe(layer.cells()[0], zoneout=False)
    assert not isinstance(told, str)
    names = (*told.matrices, *told.vectors, *told.scalars)
    parameters = [getattr(layer, name + "_l0") for name in names]
    torch.library.opcheck(torch.ops.unrolled.hoisted.default, (parameters, told.program))


def test_double_backward_is_refused_by_torch() -> None:
    given = arguments("lstm", gradients=True)
    output, *_ = torch.ops.unrolled.recurrent(*given)
    (found,) = torch.autograd.grad(output.sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"recurrent_backward.* no autograd formula"):
        found.square().sum().backward()


def test_wrong_arguments_are_refused() -> None:
    given = list(arguments("lstm", gradients=False))
    with pytest.raises(ValueError, match=r"lengths must be 3 in 0\.\.5"):
        torch.ops.unrolled.recurrent(*given[:5], torch.tensor([5, 6, 1]), *given[6:])
    with pytest.raises(ValueError, match="expected"):
        torch.ops.unrolled.recurrent(torch.randn(5, 3, 2), *given[1:])
    with pytest.raises(ValueError, match="float32"):
        torch.ops.unrolled.recurrent(given[0].double(), *given[1:])
    short = [given[1][0][:, :3], given[1][1]]
    with pytest.raises(ValueError, match="expected"):
        torch.ops.unrolled.recurrent(given[0], short, *given[2:])
