"""Dataclass ⇄ TOML ⇄ dotted options."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.config import (
    Option,
    RunConfig,
    differences,
    documentation,
    expected,
    from_mapping,
    options,
    read_run_config,
    read_toml,
    run_config,
    to_mapping,
    to_toml,
    toml_text,
)
from unrolled.errors import ConfigError


@dataclass(frozen=True)
class Data:
    """The text.

    Attributes:
        train: Text to learn from, ``.gz`` too.
        valid: Text to choose
            by.
        level: What a symbol is.
    """

    train: Path
    valid: Path | None = None
    level: Literal["characters", "words"] = "characters"


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        hidden_size, layers: Sizes.
    """

    hidden_size: int = 256
    layers: int = 1
    tied: bool = False
    widths: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    names: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Markov:
    order: int = 1


@dataclass(frozen=True)
class Training:
    max_epochs: int = 10
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.max_epochs < 0:
            raise ConfigError(f"--training.max-epochs {self.max_epochs}: expected 0 or more")


class Schema:
    data: type[Any] = Data
    models = {"recurrent": Model, "markov": Markov}  # noqa: RUF012
    training: type[Any] = Training


SCHEMAS = {"language-modelling": Schema()}


def config(**values: Any) -> RunConfig:
    base = {"task": "language-modelling", "output": Path("run"), "data": {"train": Path("a")}}
    return run_config({}, SCHEMAS, source="", overrides=base | values)


def refused(cls: type[Any], mapping: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_mapping(cls, mapping, source="f.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_options_carry_flag_type_default_and_documentation() -> None:
    by_flag = {option.flag: option for option in options(Data, "data")}
    assert list(by_flag) == ["--data.train", "--data.valid", "--data.level"]
    assert by_flag["--data.train"].help == "Text to learn from, .gz too."
    assert by_flag["--data.valid"].help == "Text to choose by."
    assert by_flag["--data.valid"].default is None
    assert next(o for o in options(Model) if o.name == "inner").default == Inner()
    assert documentation(Model) == {"hidden_size": "Sizes.", "layers": "Sizes."}


def test_toml_round_trip_of_every_type() -> None:
    model = Model(names=["ü", 'a"b\\\n'], widths=(), pair=(3, 0.25), inner=Inner(1e-30), tied=True)
    assert from_mapping(Model, tomllib.loads(to_toml(model)), source="x") == model


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False))
def test_toml_round_trip_of_any_text_and_number(text: str, number: float) -> None:
    mapping = {"text": text, "number": number, "list": [text], "table": {"text": text}}
    assert tomllib.loads(toml_text(mapping)) == mapping


def test_none_is_omitted_and_paths_are_strings() -> None:
    assert to_mapping(Data(Path("x/y"))) == {"train": "x/y", "level": "characters"}


def test_hyphens_and_underscores_are_the_same_key() -> None:
    assert from_mapping(Model, {"hidden-size": 3}, source="f").hidden_size == 3


def test_a_whole_number_may_stand_for_a_number() -> None:
    rate = from_mapping(Training, {"rate": 1}, source="f").rate
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"hiden_size": 3}, "f.toml: unknown key hiden_size; did you mean hidden_size?"),
        ({"inner": {"rat": 3}}, "f.toml: unknown key inner.rat; did you mean inner.rate?"),
        ({"hidden_size": "3"}, 'f.toml: hidden_size = "3": expected a whole number'),
        ({"hidden_size": True}, "f.toml: hidden_size = true: expected a whole number"),
        ({"hidden_size": 3.0}, "f.toml: hidden_size = 3.0: expected a whole number"),
        ({"tied": 1}, "f.toml: tied = 1: expected true or false"),
        ({"widths": [1, "a"]}, 'f.toml: widths = "a": expected a whole number'),
        ({"pair": [1]}, "f.toml: pair = [1]: expected a list of 2: a whole number, a number"),
        ({"inner": 3}, "f.toml: inner = 3: expected a table"),
    ],
)
def test_wrong_mappings_are_refused_in_one_line(mapping: dict[str, Any], message: str) -> None:
    assert refused(Model, mapping) == message


def test_a_key_without_a_near_one_lists_all() -> None:
    assert refused(Markov, {"zzz": 1}) == "f.toml: unknown key zzz; expected one of: order"


def test_missing_wrong_choice_and_out_of_range() -> None:
    assert refused(Data, {}) == "f.toml: the key train is missing"
    assert 'expected one of "characters", "words"' in refused(Data, {"train": "a", "level": "x"})
    assert "--training.max-epochs -1: expected 0 or more" in refused(Training, {"max_epochs": -1})
    assert refused(Data, {"train": ""}) == 'f.toml: train = "": expected a path (a string)'
    assert expected(int | None) == "a whole number"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = \n", "f.toml:2: broken TOML: Invalid value"),
        (b"a = [1,\n", "f.toml:2: broken TOML: "),
        (b"a = 1\na = 2\n", "f.toml:2: broken TOML: Cannot overwrite a value"),
        (b"a = 1\nb = '\xff'\n", "f.toml:2: not UTF-8; save the file as UTF-8"),
    ],
)
def test_broken_toml_names_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert message in str(caught.value)
    assert "(at " not in str(caught.value)


def test_missing_toml_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: No such file"):
        read_toml(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_toml(tmp_path)


def test_the_command_line_wins_over_toml_over_defaults() -> None:
    mapping = {
        "task": "language-modelling",
        "seed": 4,
        "data": {"train": "a"},
        "training": {"rate": 0.5, "max-epochs": 7},
    }
    overrides = {"output": Path("run"), "training": {"max_epochs": 8}}
    result = run_config(mapping, SCHEMAS, source="f.toml", overrides=overrides)
    assert result.model_name == "recurrent"
    assert (result.seed, result.training) == (4, Training(max_epochs=8, rate=0.5))


def test_config_toml_is_resolved_and_reusable(tmp_path: Path) -> None:
    first = config(model_name="markov", model={"order": 4}, seed=2)
    path = tmp_path / "config.toml"
    path.write_text(first.to_toml(), encoding="utf-8")
    assert "output" not in first.to_toml()
    assert "[training]\nmax_epochs = 10\n" in first.to_toml()
    again = read_run_config(path, SCHEMAS, output=Path("run"))
    assert again == first
    assert differences(first, read_run_config(path, SCHEMAS, output=Path("moved"))) == []


def test_differences_name_keys_and_both_values() -> None:
    found = differences(config(), config(model={"layers": 2}, seed=1))
    assert found == ["model.layers was 1, is 2", "seed was 0, is 1"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"task": "language-modeling"}, "did you mean language-modelling?"),
        ({"task": "language-modelling", "model_name": "mrkov"}, "did you mean markov?"),
        ({"task": "language-modelling", "sede": 1}, "unknown key sede; did you mean seed?"),
        ({"task": "language-modelling", "model": 1}, "f.toml: model = 1: expected a table"),
        ({"task": "language-modelling", "trainin": {}}, "unknown key trainin"),
        ({}, "f.toml: the key task is missing; one of: language-modelling"),
        (
            {"task": "language-modelling", "model": {"order": 1}},
            "f.toml: unknown key model.order",
        ),
        (
            {"task": "language-modelling", "training": {"max_epochs": -1}},
            "f.toml: --training.max-epochs -1",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_name(mapping: dict[str, Any], message: str) -> None:
    full = {"data": {"train": "a"}, "output": "run"} | mapping
    with pytest.raises(ConfigError) as caught:
        run_config(full, SCHEMAS, source="f.toml")
    assert message in str(caught.value)


def test_a_file_about_another_model_is_refused() -> None:
    mapping = {"task": "language-modelling", "model_name": "markov"}
    with pytest.raises(ConfigError, match=r"f\.toml is about the model markov, not recurrent"):
        run_config(mapping, SCHEMAS, source="f.toml", overrides={"model_name": "recurrent"})


def test_the_file_is_not_blamed_for_the_command_line() -> None:
    with pytest.raises(ConfigError, match=r"^--seed -1: expected"):
        config(seed=-1)


def test_option_flag_without_section() -> None:
    assert Option("", "top_k", int, 1, "").flag == "--top-k"
