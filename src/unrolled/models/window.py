r"""A tagger that sees a fixed window of words, and no more.

.. math::
   h^{(t)} = \tanh(W [x^{(t-k)}; \dots; x^{(t+k)}] + b), \qquad
   p(y^{(t)} = j) = \mathrm{softmax}(V h^{(t)} + c)_j

with zeros beyond the sentence's ends (Qian & Sejnowski 1988 with one-hot residues and k = 6; Collobert et al.
2011). What recurrent networks are compared with (review, section 1.2): nothing outside the window can count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import kernels
from unrolled.data.batch import TokensBatch
from unrolled.layers.dropout import VariationalDropout
from unrolled.layers.embedding import TokenEmbedding
from unrolled.layers.tag_head import TagHeads
from unrolled.models.tagger import Tagger


class WindowTagger(Tagger):
    """A feedforward tagger over a window of words; used as :class:`~unrolled.models.tagger.Tagger` is.

    Args:
        words: W. tags: the number of tags of each column. characters: of spellings; 0 for none.
        window: words seen, an odd number: the one to be tagged in the middle.
        hidden_size: of the hidden layer; 0 for none.
        word_size, character_size, character_hidden, word_dropout: see
            :class:`~unrolled.layers.embedding.TokenEmbedding`; nothing but sizes of 0 is one-hot.
        dropout: of the embedded words and the hidden layer.

    >>> from unrolled.data.batch import Sequences
    >>> tagger = WindowTagger(21, [3], window=13, hidden_size=40, word_size=0)
    >>> words = Sequences(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    >>> tagger(TokensBatch(words, None, None, ()))[0].shape, tagger.weight.shape
    (torch.Size([1, 3, 40]), torch.Size([40, 273]))
    """

    def __init__(
        self,
        words: int,
        tags: Sequence[int],
        *,
        characters: int = 0,
        window: int = 5,
        hidden_size: int = 200,
        word_size: int = 64,
        character_size: int = 0,
        character_hidden: int = 0,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        if window % 2 == 0 or window < 1:
            raise ValueError(f"a window has an odd number of words, {window} given")
        self.embedding = TokenEmbedding(
            words,
            characters,
            word_size=word_size,
            character_size=character_size,
            character_hidden=character_hidden,
            word_dropout=word_dropout,
        )
        self.window = window
        self.input_dropout = VariationalDropout(dropout)
        self.output_dropout = VariationalDropout(dropout)
        size = window * self.embedding.output_size
        self.weight: nn.Parameter | None = None
        if hidden_size:
            self.weight = nn.Parameter(torch.empty(hidden_size, size))
            nn.init.uniform_(self.weight, -(size**-0.5), size**-0.5)
            self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.heads = TagHeads(hidden_size or size, tags)

    def forward(self, batch: TokensBatch, state: object = None) -> tuple[Tensor, None]:
        """The hidden layer [B, T, H] before the heads."""
        reach = self.window // 2
        x = self.input_dropout(self.embedding(batch)) * batch.words.mask[:, :, None]
        x = F.pad(x, (0, 0, reach, reach))  # [B, T + 2k, E]
        x = x.unfold(1, self.window, 1).transpose(2, 3).flatten(2)  # [B, T, (2k + 1) E]
        if self.weight is not None:
            x = torch.tanh(kernels.linear(x, self.weight, self.bias))
        return self.output_dropout(x), None
