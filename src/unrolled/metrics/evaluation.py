"""What ``unrolled evaluate`` reports: named numbers of one model on one part of the data, with
their intervals, in the one form that every task, baseline and table shares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """The measured quality of a model.

    Attributes:
        model: its name, as in ``unrolled train TASK MODEL``.
        split: the part of the data, for instance ``test``.
        examples: how many predictions the numbers are means of.
        metrics: each number by name.
        intervals: lower and upper end for those metrics that have an interval.
        details: what else is worth printing, such as a table of confusions; not in the JSON.
        search: how outputs were found, of models that say texts; in the JSON where there is one.

    >>> print(Evaluation("markov", "test", 3, {"nats": 1.5}, {"nats": (1.0, 2.0)}).to_json())
    {"model": "markov", "split": "test", "examples": 3, "metrics": {"nats": 1.5}, \
"intervals": {"nats": [1.0, 2.0]}}
    """

    model: str
    split: str
    examples: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    details: str = ""
    search: str = ""

    def to_json(self) -> str:
        """One line of JSON. Numbers that are not finite, which JSON lacks, become null."""
        content: dict[str, Any] = {
            "model": self.model,
            "split": self.split,
            "examples": self.examples,
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "intervals": {
                name: [float(low), float(high)] for name, (low, high) in self.intervals.items()
            },
        }
        if self.search:
            content["search"] = self.search
        return json_line(content)


def json_line(content: object) -> str:
    """One line of JSON. Numbers that are not finite, which JSON lacks, become null.

    >>> json_line({"log_prob": -math.inf, "words": ("zu", "Hause")})
    '{"log_prob": null, "words": ["zu", "Hause"]}'
    """
    return json.dumps(_finite(content), ensure_ascii=False, allow_nan=False)


def _finite(content: object) -> object:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
