"""The chain as a head: likelihood, unknown tags, constraints, and that it learns."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from unrolled.decoding import chain
from unrolled.errors import ConfigError, DataError
from unrolled.layers.crf import LinearChainCRF, bio_constraints

BIO = ["O", "B-x", "I-x", "B-y", "I-y"]


def random_crf(size: int, *, seed: int = 0, constraints: bool = False) -> LinearChainCRF:
    torch.manual_seed(seed)
    crf = LinearChainCRF(size, allowed=bio_constraints(BIO) if constraints else None).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def numbers(masks: tuple[Tensor, Tensor, Tensor] | None, tags: list[str]) -> set[str]:
    assert masks is not None
    start, transitions, end = masks
    found = {f"^ {tag}" for tag, ok in zip(tags, start, strict=True) if ok}
    found |= {f"{tag} $" for tag, ok in zip(tags, end, strict=True) if ok}
    return found | {
        f"{tags[i]} {tags[j]}" for i, j in transitions.nonzero().tolist()
    }  # fmt: skip


def test_the_likelihoods_of_all_paths_sum_to_one() -> None:
    crf = random_crf(5, constraints=True)
    emissions, length = torch.randn(1, 3, 5, dtype=torch.float64), torch.tensor([3])
    total = 0.0
    for path in itertools.product(range(5), repeat=3):
        tags = torch.tensor([path])
        if crf.allows(tags, length):
            loss = crf.loss(emissions, tags, length)
            assert loss.count == 3
            total += float((-loss.sum.detach()).exp())
        else:
            with pytest.raises(DataError, match="breaks the constraints"):
                crf.loss(emissions, tags, length)
    assert abs(total - 1) < 1e-12


def test_without_transitions_it_is_a_softmax_at_each_position() -> None:
    emissions, tags = torch.randn(3, 4, 5), torch.randint(0, 5, (3, 4))
    lengths = torch.tensor([4, 0, 2])
    tags[0, 3], tags[2, 2:] = 1, -1
    loss = LinearChainCRF(5).loss(emissions, tags, lengths)
    real = torch.arange(4) < lengths[:, None]
    expected = torch.nn.functional.cross_entropy(emissions[real], tags[real], reduction="sum")
    torch.testing.assert_close(loss.sum, expected)
    assert loss.count == 6
    assert LinearChainCRF(5).loss(emissions, tags, torch.zeros(3).long()).count == 0


@pytest.mark.parametrize("constraints", [False, True])
def test_unknown_tags_are_summed_over(constraints: bool) -> None:
    crf = random_crf(5, constraints=constraints)
    emissions, lengths = torch.randn(3, 3, 5, dtype=torch.float64), torch.tensor([3, 2, 3])
    tags = torch.tensor([[1, -1, 3], [-1, -1, -1], [0, 1, 2]])
    loss = crf.loss(emissions, tags, lengths)
    assert loss.count == 5
    fitting = [torch.tensor([[1, k, 3]]) for k in range(5)]
    one = lengths[:1]
    likelihood = sum(
        (-crf.loss(emissions[:1], path, one).sum).exp() for path in fitting if crf.allows(path, one)
    )
    known = crf.loss(emissions[2:], tags[2:], lengths[2:]).sum
    torch.testing.assert_close(loss.sum, known - likelihood.log(), rtol=1e-12, atol=0)


def test_gradients_by_finite_differences_leave_the_forbidden_alone() -> None:
    crf = random_crf(5, constraints=True)
    emissions = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    tags, lengths = (
        torch.tensor([[1, 2, 2, 0], [0, -1, 4, 0], [3, 9, 9, 9]]),
        torch.tensor([4, 3, 1]),
    )

    def total(emissions: Tensor, *_: Tensor) -> Tensor:
        return crf.loss(emissions, tags, lengths).sum

    assert torch.autograd.gradcheck(total, (emissions, *crf.parameters()))
    crf.zero_grad()
    total(emissions).backward()
    assert not crf.transitions.grad[~crf.transitions_allowed].any()
    assert not crf.start.grad[~crf.start_allowed].any()
    assert all(parameter.grad.isfinite().all() for parameter in crf.parameters())


def test_decoding_keeps_the_constraints_and_agrees_with_the_chain() -> None:
    crf = random_crf(5, constraints=True)
    emissions = 3 * torch.randn(40, 6, 5, dtype=torch.float64)
    lengths = torch.randint(0, 7, (40,))
    paths = crf.decode(emissions, lengths)
    assert crf.allows(paths, lengths).all()
    several, log_probs = crf.n_best(emissions, lengths, 4)
    assert torch.equal(several[:, 0], paths)
    for row in range(40):
        for path, log_prob in zip(several[row], log_probs[row], strict=True):
            if log_prob > -torch.inf:
                part = slice(row, row + 1)
                loss = crf.loss(emissions[part], path[None], lengths[part])
                torch.testing.assert_close(-loss.sum, log_prob, rtol=1e-10, atol=1e-10)
    assert (log_probs.exp().sum(1) <= 1 + 1e-12).all()
    chances = crf.marginals(emissions, lengths)
    real = torch.arange(6) < lengths[:, None]
    torch.testing.assert_close(chances.sum(2), real.double())
    assert not chances[:, 0, 2].any()  # no sentence begins with I-x
    free = random_crf(5)
    expected = chain.viterbi(emissions, free.transitions, free.start, free.end, lengths)[0]
    assert torch.equal(free.decode(emissions, lengths), expected)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([2, 2, 0], "sentence 2 of the batch .* begins with tag 2"),
        ([0, 4, 0], "sentence 2 .* tag 4 follows tag 0 at token 2"),
    ],
)
def test_gold_tags_that_break_the_constraints(tags: list[int], message: str) -> None:
    crf = LinearChainCRF(5, allowed=bio_constraints(BIO))
    both, lengths = torch.tensor([[1, 2, 0], tags]), torch.tensor([3, 3])
    assert crf.allows(both, lengths).tolist() == [True, False]
    with pytest.raises(DataError, match=message):
        crf.loss(torch.zeros(2, 3, 5), both, lengths)
    seen = bio_constraints(BIO, [[BIO[tag] for tag in tags]])
    loss = LinearChainCRF(5, allowed=seen).loss(torch.zeros(2, 3, 5), both, lengths)
    assert loss.sum.isfinite()


def test_a_forbidden_end_is_named() -> None:
    tags = ["O", "B-x", "E-x"]
    crf = LinearChainCRF(3, allowed=bio_constraints(tags))
    with pytest.raises(DataError, match="it ends with tag 1"):
        crf.loss(torch.zeros(1, 2, 3), torch.tensor([[0, 1]]), torch.tensor([2]))
    assert crf.allows(torch.tensor([[0, 1], [1, 2], [0, -1]]), torch.tensor([1, 2, 2])).all()


def test_infinite_scores_are_not_blamed_on_the_tags() -> None:
    crf = LinearChainCRF(5, allowed=bio_constraints(BIO))
    emissions = torch.zeros(1, 2, 5)
    emissions[0, 0, 0] = -torch.inf
    assert crf.loss(emissions, torch.tensor([[0, 0]]), torch.tensor([2])).sum == torch.inf
    emissions[0, 0, 0] = torch.nan
    assert crf.loss(emissions, torch.tensor([[0, 0]]), torch.tensor([2])).sum.isnan()


def test_constraints_of_bio() -> None:
    everything = {f"{a} {b}" for a in ["^", *BIO] for b in [*BIO, "$"]} - {"^ $"}
    wrong = {f"{a} I-{kind}" for kind in "xy" for a in ["^", *BIO] if a[-1] != kind}
    assert numbers(bio_constraints(BIO), BIO) == everything - wrong


def test_constraints_of_bioes() -> None:
    tags = ["B-x", "I-x", "E-x", "S-x", "O", "B-y", "E-y"]
    opening, closing = ["B-x", "S-x", "O", "B-y"], ["E-x", "S-x", "O", "E-y"]
    expected = {f"^ {tag}" for tag in opening} | {f"{tag} $" for tag in closing}
    expected |= {f"{a} {b}" for a in closing for b in opening}
    expected |= {"B-x I-x", "B-x E-x", "I-x I-x", "I-x E-x", "B-y E-y"}
    assert numbers(bio_constraints(tags), tags) == expected
    same = [tag.replace("E-", "L-").replace("S-", "U-") for tag in tags]
    renamed = {text.replace("E-", "L-").replace("S-", "U-") for text in expected}
    assert numbers(bio_constraints(same), same) == renamed


@pytest.mark.parametrize(
    "tags",
    [
        [],
        ["O"],
        ["NOUN", "VERB"],
        ["O", "B-x", "I-x", "X"],
        ["O", "I-x"],  # nothing begins: not this scheme
        ["B", "I", "O"],
        ["O-x", "B-x"],
        ["B-x", "E-x"],  # no sentence of one token would have a path
    ],
)
def test_tags_that_mark_no_spans_have_no_constraints(tags: list[str]) -> None:
    assert bio_constraints(tags) is None


def test_what_was_seen_is_allowed() -> None:
    seen = [["O", "I-x", "I-x"], [], ["I-y"], ["?", "I-y", "?", "O"]]
    found = numbers(bio_constraints(BIO, seen), BIO) - numbers(bio_constraints(BIO), BIO)
    assert found == {"O I-x", "^ I-y"}


def test_masks_that_do_not_fit() -> None:
    yes = torch.ones(2, dtype=torch.bool)
    with pytest.raises(ConfigError, match=r"masks \[3\]"):
        LinearChainCRF(3, allowed=(yes, yes, yes))
    with pytest.raises(ConfigError, match="of length 2 without a path"):
        LinearChainCRF(2, allowed=(yes, torch.zeros(2, 2), yes))
    with pytest.raises(ConfigError, match="at least 1"):
        LinearChainCRF(0)
    turns = torch.tensor([[False, True], [True, False]])  # no tag follows itself, yet all is well
    LinearChainCRF(2, allowed=(yes, turns, yes))


def test_constraints_are_saved_and_loaded() -> None:
    crf = random_crf(5, constraints=True)
    other = LinearChainCRF(5, allowed=tuple(torch.ones_like(m) for m in bio_constraints(BIO)))
    other.double().load_state_dict(crf.state_dict())
    emissions, lengths = torch.randn(4, 5, 5, dtype=torch.float64), torch.tensor([5, 4, 1, 0])
    assert torch.equal(crf.decode(emissions, lengths), other.decode(emissions, lengths))


def test_it_learns_an_order_that_positions_alone_do_not_show() -> None:
    """Tags turn at every position, whatever the input: only transitions can know."""
    crf = LinearChainCRF(3)
    optimiser = torch.optim.Adam(crf.parameters(), lr=0.2)
    tags = (torch.arange(8) % 3).expand(4, 8)
    emissions, lengths = torch.zeros(4, 8, 3), torch.tensor([8, 7, 3, 1])
    for _ in range(80):
        optimiser.zero_grad()
        loss = crf.loss(emissions, tags, lengths)
        loss.mean.backward()
        optimiser.step()
    assert loss.mean.item() < 0.05
    real = torch.arange(8) < lengths[:, None]
    assert torch.equal(crf.decode(emissions, lengths), torch.where(real, tags, 0))


def test_autocast() -> None:
    crf, emissions = random_crf(3).float(), torch.randn(2, 3, 3)
    tags, lengths = torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 2])
    with torch.autocast("cpu", torch.bfloat16):
        loss = crf.loss(emissions.bfloat16(), tags, lengths)
        chances = crf.marginals(emissions.bfloat16(), lengths)
    assert loss.sum.dtype == torch.float32
    expected = crf.loss(emissions.bfloat16().float(), tags, lengths).sum
    torch.testing.assert_close(loss.sum, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(chances.float().sum(2)[0], torch.ones(3), rtol=1e-2, atol=1e-2)
