"""Linear chains against enumeration of all paths and against autograd of a plain logsumexp."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from unrolled.decoding import chain, forward_backward

Chain = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
LENGTHS = (4, 1, 0, 3, 4)


def random_chain(
    *,
    seed: int = 0,
    lengths: tuple[int, ...] = LENGTHS,
    size: int = 3,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
    forbid: float = 0.0,
    grad: bool = False,
) -> Chain:
    rng = torch.Generator().manual_seed(seed)
    shapes = [(len(lengths), max(lengths), size), (size, size), (size,), (size,)]
    e, a, b, c = (
        (torch.randn(*shape, generator=rng, dtype=torch.float64) * scale).to(dtype)
        for shape in shapes
    )
    if forbid:
        for part in (a, b, c):
            part[torch.rand(part.shape, generator=rng) < forbid] = -torch.inf
        a.fill_diagonal_(0.5), b[0].fill_(0.1), c[0].fill_(0.2)  # one path of each length remains
    if grad:
        for part in (e, a, b, c):
            part.requires_grad_()
    return e, a, b, c, torch.tensor(lengths)


def enumerated(e: Tensor, a: Tensor, b: Tensor, c: Tensor, length: int) -> dict[tuple, float]:
    """The score of each path of one sentence, in double precision."""
    e, a, b, c = (part.detach().double() for part in (e, a, b, c))
    found = {}
    for path in itertools.product(range(len(b)), repeat=length):
        total = sum(float(e[t, y]) for t, y in enumerate(path))
        total += sum(float(a[i, j]) for i, j in itertools.pairwise(path))
        found[path] = total + (float(b[path[0]] + c[path[-1]]) if path else 0.0)
    return found


def close(
    found: Tensor, expected: Tensor | list[float] | float, tolerance: float, size: float = 1e-3
) -> None:
    """Scores are sums of terms of a ``size``; they round as those do."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    finite = expected.isfinite()
    assert torch.equal(finite, found.isfinite())
    gap = (found.double() - expected)[finite].abs().max()
    assert gap <= tolerance * expected[finite].abs().max().clamp_min(size)


TOLERANCE = {torch.float64: 1e-14, torch.float32: 3e-7}
CASES = [
    pytest.param({"scale": scale, "dtype": dtype, "forbid": forbid}, id=f"{scale}-{dtype}-{forbid}")
    for scale in (0.0, 1.0, 10.0, 100.0, 1000.0)
    for dtype in TOLERANCE
    for forbid in (0.0, 0.5)
]


@pytest.mark.parametrize("case", CASES)
def test_sums_and_best_paths_equal_enumeration(case: dict) -> None:
    for seed in range(3):
        e, a, b, c, lengths = random_chain(seed=seed, **case)
        tolerance, size = TOLERANCE[case["dtype"]], 10 * case["scale"] + 1e-3
        total = chain.log_partition(e, a, b, c, lengths)
        paths, scores = chain.viterbi(e, a, b, c, lengths)
        several, several_scores = chain.n_best(e, a, b, c, lengths, 7)
        chances = chain.marginals(e, a, b, c, lengths)
        for row, length in enumerate(LENGTHS):
            known = enumerated(e[row], a, b, c, length)
            values = torch.tensor(list(known.values()), dtype=torch.float64)
            close(total[row], values.logsumexp(0), tolerance, size)
            close(scores[row], values.max(), tolerance, size)
            path = tuple(paths[row, :length].tolist())
            assert known[path] >= float(values.max()) - tolerance * size
            assert not paths[row, length:].any()

            best = sorted((v for v in known.values() if v > -torch.inf), reverse=True)[:7]
            close(several_scores[row, : len(best)], best, tolerance, size)
            assert (several_scores[row, len(best) :] == -torch.inf).all()
            found = [tuple(path[:length].tolist()) for path in several[row, : len(best)]]
            assert len(set(found)) == len(found)
            for path, expected in zip(found, several_scores[row], strict=False):
                close(expected, known[path], tolerance, size)
            assert not several[row, :, length:].any()

            for t in range(length):
                where = torch.tensor([path[t] for path in known])
                p = (values - values.logsumexp(0)).exp()
                expected = torch.zeros(3, dtype=torch.float64).index_add(0, where, p)
                close(chances[row, t], expected, tolerance * max(10, size))
            assert not chances[row, length:].any()


def test_all_n_best_paths_of_a_sentence_come_in_order() -> None:
    e, a, b, c, lengths = random_chain(seed=5, lengths=(5,), size=3)
    known = enumerated(e[0], a, b, c, 5)
    paths, scores = chain.n_best(e, a, b, c, lengths, 300)
    expected = sorted(known, key=known.__getitem__, reverse=True)
    assert [tuple(path) for path in paths[0, :243].tolist()] == expected
    assert (scores[0, 243:] == -torch.inf).all()
    close(scores[0, :243], [known[p] for p in expected], 1e-14)


def test_n_best_of_equal_paths_are_different_paths() -> None:
    zeros = torch.zeros(3)
    paths, scores = chain.n_best(
        torch.zeros(1, 3, 3), torch.zeros(3, 3), zeros, zeros, torch.tensor([3]), 27
    )
    assert len({tuple(path) for path in paths[0].tolist()}) == 27
    assert not scores.any()


def plain_gradients(parts: Chain, weight: Tensor) -> list[Tensor]:
    doubles = [part.detach().double().requires_grad_() for part in parts[:4]]
    total = forward_backward.plain(*doubles, parts[4])
    return list(torch.autograd.grad((total * weight).sum(), doubles))


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_those_of_a_plain_logsumexp(case: dict) -> None:
    for seed in range(3):
        parts = random_chain(seed=seed, size=6, lengths=(9, 1, 0, 5, 9, 2), grad=True, **case)
        weight = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        total = chain.log_partition(*parts)
        found = torch.autograd.grad((total * weight.to(total.dtype)).sum(), parts[:4])
        for mine, expected in zip(found, plain_gradients(parts, weight), strict=True):
            assert mine.dtype == case["dtype"]
            exact = case["dtype"] == torch.float64
            close(mine, expected, 1e-14 * max(100, 10 * case["scale"]) if exact else 1e-6)


@pytest.mark.parametrize("floor", [forward_backward.FLOOR, 2.0], ids=["scaled", "logarithms"])
@pytest.mark.parametrize("forbid", [0.0, 0.5])
def test_finite_differences(floor: float, forbid: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_backward, "FLOOR", floor)
    e, a, b, c, lengths = random_chain(forbid=forbid, grad=not forbid)
    if forbid:
        free = a.isfinite()
        learned = a[free].requires_grad_()

        def total(learned: Tensor) -> Tensor:
            scores = a.masked_scatter(free, learned)
            return chain.log_partition(e, scores, b, c, lengths)

        assert gradcheck(total, (learned,))
        return

    def total_of_all(e: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return chain.log_partition(e, a, b, c, lengths)

    assert gradcheck(total_of_all, (e, a, b, c))
    assert gradgradcheck(total_of_all, (e, a, b, c))


def test_both_ways_of_summing_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences done with logarithms, alone and beside others."""
    parts = random_chain(seed=2, size=5, lengths=(6, 0, 1, 6, 3), forbid=0.4)
    packed = forward_backward.pack(parts[4], 6)
    scaled = forward_backward.forward_backward(*parts, packed)
    assert not len(scaled.again)
    monkeypatch.setattr(forward_backward, "FLOOR", 2.0)
    logs = forward_backward.forward_backward(*parts, packed)
    assert logs.again.tolist() == [0, 2, 3, 4]
    close(logs.total, scaled.total, 1e-14)
    close(logs.marginal, scaled.marginal, 1e-13)


def test_scores_that_contradict_each_other_are_done_again() -> None:
    """What underflows in the scaled sum decides here: tag 1 seems impossible until the end."""
    e = torch.zeros(2, 3, 2)
    e[0, 0, 1] = -900.0
    a = torch.tensor([[0.0, -1000.0], [-1000.0, 0.0]], requires_grad=True)
    start, end = torch.zeros(2), torch.tensor([-950.0, 0.0])
    lengths = torch.tensor([3, 2])
    packed = forward_backward.pack(lengths, 3)
    doubles = [part.double() for part in (e, a.detach(), start, end)]
    assert forward_backward.forward_backward(*doubles, lengths, packed).again.tolist() == [0]
    total = chain.log_partition(e, a, start, end, lengths)
    close(total[0], -900.0, 1e-7)
    (found,) = torch.autograd.grad(total.sum(), a)
    close(found, torch.tensor([[0.0, 0.0], [0.0, 3.0]]), 1e-6)
    assert chain.viterbi(e, a, start, end, lengths)[0].tolist() == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_nothing(dtype: torch.dtype) -> None:
    e, a, b, c, lengths = random_chain(dtype=dtype, lengths=(4, 2, 0), size=4)
    wider = torch.full((3, 9, 4), torch.nan, dtype=dtype)
    wider[:, :4] = e
    wider[1, 2:], wider[2] = torch.inf, torch.nan
    for function in (chain.log_partition, chain.marginals, chain.viterbi):
        narrow, wide = function(e, a, b, c, lengths), function(wider, a, b, c, lengths)
        for x, y in zip(
            *((r if isinstance(r, tuple) else (r,)) for r in (narrow, wide)), strict=True
        ):
            if x.dim() > 1:
                assert not y[:, 4:].any()
                y = y[:, :4]
            assert torch.equal(x, y)
    one = chain.log_partition(e[1:2, :2], a, b, c, lengths[1:2])
    assert torch.equal(one, chain.log_partition(wider, a, b, c, lengths)[1:2])
    wider.requires_grad_()
    (gradient,) = torch.autograd.grad(chain.log_partition(wider, a, b, c, lengths).sum(), wider)
    assert not gradient[:, 4:].any()
    assert not gradient[1, 2:].any()


def test_marginals_sum_to_one_and_are_detached() -> None:
    parts = random_chain(size=20, lengths=(30, 7, 1), scale=5.0, dtype=torch.float32, grad=True)
    with torch.no_grad():
        chances = chain.marginals(*parts)
    assert not chances.requires_grad
    expected = torch.arange(30) < parts[4][:, None]
    torch.testing.assert_close(chances.sum(2), expected.float())


def test_score_is_that_of_the_path_and_differentiable() -> None:
    e, a, b, c, lengths = random_chain(grad=True)
    tags = torch.randint(0, 3, (5, 4), generator=torch.Generator().manual_seed(3))
    tags[3, 3:] = -1
    tags[2] = 99
    found = chain.score(e, tags, a, b, c, lengths)
    for row, length in enumerate(LENGTHS):
        known = enumerated(e[row], a, b, c, length)
        close(found[row], known[tuple(tags[row, :length].tolist())], 1e-14)
    assert gradcheck(
        lambda *scores: chain.score(scores[0], tags, *scores[1:], lengths), (e, a, b, c)
    )


def test_nothing_to_sum() -> None:
    zeros = torch.zeros(2, requires_grad=True)
    for batch, longest in ((0, 3), (2, 0), (2, 3)):
        e = torch.full((batch, longest, 2), torch.nan, requires_grad=True)
        lengths = torch.zeros(batch, dtype=torch.int64)
        scores = (torch.zeros(2, 2), zeros, zeros, lengths)
        assert chain.log_partition(e, *scores).tolist() == [0.0] * batch
        assert chain.marginals(e, *scores).tolist() == e.detach().zero_().tolist()
        assert chain.viterbi(e, *scores)[0].shape == (batch, longest)
        assert chain.n_best(e, *scores, 2)[1].tolist() == [[0.0, -torch.inf]] * batch
        tags = torch.zeros(batch, longest, dtype=torch.int64)
        assert chain.score(e, tags, *scores).tolist() == [0.0] * batch
        chain.log_partition(e, *scores).sum().backward()
        assert not zeros.grad.any()


def test_where_every_path_is_forbidden() -> None:
    never = torch.full((2, 2), -torch.inf)
    zeros, lengths = torch.zeros(2), torch.tensor([2, 1])
    e = torch.zeros(2, 2, 2, requires_grad=True)
    total = chain.log_partition(e, never, zeros, zeros, lengths)
    assert total[0] == -torch.inf
    close(total[1].detach(), math.log(2), 1e-7)
    chances = chain.marginals(e, never, zeros, zeros, lengths)
    assert chances[0].isnan().all()
    assert chances[1].tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert chain.viterbi(e, never, zeros, zeros, lengths)[1].tolist() == [-torch.inf, 0.0]
    assert chain.n_best(e, never, zeros, zeros, lengths, 1)[1][0, 0] == -torch.inf


def test_not_a_number_comes_out_as_such_and_touches_no_other_sentence() -> None:
    e, a, b, c, lengths = random_chain(grad=True)
    spoiled = e.detach().clone()
    spoiled[0, 1, 1] = torch.nan
    total = chain.log_partition(spoiled, a, b, c, lengths)
    assert total[0].isnan()
    assert torch.equal(total[1:], chain.log_partition(e, a, b, c, lengths)[1:])


def test_half_precision_sums_in_single() -> None:
    e, a, b, c, lengths = random_chain(dtype=torch.float32)
    half = e.bfloat16().requires_grad_()
    total = chain.log_partition(half, a, b, c, lengths)
    assert total.dtype == torch.float32
    close(total.detach(), chain.log_partition(half.float(), a, b, c, lengths).detach(), 1e-7)
    assert torch.autograd.grad(total.sum(), half)[0].dtype == torch.bfloat16


def test_forward_mode_and_vmap() -> None:
    e, a, b, c, lengths = random_chain(lengths=(3, 2))
    direction = torch.randn_like(e)
    (gradient,) = torch.autograd.grad(
        chain.log_partition(e.requires_grad_(), a, b, c, lengths).sum(), e
    )
    _, slope = torch.func.jvp(
        lambda x: chain.log_partition(x, a, b, c, lengths).sum(), (e.detach(),), (direction,)
    )
    close(slope, (gradient * direction).sum(), 1e-12)


def test_a_long_sentence() -> None:
    e, a, b, c, lengths = random_chain(lengths=(5000, 3), size=8, dtype=torch.float32, grad=True)
    total = chain.log_partition(e, a, b, c, lengths)
    close(
        total.detach(), forward_backward.plain(*(x.double() for x in (e, a, b, c)), lengths), 1e-7
    )
    total.sum().backward()
    assert abs(float(a.grad.sum()) - 5001) < 1e-2
    assert chain.n_best(e, a, b, c, lengths, 3)[0].shape == (2, 3, 5000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": torch.tensor([5])}, "lengths are from 0 to 4 here, not 5 to 5"),
        ({"lengths": torch.tensor([-1])}, "lengths are from 0 to 4 here, not -1 to -1"),
        ({"start": torch.zeros(2)}, "transitions"),
        ({"emissions": torch.zeros(4, 3)}, "emissions"),
    ],
)
def test_what_does_not_fit(change: dict, message: str) -> None:
    names = ("emissions", "transitions", "start", "end", "lengths")
    parts = dict(zip(names, random_chain(lengths=(4,)), strict=True))
    with pytest.raises(ValueError, match=message):
        chain.log_partition(**(parts | change))


def test_tags_and_n_that_do_not_fit() -> None:
    parts = random_chain(lengths=(2,))
    with pytest.raises(ValueError, match="from 0 to 2, not -1 to 1"):
        chain.score(parts[0], torch.tensor([[1, -1]]), *parts[1:])
    with pytest.raises(ValueError, match="at least 1, not 0"):
        chain.n_best(*parts, 0)
