"""Sessions on the engine equal whole runs, and notice weights that change between steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from against_engine import FACTORIES, TOLERANCE, distance, needs_engine
from torch import Tensor, nn

import unrolled
from unrolled import Recurrent, kernels
from unrolled.errors import RunError
from unrolled.layers.session import Session, StackSession
from unrolled.state import leaves, map_state

pytestmark = needs_engine
T, I, H = 6, 5, 9  # noqa: E741 (the field's names)


def layer_of(name: str, layers: int = 2) -> Recurrent:
    return Recurrent(FACTORIES[name], I, H, num_layers=layers)


def steps(session: Session, x: Tensor) -> Tensor:
    return torch.stack([session.step(row) for row in x])


def whole(layer: nn.Module, x: Tensor) -> Tensor:
    """By the loop in float64."""
    with kernels.use("loop"), torch.no_grad():
        result: Tensor = copy.deepcopy(layer).double()(x.double())[0]
    return result


def equal(a: Tensor, b: Tensor) -> None:
    assert distance(a, b) <= TOLERANCE


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("batch", [1, 3, 17])
def test_a_session_equals_the_whole(name: str, batch: int) -> None:
    layer = layer_of(name)
    x = torch.randn(T, batch, I)
    session = layer.session(batch)
    assert type(session) is StackSession
    equal(steps(session, x), whole(layer, x))
    final = layer(x)[1]
    for a, b in zip(leaves(session.state), leaves(final), strict=True):
        equal(a, b)


@pytest.mark.parametrize("name", ["lstm", "RowState", "Swapping", "LeakyVector"])
def test_fork_save_load_reset(name: str, tmp_path: Path) -> None:
    layer = layer_of(name)
    x = torch.randn(T, 3, I)
    session = layer.session(3)
    start = steps(session, x[:3])
    session.save(tmp_path / "state")
    fork = session.fork()
    rest = steps(session, x[3:])
    assert torch.equal(steps(fork, x[3:]), rest)
    equal(torch.cat([start, rest]), whole(layer, x))
    loaded = layer.session(3)
    loaded.load(tmp_path / "state")
    assert torch.equal(steps(loaded, x[3:]), rest)
    with pytest.raises(RunError, match="batch size 2"):
        layer.session(2).load(tmp_path / "state")
    session.reset()
    assert torch.equal(steps(session, x[:3]), start)
    fork.reset(torch.tensor([1]))
    further, fresh = fork.step(x[0]), layer.session(3).step(x[0])
    assert torch.equal(further[1], fresh[1])
    assert not torch.equal(further[0], fresh[0])


def test_assigning_a_state_copies_it() -> None:
    layer = layer_of("gru")
    session = layer.session(2)
    given = map_state(torch.randn_like, session.state)
    session.state = given
    kept = session.state
    for t in leaves(given):
        t.zero_()
    session.step(torch.randn(2, I))
    assert all(t.any() for t in leaves(kept))
    with pytest.raises(ValueError, match="expected"):
        session.state = map_state(lambda t: t[:1], given)


def doubled(layer: nn.Module) -> None:
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(2)


def doubled_data(layer: nn.Module) -> None:
    for p in layer.parameters():
        p.data.mul_(2)


def one_number(layer: nn.Module) -> None:
    for p in layer.parameters():
        p.data.view(-1)[-1] += 1


def other_data(layer: nn.Module) -> None:
    for p in layer.parameters():
        p.data = p.data * 2


def loaded(layer: nn.Module) -> None:
    layer.load_state_dict({n: t * 2 for n, t in layer.state_dict().items()})


def optimised(layer: nn.Module) -> None:
    """By torch's fused optimiser, which leaves versions alone."""
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    for kind in (torch.optim.Adam, torch.optim.SGD):
        kind(layer.parameters(), lr=0.1, fused=True).step()
    layer.zero_grad()


CHANGES = [doubled, doubled_data, one_number, other_data, loaded, optimised]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["lstm", "LeakyVector"])
def test_changed_weights_are_noticed(name: str, change: Any) -> None:
    layer = layer_of(name)
    x = torch.randn(T, 2, I)
    session = layer.session(2)
    steps(session, x[:2])
    with torch.no_grad():
        before = layer(x)[0]
    change(layer)
    state = session.state
    with torch.no_grad(), kernels.use("engine"):
        after, rest = layer(x)[0], layer(x[2:], state)[0]
    equal(after, whole(layer, x))
    assert distance(after, before) > TOLERANCE
    equal(steps(session, x[2:]), rest)


@pytest.mark.parametrize("change", CHANGES)
def test_drop_ins_notice_too(change: Any) -> None:
    layer = unrolled.GRU(I, H)
    x = torch.randn(T, 2, I)
    session = layer.session(2)
    session.step(x[0])
    with torch.no_grad():
        layer(x)
        change(layer)
        equal(layer(x)[0], whole(layer, x))
    session.reset()
    equal(steps(session, x), whole(layer, x))


def test_inputs() -> None:
    layer = layer_of("gru")
    session = layer.session(3)
    for shape in ((2, I), (3, I + 1), (I,), (1, 3, I), (3, 0)):
        with pytest.raises(ValueError, match="expected"):
            session.step(torch.randn(shape))
    x = torch.randn(3, I, dtype=torch.float64)
    first, second = session.fork(), session.fork()
    equal(first.step(x), second.step(x.float()))
    equal(first.step(x.t().contiguous().t()), second.step(x.float()))
    equal(first.step(x[:1].float().expand(3, I)), second.step(x[:1].float().repeat(3, 1)))
    assert not session.step(x.float().requires_grad_()).requires_grad
    with pytest.raises(ValueError, match="at least 1"):
        layer.session(0)


@pytest.mark.parametrize("name", ["mlstm", "lstm"])
def test_what_the_engine_cannot_run_has_a_session_too(name: str) -> None:
    """Another dtype, a cell without program, something between the layers."""
    x = torch.randn(T, 2, I)
    layers = [Recurrent(name, I, H).double()]
    if name == "lstm":
        layers += [
            Recurrent(name, I, H, num_layers=2, residual=True),
            Recurrent(name, I, H, zoneout=0.3),
        ]
    for layer in layers:
        session = layer.eval().session(2)
        assert type(session) is Session
        given = x.to(next(layer.parameters()))
        equal(steps(session, given), whole(layer, x))


def test_a_forced_loop() -> None:
    """Whatever executor is in force, a session's steps are right."""
    layer = layer_of("lstm")
    x = torch.randn(T, 2, I)
    with kernels.use("loop"):
        equal(steps(layer.session(2), x), whole(layer, x))


def test_inference_mode() -> None:
    """Tensors made in it have no version."""
    with torch.inference_mode():
        layer = layer_of("lstm")
        x = torch.randn(T, 2, I)
        session = layer.session(2)
        equal(steps(session, x), layer(x)[0])
        doubled(layer)
        session.reset()
        equal(steps(session, x), layer(x)[0])
    layer = layer_of("gru")
    expected = layer(x.clone())[0]
    with torch.inference_mode():
        equal(layer(x)[0], expected)
