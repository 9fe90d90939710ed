"""The recurrent layer's options, sessions and error messages."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import unrolled
from unrolled import kernels
from unrolled.errors import RunError
from unrolled.layers import Recurrent
from unrolled.state import leaves


def test_residual_adds_the_input_from_the_second_layer_on() -> None:
    layer = Recurrent("gru", 4, 5, num_layers=2, residual=True)
    x = torch.randn(6, 3, 4)
    below, above = layer.cells()
    h1, _ = kernels.run(below, x, below.initial_state(3))
    h2, _ = kernels.run(above, h1, above.initial_state(3))
    torch.testing.assert_close(layer(x)[0], h1 + h2)


def test_variational_dropout_drops_the_same_units_at_every_step() -> None:
    layer = Recurrent("elman", 4, 64, num_layers=2, dropout=0.5, variational=True)
    dropped = []
    original = kernels.run

    def spy(cell, x, state, **options):  # type: ignore[no-untyped-def]
        dropped.append(x == 0)
        return original(cell, x, state, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "run", spy)
        layer(torch.randn(6, 3, 4))
    mask = dropped[1]
    assert bool((mask == mask[0]).all())
    assert 0.3 < float(mask[0].float().mean()) < 0.7
    layer.eval()
    x = torch.randn(6, 3, 4)
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_zoneout_keeps_units_and_takes_its_expectation_in_evaluation() -> None:
    torch.manual_seed(0)
    layer = Recurrent("lstm", 4, 400, zoneout=(0.3, 0.6)).double()
    x = torch.randn(1, 1, 4, dtype=torch.float64)
    start = tuple(
        cell_state._replace(h=cell_state.h + 5, c=cell_state.c + 5)
        for cell_state in layer.initial_state(1)
    )
    _, (state,) = layer(x, start)
    kept_h = float((state.h == 5).double().mean())
    kept_c = float((state.c == 5).double().mean())
    assert abs(kept_h - 0.3) < 0.08
    assert abs(kept_c - 0.6) < 0.08
    plain = Recurrent("lstm", 4, 400).double()
    plain.load_state_dict(layer.state_dict())
    layer.eval()
    _, (expected,) = plain(x, start)
    output, (state,) = layer(x, start)
    torch.testing.assert_close(state.c, 0.6 * 5 + 0.4 * expected.c)
    torch.testing.assert_close(output[0], 0.3 * 5 + 0.7 * expected.h)


def test_feedback_is_teacher_forcing() -> None:
    layer = Recurrent("jordan", 2, 8, output_size=3, batch_first=True)
    x, targets = torch.randn(2, 5, 2), torch.randn(2, 5, 3)
    before = torch.cat([torch.zeros(2, 1, 3), targets[:, :-1]], 1)  # what step t is fed
    forced, (final,) = layer(x, feedback=before, lengths=torch.tensor([5, 3]))
    cell = layer.cells()[0]
    state = cell.initial_state(2)
    for t in range(5):
        y, state = cell(x[:, t], state._replace(y=before[:, t]))
        torch.testing.assert_close(forced[0, t], y[0])
    torch.testing.assert_close(final.y[1], forced[1, 2])  # padding is not fed
    head, state = layer(x[:, :2], feedback=before[:, :2])
    tail, _ = layer(x[:, 2:], state, feedback=before[:, 2:])
    whole, _ = layer(x, feedback=before)
    torch.testing.assert_close(torch.cat([head, tail], 1), whole)
    with pytest.raises(ValueError, match="one layer"):
        Recurrent("jordan", 2, 3, num_layers=2)(x.transpose(0, 1), feedback=targets)
    with pytest.raises(ValueError, match="leave out feedback"):
        Recurrent("lstm", 2, 3, batch_first=True)(x, feedback=targets)


def test_sessions_fork_save_load_and_reset(tmp_path) -> None:  # type: ignore[no-untyped-def]
    layer = Recurrent("lstm", 4, 5, num_layers=2)
    x = torch.randn(6, 2, 4)
    session = layer.session(2)
    for x_t in x[:3]:
        session.step(x_t)
    session.save(tmp_path / "s.safetensors")
    fork = session.fork()
    expected = session.step(x[3])
    assert torch.equal(fork.step(x[3]), expected)
    fork.step(x[4])
    other = layer.session(2)
    other.load(tmp_path / "s.safetensors")
    assert torch.equal(other.step(x[3]), expected)
    other.reset(torch.tensor([1]))
    assert not any(leaf[1].any() for leaf in leaves(other.state))
    assert all(leaf[0].any() for leaf in leaves(other.state))
    other.reset()
    assert torch.equal(other.step(x[0]), layer.session(2).step(x[0]))


def test_a_session_ignores_dropout_and_follows_the_weights() -> None:
    layer = Recurrent("gru", 4, 5, num_layers=2, dropout=0.9, variational=True, zoneout=0.5)
    session = layer.session(1)
    x = torch.randn(1, 4)
    first = session.step(x)
    session.reset()
    assert torch.equal(session.step(x), first)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
    session.reset()
    assert not torch.equal(session.step(x), first)


def test_bad_session_files_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    session = Recurrent("lstm", 4, 5).session(2)
    path = tmp_path / "s.safetensors"
    with pytest.raises(RunError, match="no such session file"):
        session.load(path)
    session.save(path)
    with pytest.raises(RunError, match="not a session of this model and batch size 3"):
        Recurrent("lstm", 4, 5).session(3).load(path)
    with pytest.raises(RunError, match="not a session of this model"):
        Recurrent("gru", 4, 5).session(2).load(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError, match="not a whole session file"):
        session.load(path)
    with pytest.raises(RunError, match="cannot be written"):
        session.save(tmp_path / "absent" / "s.safetensors")


def test_torch_func_sees_ordinary_parameters() -> None:
    layer = Recurrent("lstm-peephole", 3, 4)
    doubled = {name: 2 * p for name, p in layer.named_parameters()}
    x = torch.randn(5, 1, 3)
    replaced = torch.func.functional_call(layer, doubled, (x,))[0]
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2)
    assert torch.equal(replaced, twin(x)[0])


def test_modules_inside_a_cell_follow_the_layer() -> None:
    class Noisy(unrolled.GatedCell):
        gates = ("n",)
        recurrent_gates = ()

        def __init__(self, *sizes, **options) -> None:  # type: ignore[no-untyped-def]
            super().__init__(*sizes, **options)
            self.noise = nn.Dropout(0.5)
            self.register_buffer("scale", torch.full((1,), 2.0))

        def step(self, gate, prev):  # type: ignore[no-untyped-def]
            assert torch.equal(gate.n, gate.n.input)
            return self.State(h=self.scale * self.noise(torch.tanh(gate.n.input)) + 0 * prev.h)

    layer = Recurrent(Noisy, 3, 50)
    x = torch.randn(2, 1, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    assert layer.double()(x.double())[0].dtype == torch.float64
    assert any(name.endswith("scale") for name in layer.state_dict())


def test_names_and_layout_are_torchs() -> None:
    layer = Recurrent("lstm", 3, 4, num_layers=2, bidirectional=True)
    reference = nn.LSTM(3, 4, 2, bidirectional=True)
    shapes = {n: p.shape for n, p in reference.named_parameters()}
    assert {n: p.shape for n, p in layer.named_parameters()} == shapes
    assert repr(layer) == "Recurrent('lstm', 3, 4, num_layers=2, bidirectional=True)"


def test_reset_parameters_draws_anew() -> None:
    layer = Recurrent("gru", 3, 4)
    before = copy.deepcopy(layer.state_dict())
    layer.reset_parameters()
    assert not any(torch.equal(before[n], p) for n, p in layer.state_dict().items())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Recurrent("lstm", 3, 4, num_layers=0), "num_layers"),
        (lambda: Recurrent("lstm", 3, 4, dropout=1.0), "dropout"),
        (lambda: Recurrent("lstm", 3, 4, zoneout=(0.1, 0.2, 0.3)), "zoneout needs one rate or 2"),
        (lambda: Recurrent("lsmt", 3, 4), "no cell 'lsmt'"),
        (lambda: Recurrent("lstm", 3, 4)(torch.zeros(5, 2, 4)), r"\[T, B, I\] with I = 3 expected"),
        (lambda: Recurrent("lstm", 3, 4)(torch.zeros(5, 3)), "expected"),
        (lambda: Recurrent("lstm", 3, 4)(torch.zeros(5, 2, 3), ()), "a state of 0 parts"),
        (lambda: Recurrent("lstm", 3, 4, bidirectional=True).session(), "bidirectional=False"),
        (lambda: Recurrent("lstm", 3, 4).session(0), "batch_size"),
        (lambda: kernels.use("fastest"), "no executor 'fastest'"),
    ],
)
def test_bad_values_are_named(build, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


def test_a_misspelt_option_is_named() -> None:
    with pytest.raises(TypeError, match="'bidirectonal'; the layer's are bidirectional"):
        Recurrent("lstm", 3, 4, bidirectonal=True)


def test_a_forced_executor_does_not_give_way_silently() -> None:
    layer = Recurrent("lstm-peephole", 3, 4)
    with kernels.use("fused"):
        with pytest.raises(ValueError, match="torch has no such LSTM"):
            layer(torch.zeros(2, 1, 3))
        assert "refused (torch has no such LSTM" in kernels.executor_of("lstm-peephole")
        assert "fused lstm" in kernels.executor_of("lstm")
    with kernels.use("loop"):
        assert "the loop" in kernels.executor_of("lstm")


# Units that never see each other's past, so that one layer is a sum over the inputs: made to be stacked.
LAYERS = {"indrnn": 3, "mingru": 3, "minlstm": 3, "mlstm": 2}


@pytest.mark.parametrize("name", unrolled.CELLS)
def test_every_cell_learns_to_recall_its_input(name: str) -> None:
    """The input two steps ago, one bit: no cell without a memory of its input can do it."""
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (42, 32))
    x = torch.nn.functional.one_hot(bits, 2).float()
    options = {"output_activation": "tanh"} if name == "jordan" else {}
    layer, head = Recurrent(name, 2, 24, LAYERS.get(name, 1), **options), nn.Linear(24, 2)
    optimiser = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)
    accuracy = 0.0
    for _ in range(400):
        optimiser.zero_grad()
        logits = head(layer(x)[0])[2:]
        nn.functional.cross_entropy(logits.flatten(0, 1), bits[:-2].flatten()).backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimiser.step()
        accuracy = float((logits.argmax(-1) == bits[:-2]).float().mean())
        if accuracy > 0.97:
            break
    assert accuracy > 0.95
