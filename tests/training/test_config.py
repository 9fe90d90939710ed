"""Options: ranges are refused by name, tables and literals agree, nothing here needs torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any, get_args

import pytest

from unrolled.config import documentation
from unrolled.errors import ConfigError
from unrolled.training.config import OptimiserName, ScheduleName, TrainingConfig
from unrolled.training.optimisers import OPTIMISERS
from unrolled.training.schedules import SCHEDULES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("gradient_clip", -0.1),
        ("warmup_steps", -1),
        ("decay", 1.5),
        ("decay_after", -1),
        ("max_epochs", -1),
        ("max_minutes", -1.0),
        ("patience", -1),
        ("average", 1.0),
        ("accumulate", 0),
        ("batch_size", 0),
        ("window", 0),
        ("checkpoint_every", 0),
        ("validate_every", -1),
        ("keep", 0),
    ],
)
def test_out_of_range_is_named(name: str, value: Any) -> None:
    flag = f"--training.{name.replace('_', '-')} {value}: expected "
    with pytest.raises(ConfigError, match=flag):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"nesterov": True},
        {"nesterov": True, "optimiser": "sgd", "momentum": 0.0},
        {"max_epochs": 0},
        {"max_epochs": 0, "max_minutes": 1.0, "schedule": "cosine"},
    ],
)
def test_combinations_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--training"):
        TrainingConfig(**options)


def test_literals_are_the_tables() -> None:
    assert get_args(OptimiserName) == tuple(OPTIMISERS)
    assert get_args(ScheduleName) == tuple(SCHEDULES)


def test_every_field_is_documented() -> None:
    assert documentation(TrainingConfig).keys() == {
        field.name for field in dataclasses.fields(TrainingConfig)
    }


def test_config_and_run_directory_import_no_torch() -> None:
    code = (
        "import sys, unrolled.training.config, unrolled.training.run_directory as r;"
        "from unrolled.training import TrainingConfig, RunDirectory;"
        "assert RunDirectory('/nowhere').status == 'new';"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
