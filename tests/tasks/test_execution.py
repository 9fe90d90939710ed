"""Learning to execute: every form learns and answers; resume is exact; errors are plain."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled.cli import main
from unrolled.config import RunConfig
from unrolled.data.execution import Example
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks.execution import Execution
from unrolled.tasks.execution_data import Characters, from_json, generator
from unrolled.tasks.execution_models import NGram, searching
from unrolled.tasks.execution_options import (
    ExecutionData,
    ExecutionTraining,
    NGramExecutor,
    RecurrentExecutor,
)
from unrolled.tasks.search import Search
from unrolled.training.methods import TruncatedBPTT
from unrolled.training.run_directory import RunDirectory

STREAM = RecurrentExecutor(hidden_size=32, num_layers=1, embedding_size=16)
PAIR = RecurrentExecutor(
    form="encoder-decoder", cell="gru", hidden_size=32, num_layers=1, embedding_size=16
)
COPYING: dict[str, Any] = {
    "kind": "copying",
    "length": 3,
    "curriculum": "none",
    "examples": 320,
    "valid_examples": 20,
    "test_examples": 40,
}


def trained(output: Path, model: Any, data: dict[str, Any] | None = None, **training: Any) -> Any:
    how: dict[str, Any] = {"max_epochs": 1, "batch_size": 32, "learning_rate": 2e-2}
    how["warmup_steps"] = 0
    name = "ngram" if isinstance(model, NGramExecutor) else "recurrent"
    config = RunConfig(
        "execution",
        name,
        ExecutionData(**(COPYING | (data or {}))),
        model,
        ExecutionTraining(**(how | training)),
        output,
        seed=0,
    )
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        outcome = Execution.train(config, run)
    return outcome if outcome.interrupted else unrolled.load(output)


@pytest.mark.parametrize(("model", "updates"), [(STREAM, 300), (PAIR, 100)], ids=["stream", "pair"])
def test_learns_texts_that_it_has_not_seen(
    tmp_path: Path, model: RecurrentExecutor, updates: int
) -> None:
    run = trained(tmp_path / "run", model, {"examples": 32 * updates})
    found = run.evaluate()
    assert found.examples == 40
    assert found.metrics["exact"] >= 0.9
    assert found.metrics["characters"] >= 0.97
    assert 0 < found.metrics["nats"] < 0.2
    assert set(found.intervals) == set(found.metrics) == {"exact", "characters", "nats"}
    lines = ["475", "", "  ", "118"]
    assert list(run.predict(lines, batch_size=4)) == ["475", "", "", "118"]


@pytest.mark.parametrize("model", [STREAM, PAIR, NGramExecutor(order=4)])
def test_scores_are_those_of_the_search(tmp_path: Path, model: Any) -> None:
    """Also: alone or together, by a beam or greedily, written or foreseen, all is the same."""
    run = trained(tmp_path / "run", model, {"reverse": True, "double": True})
    lines = [json.dumps({"id": i, "source": f"{i:03}"}) for i in range(20, 40)]
    alone = [json.loads(line) for line in run.predict(lines, n_best=3)]
    together = [json.loads(line) for line in run.predict(lines, n_best=3, batch_size=20)]
    for number, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert one["id"] == number + 20
        assert one["target"] == other["target"] == one["n_best"][0]["target"]
        assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
        assert one["probability"] == pytest.approx(math.exp(one["log_prob"]))
        ranked = [each["log_prob"] for each in one["n_best"]]
        assert len(ranked) == 3
        assert ranked == sorted(ranked, reverse=True)
    known = [a for a in alone if set(a["target"]) <= set("0123456789")]
    scored = run.score([(f"{a['id']:03}", a["target"]) for a in known])
    assert list(scored) == pytest.approx([a["log_prob"] for a in known], abs=1e-4)
    plain = list(run.predict([f"{i:03}" for i in range(20, 40)], batch_size=7))
    greedy = [json.loads(line) for line in run.predict(lines, beam_size=1, probabilities=True)]
    assert plain == [each["target"] for each in greedy]


@pytest.mark.parametrize("model", [STREAM, PAIR, NGramExecutor(order=5)])
def test_exact_is_every_character_foreseen(tmp_path: Path, model: Any) -> None:
    """Greedy writing is right where every true character is the likeliest: two ways to one number."""
    run = trained(
        tmp_path / "run",
        model,
        {"kind": "addition", "length": 1, "valid_examples": 5, "test_examples": 5},
    )
    examples = [generator(ExecutionData(length=1), "train")[index] for index in range(100)]
    found = run.model.foresee(examples)
    answers = run.model.answer([e.source for e in examples], searching())
    written = [best[0].target == e.target for best, e in zip(answers, examples, strict=True)]
    assert written == (found.right == found.count).tolist()
    assert found.count.tolist() == [len(e.target) + 1 for e in examples]


def test_what_is_foreseen_is_what_the_steps_say(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", STREAM)
    example = Example("401", "401", 3, 1)
    log_probs, state = None, run.model.model.start_from(run.characters.sources(["401"]))
    total, right = 0.0, 0
    with torch.no_grad():
        ids = [1, *run.characters.target_ids("401"), 2]
        for token, following in itertools.pairwise(ids):
            log_probs, state = run.model.model.step(torch.tensor([token]), state)
            total -= float(log_probs[0, following])
            right += int(log_probs[0].argmax()) == following
    found = run.model.foresee([example])
    assert found.nats[0] == pytest.approx(total, rel=1e-4)
    assert found.right[0] == right


def test_the_stream_of_ngrams_is_counted_whole() -> None:
    """The probabilities by steps are those of the whole stream at once."""
    characters = Characters.of(ExecutionData(length=2))
    examples = [generator(ExecutionData(length=2), "train")[index] for index in range(300)]
    model = unrolled.baselines.KneserNey(5)
    model.fit(np.concatenate([characters.stream(e) for e in examples]), len(characters.vocabulary))
    found = NGram(model, characters).foresee(examples[:20])
    for row, example in enumerate(examples[:20]):
        whole = model.log_probabilities(np.array([2, *characters.stream(example)]))
        own = whole[-len(example.target) - 1 :]
        assert found.nats[row] == pytest.approx(-own.sum())


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second epoch, in the middle of a curriculum; the checkpoint is three updates back."""
    data = {"kind": "programs", "nesting": 2, "curriculum": "combined", "examples": 96}
    how = {"max_epochs": 3, "batch_size": 16, "checkpoint_every": 4}
    whole = trained(tmp_path / "whole", STREAM, data, **how)
    updates = 0
    update = TruncatedBPTT.update

    def counted(self: TruncatedBPTT, *given: Any) -> Any:
        nonlocal updates
        updates += 1
        if updates == 12:
            raise KeyboardInterrupt
        return update(self, *given)

    monkeypatch.setattr(TruncatedBPTT, "update", counted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", STREAM, data, **how)
    other = trained(tmp_path / "parts", STREAM, data, **how)
    assert updates == 12 + (18 - 8)  # it went on after step 8
    pairs = zip(whole.model.model.parameters(), other.model.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    for name in ("valid.jsonl", "test.jsonl", "evaluation.json"):
        both = [(tmp_path / place / name).read_bytes() for place in ("whole", "parts")]
        assert both[0] == both[1]


def test_held_out_parts_are_alike_for_all_seeds_and_never_learnt(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", NGramExecutor(order=3), {"kind": "addition", "length": 3})
    held = {
        name: [json.loads(line) for line in (run.path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("valid", "test")
    }
    texts = {name: {e["source"] for e in examples} for name, examples in held.items()}
    assert (len(texts["valid"]), len(texts["test"])) == (20, 40)
    assert not texts["valid"] & texts["test"]
    assert all(eval(e["source"][5:]) == int(e["target"]) for e in held["test"])
    for seed in range(3):
        source = generator(ExecutionData(length=3), "train", seed=seed)
        assert not {source[i].source for i in range(500)} & (texts["valid"] | texts["test"])


def test_programs_of_several_lines(tmp_path: Path) -> None:
    """A line break is a # in a plain line; the table tells the sizes apart; characters are all known."""
    data = {"kind": "programs", "length": 2, "nesting": 3, "curriculum": "mix"}
    run = trained(tmp_path / "run", STREAM, data)
    source = "j=85\nfor x in range(3):j+=9\nprint(j)"
    [plain] = run.predict([source.replace("\n", "#")])
    [found] = run.predict([json.dumps({"source": source})])
    assert json.loads(found)["target"] == plain
    assert "\n" not in plain
    rows = [
        {"source": source, "target": "112", "length": 2, "nesting": 1},
        {"source": "print(5)", "target": "5", "length": 1, "nesting": 1},
        {"source": "print((5-9))", "target": "-4"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run.evaluate(path)
    assert found.examples == 3
    assert [line.split()[:3] for line in found.details.splitlines()[1:]] == [
        ["?", "?", "1"],
        ["1", "1", "1"],
        ["2", "1", "1"],
    ]
    assert run.evaluate().details == ""


def test_reading_and_writing_backwards() -> None:
    data = ExecutionData(reverse=True, double=True, reverse_target=True)
    characters = Characters.of(data)
    read = "".join(characters.vocabulary.decode(characters.source_ids("print(1+20)")))
    assert read == ")02+1(tnirp;)02+1(tnirp"
    ids = characters.target_ids("21")
    assert characters.vocabulary.decode(ids) == ["1", "2"]
    assert characters.target(ids) == "21"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", STREAM)
    lines = run.predict(["12", "", "1a2"])
    assert [next(lines), next(lines)] == [next(run.predict(["12"])), ""]
    with pytest.raises(DataError, match=r"<input>:3: the character 'a' of '1a2'.*'0123456789'"):
        next(lines)
    for given, expected in (
        ('{"text": "12"}', "<input>:1: no text in the field source; there are text"),
        ('{"source": ""}', "the source is empty"),
        ('{"source": "1@2"}', "the character '@'"),
    ):
        with pytest.raises(DataError, match=expected):
            list(run.predict([given]))
    path = tmp_path / "mine.tsv"
    path.write_text("source\ttarget\n12\t12\n34\tx\n")
    with pytest.raises(DataError, match=r"mine\.tsv:3: the character 'x'"):
        run.evaluate(path)
    path.write_text("source\tresult\n12\t12\n")
    with pytest.raises(DataError, match="target"):
        run.evaluate(path)
    for search, expected in (
        (Search(sample=True), "--sample: this model follows"),
        (Search(coverage_penalty=1.0), "--coverage-penalty: this model follows"),
        (Search(beam_size=2), "--beam-size 2 cannot give 3 answers"),
    ):
        with pytest.raises(ConfigError, match=expected):
            run.predict(["12"], n_best=3, search=search)
    with pytest.raises(ConfigError, match="give both"):
        run.score([(None, "12")])
    bare = trained(tmp_path / "bare", STREAM, {"valid_examples": 0, "test_examples": 0})
    with pytest.raises(ConfigError, match="holds out no test part"):
        bare.evaluate()
    (tmp_path / "run" / "vocabulary.json").write_text("{}")
    with pytest.raises(RunError, match=r"vocabulary\.json: not the one"):
        unrolled.load(tmp_path / "run")


def test_options_that_do_not_go(tmp_path: Path) -> None:
    for options, expected in (
        ({"length": 0}, "--data.length is 1 to 18"),
        ({"nesting": 2}, "--data.nesting is 1 for addition"),
        ({"examples": 0}, "--data.examples 0: expected 1 or more"),
        ({"curriculum_share": 0.0}, "--data.curriculum-share 0.0: expected above 0"),
        ({"kind": "copying", "up_to": True}, "--data.up-to is for additions"),
    ):
        with pytest.raises(ConfigError, match=expected):
            ExecutionData(**options)
    with pytest.raises(ConfigError, match=r"--model\.attention luong is for --model.form encoder"):
        RecurrentExecutor(attention="luong")
    endless = {"max_epochs": 0, "max_minutes": 0.1, "schedule": "constant"}
    with pytest.raises(ConfigError, match=r"--data\.curriculum naive must know the end"):
        trained(tmp_path / "run", STREAM, {"curriculum": "naive"}, **endless)


def test_a_curriculum_moves_with_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    batch = Characters.batch

    def noted(self: Characters, examples: Any) -> Any:
        seen.append(max(e.length for e in examples))
        return batch(self, examples)

    monkeypatch.setattr(Characters, "batch", noted)
    data = {"kind": "addition", "length": 4, "curriculum": "naive", "examples": 64}
    trained(tmp_path / "half", STREAM, data, batch_size=16, max_epochs=4)
    assert seen == [1] * 2 + [2] * 2 + [3] * 2 + [4] * 10
    seen.clear()
    trained(
        tmp_path / "whole", STREAM, data | {"curriculum_share": 1.0}, batch_size=16, max_epochs=4
    )
    assert seen == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4


def test_the_example_of_a_command_names_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "execution"]) == 2
    assert capsys.readouterr().err.endswith("unrolled train execution --output runs/first\n")


@pytest.mark.parametrize("model", [STREAM, NGramExecutor(order=3)])
def test_a_beam_of_one_heeds_lengths(tmp_path: Path, model: Any) -> None:
    run = trained(tmp_path / "run", model)
    lines = [f"{i:03}" for i in range(8)]
    long = list(run.predict(lines, search=Search(beam_size=1, min_length=6, max_length=9)))
    assert all(6 <= len(text) <= 9 for text in long)
    once = list(run.predict(lines, search=Search(beam_size=1, no_repeat_ngram=1)))
    assert all(len(set(text)) == len(text) for text in once)


def test_sizes_in_files(tmp_path: Path) -> None:
    """Digits in a table count; what is no size is none."""
    given = [10**30, -1, 2.0, None, "x", "9" * 5000, "3", 3]
    made = [from_json({"source": "1", "target": "1", "length": each}) for each in given]
    assert [example.length for example in made] == [0, 0, 0, 0, 0, 0, 3, 3]
    run = trained(tmp_path / "run", NGramExecutor(order=3))
    file = tmp_path / "file.jsonl"
    file.write_text(
        '{"source": "123", "target": "123", "length": 1%s}\n' % ("0" * 30)
        + '{"source": "12", "target": "12", "length": 2}\n'
    )
    assert "     ?        ?         1" in run.evaluate(file).details
