"""TSV, CSV and JSONL: what is read, and what is refused with file, line and mend."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.records import Record, field, needs_header, parse_object, read_records
from unrolled.errors import DataError


def write(folder: Path, text: str | bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(
    folder: Path, text: str | bytes, name: str, *, header: bool | None = None
) -> list[tuple[int, dict[str, object]]]:
    found = read_records(write(folder, text, name), header=header)
    return [(record.line, dict(record.fields)) for record in found]


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.txt", "a.tsv.gz", "a"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tsv(tmp_path: Path, name: str, end: str) -> None:
    text = '\ufeff\nlabel\ttext\nx\t"a, b\n\n \ny\t\n\t\n'.replace("\n", end).encode()
    content = gzip.compress(text) if name.endswith("gz") else text
    rows = [(3, "x", '"a, b'), (6, "y", ""), (7, "", "")]
    assert read(tmp_path, content, name, header=True) == [
        (line, {"label": label, "text": text}) for line, label, text in rows
    ]
    assert read(tmp_path, content, name) == [
        (line, {"1": label, "2": text}) for line, label, text in [(2, "label", "text"), *rows]
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.csv.gz"])
def test_csv(tmp_path: Path, name: str) -> None:
    text = b'\nlabel,text\r\n"x","a ""b"", c\n\nd"\r\n\r\n"y",""\r\n,\n'
    content = gzip.compress(text) if name.endswith("gz") else text
    assert read(tmp_path, content, name, header=True) == [
        (3, {"label": "x", "text": 'a "b", c\n\nd'}),
        (7, {"label": "y", "text": ""}),
        (8, {"label": "", "text": ""}),
    ]
    assert read(tmp_path, content, name)[0] == (2, {"1": "label", "2": "text"})


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.txt", "a.jsonl.gz"])
def test_jsonl(tmp_path: Path, name: str) -> None:
    text = '\ufeff\n{"text": "\\u00e9\\ud83d\\ude00", "label": ["a"]}\r\n \n {"x": null, "y": 1e3}'
    content = gzip.compress(text.encode()) if name.endswith("gz") else text
    for header in (None, True, False):
        assert read(tmp_path, content, name, header=header) == [
            (2, {"text": "é😀", "label": ["a"]}),
            (4, {"x": None, "y": 1000.0}),
        ]


def test_names_decide_before_content(tmp_path: Path) -> None:
    assert read(tmp_path, "{a,b\n", "a.csv") == [(1, {"1": "{a", "2": "b"})]
    assert read(tmp_path, "a,b\n", "a.tsv") == [(1, {"1": "a,b"})]
    assert read(tmp_path, "a,b\tc\n", "a.txt") == [(1, {"1": "a,b", "2": "c"})]
    assert read(tmp_path, "just words\n", "a.txt") == [(1, {"1": "just words"})]


def test_fields_by_name_and_by_number(tmp_path: Path) -> None:
    [table] = read_records(write(tmp_path, "b\t2\nx\ty\n", "a.tsv"), header=True)
    names = {"b": "x", "1": "x", "2": "y", "-1": "y", "-2": "x"}
    assert {name: field(table, name) for name in names} == names
    [bare] = read_records(write(tmp_path, "x\ty\n", "b.tsv"))
    assert [field(bare, name) for name in ("1", "2", "-1", "-2")] == ["x", "y", "y", "x"]
    for record in (table, bare):
        for name in ("0", "3", "-3", "text", "", "9" * 6000):
            counted = r"\(by number 1 to 2, from the end -1 to -2\)"
            with pytest.raises(DataError, match=f"no field {name}; the fields are .* {counted}"):
                field(record, name)
    with pytest.raises(DataError, match="tsv:2: there is no field text; the fields are b, 2 "):
        field(table, "text")
    with pytest.raises(DataError, match="other:2: there is no field text"):
        field(table, "text", path="other")


def test_fields_of_objects_have_no_numbers(tmp_path: Path) -> None:
    [record] = read_records(write(tmp_path, '{"b": 1, "a": 2}\n', "a.jsonl"))
    assert field(record, "a") == 2
    for name in ("1", "-1"):
        with pytest.raises(DataError, match=f"jsonl:1: there is no field {name}; .* are b, a$"):
            field(record, name)
    with pytest.raises(DataError, match="the fields are none at all"):
        field(Record({}, 1), "text")


def test_a_header_is_needed_for_names() -> None:
    assert not needs_header([])
    assert not needs_header(["1", "-2"])
    assert needs_header(["text"])
    assert needs_header(["1", "1.5"])


@pytest.mark.parametrize(
    ("name", "text", "header", "line", "message"),
    [
        (
            "a.tsv",
            "a\tb\nc\n",
            None,
            2,
            r"1 field; expected 2 between TABs, as in the first row \(",
        ),
        ("a.tsv", "\na\tb\nc\td\te\n", True, 3, r"3 fields; .* as in the header \(line 2\)"),
        ("a.tsv", "a\tb\nc d\n", None, 2, "1 field"),
        ("a.csv", 'a,b\n"c\nd",e\nf,g,h\n', None, 4, r"3 fields; .* commas \(quote a field"),
        ("a.tsv", "a\tb\ta\nx\ty\tz\n", True, 1, "names columns 1 and 3 both 'a'; rename one"),
        ("a.csv", "\na,a\nx,y\n", True, 2, "names columns 1 and 2 both 'a'"),
        ("a.tsv", "a\t \nx\ty\n", True, 1, "column 2 has no name in the header"),
        ("a.tsv", "a\tb\n", True, 1, "a header and no record"),
        ("a.csv", 'a,b\n"c,d\ne,f\n', None, 2, "no CSV .unexpected end of data.; close each quote"),
        ("a.csv", 'a,b\n"c"d,e\n', None, 2, "no CSV .*double a quote inside quotes"),
        (
            "a.csv",
            'a,b\nc,"' + "d" * 200_000 + '"\n',
            None,
            2,
            "a field of over 131,072 characters",
        ),
        ("a.jsonl", '{"a": 1}\n{"a": \n', None, 2, "no JSON .Expecting value at character 7."),
        ("a.jsonl", '{"a": 1} {"b": 2}\n', None, 1, "no JSON .Extra data at character 10"),
        ("a.jsonl", '{"a": 1,}\n', None, 1, "no JSON"),
        ("a.jsonl", "{'a': 1}\n", None, 1, "no JSON"),
        ("a.jsonl", '{"a": "\tb"}\n', None, 1, "no JSON .Invalid control character"),
        ("a.jsonl", '[{"a": 1}]\n', None, 1, "a list; expected one JSON object a line, such as"),
        ("a.jsonl", '"a"\n', None, 1, "a string; expected one"),
        ("a.jsonl", "null\n", None, 1, "null; expected one"),
        ("a.jsonl", "12\n", None, 1, "a value; expected one"),
        ("a.jsonl", '{"a": NaN}\n', None, 1, "NaN is no finite number; expected one object"),
        ("a.jsonl", '{"a": [-Infinity]}\n', None, 1, "-Infinity is no finite number"),
        ("a.jsonl", '{"a": 1e999}\n', None, 1, "1e999 is no finite number"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}\n", None, 1, "expected one object a line"),
        ("a.jsonl", '{"a": 1, "b": 2, "a": 3}\n', None, 1, "the name 'a' stands twice"),
        ("a.jsonl", '{"x": {"a": 1, "a": 3}}\n', None, 1, "the name 'a' stands twice"),
        ("a.jsonl", '{"a": "\\ud800"}\n', None, 1, "half of a surrogate pair"),
        ("a.jsonl", '{"\\udc00": 1}\n', None, 1, "half of a surrogate pair"),
        ("a.jsonl", '{"a": ' + "[" * 200_000, None, 1, "nested too deeply"),
        ("a.tsv", b"a\tb\nc\t\xff\n", None, 2, "byte 0xff"),
        ("a.csv", b"a,b\nc,\xff\n", None, 2, "byte 0xff"),
        ("a.jsonl", b'{"a": 1}\n\xff\n', None, 2, "byte 0xff"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_malformed(
    tmp_path: Path, name: str, text: str | bytes, header: bool | None, line: int, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text, name, header=header)
    assert str(caught.value).startswith(f"{tmp_path / name}:{line}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.txt"])
def test_no_records(tmp_path: Path, name: str) -> None:
    damaged = gzip.compress(b"a\tb,c\n" * 50_000, mtime=0)[:-20]
    for content, message in (
        (b"", "is empty"),
        (b"\n \n\n", "only blank lines"),
        (b"\n" * 5000, "only blank lines"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path, content, name)
    if name != "a.jsonl":
        with pytest.raises(DataError, match="truncated or damaged"):
            read(tmp_path, damaged, name)
    with pytest.raises(DataError, match="no such file"):
        next(read_records(tmp_path / "absent"))


def test_objects_of_one_line() -> None:
    assert parse_object('{"a": 1.5}') == {"a": 1.5}
    with pytest.raises(DataError, match=r"^<stdin>:3: no JSON"):
        parse_object("{", path="<stdin>", line=3)
    with pytest.raises(DataError, match=r"^no JSON"):
        parse_object("")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_file_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    line = {"a.tsv": "a\tsome words\n", "a.csv": '"a","some words"\n'}.get(name, '{"1": "a"}\n')
    path = write(tmp_path, line * 50_000, name)
    tracemalloc.start()
    try:
        count = sum(field(record, "1") == "a" for record in read_records(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 500_000


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff\x00"))


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1))
def test_what_csv_and_json_write_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    found = read(folder, text.getvalue(), "a.csv")
    assert [list(fields.values()) for _, fields in found] == rows
    objects = [{"a": first, "b": {"c": [second]}} for first, second in rows]
    for ascii_only in (True, False):
        lines = [json.dumps(one, ensure_ascii=ascii_only) for one in objects]
        found = read(folder, "\n".join(lines), "a.jsonl")
        assert [fields for _, fields in found] == objects


def test_splice_junctions(data: Path) -> None:
    path = data / "splice_junctions" / "splice.tsv.gz"
    found = list(read_records(path, header=needs_header(["label", "sequence"])))
    labels = [field(record, "label") for record in found]
    assert [labels.count(label) for label in ("EI", "IE", "N")] == [767, 768, 1655]
    assert {len(field(record, "-1")) for record in found} == {60}
    assert (found[0].line, found[-1].line) == (2, 3191)
