r"""A tagger: a tag for each word of a sentence, seen from both sides.

.. math::
   x^{(t)} &= [E_{w^{(t)}};\; \text{spelling of } w^{(t)}] \\
   h^{(t)} &= [\overrightarrow{F}(x^{(1)} \dots x^{(t)});\; \overleftarrow{F}(x^{(T)} \dots x^{(t)})] \\
   p(y^{(t)} = k) &= \mathrm{softmax}(W h^{(t)} + b)_k

(Graves & Schmidhuber 2005; Plank et al. 2016; review, section 3.4), or whole paths of tags by a conditional
random field over the same scores (Lample et al. 2016). Dropout masks are drawn once per sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from unrolled.data.batch import TokensBatch
from unrolled.layers.crf import Allowed
from unrolled.layers.dropout import VariationalDropout
from unrolled.layers.embedding import TokenEmbedding
from unrolled.layers.heads import Loss
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.tag_head import TagHeads


class Tagger(nn.Module):
    """A bidirectional recurrent tagger.

    Args:
        words: W, the unknown word among them. tags: the number of tags of each column.
        characters: of spellings, the unknown one among them; 0 for none.
        cell: a name of :data:`unrolled.cells.CELLS`, for sentences and spellings.
        hidden_size: of each direction. num_layers: recurrent layers.
        word_size, character_size, character_hidden, word_dropout, vectors, tune_vectors: see
            :class:`~unrolled.layers.embedding.TokenEmbedding`.
        dropout: of the embedded words, between the layers and before the heads.
        head: ``softmax`` or ``crf``. allowed: the constraints of each column's CRF.

    >>> import torch
    >>> from unrolled.data.batch import Sequences
    >>> tagger = Tagger(9, [3], cell="gru", hidden_size=4, word_size=5)
    >>> words = Sequences(torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2]))
    >>> [tags.shape for tags in tagger.best(TokensBatch(words, None, None, ()))]
    [torch.Size([2, 3])]
    """

    def __init__(
        self,
        words: int,
        tags: Sequence[int],
        *,
        characters: int = 0,
        cell: str = "lstm",
        hidden_size: int = 200,
        num_layers: int = 1,
        word_size: int = 100,
        character_size: int = 32,
        character_hidden: int = 64,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        head: str = "softmax",
        vectors: tuple[int, int] | None = None,
        tune_vectors: bool = False,
        allowed: Sequence[Allowed | None] | None = None,
    ) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            words,
            characters,
            word_size=word_size,
            character_size=character_size,
            character_hidden=character_hidden,
            cell=cell,
            word_dropout=word_dropout,
            vectors=vectors,
            tune_vectors=tune_vectors,
        )
        self.input_dropout = VariationalDropout(dropout)
        self.recurrent = Recurrent(
            cell,
            self.embedding.output_size,
            hidden_size,
            num_layers,
            bidirectional=True,
            batch_first=True,
            dropout=dropout,
            variational=True,
        )
        self.output_dropout = VariationalDropout(dropout)
        size = self.recurrent.output_size
        self.heads = TagHeads(size, tags, crf=head == "crf", allowed=allowed)

    def forward(self, batch: TokensBatch, state: Any = None) -> tuple[Tensor, None]:
        """The hidden states [B, T, 2H] before the heads; nothing is carried between sentences."""
        x = self.input_dropout(self.embedding(batch))
        h, _ = self.recurrent(x, lengths=batch.words.lengths)
        return self.output_dropout(h), None

    def loss(self, outputs: Tensor, batch: TokensBatch) -> Loss:
        """Summed nats of the tags, from :meth:`forward`'s outputs."""
        return self.heads.loss(outputs, batch.tags, batch.words.lengths)

    def best(self, batch: TokensBatch) -> list[Tensor]:
        """The most probable tags of each column, [B, T]; anything past each sentence's end."""
        h, _ = self(batch)
        return [head.best(h, batch.words.lengths) for head in self.heads]

    def probabilities(self, batch: TokensBatch) -> list[Tensor]:
        """The probabilities of each column's tags, [B, T, K]."""
        h, _ = self(batch)
        return [head.probabilities(h, batch.words.lengths) for head in self.heads]

    def n_best(self, batch: TokensBatch, n: int) -> list[tuple[Tensor, Tensor]]:
        """For each column the n most probable paths [B, n, T] and their probabilities [B, n]."""
        h, _ = self(batch)
        return [head.n_best(h, batch.words.lengths, n) for head in self.heads]
