"""The recurrent language model: step by step equals whole, options, initialisation, learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.cells import CELLS
from unrolled.data.batch import LanguageBatch
from unrolled.models import LanguageModel

V = 7


def model_of(**options) -> LanguageModel:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return LanguageModel(V, start_token=1, **{"hidden_size": 8, **options}).double().eval()


TEXT = np.random.default_rng(0).integers(0, V, 41)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_equal_the_whole_text(cell: str) -> None:
    model = model_of(cell=cell)
    found = model.log_probabilities(TEXT, window=10)
    session = model.session(1)
    previous = None
    for symbol, expected in zip(TEXT, found, strict=True):
        log_probs = session.step(previous)
        assert log_probs.exp().sum().item() == pytest.approx(1.0, abs=1e-9)
        assert log_probs[0, symbol].item() == pytest.approx(expected, abs=1e-9)
        previous = torch.tensor([symbol])


@pytest.mark.parametrize(
    "options",
    [
        {"tied": True},
        {"tied": True, "embedding_size": 5},
        {"embedding_size": 5, "num_layers": 2, "residual": True, "zoneout": 0.1},
    ],
)
def test_window_size_changes_nothing(options) -> None:  # type: ignore[no-untyped-def]
    model = model_of(**options)
    np.testing.assert_allclose(
        model.log_probabilities(TEXT, window=3),
        model.log_probabilities(TEXT, window=512),
        atol=1e-12,
    )


def test_tracks_lose_only_the_past_of_their_first_symbols() -> None:
    model = model_of()
    whole = model.log_probabilities(TEXT)
    tracked = model.log_probabilities(TEXT, tracks=4)  # 11, 11, 11, 8
    assert tracked.shape == whole.shape
    np.testing.assert_allclose(tracked[:11], whole[:11], atol=1e-12)
    context = np.concatenate([TEXT[10:11], TEXT[11:22]])
    alone = model.log_probabilities(context)  # its first symbol read after the start symbol
    assert not np.allclose(tracked[11:22], whole[11:22], atol=1e-12)
    state = model.start(1)
    state = model.step(None, state)[1]
    assert len(alone) == 12
    fresh, _ = model.step(torch.tensor([TEXT[10]]), model.start(1))
    assert tracked[11] == pytest.approx(fresh[0, TEXT[11]].item(), abs=1e-9)


def test_a_fresh_batch_forgets_the_state() -> None:
    model = model_of()
    tokens = torch.from_numpy(TEXT[:8])[None]
    _, state = model(LanguageBatch(tokens, tokens, fresh=True))
    again, _ = model(LanguageBatch(tokens, tokens, fresh=True), state)
    carried, _ = model(LanguageBatch(tokens, tokens, fresh=False), state)
    first, _ = model(LanguageBatch(tokens, tokens, fresh=True))
    assert torch.equal(first, again)
    assert not torch.equal(first, carried)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5, "input_dropout": 0.3, "embedding_dropout": 0.2, "num_layers": 2},
        {"recurrent_dropout": 0.5},
        {"weight_dropout": 0.5},
    ],
)
def test_dropout_is_drawn_in_training_only(options) -> None:  # type: ignore[no-untyped-def]
    model = model_of(**options)
    tokens = torch.from_numpy(TEXT[:8])[None]
    batch = LanguageBatch(tokens, tokens, fresh=True)
    assert torch.equal(model(batch)[0], model(batch)[0])
    model.train()
    assert not torch.equal(model(batch)[0], model(batch)[0])
    model.log_probabilities(TEXT)
    assert model.training  # as it was


def test_tied_weights_are_one_parameter() -> None:
    model = model_of(tied=True)
    assert model.head.weight is model.embedding
    names = [name for name, _ in model.named_parameters()]
    assert "head.weight" not in names


def test_recurrent_weights_start_orthogonal_and_forget_gates_open() -> None:
    layer = model_of().recurrent
    block = layer.weight_hh_l0[:8]
    torch.testing.assert_close(
        block @ block.T, torch.eye(8, dtype=torch.float64), atol=1e-5, rtol=0
    )
    assert layer.bias_ih_l0[8:16].tolist() == [1.0] * 8
    irnn = model_of(cell="irnn").recurrent
    assert torch.equal(irnn.weight_hh_l0, torch.eye(8, dtype=torch.float64))


def test_jordan_is_the_whole_network() -> None:
    model = model_of(cell="jordan")
    assert model.recurrent.output_size == V
    assert not list(model.head.parameters())
    with pytest.raises(ValueError, match="whole network"):
        model_of(cell="jordan", num_layers=2)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "jordan"])
def test_it_learns_a_cycle(cell: str) -> None:
    torch.manual_seed(0)
    model = LanguageModel(V, cell=cell, hidden_size=16)
    cycle = torch.arange(V).repeat(6)[None]
    batch = LanguageBatch(cycle[:, :-1], cycle[:, 1:], fresh=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        outputs, _ = model(batch)
        loss = model.loss(outputs, batch).mean
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.15
