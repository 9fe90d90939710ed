"""CoNLL-U and column files: what is read, and what is refused with file, line and mend."""

from __future__ import annotations

import gzip
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.columns import Column, Sentence, read_columns
from unrolled.errors import DataError

CONLLU = """\
# sent_id = 1
# text = Du cul\tet du
1-2\tDu\t_\t_\t_\t_\t_\t_\t_\t_
1\tDe\tde\tADP\tP\t_\t3\tcase\t_\t_
2\tle\tle\tDET\tD\tGender=Masc\t3\tdet\t_\tSpaceAfter=No
2.1\tvu\tvoir\tVERB\t_\t_\t_\t_\t_\t_
3\t10 000\t10 000\tNUM\tN\t_\t0\troot\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t#\t_\t0\troot\t_\t_
2\t_\t_\tPUNCT\t_\t_\t1\tpunct\t_\t_

"""


def write(folder: Path, text: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes, name: str = "a.txt", **options: object) -> list[Sentence]:
    return list(read_columns(write(folder, text, name), **options))  # type: ignore[arg-type]


def row(number: int | str, form: str = "a", upos: str = "X") -> str:
    return f"{number}\t{form}\t_\t{upos}\t_\t_\t_\t_\t_\t_\n"


@pytest.mark.parametrize("name", ["a.conllu", "a.txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conllu(tmp_path: Path, name: str, end: str) -> None:
    expected = [
        Sentence(("De", "le", "10 000"), (("ADP", "DET", "NUM"),), 4),
        Sentence(("#", "_"), (("SYM", "PUNCT"),), 10),
    ]
    text = CONLLU.replace("\n", end).encode()
    for content in (text, b"\xef\xbb\xbf" + text, text.rstrip()):
        assert read(tmp_path, content, name) == expected
    assert read(tmp_path, gzip.compress(text), name + ".gz") == expected


def test_columns_of_conllu_have_names_and_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, CONLLU)
    [first, _] = read_columns(path, token="lemma", tags=("xpos", "feats", 4, "-10"))
    assert first.tokens == ("de", "le", "10 000")
    assert first.tags == (
        ("P", "D", "N"),
        ("_", "Gender=Masc", "_"),
        ("ADP", "DET", "NUM"),
        ("1", "2", "3"),
    )
    [first, _] = read_columns(path, tagged=False)
    assert (first.tokens, first.tags) == (("De", "le", "10 000"), ())


@pytest.mark.parametrize("name", ["a.conllu", "a.txt"])
def test_a_file_of_ranges_and_comments_has_no_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there are no words in it; expected the lines of CoNLL-U"):
        read(tmp_path, "# a\n" + row("1-2") + "\n", name)


@pytest.mark.parametrize(
    ("text", "options", "tokens", "tags"),
    [
        ("a O\nb B-x\n\nc O\n", {}, ["a b", "c"], [["O B-x"], ["O"]]),
        ("a NN O\nb VB I-x\n", {"tags": (2, "-1")}, ["a b"], [["NN VB", "O I-x"]]),
        ("O  a\n I b \n", {"token": "2", "tags": ("1",)}, ["a b"], [["O I"]]),
        ("#tag\tO\n#\tO\n\t\nb\tO\n", {}, ["#tag #", "b"], [["O O"], ["O"]]),
        ("a\tO\n \t \n\n\n\nb\tO", {}, ["a", "b"], [["O"], ["O"]]),
        ("a\tO \nb \tI\n", {}, ["a b"], [["O I"]]),
        ("a O\nb\tI\n", {}, ["a b"], [["O I"]]),  # a TAB is white space, too
        ("-DOCSTART- -X-\n\na O\n-DOCSTART-\nb O\n", {}, ["a", "b"], [["O"], ["O"]]),
        ("a\nb\n\nc\n", {"tagged": False}, ["a b", "c"], [[], []]),
        ("a 1 2 3 4 5 6 7 8 9\n", {}, ["a"], [["9"]]),
        ("a\t1\t2\t3\t4\t5\t6\t7\t8\t9\n", {}, ["a"], [["9"]]),  # ten fields, but no ids
    ],
)
def test_column_files(
    tmp_path: Path,
    text: str,
    options: dict[str, object],
    tokens: list[str],
    tags: list[list[str]],
) -> None:
    found = read(tmp_path, text, **options)
    assert [" ".join(sentence.tokens) for sentence in found] == tokens
    assert [[" ".join(column) for column in sentence.tags] for sentence in found] == tags


def test_odd_spaces_belong_to_their_token(tmp_path: Path) -> None:
    for between in (" ", "\t", "  "):
        [found] = read(tmp_path, f"10\u00a0000{between}NUM\nx\u2028y\x0b{between}O\n")
        assert found.tokens == ("10\u00a0000", "x\u2028y\x0b")


def test_lines_are_counted_from_the_file(tmp_path: Path) -> None:
    assert [s.line for s in read(tmp_path, "\n\na O\nb O\n\n\nc O\n")] == [3, 7]


ONE = row(1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (ONE + "2\ta\tX\n", 2, "3 fields between TABs; expected the 10 of CoNLL-U: id, form"),
        (ONE + row(2).replace("\t", " "), 2, "1 field between TABs; expected the 10"),
        (ONE + row(2)[:-1] + "\tmore\n", 2, "11 fields"),
        (ONE + row("x"), 2, "the id is 'x'; expected 2"),
        (ONE + row(""), 2, "the id is ''; expected 2"),
        (ONE + row(1), 2, "the id is '1'; expected 2, as words are numbered from 1 after each"),
        (ONE + row(3), 2, "the id is '3'; expected 2"),
        (ONE + row("0-x"), 2, "the id is '0-x'"),
        (ONE + row("²"), 2, "the id is '²'"),
        (ONE + "\n" + row(2), 3, "the id is '2'; expected 1"),
        (ONE + "\n" + row(1, form=""), 3, r"the token \(column 2\) is empty"),
        (ONE + row(2, upos=" "), 2, r"the tag \(column 4\) is empty; fill it in, or delete"),
        (ONE + "-DOCSTART-\n", 2, "1 field"),
    ],
)
@pytest.mark.parametrize("name", ["a.conllu", "a.txt", "a.conllu.gz"])
def test_malformed_conllu(tmp_path: Path, text: str, line: int, message: str, name: str) -> None:
    content = gzip.compress(text.encode()) if name.endswith("gz") else text
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content, name)
    assert (caught.value.line, str(caught.value.path)) == (line, str(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}:{line}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a O\nb\n", 2, "1 field between white space; expected 2 as in line 1; a sentence ends"),
        (
            "a\tO\nb O\n",
            2,
            "1 field between TABs; expected 2 as in line 1; part the fields by TABs",
        ),
        ("\na\tO\nb\tO\tO\n", 3, "3 fields between TABs; expected 2 as in line 2"),
        ("a O\nNew York\tO\n", 2, "3 fields"),
        ("# id 1\na O\n", 2, "only CoNLL-U has comments"),
        ("a O\n\n# id = 1\nb O\n", 3, "only CoNLL-U has comments"),
        ("a\n", 1, "the tags would be the tokens themselves .*one field"),
        ("a\tO\n\tO\n", 2, r"the token \(column 1\) is empty"),
        ("a\tO\nb\t \n", 2, r"the tag \(column 2\) is empty"),
    ],
)
def test_malformed_columns(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}:{line}: ")


@pytest.mark.parametrize(
    "column",
    [0, 3, -3, "0", "form", "x", "3", "9" * 6000, "²", "1.5", ""],
    ids=lambda value: repr(value)[:24],
)
def test_columns_that_do_not_exist(tmp_path: Path, column: Column) -> None:
    message = f"no column {column}; the columns are 1 to 2, from the end -1 to -2"
    for options in ({"token": column}, {"tags": (column,)}):
        with pytest.raises(DataError, match=re.escape(message)) as caught:
            read(tmp_path, "\na O\n", **options)
        assert caught.value.line == 2


@pytest.mark.parametrize("column", [0, 11, -11, "pos", "UPOS"])
def test_columns_that_conllu_does_not_have(tmp_path: Path, column: Column) -> None:
    message = f"no column {column}; the columns are id, form, .*, misc, or 1 to 10, from"
    with pytest.raises(DataError, match=message):
        read(tmp_path, CONLLU, tags=(column,))


def test_tags_are_not_the_tokens(tmp_path: Path) -> None:
    for text, tags in (
        (CONLLU, ("form",)),
        (CONLLU, (4, "2")),
        ("a O\n", (1,)),
        ("a O\n", ("-2",)),
    ):
        with pytest.raises(DataError, match="the tags would be the tokens themselves"):
            read(tmp_path, text, tags=tags)


def test_what_is_no_text_of_words(tmp_path: Path) -> None:
    whole = gzip.compress(("a O\n" * 50_000).encode(), mtime=0)
    for content, message in (
        (b"", "is empty"),
        (b"\n \n\t\n\n", "no words in it"),
        (b"\n" * 5000, "no words in it"),
        (b"-DOCSTART- O\n\n", "no words in it"),
        (whole[:-20], "truncated or damaged"),
        (b"a O\nb\xff O\n", ":2: byte 0xff"),
        (b"a\x00b O\nb O O\n", ":2: 3 fields"),
        ("a O\n".encode("utf-16"), "byte 0xff"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path, content)
    with pytest.raises(DataError, match="no such file"):
        next(read_columns(tmp_path / "absent"))


def test_many_lines_that_begin_like_comments(tmp_path: Path) -> None:
    found = read(tmp_path, "#a\tO\n" * 3000 + "\nb\tO\n")
    assert [len(sentence.tokens) for sentence in found] == [3000, 1]
    assert len(read(tmp_path, "# a\n" * 3000 + CONLLU, "a.conllu")) == 2


def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path, (row(1) + row(2) + "\n") * 30_000)
    tracemalloc.start()
    try:
        count = sum(len(sentence.tokens) for sentence in read_columns(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60_000
    assert peak < 500_000


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t\ufeff"), min_size=1).filter(
    lambda text: text.strip(" ") == text and not text.isspace() and text != "-DOCSTART-"
)


@given(st.lists(st.lists(st.tuples(FIELD, FIELD), min_size=1), min_size=1))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    plain = "\n\n".join("\n".join("x" + "\t".join(pair) for pair in one) for one in sentences)
    found = read(folder, plain)
    assert [s.tokens for s in found] == [tuple("x" + a for a, _ in one) for one in sentences]
    assert [s.tags for s in found] == [(tuple(b for _, b in one),) for one in sentences]
    lines = ["".join(row(i, *pair) for i, pair in enumerate(one, 1)) for one in sentences]
    found = read(folder, "\n".join(lines))
    assert [s.tokens for s in found] == [tuple(a for a, _ in one) for one in sentences]


# ------------------------------------------------------------------------------- real files


@pytest.mark.parametrize(
    ("part", "sentences", "words"),
    [("train", 12_544, 204_577), ("dev", 2_001, 25_147), ("test", 2_077, 25_094)],
)
def test_ewt(data: Path, part: str, sentences: int, words: int) -> None:
    found = list(read_columns(data / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz"))
    assert (len(found), sum(len(s.tokens) for s in found)) == (sentences, words)
    assert len({tag for s in found for tag in s.tags[0]}) == 17


@pytest.mark.parametrize(
    ("name", "sentences", "words", "spans"),
    [
        ("wnut17train.conll.gz", 3_394, 62_730, 1_975),
        ("emerging.dev.conll.gz", 1_009, 15_733, 836),
        ("emerging.test.annotated.gz", 1_287, 23_394, 1_079),
    ],
)
def test_wnut(data: Path, name: str, sentences: int, words: int, spans: int) -> None:
    found = list(read_columns(data / "wnut17_ner" / name))
    assert (len(found), sum(len(s.tokens) for s in found)) == (sentences, words)
    assert sum(tag.startswith("B-") for s in found for tag in s.tags[0]) == spans
