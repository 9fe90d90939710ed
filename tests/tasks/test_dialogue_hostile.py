"""Dialogue with odd input: what is wrong is said in a line, and the rest is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from test_dialogue import MODELS, dialogues, options, trained, write

from unrolled.data.dialogues import Turn
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks.dialogue_data import Cast, to_json
from unrolled.tasks.dialogue_models import Manner, Speaking
from unrolled.tasks.dialogue_options import RecurrentSpeaker

SMALL = RecurrentSpeaker(hidden_size=8, embedding_size=8, dropout=0.0, input_dropout=0.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "train.jsonl", dialogues())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, file: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    data = options(file, speaker="SYSTEM")
    return {
        name: trained(
            folder / name, name, data, SMALL if name == "recurrent" else None, max_epochs=1
        )
        for name in MODELS
    }


def lines_of(path: Path, *given: Any) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in given))
    return path


@pytest.mark.parametrize("name", list(MODELS))
def test_long_and_short_and_strange_dialogues_are_answered(
    runs: dict[str, Any], name: str, tmp_path: Path
) -> None:
    run = runs[name]
    long = [Turn(("USER", "SYSTEM")[k % 2], f"bring {k} tea") for k in range(2001)]
    given = [
        to_json(long),
        {"turns": ["", " "]},
        {"turns": ["\u2603 zebra\nzebra"], "id": 3},
        {"speaker": "USER", "text": "bring tea"},
        {"text": ""},
        {"turns": [{"speaker": "SYSTEM", "text": "at once"}], "speaker": "USER"},
    ]
    found = [json.loads(line) for line in run.predict(map(json.dumps, given), batch_size=4)]
    assert [set(given[k]) | {"reply"} <= set(each) for k, each in enumerate(found)] == [True] * 6
    assert not any("\n" in each["reply"] for each in found)
    file = lines_of(tmp_path / "test.jsonl", to_json(long[:400]), *given[1:3])
    evaluation = run.evaluate(file)
    assert evaluation.examples == 200 + 1
    assert all(np.isfinite(value) for value in evaluation.metrics.values())


@pytest.mark.parametrize("longest", [0, 1000])
def test_long_dialogues_are_learnt(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture, longest: int
) -> None:
    long = [Turn(("USER", "SYSTEM")[k % 2], "bring some tea") for k in range(2000)]
    path = write(tmp_path / "long.jsonl", [long, *dialogues()[:2]])
    data = options(path, valid=file, max_length=longest)
    trained(tmp_path / "run", "recurrent", data, SMALL, max_epochs=1)
    assert ("learnt in pieces: 13 pieces of 3 dialogues" in caplog.text) == (longest > 0)


def test_long_turns_are_read_in_windows(runs: dict[str, Any]) -> None:
    """One turn of 3000 words equals its words read one after the other."""
    talker = runs["recurrent"].model
    assert isinstance(talker, Speaking)
    ids = [[5 + k % 7 for k in range(3000)], [6, 7], list(range(5, 12)) * 80]
    together = talker.read(ids, talker.start(3))
    for row, each in enumerate(ids):
        state = talker.start(1)
        for first in range(0, len(each), 700):
            state = talker.read([each[first : first + 700]], state)
        for one, other in zip(together[0], state[0], strict=True):
            np.testing.assert_allclose(one[row].numpy(), other[0].numpy(), atol=1e-5)


def test_speakers_that_nobody_is(runs: dict[str, Any], file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--data\.speaker 'SYSTEN'.*SYSTEM is meant"):
        trained(tmp_path / "run", "ngram", options(file, speaker="SYSTEN"))
    run = runs["recurrent"]
    with pytest.raises(ConfigError, match="--speaker 'Bob': nobody in training is called so"):
        run.conversation(speaker="Bob")
    with pytest.raises(ConfigError, match="speaker 'Bob'"):
        run.conversation().hear("hello", "Bob")
    bad = {"turns": [{"speaker": "Bob", "text": "hello"}]}
    with pytest.raises(DataError, match=r"<input>:2: turn 1 is of 'Bob'"):
        list(run.predict(['{"turns": ["a"]}', json.dumps(bad)]))
    with pytest.raises(DataError, match="speaker 'Bob'"):
        list(run.predict([json.dumps({"turns": ["a"], "speaker": "Bob"})]))
    with pytest.raises(DataError, match="expected a name"):
        list(run.predict([json.dumps({"turns": ["a"], "speaker": 5})]))
    strange = lines_of(
        tmp_path / "x.jsonl", {"turns": [*bad["turns"], to_json(dialogues()[0])["turns"][1]]}
    )
    evaluation = run.evaluate(strange)
    assert "1 turns are of 1 speaker(s) not seen in training" in evaluation.details


@pytest.mark.parametrize("name", list(MODELS))
def test_dialogues_of_one_turn(tmp_path: Path, file: Path, name: str) -> None:
    single = lines_of(tmp_path / "single.jsonl", ["bring tea"], ["hello"])
    with pytest.raises(DataError, match=r"single\.jsonl: no reply in the dialogues held out"):
        trained(tmp_path / "run1", name, options(file, valid=single))
    first = lines_of(tmp_path / "first.jsonl", to_json(dialogues()[0][:2]))
    with pytest.raises(DataError, match="no reply of USER"):
        trained(tmp_path / "run2", name, options(file, valid=first, speaker="USER"))
    nothing = options(single, valid=None, valid_share=0.0)
    if name == "retrieval":
        with pytest.raises(DataError, match="no reply to remember"):
            trained(tmp_path / "run3", name, nothing)
        return
    run = trained(tmp_path / "run3", name, nothing, SMALL if name == "recurrent" else None)
    assert len(list(run.predict(["hello", "bring what"]))) == 2
    with pytest.raises(DataError, match="no reply: expected a turn after another's"):
        run.evaluate(single)
    with pytest.raises(ConfigError, match="holds out no test part"):
        run.evaluate()


def test_dialogues_half_of_whose_turns_are_named(tmp_path: Path) -> None:
    given = {"turns": [{"speaker": "A", "text": "x"}, "y"]}
    path = lines_of(tmp_path / "d.jsonl", ["a", "b"], given)
    with pytest.raises(DataError, match=r"d\.jsonl:2: turn 2 has no speaker and others"):
        trained(tmp_path / "run", "ngram", options(path))


def test_who_speaks_where_nobody_is_named(tmp_path: Path) -> None:
    path = lines_of(
        tmp_path / "d.jsonl", ["bring tea", "at once", "what ?"], ["bring wine", "at once"]
    )
    run = trained(tmp_path / "run", "ngram", options(path))
    cast = run.cast
    assert (cast.speakers, cast.answers, cast.asks, cast.speaker) == (("A", "B"), "B", "A", "")
    turns = tuple(Turn("", text) for text in ("x", "y"))
    assert [t.speaker for t in cast.history(turns)[0]] == ["A", "B"]
    assert cast.history(turns)[1] == "A"
    assert cast.history(turns[:1])[1] == "B"
    assert [t.speaker for t in cast.history(turns, "B")[0]] == ["B", "A"]
    assert run.evaluate(path).examples == 3


def test_several_speakers() -> None:
    turns = tuple(Turn(name, "…") for name in ("ANN", "BOB", "CAT", "BOB", "ANN"))
    cast = Cast.fit([turns, turns[:2]])
    assert (cast.answers, cast.asks) == ("BOB", "ANN")
    assert cast.history(turns[:3]) == (turns[:3], "BOB")
    assert cast.history(turns[:1])[1] == "BOB"
    assert cast.history(turns[:3], "ANN")[1] == "ANN"
    assert cast.replies(turns) == [1, 2, 3, 4]
    assert Cast.fit([turns], "BOB").replies(turns) == [1, 3]
    assert Cast.from_json(json.loads(json.dumps(cast.to_json()))) == cast
    alone = Cast.fit([turns[:1]])
    assert (alone.answers, alone.asks) == ("ANN", "ANN")


def test_what_a_model_cannot_do(runs: dict[str, Any], tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="retrieval neither searches nor draws"):
        runs["retrieval"].predict(["a"], beam_size=3)
    with pytest.raises(ConfigError, match="retrieval neither searches nor draws"):
        runs["retrieval"].manner(draw={"temperature": 1.0})
    with pytest.raises(ConfigError, match="--probabilities"):
        runs["ngram"].predict(["a"], probabilities=True)
    with pytest.raises(ConfigError, match=r"give --data\.speaker NAME"):
        trained(tmp_path / "run", "recurrent", options(file), RecurrentSpeaker(learn="speaker"))
    with pytest.raises(DataError, match=r"<input>:1: the dialogue has no turn"):
        list(runs["ngram"].predict(['{"turns": []}']))
    with pytest.raises(DataError, match=r"<input>:1: turn 1 has no text"):
        list(runs["ngram"].predict(['{"id": 1}']))


@pytest.mark.parametrize("name", list(MODELS))
def test_damaged_and_other_conversations(tmp_path: Path, runs: dict[str, Any], name: str) -> None:
    conversation = runs[name].conversation()
    conversation.hear("bring tea")
    with pytest.raises(RunError, match="no such file"):
        conversation.load(tmp_path / "none")
    conversation.save(tmp_path / "kept")
    with pytest.raises(RunError, match="cannot be written"):
        conversation.save(tmp_path / "no" / "kept")
    other = runs["ngram" if name != "ngram" else "recurrent"].conversation()
    with pytest.raises(RunError, match="a conversation with another model"):
        other.load(tmp_path / "kept")
    content = (tmp_path / "kept").read_bytes()
    (tmp_path / "short").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="not a whole file"):
        conversation.load(tmp_path / "short")
    with safe_open(tmp_path / "kept", "pt") as opened:
        header = opened.metadata()
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    broken = json.loads(header["conversation"])
    for number, changed in enumerate(
        (
            {"format": "other"},
            {"conversation": "["},
            {"conversation": "[]"},
            {"conversation": json.dumps(broken | {"answers": "Bob"})},
            {"conversation": json.dumps(broken | {"turns": 5})},
            {"conversation": json.dumps(broken | {"heard": float("inf")})},
        )
    ):
        save_file(tensors, tmp_path / str(number), header | changed)
        with pytest.raises(RunError, match=r"damaged|no conversation of this program"):
            conversation.load(tmp_path / str(number))
    for k in range(len(tensors)):
        fewer = dict(list(tensors.items())[:k] + list(tensors.items())[k + 1 :])
        save_file(fewer, tmp_path / "fewer", header)
        with pytest.raises(RunError, match="damaged"):
            conversation.load(tmp_path / "fewer")
    assert conversation.heard == 1  # what cannot be loaded changes nothing
    assert conversation.reply(Manner()).text is not None
