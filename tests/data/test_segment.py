"""Segmenters: text to numbers and back, the same on every run, and files that do not lie."""

from __future__ import annotations

import builtins
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.segment import END, SPECIAL, START, UNKNOWN, Kind, Segmenter
from unrolled.data.subwords import learn, pieces
from unrolled.data.text import read_lines
from unrolled.errors import ConfigError, DataError, RunError

KINDS: tuple[Kind, ...] = ("words", "characters", "bpe", "unigram")
SUBWORDS: tuple[Kind, ...] = ("bpe", "unigram")
SONG = [
    "row row row your boat",
    "gently down the stream",
    "merrily merrily merrily",
    "life is a dream",
]
ODD = [
    "a\u200db\u0301 🙂🙂",
    "▁ ▁▁ x▁y",
    "\0 \x01\x7f",
    "<s> </s> a<s>b <unk>",
    "日本語 ﷺ",
    "x" * 3000,
]


def spaced(text: str) -> str:
    return " ".join(text.split())


def expected(segmenter: Segmenter, text: str) -> str:
    return text if segmenter.kind == "characters" else spaced(text)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back(kind: Kind) -> None:
    segmenter = Segmenter.fit(SONG, kind=kind, size=80)
    assert segmenter.symbols[:3] == SPECIAL
    assert len(segmenter) == len(segmenter.symbols) <= 80
    for text in (*SONG, "", "  ", "stream  your dream "):
        ids = segmenter.encode(text)
        assert all(END < i < len(segmenter) for i in ids)
        assert segmenter.decode([START, *ids, END]) == expected(segmenter, text)
        assert len(segmenter.tokens(ids)) == len(ids)
    assert segmenter.encode("") == []
    assert segmenter.decode([]) == segmenter.decode([START, END]) == ""


@pytest.mark.parametrize("kind", ["characters", "bpe", "unigram"])
@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_characters_come_back(kind: Kind, text: str) -> None:
    texts = [text] * 3
    room = len(set(text) | {" "}) + 13
    for size in (room, room + 5, 500):
        segmenter = Segmenter.fit(texts, kind=kind, size=size)
        ids = segmenter.encode(text)
        assert len(segmenter) <= size
        assert not {UNKNOWN, START, END} & set(ids), "the special symbols are no text"
        assert segmenter.decode(ids) == expected(segmenter, text)


@given(st.lists(st.text(), min_size=1, max_size=4), st.text(), st.sampled_from(KINDS))
def test_any_text(texts: list[str], other: str, kind: Kind) -> None:
    texts.append("a")
    segmenter = Segmenter.fit(texts, kind=kind)
    for text in texts:
        if kind != "words" or not set(text.split()) & set(SPECIAL):
            assert segmenter.decode(segmenter.encode(text)) == expected(segmenter, text)
    ids = segmenter.encode(other)
    assert not {START, END} & set(ids)
    assert all(0 <= i < len(segmenter) for i in ids)
    assert segmenter.encode(segmenter.decode(ids)) == ids or UNKNOWN in ids


def test_words_are_ranked_and_limited() -> None:
    text = ["d b a b c a d <s> <unk>"]
    assert Segmenter.fit(text, kind="words", size=0).symbols == (*SPECIAL, "d", "b", "a", "c")
    assert Segmenter.fit(text, kind="words", size=5).symbols == (*SPECIAL, "d", "b")
    assert Segmenter.fit(text, kind="words", min_count=2).symbols == (*SPECIAL, "d", "b", "a")
    segmenter = Segmenter.fit(text, kind="words", size=5)
    assert segmenter.encode("d <s> x b") == [3, UNKNOWN, UNKNOWN, 4]
    assert segmenter.decode([3, UNKNOWN, 4]) == "d <unk> b"


def test_characters_keep_their_spaces() -> None:
    segmenter = Segmenter.fit(["a = 1\n  b"], kind="characters", size=0)
    assert segmenter.tokens(segmenter.encode("a\n b")) == ["a", "\n", " ", "b"]
    assert segmenter.decode(segmenter.encode("  a = ☂\n")) == "  a = <unk>\n"


@pytest.mark.parametrize("kind", SUBWORDS)
def test_unknown_characters_within_words(kind: Kind) -> None:
    segmenter = Segmenter.fit(SONG, kind=kind, size=60)
    ids = segmenter.encode("row ro🙂🙂w ☂ boat")
    assert ids.count(UNKNOWN) == 2, "a stretch is one"
    assert segmenter.decode(ids) == "row ro<unk>w <unk> boat"
    rare = Segmenter.fit([*SONG, "q"], kind=kind, size=60, min_count=2)
    assert UNKNOWN in rare.encode("q")
    assert UNKNOWN not in rare.encode("row")


def test_a_space_is_part_of_a_first_piece_only() -> None:
    segmenter = Segmenter.fit(["low lower slow"] * 3, kind="bpe", size=50)
    assert segmenter.tokens(segmenter.encode("slow low lowlow")) == ["▁slow", "▁low", "▁low", "low"]
    assert segmenter.decode([i for i, s in enumerate(segmenter.symbols) if s == " "] * 3) == ""


def test_byte_pairs_by_hand() -> None:
    """Sennrich et al. 2016, algorithm 1: es (9 times), est (9), then of equal pairs the first."""
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    found = pieces(learn(words, "bpe", size=11 + 4, min_count=1))
    assert found[:11] == tuple(sorted(" lowernstid"))
    assert found[11:13] == ("es", "est")
    assert learn(words, "bpe", size=15, min_count=1) == learn(words, "bpe", size=15, min_count=1)


def test_lowercase_and_joint_vocabularies() -> None:
    segmenter = Segmenter.fit(["A Cat", "Eine KATZE"], kind="bpe", size=60, lowercase=True)
    assert segmenter.decode(segmenter.encode("a CAT eine")) == "a cat eine"
    assert segmenter != Segmenter.fit(["A Cat", "Eine KATZE"], kind="bpe", size=60)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_learnt(kind: Kind) -> None:
    subword = kind in SUBWORDS
    for size in (-1, 3, *([0, 15] if subword else [])):
        with pytest.raises(ConfigError, match=r"--data\.vocabulary-size"):
            Segmenter.fit(SONG, kind=kind, size=size)
    with pytest.raises(ConfigError, match="min_count is at least 1, not 0"):
        Segmenter.fit(SONG, kind=kind, min_count=0)
    for nothing in ([], ["", " \n\t\u3000"]):
        with pytest.raises(DataError, match="no word in the texts"):
            Segmenter.fit(nothing, kind=kind)
    with pytest.raises(DataError, match="surrogate"):
        Segmenter.fit(["a \ud800"], kind=kind)


def test_how_much_larger_a_vocabulary_must_be() -> None:
    with pytest.raises(ConfigError, match="make it 5 larger"):
        Segmenter.fit(["abcdefghijklmno"], kind="bpe", size=14)
    assert len(Segmenter.fit(["abcdefghijklmno"], kind="bpe", size=19)) == 19
    with pytest.raises(ConfigError, match="unigram needs 10"):
        Segmenter.fit(["ab"], kind="unigram", size=12)
    assert len(Segmenter.fit(["ab"], kind="unigram", size=13)) <= 13


def test_unknown_kinds_and_numbers() -> None:
    with pytest.raises(ConfigError, match="words, characters, bpe or unigram, not 'sylables'"):
        Segmenter.fit(SONG, kind="sylables")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the first symbols"):
        Segmenter("words", ("a",))
    segmenter = Segmenter.fit(SONG, kind="words")
    for bad in (-1, len(segmenter)):
        for call in (segmenter.decode, segmenter.tokens):
            with pytest.raises(ValueError, match=f"from 0 to {len(segmenter) - 1}"):
                call([bad])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    bpe = Segmenter.fit(SONG, kind="bpe", size=60)
    ids = bpe.encode(SONG[0])
    original = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"unrolled\[tokenizers\]"):
        Segmenter.fit(SONG, kind="bpe", size=60)
    assert bpe.decode(ids) == SONG[0], "decoding needs no package"
    Segmenter.fit(SONG, kind="words")


# ------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind: Kind, tmp_path: Path) -> None:
    segmenter = Segmenter.fit([*SONG, *ODD[:-1]], kind=kind, size=120, lowercase=True)
    segmenter.encode("row ☂")
    path = tmp_path / "source.json"
    segmenter.save(path)
    loaded = Segmenter.load(path)
    assert loaded == segmenter == copy.deepcopy(segmenter)
    assert hash(loaded) == hash(segmenter)
    for text in (*SONG, "Row ☂ your\tboaT"):
        assert loaded.encode(text) == segmenter.encode(text)
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first


def cut_short(text: str) -> str:
    return text[: len(text) // 2]


def altered(text: str) -> str:
    return text.replace('"lowercase": false', '"lowercase": true')


def reordered(text: str) -> str:
    content = json.loads(text)
    if "symbols" in content:
        content["symbols"].reverse()
    else:
        content["tokenizers"]["model"]["vocab"] = {"a": 0}
    return json.dumps(content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [cut_short, altered, reordered])
def test_damaged_files(kind: Kind, damage: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    Segmenter.fit(SONG, kind=kind, size=60).save(path)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(RunError, match=r"source\.json: .*restore the file"):
        Segmenter.load(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "7",
        "null",
        "[" * 100_000,
        '{"format_version": 1}',
        '{"format_version": "x"}',
        "\0",
    ],
    ids=lambda content: content[:20],
)
def test_files_of_something_else(content: str, tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    path.write_text(content)
    with pytest.raises(RunError, match="restore the file"):
        Segmenter.load(path)


def test_missing_and_newer_files(tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    with pytest.raises(RunError, match="cannot be read"):
        Segmenter.load(path)
    Segmenter.fit(SONG, kind="words").save(path)
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(RunError, match="format 2 is newer than 1"):
        Segmenter.load(path)
    with pytest.raises(RunError, match="cannot be written"):
        Segmenter.fit(SONG, kind="words").save(tmp_path / "no" / "folder.json")


# -------------------------------------------------------------------------------- real text


def lines(data: Path, name: str, count: int) -> list[str]:
    found = read_lines(data / "multi30k_en_de" / f"{name}.gz")
    return [line for line, _ in zip(found, range(count), strict=False)]


@pytest.mark.parametrize("kind", KINDS)
def test_multi30k_comes_back(data: Path, kind: Kind) -> None:
    raw = lines(data, "raw/val.en", 1014) + lines(data, "raw/val.de", 1014)
    segmenter = Segmenter.fit(raw, kind=kind, size=0 if kind in ("words", "characters") else 1000)
    for text in raw:
        assert segmenter.decode(segmenter.encode(text)) == expected(segmenter, text)
    if kind in SUBWORDS:
        assert len(segmenter) == 1000
        test = lines(data, "raw/test_2016_flickr.de", 1000)
        assert sum(UNKNOWN in segmenter.encode(text) for text in test) < 20


def test_english_web_texts_come_back(data: Path) -> None:
    path = data / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"
    texts = [line[9:] for line in read_lines(path) if line.startswith("# text = ")]
    segmenter = Segmenter.fit(texts, kind="bpe", size=2000)
    for text in texts:
        assert segmenter.decode(segmenter.encode(text)) == spaced(text)


_LEARN = """
import hashlib, sys
from unrolled.data.segment import Segmenter
lines = sys.stdin.read().splitlines()
for kind in ("bpe", "unigram"):
    print(hashlib.sha256(Segmenter.fit(lines, kind=kind, size=400).model.encode()).hexdigest())
"""


def test_every_process_learns_the_same(data: Path) -> None:
    text = "\n".join(lines(data, "raw/val.de", 300))
    learnt = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", _LEARN],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        learnt.add(done.stdout)
    assert len(learnt) == 1


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("true", None):
        if before is None:
            monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
        else:
            monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
        Segmenter.fit(SONG, kind="bpe", size=60)
        assert os.environ.get("TOKENIZERS_PARALLELISM") == before
