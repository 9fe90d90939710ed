"""Dialogue from files to replies: models learn, a conversation equals its history, batches change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled.config import RunConfig
from unrolled.data.dialogues import Turn
from unrolled.decoding.beam import BeamOptions
from unrolled.tasks.dialogue import Dialogue
from unrolled.tasks.dialogue_data import to_json
from unrolled.tasks.dialogue_models import Manner, Speaking
from unrolled.tasks.dialogue_options import (
    DialogueData,
    DialogueTraining,
    RecurrentSpeaker,
    RememberedReplies,
    SymbolGrams,
)
from unrolled.training.methods import TruncatedBPTT
from unrolled.training.run_directory import RunDirectory

MODELS: dict[str, Any] = {
    "recurrent": RecurrentSpeaker(
        cell="indrnn", hidden_size=48, embedding_size=24, tied=False, dropout=0.0, input_dropout=0.0
    ),
    "ngram": SymbolGrams(),
    "retrieval": RememberedReplies(),
}
THINGS = ("tea", "milk", "wine", "soup")


def dialogues() -> list[list[Turn]]:
    """What the last answer is, only the first turn tells: nothing but the whole history helps."""
    made = []
    for thing in THINGS:
        for middle in ("is it warm ?", "is it cold ?", "do you know ?"):
            warm = "yes" if "warm" in middle else "no"
            said = [
                f"bring {thing}",
                "at once",
                middle,
                warm,
                "what was it ?",
                f"it was {thing} of course",
            ]
            names = ("USER", "SYSTEM") * 3
            made.append([Turn(*each) for each in zip(names, said, strict=True)])
    return made


def write(path: Path, given: list[list[Turn]]) -> Path:
    path.write_text("".join(json.dumps(to_json(turns)) + "\n" for turns in given))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "train.jsonl", dialogues())


def options(train: Path, **changed: Any) -> DialogueData:
    given: dict[str, Any] = {"valid": train, "level": "words", "vocabulary_size": 0}
    return DialogueData(train, **(given | changed))


def trained(output: Path, name: str, data: DialogueData, model: Any = None, **training: Any) -> Any:
    how: dict[str, Any] = {"max_epochs": 130, "batch_size": 12, "learning_rate": 2e-2}
    how |= {"validate_every": 65, "schedule": "constant"}
    chosen = DialogueTraining(**(how | training))
    config = RunConfig("dialogue", name, data, model or MODELS[name], chosen, output, seed=0)
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        Dialogue.train(config, run)
    return unrolled.load(output)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, file: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    data = options(file, speaker="SYSTEM")
    return {name: trained(folder / name, name, data) for name in MODELS}


def test_the_network_learns_what_only_the_history_tells(runs: dict[str, Any]) -> None:
    scores = runs["recurrent"].evaluate(split="valid")
    assert scores.examples == 3 * 12
    assert scores.metrics["exact"] > 0.95
    assert scores.metrics["bleu"] > 90
    assert scores.metrics["perplexity"] < 1.1
    low, high = scores.intervals["exact"]
    assert low <= scores.metrics["exact"] <= high


def test_baselines_know_no_more_than_they_can(runs: dict[str, Any]) -> None:
    grams, similar = (runs[name].evaluate(split="valid") for name in ("ngram", "retrieval"))
    # "at once", "yes" or "no" can be known; which of four things it was cannot.
    assert grams.metrics["exact"] == pytest.approx(2 / 3 + 1 / 12, abs=0.09)
    assert similar.metrics["exact"] == pytest.approx(2 / 3 + 1 / 12)
    assert "nats" not in similar.metrics
    # The only doubt is which of four words comes, once in the eleven symbols of a dialogue's replies.
    assert grams.metrics["nats"] > np.log(4) / 11
    assert runs["recurrent"].evaluate(split="valid").metrics["nats"] < np.log(4) / 22


@pytest.mark.parametrize("name", list(MODELS))
def test_a_conversation_is_its_whole_history(runs: dict[str, Any], name: str) -> None:
    run = runs[name]
    conversation = run.conversation()
    said: list[Turn] = []
    for text in ("bring wine", "", "do you zebra ?", "is it cold ?", "what was it ?"):
        conversation.hear(text)
        said.append(Turn("USER", text))
        answer = conversation.reply()
        [whole] = run.predict([json.dumps(to_json(said))])
        assert answer.text == json.loads(whole)["reply"]
        if answer.log_probability is not None:
            found = json.loads(whole)["log_prob"]
            assert answer.log_probability == pytest.approx(found, abs=1e-4)
        said.append(Turn("SYSTEM", answer.text))
    assert conversation.heard == 10
    conversation.reset()
    conversation.hear("bring tea")
    assert conversation.reply().text == next(iter(run.predict(["bring tea"])))


@torch.no_grad()
@pytest.mark.parametrize("name", ["recurrent", "ngram"])
def test_likelihoods_are_those_of_single_steps(runs: dict[str, Any], name: str) -> None:
    """The oracle: symbol after symbol through the step protocol, one dialogue at a time."""
    run = runs[name]
    talker = run.model
    turns = [tuple(each) for each in (dialogues()[0], dialogues()[5][:2], dialogues()[1][1:])]
    found = talker.nats(turns, run.cast)
    for values, given in zip(found, turns, strict=True):
        log_probs, state = talker.model.step(torch.tensor([1]), talker.model.start(1))
        expected = []
        for place, turn in enumerate(given):
            for k, symbol in enumerate(talker.coder.turn(turn)):
                if k and place and turn.speaker == "SYSTEM":
                    expected.append(-float(log_probs[0, symbol]))
                log_probs, state = talker.model.step(torch.tensor([symbol]), state)
        assert values.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", list(MODELS))
def test_batches_change_nothing(runs: dict[str, Any], name: str) -> None:
    run = runs[name]
    lines = [
        json.dumps({"id": k, **to_json(turns[: 1 + 2 * (k % 3)])})
        for k, turns in enumerate(dialogues())
    ]
    alone = [json.loads(line) for line in run.predict(lines, n_best=2)]
    together = [json.loads(line) for line in run.predict(lines, n_best=2, batch_size=64)]
    for number, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert one["id"] == other["id"] == number
        assert one["reply"] == other["reply"]
        if name != "retrieval":
            assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
        scores = [each["score"] for each in one["n_best"]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", list(MODELS))
def test_replies_along_a_dialogue_are_those_after_each_history(
    runs: dict[str, Any], name: str
) -> None:
    run = runs[name]
    given = [tuple(turns[: 2 + k % 5]) for k, turns in enumerate(dialogues())]
    said = {(n, place): text for n, place, text in run.model.along(given, run.cast, Manner())}
    assert len(said) == sum(len(run.cast.replies(turns)) for turns in given)
    for (number, place), text in said.items():
        [best] = run.model.answers([(given[number][:place], "SYSTEM")], Manner())
        assert text == best[0].text


@pytest.mark.parametrize("name", list(MODELS))
def test_a_saved_conversation_goes_on_to_the_bit(
    tmp_path: Path, runs: dict[str, Any], name: str
) -> None:
    run = runs[name]
    draw = None if name == "retrieval" else {"temperature": 3.0, "top_k": None, "top_p": 0.99}
    manner = Manner(BeamOptions(size=1), draw)
    first = run.conversation(seed=5)
    for text in ("bring soup", "is it warm ?"):
        first.hear(text)
        first.reply(manner)
    first.save(tmp_path / "kept")
    second = run.conversation()
    second.load(tmp_path / "kept")
    assert (second.heard, second.answers, second.asks) == (4, "SYSTEM", "USER")
    for text in ("what was it ?", "bring tea", "what ?"):
        first.hear(text)
        second.hear(text)
        assert first.reply(manner) == second.reply(manner)
    assert second.heard == 10


def test_what_is_drawn_follows_from_the_seed(runs: dict[str, Any]) -> None:
    manner = Manner(draw={"temperature": 4.0, "top_k": None, "top_p": None})

    def said(seed: int) -> list[str]:
        conversation = runs["recurrent"].conversation(seed=seed)
        conversation.hear("bring tea")
        return [conversation.reply(manner).text for _ in range(4)]

    assert said(1) == said(1) != said(2)
    assert not any("<unk>" in text or "SYSTEM" in text for text in said(1))


def test_the_loss_counts_whom_it_should(file: Path, runs: dict[str, Any]) -> None:
    coder = runs["recurrent"].model.coder
    assert isinstance(runs["recurrent"].model, Speaking)
    turns = tuple(dialogues()[0])
    everyone = coder.encode([turns], lambda *_: True)
    batch = everyone.batch(np.array([0]))
    symbols = [len(turn.text.split()) for turn in turns]
    assert int(batch.counted.sum()) == sum(symbols) + len(turns)  # texts and ends, no speakers
    one = coder.encode([turns], lambda _, turn: turn.speaker == "SYSTEM")
    assert int(one.counted[0].sum()) == sum(symbols[1::2]) + 3
    pieces = coder.encode([turns], lambda *_: True, longest=10)
    assert len(pieces.rows) > 1
    assert sum(flags.sum() for flags in pieces.counted) == everyone.counted[0].sum()
    assert all(len(row) <= 10 and row[0] == 1 for row in pieces.rows)


def test_padding_changes_no_loss(runs: dict[str, Any]) -> None:
    talker = runs["recurrent"].model
    given = [tuple(turns[: 1 + k % 6]) for k, turns in enumerate(dialogues())]
    encoded = talker.coder.encode(given, lambda *_: True)
    model = talker.model

    def loss(rows: list[int]) -> float:
        batch = encoded.batch(np.array(rows))
        return float(model.loss(model(batch)[0], batch).sum.detach())

    alone = sum(loss([row]) for row in range(len(given)))
    assert loss(list(range(len(given)))) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "model"),
    [
        ({"level": "characters", "lowercase": True}, {"cell": "gru", "tied": False}),
        ({"level": "bpe", "vocabulary_size": 60}, {"learn": "speaker", "num_layers": 2}),
    ],
)
def test_levels_and_models(
    tmp_path: Path, file: Path, changed: dict[str, Any], model: dict[str, Any]
) -> None:
    small = RecurrentSpeaker(**({"hidden_size": 16, "embedding_size": 8} | model))
    data = options(file, speaker="SYSTEM", **changed)
    run = trained(tmp_path / "run", "recurrent", data, small, max_epochs=1)
    assert len(list(run.predict(["bring tea", "", "Bring TEA"]))) == 3
    assert run.evaluate(split="valid").examples == 36


def test_resumed_is_uninterrupted(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    update = TruncatedBPTT.update

    def counted(self: TruncatedBPTT, *given: Any) -> Any:
        updates[-1] += 1
        return update(self, *given)

    monkeypatch.setattr(TruncatedBPTT, "update", counted)
    same = {"max_epochs": 2, "batch_size": 4}
    updates.append(0)
    whole = trained(tmp_path / "whole", "recurrent", options(file), **same)
    updates.append(0)
    trained(tmp_path / "parts", "recurrent", options(file), max_steps=4, **same)
    (tmp_path / "parts" / ".finished").unlink()
    updates.append(0)
    other = trained(tmp_path / "parts", "recurrent", options(file), **same)
    assert updates == [6, 4, 2]
    pairs = zip(whole.model.model.parameters(), other.model.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
