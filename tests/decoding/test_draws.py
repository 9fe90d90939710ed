"""Drawn outputs: the model's distribution, reshaped; each by its own chances, whatever stands beside it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from step_models import END, Drawn, Fixed

from unrolled.decoding import DrawOptions, draw, generators, greedy
from unrolled.errors import ConfigError, RunError
from unrolled.state import select


def drawn(model: Any, count: int, copies: int = 1, seed: int = 0, **changed: Any) -> list[Any]:
    options = DrawOptions(**({"max_length": 6} | changed))
    chances = generators(seed, range(count), copies)
    return draw(model, model.start(count), chances, start=None, end=END, options=options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.2, 0.3, 0.4]),
        ({"temperature": 0.5}, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        ({"top_k": 2}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_p": 0.75}, [0, 2 / 9, 3 / 9, 4 / 9]),
        ({"min_length": 1}, [0, 2 / 9, 3 / 9, 4 / 9]),
        ({"never": (1, 2)}, [0.2, 0, 0, 0.8]),
        ({"temperature": 0.0}, [0, 0, 0, 1]),
    ],
)
def test_frequencies_are_the_probabilities(options: dict[str, Any], expected: list[float]) -> None:
    model = Fixed(torch.tensor([0.1, 0.2, 0.3, 0.4]).log())
    count = 4000
    found = drawn(model, count, max_length=1, **options)
    first = Counter(h.tokens[0] if h.tokens else END for [h] in found)
    for token, probability in enumerate(expected):
        error = 4 * math.sqrt(max(probability * (1 - probability), 0) / count)
        assert first[token] / count == pytest.approx(probability, abs=error)


def test_an_output_depends_on_its_own_chances_alone() -> None:
    model = Drawn(5, seed=3)
    whole = drawn(model, 6, copies=3)
    state = model.start(6)
    for number in (4, 1):
        alone = draw(
            model,
            select(state, torch.tensor([number])),
            generators(0, [number], 3),
            start=None,
            end=END,
            options=DrawOptions(max_length=6),
        )
        assert alone == [whole[number]]
    assert [row[:1] for row in whole] == drawn(model, 6)  # more samples leave the first as they are
    assert whole != drawn(model, 6, copies=3, seed=1)
    assert len({h.tokens for row in whole for h in row}) > 6


def test_log_probabilities_are_the_models_own() -> None:
    model = Drawn(4, seed=1)
    for sentence, row in enumerate(drawn(model, 3, copies=2, temperature=2.0)):
        for found in row:
            code, steps = 0, []
            for token in [*found.tokens, *[END] * found.finished]:
                steps.append(float(model.row(sentence, code)[token]))
                code = code * 5 + token + 1
            assert found.steps == pytest.approx(steps, abs=1e-5)
            assert found.log_prob == found.score == pytest.approx(sum(steps), abs=1e-5)


def test_without_heat_it_is_greedy() -> None:
    model = Drawn(5, seed=2)
    cold = [row[0] for row in drawn(model, 8, temperature=0.0)]
    best = greedy(model, model.start(8), start=None, end=END, max_length=6)
    assert [h.tokens for h in cold] == [h.tokens for h in best]
    assert [h.log_prob for h in cold] == pytest.approx([h.log_prob for h in best])


def test_lengths_and_repetitions_are_kept() -> None:
    model = Drawn(4, seed=5)
    for [found] in drawn(model, 40, min_length=3, no_repeat_ngram=1, max_length=9):
        assert len(set(found.tokens)) == len(found.tokens) == 3  # all there are
        assert found.finished
    limits = torch.tensor([1, 4])
    one, four = draw(
        model, model.start(2), generators(0, [0, 1]), start=None, end=END, limits=limits
    )
    assert len(one[0].tokens) <= 1
    assert len(four[0].tokens) <= 4
    nothing_left = Fixed(torch.tensor([0.5, 0.5]).log())
    [[cut]] = drawn(nothing_left, 1, min_length=4, no_repeat_ngram=1)
    assert (cut.tokens, cut.finished) == ((1,), False)


def test_what_cannot_be_drawn_is_refused() -> None:
    model = Drawn(3)
    assert draw(model, model.start(0), [], start=None, end=END) == []
    with pytest.raises(ConfigError, match="equally many generators"):
        draw(model, model.start(2), generators(0, [0]), start=None, end=END)
    with pytest.raises(ConfigError, match="equally many generators"):
        draw(model, model.start(1), [[]], start=None, end=END)
    with pytest.raises(ConfigError, match="minimum length 7"):
        drawn(model, 1, min_length=7)
    with pytest.raises(ConfigError, match="the end is to be 9"):
        draw(model, model.start(1), generators(0, [0]), start=None, end=9)
    for bad in (torch.nan, -torch.inf):
        with pytest.raises(RunError, match="NaN or infinite"):
            drawn(Fixed(torch.full((3,), bad)), 1)
    with pytest.raises(ConfigError, match="top-p"):
        drawn(model, 1, top_p=0.0)
    assert np.isfinite(drawn(model, 1)[0][0].log_prob)
