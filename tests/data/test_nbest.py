"""Files of n-best lists and weights: both forms, and each way to be malformed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from unrolled.data.nbest import (
    moses_line,
    nbest_lines,
    read_column,
    read_nbest,
    read_weights,
    save_lines,
    weights_text,
    write_weights,
)
from unrolled.errors import DataError

MOSES = """\
0 ||| a small house ||| lm= -12.5 tm= -3.1 -4 ||| -9.2
0 ||| the small house ||| tm= -3.3 -4.4 lm= -11.9 ||| -9.3 ||| 0-0 1-1

2 ||| ||| lm: -1 tm: 0 0e5 ||| 0
3 ||| x ||| lm=-1 tm=1 2
"""


def test_moses(tmp_path: Path) -> None:
    path = tmp_path / "n.best"
    path.write_text(MOSES)
    lists = read_nbest(path)
    assert lists.names == ("lm", "tm_1", "tm_2")
    assert lists.texts == ("a small house", "the small house", "", "x")
    assert lists.offsets.tolist() == [0, 2, 2, 3, 4]
    assert lists.features.tolist() == [
        [-12.5, -3.1, -4],
        [-11.9, -3.3, -4.4],
        [-1, 0, 0],
        [-1, 1, 2],
    ]
    assert lists.best([1, 0, 0]) == ["the small house", "", "", "x"]
    assert lists.best([0, 1, 0]) == ["a small house", "", "", "x"]
    assert lists.best([0, 0, 0]) == ["a small house", "", "", "x"]  # the first of equal ones


def test_totals_stand_in_for_features(tmp_path: Path) -> None:
    path = tmp_path / "n.best.gz"
    with gzip.open(path, "wt") as file:
        file.write("0 ||| a ||| ||| -2\n0 ||| b ||| ||| -1\n")
    lists = read_nbest(path)
    assert lists.names == ("total",)
    assert lists.best([1]) == ["b"]
    path.write_bytes(b"")
    path = tmp_path / "bare"
    path.write_text("0 ||| a\n0 ||| b\n")
    assert read_nbest(path).names == ()


def test_objects_and_back(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    rows = [
        {
            "source": "ein Haus",
            "candidates": [{"text": "a house", "features": {"lm": -1, "t": [1, 2]}}],
        },
        {"candidates": []},
        {"candidates": [{"text": "é", "features": {"t": [3, 4.5], "lm": 0}}]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    lists = read_nbest(path)
    assert lists.names == ("lm", "t_1", "t_2")
    assert lists.sources == ("ein Haus", None, None)
    assert lists.best([1, 1, 1]) == ["a house", "", "é"]
    save_lines(tmp_path / "again", nbest_lines(lists))
    again = read_nbest(tmp_path / "again")
    assert (again.texts, again.names, again.sources) == (lists.texts, lists.names, lists.sources)
    assert again.features.tolist() == lists.features.tolist()
    assert again.offsets.tolist() == lists.offsets.tolist()


def test_what_predict_prints(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    best = [{"translation": t, "score": -1.0, "log_prob": p} for t, p in (("a", -3), ("b c", -2.5))]
    row = json.dumps({"id": 4, "translation": "a", "log_prob": -3, "n_best": best})
    path.write_text(f"\n{row}\n\n{row}\n")
    lists = read_nbest(path)
    assert lists.names == ("score", "log_prob")
    assert lists.offsets.tolist() == [0, 0, 2, 2, 4]
    assert lists.best([0, 1]) == ["", "b c", "", "b c"]


def test_written_candidates_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "n"
    save_lines(
        path,
        [
            moses_line(0, "a b", {"lm": -1 / 3, "n": 2}, 1.5),
            moses_line(1, "", {"lm": 1e-7, "n": 0}, 0),
        ],
    )
    lists = read_nbest(path)
    assert lists.texts == ("a b", "")
    assert lists.features[0, 0] == pytest.approx(-1 / 3, abs=1e-9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no bars", r"n:2: no \|\|\| in the line; expected ID"),
        ("x ||| a ||| f= 1", r"n:2: 'x' is no number of a list"),
        ("-1 ||| a ||| f= 1", r"n:2: '-1' is no number of a list"),
        ("0 ||| a ||| f= 1", r"n:2: list 0 after list 1; put all candidates of a list together"),
        ("99999999999 ||| a ||| f= 1", r"n:2: list 99999999999 after list 1; numbers count"),
        ("1 ||| a ||| g= 1", r"n:2: the features are g; the first candidate has f"),
        ("1 ||| a ||| f= 1 2", r"n:2: the features are f_1, f_2; the first candidate has f"),
        ("1 ||| a", r"n:2: the features are none; the first candidate has f"),
        ("1 ||| a ||| f= 1 f= 2", r"n:2: the feature f stands twice"),
        ("1 ||| a ||| f=", r"n:2: the feature f has no value"),
        ("1 ||| a ||| 1 2", r"n:2: the value 1 has no name before it"),
        ("1 ||| a ||| f= -inf", r"n:2: f is '-inf'; expected a finite number"),
        ("1 ||| a ||| f= nan", r"n:2: f is 'nan'"),
        ("1 ||| a ||| f= one", r"n:2: f is 'one'"),
        ("1 ||| a ||| ||| high", r"n:2: the total is 'high'"),
    ],
)
def test_malformed_moses_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "n"
    path.write_text(f"1 ||| a ||| f= 1\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_nbest(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 ||| a", r"n:2: no JSON"),
        ("[]", r"n:2: a list; expected one JSON object"),
        ("{}", r'n:2: no list "candidates"'),
        ('{"candidates": {}}', r'n:2: no list "candidates"'),
        ('{"candidates": ["a"]}', r"n:2: the candidate 'a'; expected"),
        ('{"candidates": [{"text": 1}]}', r"n:2: the candidate {'text': 1}; expected"),
        ('{"candidates": [{"text": "", "features": [1]}]}', r"n:2: the candidate"),
        ('{"candidates": [{"text": "", "features": {"f": true}}]}', r"n:2: f is True"),
        ('{"candidates": [{"text": "", "features": {"f": "1e999"}}]}', r"n:2: f is '1e999'"),
        ('{"candidates": [{"text": "", "features": {"f": null}}]}', r"n:2: f is None"),
        ('{"candidates": [{"text": "", "features": {"f": 1e999}}]}', r"n:2: 1e999 is no finite"),
        ('{"candidates": [{"text": "", "features": {}}]}', r"n:2: the features are none"),
        ('{"candidates": [{"text": "a\\nb"}]}', r"n:2: the text 'a\\nb' holds a line break"),
        ('{"source": 1, "candidates": []}', r"n:2: source is 1; expected a text"),
    ],
)
def test_malformed_objects_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "n"
    path.write_text(f'{{"candidates": [{{"text": "a", "features": {{"f": 1}}}}]}}\n{line}\n')
    with pytest.raises(DataError, match=message):
        read_nbest(path)


def test_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("\n\n")
    with pytest.raises(DataError, match="holds only blank lines"):
        read_nbest(path)
    with pytest.raises(DataError, match="no such file"):
        read_nbest(tmp_path / "none")


def test_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    write_weights(path, weights_text(["lm", "ü"], [0.25, -1], score=30.5))
    assert read_weights(path) == {"lm": 0.25, "ü": -1.0}
    for text, message in (
        ("{}", "no file of weights"),
        ("", "the file is empty"),
        ('{"format_version": 2, "weights": {}}', "format 2 is newer than 1"),
        ('{"format_version": 1, "weights": {"a": "x"}}', "a is 'x'; expected a finite number"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_weights(path)


def test_a_column_has_a_line_for_each_list(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("a\n\nb\n")
    assert read_column(path, 3, "references") == ["a", "", "b"]
    with pytest.raises(DataError, match=r"r:3: 3 references for 2 n-best lists"):
        read_column(path, 2, "references")
    with pytest.raises(DataError, match=r"r:3: 3 references for 4 n-best lists"):
        read_column(path, 4, "references")
