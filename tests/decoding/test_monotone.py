"""Monotone decoding against every cut and every option written out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from unrolled.baselines import KneserNey
from unrolled.decoding.monotone import Options, Path, monotone
from unrolled.errors import DataError

END = 5


def model(order: int) -> KneserNey:
    text = np.random.default_rng(0).integers(0, END + 1, 400)
    return KneserNey(order).fit(text, END + 2)


def random_options(length: int, seed: int) -> list[Options]:
    rng = np.random.default_rng(seed)
    found = []
    for position in range(length):
        ends = [end for end in range(position + 1, min(position + 3, length) + 1) for _ in range(2)]
        lengths = rng.integers(0, 3, len(ends))
        tokens = rng.integers(0, END, (len(ends), 3))
        found.append(Options(np.array(ends), tokens, lengths, rng.normal(size=len(ends))))
    return found


def every(options: list[Options], position: int = 0) -> Iterator[tuple[float, list[int]]]:
    if position == len(options):
        yield 0.0, []
        return
    these = options[position]
    for row in range(len(these.ends)):
        tokens = these.tokens[row, : these.lengths[row]].tolist()
        for score, rest in every(options, int(these.ends[row])):
            yield float(these.scores[row]) + score, tokens + rest


def decode(lm: KneserNey, options: list[Options], **more: Any) -> list[Path]:
    start = lm.after(np.full(lm.order - 1, END))
    return monotone(options, lm.extend, state=start, end=END, **more)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all(order: int, weight: float, seed: int) -> None:
    lm, options = model(order), random_options(4, seed)
    gap = [END] * (order - 1)
    values = []
    for score, tokens in every(options):
        fluent = lm.log_probabilities(np.array([*gap, *tokens, END]))[len(gap) :].sum()
        values.append((score + weight * fluent, tuple(tokens)))
    values.sort(key=lambda value: -value[0])
    (merged,) = decode(lm, options, weight=weight, beam=200)
    assert (merged.score, merged.tokens) == (pytest.approx(values[0][0]), values[0][1])
    different: dict[tuple[int, ...], float] = {}
    for score, tokens in values:
        different.setdefault(tokens, score)
    for count in (5, len(values)):
        best = decode(lm, options, weight=weight, beam=200, n_best=count)
        found = {path.tokens: path.score for path in best}
        assert len(found) == len(best) == min(count, len(different))
        assert list(found.values()) == pytest.approx(list(different.values())[:count])
        assert found == pytest.approx({tokens: different[tokens] for tokens in found})
        assert all(sum_of(path, options, lm, weight) == pytest.approx(path.score) for path in best)


def sum_of(path: Path, options: list[Options], lm: KneserNey, weight: float) -> float:
    """The value of a path by its pieces."""
    gap = [END] * (lm.order - 1)
    fluent = lm.log_probabilities(np.array([*gap, *path.tokens, END]))[len(gap) :].sum()
    scores = sum(options[piece.start].scores[piece.option] for piece in path.pieces)
    return float(scores + weight * fluent)


@pytest.mark.parametrize("seed", range(10))
def test_the_best_of_several_is_the_best(seed: int) -> None:
    lm, options = model(3), random_options(8, seed)
    alone = decode(lm, options, beam=2)[0]
    best = decode(lm, options, beam=2, n_best=20)
    assert (best[0].tokens, best[0].score) == (alone.tokens, pytest.approx(alone.score))
    assert 1 < len({path.tokens for path in best}) == len(best) <= 20
    assert all(a.score >= b.score for a, b in pairwise(best))


def test_what_is_written_tells_paths_apart() -> None:
    lm, options = model(2), random_options(4, 1)
    best = decode(lm, options, beam=50, n_best=3, write=lambda piece: ())
    assert [path.score for path in best] == [pytest.approx(decode(lm, options, beam=50)[0].score)]


def test_pieces_say_what_replaced_which_span() -> None:
    options = random_options(5, 9)
    path = decode(model(2), options)[0]
    position, score = 0, 0.0
    for piece in path.pieces:
        assert piece.start == position
        these = options[position]
        assert piece.tokens == tuple(these.tokens[piece.option, : these.lengths[piece.option]])
        position, score = int(these.ends[piece.option]), score + these.scores[piece.option]
    assert position == 5


def test_a_narrow_beam_is_no_better() -> None:
    for seed in range(5):
        options = random_options(6, seed)
        narrow, wide = (decode(model(3), options, beam=beam)[0].score for beam in (1, 100))
        assert narrow <= wide + 1e-12


def test_nothing_to_read_is_nothing_written() -> None:
    (path,) = decode(model(2), [])
    assert path.tokens == ()


def test_a_source_that_no_options_cover() -> None:
    (whole,) = random_options(1, 0)
    beyond = whole._replace(ends=whole.ends + 1)
    none = Options(*(part[:0] for part in whole))
    with pytest.raises(DataError, match="no options cover all 3 positions"):
        decode(model(2), [beyond, none, none])
