"""Dropout of recurrent products and matrices, learned initial states, resets, recomputation, all states."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unrolled import kernels
from unrolled.cells import CELLS, Cell, HiddenState
from unrolled.layers import Recurrent
from unrolled.state import leaves, map_state, select

RECURRENT = [name for name, make in CELLS.items() if make(2, 2).recurrent_size]
STILL = [name for name in CELLS if name not in RECURRENT]


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(name: Any, *sizes: int, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(name, *sizes, **options).double()


def results(run: Callable[..., Any], layer: Recurrent, x: torch.Tensor) -> list[torch.Tensor]:
    """``run(x)``'s output and state, and every gradient of a loss that weights them all differently."""
    x = x.clone().requires_grad_()
    output, state = run(x)
    tensors = [output, *leaves(state)]
    inputs = [x, *layer.parameters()]
    loss = sum((t * double(*t.shape, seed=7)).sum() for t in tensors) + 0 * x.sum()
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    pairs = zip(inputs, found, strict=True)
    return [*tensors, *(torch.zeros_like(i) if g is None else g for i, g in pairs)]


def assert_all_close(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


# Recurrent dropout


def test_recurrent_dropout_masks_what_the_recurrent_product_multiplies_all_through() -> None:
    layer = layer_of("elman", 3, 40, recurrent_dropout=0.25)
    x, masks = double(6, 2, 3), []
    original = kernels.run

    def spy(cell: Cell, *given: Any, **options: Any) -> Any:
        masks.append(cell.recurrent_mask)
        return original(cell, *given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "run", spy)
        output, _ = layer(x)
        layer.eval()(x)
    mask, none = masks
    assert none is None
    assert mask.shape == (2, 40)
    assert set(mask.unique().tolist()) == {0.0, 1 / 0.75}
    assert 0.1 < float((mask == 0).double().mean()) < 0.45
    cell = layer.cells()[0]
    h = torch.zeros(2, 40, dtype=torch.float64)
    for t in range(6):
        a = x[t] @ cell.weight_ih.T + cell.bias_ih + (mask * h) @ cell.weight_hh.T + cell.bias_hh
        h = torch.tanh(a)
        torch.testing.assert_close(output[t], h)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_dropout_reaches_every_recurrent_matrix(name: str) -> None:
    """Under a mask of zeros no recurrent matrix matters, and in evaluation there is no mask."""
    layer = layer_of(name, 3, 5, recurrent_dropout=0.5)
    plain = layer_of(name, 3, 5)
    x = double(4, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], plain(x)[0])
    cell = plain.cells()[0]
    masked = cell.with_recurrent_mask(torch.zeros(2, cell.recurrent_size, dtype=torch.float64))
    start = map_state(lambda part: part + 0.5, cell.initial_state(2))
    output, state = masked(x[0], start)
    total = output.sum() + sum(leaf.sum() for leaf in leaves(state))
    weights = [getattr(cell, own) for own in (*cell.recurrent_weights, *["u"] * (name == "indrnn"))]
    for gradient in torch.autograd.grad(total, weights, allow_unused=True):
        assert gradient is None or not gradient.any()


@pytest.mark.parametrize("name", STILL)
def test_cells_without_a_recurrent_product_refuse_recurrent_dropout(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no recurrent product"):
        Recurrent(name, 3, 4, recurrent_dropout=0.1)
    with pytest.raises(ValueError, match="no recurrent product that dropout"):
        CELLS[name](3, 4).with_recurrent_mask(torch.ones(1, 4))


def test_torch_is_not_asked_for_recurrent_dropout() -> None:
    layer = Recurrent("lstm", 3, 4, recurrent_dropout=0.5)
    with kernels.use("fused"):
        with pytest.raises(ValueError, match="torch has no recurrent dropout"):
            layer(torch.zeros(2, 1, 3))
        layer.eval()(torch.zeros(2, 1, 3))


# DropConnect


@pytest.mark.parametrize("name", ["lstm", "gru-before", "mut3", "multiplicative-lstm", "jordan"])
def test_weight_dropout_drops_entries_of_the_recurrent_matrices_once_a_call(name: str) -> None:
    layer = layer_of(name, 3, 8, weight_dropout=0.5)
    bound = dict(layer._bound(0.5)[0].named_parameters())
    own = layer.cells()[0]
    for parameter, value in bound.items():
        given = getattr(own, parameter)
        if parameter not in own.recurrent_weights:
            assert value is given
            continue
        kept = value != 0
        assert 0.2 < float(kept.double().mean()) < 0.8
        torch.testing.assert_close(value[kept], 2 * given[kept])
    x = double(5, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    gradient = torch.autograd.grad(layer(x)[0].sum(), layer.weight_hh_l0)[0]
    assert bool((gradient == 0).any())
    plain = layer_of(name, 3, 8)
    assert torch.equal(layer.eval()(x)[0], plain(x)[0])
    session = layer.train().session(2)
    torch.testing.assert_close(session.step(x[0]), plain(x[:1])[0][0])
    assert layer.state_dict().keys() == plain.state_dict().keys()


def test_weight_dropout_leaves_torchs_layers_in_charge() -> None:
    with kernels.use("fused"):
        Recurrent("lstm", 3, 4, weight_dropout=0.5)(torch.zeros(3, 2, 3))
    with pytest.raises(ValueError, match="mingru has no recurrent matrix, so weight_dropout"):
        Recurrent("mingru", 3, 4, weight_dropout=0.5)


# Learned initial states


def test_a_learned_initial_state_starts_at_the_cells_and_learns() -> None:
    options = {"num_layers": 2, "bidirectional": True}
    layer = layer_of("lstm", 3, 4, learned_initial_state=True, **options)
    plain = layer_of("lstm", 3, 4, **options)
    new = set(layer.state_dict()) - set(plain.state_dict())
    assert {f"initial_{f}_l{i}{d}" for f in "hc" for i in (0, 1) for d in ("", "_reverse")} == new
    x = double(5, 3, 3)
    assert torch.equal(layer(x)[0], plain(x)[0])
    with torch.no_grad():
        layer.initial_c_l0_reverse.fill_(0.7)
        layer.initial_h_l1.copy_(torch.arange(4.0))
    start = list(plain.initial_state(3))
    start[1] = start[1]._replace(c=torch.full_like(start[1].c, 0.7))
    start[2] = start[2]._replace(h=torch.arange(4.0).double().expand(3, 4))
    lengths = torch.tensor([5, 2, 0])
    torch.testing.assert_close(
        layer(x, lengths=lengths)[0], plain(x, tuple(start), lengths=lengths)[0]
    )
    assert torch.equal(layer(x, plain.initial_state(3))[0], plain(x)[0])  # a given state counts
    layer(x)[0].sum().backward()
    assert all(getattr(layer, name).grad.any() for name in new)
    layer.reset_parameters()
    assert not any(getattr(layer, name).any() for name in new)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_can_learn_its_initial_state(name: str, tmp_path: Any) -> None:
    layer = layer_of(name, 3, 4, learned_initial_state=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1)
    x = double(4, 2, 3)
    session = layer.session(2)
    assert not any(leaf.requires_grad for leaf in leaves(session.state))
    whole = layer(x)[0]
    for t in range(4):
        torch.testing.assert_close(session.step(x[t]), whole[t])
    session.save(tmp_path / "s")
    session.reset(torch.tensor([0]))
    fresh = layer.initial_state(2)
    assert_all_close(leaves(select(session.state, slice(0, 1))), leaves(select(fresh, slice(0, 1))))
    resets = torch.tensor([[False, False], [True, True], [False, False], [False, False]])
    torch.testing.assert_close(layer(x, resets=resets)[0][1:], layer(x[1:])[0])


def test_a_state_without_names_cannot_be_learned() -> None:
    class Bare(Cell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.input_size, self.output_size = input_size, hidden_size

        def initial_state(self, batch_size: int, **_: Any) -> Any:
            return (torch.zeros(batch_size, 2),)

    with pytest.raises(ValueError, match="no NamedTuple of tensors to learn"):
        Recurrent(Bare, 3, 4, learned_initial_state=True)


# Resets


def run_apart(
    layer: Recurrent, x: torch.Tensor, resets: torch.Tensor, lengths: list[int], state: Any
) -> tuple[torch.Tensor, Any]:
    """What ``resets=`` promises: each piece of each sequence by itself, from the initial state.

    Forward the first piece goes on from the given state, in reverse the last one.
    """
    steps, batch = x.shape[:2]
    reverse_at = 1 if layer.bidirectional else 2
    output = torch.zeros(steps, batch, layer.output_size, dtype=x.dtype)
    final = []
    for b, length in enumerate(lengths):
        cuts = [t for t in range(1, length) if resets[t, b]]
        bounds = [0, *cuts, length]
        given = select(state, slice(b, b + 1))
        ends = list(given)
        for start, stop in pairwise(bounds):
            before = list(layer.initial_state(1))
            if start == 0 and not (length and resets[0, b]):
                before[0] = given[0]
            if stop == length:
                before[reverse_at:] = given[reverse_at:]
            if length:
                piece, after = layer(x[start:stop, b : b + 1], tuple(before))
                output[start:stop, b] = piece[:, 0]
                ends[0] = after[0]
                if start == 0:
                    ends[reverse_at:] = after[reverse_at:]
        final.append(tuple(ends))
    return output, map_state(lambda *parts: torch.cat(parts), *final)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["lstm", "gru-before", "slstm", "elman"]),
    bidirectional=st.booleans(),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    cuts=st.integers(0, 2**18 - 1),
    learned=st.booleans(),
)
def test_resets_are_the_pieces_run_apart(
    name: str, bidirectional: bool, lengths: list[int], cuts: int, learned: bool
) -> None:
    layer = layer_of(name, 2, 3, bidirectional=bidirectional, learned_initial_state=learned)
    with torch.no_grad():
        for own, parameter in layer.named_parameters():
            if own.startswith("initial"):
                parameter.add_(0.3)
    steps, batch = 6, len(lengths)
    resets = torch.tensor([bool(cuts >> i & 1) for i in range(steps * batch)]).view(steps, batch)
    x = double(steps, batch, 2)
    state = map_state(lambda part: part + 0.5, layer.initial_state(batch))
    state = map_state(torch.detach, state)
    assert_all_close(
        results(lambda x: layer(x, state, torch.tensor(lengths), resets=resets), layer, x),
        results(lambda x: run_apart(layer, x, resets, lengths, state), layer, x),
    )


def test_zoneout_keeps_what_a_reset_leaves() -> None:
    layer = layer_of("gru", 2, 50, zoneout=0.5)
    x = double(3, 1, 2)
    start = (HiddenState(torch.full((1, 50), 9.0, dtype=torch.float64)),)
    resets = torch.tensor([[False], [True], [False]])
    output, _ = layer(x, start, resets=resets)
    assert bool((output[0] == 9).any())
    assert not bool((output[1] == 9).any())
    assert bool((output[1] == 0).any())


def test_resets_with_batch_first_feedback_and_layers() -> None:
    layer = layer_of("lstm", 2, 3, num_layers=2, batch_first=True)
    x, resets = double(2, 5, 2), torch.zeros(2, 5, dtype=torch.bool)
    resets[0, 3] = resets[1, 1] = True
    output, _ = layer(x, resets=resets)
    torch.testing.assert_close(output[:1, 3:], layer(x[:1, 3:])[0])
    torch.testing.assert_close(output[1:, :1], layer(x[1:, :1])[0])
    torch.testing.assert_close(output[1:, 1:], layer(x[1:, 1:])[0])
    jordan = layer_of("jordan", 2, 3, batch_first=True)
    targets = double(2, 5, 3)
    output, _ = jordan(x, feedback=targets, resets=resets)
    torch.testing.assert_close(output[:1, 3:], jordan(x[:1, 3:], feedback=targets[:1, 3:])[0])


@pytest.mark.parametrize(
    "resets",
    [
        torch.zeros(4, 2, dtype=torch.bool),
        torch.zeros(5, 2),
        torch.zeros(5, 3, dtype=torch.bool),
    ],
)
def test_bad_resets_are_named(resets: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="resets must be booleans, one for each of 5 steps of 2"):
        Recurrent("gru", 3, 4)(torch.zeros(5, 2, 3), resets=resets)


def test_no_reset_at_all_is_left_to_the_fastest() -> None:
    with kernels.use("fused"):
        layer = Recurrent("lstm", 3, 4)
        layer(torch.zeros(5, 2, 3), resets=torch.zeros(5, 2, dtype=torch.bool))
        with pytest.raises(ValueError, match="no resets within"):
            layer(torch.zeros(5, 2, 3), resets=torch.ones(5, 2, dtype=torch.bool))


# All states


@pytest.mark.parametrize("batch_first", [False, True])
def test_states_are_those_after_every_step(batch_first: bool) -> None:
    options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
    layer = layer_of("lstm", 3, 4, **options)
    lengths = torch.tensor([5, 2])
    x = double(5, 2, 3)
    x = x.transpose(0, 1) if batch_first else x
    output, final = layer(x, lengths=lengths)
    states = layer.states(x, lengths=lengths)
    if batch_first:
        output = output.transpose(0, 1)
        states = tuple(map_state(lambda part: part.transpose(0, 1), each) for each in states)
    assert type(states[3]) is type(final[3])
    both = torch.cat([states[2].h, states[3].h], -1)
    torch.testing.assert_close(both[:, 0], output[:, 0])
    torch.testing.assert_close(both[:2, 1], output[:2, 1])
    torch.testing.assert_close(states[0].c[-1], final[0].c)  # past an end it stands still
    torch.testing.assert_close(states[1].c[0], final[1].c)
    assert not states[1].c[2:, 1].any()
    states[0].c.sum().backward()
    assert layer.weight_hh_l0.grad.any()


def test_states_of_no_steps() -> None:
    (state,) = Recurrent("mlstm", 3, 4).states(torch.zeros(0, 2, 3))
    assert state.C.shape == (0, 2, 1, 4, 4)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="recompute is True, False or steps"):
        Recurrent("gru", 3, 4, recompute=-1)
    with pytest.raises(ValueError, match=r"recurrent_dropout must be in \[0, 1\)"):
        Recurrent("gru", 3, 4, recurrent_dropout=1.0)
    with pytest.raises(ValueError, match=r"weight_dropout must be in \[0, 1\)"):
        Recurrent("gru", 3, 4, weight_dropout=-0.1)


def test_the_options_train_together() -> None:
    layer = Recurrent(
        "gru",
        3,
        8,
        num_layers=2,
        dropout=0.1,
        variational=True,
        zoneout=0.1,
        recurrent_dropout=0.1,
        weight_dropout=0.1,
        learned_initial_state=True,
        recompute=True,
    )
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
    torch.manual_seed(0)
    x = torch.randn(20, 4, 3)
    resets = torch.rand(20, 4) < 0.1
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(layer(x, resets=resets)[0][..., :3], 0.5 * x)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
