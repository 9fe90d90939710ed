"""What the claims on corpora share: the data folder, `unrolled train`, and one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from unrolled.cli import main as unrolled
from unrolled.tasks import load


def arguments(
    description: str | None, *, tune: bool = False, models: Sequence[str] = ()
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    if models:
        parser.add_argument("--only", choices=models, help="one of the models; all when absent")
    if tune:
        parser.add_argument(
            "--tune", action="store_true", help="the model that choices are made on"
        )
    parser.add_argument("--output", type=Path, default=Path("runs/claims"))
    return parser.parse_args()


def data_folder() -> Path:
    """The folder of data sets named by UNROLLED_DATA; exit with a word where there is none."""
    named = os.environ.get("UNROLLED_DATA")
    if not named or not Path(named).is_dir():
        print("skipped: UNROLLED_DATA names no folder of data sets", file=sys.stderr)
        sys.exit(0)
    return Path(named)


def train(
    output: Path,
    model: str,
    options: Mapping[str, str | list[str]],
    *,
    task: str = "language-modelling",
) -> Path:
    """`unrolled train TASK MODEL`, printed so that it can be pasted; its directory."""
    command = ["train", task, model, "--output", str(output)]
    for name, value in options.items():
        if value == "true":
            command.append(f"--{name}")
        else:
            for one in value if isinstance(value, list) else [value]:
                command += [f"--{name}", one]
    print("unrolled " + " ".join(command), file=sys.stderr)
    if code := unrolled(command):
        sys.exit(code)
    return output


def report(claim: str, runs: Mapping[str, Path], metric: str, *, split: str = "test") -> None:
    """Prints the metric of every run on that part, with its interval and minutes of training."""
    found: dict[str, object] = {"claim": claim, "metric": metric}
    for name, run in runs.items():
        evaluation = json.loads(load(run).evaluate(split=split).to_json())
        low, high = evaluation["intervals"][metric]
        found[name] = {
            metric: round(evaluation["metrics"][metric], 4),
            "interval": [round(low, 4), round(high, 4)],
            "split": evaluation["split"],
            "symbols": evaluation["examples"],
            "minutes": minutes(run),
        }
    print(json.dumps(found))


def minutes(run: Path) -> float | None:
    """Minutes of training, from the last record of metrics.jsonl; None for models that count."""
    log = run / "metrics.jsonl"
    if not log.exists():
        return None
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return round(last["seconds"] / 60, 1)
