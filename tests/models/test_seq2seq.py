"""Encoder–decoders: what is taught is what is stepped, padding and batching change nothing, they learn."""

from __future__ import annotations

import copy
from typing import get_args

import numpy as np
import pytest
import torch

from unrolled.data.batch import PairsBatch, Sequences
from unrolled.decoding.beam import BeamOptions, beam
from unrolled.decoding.forced import score_targets
from unrolled.models.seq2seq import AttentionKind, Seq2Seq
from unrolled.state import select
from unrolled.tasks.translation_data import Encoded
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.methods import TruncatedBPTT

KINDS = get_args(AttentionKind)
START, END, V = 1, 2, 9


def pairs(count: int, seed: int = 0, longest: int = 6) -> Encoded:
    draw = np.random.default_rng(seed)
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for size in draw.integers(1, longest, count):
        ids = draw.integers(3, V, size)
        sides[0].append(np.append(ids, END))
        sides[1].append(ids[::-1].copy())
    return Encoded(*sides)


def model(kind: AttentionKind, **options: object) -> Seq2Seq:
    torch.manual_seed(0)
    sizes: dict[str, object] = {"hidden_size": 7, "embedding_size": 6, "attention": kind}
    return Seq2Seq(V, V, **(sizes | options)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "cell": "lstm", "bidirectional": False}])
def test_teaching_and_stepping_agree(kind: AttentionKind, options: dict[str, object]) -> None:
    made, data = model(kind, **options), pairs(5)
    batch = data.batch(np.arange(5))
    assert batch.inputs is not None
    assert batch.targets is not None
    log_probs = made.head(made(batch)[0])
    taught = log_probs.gather(1, batch.targets[batch.inputs.mask][:, None])[:, 0]
    targets = [row.tolist() for row in data.targets]
    stepped = score_targets(made, made.start_from(batch.source), targets, start=START, end=END)
    found = torch.tensor([p for row in stepped for p in row])
    torch.testing.assert_close(found, taught.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_batching_changes_no_translation(kind: AttentionKind) -> None:
    made = model(kind)
    with torch.no_grad():
        made.head.bias[END] = 1.0
    data = pairs(12, longest=9)
    options = BeamOptions(size=4, n_best=2, max_length=8)

    def search(rows: list[int]) -> list[list[tuple[tuple[int, ...], float]]]:
        source = data.batch(np.array(rows)).source
        with torch.no_grad():
            found = beam(made, made.start_from(source), start=START, end=END, options=options)
        return [[(h.tokens, h.score) for h in best] for best in found]

    together = search(list(range(12)))
    alone = [search([row])[0] for row in range(12)]
    for one, other in zip(together, alone, strict=True):
        assert [s for _, s in one] == pytest.approx([s for _, s in other], abs=1e-4)
        if one[0][1] - one[1][1] > 1e-4:
            assert one[0][0] == other[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_chosen(kind: AttentionKind) -> None:
    """Any rows, in any number and grouping, go on as they would alone."""
    made, data = model(kind), pairs(4)
    source = data.batch(np.arange(4)).source
    with torch.no_grad():
        _, state = made.step(torch.full((4,), START), made.start_from(source))
        for rows in ([0, 0, 1, 1, 3, 3], [2], [1, 1, 1, 2], [0, 1, 2, 3], [3]):
            index = torch.tensor(rows)
            tokens = 3 + torch.arange(len(rows)) % (V - 3)
            found, after = made.step(tokens, select(state, index))
            assert len(after) == len(rows)
            for place, row in enumerate(rows):
                single = select(state, torch.tensor([row]))
                expected, _ = made.step(tokens[place : place + 1], single)
                torch.testing.assert_close(found[place], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["conditional", "bahdanau", "luong"])
def test_gradients_are_those_of_the_plain_steps(
    kind: AttentionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model(kind).double().train()
    batch = pairs(6).batch(np.arange(6))

    def gradients() -> list[torch.Tensor]:
        outputs, _ = made(batch)
        return list(torch.autograd.grad(made.loss(outputs, batch).sum, list(made.parameters())))

    found = gradients()
    for name in ("unrolled.cells.deferred.transformed", "unrolled.cells.scores.transformed"):
        monkeypatch.setattr(name, lambda: True)
    for one, other in zip(found, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_label_smoothing_is_torchs() -> None:
    made = model("none", label_smoothing=0.2).train()
    batch = pairs(4).batch(np.arange(4))
    assert batch.inputs is not None
    assert batch.targets is not None
    outputs, _ = made(batch)
    logits = outputs @ made.head.weight.t() + made.head.bias
    expected = torch.nn.functional.cross_entropy(
        logits, batch.targets[batch.inputs.mask], reduction="sum", label_smoothing=0.2
    )
    torch.testing.assert_close(made.loss(outputs, batch).sum, expected)


@pytest.mark.parametrize("versioned", [True, False])
def test_packed_weights_follow_training(versioned: bool) -> None:
    """Weights that change after a search are seen by the next, whether or not their version tells."""
    made = model("conditional")
    source = Sequences(torch.tensor([[3, 4, END]]), torch.tensor([3]))
    with torch.no_grad():
        before, _ = made.step(torch.tensor([START]), made.start_from(source))
        (made.head.bias if versioned else made.head.bias.data)[5] += 3.0
        weight = made.first.attention.weight_query  # type: ignore[union-attr]
        (weight if versioned else weight.data).mul_(-1.0)
        after, _ = made.step(torch.tensor([START]), made.start_from(source))
        expected, _ = copy.deepcopy(made).step(
            torch.tensor([START]), copy.deepcopy(made).start_from(source)
        )
    assert after[0, 5] > before[0, 5] + 1
    torch.testing.assert_close(after, expected)


def test_a_search_without_gradients_does_not_hide_them() -> None:
    made = model("conditional").train()
    source = Sequences(torch.tensor([[3, 4, END]]), torch.tensor([3]))
    state = made.start_from(source)
    with torch.no_grad():
        made.step(torch.tensor([START]), state)
    log_probs, _ = made.step(torch.tensor([START]), state)
    log_probs[0, 5].backward()
    assert all(p.grad is not None for p in made.parameters() if p is not made.embedding)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "global", "score": "dot"}, "choose general"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"cell": "mingru", "attention": "conditional", "score": "sharp"}, "no score 'sharp'"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**({"kind": "none"} | options | {"kind": options.get("attention", "none")}))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["conditional", "bahdanau", "luong", "global"])
def test_learns_to_say_it_backwards(kind: AttentionKind) -> None:
    torch.manual_seed(1)
    made = Seq2Seq(V, V, hidden_size=24, embedding_size=16, attention=kind)
    config = TrainingConfig(optimiser="adam", learning_rate=1e-2)
    method = TruncatedBPTT(made, config, Workers.join("cpu"), precision="32")
    data = pairs(512)
    for step in range(220):
        rows = np.random.default_rng(step).choice(512, 48, replace=False)
        method.update(made, [data.batch(rows)], None)
    held = pairs(40, seed=9)
    made.eval()
    with torch.no_grad():
        source = held.batch(np.arange(40)).source
        found = beam(made, made.start_from(source), start=START, end=END)
    right = sum(best[0].tokens == tuple(t) for best, t in zip(found, held.targets, strict=True))
    assert right >= 36


def test_batches_pad_with_zeros() -> None:
    batch = pairs(3).batch(np.arange(3))
    assert isinstance(batch, PairsBatch)
    assert batch.targets is not None
    assert batch.inputs is not None
    assert int(batch.targets[~batch.inputs.mask].abs().sum()) == 0
