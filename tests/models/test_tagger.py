"""Taggers learn, see both sides, and do not see padding."""

from __future__ import annotations

import pytest
import torch

from unrolled.data.batch import Sequences, TokensBatch
from unrolled.layers.crf import bio_constraints
from unrolled.models.tagger import Tagger
from unrolled.models.window import WindowTagger

WORDS, TAGS = 6, 4


def batch(sentences: list[list[int]], tags: list[list[int]] | None = None) -> TokensBatch:
    lengths = torch.tensor([len(words) for words in sentences])
    longest = int(lengths.max())

    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

    columns = () if tags is None else (padded(tags, -1),)
    return TokensBatch(Sequences(padded(sentences, 3), lengths), None, None, columns)


def ends(count: int, seed: int) -> TokensBatch:
    """Each word's tag tells whether the first word and the last are above 2: both directions count."""
    draw = torch.Generator().manual_seed(seed)
    sentences, tags = [], []
    for _ in range(count):
        size = int(torch.randint(2, 9, (), generator=draw))
        words = torch.randint(1, WORDS, (size,), generator=draw).tolist()
        sentences.append(words)
        tags.append([2 * (words[0] > 2) + (words[-1] > 2)] * size)
    return batch(sentences, tags)


def share(model: Tagger, data: TokensBatch) -> float:
    model.eval()
    with torch.no_grad():
        right = model.best(data)[0] == data.tags[0]
    model.train()
    return float(right[data.words.mask].float().mean())


def learn(model: Tagger, steps: int = 120) -> None:
    data = ends(256, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        outputs, state = model(data)
        assert state is None
        loss = model.loss(outputs, data)
        loss.mean.backward()
        optimiser.step()


@pytest.mark.parametrize("head", ["softmax", "crf"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_tagger_learns_what_lies_at_both_ends(cell: str, head: str) -> None:
    model = Tagger(WORDS, [TAGS], cell=cell, head=head, hidden_size=16, word_size=8)
    learn(model)
    assert share(model, ends(200, seed=2)) > 0.95


def test_a_window_cannot_learn_that() -> None:
    model = WindowTagger(WORDS, [TAGS], window=3, hidden_size=16, word_size=8)
    learn(model)
    assert share(model, ends(200, seed=2)) < 0.8


@pytest.mark.parametrize(
    "model",
    [
        Tagger(WORDS, [TAGS, 2], hidden_size=5, num_layers=2, word_size=3),
        Tagger(WORDS, [TAGS, 2], hidden_size=5, word_size=3, head="crf"),
        WindowTagger(WORDS, [TAGS, 2], window=3, hidden_size=5, word_size=3),
    ],
    ids=["softmax", "crf", "window"],
)
def test_a_sentence_is_tagged_alike_whatever_stands_beside_it(model: Tagger) -> None:
    model.eval()
    sentences = [[1, 2, 3, 4, 5, 1, 2], [5, 4], [2]]
    together = batch(sentences)
    found, chances = model.best(together), model.probabilities(together)
    lists = model.n_best(together, 3)
    for row, words in enumerate(sentences):
        alone = batch([words])
        size = len(words)
        for column in range(2):
            assert torch.equal(found[column][row, :size], model.best(alone)[column][0])
            torch.testing.assert_close(
                chances[column][row, :size], model.probabilities(alone)[column][0]
            )
            sums = chances[column][row, :size].sum(-1)
            torch.testing.assert_close(sums, torch.ones(size))
            paths, ps = lists[column]
            assert torch.equal(paths[row, 0, :size], found[column][row, :size])
            assert ps[row, 0] >= ps[row, 1] >= ps[row, 2] >= 0
            assert ps[row].sum() <= 1 + 1e-5


def test_n_best_are_products_of_the_words_probabilities() -> None:
    model = Tagger(WORDS, [3], hidden_size=4, word_size=3).eval()
    one = batch([[1, 2]])
    chances = model.probabilities(one)[0][0]
    joint = (chances[0][:, None] * chances[1]).flatten().sort(descending=True).values
    paths, found = model.n_best(one, 12)[0]
    torch.testing.assert_close(found[0, :9], joint)
    assert len({tuple(path) for path in paths[0, :9].tolist()}) == 9
    assert not found[0, 9:].any()


def test_tags_that_are_not_known_do_not_count() -> None:
    model = Tagger(WORDS, [TAGS], hidden_size=4, word_size=3)
    data = batch([[1, 2, 3], [4]], [[0, -1, 2], [1]])
    loss = model.loss(model(data)[0], data)
    assert loss.count == 3


def test_a_crf_gives_no_tags_that_may_not_follow() -> None:
    labels = ["I-X", "O", "B-X", "I-Y"]
    model = Tagger(
        WORDS, [4], hidden_size=4, word_size=3, head="crf", allowed=[bio_constraints(labels)]
    ).eval()
    found = model.best(batch(torch.randint(0, WORDS, (20, 9)).tolist()))[0]
    for row in found.tolist():
        names = [labels[tag] for tag in row]
        for before, after in zip(["O", *names], names, strict=False):
            assert not after.startswith("I-") or before[1:] == after[1:]


def test_wrong_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="odd number"):
        WindowTagger(WORDS, [TAGS], window=4)


def test_a_window_sees_its_words_and_no_more() -> None:
    model = WindowTagger(WORDS, [TAGS], window=5, hidden_size=6, word_size=0).eval()
    before = model(batch([[1, 1, 1, 1, 1, 1]]))[0]
    after = model(batch([[1, 1, 1, 1, 1, 2]]))[0]
    changed = [not torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True)]
    assert changed == [False, False, False, True, True, True]
