"""What stands for a token: words, spellings, pretrained vectors, and the dropping of words."""

from __future__ import annotations

import pytest
import torch

from unrolled.cells import CELLS
from unrolled.data.batch import Sequences, TokensBatch
from unrolled.layers.embedding import Spelling, TokenEmbedding


def tokens(words: list[list[int]], *, spelled: bool = False) -> TokensBatch:
    """Sentences of equal length; the spelling of word w is w characters, 1 to w."""
    values = torch.tensor(words)
    lengths = torch.full((len(words),), values.shape[1])
    if not spelled:
        return TokensBatch(Sequences(values, lengths), None, None, ())
    distinct, spelling = values.unique(return_inverse=True)
    steps = torch.arange(1, int(distinct.max()) + 1)
    characters = torch.where(steps <= distinct[:, None], steps, 0)
    return TokensBatch(
        Sequences(values, lengths), Sequences(characters, distinct.clone()), spelling, ()
    )


def test_a_spelling_is_read_to_its_own_end_in_both_directions() -> None:
    spelling = Spelling(9, 4, 3)
    together = spelling(
        Sequences(torch.tensor([[1, 2, 3, 4], [5, 6, 8, 8], [7, 8, 8, 8]]), torch.tensor([4, 2, 1]))
    )
    for row, characters in enumerate([[1, 2, 3, 4], [5, 6], [7]]):
        alone = spelling(Sequences(torch.tensor([characters]), torch.tensor([len(characters)])))
        torch.testing.assert_close(together[row], alone[0])
    _, state = spelling.recurrent(spelling.weight[[1, 2, 3, 4]][:, None])
    torch.testing.assert_close(together[0], torch.cat([state[0].h[0], state[1].h[0]]))
    empty = spelling(Sequences(torch.tensor([[1, 2], [1, 2]]), torch.tensor([2, 0])))
    assert not empty[1].any()


@pytest.mark.parametrize("cell", ["gru", "lstm-peephole", "elman"])
def test_any_cell_reads_spellings(cell: str) -> None:
    assert cell in CELLS
    embedding = TokenEmbedding(9, 9, word_size=4, character_size=3, character_hidden=2, cell=cell)
    assert embedding(tokens([[1, 2, 1]], spelled=True)).shape == (1, 3, 8)


def test_one_vector_for_each_spelling_of_a_batch() -> None:
    embedding = TokenEmbedding(9, 9, word_size=0, character_size=3, character_hidden=2)
    found = embedding(tokens([[3, 2, 3], [2, 5, 1]], spelled=True))
    assert torch.equal(found[0, 0], found[0, 2])
    assert torch.equal(found[0, 1], found[1, 0])
    assert not torch.equal(found[0, 0], found[1, 1])
    found.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in embedding.parameters())


def test_rare_words_become_unknown_in_training_at_their_rate() -> None:
    embedding = TokenEmbedding(4, word_size=1, word_dropout=0.25)
    with torch.no_grad():
        embedding.weight.copy_(torch.arange(4.0)[:, None])  # type: ignore[union-attr]
    embedding.set_counts(torch.tensor([0, 1, 3, 10_000]))
    batch = tokens([[1, 2, 3]] * 4000)
    shares = (embedding(batch)[:, :, 0] == 0).float().mean(0)
    expected = torch.tensor([0.25 / 1.25, 0.25 / 3.25, 0.0])
    torch.testing.assert_close(shares, expected, atol=0.02, rtol=0)
    embedding.eval()
    assert embedding(batch)[0, :, 0].tolist() == [1.0, 2.0, 3.0]


def test_without_sizes_words_are_one_hot() -> None:
    embedding = TokenEmbedding(4, word_size=0)
    assert embedding.output_size == 4
    assert embedding(tokens([[2, 0]])).tolist() == [[[0, 0, 1, 0], [1, 0, 0, 0]]]
    assert not list(embedding.parameters())
    assert not embedding.state_dict()


@pytest.mark.parametrize("tuned", [False, True])
def test_vectors_stand_beside_the_learnt_words(tuned: bool) -> None:
    embedding = TokenEmbedding(3, word_size=2, vectors=(5, 2), tune_vectors=tuned)
    embedding.set_vectors(torch.tensor([1, 4]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    found = embedding(tokens([[1, 2, 4]]))
    assert found[0, :, 2:].tolist() == [[1, 2], [0, 0], [3, 4]]
    assert embedding.weight is not None
    assert torch.equal(found[0, 2, :2], embedding.weight[0])  # known by its vector alone
    found.sum().backward()
    assert embedding.vectors is not None
    assert (embedding.vectors.grad is not None) == tuned
