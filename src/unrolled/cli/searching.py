"""Options of commands that find outputs: how these are searched for, and runs averaged with the first."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from unrolled.cli import UsageError
from unrolled.cli.parameters import parameter
from unrolled.config import options
from unrolled.errors import ConfigError
from unrolled.tasks.search import Search

Others = Annotated[
    tuple[Path, ...] | None,
    Parameter(name="--with", consume_multiple=True, negative=(), show_default=False),
]
_GROUP = Group("Search", sort_key=1)


def searched(function: Callable[..., int]) -> Callable[..., int]:
    """The same command with the options of :class:`~unrolled.tasks.search.Search`, in a group of its help.

    Args:
        function: has a keyword ``search``, which is None where no option was given.
    """

    def command(*positional: Any, **given: Any) -> int:
        chosen = {option.name: given.pop(option.name, None) for option in options(Search)}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        try:
            search = Search(**chosen) if chosen else None
        except ConfigError as error:
            raise UsageError(str(error)) from None
        return function(*positional, search=search, **given)

    own = signature(function, eval_str=True).parameters.values()
    every = [each for each in own if each.name != "search"]
    every += [parameter(option, _GROUP) for option in options(Search)]
    # What inspect, and with it cyclopts, reads; the type of functions does not name it.
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__doc__ = function.__doc__
    return command


def with_search(method: Callable[..., Any], search: Search | None, run: Path) -> Callable[..., Any]:
    """A method of a trained model that searches like that.

    Raises:
        ConfigError: it does not search.
    """
    if search is None or not search.given():
        return method
    known = signature(method).parameters
    if "search" not in known and "beam_size" in known and search.given() == ("--beam-size",):
        return functools.partial(method, beam_size=search.beam_size)
    if "search" not in known:
        flags = ", ".join(search.given())
        raise ConfigError(f"{flags}: no option of this command for the model {run}; leave it out")
    return functools.partial(method, search=search)


def opened(run: Path, others: Sequence[Path] | None = None) -> Any:
    """The trained model of a run, or that of several runs as one.

    Raises:
        RunError: a directory is no finished run.
        ConfigError: they cannot be averaged.
        UsageError: there are no others, though they were asked for.
    """
    if others is not None and not others:
        raise UsageError("--with: expected one or more runs after it")
    from unrolled import tasks

    trained: Any = tasks.load(run)
    if not others:
        return trained
    for other in others:
        if other.is_file():
            raise UsageError(
                f"--with: {other} is a file and no run directory; give files before --with"
            )
    if not hasattr(trained, "ensemble"):
        raise ConfigError(f"--with: {run} is not averaged with other runs; leave it out")
    return trained.ensemble([tasks.load(other) for other in others])
