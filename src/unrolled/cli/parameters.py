"""Fields of dataclasses as options of the command line, for cyclopts."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import Group, Parameter

from unrolled.config import Option

MANY = Parameter(consume_multiple=True, negative=(), show_default=False)  # values after one flag
_FLAGS = ("overwrite", "finish", "sample")  # options without a --no- form


def parameter(option: Option, group: Group, *, show: bool = True) -> inspect.Parameter:
    """One keyword whose absence shows, so that the layers below it can speak; ``show``: in the help, too."""
    kind, default = option.type, option.default
    if get_origin(kind) not in (Union, types.UnionType) or type(None) not in get_args(kind):
        kind = kind | None
    required = default is dataclasses.MISSING
    silent = required or default in (None, "", ()) or option.name in _FLAGS
    whole = int in (option.type, *get_args(option.type))
    shown = Parameter(
        name=option.flag,
        help=option.help + (" Required." if required else ""),
        group=group,
        show=show,
        show_default=False if silent else lambda _: _display(default),
        negative=() if option.name in _FLAGS else None,
        negative_iterable=(),
        consume_multiple=get_origin(option.type) in (tuple, list),
        converter=_whole if whole else None,
    )
    key = f"{option.section}__{option.name}" if option.section else option.name
    return inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, shown]
    )


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """An int that is written as one; cyclopts alone would round 1.6."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f'"{tokens[0].value}" is not a whole number') from None


def _display(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
