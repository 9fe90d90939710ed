"""Dialogues from JSONL and JSON arrays, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from unrolled.data.dialogues import Dialogue, Turn, read_dialogues
from unrolled.errors import DataError

TURNS = [{"speaker": "A", "text": "Hello?"}, {"speaker": "B", "text": ""}]
SAID = (Turn("A", "Hello?"), Turn("B", ""))
SCHEMA_GUIDED = """
[
  {
    "dialogue_id": "1_0",
    "turns": [
      {"frames": [{}], "speaker": "A", "utterance": "Hello?"},
      {"frames": [], "speaker": "B", "utterance": ""}
    ]
  },
  {"dialogue_id": "1_1", "turns": [{"utterance": "x"}]}
]
"""


def read(folder: Path, text: str, name: str = "d.jsonl") -> list[Dialogue]:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return list(read_dialogues(path))


@pytest.mark.parametrize("name", ["d.jsonl", "d.txt", "d.jsonl.gz"])
def test_a_dialogue_a_line(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"turns": TURNS, "id": 7}), "", '{"turns": ["x", "y"]}', '["x"]']
    assert read(tmp_path, "\n".join(lines), name) == [
        Dialogue(SAID, 1),
        Dialogue((Turn("", "x"), Turn("", "y")), 3),
        Dialogue((Turn("", "x"),), 4),
    ]


def test_a_turn_a_line(tmp_path: Path) -> None:
    first = [json.dumps({"dialogue_id": "p", **turn}) for turn in TURNS]
    text = "\n".join([first[0], "", first[1], '{"dialogue": 2, "utterance": "x"}', '["y"]'])
    assert read(tmp_path, text) == [
        Dialogue(SAID, 1),
        Dialogue((Turn("", "x"),), 4),
        Dialogue((Turn("", "y"),), 5),
    ]


@pytest.mark.parametrize("name", ["d.json", "d.json.gz"])
@pytest.mark.parametrize("squeezed", [False, True])
def test_an_array(tmp_path: Path, name: str, squeezed: bool) -> None:
    text = json.dumps(json.loads(SCHEMA_GUIDED)) if squeezed else SCHEMA_GUIDED
    assert read(tmp_path, text, name) == [
        Dialogue(SAID, 1 if squeezed else 3),
        Dialogue((Turn("", "x"),), 1 if squeezed else 10),
    ]


def test_an_array_by_its_first_line(tmp_path: Path) -> None:
    assert len(read(tmp_path, SCHEMA_GUIDED.lstrip(), "d.txt")) == 2


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file dialogues_\*\.json"):
        list(read_dialogues(tmp_path))
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "dialogues_002.json").write_text('[{"turns": ["b"]}]')
    (tmp_path / "dialogues_001.json.gz").write_bytes(gzip.compress(b'[{"turns": ["a"]}]'))
    assert [dialogue.turns[0].text for dialogue in read_dialogues(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('["a"]\n{"turns": [}\n', 2, "no JSON (Expecting value at character 12); expected {"),
        ('{"turns": "a"}\n', 1, "no list of turns; expected"),
        ("7\n", 1, "7; expected"),
        ("null\n", 1, "None; expected"),
        ('["a"]\n[]\n', 2, "the dialogue has no turn; remove it"),
        ('{"turns": ["a", {"speaker": "A"}]}\n', 1, "turn 2 has no text; expected a string"),
        ('["a", 5]\n', 1, "turn 2 has the text 5; expected a string"),
        ('[["a"]]\n', 1, "turn 1 has the text ['a']; expected a string"),
        ('{"turns": [{"speaker": 1, "text": "a"}]}\n', 1, "turn 1 has the speaker 1; expected"),
        ('["\\ud800"]\n', 1, "the text of turn 1 has half of a surrogate pair"),
        ('{"text": "a"}\n', 1, "neither turns nor a dialogue_id; expected"),
        ('{"dialogue_id": true, "text": "a"}\n', 1, "neither turns nor a dialogue_id"),
        ('{"dialogue_id": "p"}\n', 1, "turn 1 has no text"),
        ("[" * 100_000 + "\n", 1, "nested too deeply"),
        ("[" + "1" * 5000 + "]\n", 1, "limit"),
    ],
    ids=range(15),
)
def test_bad_lines(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert f"d.jsonl:{line}: " in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dialogue_that_comes_again(tmp_path: Path) -> None:
    turns = [f'{{"dialogue_id": "{name}", "text": "x"}}' for name in "aba"]
    with pytest.raises(DataError, match=r"jsonl:3: dialogue a goes on that began in line 1"):
        read(tmp_path, "\n".join(turns))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            '{"turns": ["a"]}\n',
            "d.json:1: ",
            "expected a JSON array of dialogues; name the file .jsonl",
        ),
        ('[\n{"turns": ["a"]}\n', "d.json:2: ", "expected a comma or ] after the dialogue"),
        ('[\n{"turns": ["a"]}\n{"turns"', "d.json:3: ", "expected a comma or ]"),
        (
            '[\n{"turns": ["a"]},\n]',
            "d.json:3: ",
            "no JSON (Expecting value at character 1 of line 3)",
        ),
        ('[\n\n{"turns":\n ["a", }]', "d.json:3: ", "at character 8 of line 4"),
        ('[\n{"turns": []}]', "d.json:2: ", "the dialogue has no turn"),
        ('[{"turns": ["a"]}]\n[]', "d.json:1: ", "there is more after the JSON array"),
        ("[ ]\n", "d.json: ", "no dialogue in it"),
        ("[", "d.json:1: ", "no JSON"),
        ("\n", "d.json:1: ", "expected a JSON array"),
        ("", "d.json: ", "the file is empty"),
    ],
)
def test_bad_arrays(tmp_path: Path, text: str, where: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, text, "d.json")
    assert where in str(error.value)
    assert message in str(error.value)


def test_no_dialogue(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"d\.jsonl: no dialogue in it; expected"):
        read(tmp_path, " \n\n")
    with pytest.raises(DataError, match="no such file"):
        list(read_dialogues(tmp_path / "x.jsonl"))


def test_schema_guided_dialogues(data: Path) -> None:
    dialogues = list(read_dialogues(data / "sgd_dialogues" / "dev"))
    assert len(dialogues) == 256
    assert sum(len(dialogue.turns) for dialogue in dialogues) == 3574
    assert {turn.speaker for dialogue in dialogues for turn in dialogue.turns} == {"USER", "SYSTEM"}
    assert dialogues[0].turns[0].text.startswith("I want to make a restaurant reservation")
    assert [dialogue.line for dialogue in dialogues[:2]] == [2, 555]
