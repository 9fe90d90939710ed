"""Tagging from files to a trained model that measures, predicts and resumes."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks import OPTIONS
from unrolled.tasks import tagging_options as options
from unrolled.tasks.tagging import Tagging
from unrolled.training.run_directory import RunDirectory

WORDS = {"D": ["the", "a", "every"], "N": ["cat", "Dog", "mat"], "V": ["sat", "saw"]}
PATTERNS = (("D", "N", "V"), ("D", "N", "V", "D", "N"), ("N", "V"))
SMALL = {"max_epochs": 12, "batch_size": 8, "learning_rate": 0.02}
MODELS = {
    "recurrent": options.RecurrentTagger(
        hidden_size=8, word_size=8, character_size=4, character_hidden=4, dropout=0.1
    ),
    "hmm": options.HiddenMarkovModel(),
    "window": options.WindowModel(window=3, hidden_size=8, word_size=8, dropout=0.1),
}
models = pytest.mark.parametrize("name", MODELS)


def sentences(count: int, seed: int) -> str:
    """Columns: the word, its case, its tag."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [(draw.choice(WORDS[tag]), tag) for tag in draw.choice(PATTERNS)]
        found.append("".join(f"{w} {'C' if w[0].isupper() else 'c'} {tag}\n" for w, tag in words))
    return "\n".join(found)


def config(output: Path, name: str, data: Any, model: Any = None, **training: Any) -> RunConfig:
    learning = options.TaggingTraining(**{**SMALL, **training})
    return RunConfig("tagging", name, data, model or MODELS[name], learning, output)


def train(output: Path, name: str, data: Any, model: Any = None, **training: Any) -> Path:
    made = config(output, name, data, model, **training)
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", made.to_toml())
        Tagging.train(made, run)
    return output


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sentences") / "train.txt"
    path.write_text(sentences(160, 1))
    return path


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small run of every model of the task."""
    folder = tmp_path_factory.mktemp("runs")
    data = options.TaggingData(train=corpus, valid_share=0.1, test_share=0.2)
    return {name: train(folder / name, name, data) for name in MODELS}


def test_the_models_are_those_of_the_table() -> None:
    assert OPTIONS["tagging"].models.keys() == MODELS.keys()


@models
def test_a_run_holds_everything_its_use_needs(name: str, runs: Any, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in runs[name].iterdir():  # nothing but files of the run, under another name
        if path.is_file():
            (moved / path.name).write_bytes(path.read_bytes())
    trained = unrolled.load(moved)
    evaluation = trained.evaluate(split="valid")
    assert json.loads((moved / "evaluation.json").read_text()) == json.loads(evaluation.to_json())
    assert evaluation.model == name
    test = trained.evaluate()
    assert test.metrics["accuracy"] > 0.95
    low, high = test.intervals["accuracy"]
    assert low <= test.metrics["accuracy"] <= high
    kept = [json.loads(line) for line in (moved / "test.jsonl").read_text().splitlines()]
    assert len(kept) == 32
    assert test.examples == sum(len(each["tokens"]) for each in kept)
    assert "words" in (moved / "README.md").read_text()
    assert not (moved / "cache").exists()


@models
def test_prediction_reads_lines_and_objects(name: str, runs: Any) -> None:
    trained = unrolled.load(runs[name])
    assert list(trained.predict(["the cat sat", "", "cat sat"])) == ["D N V", "", "N V"]
    given = [{"id": 7, "tokens": ["the", "cat"], "tags": "old"}, {"tokens": "cat sat", "x": None}]
    found = [json.loads(line) for line in trained.predict(map(json.dumps, given))]
    assert found[0] == {"id": 7, "tokens": ["the", "cat"], "tags": ["D", "N"]}
    assert found[1] == {"tokens": ["cat", "sat"], "x": None, "tags": ["N", "V"]}
    (line,) = trained.predict(["the cat sat"], probabilities=True)
    told = json.loads(line)
    assert told["tokens"] == ["the", "cat", "sat"]
    for tag, chances in zip(told["tags"], told["probabilities"], strict=True):
        assert next(iter(chances)) == tag
        assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert list(trained.predict(['{"tokens": []}'])) == ['{"tokens": [], "tags": []}']


def test_the_likeliest_tag_of_each_word(runs: Any, corpus: Path, tmp_path: Path) -> None:
    data = options.TaggingData(train=corpus, valid_share=0.1, test_share=0.2)
    model = options.HiddenMarkovModel(decoding="posterior")
    trained = unrolled.load(train(tmp_path / "run", "hmm", data, model))
    for line in ("the cat sat", "mat mat the", "unseen words stand"):
        told = json.loads(next(trained.predict([line], probabilities=True)))
        assert told["tags"] == [max(each, key=each.get) for each in told["probabilities"]]
        other = json.loads(next(unrolled.load(runs["hmm"]).predict([line], probabilities=True)))
        assert told["probabilities"] == other["probabilities"]


@models
def test_batches_change_nothing_but_the_speed(name: str, runs: Any) -> None:
    trained = unrolled.load(runs[name])
    lines = ["the cat sat", "a", "", "Dog saw every mat", "unseen words stand here", ""]
    assert list(trained.predict(lines, batch_size=4)) == list(trained.predict(lines))


def test_prediction_gives_each_line_as_soon_as_it_has_come(runs: Any) -> None:
    taken = []

    def lines() -> Iterator[str]:
        for number in range(3):
            taken.append(number)
            yield "the cat"

    found = unrolled.load(runs["recurrent"]).predict(lines())
    next(found)
    assert taken == [0]


def test_n_best(runs: Any) -> None:
    (line,) = unrolled.load(runs["recurrent"]).predict(["the cat"], n_best=3)
    told = json.loads(line)
    assert told["n_best"][0]["tags"] == told["tags"] == ["D", "N"]
    chances = [item["probability"] for item in told["n_best"]]
    assert chances == sorted(chances, reverse=True)
    assert len(chances) == 3
    with pytest.raises(ConfigError, match="--n-best"):
        unrolled.load(runs["hmm"]).predict(["the cat"], n_best=2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"words": ["a"]}', '<input>:2: expected a field "tokens".*words'),
        ('{"tokens": [1]}', '<input>:2: expected a field "tokens"'),
        ("[1]", "<input>:2: no JSON object"),
        ("the cat", "<input>:2: no JSON"),
        ('{"tokens": NaN}', "<input>:2: no JSON .*NaN"),
    ],
)
def test_a_wrong_object_is_named_after_the_answers_before_it(
    line: str, message: str, runs: Any
) -> None:
    found = unrolled.load(runs["window"]).predict(['{"tokens": ["cat"]}', line], batch_size=9)
    assert json.loads(next(found))["tags"] == ["N"]
    with pytest.raises(DataError, match=message):
        next(found)


def test_a_text_may_begin_with_a_brace(runs: Any) -> None:
    assert len(next(unrolled.load(runs["window"]).predict(["{ the cat }"])).split()) == 4


def test_several_columns_each_have_their_numbers_and_tags(corpus: Path, tmp_path: Path) -> None:
    data = options.TaggingData(train=corpus, tags=("2", "-1"), valid_share=0.2)
    for name in MODELS:
        trained = unrolled.load(train(tmp_path / name, name, data))
        metrics = trained.evaluate(split="valid").metrics
        assert {"2.accuracy", "-1.accuracy", "unknown"} <= metrics.keys()
        assert next(trained.predict(["the Dog"])) == "c C\tD N"
        told = json.loads(next(trained.predict(['{"tokens": ["Dog"]}'])))
        assert told["tags"] == {"2": ["C"], "-1": ["N"]}


def test_spans_are_measured_as_spans(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    one = "fly O\nto O\nNew B-city\nYork I-city\n\nfly O\non O\nMonday B-day\n\n"
    path.write_text(one * 20)
    data = options.TaggingData(train=path, valid_share=0.2)
    crf = options.RecurrentTagger(
        hidden_size=8, word_size=8, character_size=4, character_hidden=4, head="crf", dropout=0.0
    )
    trained = unrolled.load(train(tmp_path / "run", "recurrent", data, crf))
    metrics = trained.evaluate(split="valid").metrics
    assert metrics["f1"] == metrics["f1:city"] == metrics["f1:day"] == 1.0
    assert next(trained.predict(["fly to New York"])) == "O O B-city I-city"
    plain = options.TaggingData(train=path, valid_share=0.2, spans="no")
    trained = unrolled.load(train(tmp_path / "plain", "recurrent", plain, crf))
    assert "f1" not in trained.evaluate(split="valid").metrics


CONLLU = """\
# text = It's here
1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_
1\tIt\tit\tPRON\tPRP\t_\t0\troot\t_\t_
2\t's\tbe\tAUX\tVBZ\t_\t1\tcop\t_\t_
2.1\tnow\t_\t_\t_\t_\t_\t_\t_\t_
3\there\there\tADV\tRB\t_\t1\tadvmod\t_\t_

"""


def test_conllu_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.conllu"
    path.write_text(CONLLU * 9)
    for tags, expected in (((), "PRON AUX ADV"), (("xpos", "upos"), "PRP VBZ RB\tPRON AUX ADV")):
        data = options.TaggingData(train=path, tags=tags, valid_share=0.2)
        run = train(tmp_path / f"run{len(tags)}", "hmm", data)
        assert next(unrolled.load(run).predict(["It 's here"])) == expected


@models
def test_what_training_lacks_is_an_error_and_no_crash(
    name: str, corpus: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.txt"
    odd.write_text("the c D\nzebra c NEW\n\nqux c NEW\n\n" + "cat c N\n" * 5000 + "\n𝄞\u0301 c V\n")
    data = options.TaggingData(train=corpus, valid=odd, test=odd)
    trained = unrolled.load(train(tmp_path / "run", name, data, max_epochs=2))
    found = trained.evaluate()
    assert found.examples == 5004
    assert found.metrics["accuracy"] <= 5002 / 5004
    assert found.metrics["unknown"] == pytest.approx(3 / 5004)
    assert found.metrics["unknown_accuracy"] <= 1 / 3


@models
def test_odd_training_data(name: str, tmp_path: Path) -> None:
    for number, text in enumerate(
        ("a X\n", "a X\n\nb X\n\n", "a\tX\n" * 5000 + "\nb\tY\n", "é" * 3000 + " X\n\na Y\n")
    ):
        path = tmp_path / f"{number}.txt"
        path.write_text(text)
        data = options.TaggingData(train=path, valid_share=0.0)
        run = train(tmp_path / f"run{number}", name, data, max_steps=3)
        assert not (run / "evaluation.json").exists()
        trained = unrolled.load(run)
        assert len(next(trained.predict(["a b c"])).split()) == 3
        with pytest.raises(ConfigError, match="holds out no test part; name a file: unrolled eval"):
            trained.evaluate()


def test_many_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(f"w{n} T{n}\n" + "\n" * (n % 50 == 49) for n in range(50_000)))
    data = options.TaggingData(train=path, valid_share=0.01, min_count=2)
    small = options.RecurrentTagger(
        hidden_size=4, word_size=4, character_size=2, character_hidden=2
    )
    run = train(tmp_path / "run", "recurrent", data, small, max_steps=2)
    assert unrolled.load(run).evaluate(split="valid").metrics["accuracy"] == 0.0
    with pytest.raises(ConfigError, match="2,450,250,000 transitions, too many"):
        train(tmp_path / "crf", "recurrent", data, replace(small, head="crf"))


def test_words_below_the_limit_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a X\na X\nb Y\n\n" * 3 + "c Y\n")
    data = options.TaggingData(train=path, min_count=2, valid_share=0.0)
    trained: Any = unrolled.load(train(tmp_path / "run", "window", data, max_steps=2))
    assert trained.symbols.words.symbols == ("<unk>", "a", "b")
    assert trained.evaluate(path).metrics["unknown"] == pytest.approx(1 / 10)


def test_pretrained_vectors(corpus: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "v.txt"
    words = ["the", "a", "cat", "dog", "tiger"]  # of tiger nothing but its vector is known
    vectors.write_text(
        "".join(f"{w} {float(i > 1)} {float(i < 2)} 0\n" for i, w in enumerate(words))
    )
    data = options.TaggingData(train=corpus, valid_share=0.2)
    for tuned in (False, True):
        model = options.RecurrentTagger(
            hidden_size=8, word_size=4, character_hidden=0, vectors=vectors, tune_vectors=tuned
        )
        run = train(tmp_path / f"run{tuned}", "recurrent", data, model)
        trained: Any = unrolled.load(run)
        assert trained.symbols.words.symbols[-1] == "tiger"
        table = RunDirectory(run).read_model()[1]["embedding.vectors"]
        assert table[-1].tolist() == [1, 0, 0]
        row = int(trained.symbols.lookup(["cat"])[0])
        assert (table[row].tolist() == [1, 0, 0]) != tuned
        assert not table[int(trained.symbols.lookup(["mat"])[0])].any() or tuned
        assert next(trained.predict(["the tiger sat"])).split()[1] == "N"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"\n\n", "there are no words"), (b"a X\nb \xff\n", "UTF-8")],
)
def test_bad_files_are_refused(content: bytes, message: str, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    for part in ({"train": path}, {"train": corpus, "valid": path}):
        with pytest.raises(DataError, match=message):
            train(tmp_path / "run", "window", options.TaggingData(**part))  # type: ignore[arg-type]
        assert not (tmp_path / "run").exists()


def test_bad_models_and_damaged_runs_are_refused(runs: Any, corpus: Path, tmp_path: Path) -> None:
    data = options.TaggingData(train=corpus)
    with pytest.raises(ConfigError, match="no cell 'lsmt'"):
        train(tmp_path / "a", "recurrent", data, options.RecurrentTagger(cell="lsmt"))
    for name in ("vocabulary.json", "characters.json", "labels.json"):
        copy = tmp_path / name
        copy.mkdir()
        for path in runs["window"].iterdir():
            if path.is_file():
                (copy / path.name).write_bytes(path.read_bytes())
        (copy / name).write_text("{}")
        with pytest.raises(RunError, match=f"{name}: not the one"):
            unrolled.load(copy)


@pytest.mark.parametrize(
    ("build", "flag"),
    [
        (lambda: options.TaggingData(train=Path("x"), valid_share=1.0), "--data.valid-share"),
        (lambda: options.TaggingData(train=Path("x"), min_count=0), "--data.min-count"),
        (lambda: options.TaggingData(train=Path("x"), tags=("1", "1")), "--data.tags"),
        (lambda: options.RecurrentTagger(dropout=1.5), "--model.dropout"),
        (lambda: options.RecurrentTagger(word_dropout=-1), "--model.word-dropout"),
        (lambda: options.RecurrentTagger(hidden_size=0), "--model.hidden-size"),
        (lambda: options.RecurrentTagger(word_size=0, character_hidden=0), "--model.word-size"),
        (lambda: options.WindowModel(window=4), "--model.window"),
        (lambda: options.HiddenMarkovModel(beam=0.0), "--model.beam"),
        (lambda: options.HiddenMarkovModel(rare=0), "--model.rare"),
    ],
)
def test_options_out_of_range_name_themselves(build: Any, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        build()


@pytest.mark.parametrize("name", ["recurrent", "window"])
def test_stopping_after_each_few_steps_changes_nothing(
    name: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = options.TaggingData(train=corpus, valid_share=0.2)
    learning = {"max_epochs": 2, "checkpoint_every": 3, "average": 0.9}
    train(tmp_path / "whole", name, data, **learning)
    torch.manual_seed(99)  # a new process knows nothing of the old one's generators
    batches = BucketLoader.__iter__
    count = 0

    def stopping(loader: Any) -> Iterator[Any]:
        nonlocal count
        for batch in batches(loader):
            count += 1
            if count % 5 == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(BucketLoader, "__iter__", stopping)
    pieces = tmp_path / "pieces"
    for _ in range(40):
        with RunDirectory(pieces).open() as run:
            outcome = Tagging.train(config(pieces, name, data, **learning), run)
        if not outcome.interrupted:
            break
    assert not outcome.interrupted
    assert count > 20
    stored = [(path / "model.safetensors").read_bytes() for path in (tmp_path / "whole", pieces)]
    assert stored[0] == stored[1]
    assert (pieces / "evaluation.json").read_text() == (
        tmp_path / "whole" / "evaluation.json"
    ).read_text()
