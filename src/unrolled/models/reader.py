r"""One network that reads a text and writes on: what is to be written is the rest of the stream.

.. math::
   h^{(t)} = F(x^{(t)}, h^{(t-1)}), \qquad p(y \mid x) = \prod_t p(y_t \mid x, y_{<t})

The same layers, with the same weights, read the text and write the target, and only the target counts in the
loss (Zaremba & Sutskever 2014, "Learning to execute"). It has the face of
:class:`~unrolled.models.seq2seq.Seq2Seq`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from unrolled.data.batch import PairsBatch, Sequences
from unrolled.layers.dropout import embed
from unrolled.layers.heads import IdentityHead, Loss, SoftmaxHead
from unrolled.models.language_model import LanguageModel


class Reader(nn.Module):
    """A language model of targets that has read their sources.

    Args:
        size: symbols of sources and targets together.
        options: of :class:`~unrolled.models.language_model.LanguageModel`.

    >>> import torch
    >>> model = Reader(9, hidden_size=8)
    >>> source = Sequences(torch.tensor([[3, 4, 5], [6, 0, 0]]), torch.tensor([3, 1]))
    >>> log_probs, state = model.step(torch.tensor([1, 1]), model.start_from(source))
    >>> log_probs.shape
    torch.Size([2, 9])
    """

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__()
        self.network = LanguageModel(size, **options)

    @property
    def head(self) -> SoftmaxHead | IdentityHead:
        """From hidden states to log-probabilities."""
        return self.network.head

    @property
    def embedding(self) -> nn.Parameter:
        """The symbols' vectors, [V, E]."""
        return self.network.embedding

    def start_from(self, source: Sequences) -> Any:
        """The state of the step protocol before the first symbol of each source's target."""
        return self._run(source, None, training=False)[1]

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Reads symbols [R]; log-probabilities [R, V] of the next ones and the new state."""
        return self.network.step(tokens, state)

    def forward(self, batch: PairsBatch, state: Any = None) -> tuple[Tensor, None]:
        """The hidden states before every real symbol of the targets, [targets, H]; none is carried."""
        assert batch.inputs is not None
        _, state = self._run(batch.source, None, training=self.training)
        h, _ = self._run(batch.inputs, state, training=self.training)
        real = batch.inputs.mask.flatten().nonzero().flatten()
        h = self.network.output_dropout(h) if self.training else h
        found: Tensor = self.network.projection(h.reshape(-1, h.shape[-1])[real])
        return found, None

    def loss(self, outputs: Tensor, batch: PairsBatch) -> Loss:
        """Summed nats of the real targets."""
        assert batch.inputs is not None
        assert batch.targets is not None
        return self.head.loss(outputs, batch.targets[batch.inputs.mask])

    def _run(self, symbols: Sequences, state: Any, *, training: bool) -> tuple[Tensor, Any]:
        """The layers' outputs [B, T, H], and the state at each one's end."""
        network = self.network
        x = embed(
            symbols.values, network.embedding, rate=network.embedding_dropout, training=training
        )
        x = network.input_dropout(x) if training else x
        return network.recurrent.run(x, state, symbols.lengths, training=training)
