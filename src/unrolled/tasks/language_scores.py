"""What a trained language model says of whole texts and of the paths of a lattice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.batch import LanguageBatch
from unrolled.data.vocabulary import Vocabulary
from unrolled.decoding.lattice_rescoring import Spell
from unrolled.models import LanguageModel

Ids = NDArray[np.int64]

READ = 256  # texts that are read before the first is answered
CELLS = 2**23  # of the [B, T, V] table of a batch


def sums(model: Any, texts: Iterable[Ids]) -> Iterator[float]:
    """ln p of each text, in order.

    Args:
        model: a model of language modelling; recurrent ones read several texts at once.
        texts: the ids of each.
    """
    waiting = iter(texts)
    while group := list(itertools.islice(waiting, READ)):
        if isinstance(model, LanguageModel):
            yield from _together(model, group)
        else:
            yield from (float(model.log_probabilities(ids).sum()) for ids in group)


def _together(model: LanguageModel, texts: Sequence[Ids]) -> list[float]:
    """Batches of texts of like length."""
    found = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    while order:
        longest = max(1, len(texts[order[-1]]))
        count = max(1, CELLS // (longest * model.vocabulary_size))
        if count == 1:  # in windows, however long it is
            place = order.pop()
            found[place] = float(model.log_probabilities(texts[place]).sum())
            continue
        places, order = order[-count:], order[:-count]
        for place, value in zip(places, _batch(model, [texts[p] for p in places]), strict=True):
            found[place] = value
    return found


@torch.no_grad()
def _batch(model: LanguageModel, texts: Sequence[Ids]) -> list[float]:
    lengths = torch.tensor([len(ids) for ids in texts])
    rows = np.full((len(texts), int(lengths.max()) + 1), model.start_token)
    for row, ids in zip(rows, texts, strict=True):
        row[1 : len(ids) + 1] = ids
    block = torch.from_numpy(rows).to(model.embedding.device)
    tokens, targets = block[:, :-1], block[:, 1:]
    h, _ = model(LanguageBatch(tokens, targets, fresh=True))
    log_probs = model.head(h).gather(-1, targets[:, :, None])[:, :, 0]
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    summed: list[float] = (
        torch.where(real.to(log_probs.device), log_probs.double(), 0.0).sum(dim=1).tolist()
    )
    return summed


def spelling(vocabulary: Vocabulary, level: str) -> Spell:
    """The symbols of a lattice's words: one for each word, or characters with a space between words.

    >>> spell = spelling(Vocabulary([" ", "b", "e"]), "characters")
    >>> spell("be", True), spell("be", False)
    ([2, 3], [1, 2, 3])
    """

    def spell(word: str, first: bool) -> list[int]:
        symbols = word.split() if level == "words" else word if first else f" {word}"
        return [int(symbol) for symbol in vocabulary.encode(symbols)]

    return spell
