"""The mean of checkpoints: exact where they agree, in float64 where not, refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.errors import RunError
from unrolled.training.checkpoint import Checkpoints
from unrolled.training.checkpoint_average import Mean, kept_weights, mean_weights
from unrolled.training.snapshot import pack


def saved(folder: Path, *each: dict[str, Tensor], average: dict[str, Tensor] | None = None) -> Any:
    checkpoints = Checkpoints(folder)
    for step, tensors in enumerate(each, start=1):
        files = {"weights.safetensors": pack(tensors), "state.json": b"{}"}
        if average is not None:
            files["average.safetensors"] = pack(average)
        checkpoints.save(step, files, keep=len(each), best=None)
    return checkpoints


def test_it_is_numpys_mean_in_double_precision(tmp_path: Path) -> None:
    sets = [{"w": torch.randn(3, 4) * 10**k, "h": torch.randn(5).bfloat16()} for k in range(-3, 4)]
    mean = mean_weights(saved(tmp_path, *sets), range(1, 8))
    for name in ("w", "h"):
        expected = np.stack([s[name].double().numpy() for s in sets]).mean(0)
        assert mean[name].dtype == sets[0][name].dtype
        assert torch.equal(mean[name], torch.from_numpy(expected).to(mean[name].dtype))


def test_equal_ones_give_themselves(tmp_path: Path) -> None:
    tensors = {
        "single": torch.randn(50),
        "double": torch.randn(50, dtype=torch.float64),
        "ids": torch.arange(4),
        "mask": torch.tensor([True, False]),
    }
    mean = mean_weights(saved(tmp_path, *[tensors] * 7), [1, 3, 5, 6, 7])
    assert mean.keys() == tensors.keys()
    assert all(torch.equal(mean[name], tensors[name]) for name in tensors)


def test_moving_averages_stand_for_their_weights(tmp_path: Path) -> None:
    given = {"w": torch.zeros(2), "buffer": torch.ones(2)}
    checkpoints = saved(tmp_path, given, given, average={"w": torch.full((2,), 3.0)})
    found = kept_weights(checkpoints, 2)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "w": [3.0, 3.0],
        "buffer": [1.0, 1.0],
    }


def test_counters_are_the_last_ones() -> None:
    mean = Mean({"batches": torch.tensor(3)}, Path("one"))
    mean.add({"batches": torch.tensor(8)}, Path("two"))
    assert mean.tensors()["batches"].item() == 8


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"w": torch.zeros(2)}, "only one of them has ids"),
        ({"w": torch.zeros(2), "ids": torch.arange(2), "v": torch.zeros(1)}, "has v"),
        ({"w": torch.zeros(3), "ids": torch.arange(2)}, r"w is float32 \[2\] and float32 \[3\]"),
        ({"w": torch.zeros(2).double(), "ids": torch.arange(2)}, r"float32 \[2\] and float64"),
        ({"w": torch.zeros(2), "ids": torch.tensor([0, 2])}, "ids holds whole numbers that differ"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, other: dict[str, Tensor], message: str) -> None:
    checkpoints = saved(tmp_path, {"w": torch.zeros(2), "ids": torch.arange(2)}, other)
    with pytest.raises(RunError, match=f"step-2: does not fit .*step-1: .*{message}"):
        mean_weights(checkpoints, [1, 2])


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, *[{"w": torch.zeros(2)}] * 2)
    place = checkpoints.path(2) / "weights.safetensors"
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="step-2: damaged checkpoint"):
        mean_weights(checkpoints, [1, 2])
