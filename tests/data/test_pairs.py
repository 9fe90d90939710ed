"""Pairs from parallel files and from records, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from unrolled.data.pairs import Pair, PairFields, read_pairs
from unrolled.errors import DataError


def write(path: Path, text: str | bytes) -> None:
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_parallel_files(tmp_path: Path) -> None:
    write(tmp_path / "a.b.en", "a cat\r\n\n dog \n")
    write(tmp_path / "a.b.de.gz", "eine Katze\nleer\n\n")
    write(tmp_path / "a.b.de2", "Katze\n\nHund")
    assert list(read_pairs(tmp_path / "a.b", PairFields("en", ("de", "de2")))) == [
        Pair("a cat", "eine Katze", ("eine Katze", "Katze"), 1),
        Pair("", "leer", ("leer", ""), 2),
        Pair(" dog ", "", ("", "Hund"), 3),
    ]
    assert [pair.source for pair in read_pairs(tmp_path / "a.b", PairFields("de"))] == [
        "eine Katze",
        "leer",
        "",
    ]
    assert next(read_pairs(str(tmp_path / "a.b"), PairFields("en"))) == Pair("a cat", None, (), 1)


def test_a_line_is_nothing_but_a_line(tmp_path: Path) -> None:
    """Separators that str.splitlines knows are text."""
    write(tmp_path / "t.en", "a\x0bb\x1c\u2028c\x85\nd")
    write(tmp_path / "t.de", "e\nf")
    pairs = list(read_pairs(tmp_path / "t", PairFields("en", ("de",))))
    assert [(pair.source, pair.target) for pair in pairs] == [
        ("a\x0bb\x1c\u2028c\x85", "e"),
        ("d", "f"),
    ]


def test_parallel_files_go_before_a_file_of_that_name(tmp_path: Path) -> None:
    write(tmp_path / "train", "x\ty\n")
    write(tmp_path / "train.1", "a\n")
    write(tmp_path / "train.2", "b\n")
    fields = PairFields("1", ("2",))
    assert list(read_pairs(tmp_path / "train", fields)) == [Pair("a", "b", ("b",), 1)]
    (tmp_path / "train.1").unlink()
    assert list(read_pairs(tmp_path / "train", fields)) == [Pair("x", "y", ("y",), 1)]


@pytest.mark.parametrize(
    ("name", "text", "fields", "lines"),
    [
        ("t.tsv", "en\tx\tde\na b\t0\tc\n\n\t1\td\n", PairFields("en", ("de",)), (2, 4)),
        ("t.tsv.gz", "a b\t0\tc\n\t1\td\n", PairFields("1", ("-1",)), (1, 2)),
        ("t.tsv", "h\ti\na b\tc\n\td\n", PairFields("1", ("2",), header=True), (2, 3)),
        ("t.csv", 'en,de\n"a b",c\n,d\n', PairFields("en", ("de",)), (2, 3)),
        (
            "t.jsonl",
            '{"s": "a b", "t": ["c"]}\n{"s": "", "t": "d"}\n',
            PairFields("s", ("t",)),
            (1, 2),
        ),
    ],
)
def test_records(
    tmp_path: Path, name: str, text: str, fields: PairFields, lines: tuple[int, int]
) -> None:
    write(tmp_path / name, text)
    first, second = lines
    assert list(read_pairs(tmp_path / name, fields)) == [
        Pair("a b", "c", ("c",), first),
        Pair("", "d", ("d",), second),
    ]


def test_several_references(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write(path, '{"s": "a", "t": ["b", ""], "u": "c"}\n')
    assert list(read_pairs(path, PairFields("s", ("t", "u")))) == [
        Pair("a", "b", ("b", "", "c"), 1)
    ]
    assert list(read_pairs(path, PairFields("s"))) == [Pair("a", None, (), 1)]


@pytest.mark.parametrize(
    ("source", "target", "where", "message"),
    [
        (5, 3, "t.en:4: ", "no partner in t.de: t.en has 5 lines, t.de 3; expected as many"),
        (2, 1200, "t.de:3: ", "no partner in t.en: t.de has 1,200 lines, t.en 2; expected as many"),
    ],
)
def test_unequal_files(tmp_path: Path, source: int, target: int, where: str, message: str) -> None:
    write(tmp_path / "t.en", "a\n" * source)
    write(tmp_path / "t.de", "b\n" * target)
    pairs = read_pairs(tmp_path / "t", PairFields("en", ("de",)))
    for _ in range(min(source, target)):
        next(pairs)
    with pytest.raises(DataError) as error:
        next(pairs)
    assert where in str(error.value)
    assert message in str(error.value)


def test_unequal_references(tmp_path: Path) -> None:
    for name, count in (("en", 3), ("de", 3), ("de2", 2)):
        write(tmp_path / f"t.{name}", "a\n" * count)
    with pytest.raises(DataError, match=r"t\.en:3: .*t\.de2: t\.en has 3 lines, t\.de2 2"):
        list(read_pairs(tmp_path / "t", PairFields("en", ("de", "de2"))))


def test_missing_files(tmp_path: Path) -> None:
    fields = PairFields("en", ("de",))
    with pytest.raises(DataError, match=r"/t: no such file, nor t\.en or t\.en\.gz beside it"):
        next(read_pairs(tmp_path / "t", fields))
    write(tmp_path / "t.en", "a\n")
    with pytest.raises(DataError, match=r"/t\.de: no such file, nor t\.de\.gz, to go with t\.en"):
        next(read_pairs(tmp_path / "t", fields))
    write(tmp_path / "t.de", "")
    with pytest.raises(DataError, match=r"/t\.de: the file is empty"):
        next(read_pairs(tmp_path / "t", fields))
    (tmp_path / "u").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        next(read_pairs(tmp_path / "u", fields))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.de", b"b\nK\xe4se\n", r"t\.de:2: byte 0xe4 .*not UTF-8"),
        ("t.de.gz", gzip.compress(b"b\n" * 9999, mtime=0)[:-20], "truncated or damaged"),
        ("t.de.gz", b"plain\n", "not gzip data"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write(tmp_path / "t.en", "a\n" * 9999)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_pairs(tmp_path / "t", PairFields("en", ("de",))))


@pytest.mark.parametrize(
    ("name", "text", "fields", "message"),
    [
        ("t.tsv", "a\tb\n", PairFields("1", ("3",)), "t.tsv:1: there is no field 3"),
        ("t.tsv", "en\tde\na\tb\n", PairFields("en", ("fr",)), "t.tsv:2: there is no field fr"),
        ("t.tsv", "a\tb\nc\td\n", PairFields("en", ("de",)), "give numbers instead of names"),
        (
            "t.jsonl",
            '{"s": 1, "t": "b"}\n',
            PairFields("s", ("t",)),
            "field s holds 1; expected a string",
        ),
        ("t.jsonl", '{"s": "a", "t": null}\n', PairFields("s", ("t",)), "field t holds None"),
        ("t.jsonl", '{"s": "a", "t": [{}]}\n', PairFields("s", ("t",)), "field t holds {}"),
        ("t.jsonl", '{"s": "a", "t": []}\n', PairFields("s", ("t",)), "t is an empty list"),
    ],
)
def test_bad_records(
    tmp_path: Path, name: str, text: str, fields: PairFields, message: str
) -> None:
    write(tmp_path / name, text)
    with pytest.raises(DataError) as error:
        list(read_pairs(tmp_path / name, fields))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["t.en", "t.de", "t.en.gz"])
def test_one_of_parallel_files(tmp_path: Path, name: str) -> None:
    write(tmp_path / "t.en", "a cat\n")
    write(tmp_path / "t.de", "eine Katze\n")
    write(tmp_path / "t.en.gz", "a cat\n")
    with pytest.raises(DataError, match=r"give what their names have in common, .*/t$"):
        next(read_pairs(tmp_path / name, PairFields("en", ("de",))))


def test_real_pairs(data: Path) -> None:
    for name in ("raw/val", "tok/val.lc.norm.tok"):
        pairs = list(read_pairs(data / "multi30k_en_de" / name, PairFields("en", ("de",))))
        assert len(pairs) == 1014
        assert all(pair.source and pair.target for pair in pairs)
    captions = data / "flickr30k_captions_text" / "val"
    [first, *_] = pairs = list(
        read_pairs(captions, PairFields("1.en", ("2.en", "3.en", "4.en", "5.en")))
    )
    assert len(pairs) == 1014
    assert len(first.references) == 4
    french = data / "tatoeba_eng_fra" / "fra_first50000.txt.gz"
    pair = next(read_pairs(french, PairFields("1", ("2",))))
    assert (pair.source, pair.target) == ("Go.", "Va !")
