"""compare-outputs: the table, the JSON, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of labels in the current folder: A is right twice as often as B."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold").write_text("a\nb\na\n" * 60)
    (tmp_path / "one").write_text("a\nb\nb\n" * 60)
    (tmp_path / "two").write_text("a\na\nb\n" * 60)
    return tmp_path


def test_a_table_and_a_sentence(unrolled: Any, files: Path) -> None:
    ended = unrolled("compare-outputs", "gold", "one", "two")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "labels, 180 examples"
    assert lines[1].split() == ["A", "B", "A", "−", "B", "p"]
    assert lines[2].startswith("accuracy  0.6667 [0.6")
    assert "+0.3333 [+0.2" in lines[2]
    assert lines[4].startswith("McNemar, labels that only A has right: 60, only B: 0; exact p < ")
    assert lines[5].startswith("A is better: accuracy 0.6667 (A) and 0.3333 (B), p = 0.001")
    assert len(lines) == 6
    assert max(map(len, lines)) <= 120


def test_json_is_one_line(unrolled: Any, files: Path) -> None:
    out = unrolled("compare-outputs", "gold", "one", "two", "--json", "--samples", 100).out
    assert out.count("\n") == 1
    content = json.loads(out)
    assert content["kind"] == "labels"
    assert content["metrics"]["a"]["accuracy"] == pytest.approx(2 / 3)
    assert content["mcnemar"]["only_first"] == 60
    other = unrolled("compare-outputs", "gold", "one", "two", "--json", "--seed", 1).out
    assert json.loads(other)["intervals"] != content["intervals"]


def test_one_system_alone(unrolled: Any, files: Path) -> None:
    ended = unrolled("compare-outputs", "gold", "one")
    assert (ended.code, ended.err) == (0, "")
    both = unrolled("compare-outputs", "gold", "one", "two").out.splitlines()
    lines = ended.out.splitlines()
    assert lines[0] == both[0]
    assert lines[1].split() == both[2].split()[:4]
    content = json.loads(unrolled("compare-outputs", "gold", "one", "--json").out)
    assert content["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert set(content) == {"kind", "examples", "metrics", "intervals", "notes"}
    texts = ("compare-outputs", "gold", "one", "--kind", "text", "--metrics", "exact")
    several = unrolled(*texts, "--references", "one", "two")
    assert (several.code, several.err) == (0, "")
    assert unrolled(*texts).out != several.out


def test_sentences_and_numbers(unrolled: Any, files: Path) -> None:
    (files / "gold").write_text("O B-X I-X\nB-Y\n" * 20)
    (files / "one").write_text("O B-X O\nB-Y\n" * 20)
    ended = unrolled("compare-outputs", "gold", "gold", "one")
    assert ended.out.startswith("spans, 40 sentences\n")
    assert "A is better: f1 1.0000 (A) and 0.5000 (B)" in ended.out
    assert unrolled("compare-outputs", "gold", "one", "one", "--kind", "tags").out.endswith(
        "A and B gave the same answers: accuracy 0.7500.\n"
    )
    (files / "gold").write_text("0.5\n1\n" * 20)
    (files / "one").write_text("0.6\n1\n" * 20)
    ended = unrolled("compare-outputs", "gold", "gold", "one")
    assert ended.out.startswith("numbers, 40 examples\n")
    assert "McNemar" not in ended.out
    assert "A is better: mse 0.0000 (A) and 0.0050 (B)" in ended.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n", "gold:2: gold goes on here, bad has ended: 180 answers against 1"),
        (b"", "bad: the file is empty; expected at least one line of text"),
        (b"a\n\xff\n", "bad:2: byte 0xff after 0 characters is not UTF-8; "),
        (b"a a\n" * 180, "bad:1: 2 tags here, but 1 at gold:1; give --kind labels"),
    ],
)
def test_bad_files_are_one_line(unrolled: Any, files: Path, content: bytes, message: str) -> None:
    (files / "bad").write_bytes(content)
    for order in (("bad", "one"), ("one", "bad")):
        ended = unrolled("compare-outputs", "gold", *order)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(f"unrolled: error: {message}")
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "--samples 0: expected 1 or more"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--kind", "words"], "words"),
    ],
)
def test_usage(unrolled: Any, files: Path, arguments: list[str], message: str) -> None:
    ended = unrolled("compare-outputs", "gold", "one", "two", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


@pytest.fixture
def texts(files: Path) -> Path:
    """Two files of references, the first system nearer to them; the last lines are empty."""
    (files / "gold").write_text("the cat sat on the mat\na b c d e\n\n" * 20)
    (files / "more").write_text("a cat sat on a mat\na b c d f\nx\n" * 20)
    (files / "one").write_text("the cat sat on a mat\na b c d f\n\n" * 20)
    (files / "two").write_text("cat the mat on\na c b d e\n\n" * 20)
    return files


def test_texts(unrolled: Any, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(texts / "nowhere"))
    ended = unrolled("compare-outputs", "gold", "one", "two", "--kind", "text")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "text, 60 examples"
    assert lines[1].split() == ["A", "B", "A", "−", "B", "p", "p", "(swaps)"]
    assert [line.split()[0] for line in lines[2:8]] == [
        *("bleu", "meteor", "chrf", "ter", "wer", "exact"),
    ]
    assert lines[8].startswith("meteor has no synonyms: WordNet is not in ")
    assert lines[9].startswith("A is better: bleu ")
    assert max(map(len, lines[:8])) <= 120
    more = unrolled(
        *("compare-outputs", "gold", "one", "two", "--kind", "text", "--references", "more"),
        *("--metrics", "exact", "--metrics", "bleu", "--json"),
    )
    content = json.loads(more.out)
    assert list(content["metrics"]["a"]) == ["exact", "bleu"]
    assert content["metrics"]["a"]["exact"] == pytest.approx(2 / 3)
    assert content["metrics"]["a"]["bleu"] > float(lines[2].split()[1])


def test_texts_of_another_language_have_other_stems(unrolled: Any, texts: Path) -> None:
    given = ("compare-outputs", "gold", "one", "two", "--kind", "text", "--metrics", "meteor")
    ended = unrolled(*given, "--language", "de")
    assert "no synonyms: WordNet is English, not german" in ended.out
    ended = unrolled(*given, "--language", "xx")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("unrolled: error: no stemmer for 'xx'; there are arabic,")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b\n", "gold:2: gold goes on here, bad has ended: 60 lines against 1"),
        (b"a\n" * 61, "bad:61: bad goes on here, gold has ended: 61 lines against 60"),
        (b"", "bad: the file is empty; expected at least one line of text"),
        (b"a\n\xff\n", "bad:2: byte 0xff after 0 characters is not UTF-8; "),
        (b'\n{"text": "a"}\n', "bad:2: JSON; expected plain answers, "),
    ],
)
def test_bad_texts_are_one_line(unrolled: Any, texts: Path, content: bytes, message: str) -> None:
    (texts / "bad").write_bytes(content)
    for order in (("one", "bad"), ("bad", "one"), ("one", "two", "--references", "bad")):
        ended = unrolled("compare-outputs", "gold", *order, "--kind", "text")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(f"unrolled: error: {message}")
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--references=more", "--metrics=bleu", "--language=de"])
def test_what_is_of_texts_only(unrolled: Any, texts: Path, option: str) -> None:
    ended = unrolled("compare-outputs", "gold", "one", "two", option)
    assert (ended.code, ended.out) == (2, "")
    assert f"{option.partition('=')[0]}: expected only with --kind text" in ended.err


def test_lines_of_unequal_words_point_to_texts(unrolled: Any, texts: Path) -> None:
    ended = unrolled("compare-outputs", "gold", "one", "two")
    assert ended.code == 1
    assert ended.err.rstrip().endswith("--kind text if it is a text")


def test_it_needs_no_torch(files: Path) -> None:
    code = (
        "import sys; from unrolled.cli import main;"
        "code = main(['compare-outputs', 'gold', 'one', 'two']);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
