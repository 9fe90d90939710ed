"""Graphones and joint n-grams: cuts, learning a small spelling, saving, and real words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unrolled.baselines import JointNGram
from unrolled.baselines.graphones import MOVES, graphones
from unrolled.data.pronunciations import part_of, read_pronunciations
from unrolled.errors import ConfigError, DataError, RunError

SAID = {"ch": "CH", "c": "K", "a": "A", "e": "", "t": "T", "x": "K S", "b": "B", "o": "O"}


def spelling(count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Words of a language whose letters, alone or as "ch", are always said in one way."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        pieces = rng.choice(list(SAID), rng.integers(1, 6)).tolist()
        pairs.append((list("".join(pieces)), " ".join(SAID[piece] for piece in pieces).split()))
    return pairs


def test_cuts_use_every_symbol_once_and_find_the_rule() -> None:
    pairs = spelling(300)
    symbols = sorted({s for pair in pairs for part in pair for s in part})
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    sources, targets = (
        [np.array([ids[s] for s in pair[k]], np.int64) for pair in pairs] for k in (0, 1)
    )
    right = 0
    for (source, target), cut in zip(pairs, graphones(sources, targets), strict=True):
        assert cut is not None
        assert set(cut) <= set(MOVES)
        assert (sum(a for a, _ in cut), sum(b for _, b in cut)) == (len(source), len(target))
        i = j = 0
        for a, b in cut:
            right += " ".join(target[j : j + b]) == SAID.get("".join(source[i : i + a]))
            i, j = i + a, j + b
    assert right > 0.95 * sum(len(cut) for cut in graphones(sources, targets) if cut)


def test_pairs_that_cannot_be_cut() -> None:
    ids = [np.array(ids, np.int64) for ids in ([], [0], [0], [0], [])]
    others = [np.array(ids, np.int64) for ids in ([1], [1, 2, 3], [], [1, 2], [])]
    assert graphones(ids, others) == [None, None, [(1, 0)], [(1, 2)], None]
    assert graphones([], []) == []


def test_it_learns_a_spelling() -> None:
    model = JointNGram(order=3).fit(spelling(600))
    new = spelling(200, seed=1)
    assert np.mean([model.translate(source) == target for source, target in new]) > 0.97


def test_answers() -> None:
    model = JointNGram(order=3).fit(spelling(300))
    answers = model.n_best(list("chat"), 5)
    assert answers[0][0] == ["CH", "A", "T"]
    assert len({tuple(target) for target, _ in answers}) == len(answers) > 1
    assert [score for _, score in answers] == sorted((s for _, s in answers), reverse=True)
    assert model.translate([]) == []
    assert model.translate(["é", "c", "a", "t"]) == ["K", "A", "T"]  # é says nothing ...
    assert model.translate(["T", "a"]) == ["T", "A"]  # ... but a target symbol says itself
    assert model.translate(["\udcff"] * 3) == []


def test_the_score_is_that_of_a_row_of_units() -> None:
    model = JointNGram(order=2).fit([(["a"], ["A"]), (["b"], ["B"]), (["a", "b"], ["A", "B"])])
    ((target, score),) = model.n_best(["b", "a"], 1)
    assert target == ["B", "A"]
    places = {unit[0]: number for number, unit in enumerate(model.units)}
    end = len(model.units)
    row = np.array([end, places["b",], places["a",], end])
    assert score == pytest.approx(model.lm.log_probabilities(row)[1:].sum())


def test_saving() -> None:
    model = JointNGram(order=4, beam=7).fit(spelling(100))
    again = JointNGram.from_arrays(model.arrays())
    assert (again.order, again.beam, again.units) == (4, 7, model.units)
    assert again.table_entries == model.table_entries
    for word in ("chatx", "", "éb", "oooo"):
        assert again.n_best(list(word), 3) == model.n_best(list(word), 3)
    for name in ("units", "lm.counts.1"):
        arrays = model.arrays()
        arrays[name] = arrays[name] + 1
        with pytest.raises(RunError, match="saved joint-ngram is damaged"):
            JointNGram.from_arrays(arrays)


def test_refusals() -> None:
    for option in ("order", "beam"):
        with pytest.raises(ConfigError, match=f"--model.{option} is at least 1, not 0"):
            JointNGram(**{option: 0})
    with pytest.raises(DataError, match="none of 2 pairs can be cut into units"):
        JointNGram().fit([([], ["A"]), (["w"], list("DABLYU"))])
    with pytest.raises(RunError, match="fit first"):
        JointNGram().translate(["a"])


@pytest.mark.parametrize("order", [1, 2])
def test_small_orders(order: int) -> None:
    model = JointNGram(order=order).fit(spelling(200))
    assert model.translate(list("boat")) == ["B", "O", "A", "T"]


def test_real_words(data: Path) -> None:
    entries = read_pronunciations(data / "cmudict" / "cmudict.gz")[::25]
    known = [e for e in entries if part_of(e.word) == "train"]
    new = [e for e in entries if part_of(e.word) == "test"][:150]
    model = JointNGram(order=4).fit([(list(e.word), p) for e in known for p in e.pronunciations])
    right = np.mean([tuple(model.translate(list(e.word))) in e.pronunciations for e in new])
    assert right > 0.3  # a 25th of the dictionary
