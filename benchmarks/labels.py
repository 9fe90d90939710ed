"""Training and using a tagger, beside the same model in plain torch with sentences bucketed by length.

    python benchmarks/labels.py [--threads 1] [--repeats 9] [--only lstm|gru]

Table 12: words (100) and a character BLSTM (2 x 64) over the distinct spellings of a batch, a word BLSTM (2
x 200), softmax over 17 tags, B 32 in training (Adam, clipping, dropout 0.5) and 64 in use; generated
sentences with the lengths of a treebank (log-normal, median 13, at most 80) and words by Zipf's law. Both
sides go from numbers to numbers, making their batches on the way. torch: padded batches of like length,
packed for the layers, fused Adam. Before anything is timed both must give the same loss from the same
weights without dropout.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
import timing
import torch
from timing import Table, interleaved, median, ratio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from unrolled.data.buckets import BucketLoader
from unrolled.data.vocabulary import Vocabulary
from unrolled.models.tagger import Tagger
from unrolled.tasks.tagging_data import Encoded, Symbols
from unrolled.tasks.tagging_models import NeuralTags
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.methods import TruncatedBPTT

LAYERS: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU}
TAGS, SENTENCES, BATCH, USED = 17, 640, 32, 64
RATE, CLIP, DROPOUT = 2e-3, 1.0, 0.5


def corpus(sentences: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Words and their tags."""
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(draw.choice(letters, size)) for size in draw.integers(1, 13, 12_000)]
    lengths = np.clip(np.exp(draw.normal(2.6, 0.7, sentences)).astype(int), 1, 80)
    text = [[words[min(r, 12_000) - 1] for r in draw.zipf(1.3, n)] for n in lengths]
    tags = [[[f"T{t}" for t in draw.integers(0, TAGS, len(s))]] for s in text]
    return text, tags


class TorchTagger(nn.Module):
    """The same in torch.nn, with our model's weights."""

    def __init__(self, cell: str, ours: Tagger) -> None:
        super().__init__()
        w = {name: p.detach().clone() for name, p in ours.named_parameters()}
        self.words = nn.Embedding.from_pretrained(w["embedding.weight"], freeze=False)
        self.letters = nn.Embedding.from_pretrained(w["embedding.spelling.weight"], freeze=False)
        size = w["embedding.spelling.weight"].shape[1]
        self.spelling = LAYERS[cell](size, 64, bidirectional=True, batch_first=True)
        self.sentence = LAYERS[cell](228, 200, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(400, TAGS)
        self.dropout = nn.Dropout(DROPOUT)
        for layer, prefix in ((self.spelling, "embedding.spelling."), (self.sentence, "")):
            names = layer.state_dict()
            layer.load_state_dict({n: w[f"{prefix}recurrent.{n}"] for n in names})
        with torch.no_grad():
            self.linear.weight.copy_(w["heads.columns.0.weight"])
            self.linear.bias.copy_(w["heads.columns.0.bias"])

    def forward(
        self, words: Tensor, lengths: Tensor, letters: Tensor, sizes: Tensor, which: Tensor
    ) -> Tensor:
        packed = pack_padded_sequence(
            self.letters(letters), sizes, batch_first=True, enforce_sorted=False
        )
        last = self.spelling(packed)[1]
        last = last[0] if isinstance(last, tuple) else last  # [2, N, H]
        spelt = F.embedding(which, torch.cat([last[0], last[1]], -1))
        x = self.dropout(torch.cat([self.words(words), spelt], -1))
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h = pad_packed_sequence(self.sentence(packed)[0], batch_first=True)[0]
        scores: Tensor = self.linear(self.dropout(h))
        return scores


class TorchData:
    """Numbers of all words and spellings as such a user keeps them: a tensor for each."""

    def __init__(
        self, text: list[list[str]], tags: list[list[list[str]]], symbols: Symbols
    ) -> None:
        self.words = [torch.from_numpy(symbols.lookup(sentence)) for sentence in text]
        number = {label: i for i, label in enumerate(symbols.labels[0])}
        self.tags = [torch.tensor([number[t] for t in sentence[0]]) for sentence in tags]
        spelt: dict[str, int] = {}
        self.which = [torch.tensor([spelt.setdefault(w, len(spelt)) for w in s]) for s in text]
        self.letters = [torch.from_numpy(symbols.characters.encode(w)) for w in spelt]
        self.lengths = torch.tensor([len(s) for s in text])
        self.order = torch.argsort(self.lengths)

    def batch(self, rows: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        chosen = rows.tolist()
        distinct, which = torch.unique(
            torch.cat([self.which[i] for i in chosen]), return_inverse=True
        )
        letters = [self.letters[i] for i in distinct.tolist()]
        lengths = self.lengths[rows]
        inputs = (
            pad_sequence([self.words[i] for i in chosen], batch_first=True),
            lengths,
            pad_sequence(letters, batch_first=True),
            torch.tensor([len(word) for word in letters]),
            pad_sequence(torch.split(which, lengths.tolist()), batch_first=True),
        )
        return inputs, pad_sequence([self.tags[i] for i in chosen], True, -1)


def torch_sides(
    model: TorchTagger, data: TorchData
) -> tuple[Callable[[], None], Callable[[], None]]:
    """One training step at each call; all sentences tagged at each call."""
    parameters = list(model.parameters())
    optimiser = torch.optim.Adam(parameters, lr=RATE, fused=True)
    groups = list(data.order.split(BATCH))
    stream = itertools.cycle(groups[i] for i in np.random.default_rng(1).permutation(len(groups)))

    def step() -> None:
        model.train()
        inputs, targets = data.batch(next(stream))
        optimiser.zero_grad(set_to_none=True)
        scores = model(*inputs)
        F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-1).backward()
        clip_grad_norm_(parameters, CLIP, foreach=True)
        optimiser.step()

    def use() -> None:
        model.eval()
        with torch.inference_mode():
            for rows in data.order.split(USED):
                model(*data.batch(rows)[0]).argmax(-1)

    return step, use


def our_sides(
    model: Tagger, data: Encoded, symbols: Symbols
) -> tuple[Callable[[], None], Callable[[], None]]:
    config = TrainingConfig(optimiser="adam", learning_rate=RATE, gradient_clip=CLIP)
    method = TruncatedBPTT(model, config, Workers.join("cpu"), precision="32")
    loader = BucketLoader(data.lengths, data.batch, batch_size=BATCH, seed=1)
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    tagger = NeuralTags(model, symbols)

    def step() -> None:
        model.train()
        method.update(model, [next(stream)], None)

    def use() -> None:
        tagger.tags_of(data)

    return step, use


def measure(chosen: argparse.Namespace, table: Table, cell: str) -> None:
    text, tags = corpus(SENTENCES)
    letters = Vocabulary.count("".join(w for s in text for w in s))
    labels = tuple(f"T{i}" for i in range(TAGS))
    symbols = Symbols(Vocabulary.count(w for s in text for w in s), letters, (labels,), False)
    torch.manual_seed(2)
    ours = Tagger(
        len(symbols.words), [TAGS], characters=len(symbols.characters), cell=cell, dropout=DROPOUT
    )
    theirs, data, encoded = (
        TorchTagger(cell, ours),
        TorchData(text, tags, symbols),
        Encoded(text, symbols, tags),
    )
    rows = data.order[-BATCH:]
    with torch.no_grad():
        inputs, targets = data.batch(rows)
        expected = F.cross_entropy(
            theirs.eval()(*inputs).flatten(0, 1), targets.flatten(), ignore_index=-1
        )
        batch = encoded.batch(rows.numpy())
        timing.check_equal(cell, ours.loss(ours.eval()(batch)[0], batch).mean, expected)
    sides = zip(
        ("training", "use"),
        torch_sides(theirs, data),
        our_sides(ours, encoded, symbols),
        strict=True,
    )
    for mode, peer, mine in sides:
        times = interleaved(
            {"torch": peer, "unrolled": mine}, chosen.repeats, seconds=chosen.seconds
        )
        count = BATCH if mode == "training" else SENTENCES
        speeds = [f"{count / median(times[side]):,.0f}" for side in ("torch", "unrolled")]
        table.row(cell, mode, *speeds, ratio(times["torch"], times["unrolled"]))


def main() -> None:
    chosen = timing.options(__doc__)
    table = Table(
        "12. A tagger, sentences a second; torch's time / ours.",
        *[("cell", 4), ("mode", 8), ("torch", 8), ("ours", 8), ("torch / ours", 18)],
    )
    for cell in LAYERS:
        if timing.wanted(chosen, cell):
            measure(chosen, table, cell)


if __name__ == "__main__":
    main()
