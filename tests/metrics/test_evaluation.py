"""The one form of a report."""

from __future__ import annotations

import json
import math

import numpy as np

from unrolled.metrics.evaluation import Evaluation


def test_the_report_has_the_keys_of_the_command_line() -> None:
    report = Evaluation(
        model="recurrent",
        split="test",
        examples=3,
        metrics={"nats": 1.5, "perplexity": math.inf, "bits": float(np.float64(2.0))},
        intervals={"nats": (1.0, 2.0), "perplexity": (2.0, math.inf)},
    )
    assert json.loads(report.to_json()) == {
        "model": "recurrent",
        "split": "test",
        "examples": 3,
        "metrics": {"nats": 1.5, "perplexity": None, "bits": 2.0},
        "intervals": {"nats": [1.0, 2.0], "perplexity": [2.0, None]},
    }
    assert "\n" not in report.to_json()


def test_intervals_may_be_absent() -> None:
    assert json.loads(Evaluation("markov", "valid", 1, {}).to_json())["intervals"] == {}
