"""``unrolled average RUN --output NEW``: a run whose weights are the mean of another's checkpoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.evaluate import report

_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``average`` App."""
    return single(average, "average")


def average(
    run: Path, /, *, output: Path, last: int | None = None, overwrite: _Flag = False
) -> int:
    """Write a run whose weights are the mean of the checkpoints that another has kept.

    Args:
        run: A finished run, trained with --training.keep above 1.
        output: The directory of the new run.
        last: So many of the newest checkpoints; all but the best, if that is older, when absent.
        overwrite: Replace the run that the directory holds.
    """
    if last is not None and last < 2:
        raise UsageError(f"--last {last}: expected 2 or more")
    from unrolled.tasks import averaging

    steps = averaging.average(run, output, last=last, overwrite=overwrite)
    print(f"the mean of steps {', '.join(map(str, steps))}: {output}", file=sys.stderr)
    evaluation = output / "evaluation.json"
    if evaluation.exists():
        print(report(json.loads(evaluation.read_text(encoding="utf-8"))))
    return 0
