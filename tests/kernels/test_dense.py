"""Dense layers on the engine equal torch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from against_engine import ISAS, TOLERANCE, distance, instruction_set, needs_engine, threads
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from unrolled.kernels import dense, linear, linear_cross_entropy

pytestmark = needs_engine
SHAPES = (
    (17, 5, 3),
    (16, 1, 1),
    (100, 64, 65),
    (97, 33, 500),
    (33, 1, 7),
    (193, 130, 259),
    (3, 4, 5),
)


def tensors(rows: int, inner: int, outer: int, *, bias: bool = True) -> list[Tensor | None]:
    x, weight = torch.randn(rows, inner), torch.randn(outer, inner)
    given = [x, weight, torch.randn(outer) if bias else None]
    return [None if t is None else t.requires_grad_() for t in given]


def double(given: list[Tensor | None]) -> list[Tensor | None]:
    return [
        None if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in given
    ]


def compare(
    ours: Callable[..., Tensor], torchs: Callable[..., Tensor], given: list[Tensor | None]
) -> None:
    """Value and gradients."""
    found = []
    for function, arguments in ((ours, given), (torchs, double(given))):
        y = function(*arguments)
        seed = torch.randn(y.shape, generator=torch.Generator().manual_seed(5)).to(y.dtype)
        wanted = [t for t in arguments if t is not None and t.requires_grad]
        found.append([y, *(torch.autograd.grad(y, wanted, seed) if wanted else ())])
    for a, b in zip(*found, strict=True):
        assert distance(a, b) <= TOLERANCE


def entropy(targets: Tensor, smoothing: float = 0.0) -> Callable[..., Tensor]:
    """torch's, of the rows that count."""

    def function(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        counts = targets >= 0
        logits = F.linear(h, weight, bias)[counts]
        kept = targets[counts]
        return F.cross_entropy(logits, kept, reduction="sum", label_smoothing=smoothing)

    return function


def compare_entropy(given: list[Tensor | None], targets: Tensor) -> None:
    for smoothing in (0.0, 0.1, 1.0):
        compare(
            lambda *tensors, e=smoothing: linear_cross_entropy(*tensors, targets, e),
            entropy(targets, smoothing),
            given,
        )


def targets_of(shape: tuple[int, int, int]) -> Tensor:
    targets = torch.randint(0, shape[2], (shape[0],))
    targets[::3] = -1
    targets[1] = shape[2] - 1
    return targets


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_values_and_gradients(isa: str, count: int) -> None:
    with instruction_set(isa), threads(count):
        for shape in SHAPES:
            for bias in (True, False):
                compare(linear, F.linear, tensors(*shape, bias=bias))
                compare_entropy(tensors(*shape, bias=bias), targets_of(shape))


sizes = st.integers(1, 130)


@given(st.integers(2, 300), sizes, sizes, st.booleans())
@settings(max_examples=30)
def test_shapes(rows: int, inner: int, outer: int, bias: bool) -> None:
    compare(linear, F.linear, tensors(rows, inner, outer, bias=bias))
    compare_entropy(tensors(rows, inner, outer, bias=bias), targets_of((rows, inner, outer)))


def test_more_dimensions_and_layouts() -> None:
    weight = torch.randn(7, 5, requires_grad=True)
    for x in (
        torch.randn(4, 6, 5),
        torch.randn(6, 4, 5).transpose(0, 1),
        torch.randn(5, 24).t(),
        torch.randn(24, 10)[:, ::2],
        torch.randn(48, 5)[::2],
        torch.randn(1, 5).expand(24, 5),
        torch.randn(24, 1).expand(24, 5),
    ):
        compare(linear, F.linear, [x.requires_grad_(), weight, None])
        if x.dim() == 2:
            compare_entropy([x, weight, None], targets_of((24, 5, 7)))
    strided = [torch.randn(5, 7).t(), torch.randn(14)[::2]]
    compare(linear, F.linear, [torch.randn(24, 5), *(t.requires_grad_() for t in strided)])
    x = torch.randn(24, 5, requires_grad=True)
    (found,) = torch.autograd.grad(
        linear(x, weight).sum(), x
    )  # a gradient without memory of its own
    assert distance(found, weight.sum(0).expand(24, 5)) <= TOLERANCE


@pytest.mark.parametrize("wanted", range(8))
def test_some_gradients(wanted: int) -> None:
    for bias in (True, False):
        given = tensors(20, 6, 9, bias=bias)
        for i, tensor in enumerate(given):
            if tensor is not None:
                tensor.requires_grad_(bool(wanted >> i & 1))
        compare(linear, F.linear, given)
        compare_entropy(given, targets_of((20, 6, 9)))


def test_nothing_counts_and_nothing_is_given() -> None:
    h, weight, bias = tensors(20, 6, 9)
    loss = linear_cross_entropy(h, weight, bias, torch.full((20,), -100))
    assert loss.item() == 0
    assert not any(g.any() for g in torch.autograd.grad(loss, (h, weight, bias)))
    assert not linear_cross_entropy(h[:0], weight, bias, torch.zeros(0, dtype=torch.int64)).any()
    assert linear(torch.zeros(0, 6), weight, bias).shape == (0, 9)
    assert linear(torch.zeros(20, 6), torch.zeros(0, 6)).shape == (20, 0)


def test_targets_of_other_integers() -> None:
    given = tensors(20, 6, 9)
    targets = targets_of((20, 6, 9))
    expected = linear_cross_entropy(*given, targets)
    for dtype in (torch.int32, torch.int16, torch.int8):
        assert torch.equal(linear_cross_entropy(*given, targets.to(dtype)), expected)
    assert torch.equal(linear_cross_entropy(*given, targets.repeat_interleave(2)[::2]), expected)


def test_errors() -> None:
    h, weight, bias = tensors(20, 6, 9)
    targets = torch.zeros(20, dtype=torch.int64)
    for wrong, match in (
        ((h, weight, bias, targets + 9), "a target is 9, but there are 9 classes"),
        ((h, weight, bias, targets[:3]), "20 integers"),
        ((h, weight, bias, targets.float()), "20 integers"),
        ((h[:, :3], weight, bias, targets), "expected"),
        ((h, weight, bias[:5], targets), "expected"),
        ((h, weight, bias, targets, 1.5), r"label_smoothing must be in \[0, 1\], 1.5 given"),
    ):
        with pytest.raises(ValueError, match=match):
            linear_cross_entropy(*wrong)
    for wrong in ((h[:, :3], weight, bias), (h, weight, bias[:5])):
        with pytest.raises(RuntimeError):
            linear(*wrong)


@pytest.mark.parametrize("function", ["linear", "entropy"])
def test_double_backward(function: str) -> None:
    targets = targets_of((20, 6, 9))
    pairs: dict[str, Any] = {
        "linear": (linear, F.linear),
        "entropy": (
            lambda *given: linear_cross_entropy(*given, targets, 0.1),
            entropy(targets, 0.1),
        ),
    }
    found = []
    given = tensors(20, 6, 9)
    for run, arguments in zip(pairs[function], (given, double(given)), strict=True):
        loss = run(*arguments).square().sum()
        first = torch.autograd.grad(loss, arguments, create_graph=True)
        second = sum(g.square().sum() for g in first)
        found.append([*first, *torch.autograd.grad(second, arguments)])
    for a, b in zip(*found, strict=True):
        assert distance(a, b) <= 1e-4


def test_transforms() -> None:
    targets = targets_of((20, 6, 9))
    h, weight, bias = (t.detach() for t in tensors(20, 6, 9) if t is not None)
    for run, expected in (
        (
            lambda h: linear(h, weight, bias).square().sum(),
            lambda h: F.linear(h, weight, bias).square().sum(),
        ),
        (
            lambda h: linear_cross_entropy(h, weight, bias, targets, 0.1),
            lambda h: entropy(targets, 0.1)(h, weight, bias),
        ),
    ):
        gradient = torch.func.grad(expected)(h)
        assert distance(torch.func.grad(run)(h), gradient) <= TOLERANCE
        _, tangent = torch.func.jvp(run, (h,), (torch.ones_like(h),))
        assert distance(tangent, gradient.sum()) <= TOLERANCE
        batch = torch.stack([h, 2 * h])
        rows = torch.func.vmap(torch.func.grad(run))(batch)
        assert (
            distance(rows, torch.stack([gradient, torch.func.grad(expected)(2 * h)])) <= TOLERANCE
        )
    x = h.clone().requires_grad_()
    seeds = torch.randn(3, 20, 9)
    (found,) = torch.autograd.grad(linear(x, weight), x, seeds, is_grads_batched=True)
    assert distance(found, seeds @ weight) <= TOLERANCE


def test_autocast_and_other_types() -> None:
    h, weight, bias = tensors(20, 6, 9)
    targets = targets_of((20, 6, 9))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear(h, weight, bias), F.linear(h, weight, bias))
        mixed = linear_cross_entropy(h, weight, bias, targets)
    assert distance(mixed.float(), entropy(targets)(h, weight, bias)) <= 0.02
    wide = double([h, weight, bias])
    assert torch.equal(linear(*wide), F.linear(*wide))
    compare(linear, F.linear, wide)
    compare_entropy(wide, targets)


def test_few_rows_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the engine would give the same."""
    given = tensors(3, 6, 9)
    assert torch.equal(linear(*given), F.linear(*given))
    monkeypatch.setattr(dense, "FEW_ROWS", 0)
    for rows in (1, 2, 3):
        compare(linear, F.linear, tensors(rows, 6, 9))
