"""The updates written by hand against autograd on the loss written as a loop over pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unrolled.data.cooccurrence import EntryBatch
from unrolled.data.stream import TokenStream
from unrolled.data.windows import NEGATIVES, Sentences, WindowBatch, WindowLoader
from unrolled.models import word_vectors
from unrolled.models.word_vectors import BOUND, CBOW, GloVe, SkipGram

V, E, K = 9, 5, 3


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What each step is given, as a dense gradient [V, E]; the steps are not made."""
    found: list[Tensor] = []

    def keep(table: Tensor, *given: Any) -> float:
        rows, gradient = given[-3], given[-2]
        dense = torch.zeros_like(table)
        dense.index_add_(0, rows.flatten(), gradient.reshape(-1, table.shape[1]))
        found.append(dense)
        return 0.0

    monkeypatch.setattr(word_vectors, "descend", keep)
    monkeypatch.setattr(word_vectors, "adagrad", keep)
    return found


@pytest.fixture
def batch() -> WindowBatch:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, V, 130)  # 1 ends a sentence
    text = Sentences(TokenStream(ids, vocabulary_size=V), end=1)
    [batch] = WindowLoader(text, window=3, batch_size=200, subsample=0.3, seed=0)
    return batch


def drawn(model: Any) -> Any:
    """The same with vectors that are not near zero."""
    generator = torch.Generator().manual_seed(1)
    for name in ("words", "contexts"):
        getattr(model, name).copy_(torch.randn(getattr(model, name).shape, generator=generator))
    return model.double()


def check(model: Any, batch: Any, gradients: list[Tensor], loss: Any) -> None:
    words, contexts = (table.clone().requires_grad_() for table in (model.words, model.contexts))
    expected = loss(words, contexts)
    expected.backward()
    update = model.make_update(batch, 0.1)
    assert update.nats == pytest.approx(float(expected.detach()), rel=1e-6)
    for found, truth in zip(gradients, (words.grad, contexts.grad), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-8)


def test_skip_gram(batch: WindowBatch, gradients: list[Tensor]) -> None:
    def loss(words: Tensor, contexts: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for block, place, around in batch.pairs.nonzero().tolist():
            v = words[batch.centres[block, place]]
            total = total - logsigmoid(contexts[batch.words[block, around]] @ v)
            far = logsigmoid(-(contexts[batch.negatives[block]] @ v))
            total = total - K / NEGATIVES * far.sum()
        return total

    model = drawn(SkipGram(V, size=E, negative=K, seed=0))
    check(model, batch, gradients, loss)


def test_cbow(batch: WindowBatch, gradients: list[Tensor]) -> None:
    def loss(words: Tensor, contexts: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for block, place in batch.pairs.any(dim=2).nonzero().tolist():
            around = batch.words[block][batch.pairs[block, place]]
            h = words[around].mean(dim=0)
            total = total - logsigmoid(contexts[batch.centres[block, place]] @ h)
            far = logsigmoid(-(contexts[batch.negatives[block]] @ h))
            total = total - K / NEGATIVES * far.sum()
        return total

    model = drawn(CBOW(V, size=E, negative=K, seed=0))
    check(model, batch, gradients, loss)


def test_glove(gradients: list[Tensor]) -> None:
    rng = np.random.default_rng(0)
    rows, columns = (torch.from_numpy(rng.integers(V, size=40)) for _ in range(2))
    values = torch.from_numpy(rng.exponential(8, 40))

    def loss(words: Tensor, contexts: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i, j, x in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True):
            dot = words[i, :-1] @ contexts[j, :-1] + words[i, -1] + contexts[j, -1]
            total = total + 0.5 * min(1, (x / 10) ** 0.75) * (dot - np.log(x)) ** 2
        return total

    model = drawn(GloVe(V, size=E, x_max=10.0, alpha=0.75, seed=0))
    assert model.vectors().shape == (V, E)
    check(model, EntryBatch(rows, columns, values), gradients, loss)


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_a_batch_moves_no_vector_far(kind: Any, batch: WindowBatch) -> None:
    model = kind(V, size=E, negative=K, seed=0)
    model.contexts.fill_(1e6)
    before = model.words.clone()
    model.make_update(batch, 0.1)
    moved = (model.words - before).norm(dim=1)
    assert moved.max() <= 0.1 * BOUND * (1 + 1e-5)
    assert moved.max() > 0.09 * BOUND


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_words_that_are_not_in_the_batch_stay(kind: Any, batch: WindowBatch) -> None:
    model = kind(V + 4, size=E, negative=K, seed=0)
    before = model.words.clone()
    model.make_update(batch, 0.1)
    assert model.words[V:].equal(before[V:])
    assert not model.contexts[V:].any()
    assert model.words[0].equal(before[0])  # the padding
    model.make_update(batch, 0.1)
    assert not model.words[2:V].equal(before[2:V])


def test_adagrad_is_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    table, sums = torch.randn(V, E, generator=generator), torch.ones(V, E)
    truth = table.clone().requires_grad_()
    optimiser = torch.optim.Adagrad([truth], lr=0.1, initial_accumulator_value=1.0, eps=0.0)
    for _ in range(4):
        rows = torch.randint(V, (20,), generator=generator)
        gradient = torch.randn(20, E, generator=generator)
        word_vectors.adagrad(table, sums, rows, gradient, 0.1)
        truth.grad = torch.zeros(V, E).index_add_(0, rows, gradient)
        optimiser.step()
    torch.testing.assert_close(table, truth.detach(), rtol=1e-5, atol=1e-6)


def test_threads_change_nothing() -> None:
    """Sums are added up in one order, however many threads there are."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 500, 6000)
    text = Sentences(TokenStream(ids, vocabulary_size=500), end=1)
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        try:
            model = SkipGram(500, size=48, negative=5, seed=0)
            for batch in WindowLoader(text, window=5, batch_size=2000, subsample=0, seed=0):
                model.make_update(batch, 0.1)
        finally:
            torch.set_num_threads(1)
        found.append(model.words)
    assert found[1].equal(found[2])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
