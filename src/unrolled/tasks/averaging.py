"""A finished run whose weights are the mean of the checkpoints that another has kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from unrolled.config import read_run_config
from unrolled.errors import ConfigError, RunError
from unrolled.tasks import OPTIONS, TASKS
from unrolled.tasks.parts import conclude
from unrolled.training.checkpoint_average import mean_weights
from unrolled.training.run_directory import RunDirectory

COMMANDS = ("evaluate {run} --data.test FILE", "predict {run} < FILE")
_KEPT = (".json", ".jsonl", ".tokens")  # vocabularies and the like, and the parts held out
_OWN = ("model.json", "evaluation.json", "metrics.jsonl")  # of the run that was trained


def average(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    last: int | None = None,
    overwrite: bool = False,
) -> list[int]:
    """Writes a finished run with the mean of a run's newest checkpoints, measured on its validation part.

    Args:
        source: a finished run, trained with ``--training.keep`` above 1.
        output: the new run's directory.
        last: so many of the newest checkpoints, at least 2; as many as ``--training.keep`` when None.
        overwrite: replace the run in ``output``.

    Returns:
        The steps of the checkpoints.

    Raises:
        ConfigError: there are too few checkpoints, or ``output`` is ``source``.
        RunError: ``source`` is no finished run, or a checkpoint is damaged or of another model.
    """
    given, target = RunDirectory(source), RunDirectory(output)
    if target.path.resolve() == given.path.resolve():
        raise ConfigError(f"--output {output}: is the run itself; choose another directory")
    description = given.read_description()
    task = _task(description, given.path)
    config = read_run_config(given.path / "config.toml", OPTIONS, output=target.path)
    steps = _steps(given, config.training.keep, last)
    tensors = mean_weights(given.checkpoints, steps)
    description["averaged_steps"] = ", ".join(map(str, steps))
    with target.open(overwrite=overwrite):
        target.write_text("config.toml", config.to_toml())
        for entry in sorted(given.path.iterdir()):
            if entry.suffix in _KEPT and entry.name not in _OWN and entry.is_file():
                shutil.copyfile(entry, target.path / entry.name)
        write = getattr(task, "write_averaged", None)
        if write is not None:
            write(config, target, tensors, description)
        else:
            _check(tensors, given)
            target.write_model(tensors, description)
        conclude(config, target, task.load, unit="examples", commands=COMMANDS)
    return steps


def _task(description: Mapping[str, Any], path: Path) -> Any:
    name = description.get("task")
    if name not in TASKS:
        raise RunError(
            f"{path}: a run of the unknown task {name!r}; expected one of {', '.join(TASKS)}"
        )
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)


def _steps(run: RunDirectory, keep: int, last: int | None) -> list[int]:
    """The newest checkpoints' steps. What is older than ``keep`` of them is the best, kept for itself."""
    steps = run.checkpoints.steps()[-keep:]
    if last is not None and last < 2:
        raise ConfigError(f"--last {last}: expected 2 or more")
    needed = last or 2
    if len(steps) < needed:
        kept = f"{len(steps)} checkpoint{'' if len(steps) == 1 else 's'}"
        raise ConfigError(
            f"{run.path}: has kept {kept} of its training, and {needed} are to be averaged; train with "
            f"--training.keep {max(needed, 5)} (and --training.checkpoint-every N)"
        )
    return steps if last is None else steps[-last:]


def _check(tensors: Mapping[str, Tensor], run: RunDirectory) -> None:
    """The checkpoints must be of the model that the description describes."""
    _, own = run.read_model()
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise RunError(
            f"{run.checkpoints.folder}: holds another model than {run.path / 'model.safetensors'}; "
            "train it again"
        )
