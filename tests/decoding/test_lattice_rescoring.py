"""Rescoring against the enumeration of all paths, by models that count and by recurrent ones."""

from __future__ import annotations

import gc
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.baselines import KneserNey
from unrolled.decoding.ensemble import Ensemble
from unrolled.decoding.forced import score_targets
from unrolled.decoding.language_contexts import Context
from unrolled.decoding.lattice import Arc, Lattice, Link
from unrolled.decoding.lattice_rescoring import RescoringOptions, _Expansion, rescore
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.models import LanguageModel

WORDS = ("<eos>", "a", "b", "c", "d", "e")
OPTIONS = {"lm_scale": 0.7, "old_lm_scale": 0.3, "word_penalty": -0.4}


def spell(word: str, first: bool) -> list[int]:
    return [WORDS.index(word)]


def drawn(seed: int, nodes: int = 7, arcs: int = 16) -> Lattice:
    """A random lattice, with silent arcs and equal words in parallel."""
    chance = random.Random(seed)
    links = [Link(str(i), str(i + 1), "!NULL", -1.0, -1.0) for i in range(nodes - 1)]
    for _ in range(arcs):
        source = chance.randrange(nodes - 1)
        target = chance.randrange(source + 1, min(source + 4, nodes))
        word = chance.choice([*WORDS[1:], *WORDS[1:], "!NULL"])
        links.append(Link(str(source), str(target), word, -chance.random() * 3, -chance.random()))
    chance.shuffle(links)
    return Lattice.connect(links)


def every_path(lattice: Lattice, node: int = 0) -> Iterator[list[Arc]]:
    if node == len(lattice.nodes) - 1:
        yield []
        return
    for arc in lattice.arcs:
        if arc.source == node:
            for rest in every_path(lattice, arc.target):
                yield [arc, *rest]


def by_enumeration(lattice: Lattice, model: Any) -> list[tuple[float, tuple[str, ...], float]]:
    """(score, words, new LM) of each word sequence's best path, best first."""
    best: dict[tuple[str, ...], tuple[float, tuple[str, ...], float]] = {}
    known: dict[tuple[str, ...], float] = {}
    for path in every_path(lattice):
        words = tuple(arc.word for arc in path if arc.word is not None)
        if words not in known:
            ids = np.array([*(WORDS.index(word) for word in words), 0])
            known[words] = float(model.log_probabilities(ids).sum())
        score = sum(arc.acoustic + 0.3 * arc.language for arc in path)
        score += 0.7 * known[words] - 0.4 * len(words)
        if words not in best or score > best[words][0]:
            best[words] = (score, words, known[words])
    return sorted(best.values(), reverse=True)


@pytest.fixture(scope="module")
def trigrams() -> KneserNey:
    text = random.Random(5).choices(range(len(WORDS)), weights=[1, 3, 2, 2, 1, 1], k=400)
    return KneserNey(3).fit(np.array(text), len(WORDS))


@pytest.fixture(scope="module")
def recurrent() -> LanguageModel:
    torch.manual_seed(3)
    model = LanguageModel(len(WORDS), cell="gru", hidden_size=8, num_layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that histories matter
    return model.eval()


def found(lattice: Lattice, model: Any, **options: Any) -> list[Any]:
    return rescore(
        lattice, model, spell=spell, end=0, options=RescoringOptions(**{**OPTIONS, **options})
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["trigrams", "recurrent"])
def test_exact_is_the_enumeration_of_paths(
    seed: int, name: str, request: pytest.FixtureRequest
) -> None:
    model, lattice = request.getfixturevalue(name), drawn(seed)
    expected = by_enumeration(lattice, model)
    got = found(lattice, model, n_best=10_000)
    assert len(got) == len(expected) > 20
    assert len({path.words for path in got}) == len(got)
    np.testing.assert_allclose([p.score for p in got], [e[0] for e in expected], atol=1e-5)
    new_lm = {words: value for _, words, value in expected}
    for path in got:
        arcs = [lattice.arcs[place] for place in path.arcs]
        assert all(one.target == two.source for one, two in itertools.pairwise(arcs))
        assert path.words == tuple(arc.word for arc in arcs if arc.word is not None)
        assert path.new_lm == pytest.approx(new_lm[path.words], abs=1e-5)
        assert path.acoustic == pytest.approx(sum(arc.acoustic for arc in arcs))
        assert path.old_lm == pytest.approx(sum(arc.language for arc in arcs))
        whole = path.acoustic + 0.7 * path.new_lm + 0.3 * path.old_lm - 0.4 * len(path.words)
        assert path.score == pytest.approx(whole, abs=1e-6)
    few = found(lattice, model, n_best=3)
    assert few == got[:3]


@pytest.mark.parametrize("seed", range(6))
def test_recombination_is_exact_where_it_drops_nothing(
    seed: int, trigrams: KneserNey, recurrent: LanguageModel
) -> None:
    lattice = drawn(seed)
    exact = found(lattice, trigrams, n_best=50)
    same = found(lattice, trigrams, n_best=50, history=2)  # n - 1 of a trigram model
    np.testing.assert_allclose([p.score for p in same], [p.score for p in exact], atol=1e-9)
    assert [p.words for p in same] == [p.words for p in exact]
    longest = len(lattice.nodes)
    exact = found(lattice, recurrent, n_best=50)
    assert found(lattice, recurrent, n_best=50, history=longest) == exact
    assert found(lattice, recurrent, n_best=50, beam=100_000) == exact


def test_less_history_is_an_approximation(recurrent: LanguageModel) -> None:
    worse = 0
    for seed in range(6):
        lattice = drawn(seed)
        scores = {p.words: p.score for p in found(lattice, recurrent, n_best=10_000)}
        best = max(scores.values())
        for options in ({"history": 0}, {"history": 1}, {"beam": 1}, {"beam": 2, "history": 1}):
            [path] = found(lattice, recurrent, **options)
            assert path.words in scores
            worse += scores[path.words] < best - 1e-6
    assert worse > 0


@dataclass(frozen=True)
class Opaque:
    """A state that can only be selected from."""

    h: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.h[0])

    def select(self, rows: Tensor) -> Opaque:
        return Opaque(tuple(part[rows] for part in self.h))


class Hidden:
    """The same model with such states; counts its steps."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.steps, self.rows = model, 0, 0

    def start(self, batch_size: int) -> Any:
        return Opaque(tuple(part.h for part in self.model.start(batch_size)))

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        self.steps += 1
        self.rows += len(state)
        inner = tuple(type(s)(h) for s, h in zip(self.model.start(1), state.h, strict=True))
        log_probs, inner = self.model.step(tokens, inner)
        return log_probs, Opaque(tuple(part.h for part in inner))


def test_states_that_are_objects(recurrent: LanguageModel) -> None:
    lattice = drawn(1)
    got = found(lattice, Hidden(recurrent), n_best=20)
    expected = found(lattice, recurrent, n_best=20)
    assert [p.words for p in got] == [p.words for p in expected]
    np.testing.assert_allclose([p.score for p in got], [p.score for p in expected], atol=1e-5)


class Counted:
    """A model that counts its calls and rows."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.steps, self.rows = model, 0, 0

    def start(self, batch_size: int) -> Any:
        return self.model.start(batch_size)

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        self.steps += 1
        log_probs, state = self.model.step(tokens, state)
        self.rows += len(log_probs)
        return log_probs, state


def test_a_level_is_one_step_and_a_history_is_read_once(recurrent: LanguageModel) -> None:
    lattice = drawn(2)
    model = Counted(recurrent)
    found(lattice, model)
    assert model.steps <= max(lattice.levels) + 1
    prefixes = set()
    for path in every_path(lattice):
        words = [arc.word for arc in path if arc.word is not None]
        prefixes |= {tuple(words[:length]) for length in range(len(words) + 1)}
    assert model.rows == len(prefixes)
    few = Counted(recurrent)
    found(lattice, few, beam=2)
    assert few.rows < model.rows


def test_a_state_that_was_told_more_changes_the_choice(recurrent: LanguageModel) -> None:
    lattice = drawn(0)
    _, state = recurrent.step(torch.tensor([0]), recurrent.start(1))
    _, state = recurrent.step(torch.tensor([4]), state)
    plain = rescore(lattice, recurrent, spell=spell, end=0)
    told = rescore(lattice, recurrent, state, spell=spell, start=0, end=0)
    ids = np.array([4, 0, *(WORDS.index(word) for word in told[0].words), 0])
    assert told[0].new_lm == pytest.approx(recurrent.log_probabilities(ids)[2:].sum(), abs=1e-5)
    assert told[0].new_lm != pytest.approx(plain[0].new_lm, abs=1e-3)
    with pytest.raises(ConfigError, match="a state of 2 sequences given"):
        rescore(lattice, recurrent, recurrent.start(2), spell=spell)


def test_words_of_several_symbols(recurrent: LanguageModel) -> None:
    """Spelled as characters, with one between words: the first has none before it."""
    letters = {"a": [1], "ab": [1, 2], "abc": [1, 2, 3], "": []}

    def spelled(word: str, first: bool) -> list[int]:
        return letters[word] if first else [5, *letters[word]]

    links = [
        Link("0", "1", "a", -1, 0),
        Link("0", "1", "!NULL", -1, 0),
        Link("1", "2", "ab", -1, 0),
        Link("1", "2", "abc", -1, 0),
        Link("2", "3", "a", -1, 0),
        Link("2", "3", "!NULL", -1, 0),
    ]
    lattice = Lattice.connect(links)
    for history in (None, 0, 3):
        options = RescoringOptions(n_best=99, history=history)
        for path in rescore(lattice, recurrent, spell=spelled, end=0, options=options):
            ids: list[int] = []
            for word in path.words:
                ids += spelled(word, first=not ids)
            expected = recurrent.log_probabilities(np.array([*ids, 0])).sum()
            if history != 0:
                assert path.new_lm == pytest.approx(expected, abs=1e-5)
        if history != 0:
            assert len(rescore(lattice, recurrent, spell=spelled, options=options)) == 8


def test_only_silence(recurrent: LanguageModel) -> None:
    lattice = Lattice.connect([Link("0", "1", "!NULL", -2, -1)])
    [path] = rescore(lattice, recurrent, spell=spell, end=0)
    assert path.words == ()
    assert path.new_lm == pytest.approx(recurrent.log_probabilities(np.array([0]))[0], abs=1e-6)
    [path] = rescore(lattice, recurrent, spell=spell)
    assert path.score == -2


def test_the_lattice_brings_its_scales(trigrams: KneserNey) -> None:
    links = [Link("0", "1", "a", -2, -1)]
    lattice = Lattice.connect(links, lm_scale=3.0, word_penalty=0.5)
    [path] = rescore(lattice, trigrams, spell=spell)
    assert path.score == pytest.approx(-2 + 3 * path.new_lm + 0.5)


class Impossible:
    """Gives the symbol 1 no chance; or NaN."""

    def __init__(self, value: float) -> None:
        self.value = value

    def start(self, batch_size: int) -> Any:
        return (torch.zeros(batch_size, 1),)

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        log_probs = torch.zeros(len(state[0]), 6)
        log_probs[:, 1] = self.value
        return log_probs, state


def test_impossible_words_come_last_and_nan_is_refused() -> None:
    links = [Link("0", "1", word, 0, 0) for word in ("a", "b")]
    lattice = Lattice.connect(links)
    options = RescoringOptions(n_best=5)
    got = rescore(lattice, Impossible(-math.inf), spell=spell, options=options)
    assert [path.words for path in got] == [("b",), ("a",)]
    assert [path.score for path in got] == [0.0, -math.inf]
    zero = RescoringOptions(n_best=5, lm_scale=0.0)
    got = rescore(lattice, Impossible(-math.inf), spell=spell, options=zero)
    assert [path.score for path in got] == [0.0, 0.0]
    with pytest.raises(RunError, match="NaN"):
        rescore(lattice, Impossible(math.nan), spell=spell)
    with pytest.raises(ConfigError, match="the symbols 0 to 5, but 7 to 7 were given"):
        rescore(lattice, Impossible(0.0), spell=lambda word, first: [7])


def test_too_many_histories_are_refused(recurrent: LanguageModel) -> None:
    links = [Link(str(i), str(i + 1), word, 0, 0) for i in range(12) for word in WORDS[1:]]
    lattice = Lattice.connect(links, name="wide")
    assert lattice.paths == 5**12
    with pytest.raises(DataError, match=r"'wide' of 244,140,625 paths has over 1,000 histories"):
        found(lattice, recurrent, limit=1000)
    [path] = found(lattice, recurrent, limit=1000, history=2)
    assert len(path.words) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_best": 0}, "--n-best 0: expected 1 or more"),
        ({"history": -1}, "--history -1: expected 0 or more"),
        ({"beam": 0}, "--beam 0: expected 1 or more"),
        ({"lm_scale": math.nan}, "--lm-scale nan: expected a finite number"),
        ({"word_penalty": math.inf}, "--word-penalty inf: expected a finite number"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RescoringOptions(**options)


def ids_of(words: Sequence[str]) -> list[int]:
    return [WORDS.index(word) for word in words]


def test_batching_changes_no_score(recurrent: LanguageModel) -> None:
    """Each path alone through the model gives what the search says of it."""
    for path in found(drawn(4), recurrent, n_best=30):
        alone = recurrent.log_probabilities(np.array([*ids_of(path.words), 0])).sum()
        assert path.new_lm == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("history", [None, 3])
def test_an_ensemble_rescores_as_it_scores(
    trigrams: KneserNey, recurrent: LanguageModel, history: int | None
) -> None:
    """Models that count and recurrent ones together, as one step-protocol model."""
    both = Ensemble([trigrams, recurrent])
    paths = found(drawn(3), both, n_best=20)
    targets = [ids_of(path.words) for path in paths]
    scored = score_targets(both, both.start(len(targets)), targets, start=None, end=0)
    for path, steps in zip(paths, scored, strict=True):
        assert path.new_lm == pytest.approx(sum(steps), abs=1e-5)
    [best] = found(drawn(3), both, history=history, beam=50)
    assert best.words in {path.words for path in paths}


def test_states_are_dropped_with_the_histories_that_need_them() -> None:
    torch.manual_seed(0)
    model = LanguageModel(len(WORDS), cell="gru", hidden_size=4).eval()
    links = [
        Link(str(i), str(i + 1), word, -float(place), 0.0)
        for i in range(60)
        for place, word in enumerate("abc")
    ]
    options = RescoringOptions(history=2, beam=5)
    with torch.no_grad():
        search = _Expansion(Lattice.connect(links), model, None, spell, None, 0, options)
        ends = search.expand()
    gc.collect()
    mine = [each for each in gc.get_objects() if type(each) is Context]
    assert len(mine) <= 1 + 2 * 5 * 3  # the root, and what the last level holds
    with torch.no_grad():
        assert len(search.best(ends)[0].words) == 60


def test_a_lattice_of_many_paths_is_refused_in_words() -> None:
    links = [Link(str(i), str(i + 1), word, 0.0, 0.0) for i in range(15_000) for word in "ab"]
    model = KneserNey(2).fit(np.arange(6), len(WORDS))
    with pytest.raises(DataError, match=r"of over 10\^4515 paths has over 100 histories at once"):
        rescore(Lattice.connect(links), model, spell=spell, options=RescoringOptions(limit=100))
