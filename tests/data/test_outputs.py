"""Files of answers: what they are is seen, and where they part is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from unrolled.data.outputs import read_outputs
from unrolled.errors import DataError

CONLLU = """\
# text = Go there.
1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
2-3\tthere.\t_\t_\t_\t_\t_\t_\t_\t_
2\tthere\tthere\tADV\tRB\t_\t1\tadvmod\t_\t_
3\t.\t.\tPUNCT\t.\t_\t1\tpunct\t_\t_

1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_
"""
COLUMNS = "Go VERB\nthere ADV\n. PUNCT\n\nYes INTJ\n"
LINES = "VERB ADV PUNCT\nINTJ\n"
WORDS = "VERB\nADV\nPUNCT\n\nINTJ\n"
TAGS = (("VERB", "ADV", "PUNCT"), ("INTJ",))


def write(folder: Path, *texts: str | bytes) -> list[Path]:
    paths = [folder / f"file{index}" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return paths


@pytest.mark.parametrize("other", [CONLLU, COLUMNS, COLUMNS.replace(" ", "\t"), LINES, WORDS])
@pytest.mark.parametrize("reference", [CONLLU, COLUMNS, LINES, WORDS])
def test_every_form_of_tags_is_read(tmp_path: Path, reference: str, other: str) -> None:
    kind, files = read_outputs(*write(tmp_path, reference, other, LINES))
    assert kind == "tags"
    assert [each.rows for each in files] == [TAGS] * 3


@pytest.mark.parametrize(
    ("texts", "kind", "rows"),
    [
        (["a\nb\n", "a\na\n"], "labels", (("a",), ("b",))),
        (["1\n0\n", "1\n1\n"], "labels", (("1",), ("0",))),
        (["1\n0\n", "1\n0.5\n"], "numbers", (("1",), ("0",))),
        (["1e-3\n2\n", "1\n2\n"], "numbers", (("1e-3",), ("2",))),
        (["1.5\nnan\n", "1\n2\n"], "labels", (("1.5",), ("nan",))),
        (["O B-X\nO\n", "O O\nO\n"], "spans", (("O", "B-X"), ("O",))),
        (["O O\nO\n", "O I-X\nO\n"], "spans", (("O", "O"), ("O",))),
        (["B-X\nI-X\n", "B-X\nO\n"], "spans", (("B-X", "I-X"),)),  # one sentence, a word a line
        (["B-X\nO\nO O\n", "B-X\nO\nO O\n"], "spans", (("B-X",), ("O",), ("O", "O"))),
        (["D N\n\nV\n", "D N\n\nV\n"], "tags", (("D", "N"), ("V",))),
        (["D N\nD N\n", "D V\nD N\n"], "tags", (("D", "N"), ("D", "N"))),
    ],
)
def test_the_kind_is_seen(
    tmp_path: Path, texts: list[str], kind: str, rows: tuple[tuple[str, ...], ...]
) -> None:
    found, files = read_outputs(*write(tmp_path, *texts))
    assert found == kind
    assert files[0].rows == rows


def test_the_kind_may_be_given(tmp_path: Path) -> None:
    paths = write(tmp_path, "New York\n Rome\n", "New York\nNew Delhi\n")
    assert read_outputs(*paths, kind="labels")[1][0].rows == (("New York",), ("Rome",))
    paths = write(tmp_path, "1\n2\n", "1\n3\n")
    assert read_outputs(*paths, kind="numbers")[0] == "numbers"
    paths = write(tmp_path, "B-X\nO\n", "B-X\nO\n")
    assert read_outputs(*paths, kind="labels")[1][0].rows == (("B-X",), ("O",))
    assert read_outputs(*paths, kind="tags")[0] == "tags"


def test_a_column_may_be_chosen(tmp_path: Path) -> None:
    gold, system = write(tmp_path, CONLLU, "VB RB .\nUH\n")
    for column in ("xpos", "5"):
        kind, files = read_outputs(gold, system, column=column)
        assert kind == "tags"
        assert files[0].rows == files[1].rows
    both, _ = write(tmp_path, "Go VERB NOUN\non ADV ADV\n\nYes X INTJ\n", "")
    assert read_outputs(both, both, column="2")[1][0].rows == (("VERB", "ADV"), ("X",))
    assert read_outputs(both, both, column="-1")[1][0].rows == (("NOUN", "ADV"), ("INTJ",))


def test_gzip_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    paths = write(tmp_path, "a\r\nb\r\n\r\n", gzip.compress(b"\xef\xbb\xbfa\nc"))
    _, files = read_outputs(*paths)
    assert [each.rows for each in files] == [(("a",), ("b",)), (("a",), ("c",))]


def test_blank_answers_are_wrong_and_blank_truth_is_left_out(tmp_path: Path) -> None:
    _, files = read_outputs(*write(tmp_path, "a\nb\nc\n", "a\n\nc\n"))
    assert files[1].rows == (("a",), ("",), ("c",))
    _, files = read_outputs(*write(tmp_path, "a\n\nc\n", "a\n\nd\n"), kind="labels")
    assert [each.rows for each in files] == [(("a",), ("c",)), (("a",), ("d",))]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a\nb\nc\n", "a\nb\n"], "file0:3: {0} goes on here, {1} has ended: 3 answers against 2"),
        (["a\nb\n", "a\nb\nc\n"], "file1:3: {1} goes on here, {0} has ended: 3 answers against 2"),
        (["D N\nV\nD N\n", "D N\nV V\nD\n"], "file1:2: 2 tags here, but 1 at {0}:2"),
        (["D N\nV\n", "D N\n"], "file0:2: {0} goes on here"),
        ([COLUMNS, "VERB ADV PUNCT\nINTJ X\n"], "file1:2: 2 tags here, but 1 at {0}:5"),
        ([COLUMNS, "VERB ADV\nINTJ\n"], "file1:1: 2 tags here, but 3 at {0}:1"),
        (["a\n", ""], "file1: the file is empty"),
        (["a\n", "\n \n"], "file1: holds only blank lines"),
        (["a\nb\n", b"a\n\xe9\n"], "file1:2: byte 0xe9 after 0 characters is not UTF-8"),
        (["a\n", '{"label": "a"}\n'], "file1:1: JSON; expected plain answers"),
    ],
)
def test_files_that_part_are_refused_with_the_line(
    tmp_path: Path, texts: list[str | bytes], message: str
) -> None:
    paths = write(tmp_path, *texts)
    with pytest.raises(DataError) as caught:
        read_outputs(*paths)
    assert message.format(*paths) in str(caught.value)


@pytest.mark.parametrize("wrong", ["x", "nan", "inf", ""])
def test_numbers_must_be_numbers(tmp_path: Path, wrong: str) -> None:
    paths = write(tmp_path, "1.5\n2\n3", f"1.5\n{wrong}\n3")
    with pytest.raises(DataError, match=f"file1:2: '{wrong}' is not a finite number"):
        read_outputs(*paths, kind="numbers")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: no such file"):
        read_outputs(*write(tmp_path, "a\n"), tmp_path / "nothing")
