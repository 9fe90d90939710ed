"""Forced scoring against steps taken by hand, and against the steps of searches."""

from __future__ import annotations

import math

import pytest
import torch
from step_models import END, Boxed, Drawn, Fixed

from unrolled.decoding import BeamOptions, beam, score_targets
from unrolled.errors import ConfigError, RunError
from unrolled.state import select


def by_hand(model: Drawn, sentence: int, read: list[int], drawn: list[int]) -> tuple[float, ...]:
    state = (torch.tensor([sentence]), torch.tensor([0]))
    steps = []
    for token, following in zip(read, drawn, strict=True):
        log_probs, state = model.step(torch.tensor([token]), state)
        steps.append(float(log_probs[0, following]))
    return tuple(steps)


def test_equals_steps_by_hand_whatever_the_lengths() -> None:
    model = Drawn(6, seed=5)
    targets = [[3], [], [1, 2, 5, 5], [4, 4], [], [2, 1, 1]]
    for machine in (model, Boxed(model)):
        found = score_targets(machine, machine.start(6), targets, start=1, end=END)
        for sentence, target in enumerate(targets):
            expected = by_hand(model, sentence, [1, *target], [*target, END])
            assert found[sentence] == pytest.approx(expected, abs=1e-7)
        open_ended = score_targets(machine, machine.start(6), targets, start=1, end=None)
        assert open_ended == [steps[:-1] for steps in found]


def test_batching_changes_nothing_and_rows_that_are_through_are_not_computed() -> None:
    model = Drawn(6, seed=5)
    targets, starts = [[3], [1, 2, 5], [4, 4]], torch.tensor([1, 4, 5])
    whole = score_targets(model, model.start(3), targets, start=starts, end=END)
    assert model.rows == [3, 3, 2, 1]
    for i in range(3):
        row = torch.tensor([i])
        alone = select(model.start(3), row)
        assert score_targets(model, alone, [targets[i]], start=starts[row], end=END) == [whole[i]]


def test_scores_of_what_was_found() -> None:
    model = Drawn(8, seed=6)
    found = beam(
        model, model.start(4), start=1, end=END, options=BeamOptions(n_best=3, max_length=9)
    )
    for sentence, several in enumerate(found):
        finished = [h for h in several if h.finished]
        state = select(model.start(4), torch.full((len(finished),), sentence))
        scores = score_targets(model, state, [h.tokens for h in finished], start=1, end=END)
        assert scores == [h.steps for h in finished]


def test_impossible_tokens_have_minus_infinity() -> None:
    model = Fixed(torch.tensor([0.5, 0.5, 0.0]).log())
    (steps,) = score_targets(model, model.start(1), [[2, 1]], start=None, end=END)
    assert steps == pytest.approx((-math.inf, math.log(0.5), math.log(0.5)))


def test_nothing_to_score() -> None:
    model = Drawn(3)
    assert score_targets(model, model.start(0), [], start=1, end=END) == []
    assert score_targets(model, model.start(2), [[], []], start=1, end=None) == [(), ()]
    assert model.rows == []


def test_what_does_not_fit_is_refused() -> None:
    model = Drawn(3)
    with pytest.raises(ConfigError, match="1 outputs to score and a state of 2 sentences"):
        score_targets(model, model.start(2), [[1]], start=1, end=END)
    for wrong in (3, -1):
        with pytest.raises(ConfigError, match=f"the tokens 0 to 2, and {wrong} is to be scored"):
            score_targets(model, model.start(2), [[1], [1, wrong]], start=1, end=END)
    with pytest.raises(ConfigError, match="and 7 is to be scored"):
        score_targets(model, model.start(1), [[1]], start=1, end=7)
    broken = Fixed(torch.tensor([math.nan, 0.0]))
    with pytest.raises(RunError, match="NaN"):
        score_targets(broken, broken.start(1), [[]], start=1, end=END)
