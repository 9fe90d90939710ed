"""Trained models that give the log-probabilities of outputs, for the commands that use several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli import UsageError
from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.decoding.rerank import NBest

Pair = tuple[str | None, str]  # source, if there is one, and target


def needs_source(trained: Any) -> bool:
    """Whether a model's outputs have a source; a language model's have none."""
    return bool(trained.description["task"] != "language-modelling")


def named_runs(flag: str, given: Sequence[str]) -> dict[str, Path]:
    """What ``--score NAME=RUN`` was given.

    >>> named_runs("--score", ["lm=runs/lm"])
    {'lm': PosixPath('runs/lm')}
    """
    found: dict[str, Path] = {}
    for each in given:
        name, equals, run = each.partition("=")
        if not equals or not run or not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(f"{flag} {each}: expected NAME=RUN, such as lm=runs/lm")
        if name in found:
            raise UsageError(f"{flag} {each}: the name {name} is given twice")
        found[name] = Path(run)
    return found


def with_scores(lists: NBest, flag: str, runs: dict[str, Path]) -> NBest:
    """The lists with a feature for each run: ln p of each candidate, or with ``--reverse`` of its source."""
    from unrolled import tasks

    for name, run in runs.items():
        trained: Any = tasks.load(run)
        if not hasattr(trained, "score"):
            raise ConfigError(f"{flag} {name}={run}: this model scores no outputs")
        sources = [lists.sources[number] for number in lists.lists]
        if (flag == "--reverse" or needs_source(trained)) and None in sources:
            raise ConfigError(
                f"{flag} {name}={run}: needs the source of each list; give --source FILE, a line each"
            )
        if flag == "--reverse" and not needs_source(trained):
            raise ConfigError(
                f"{flag} {name}={run}: a language model reads no source; give it as --score"
            )
        pairs: Any = zip(sources, lists.texts, strict=True)
        if flag == "--reverse":
            pairs = ((text, source) for source, text in pairs)
        lists = lists.with_feature(name, list(trained.score(pairs)))
    return lists
