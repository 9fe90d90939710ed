"""Files of similarities and analogies."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.data.word_questions import (
    Analogy,
    Similarity,
    from_json,
    read_questions,
    to_json,
)
from unrolled.errors import DataError


def written(folder: Path, text: str) -> Path:
    path = folder / "questions.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", ["\t", " ", ",", "  "])
def test_similarities(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path, f"car{mark}automobile{mark}3.92\r\n\nsun{mark}sea{mark}-1\n")
    assert read_questions(path) == [
        Similarity(("car", "automobile"), 3.92),
        Similarity(("sun", "sea"), -1.0),
    ]


def test_a_header_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, "Word 1,Word 2,Human (mean)\nlove,sex,6.77\n")
    assert read_questions(path) == [Similarity(("love", "sex"), 6.77)]


def test_analogies(tmp_path: Path) -> None:
    path = written(tmp_path, ": capital\nAthens Greece Oslo Norway\n\n: gram1\na b c d\n")
    assert read_questions(path) == [
        Analogy(("Athens", "Greece", "Oslo", "Norway"), "capital"),
        Analogy(("a", "b", "c", "d"), "gram1"),
    ]
    assert read_questions(written(tmp_path, "a b c d\n")) == [Analogy(("a", "b", "c", "d"))]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a b 1\na b\n", 2, "2 fields; expected two words and a score"),
        ("a b 1\na b high\n", 2, "'high' is no finite number"),
        ("a b nan\n", 1, "no finite number"),
        ("a b 1\na b inf\n", 2, "no finite number"),
        (": s\na b c d\na b c\n", 3, "3 fields; expected four words"),
        ("one\n", 1, "1 fields"),
        ("a\t\t1\n", 1, "3 fields"),
        (": s\n", None, "only names of sections"),
        ("\n\n", None, "no question"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, text: str, line: int | None, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read_questions(written(tmp_path, text))
    assert caught.value.line == line
    assert str(tmp_path) in str(caught.value)


def test_json_and_back(tmp_path: Path) -> None:
    for question in (Similarity(("a", "b"), 1.5), Analogy(("a", "b", "c", "d"), "s")):
        assert from_json(to_json(question)) == question


def test_published_files(data: Path) -> None:
    folder = data / "word_similarity"
    sizes = {
        name: len(read_questions(folder / f"EN-{name}.txt")) for name in ("WS-353-ALL", "RG-65")
    }
    assert sizes == {"WS-353-ALL": 353, "RG-65": 65}
    analogies = read_questions(data / "word_analogies" / "questions-words.txt.gz")
    assert len(analogies) == 19_544
    assert len({question.section for question in analogies if isinstance(question, Analogy)}) == 14
