"""Every model of the step protocol works in every decoder, and all decoders agree about it.

A new one is a row of ``MODELS``, or of the table of baselines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.baselines import BASELINES, Markov, Mixture
from unrolled.decoding import (
    BeamOptions,
    Ensemble,
    StepModel,
    beam,
    greedy,
    sample,
    score_targets,
)
from unrolled.models.language_model import LanguageModel
from unrolled.state import batch_size, select

SIZE, END = 12, 2
IDS = np.random.default_rng(0).integers(0, SIZE, 400)


def language_model(**options: Any) -> LanguageModel:
    torch.manual_seed(1)
    model = LanguageModel(SIZE, hidden_size=8, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # distributions that differ from even ones
    return model.train()  # decoding is without dropout in any mode


MODELS: dict[str, Callable[[], StepModel]] = {
    **{name: lambda kind=kind: kind(2).fit(IDS, SIZE) for name, kind in BASELINES.items()},
    "smoothed markov": lambda: Markov(0, smoothing=0.5).fit(IDS, SIZE),
    "mixture": lambda: Mixture([MODELS["markov"](), MODELS["kneser-ney"]()], [0.3, 0.7]),
    "lstm": lambda: language_model(cell="lstm", num_layers=2, dropout=0.5),
    "gru": lambda: language_model(cell="gru", input_dropout=0.5),
    "ensemble": lambda: Ensemble([MODELS["lstm"](), MODELS["kneser-ney"]()]),
    "log ensemble": lambda: Ensemble([MODELS["gru"](), MODELS["lstm"]()], mode="log"),
    "ensemble of ensembles": lambda: Ensemble([MODELS["ensemble"](), MODELS["mixture"]()]),
}

pytestmark = pytest.mark.parametrize("name", MODELS)
STARTS = torch.tensor([0, 5, 7, 5])


def test_states_have_rows(name: str) -> None:
    model = MODELS[name]()
    with torch.no_grad():
        log_probs, state = model.step(STARTS, model.start(4))
        assert log_probs.shape == (4, SIZE)
        assert batch_size(state) == 4
        rows = torch.tensor([3, 0, 0])
        few, _ = model.step(torch.tensor([1, 2, 3]), select(state, rows))
        whole, _ = model.step(torch.tensor([2, 4, 4, 1]), state)
        other, _ = model.step(torch.tensor([3, 4, 4, 1]), state)
    expected = torch.stack([whole[3], whole[0], other[0]])
    torch.testing.assert_close(few, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(log_probs.exp().sum(1).float(), torch.ones(4))


@pytest.mark.parametrize("start", [3, None, STARTS], ids=["one", "none", "each"])
def test_every_decoder_takes_it(name: str, start: Any) -> None:
    model = MODELS[name]()
    options = BeamOptions(size=4, n_best=4, max_length=8)
    found = beam(model, model.start(4), start=start, end=END, options=options)
    assert [len(several) for several in found] == [4] * 4
    best = greedy(model, model.start(4), start=start, end=END, max_length=8)
    narrow = BeamOptions(size=1, max_length=8)
    ones = beam(model, model.start(4), start=start, end=END, options=narrow)
    assert [one.tokens for (one,) in ones] == [h.tokens for h in best]

    rows = torch.arange(4).repeat_interleave(4)
    outputs = [[*h.tokens, END] if h.finished else h.tokens for several in found for h in several]
    first = start[rows] if isinstance(start, torch.Tensor) else start
    state = select(model.start(4), rows)
    scores = score_targets(model, state, outputs, start=first, end=None)
    for mine, hypothesis in zip(scores, [h for several in found for h in several], strict=True):
        assert mine == pytest.approx(hypothesis.steps, abs=1e-5)

    prompt = STARTS[:, None] if isinstance(start, torch.Tensor) else torch.full((4, 1), 3)
    prompt = prompt[:, :0] if start is None else prompt
    likeliest = sample(model, prompt=prompt, length=8, temperature=0, end=END)
    for row, hypothesis in zip(likeliest.tolist(), best, strict=True):
        ids = [*hypothesis.tokens, *([END] if hypothesis.finished else [])]
        assert row == ids + [END] * (len(row) - len(ids))
    generator = torch.Generator().manual_seed(0)
    drawn = sample(model, prompt=prompt, length=8, generator=generator, copies=3, end=END)
    assert drawn.shape[0] == 12


def test_batching_changes_no_output(name: str) -> None:
    model = MODELS[name]()
    options = BeamOptions(size=3, n_best=2, max_length=8)
    limits = torch.tensor([8, 2, 5, 8])
    whole = beam(model, model.start(4), start=STARTS, end=END, options=options, limits=limits)
    for row in range(4):
        one = slice(row, row + 1)
        state = model.start(1)
        (alone,) = beam(
            model, state, start=STARTS[one], end=END, options=options, limits=limits[one]
        )
        assert [h.tokens for h in alone] == [h.tokens for h in whole[row]]
        assert [h.score for h in alone] == pytest.approx([h.score for h in whole[row]], abs=1e-4)


def test_searches_leave_gradients_alone(name: str) -> None:
    model = MODELS[name]()
    beam(model, model.start(1), start=1, end=END, options=BeamOptions(max_length=2))
    greedy(model, model.start(1), start=1, end=END, max_length=2)
    assert torch.is_grad_enabled()
