"""What every test gets: one thread, fixed seeds, and the data folder where there is one."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; inherited by commands under test

import random
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("unrolled", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("unrolled")


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The global generators start every test from the same place."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data sets named by UNROLLED_DATA; the test is skipped where there is none."""
    named = os.environ.get("UNROLLED_DATA")
    if not named:
        pytest.skip("UNROLLED_DATA names no folder of data sets")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"UNROLLED_DATA={named} is no folder")
    return folder
