"""``unrolled score RUN``: how likely a model holds given outputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App

from unrolled.cli import single
from unrolled.cli.predict import named, together, utf8_lines
from unrolled.cli.scorers import Pair, needs_source
from unrolled.cli.searching import Others, opened
from unrolled.errors import ConfigError, DataError


def command(arguments: Sequence[str] = ()) -> App:
    """The ``score`` App."""
    return single(score, "score")


def score(run: Path, file: Path | None = None, /, *, others: Others = None) -> int:
    """Give the log-probability, in nats, of each given output.

    Args:
        run: The run directory.
        file: A text a line, or for translations a source, a TAB and a target; or JSON objects with "text", or
            "source" and "target", which come back with "log_prob" (null if it is minus infinity). Also
            compressed (.gz); the standard input, answered line by line, when absent.
        others: Runs whose models are averaged with the first, step by step.
    """
    from unrolled.data.text import read_lines
    from unrolled.tasks.lines import Lines

    trained = opened(run, others)
    if not hasattr(trained, "score"):
        raise ConfigError(f"{run}: this model scores no outputs; use: unrolled predict {run}")
    paired = needs_source(trained)
    answers: Lines[Pair, float] = Lines(
        text=_split if paired else lambda line: (None, line),
        record=lambda given: _fields(given, paired=paired),
        answer=lambda pairs: list(trained.score(pairs)),
        plain=lambda nats: f"{nats:.4f}",
        fields=lambda _, nats: {"log_prob": nats},
    )
    lines = utf8_lines(sys.stdin.buffer) if file is None else read_lines(file)
    batch_size = together(file)
    with named(file):
        for line in answers.run(lines, batch_size=batch_size):
            print(line, flush=batch_size == 1)
    return 0


def _split(line: str) -> Pair:
    """Source and target of a plain line."""
    source, tab, target = line.partition("\t")
    if not tab or "\t" in target:
        raise DataError(f"{line.count(chr(9))} TABs in {line!r:.60}; expected SOURCE TAB TARGET")
    return source, target


def _fields(given: Mapping[str, Any], *, paired: bool) -> Pair:
    names = ("source", "target") if paired else ("text",)
    for name in names:
        if not isinstance(given.get(name), str):
            what = " and ".join(f'"{each}"' for each in names)
            raise DataError(f'"{name}" is {given.get(name)!r:.40}; expected texts {what}')
    return (given["source"], given["target"]) if paired else (None, given["text"])
