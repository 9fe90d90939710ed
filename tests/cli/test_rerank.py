"""score, rerank and rescore on small models that are written here."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled import tasks
from unrolled.baselines import KneserNey, Markov
from unrolled.decoding.lattice import Lattice
from unrolled.decoding.lattice_rescoring import RescoredPath, RescoringOptions, rescore

WORDS = ("<eos>", "the", "cat", "hat", "sat")


class Language:
    """Likes short texts; rescores by a bigram model."""

    description = {"task": "language-modelling"}  # noqa: RUF012

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        return (-float(len(text.split())) if text != "never" else -math.inf for _, text in pairs)

    def rescore(self, lattice: Lattice, options: RescoringOptions) -> list[RescoredPath]:
        model = KneserNey(2).fit(np.array([1, 2, 4, 0] * 5), len(WORDS))
        return rescore(
            lattice, model, spell=lambda word, _: [WORDS.index(word)], end=0, options=options
        )


class Chain(Language):
    """Rescores by a chain that knows one text."""

    def rescore(self, lattice: Lattice, options: RescoringOptions) -> list[RescoredPath]:
        model = Markov(1, smoothing=0).fit(np.array([1, 0] * 5), len(WORDS))
        return rescore(
            lattice, model, spell=lambda word, _: [WORDS.index(word)], end=0, options=options
        )


class Translation:
    """Likes a target that has what the source has."""

    description = {"task": "translation"}  # noqa: RUF012

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        for source, target in pairs:
            assert source is not None
            yield float(len(set(source) & set(target)) - len(source))


class Mute:
    description = {"task": "tagging"}  # noqa: RUF012


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs of these names, and the current folder."""
    made = {"lm": Language, "chain": Chain, "tm": Translation, "tagger": Mute}
    monkeypatch.setattr(tasks, "load", lambda run: made[str(run)]())
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------------------- score


def test_score_of_texts(unrolled: Any, models: Path) -> None:
    (models / "t").write_text("a b\n\nc\n")
    assert unrolled("score", "lm", "t").out == "-2.0000\n\n-1.0000\n"
    (models / "t").write_text('{"text": "a b", "id": 7}\n')
    out = json.loads(unrolled("score", "lm", "t").out)
    assert out == {"text": "a b", "id": 7, "log_prob": -2.0}


def test_score_of_pairs(unrolled: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.TextIOWrapper(io.BytesIO(b"ab\tab\nab\t\n"), encoding="ascii")
    monkeypatch.setattr("sys.stdin", content)
    assert unrolled("score", "tm").out == "0.0000\n-2.0000\n"
    (models / "t").write_text('{"source": "ab", "target": "b"}\n')
    assert json.loads(unrolled("score", "tm", "t").out)["log_prob"] == -1.0


@pytest.mark.parametrize(
    ("run", "line", "message"),
    [
        ("tm", "no tab", "0 TABs in 'no tab'; expected SOURCE TAB TARGET"),
        ("tm", "a\tb\tc", "2 TABs in 'a\\tb\\tc'; expected SOURCE TAB TARGET"),
        ("tm", '{"source": "a"}', '"target" is None; expected texts "source" and "target"'),
        ("lm", '{"text": 1}', '"text" is 1; expected texts "text"'),
        ("tagger", "a", "tagger: this model scores no outputs; use: unrolled predict tagger"),
    ],
)
def test_score_refuses(unrolled: Any, models: Path, run: str, line: str, message: str) -> None:
    good = '{"source": "a", "target": "a", "text": "a"}' if line.startswith("{") else "a\ta"
    (models / "t").write_text(f"{good}\n{line}\n")
    ended = unrolled("score", run, "t")
    assert (ended.code, ended.out.count("\n")) == (1, run != "tagger")
    assert message in ended.err
    assert "t:2: " in ended.err or run == "tagger"


def test_the_score_of_the_impossible_is_json(unrolled: Any, models: Path) -> None:
    (models / "t").write_text('{"text": "never"}\n')
    found = json.loads(unrolled("score", "lm", "t").out, parse_constant=pytest.fail)
    assert found == {"text": "never", "log_prob": None}
    (models / "t").write_text("never\n")
    assert unrolled("score", "lm", "t").out == "-inf\n"


# ---------------------------------------------------------------------------------- rerank

NBEST = """\
0 ||| the cat sat on a mat ||| f= 2
0 ||| the cat sat on the mat ||| f= 1
2 ||| it is here now ||| f= 0
2 ||| it was there now ||| f= 1
"""
REFERENCES = "the cat sat on the mat\n\nit is here now\n"


@pytest.fixture
def files(models: Path) -> Path:
    (models / "n").write_text(NBEST)
    (models / "ref").write_text(REFERENCES)
    return models


def test_rerank_tunes_and_applies(unrolled: Any, files: Path) -> None:
    ended = unrolled("rerank", "n", "--tune", "--references", "ref", "--weights", "w.json")
    assert (ended.code, ended.out) == (0, "")
    assert "3 lists, 4 candidates: BLEU 68.87 by the first of each list, 100.00" in ended.err
    content = json.loads((files / "w.json").read_text())
    assert content["weights"] == {"f": -1.0}
    assert content["score"] == pytest.approx(100)
    ended = unrolled("rerank", "n", "--weights", "w.json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == REFERENCES
    ended = unrolled("rerank", "n", "--weights", "w.json", "--output", "o", "--references", "ref")
    assert (ended.out, ended.err) == ("", "BLEU 100.00\n")
    assert (files / "o").read_text() == REFERENCES
    shown = unrolled("rerank", "n", "--tune", "--references", "ref", "ref", "--seed", 3).out
    assert json.loads(shown)["weights"] == {"f": -1.0}


def test_rerank_tunes_for_the_length_of_given_texts(unrolled: Any, files: Path) -> None:
    short, long = "a b c d", "a b c d e f"
    (files / "n").write_text(f"0 ||| {short} ||| words= 4\n0 ||| {long} ||| words= 6\n")
    (files / "ref").write_text("a b c d e f g h\n")
    (files / "as").write_text("one two three four\n")
    tuned = ("--tune", "--references", "ref", "--weights", "w")
    assert unrolled("rerank", "n", *tuned).code == 0
    assert unrolled("rerank", "n", "--weights", "w").out == f"{long}\n"
    (files / "n").write_text(f"0 ||| {short} ||| words= 4\n0 ||| {long[:-1]}x ||| words= 6\n")
    ended = unrolled("rerank", "n", *tuned, "--lengths", "as")
    assert "36.79 by the first of each list, 36.79 by the tuned weights" in ended.err
    assert unrolled("rerank", "n", "--weights", "w").out == f"{short}\n"
    (files / "as").write_text("one\ntwo\n")
    ended = unrolled("rerank", "n", *tuned, "--lengths", "as")
    assert (ended.code, "as:2: 2 texts for 1 n-best lists" in ended.err) == (1, True)


def test_rerank_adds_scores_of_models(unrolled: Any, files: Path) -> None:
    (files / "src").write_text("abc\nabd\nxyz\n")
    runs = ["--score", "lm=lm", "tm=tm", "--reverse", "back=tm"]
    assert unrolled("rerank", "n", *runs, "--source", "src", "--save", "s.jsonl").out == ""
    rows = [json.loads(line) for line in (files / "s.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == ["abc", "abd", "xyz"]
    assert rows[1]["candidates"] == []
    first = rows[0]["candidates"][0]
    assert first["text"] == "the cat sat on a mat"
    there, back = -1.0, 2.0 - len(first["text"])  # of abc the text has a and c
    assert first["features"] == {"f": 2, "lm": -6, "tm": there, "back": back}
    direct = unrolled("rerank", "n", *runs, "--source", "src", "--tune", "--references", "ref")
    saved = unrolled("rerank", "s.jsonl", "--tune", "--references", "ref")
    assert json.loads(direct.out) == json.loads(saved.out)


def test_rerank_uses_the_features_that_are_named(unrolled: Any, files: Path) -> None:
    ended = unrolled("rerank", "n", "--score", "lm=lm", "--features", "words", "lm", "--save", "s")
    assert (ended.code, ended.err) == (0, "")
    rows = [json.loads(line) for line in (files / "s").read_text().splitlines()]
    assert [each["features"] for each in rows[2]["candidates"]] == [{"words": 4, "lm": -4}] * 2
    (files / "w").write_text('{"format_version": 1, "weights": {"f": -1}}')
    ended = unrolled("rerank", "n", "--score", "lm=lm", "--features", "f", "--weights", "w")
    assert (ended.code, ended.out) == (0, REFERENCES)
    for given, said in ((["g"], "--features g: not one of f"), (["f", "f"], "--features f: twice")):
        ended = unrolled("rerank", "n", "--features", *given, "--save", "t")
        assert (ended.code, said in ended.err) == (1, True)


def test_an_empty_list_needs_no_source(unrolled: Any, files: Path) -> None:
    row = '{"source": "ab", "candidates": [{"text": "b", "features": {"f": 1}}]}'
    (files / "n").write_text(f"{row}\n\n")
    ended = unrolled("rerank", "n", "--score", "tm=tm", "--save", "s")
    assert (ended.code, ended.err) == (0, "")
    first = json.loads((files / "s").read_text().splitlines()[0])
    assert first["candidates"][0]["features"] == {"f": 1, "tm": -1}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --weights FILE, or --tune to find them, or --save FILE"),
        (["--tune"], 2, "--tune needs --references FILE"),
        (["--tune", "--references", "ref", "--output", "o"], 2, "--tune writes no texts"),
        (["--weights", "w", "--lengths", "ref"], 2, "--lengths is for --tune"),
        (["--save", "s", "--output", "o"], 2, "--output needs --weights or --tune"),
        (["--save", "s", "--references", "ref"], 2, "--references needs --weights or --tune"),
        (["--save", "s", "--score", "lm"], 2, "--score lm: expected NAME=RUN"),
        (["--save", "s", "--score", "a=lm", "a=tm"], 2, "--score a=tm: the name a is given twice"),
        (["--save", "s", "--score", "f=lm"], 1, "have a feature 'f' already"),
        (["--save", "s", "--score", "x=tm"], 1, "--score x=tm: needs the source of each list"),
        (["--save", "s", "--score", "x=tagger"], 1, "x=tagger: this model scores no outputs"),
        (
            ["--save", "s", "--source", "ref", "--reverse", "x=lm"],
            1,
            "--reverse x=lm: a language model reads no source; give it as --score",
        ),
        (["--tune", "--references", "other"], 1, "BLEU is 0 whatever the weights"),
        (["--tune", "--references", "n"], 1, "n:4: 4 references for 3 n-best lists"),
        (["--save", "s", "--source", "n"], 1, "n:4: 4 sources for 3 n-best lists"),
        (["--weights", "none"], 1, "none: no such file"),
        (["--weights", "w"], 1, "no weight for 'f'; the features are f, the weights are of g"),
    ],
)
def test_rerank_refuses(
    unrolled: Any, files: Path, arguments: list[str], code: int, message: str
) -> None:
    (files / "other").write_text("other\n" * 3)
    (files / "w").write_text('{"format_version": 1, "weights": {"g": 1}}')
    ended = unrolled("rerank", "n", *arguments)
    assert ended.code == code
    assert ended.out == ""
    assert message in ended.err
    assert not (files / "s").exists()


# ---------------------------------------------------------------------------------- rescore

ARCS = """\
0 1 the -1
1 2 hat -1 -0.5
1 2 cat -1.5 -0.25
2 3 sat -1

0 1 cat -1
"""


def test_rescore(unrolled: Any, models: Path) -> None:
    (models / "a").write_text(ARCS)
    (models / "b.slf").write_text("N=2 L=1\nI=0\nI=1\nJ=0 S=0 E=1 W=hat a=-1\n")
    ended = unrolled("rescore", "a", "b.slf", "--model", "lm")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "the cat sat\ncat\nhat\n"
    off = unrolled("rescore", "a", "--model", "lm", "--lm-scale", 0, "--exact").out
    assert off.splitlines()[0] == "the hat sat"
    old = unrolled("rescore", "a", "--model", "lm", "--lm-scale", 0, "--old-lm-scale", 4).out
    assert old.splitlines()[0] == "the cat sat"


def test_rescored_lists_can_be_reranked(unrolled: Any, models: Path) -> None:
    (models / "a").write_text(ARCS)
    (models / "a").write_text(ARCS.replace("2 3 sat", "2 4 sat -1\n4 3 sat"))
    out = unrolled("rescore", "a", "--model", "lm", "--n-best", 5, "--beam", 0).out
    lines = out.splitlines()
    assert [line.split(" ||| ")[:2] for line in lines] == [
        ["0", "the cat sat sat"],
        ["0", "the hat sat sat"],
        ["1", "cat"],
    ]
    assert "acoustic= -4.5 old_lm= -0.25 lm= -" in lines[0]
    (models / "n").write_text(out)
    (models / "ref").write_text("the hat sat sat\ncat\n")
    ended = unrolled("rerank", "n", "--tune", "--references", "ref", "--weights", "w")
    assert ended.code == 0
    assert unrolled("rerank", "n", "--weights", "w").out == "the hat sat sat\ncat\n"


def test_impossible_readings_are_in_no_list(unrolled: Any, models: Path) -> None:
    (models / "a").write_text("0 1 the\n0 1 sat\n\n0 1 sat\n")
    ended = unrolled("rescore", "a", "--model", "chain", "--n-best", 5)
    assert [line.split(" ||| ")[:2] for line in ended.out.splitlines()] == [["0", "the"]]
    assert ended.err == "2 readings that the model holds impossible are left out\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a", "--model", "tm"], 1, "--model tm: rescores no lattices; expected a language model"),
        (["a", "--model", "lm", "--exact", "--beam", "3"], 2, "--exact keeps all histories"),
        (["a", "--model", "lm", "--history", "-1"], 1, "--history -1: expected 0 or more"),
        (["a", "--model", "lm", "--n-best", "-1"], 2, "--n-best -1: expected 0 or more"),
        (["a", "--model", "lm", "--lm-scale", "nan"], 1, "--lm-scale nan: expected a finite"),
        (["a", "--model", "lm", "--lm-scale", "-1"], 1, "--lm-scale -1.0: expected 0 or more"),
        (["none", "--model", "lm"], 1, "none: no such file"),
        (["c", "--model", "lm"], 1, "c:2: the arc from 1 to 0 closes a cycle (1 → 0 → 1)"),
        (["a"], 2, "--model"),
    ],
)
def test_rescore_refuses(
    unrolled: Any, models: Path, arguments: list[str], code: int, message: str
) -> None:
    (models / "a").write_text(ARCS)
    (models / "c").write_text("0 1 the\n1 0 cat\n")
    ended = unrolled("rescore", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
