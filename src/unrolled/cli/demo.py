"""``unrolled demo``: in three minutes, a language model of the Python language reference.

It trains on text that every Python carries (``unrolled.data.python_reference``), measures the
recurrent model beside a Kneser–Ney 5-gram of the same text, and writes a page. Interrupted, the
same command continues, and shows by the hash of the weights that it did.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from unrolled import tasks
from unrolled.cli import resolve, single
from unrolled.cli.generate import write_stream
from unrolled.cli.train import fit
from unrolled.config import RunConfig, run_config

if TYPE_CHECKING:
    from unrolled.training.checkpoint import Checkpoints

TASK = "language-modelling"
DIRECTORY = Path("runs/demo")
WEIGHTS = "weights.safetensors"  # in a checkpoint

# For three minutes on two cores; the rest are the defaults of the task.
RECIPE: dict[str, dict[str, Any]] = {
    "data": {"level": "characters"},
    "model": {"cell": "lstm", "hidden_size": 384, "dropout": 0.1},
    "training": {
        "batch_size": 16,
        "window": 64,
        "learning_rate": 4e-3,
        "warmup_steps": 50,
        "average": 0.995,
        "max_epochs": 12,
        "max_minutes": 2.6,
    },
}
BASELINE: dict[str, dict[str, Any]] = {"data": {"level": "characters"}, "model": {"order": 5}}
PROMPT = "The "
PAGE = 1000  # characters


def command(arguments: Sequence[str] = ()) -> App:
    """The ``demo`` App."""
    return single(demo, "demo")


def demo(directory: Path = DIRECTORY, /, *, overwrite: bool = False) -> int:
    """Train a character language model in three minutes, see it win and write a page.

    Args:
        directory: Where texts and runs go; called again, the demo continues there.
        overwrite: Begin anew.
    """
    texts = write_texts(directory / "text")
    _say(
        f"The language reference of this Python, {texts['train'].stat().st_size:,} characters of it "
        "for training, 5 % for tuning and 5 % held out.",
    )
    ngram = _configuration("kneser-ney", directory / "kneser-ney", texts, BASELINE)
    fit(ngram, overwrite=overwrite)
    config = _configuration("recurrent", directory / "recurrent", texts, RECIPE)
    command = "unrolled demo" if directory == DIRECTORY else f"unrolled demo {directory}"
    if not _train(config, command, overwrite=overwrite):
        _say(f"This demo is finished; to begin anew: {command} --overwrite")
    compare(config.output, ngram.output)
    _page(config.output)
    print(
        f"\nThe run: {config.output}\nThree commands to try:\n"
        f"  unrolled evaluate {config.output}\n"
        f"  unrolled generate {config.output} --prompt 'A class is ' --temperature 0.7\n"
        f"  unrolled train {TASK} --config {config.output / 'config.toml'} --model.cell gru "
        f"--output {directory / 'gru'}"
    )
    return 0


def _train(config: RunConfig, command: str, *, overwrite: bool) -> bool:
    """Train or continue; say what was saved when interrupted, and what was loaded afterwards."""
    from unrolled.training.run_directory import RunDirectory

    run = RunDirectory(config.output)
    if not overwrite and run.status == "resumable" and run.checkpoints.steps():
        _say(f"Saved before: {weights(run.checkpoints)}. What is loaded must have the same hash:")
    if overwrite or run.status != "finished":
        _say(f"Ctrl-C at any time is safe; what continues from there: {command}")
    try:
        return fit(config, overwrite=overwrite)
    except (KeyboardInterrupt, SystemExit):
        if run.checkpoints.steps():
            _say(f"\nSaved {weights(run.checkpoints)}.")
        _say(f"To continue: {command}")
        raise


def weights(checkpoints: Checkpoints) -> str:
    """The newest checkpoint in words: its step and the sha-256 of its weights.

    Raises:
        RunError: its files are not those that were saved.
    """
    step = checkpoints.steps()[-1]
    digest = hashlib.sha256(checkpoints.read(step)[WEIGHTS]).hexdigest()
    return f"step {step}, weights with sha-256 {digest[:16]}"


def write_texts(directory: Path) -> dict[str, Path]:
    """The parts of the reference as files; those that exist stay, since a run depends on them."""
    from unrolled.data.atomic import replacing
    from unrolled.data.python_reference import split

    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / f"{name}.txt" for name in ("train", "valid", "test")}
    if not all(path.exists() for path in paths.values()):
        for name, text in split()._asdict().items():
            with replacing(paths[name]) as file:
                file.write(text.encode("utf-8"))
    return paths


def compare(run: Path, baseline: Path) -> None:
    """Print the held-out bits per character of both runs."""
    ours, theirs = (_bits(path) for path in (run, baseline))
    print("\nBits per character on the held-out part (less is better):")
    print(f"  Kneser-Ney 5-gram  {theirs:.3f}\n  recurrent model    {ours:.3f}")
    if ours < theirs:
        print(f"The recurrent model needs {1 - ours / theirs:.1%} fewer bits.")
    else:
        print("The 5-gram is ahead: the training was too short on this machine.")


def _configuration(
    model: str, output: Path, texts: Mapping[str, Path], recipe: Mapping[str, Mapping[str, Any]]
) -> RunConfig:
    data = dict(recipe["data"]) | {name: path.resolve() for name, path in texts.items()}
    chosen = {"task": TASK, "model_name": model, "output": output, **recipe, "data": data}
    return run_config({}, tasks.OPTIONS, source="", overrides=chosen)


def _bits(run: Path) -> float:
    text = tasks.load(run).evaluate().to_json()
    return float(json.loads(text)["metrics"]["bits"])


def _page(run: Path) -> None:
    print("\nA page it writes, character by character:\n")
    model = resolve(tasks.TASKS["language-modelling"]).load(run)
    pieces = model.generate(prompt=PROMPT, length=PAGE, temperature=0.8, seed=1)
    write_stream(PROMPT, pieces)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
