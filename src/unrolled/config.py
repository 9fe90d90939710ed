"""Configuration: dataclass ⇄ TOML ⇄ dotted options, with one definition of each option.

A frozen dataclass is the definition: a field's type says what is accepted, its default what is
used, and the ``Attributes:`` section of the class docstring what it means. The same field is the
TOML key ``[model] hidden_size = 256`` (``hidden-size`` is accepted too) and the option
``--model.hidden-size 256``. What is written back is *resolved*: every field, with ``None`` omitted.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import os
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from unrolled.errors import ConfigError

T = TypeVar("T")

SECTIONS = ("data", "model", "training")


class Schema(Protocol):
    """What a task offers, ``unrolled.tasks.OPTIONS``: the dataclass of each section.

    ``models`` has one for each model by name; the first is the default.
    """

    @property
    def data(self) -> type[Any]: ...

    @property
    def models(self) -> Mapping[str, type[Any]]: ...

    @property
    def training(self) -> type[Any]: ...


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the result of one run.

    Attributes:
        task: Name of the task, a key of ``unrolled.tasks.TASKS``.
        model_name: Name of the model or baseline within the task.
        data: The task's data options, a dataclass.
        model: The model's options, a dataclass.
        training: The training options, a dataclass.
        output: The run directory. Not a part of ``config.toml``, so that a run can be moved.
        seed: Seed of everything random, at least 0.
        device: Where to compute; auto takes CUDA when there is a device.
        precision: Arithmetic of the forward pass: 32, or bf16-mixed.
    """

    task: str
    model_name: str
    data: Any
    model: Any
    training: Any
    output: Path
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32", "bf16-mixed"] = "32"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"--seed {self.seed}: expected a whole number from 0 to 2^63 - 1")

    def to_toml(self) -> str:
        """The text of ``config.toml``: resolved, and without the run directory itself."""
        mapping = to_mapping(self)
        del mapping["output"]
        return toml_text(mapping)


@dataclass(frozen=True)
class Option:
    """One dotted option, as the command line and the reference need it.

    The section is empty for an option of the run, the default ``dataclasses.MISSING`` for one that
    must be given, the help one paragraph without markup.
    """

    section: str
    name: str
    type: Any
    default: Any
    help: str

    @property
    def flag(self) -> str:
        """The option as it is typed, ``--model.hidden-size``.

        >>> Option("model", "hidden_size", int, 256, "").flag
        '--model.hidden-size'
        """
        return "--" + ".".join(filter(None, (self.section, self.name.replace("_", "-"))))


def options(cls: type[Any], section: str = "") -> Iterator[Option]:
    """The options that the fields of a dataclass define, in their order."""
    hints, docs = get_type_hints(cls), documentation(cls)
    for item in dataclasses.fields(cls):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        yield Option(section, item.name, hints[item.name], default, docs.get(item.name, ""))


def documentation(cls: type[Any]) -> dict[str, str]:
    """Field → text from the ``Attributes:`` sections of a class and its bases, markup removed.

    >>> documentation(RunConfig)["seed"]
    'Seed of everything random, at least 0.'
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = re.search(r"^Attributes:\n((?:[ \t]+.*(?:\n|\Z)|\n)*)", text, re.MULTILINE)
        if section is None:
            continue
        body = inspect.cleandoc(section.group(1))
        for entry in re.split(r"\n(?=\S)", body):
            name, colon, meaning = entry.partition(":")
            if colon:
                plain = " ".join(meaning.replace("`", "").split())
                found.update({part.strip(): plain for part in name.split(",")})
    return found


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing, is no UTF-8, or is broken; names the file and the line.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a TOML file") from None
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
        line = raw.count(b"\n") + 1 if place is None or place[1] is None else int(place[1])
        reason = message if place is None else message[: place.start()]
        raise ConfigError(f"{path}:{line}: broken TOML: {reason}") from None


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, source: str, prefix: str = "") -> T:
    """Build a dataclass from a mapping such as a TOML table; nested dataclasses are tables.

    Args:
        cls: The dataclass.
        mapping: Key to plain value; ``-`` and ``_`` are the same in a key.
        source: The file's name, with which errors begin; may be empty.
        prefix: The dotted place of the mapping in the source, ``"model."``.

    Raises:
        ConfigError: unknown key (with a suggestion), wrong type, missing key, or a value that the
            dataclass itself refuses.
    """
    values = convert(cls, mapping, source=source, prefix=prefix)
    for option in options(cls):
        if option.default is dataclasses.MISSING and option.name not in values:
            raise _error(source, f"the key {prefix}{option.name} is missing")
    try:
        return cls(**values)
    except ConfigError as error:
        raise _error(source, str(error)) from None


def convert(
    cls: type[Any], mapping: Mapping[str, Any], *, source: str, prefix: str = ""
) -> dict[str, Any]:
    """The values of a mapping in the types of a dataclass's fields; absent keys stay absent.

    Raises:
        ConfigError: unknown key (with a suggestion) or wrong type.
    """
    known = {option.name: option for option in options(cls)}
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        name = key.replace("-", "_")
        if name not in known:
            raise _error(source, f"unknown key {prefix}{key}" + suggestion(name, known, prefix))
        values[name] = _convert(known[name].type, value, source=source, place=prefix + name)
    return values


def suggestion(name: str, known: Mapping[str, Any], prefix: str = "") -> str:
    """``; did you mean …?`` or the list of what there is, to end an error message with."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f"; expected one of: {', '.join(known)}"


def _error(source: str, message: str) -> ConfigError:
    return ConfigError(f"{source}: {message}" if source else message)


def _convert(kind: Any, value: Any, *, source: str, place: str) -> Any:
    """One value in the type that a field declares."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return from_mapping(kind, value, source=source, prefix=place + ".")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        for member in arguments:
            if member is not type(None) and _fits(member, value):
                return _convert(member, value, source=source, place=place)
    elif _fits(kind, value):
        if origin in (tuple, list):
            many = origin is list or Ellipsis in arguments
            inner = [arguments[0]] * len(value) if many else arguments
            parts = zip(inner, value, strict=True)
            return origin(_convert(k, v, source=source, place=place) for k, v in parts)
        return kind(value) if kind in (float, Path) else value
    raise _error(source, f"{place} = {_shown(value)}: expected {expected(kind)}")


def _fits(kind: Any, value: Any) -> bool:
    """Whether a plain value can stand for a type; inner values are looked at by ``_convert``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (tuple, list):
        fixed = origin is tuple and Ellipsis not in arguments
        return isinstance(value, (list, tuple)) and not (fixed and len(value) != len(arguments))
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, (str, Path)) and str(value) != ""
    return isinstance(kind, type) and isinstance(value, kind)


def expected(kind: Any) -> str:
    """A type in words, for messages.

    >>> expected(Literal["adam", "sgd"])
    'one of "adam", "sgd"'
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(expected(member) for member in arguments if member is not type(None))
    if origin in (tuple, list):
        inner = [member for member in arguments if member is not Ellipsis]
        many = origin is list or Ellipsis in arguments
        return "a list of " + ("" if many else f"{len(inner)}: ") + ", ".join(map(expected, inner))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    words |= {Path: "a path (a string)"}
    return words.get(kind, "a table" if dataclasses.is_dataclass(kind) else str(kind))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def to_mapping(value: Any) -> dict[str, Any]:
    """A dataclass as nested plain values (paths as strings, tuples as lists), ``None`` omitted."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return to_mapping(item)
        if isinstance(item, (list, tuple)):
            return [plain(part) for part in item]
        return str(item) if isinstance(item, os.PathLike) else item

    pairs = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
    return {name: plain(item) for name, item in pairs if item is not None}


def to_toml(value: Any) -> str:
    """A dataclass as TOML: scalars first, nested dataclasses as tables.

    >>> print(to_toml(Option("model", "tied", bool, True, "")), end="")
    section = "model"
    name = "tied"
    type = "<class 'bool'>"
    default = true
    help = ""
    """
    return toml_text(to_mapping(value))


def toml_text(mapping: Mapping[str, Any], prefix: str = "") -> str:
    """A mapping of scalars, lists and nested mappings as TOML text."""
    tables = {key: item for key, item in mapping.items() if isinstance(item, Mapping)}
    lines = [f"{key} = {_toml_value(mapping[key])}\n" for key in mapping if key not in tables]
    for key, item in tables.items():
        lines.append(f"\n[{prefix}{key}]\n" + toml_text(item, f"{prefix}{key}."))
    return "".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def run_config(
    mapping: Mapping[str, Any],
    schemas: Mapping[str, Schema],
    *,
    source: str,
    overrides: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a run from a TOML mapping, with the command line's values above it.

    Args:
        mapping: What :func:`read_toml` read, or nothing.
        schemas: Task name → its sections.
        source: The TOML file, for messages.
        overrides: Nested values in the types of the fields, already checked; they win.

    Raises:
        ConfigError: unknown task, model or key (with a suggestion), wrong type, missing or refused
            value, or a file about another task or model than the one asked for.
    """
    above = dict(overrides or {})
    own = {key: item for key, item in mapping.items() if key not in SECTIONS}
    values = convert(RunConfig, own, source=source)
    for key, what in (("task", "task"), ("model_name", "model")):
        if key in values and above.get(key, values[key]) != values[key]:
            told = f"{source} is about the {what} {values[key]}, not {above[key]}"
            raise ConfigError(f"{told}; leave {above[key]} out, or take another --config")
    values |= {key: item for key, item in above.items() if key not in SECTIONS}
    task = _chosen(values.get("task"), schemas, key="task", source=source)
    schema = schemas[task]
    named = values.get("model_name", next(iter(schema.models)))
    model = _chosen(named, schema.models, key="model_name", source=source)
    classes = {"data": schema.data, "model": schema.models[model], "training": schema.training}
    for section, cls in classes.items():
        table = mapping.get(section, {})
        if not isinstance(table, Mapping):
            raise _error(source, f"{section} = {_shown(table)}: expected a table")
        below = convert(cls, table, source=source, prefix=section + ".")
        given = dict(above.get(section, {}))
        place = "" if given else source  # the file is not to blame for the command line
        values[section] = from_mapping(cls, below | given, source=place, prefix=section + ".")
    values |= {"task": task, "model_name": model}
    return from_mapping(RunConfig, values, source=source if own else "")


def read_run_config(
    path: str | os.PathLike[str], schemas: Mapping[str, Schema], *, output: Path
) -> RunConfig:
    """The configuration of a run from its ``config.toml``; ``output`` is where the run lies now."""
    return run_config(read_toml(path), schemas, source=str(path), overrides={"output": output})


def differences(before: RunConfig, after: RunConfig) -> list[str]:
    """The dotted keys in which two runs differ, each with both values; the directory is no key."""
    old, new = (dict(_flat(to_mapping(config))) for config in (before, after))
    return [
        f"{key} was {_shown(old.get(key))}, is {_shown(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if key != "output" and old.get(key) != new.get(key)
    ]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in mapping.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def _chosen(name: Any, table: Mapping[str, Any], *, key: str, source: str) -> str:
    if name is None:
        raise _error(source, f"the key {key} is missing; one of: {', '.join(table)}")
    if name not in table:
        raise _error(source, f"unknown {key} {_shown(name)}" + suggestion(name, table))
    return str(name)
