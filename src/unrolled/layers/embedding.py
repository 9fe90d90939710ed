r"""What stands for a token: a vector of the word, and one read off its spelling in both directions.

.. math::
   x^{(t)} = [E_{w^{(t)}};\; V_{w^{(t)}};\;
   \overrightarrow{h}(c_1 \dots c_n);\; \overleftarrow{h}(c_1 \dots c_n)]

with E learnt, V pretrained vectors (where there are any) and c the word's characters (Ling et al. 2015;
Plank, Søgaard & Goldberg 2016; Lample et al. 2016). The spelling is read once for each distinct word of a
batch. In training a word that occurred n times becomes the unknown word with probability

.. math:: p = a / (a + n)

(Kiperwasser & Goldberg 2016, section 4), so that the vector of unknown words is learnt, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batch import Sequences, TokensBatch
from unrolled.layers.recurrent import Recurrent


class Spelling(nn.Module):
    """Vectors of strings of characters: the last outputs of a recurrent layer in both directions.

    Args:
        characters: how many there are. size: of a character's vector. hidden_size: H, of each direction.
        cell: a name of :data:`unrolled.cells.CELLS`.

    >>> spelling = Spelling(30, 8, 5)
    >>> spelling(Sequences(torch.ones(2, 7, dtype=torch.int64), torch.tensor([7, 3]))).shape
    torch.Size([2, 10])
    """

    def __init__(self, characters: int, size: int, hidden_size: int, *, cell: str = "lstm") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(characters, size) * size**-0.5)
        self.recurrent = Recurrent(cell, size, hidden_size, bidirectional=True)
        self.output_size = self.recurrent.output_size

    def forward(self, spellings: Sequences) -> Tensor:
        """[N, 2H] of characters [N, C]; zero for an empty string."""
        x = F.embedding(spellings.values.t(), self.weight)  # [C, N, E]
        output, _ = self.recurrent(x, lengths=spellings.lengths)
        half = self.output_size // 2
        rows = torch.arange(len(spellings.lengths), device=x.device)
        last = (spellings.lengths - 1).clamp_min(0)
        return torch.cat([output[last, rows, :half], output[0, :, half:]], -1)


class TokenEmbedding(nn.Module):
    """Words, their pretrained vectors and their spellings, side by side: [B, T, E].

    Args:
        words: W, learnt words, the unknown one (0) among them.
        characters: of spellings; 0 for none.
        word_size: of a learnt vector; 0 for none, and then one-hot vectors if nothing else stands
            for a word.
        character_size, character_hidden, cell: of :class:`Spelling`; a size of 0 leaves it out.
        word_dropout: a, in the equation above. It needs :meth:`set_counts`.
        vectors: rows and size of a table of pretrained vectors; its first W rows are the learnt words',
            further ones those of words known by their vectors alone. See :meth:`set_vectors`.
        tune_vectors: whether to train that table, too.

    >>> embedding = TokenEmbedding(9, word_size=4)
    >>> words = Sequences(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    >>> embedding(TokensBatch(words, None, None, ())).shape, embedding.output_size
    (torch.Size([1, 3, 4]), 4)
    """

    drop_rates: Tensor
    _one_hot: Tensor

    def __init__(
        self,
        words: int,
        characters: int = 0,
        *,
        word_size: int = 100,
        character_size: int = 0,
        character_hidden: int = 0,
        cell: str = "lstm",
        word_dropout: float = 0.0,
        vectors: tuple[int, int] | None = None,
        tune_vectors: bool = False,
    ) -> None:
        super().__init__()
        self.words, self.word_dropout = words, word_dropout
        spelt = bool(characters and character_size and character_hidden)
        self.one_hot = not (word_size or vectors or spelt)
        self.weight: nn.Parameter | None = None
        if word_size:
            self.weight = nn.Parameter(torch.randn(words, word_size) * 0.1)
        self.vectors: nn.Parameter | None = None
        if vectors is not None:
            self.vectors = nn.Parameter(torch.zeros(vectors), requires_grad=tune_vectors)
        self.spelling = (
            Spelling(characters, character_size, character_hidden, cell=cell) if spelt else None
        )
        self.register_buffer("drop_rates", torch.zeros(words), persistent=False)
        self.register_buffer(
            "_one_hot", torch.eye(words) if self.one_hot else torch.zeros(0), persistent=False
        )
        self.output_size = words if self.one_hot else word_size + (vectors[1] if vectors else 0)
        if self.spelling is not None:
            self.output_size += self.spelling.output_size

    @torch.no_grad()
    def set_counts(self, counts: Tensor) -> None:
        """Tells how often each word [W] occurs in the training data."""
        self.drop_rates.copy_(self.word_dropout / (self.word_dropout + counts).clamp_min(1e-9))

    @torch.no_grad()
    def set_vectors(self, rows: Tensor, vectors: Tensor) -> None:
        """Puts pretrained vectors [N, size] into rows [N] of their table."""
        assert self.vectors is not None
        self.vectors[rows] = vectors

    def forward(self, tokens: TokensBatch) -> Tensor:
        """[B, T, output_size]; anything past each sentence's end."""
        words, parts = tokens.words.values, []
        learnt = words if self.vectors is None else words.masked_fill(words >= self.words, 0)
        if self.training and self.word_dropout > 0:
            rates = F.embedding(learnt, self.drop_rates[:, None])[..., 0]
            learnt = learnt.masked_fill(torch.rand_like(rates) < rates, 0)
        if self.one_hot:
            return F.embedding(learnt, self._one_hot)
        if self.weight is not None:
            parts.append(F.embedding(learnt, self.weight))
        if self.vectors is not None:
            parts.append(F.embedding(words, self.vectors))
        if self.spelling is not None:
            assert tokens.characters is not None
            assert tokens.spelling is not None
            parts.append(F.embedding(tokens.spelling, self.spelling(tokens.characters)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)
