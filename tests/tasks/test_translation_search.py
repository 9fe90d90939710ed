"""Searches, samples, ensembles and lattices of translations: against one another, and against exact sums."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_translation import files, options, sentences, trained  # noqa: F401 (a fixture)

import unrolled
from unrolled.decoding.lattice import Lattice, Link
from unrolled.decoding.lattice_rescoring import RescoringOptions
from unrolled.errors import ConfigError, RunError
from unrolled.tasks import trained_translator, translation_models
from unrolled.tasks.search import Search
from unrolled.tasks.translation_models import Network
from unrolled.tasks.translation_options import RecurrentTranslator

SMALL = {"hidden_size": 16, "embedding_size": 12, "embedding_dropout": 0.0, "dropout": 0.0}
LINES = [source for source, _ in sentences()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one corpus: two networks that fit together, others that do not, and one that counts."""
    folder = tmp_path_factory.mktemp("runs")
    for part, pairs in (("train", sentences() * 2), ("valid", sentences()[::3])):
        for ending, side in (("en", 0), ("de", 1)):
            (folder / f"{part}.{ending}").write_text("".join(p[side] + "\n" for p in pairs))
    data = options(folder / "train")
    split = options(folder / "train", joint=False)
    other = options(folder / "train", joint=False, level="characters", target_level="words")
    letters = options(folder / "train", level="characters")
    network = RecurrentTranslator(**SMALL)
    plans: dict[str, Any] = {
        "one": (data, network),
        "two": (data, RecurrentTranslator(**SMALL | {"cell": "lstm", "attention": "none"})),
        "split": (split, network),
        "other": (other, RecurrentTranslator(**SMALL | {"attention": "global"})),
        "letters": (letters, network),
    }
    for name, (given, model) in plans.items():
        trained(folder / name, "recurrent", given, model, max_epochs=3, batch_size=16)
    trained(folder / "dictionary", "dictionary", data)
    return {name: folder / name for name in [*plans, "dictionary"]}


def answers(run: Any, lines: list[str], **how: Any) -> list[Any]:
    return [json.loads(line) for line in run.predict(lines, n_best=3, **how)]


def scores(found: list[Any]) -> list[float]:
    return [best["log_prob"] for answer in found for best in answer["n_best"]]


def test_a_source_without_words_has_no_candidates(runs: dict[str, Path]) -> None:
    given = ['{"source": "the cat"}', '{"source": " "}']
    whole, empty = answers(unrolled.load(runs["one"]), given)
    assert len(whole["n_best"]) == 3
    assert empty["translation"] == ""
    assert empty["n_best"] == []


@pytest.mark.parametrize("how", [{}, {"search": Search(sample=True)}], ids=["beam", "samples"])
def test_wide_searches_take_few_sentences_at_once(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    run = unrolled.load(runs["one"])
    given = {"n_best": 20, "batch_size": len(LINES), **how}
    whole = [json.loads(line) for line in run.predict(LINES, **given)]
    seen: list[int] = []
    start = Network.start
    monkeypatch.setattr(Network, "start", lambda self, t: (seen.append(len(t)), start(self, t))[1])
    monkeypatch.setattr(translation_models, "ROWS", 60)
    few = [json.loads(line) for line in run.predict(LINES, **given)]
    assert max(seen) == 3
    assert sum(seen) == len(LINES)
    assert scores(few) == pytest.approx(scores(whole), abs=1e-4)


def test_a_model_with_itself_is_the_model(runs: dict[str, Path]) -> None:
    run = unrolled.load(runs["one"])
    twice = run.ensemble([unrolled.load(runs["one"]), run])
    for search in (None, Search(beam_size=4, coverage_penalty=0.3, length_penalty=1.0)):
        alone, together = (
            answers(each, LINES, batch_size=16, search=search) for each in (run, twice)
        )
        assert [a["translation"] for a in alone] == [a["translation"] for a in together]
        assert scores(alone) == pytest.approx(scores(together), abs=1e-4)
    assert list(run.score(sentences())) == pytest.approx(list(twice.score(sentences())), abs=1e-4)
    one, other = run.evaluate(split="valid"), twice.evaluate(split="valid")
    assert one.metrics == pytest.approx(other.metrics, abs=1e-5)
    assert (one.model, other.model) == ("recurrent", "recurrent, 3 runs")


@pytest.mark.parametrize("names", [("one", "two"), ("split", "other")])
def test_an_ensemble_averages_probabilities(runs: dict[str, Path], names: tuple[str, str]) -> None:
    """Of each symbol, given those before: by hand. The sources of the second two are cut otherwise."""
    first, second = (unrolled.load(runs[name]) for name in names)
    both = first.ensemble([second])
    for pair, found in zip(sentences()[:4], both.score(sentences()[:4]), strict=True):
        example = trained_translator.Example(pair[0], (pair[1],))
        own = [
            run.model.log_probs(run.model.encoder.encode([example]))[0].exp()
            for run in (first, second)
        ]
        assert found == pytest.approx(float(((own[0] + own[1]) / 2).log().sum()), abs=1e-5)
    best = answers(both, LINES[:6])
    again = both.score(
        (line, answer["translation"]) for line, answer in zip(LINES, best, strict=False)
    )
    assert list(again) == pytest.approx([answer["log_prob"] for answer in best], abs=1e-3)


def test_what_does_not_fit_together_is_refused(runs: dict[str, Path]) -> None:
    one, split, other = (unrolled.load(runs[name]) for name in ("one", "split", "other"))
    with pytest.raises(ConfigError, match=r"split/target\.json differs from .*one/target\.json"):
        one.ensemble([split])
    with pytest.raises(ConfigError, match="dictionary of translation is not averaged"):
        one.ensemble([unrolled.load(runs["dictionary"])])
    with pytest.raises(ConfigError, match="dictionary of translation is not averaged"):
        unrolled.load(runs["dictionary"]).ensemble([one])
    with pytest.raises(ConfigError, match="the coverage penalty"):
        list(split.ensemble([other]).predict(LINES, search=Search(coverage_penalty=1.0)))
    with pytest.raises(ConfigError, match="--length-penalty: dictionary has no such search"):
        unrolled.load(runs["dictionary"]).evaluate(split="valid", search=Search(length_penalty=1.0))


def test_samples_depend_on_seed_and_place_alone(runs: dict[str, Path]) -> None:
    run = unrolled.load(runs["one"])
    search = Search(sample=True, seed=5, temperature=1.2)
    lines = [*LINES[:4], *LINES[:4]]
    alone = answers(run, lines, search=search)
    together = answers(run, lines, search=search, batch_size=64)
    assert [a["n_best"][2]["translation"] for a in alone] == [
        a["n_best"][2]["translation"] for a in together
    ]
    assert scores(alone) == pytest.approx(scores(together), abs=1e-4)
    plain = list(run.predict(lines, search=search, batch_size=5))
    assert plain == [a["translation"] for a in alone]  # the first sample, however many there are
    assert alone[:4] != alone[4:]  # a line again is drawn again
    blank = list(run.predict(["", *lines[:2], " ", *lines[2:]], search=search, batch_size=3))
    assert [line for line in blank if line] == [line for line in plain if line]
    other = Search(sample=True, seed=6, temperature=1.2)
    assert plain != list(run.predict(lines, search=other))
    measured = run.evaluate(split="valid", search=search)
    assert measured.search == "sampled with temperature 1.2, seed 5"
    assert measured.metrics == run.evaluate(split="valid", search=search).metrics


def test_cold_samples_are_a_beam_of_one(runs: dict[str, Path]) -> None:
    for name in ("one", "two", "letters"):
        run = unrolled.load(runs[name])
        cold = run.predict(LINES, search=Search(sample=True, temperature=0.0), batch_size=9)
        assert list(cold) == list(run.predict(LINES, search=Search(beam_size=1), batch_size=9))


@pytest.mark.parametrize("how", [{}, {"sample": True}])
def test_limits_hold(runs: dict[str, Path], how: dict[str, Any]) -> None:
    run = unrolled.load(runs["one"])
    short = run.predict(LINES, search=Search(max_length=3, **how), batch_size=8)
    assert max(len(line.split()) for line in short) <= 3
    search = Search(min_length=7, no_repeat_ngram=2, **how)
    for line in run.predict(LINES, search=search, batch_size=8):
        words = line.split()
        pairs = list(itertools.pairwise(words))
        assert len(words) >= 7
        assert len(set(pairs)) == len(pairs)
    far = list(run.predict([LINES[0]], search=Search(min_length=60, max_length=60, **how)))
    assert len(far[0].split()) == 60  # further than twice the source and ten more


def test_length_penalty_favours_longer_outputs(runs: dict[str, Path]) -> None:
    run = unrolled.load(runs["one"])
    words = [
        sum(len(line.split()) for line in run.predict(LINES, search=Search(length_penalty=weight)))
        for weight in (0.0, 3.0)
    ]
    assert words[0] <= words[1]
    first = answers(run, LINES[:3], search=Search(length_penalty=0.0))
    assert [a["n_best"][0]["score"] for a in first] == pytest.approx([a["log_prob"] for a in first])


def test_scores_stream_in_order(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = unrolled.load(runs["one"])
    whole = list(run.score(sentences()))
    monkeypatch.setattr(trained_translator, "READ", 5)
    taken = []

    def given() -> Iterator[tuple[str, str]]:
        for pair in sentences():
            taken.append(pair)
            yield pair

    found = run.score(given())
    assert next(found) == pytest.approx(whole[0], abs=1e-4)
    assert len(taken) == 5
    assert list(found) == pytest.approx(whole[1:], abs=1e-4)
    assert list(run.score([])) == []
    with pytest.raises(ConfigError, match="give both"):
        list(run.score([(None, "ein kater")]))


def lattice() -> Lattice:
    words = [
        ("der", "ein"),
        ("kater", "hund", "zebra"),
        ("sieht", "!NULL"),
        ("ein",),
        ("hund", "kater"),
    ]
    links = [
        Link(str(i), str(i + 1), word, -0.3 * (i + place), -0.1)
        for i, column in enumerate(words)
        for place, word in enumerate(column)
    ]
    return Lattice.connect([*links, Link("1", "3", "hört", -0.2, 0.0)])


@pytest.mark.parametrize("names", [("one",), ("two",), ("letters",), ("one", "two")])
def test_rescoring_is_the_sum_over_every_path(
    runs: dict[str, Path], names: tuple[str, ...]
) -> None:
    """Every sequence of words, each scored as a whole target, is the oracle."""
    first, *others = (unrolled.load(runs[name]) for name in names)
    run = first.ensemble(others) if others else first
    found = run.rescore(lattice(), RescoringOptions(n_best=99, lm_scale=1.0), source=LINES[3])
    assert len(found) > 20
    texts = [" ".join(path.words) for path in found]
    assert len(set(texts)) == len(texts)
    expected = list(run.score((LINES[3], text) for text in texts))
    assert [path.new_lm for path in found] == pytest.approx(expected, abs=1e-3)
    totals = [path.acoustic + value for path, value in zip(found, expected, strict=True)]
    assert [path.score for path in found] == pytest.approx(totals, abs=1e-3)
    assert totals == pytest.approx(sorted(totals, reverse=True), abs=2e-3)
    elsewhere = run.rescore(lattice(), RescoringOptions(n_best=99, lm_scale=1.0), source=LINES[28])
    assert [path.new_lm for path in elsewhere] != [path.new_lm for path in found]


def test_what_counts_rescores_nothing(runs: dict[str, Path]) -> None:
    run = unrolled.load(runs["dictionary"])
    with pytest.raises(ConfigError, match="no probability of a target; rescore"):
        run.rescore(lattice(), source="the cat")


def test_a_broken_model_says_so_when_it_draws(runs: dict[str, Path]) -> None:
    run = unrolled.load(runs["one"])
    with torch.no_grad():
        run.model.model.readout.weight.fill_(torch.nan)
    with pytest.raises(RunError, match="NaN or infinite"):
        list(run.predict(["the cat"], search=Search(sample=True)))
