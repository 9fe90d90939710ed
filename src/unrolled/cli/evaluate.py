"""``unrolled evaluate RUN``: measure a trained model on held-out data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.searching import Others, opened, searched, with_search
from unrolled.errors import ConfigError
from unrolled.tasks.search import Search

_Test = Annotated[Path | None, Parameter(name="--data.test")]
_Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``evaluate`` App."""
    return single(searched(evaluate), "evaluate")


def evaluate(
    run: Path,
    /,
    *,
    data_test: _Test = None,
    split: Literal["test", "valid"] | None = None,
    language: str | None = None,
    as_json: _Json = False,
    others: Others = None,
    search: Search | None = None,
) -> int:
    """Measure a trained model on its test data, or on a file of yours.

    Args:
        run: The run directory.
        data_test: Measure on this file; its own test data when absent.
        split: Of the run's own data: its test part when absent, or the part to choose settings by, valid.
        language: Of translations: whose stems METEOR compares, a two-letter code or a name; that which the
            targets' ending or field names, when absent.
        as_json: Print one line of JSON.
        others: Runs whose models are averaged with the first, step by step.
        search: How outputs are found, of models that say texts; the report says it.
    """
    if data_test is not None and split is not None:
        raise UsageError("--split is of the run's own data; leave out --split or --data.test")
    measured = with_search(opened(run, others).evaluate, search, run)
    if language is not None:
        if "language" not in signature(measured).parameters:
            raise ConfigError(f"--language: {run} has no scores that depend on it; leave it out")
        measured = partial(measured, language=language)
    evaluation = measured(data_test, split=split or "test")
    text = evaluation.to_json()
    print(text if as_json else report(json.loads(text)))
    if evaluation.details and not as_json:
        print(f"\n{evaluation.details}")
    return 0


def report(evaluation: Mapping[str, Any]) -> str:
    """The fields of an ``Evaluation`` as aligned lines, a metric with its interval.

    >>> print(report({"model": "lm", "split": "test", "examples": 9, "metrics": {"bits": 2.0},
    ...               "intervals": {"bits": [1.9, 2.1]}}))
    model     lm
    split     test
    examples  9
    bits      2.0000  [1.9000, 2.1000]
    """
    keys = ("model", "split", "examples", "search")
    rows = [(key, str(evaluation[key])) for key in keys if evaluation.get(key) not in (None, "")]
    intervals = evaluation.get("intervals") or {}
    for name, value in evaluation["metrics"].items():
        text = _number(value)
        if name in intervals:
            low, high = intervals[name]
            text += f"  [{_number(low)}, {_number(high)}]"
        rows.append((name, text))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def _number(value: float | None) -> str:
    if value is None:
        return "not finite"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.1f}"
