"""``unrolled demo``: in three minutes, a language model of the Python language reference.

It trains on text that every Python carries (``unrolled.data.python_reference``), measures the
recurrent model beside a Kneser–Ney 5-gram of the same text, and writes a page. Interrupted, the
same command continues, and shows by the hash of the weights that it did.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App

from unrolled import tasks
from unrolled.cli import single
from unrolled.cli.train import fit
from unrolled.config import RunConfig, run_config

TASK = "language-modelling"

# What was tuned for three minutes on two cores; the rest are the defaults of the task.
RECIPE: dict[str, dict[str, Any]] = {
    "data": {"level": "characters"},
    "model": {"cell": "lstm", "hidden_size": 512},
    "training": {"max_minutes": 2.2},
}
BASELINE: dict[str, dict[str, Any]] = {"data": {"level": "characters"}, "model": {"order": 5}}
PROMPT = "The "
PAGE = 1000  # characters


def command(arguments: Sequence[str] = ()) -> App:
    """The ``demo`` App."""
    return single(demo, "demo")


def demo(directory: Path = Path("runs/demo"), /, *, overwrite: bool = False) -> int:
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
    if not _train(config, overwrite=overwrite):
        _say(f"This demo is finished; to begin anew: unrolled demo {directory} --overwrite")
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
    sys.stdout.write(PROMPT)
    pieces = tasks.load(run).generate(
        prompt=PROMPT, length=PAGE, temperature=0.8, top_k=None, top_p=None, seed=1
    )
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
