"""Kill -9 at twenty random moments of a training, the same command each time: the end is bit-equal.

Trains a small character model on the Python reference twice, once left alone, once killed again and again
at moments drawn over the whole life of the process (start, steps, checkpoints, validation), and compares
the weights, the metrics (less the clock's fields) and the evaluation byte by byte. Prints one JSON line.

Run: python benchmarks/claims/kill_and_resume.py [--kills 20]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unrolled.data.python_reference import split

OPTIONS = {
    "model.hidden-size": 96,
    "model.num-layers": 2,
    "model.dropout": 0.2,
    "model.zoneout": 0.05,
    "training.batch-size": 8,
    "training.window": 32,
    "training.max-epochs": 12,
    "training.average": 0.99,
    "training.checkpoint-every": 25,
    "training.validate-every": 60,
}
CLOCK = ("seconds", "tokens_per_second")


def command(text: Path, output: Path) -> list[str]:
    call = [sys.executable, "-m", "unrolled", "train", "language-modelling"]
    for name, value in (OPTIONS | {"data.train": text, "output": output}).items():
        call += [f"--{name}", str(value)]
    return call


def fingerprint(run: Path) -> dict[str, str]:
    """SHA-256 of the weights, the evaluation, and the metrics without the clock."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    metrics = [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]
    parts = {
        "weights": (run / "model.safetensors").read_bytes(),
        "evaluation": (run / "evaluation.json").read_bytes(),
        "metrics": json.dumps(metrics).encode(),
    }
    return {name: hashlib.sha256(data).hexdigest()[:16] for name, data in parts.items()}


def killed_run(call: list[str], kills: int, least: float, most: float, rng: random.Random) -> int:
    """Starts and kills; then lets it end. Returns how many kills met a living process."""
    met = 0
    while met < kills:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(least, most))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        met += 1
        print(f"killed {met} of {kills}", file=sys.stderr, flush=True)
    result = subprocess.run(call, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(split().train[:60_000], encoding="utf-8")
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        start = time.monotonic()
        subprocess.run(command(text, whole), check=True, capture_output=True)
        length = time.monotonic() - start
        print(f"left alone: {length:.0f} s", file=sys.stderr)
        # From the interpreter's start to so far in that some steps are new each time.
        met = killed_run(
            command(text, broken), options.kills, 0.5, 3 + length / 15, random.Random(options.seed)
        )
        same = fingerprint(whole) == fingerprint(broken)
        print(
            json.dumps(
                {"claim": "kill and resume", "kills": met, "bit_equal": same, **fingerprint(broken)}
            )
        )
        sys.exit(not (same and met == options.kills))


if __name__ == "__main__":
    main()
