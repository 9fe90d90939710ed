"""``unrolled train TASK [MODEL]``: train a model into a run directory, or continue there.

The options of a task come from its dataclasses (``unrolled.tasks.OPTIONS``), so the App is
assembled for the task and model at hand. A value on the command line wins over ``--config``'s TOML,
which wins over the default; what was resolved is written to ``config.toml`` of the run.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import signal
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from unrolled import tasks
from unrolled.cli import UsageError, resolve
from unrolled.cli.evaluate import report
from unrolled.cli.parameters import parameter
from unrolled.config import (
    SECTIONS,
    Option,
    RunConfig,
    Schema,
    differences,
    documentation,
    options,
    read_run_config,
    read_toml,
    run_config,
)
from unrolled.errors import RunError
from unrolled.training.config import LIMITS, FittedAtOnce

_HELP = """\
Train a model, or continue where the same command was interrupted.

unrolled train TASK [MODEL] --help lists every option of a task and model. For example:
unrolled train language-modelling --data.train corpus.txt --output runs/first"""

_OF_TRAINING = ("device", "precision", "finish")  # options of a run that only training heeds
_HANDLED = ("task", "model_name", "output", *SECTIONS)  # not plain options of the run


def command(arguments: Sequence[str] = ()) -> App:
    """The ``train`` App for these arguments (what follows the word ``train``)."""
    app = App(name="train", help=_HELP)
    source = _value_of("--config", arguments)
    wants_help = bool({"--help", "-h"} & set(arguments))
    mapping = read_toml(source) if source and not wants_help else {}
    named = arguments[0] if arguments and arguments[0] in tasks.OPTIONS else None
    for task, schema in tasks.OPTIONS.items():
        model = str(mapping.get("model_name"))
        if named == task and arguments[1:] and arguments[1] in schema.models:
            model = arguments[1]
        app.command(_function(task, schema, model, mapping, source), name=task)
    if arguments and named is None and arguments[0].startswith("-") and not wants_help:
        subject = str(mapping.get("task"))
        if subject not in tasks.OPTIONS:
            raise UsageError(
                f"train needs a TASK before its options: one of {', '.join(tasks.OPTIONS)}; "
                f"{_example(next(iter(tasks.OPTIONS)))}"
            )
        schema = tasks.OPTIONS[subject]
        app.default(_function(subject, schema, str(mapping.get("model_name")), mapping, source))
    return app


def _function(
    task: str, schema: Schema, model: str, mapping: Mapping[str, Any], source: str
) -> types.FunctionType:
    """A function whose signature is the options of one task and model, for cyclopts to read."""
    name = model if model in schema.models else next(iter(schema.models))

    def train(*positional: str, **given: Any) -> int:
        overrides: dict[str, Any] = {"task": task}
        if positional:
            overrides["model_name"] = positional[0]
        chosen = positional[0] if positional else name
        if issubclass(schema.models[chosen], FittedAtOnce):
            _refuse_training(chosen, given)
        given.pop("config", None)  # read before the options were known
        flags = {name: bool(given.pop(name, False)) for name in ("overwrite", "finish")}
        if all(flags.values()):
            raise UsageError("--finish keeps what --overwrite removes; give one of them")
        for key, value in given.items():
            section, _, field = key.rpartition("__")
            (overrides.setdefault(section, {}) if section else overrides)[field] = value
        _demand(task, name, schema, mapping, overrides)
        resolved = run_config(mapping, tasks.OPTIONS, source=source, overrides=overrides)
        return run(_absolute(resolved), **flags)

    train.__doc__ = summary(task, schema)
    parameters = _parameters(schema, name, given_model="model_name" in mapping)
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    assert isinstance(train, types.FunctionType)
    return train


def _refuse_training(model: str, given: Mapping[str, Any]) -> None:
    """Refuse options that only training heeds."""
    for key in given:
        if key in _OF_TRAINING or key.startswith("training__"):
            flag = "--" + key.replace("__", ".").replace("_", "-")
            raise UsageError(
                f"{flag}: {model} is counted or solved at once, not trained; leave it out"
            )


def summary(task: str, schema: Schema) -> str:
    """One line about a task: its ``summary``, where it has one, or what its data are."""
    text = getattr(schema, "summary", "") or (schema.data.__doc__ or task).split("\n\n")[0]
    return " ".join(text.replace("`", "").split())


def run(config: RunConfig, *, overwrite: bool = False, finish: bool = False) -> int:
    """Train as a configuration says, in its run directory, and print the evaluation."""
    trained = fit(config, overwrite=overwrite, finish=finish)
    if int(os.environ.get("RANK", "0")) != 0:  # under torchrun the first process speaks
        return 0
    if not trained:
        print(f"already finished: {config.output} (--overwrite begins anew)", file=sys.stderr)
    evaluation = config.output / "evaluation.json"
    if evaluation.exists():
        print(report(json.loads(evaluation.read_text(encoding="utf-8"))))
    tested = any((config.output / f"test.{kind}").exists() for kind in ("tokens", "jsonl"))
    hint = "" if tested else " --data.test FILE"
    print(f"measure it on data held out: unrolled evaluate {config.output}{hint}", file=sys.stderr)
    return 0


def fit(config: RunConfig, *, overwrite: bool = False, finish: bool = False) -> bool:
    """Train, or continue, in the run directory of a configuration.

    A run that is there goes on, also a finished one whose limits are wider now.

    Args:
        finish: an interrupted training goes no further: its best weights are kept.

    Returns:
        False if this very run was finished before, and nothing was done.

    Raises:
        RunError: the directory holds a run with another configuration, or is no run.
        KeyboardInterrupt, SystemExit: a signal ended the training, which is saved.
    """
    from unrolled.training.run_directory import RunDirectory

    directory = RunDirectory(config.output)
    directory.recover()
    widened = ""
    if not overwrite and directory.status != "new":
        widened = widened_limits(config)
        if directory.status == "finished" and not widened:
            if (directory.path / "model.json").exists():
                directory.read_description()  # whole, and not of a newer format
            return False
    training = config
    if finish:
        if directory.status != "resumable" or not directory.checkpoints.steps():
            raise RunError(f"{config.output}: there is no interrupted training for --finish to end")
        at_once = dataclasses.replace(config.training, max_minutes=1e-9)
        training = dataclasses.replace(config, training=at_once)
    with directory.open(overwrite=overwrite, longer=bool(widened)):
        if widened and directory.writer:
            print(f"{config.output} goes on: {widened}", file=sys.stderr)
        directory.write_text("config.toml", config.to_toml())
        outcome = resolve(tasks.TASKS[config.task]).train(training, directory)
    if outcome.interrupted:
        print(
            f"saved in {config.output}; the same command continues, with --finish it ends there",
            file=sys.stderr,
        )
        if outcome.reason == "SIGINT":
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.Signals[outcome.reason])
    return True


def widened_limits(config: RunConfig) -> str:
    """What is new in a configuration of the run in its directory: wider limits of its training, or nothing.

    Raises:
        RunError: the run is another's: names every key that differs, and the mends.
    """
    path = config.output / "config.toml"
    if not path.exists():  # killed before it was written: there is nothing to contradict
        return ""
    before = read_run_config(path, tasks.OPTIONS, output=config.output)
    changed = "; ".join(differences(before, config))
    if not changed:
        return ""
    mend = "give another --output, or the old values to continue, or --overwrite to begin anew"
    old, new = (dataclasses.asdict(each.training) for each in (before, config))
    moved = {name for name in new if new[name] != old[name]}
    if (
        differences(dataclasses.replace(before, training=config.training), config)
        or not moved <= set(LIMITS)
        or any(new[name] and not 0 < old[name] < new[name] for name in moved)
    ):
        raise RunError(
            f"{config.output} holds a run with another configuration ({changed}); {mend}"
        )
    if new.get("schedule") == "cosine" and moved & {"max_epochs", "max_steps"}:
        raise RunError(
            f"{config.output} holds a run whose learning rate falls to 0 at its end, so that it cannot go "
            f"on ({changed}); {mend}"
        )
    return changed


def _demand(
    task: str, model: str, schema: Schema, mapping: Mapping[str, Any], overrides: Mapping[str, Any]
) -> None:
    """Refuse a command line without a required option, ending with a command to paste."""
    sections = ((RunConfig, ""), (schema.data, "data"), (schema.models[model], "model"))
    for cls, section in (*sections, (schema.training, "training")):
        table, above = (
            layer.get(section, {}) if section else layer for layer in (mapping, overrides)
        )
        if not isinstance(table, Mapping):
            continue  # refused with its name when it is read
        present = {str(key).replace("-", "_") for key in [*table, *above]}
        for option in options(cls, section):
            needed = option.default is dataclasses.MISSING and option.name not in present
            if needed and (section or option.name == "output"):
                raise UsageError(f"{option.flag} is missing; {_example(task)}")


def _example(task: str) -> str:
    words = ("unrolled train", task, tasks.OPTIONS[task].example, "--output runs/first")
    return f"for example: {' '.join(filter(None, words))}"


def _absolute(config: RunConfig) -> RunConfig:
    """The same with absolute paths, so that the configuration holds from any directory."""

    def absolute(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(absolute, value))
        return Path(os.path.abspath(value)) if isinstance(value, Path) else value

    def section(options_of: Any) -> Any:
        names = [item.name for item in dataclasses.fields(options_of) if item.init]
        changed = {name: absolute(getattr(options_of, name)) for name in names}
        return dataclasses.replace(options_of, **changed)

    return dataclasses.replace(config, data=section(config.data), model=section(config.model))


def _value_of(flag: str, arguments: Sequence[str]) -> str:
    """The value of an option, looked up before the parser exists; empty when it is not given."""
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(flag + "="):
            return argument.removeprefix(flag + "=")
    return ""


# ------------------------------------------------------------------------- options for the parser


def _parameters(schema: Schema, model: str, *, given_model: bool) -> list[inspect.Parameter]:
    """MODEL, the run's options, and the dotted options of data, model and training."""
    names = tuple(schema.models)
    default = model if given_model else names[0]
    summary = f"Default: {default}. The options below are those of {model}."
    text = f"The model or a baseline, one of {', '.join(names)}. {summary}"
    run_group = Group("Run", sort_key=0)
    positional = inspect.Parameter(
        "MODEL",
        inspect.Parameter.POSITIONAL_ONLY,
        default=None,
        annotation=Annotated[
            Literal[names] | None,
            Parameter(help=text, group=run_group, show_choices=False, show_default=False),
        ],
    )
    own = {option.name: option for option in options(RunConfig)}
    missing, docs = dataclasses.MISSING, documentation(RunConfig)
    run_options = [
        Option("", "output", Path, missing, docs["output"].split(".")[0] + "."),
        Option("", "config", Path, None, "A TOML file of options; the command line wins over it."),
        Option("", "overwrite", bool, False, "Remove the run that the directory holds."),
        Option(
            "", "finish", bool, False, "End an interrupted training here: keep its best weights."
        ),
        *(own[name] for name in own if name not in _HANDLED),
    ]
    trained = not issubclass(schema.models[model], FittedAtOnce)
    parameters = [positional]
    for option in run_options:
        show = trained or option.name not in _OF_TRAINING
        parameters.append(parameter(option, run_group, show=show))
    classes = (schema.data, schema.models[model], schema.training)
    for order, (section, cls) in enumerate(zip(SECTIONS, classes, strict=True), start=1):
        title = f"Model: {model}" if section == "model" else section.capitalize()
        group, show = Group(title, sort_key=order), trained or section != "training"
        parameters += [parameter(option, group, show=show) for option in options(cls, section)]
    return parameters
