"""Beam search against exhaustive search, against a plain one, and on what could break it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from step_models import END, Boxed, Drawn, Fixed, Rows, plain_beam, sum_in_order
from torch import Tensor

from unrolled.decoding import BeamOptions, Hypothesis, beam, greedy
from unrolled.errors import ConfigError, RunError

LENGTHS = [3, 1, 4]
PENALTIES: dict[str, dict[str, Any]] = {
    "none": {"length_penalty": 0.0},
    "wu": {"length_penalty": 0.6},
    "mean": {"length_penalty": 1.0, "length_form": "mean"},
    "strong": {"length_penalty": 3.0, "length_form": "mean"},
    "coverage": {"length_penalty": 0.6, "coverage_penalty": 0.3},
    "minimum": {"length_penalty": 0.6, "min_length": 2},
    "no repetition": {"length_penalty": 0.6, "no_repeat_ngram": 2},
    "no token twice": {"length_penalty": 0.0, "no_repeat_ngram": 1, "coverage_penalty": 0.2},
}


def search(model: Any, sentences: int, options: BeamOptions, **more: Any) -> list[list[Hypothesis]]:
    return beam(
        model, model.start(sentences), **{"start": 1, "end": END, "options": options, **more}
    )


def exhaustive(model: Drawn, sentence: int, options: BeamOptions, limit: int) -> list[Hypothesis]:
    """Every output there is, ranked: a plain beam so wide that nothing falls off it."""
    wide = model.size ** (limit + 1)
    return plain_beam(
        model,
        sentence,
        BeamOptions(**{**vars(options), "size": wide, "n_best": wide}),
        limit=limit,
        start=1,
    )


def same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [(h.tokens, h.finished) for h in found] == [(h.tokens, h.finished) for h in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.steps == pytest.approx(theirs.steps, abs=1e-6)
        assert mine.log_prob == sum_in_order(mine.steps)
        assert mine.score == pytest.approx(theirs.score, abs=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_wide_beam_is_exhaustive(penalty: str) -> None:
    model = Drawn(3, seed=1, lengths=LENGTHS)
    limits = [4, 2, 3]
    options = BeamOptions(size=40, n_best=40, **PENALTIES[penalty])
    found = search(
        model, 3, options, limits=torch.tensor(limits), source_lengths=torch.tensor(LENGTHS)
    )
    for sentence, limit in enumerate(limits):
        every = exhaustive(model, sentence, options, limit)
        assert len(every) > 3
        if penalty == "none":  # all of 2 tokens and an end, and all that did not end
            assert len(every) == 2 ** (limit + 1) - 1
        same(found[sentence], every[:40])
        best = {h.tokens for h in every if h.finished}
        assert len(best) == sum(h.finished for h in every)


def test_exhaustive_search_sees_all_sequences() -> None:
    """The oracle's own oracle: probabilities multiplied along every sequence there is."""
    model, options = Drawn(3, seed=4), BeamOptions(size=40, n_best=40, length_penalty=0.6)
    scores = {}
    for length in range(4):
        for tokens in itertools.product((1, 2), repeat=length):
            state, total = model.start(1), 0.0
            for read, drawn in itertools.pairwise((1, *tokens, END)):
                log_probs, state = model.step(torch.tensor([read]), state)
                total += float(log_probs[0, drawn])
            scores[tokens] = total / ((5 + length + 1) / 6) ** 0.6
    found = [h for h in search(model, 1, options, limits=torch.tensor([4]))[0] if h.finished]
    assert [h.tokens for h in found] == sorted(scores, key=lambda tokens: -scores[tokens])
    assert [h.score for h in found] == pytest.approx(
        sorted(scores.values(), reverse=True), abs=1e-6
    )


class Sure(Fixed):
    """All but certainly says 1 twenty times and ends; its second choice is always another."""

    def step(self, tokens: Tensor | None, state: Tensor) -> Any:
        table = torch.full((len(state), 4), 1e-6)
        table[torch.arange(len(state)), torch.where(state[:, 0] < 20, 1, END)] = 1 - 3e-6
        return table.log(), state + 1


def test_endings_that_are_all_but_impossible_cut_nothing_short() -> None:
    for size in (1, 2, 5):
        options = BeamOptions(size=size)
        (best,) = search(Sure(torch.zeros(4)), 1, options, limits=torch.tensor([29]))[0]
        assert (best.tokens, best.finished) == ((1,) * 20, True)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_equals_a_plain_beam(penalty: str, size: int) -> None:
    for seed in range(4):
        model = Drawn(6, seed=seed, lengths=LENGTHS)
        options = BeamOptions(
            size=size, n_best=max(1, size - 1), max_length=7, **PENALTIES[penalty]
        )
        found = search(model, 3, options, source_lengths=torch.tensor(LENGTHS))
        for sentence in range(3):
            same(found[sentence], plain_beam(model, sentence, options, limit=7, start=1))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_batching_changes_nothing(penalty: str) -> None:
    lengths = [2, 5, 1, 3, 3, 4, 2]
    limits, starts = torch.tensor([1, 9, 3, 9, 5, 9, 2]), torch.tensor([1, 2, 3, 4, 5, 1, 2])
    options = BeamOptions(size=4, n_best=3, **PENALTIES[penalty])
    model = Drawn(7, seed=2, lengths=lengths)
    sources = torch.tensor(lengths)
    more = {"end": END, "options": options}
    whole = beam(model, model.start(7), start=starts, limits=limits, source_lengths=sources, **more)
    for row in (torch.tensor([i]) for i in range(7)):
        state = (row, torch.zeros(1).long())
        alone = beam(
            model, state, start=starts[row], limits=limits[row], source_lengths=sources[row], **more
        )
        assert alone == [whole[int(row)]]
    turned = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    state = (turned, torch.zeros(7).long())
    again = beam(
        model,
        state,
        start=starts[turned],
        limits=limits[turned],
        source_lengths=sources[turned],
        **more,
    )
    assert again == whole[::-1]


@pytest.mark.parametrize("form", ["wu", "mean"])
def test_size_one_is_greedy(form: Any) -> None:
    for seed in range(10):
        model = Drawn(5, seed=seed)
        for least in (0, 3):
            options = BeamOptions(
                size=1, length_penalty=2.0, length_form=form, min_length=least, max_length=6
            )
            found = search(model, 4, options)
            plain = greedy(model, model.start(4), start=1, end=END, min_length=least, max_length=6)
            assert [len(best) for best in found] == [1] * 4
            for (mine,), theirs in zip(found, plain, strict=True):
                assert (mine.tokens, mine.log_prob, mine.finished, mine.steps) == (
                    theirs.tokens,
                    theirs.log_prob,
                    theirs.finished,
                    theirs.steps,
                )


def test_the_bound_saves_steps() -> None:
    """A likely end at once: nothing longer can be better, and no second step is taken."""

    class Ends(Drawn):
        def row(self, sentence: int, code: int) -> Tensor:
            return torch.tensor([0.9, 0.05, 0.05]).log()

    model = Ends(3)
    assert search(model, 2, BeamOptions(size=3, length_penalty=0.0))[0][0].tokens == ()
    assert model.rows == [2]
    # A long sure tail could make up for one token of 0.05 in a mean of 100, but not in one of 2.
    for limit, steps in ((100, 2), (2, 1)):
        model.rows.clear()
        mean = BeamOptions(
            size=3, length_penalty=1.0, length_form="mean", max_length=limit, n_best=1
        )
        assert search(model, 2, mean)[0][0].tokens == ()
        assert len(model.rows) >= steps
    assert model.rows == [2]


def test_outputs_that_never_end_are_cut_off() -> None:
    never = Fixed(torch.tensor([-math.inf, math.log(0.7), math.log(0.3)]))
    found = search(never, 2, BeamOptions(size=4, n_best=4), limits=torch.tensor([1, 30]))
    assert [h.tokens for h in found[0]] == [(1,), (2,)]
    assert [len(h.tokens) for h in found[1]] == [30] * 4
    assert found[1][0].tokens == (1,) * 30
    assert not any(h.finished for h in found[0] + found[1])
    assert found[1][0].log_prob == pytest.approx(30 * math.log(0.7))


def test_the_finished_come_before_the_cut_off() -> None:
    rarely = Fixed(torch.tensor([0.1, 0.9]).log())
    options = BeamOptions(size=3, n_best=3, max_length=2, length_penalty=0.0)
    found = search(rarely, 1, options)[0]
    assert [(h.tokens, h.finished) for h in found] == [((), True), ((1,), True), ((1, 1), False)]
    assert found[2].score > found[0].score


def test_where_no_token_is_allowed_the_output_is_cut_off() -> None:
    only_end = Fixed(torch.tensor([0.0, -math.inf]))
    found = search(only_end, 2, BeamOptions(size=2, n_best=2, min_length=1))
    assert found == [[Hypothesis((), 0.0, 0.0, False, ())]] * 2
    turned = Fixed(torch.tensor([-math.inf, 0.0]))
    assert greedy(turned, turned.start(1), start=0, end=1, min_length=1) == found[0]
    one_word = turned
    (best,) = search(one_word, 1, BeamOptions(size=2, n_best=2, no_repeat_ngram=1))
    assert best == [Hypothesis((1,), 0.0, 0.0, False, (0.0,))]


def test_a_prefix_that_cannot_go_on_is_ranked_as_it_was() -> None:
    model = Drawn(3, seed=1, lengths=LENGTHS)
    options = BeamOptions(
        size=3, n_best=3, no_repeat_ngram=1, min_length=5, coverage_penalty=0.5, max_length=9
    )
    found = search(model, 3, options, source_lengths=torch.tensor(LENGTHS))
    for sentence in range(3):
        same(found[sentence], plain_beam(model, sentence, options, limit=9, start=1))
        assert {len(h.tokens) for h in found[sentence]} == {2}


def test_an_end_that_nothing_follows() -> None:
    chain = Fixed(torch.tensor([0.0, -math.inf]))
    assert search(chain, 1, BeamOptions(size=3, n_best=3)) == [
        [Hypothesis((), 0.0, 0.0, True, (0.0,))]
    ]
    alone = Fixed(torch.zeros(1))
    assert search(alone, 1, BeamOptions(size=3))[0][0].finished


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [4, 9000])
def test_impossible_distributions_are_refused(wrong: float, size: int) -> None:
    """Of one row only, and only at the third step; over few tokens and over many."""

    class Breaks(Drawn):
        def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
            log_probs, state = super().step(tokens, state)
            if len(self.rows) == 3:
                log_probs[4 if len(log_probs) > 2 else 1] = wrong
            return log_probs, state

    model = Breaks(size)
    with pytest.raises(RunError, match="NaN or infinite"):
        search(model, 2, BeamOptions(size=5, max_length=5, min_length=4))
    model = Breaks(size)
    with pytest.raises(RunError, match="NaN or infinite"):
        greedy(model, model.start(2), start=1, end=END, max_length=5, min_length=4)


@pytest.mark.parametrize("size", [5, 9001])
def test_ties_go_to_earlier_prefixes_and_lower_tokens(size: int) -> None:
    even = Fixed(torch.full((size,), -math.log(size)))
    found = beam(
        even,
        even.start(2),
        start=None,
        end=size - 1,
        options=BeamOptions(size=3, n_best=3, max_length=3, length_penalty=0.0),
    )
    assert found[0] == found[1]
    assert [h.tokens for h in found[0]] == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]


def test_rows_stay_in_order_and_complete() -> None:
    """What a model may rely on: first a plain repetition, then ``size`` rows for each sentence."""
    inner = Drawn(6, seed=3)
    model = Boxed(inner)
    limits = torch.tensor([6, 1, 4])
    found = search(model, 3, BeamOptions(size=2, n_best=2), limits=limits)
    assert found == search(inner, 3, BeamOptions(size=2, n_best=2), limits=limits)
    assert model.log[0] == [0, 0, 1, 1, 2, 2]
    rows = 6
    for chosen in model.log[1:]:
        owners = [row // 2 for row in chosen]
        pairs = list(zip(owners[::2], owners[1::2], strict=True))
        assert all(a == b for a, b in pairs)
        assert [a for a, _ in pairs] == sorted({a for a, _ in pairs})
        assert max(chosen) < rows
        rows = len(chosen)
    assert inner.rows[0] == 3
    model.log.clear()
    search(model, 2, BeamOptions(size=2, max_length=2, min_length=2))
    assert model.log == [[0, 0, 1, 1]]  # nothing is copied that stays where it is


def test_what_is_given_is_not_changed() -> None:
    model = Boxed(Drawn(4))
    state = model.start(2)
    first = beam(model, state, start=1, end=END)
    assert isinstance(state, Rows)
    assert state.inner[1].tolist() == [0, 0]
    assert beam(model, state, start=1, end=END) == first
    table = torch.tensor([0.5, 0.25, 0.25]).log()
    kept = table.clone()
    search(Fixed(table), 2, BeamOptions(min_length=2, no_repeat_ngram=2, max_length=8))
    assert torch.equal(table, kept)


def test_no_sentence_gives_no_output() -> None:
    assert search(Drawn(3), 0, BeamOptions()) == []
    assert greedy(Drawn(3), Drawn(3).start(0), start=1, end=END) == []


def test_other_precisions() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        for size in (3, 3000):
            table = torch.log_softmax(
                torch.randn(size, generator=torch.Generator().manual_seed(0)), 0
            )
            found = search(Fixed(table.to(dtype)), 20, BeamOptions(max_length=3))[0][0]
            reference = search(Fixed(table.to(dtype).double()), 1, BeamOptions(max_length=3))[0][0]
            assert found == reference


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size of a beam"),
        ({"n_best": 0}, "number of best"),
        ({"n_best": 6}, "at most 5 can be kept"),
        ({"min_length": -1}, "minimum length"),
        ({"max_length": 0}, "maximum length"),
        ({"min_length": 9, "max_length": 8}, "above the maximum"),
        ({"length_penalty": -0.1}, "length penalty"),
        ({"length_penalty": math.nan}, "length penalty"),
        ({"coverage_penalty": math.inf}, "coverage penalty"),
        ({"length_form": "sum"}, "'wu' or 'mean'"),
        ({"no_repeat_ngram": -1}, "n-grams"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BeamOptions(**options)


def test_arguments_that_do_not_fit_are_refused() -> None:
    model = Fixed(torch.tensor([0.5, 0.5]).log())
    for decode in (beam, greedy):
        with pytest.raises(ConfigError, match="tokens 0 to 1, and the end is to be 2"):
            decode(model, model.start(1), start=1, end=2)
        with pytest.raises(ConfigError, match=r"limits of length are int64 \[2\]"):
            decode(model, model.start(2), start=1, end=0, limits=torch.tensor([1]))
        with pytest.raises(ConfigError, match="at least 1 token, not 0"):
            decode(model, model.start(2), start=1, end=0, limits=torch.tensor([3, 0]))
        with pytest.raises(ConfigError, match="first tokens are ids"):
            decode(model, model.start(2), start=torch.tensor([1]), end=0)
    with pytest.raises(ConfigError, match="needs a model with attention"):
        search(model, 1, BeamOptions(coverage_penalty=0.1))
    for lengths in ({"min_length": -1}, {"max_length": 0}, {"min_length": 5, "max_length": 4}):
        with pytest.raises(ConfigError, match="minimum length is at least 0"):
            greedy(model, model.start(1), start=1, end=0, **lengths)
