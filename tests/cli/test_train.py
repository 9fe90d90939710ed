"""``unrolled train``: options, precedence, the run directory, and every refusal."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from unrolled import tasks
from unrolled.config import read_toml
from unrolled.training.config import FittedAtOnce

TRAIN = ("train", "language-modelling")
EXAMPLE = "unrolled train language-modelling --data.train corpus.txt --output runs/first\n"


@pytest.fixture
def run(unrolled: Any, tmp_path: Path) -> Any:
    """Train into ``tmp_path/run`` with the required options given."""

    def call(*arguments: object, output: str = "run") -> Any:
        required = ("--data.train", "corpus.txt", "--output", tmp_path / output)
        return unrolled(*TRAIN, *arguments, *required)

    return call


def test_help_lists_tasks_then_options_by_group(unrolled: Any) -> None:
    assert "language-modelling  A task of the tests." in unrolled("train").out
    text = unrolled(*TRAIN, "--help").out
    titles = ["─ Run ─", "─ Data ─", "─ Model: recurrent ─", "─ Training ─"]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    for part in (
        "--model.hidden-size INT",
        "Units of each layer. [default: 512]",
        "--model.no-tied",
        "Text to learn from. Required.",
        "[choices: auto, cpu, cuda]",
    ):
        assert part in text


def test_help_is_about_the_model_asked_for(unrolled: Any, tmp_path: Path) -> None:
    text = unrolled(*TRAIN, "mixture", "--help").out
    assert "--model.runs" in text
    assert "--model.hidden-size" not in text
    assert unrolled(*TRAIN, "--config", tmp_path / "none", "--help").code == 0


def test_options_reach_the_task_resolved(run: Any, fake: Any, tmp_path: Path) -> None:
    ended = run("--model.hidden-size", 3, "--model.tied", "--training.max-epochs=2", "--seed", 5)
    assert ended.code == 0
    (config,) = fake.trained
    assert (config.task, config.model_name) == ("language-modelling", "recurrent")
    assert (config.model.hidden_size, config.model.tied) == (3, True)
    assert (config.training.max_epochs, config.seed, config.device) == (2, 5, "auto")
    assert config.data.train == Path.cwd() / "corpus.txt"
    assert config.output == tmp_path / "run"
    assert "nats        1.5000  [1.4000, 1.6000]" in ended.out
    assert f"unrolled evaluate {tmp_path / 'run'}" in ended.err


def test_a_list_takes_several_values(run: Any, fake: Any) -> None:
    assert run("mixture", "--model.runs", "a", "b").code == 0
    assert fake.trained[0].model.runs == (Path.cwd() / "a", Path.cwd() / "b")


def test_toml_is_below_the_command_line(run: Any, fake: Any, tmp_path: Path) -> None:
    toml = tmp_path / "f.toml"
    toml.write_text("seed = 3\n[model]\nhidden-size = 7\ntied = true\n", encoding="utf-8")
    assert run("--config", toml, "--model.no-tied").code == 0
    (config,) = fake.trained
    assert (config.seed, config.model.hidden_size, config.model.tied) == (3, 7, False)


def test_config_toml_of_a_run_is_reusable(
    run: Any, unrolled: Any, fake: Any, tmp_path: Path
) -> None:
    run("mixture", "--model.runs", "a", "b", "--seed", 9)
    written = tmp_path / "run" / "config.toml"
    assert read_toml(written)["training"] == {"max_epochs": 10}
    for output, arguments in (("new", ()), ("named", (*TRAIN[1:], "mixture"))):
        ended = unrolled("train", *arguments, "--config", written, "--output", tmp_path / output)
        assert ended.code == 0, ended.err
        assert (tmp_path / output / "config.toml").read_bytes() == written.read_bytes()
    assert [config.seed for config in fake.trained] == [9, 9, 9]


def test_the_same_command_continues(run: Any, fake: Any, tmp_path: Path) -> None:
    fake.action = lambda: "SIGINT"
    ended = run()
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.startswith(f"saved in {tmp_path / 'run'}; the same command continues, with ")
    fake.action = None
    assert run().code == 0
    assert len(fake.trained) == 2


@pytest.mark.parametrize("when", ["handled by the trainer", "outside the trainer"])
def test_sigterm_in_training_ends_with_143(run: Any, fake: Any, when: str) -> None:
    handled = when == "handled by the trainer"
    fake.action = lambda: "SIGTERM" if handled else os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 143


def test_another_configuration_in_the_same_directory_is_refused(
    run: Any, fake: Any, tmp_path: Path
) -> None:
    run()
    ended = run("--model.hidden-size", 7, "--seed", 1)
    assert ended.code == 1
    assert "(model.hidden_size was 512, is 7; seed was 0, is 1)" in ended.err
    assert ended.err.endswith("--overwrite to begin anew\n")
    assert len(fake.trained) == 1
    assert run("--seed", 1, "--overwrite").code == 0
    assert read_toml(tmp_path / "run" / "config.toml")["seed"] == 1


def test_a_finished_run_is_not_repeated(run: Any, fake: Any) -> None:
    first = run()
    again = run()
    assert (again.code, again.out) == (0, first.out)
    assert "already finished" in again.err
    assert len(fake.trained) == 1
    assert run("--overwrite").code == 0
    assert len(fake.trained) == 2


def test_under_torchrun_the_first_process_speaks(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    ended = run()
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_two_processes_in_one_directory_are_refused(run: Any, fake: Any) -> None:
    codes: list[Any] = []
    fake.action = lambda: codes.append(run()) if not codes else None
    run()
    assert codes[0].code == 1
    assert "another process" in codes[0].err


def test_a_directory_of_other_things_is_left_alone(run: Any, fake: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    for arguments in ((), ("--overwrite",)):
        ended = run(*arguments)
        assert ended.code == 1
        assert "no run of unrolled" in ended.err
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"
    assert not fake.trained


def test_an_output_that_cannot_be_written_is_refused(run: Any, tmp_path: Path, fake: Any) -> None:
    (tmp_path / "file").write_text("")
    ended = run(output="file/run")
    assert ended.code == 1
    assert "file" in ended.err
    assert ended.err.count("\n") == 1
    assert not fake.trained


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[model]\nhiden_size = 3\n", "unknown key model.hiden_size; did you mean model.hidden_s"),
        ("model = 1\n", "model = 1: expected a table"),
        ("model_name = [1]\n", "model_name = [1]: expected a string"),
        ("sead = 3\n", "unknown key sead; did you mean seed?"),
        ("[model]\nhidden_size = '3'\n", 'model.hidden_size = "3": expected a whole number'),
        ("[training]\nmax_epochs = -1\n", "--training.max-epochs -1: expected 0 or more"),
        ("seed = 1\nmodel = =\n", ":2: broken TOML: Invalid value"),
        ("model_name = 'mixture'\n[model]\nruns = 3\n", "model.runs = 3: expected a list"),
        ("model_name = 'mixtrue'\n", 'unknown model_name "mixtrue"; did you mean mixture?'),
        ("task = 'tagging'\n", "is about the task tagging, not language-modelling"),
    ],
)
def test_a_wrong_toml_is_named(
    run: Any, fake: Any, tmp_path: Path, content: str, message: str
) -> None:
    toml = tmp_path / "f.toml"
    toml.write_text(content, encoding="utf-8")
    ended = run("--config", toml)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"unrolled: error: {toml}")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not fake.trained
    assert not (tmp_path / "run").exists()


def test_a_missing_toml_is_named(run: Any) -> None:
    ended = run("--config", "none.toml")
    assert (ended.code, ended.err.split("; ")[0]) == (
        1,
        "unrolled: error: none.toml: No such file or directory",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["language-modelling"], "--output is missing; for example: " + EXAMPLE),
        (["language-modelling", "--output", "r"], "--data.train is missing; for example: "),
        (["--output", "r"], "train needs a TASK before its options: one of language-modelling;"),
        (["language-modeling"], 'Did you mean "language-modelling"?'),
        (["language-modelling", "mixtrue"], 'Did you mean "mixture"?'),
        (["language-modelling", "--modl.tied"], "Did you mean --model.tied?"),
        (["language-modelling", "--model.hidden-size", "x"], '"x" is not a whole number'),
        (["language-modelling", "--data.level", "word"], 'Did you mean "words"?'),
        (["language-modelling", "--device", "tpu"], 'Choose from: "auto", "cpu", "cuda"'),
        (["language-modelling", "mixture", "--model.tied"], "Unknown option: --model.tied"),
        (["language-modelling", "--data.train"], "--data.train requires an argument"),
    ],
)
def test_usage_errors(unrolled: Any, arguments: list[str], message: str) -> None:
    ended = unrolled("train", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_values_out_of_range_are_refused_before_anything_is_written(
    run: Any, tmp_path: Path
) -> None:
    ended = run("--training.max-epochs", -1)
    assert (ended.code, ended.err) == (
        1,
        "unrolled: error: --training.max-epochs -1: expected 0 or more\n",
    )
    assert run("--seed", -1).code == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", tasks.OPTIONS)
def test_every_option_of_the_real_tasks_is_documented(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    from unrolled.config import options

    monkeypatch.undo()
    schema = tasks.OPTIONS[task]
    for cls in (schema.data, *schema.models.values(), schema.training):
        assert [option.name for option in options(cls) if not option.help] == []
    for model in schema.models:
        ended = unrolled("train", task, model, "--help")
        assert ended.code == 0
        if list(options(schema.models[model])):  # a model without options has no such section
            assert f"Model: {model}" in ended.out
        trained = not issubclass(schema.models[model], FittedAtOnce)
        assert ("--training.max-epochs" in ended.out) == trained
        assert ("--precision" in ended.out) == trained


@pytest.mark.parametrize("option", ["--training.max-epochs=3", "--device=cpu", "--finish"])
def test_what_only_training_heeds_is_refused_where_nothing_is_trained(
    unrolled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    monkeypatch.undo()
    (tmp_path / "text").write_text("a b\n")
    files = ("--data.train", tmp_path / "text", "--output", tmp_path / "run")
    ended = unrolled("train", "language-modelling", "markov", *files, option)
    assert ended.code == 2
    name = option.partition("=")[0]
    assert f"{name}: markov is counted or solved at once, not trained; leave it out" in ended.err
    (tmp_path / "run.toml").write_text('task = "language-modelling"\nmodel_name = "markov"\n')
    for words in (
        ("--config", tmp_path / "run.toml", *files),
        ("language-modelling", "--config", tmp_path / "run.toml", *files),
        ("language-modelling", *files, option, "markov"),
    ):
        again = unrolled("train", *words, *([option] if option not in words else []))
        assert (again.code, again.err) == (2, ended.err)
    assert not (tmp_path / "run").exists()
