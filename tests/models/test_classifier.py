"""The recurrent and the window classifier: padding, shapes, every cell and pooling, they learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.cells import CELLS
from unrolled.data.batch import LabelBatch, Sequences, TokensBatch
from unrolled.layers import POOLINGS
from unrolled.models import Classifier, WindowClassifier
from unrolled.models.classifier import SequenceClassifier

LENGTHS = torch.tensor([6, 1, 4])


def make(kind: type[SequenceClassifier], **options: Any) -> SequenceClassifier:
    torch.manual_seed(0)
    options = {"answer": "label", "outputs": 3, "words": 9, "word_size": 5} | options
    return kind(hidden_size=4, **options)


def tokens(length: int = 6, targets: torch.Tensor | None = None) -> LabelBatch:
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(1, 9, (3, length), generator=generator)
    return LabelBatch(TokensBatch(Sequences(words, LENGTHS), None, None, ()), None, targets)


both = pytest.mark.parametrize("kind", [Classifier, WindowClassifier])


@both
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(kind: type[SequenceClassifier], pooling: str) -> None:
    model = make(kind, pooling=pooling).eval()
    batch = tokens()
    assert batch.tokens is not None
    expected = model.predict(batch)
    for row, length in enumerate(LENGTHS.tolist()):
        words = Sequences(batch.tokens.words.values[row : row + 1, :length], LENGTHS[row : row + 1])
        alone = model.predict(LabelBatch(TokensBatch(words, None, None, ()), None, None))
        torch.testing.assert_close(alone[0], expected[row])


@both
@pytest.mark.parametrize(
    ("answer", "targets", "outputs"),
    [
        ("label", torch.tensor([0, 2, 1]), 3),
        ("labels", torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]]), 3),
        ("number", torch.tensor([0.5, -1.0, 2.0]), 1),
    ],
)
def test_answers(
    kind: type[SequenceClassifier], answer: Any, targets: torch.Tensor, outputs: int
) -> None:
    model = make(kind, answer=answer)
    batch = tokens(targets=targets)
    pooled, state = model(batch)
    assert state is None
    loss = model.loss(pooled, batch)
    assert loss.count == 3
    found = model.eval().predict(batch)
    assert found.shape == (3, outputs)
    expected = {
        "label": lambda: -found.gather(1, targets[:, None]).sum(),
        "labels": lambda: -torch.where(targets > 0, found, torch.log1p(-found.exp())).sum(),
        "number": lambda: 0.5 * (found[:, 0] - targets).square().sum(),
    }[answer]()
    torch.testing.assert_close(loss.sum, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_any_cell(cell: str) -> None:
    model = make(Classifier, cell=cell, num_layers=2, dropout=0.2)
    batch = tokens(targets=torch.tensor([0, 2, 1]))
    model.loss(model(batch)[0], batch).sum.backward()
    assert model.eval().predict(batch).shape == (3, 3)


@both
def test_sequences_of_vectors(kind: type[SequenceClassifier]) -> None:
    model = kind(answer="label", outputs=2, input_size=3, hidden_size=4)
    vectors = Sequences(torch.randn(3, 6, 3), LENGTHS)
    assert model.predict(LabelBatch(None, vectors, None)).shape == (3, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Classifier(answer="label", outputs=2)
    with pytest.raises(ValueError, match="odd number"):
        make(WindowClassifier, window=2)


@both
def test_it_learns_what_stands_side_by_side(kind: type[SequenceClassifier]) -> None:
    """Whether 1 is followed by 2: both are in every sequence, so that their order must be seen."""
    torch.manual_seed(0)
    words = torch.randint(3, 9, (200, 6))
    place = torch.randint(0, 5, (200,))
    pair = torch.tensor([[1, 2], [2, 1]])
    targets = torch.arange(200) % 2
    for row in range(200):
        words[row, place[row] : place[row] + 2] = pair[targets[row]]
    lengths = torch.full((200,), 6)
    batch = LabelBatch(TokensBatch(Sequences(words, lengths), None, None, ()), None, targets)
    model = make(kind, outputs=2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(model(batch)[0], batch)
        loss.mean.backward()
        optimiser.step()
    assert (model.eval().predict(batch).argmax(1) == targets).float().mean() > 0.95
