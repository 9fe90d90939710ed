r"""A recurrent classifier: one answer for a whole sequence of words, characters or vectors.

.. math::
   h^{(1)} \dots h^{(T)} = F(x^{(1)} \dots x^{(T)}), \qquad
   z = W \, \mathrm{pool}(h^{(1)} \dots h^{(T)}) + b

with F recurrent layers in both directions (Schuster & Paliwal 1997; Graves & Schmidhuber 2005; review,
section 3.4) and the answer a softmax of z for one label, a sigmoid for each of several (review, section
4.1), or z itself for a number. Dropout is on the embedded tokens, between layers, and before the head.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from unrolled.data.batch import LabelBatch
from unrolled.layers.dropout import VariationalDropout
from unrolled.layers.embedding import TokenEmbedding
from unrolled.layers.heads import LinearHead, Loss, SigmoidHead, SoftmaxHead
from unrolled.layers.pooling import POOLINGS
from unrolled.layers.recurrent import Recurrent

Answer = Literal["label", "labels", "number"]


class SequenceClassifier(nn.Module):
    """What classifiers share: how tokens become vectors, and the head. Subclasses read the vectors.

    Args:
        answer: one ``label``, several ``labels``, or a ``number``.
        outputs: K, how many labels there are; of no consequence for a number.
        words: W, of sequences of tokens, the unknown one among them; 0 for vectors.
        input_size: F, of sequences of vectors; 0 for tokens.
        dropout: of embedded tokens, one mask for a whole sequence, and before the head.
        embedding: the options of :class:`~unrolled.layers.embedding.TokenEmbedding`.
    """

    def __init__(
        self,
        *,
        answer: Answer,
        outputs: int,
        words: int = 0,
        input_size: int = 0,
        dropout: float = 0.0,
        **embedding: Any,
    ) -> None:
        super().__init__()
        if bool(words) == bool(input_size):
            raise ValueError("either words or input_size must be given, and not both")
        self.answer, self.outputs = answer, outputs
        self.embedding = TokenEmbedding(words, **embedding) if words else None
        self.read_size = self.embedding.output_size if self.embedding else input_size
        self.input_dropout = VariationalDropout(dropout)
        self.output_dropout = nn.Dropout(dropout)

    def _add_head(self, size: int) -> None:
        self.head: SoftmaxHead | SigmoidHead | LinearHead
        if self.answer == "label":
            self.head = SoftmaxHead(size, self.outputs)
        elif self.answer == "labels":
            self.head = SigmoidHead(size, self.outputs)
        else:
            self.head = LinearHead(size)

    def forward(self, batch: LabelBatch, state: Any = None) -> tuple[Tensor, None]:
        """The pooled vector of every sequence [B, P], before the head; there is no state to carry."""
        if self.embedding is not None:
            assert batch.tokens is not None
            lengths = batch.tokens.words.lengths
            x = self.input_dropout(self.embedding(batch.tokens))
        else:
            assert batch.vectors is not None
            x, lengths = batch.vectors.values, batch.vectors.lengths
        return self.output_dropout(self.read(x, lengths)), None

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One vector [B, P] for each sequence x [B, T, E]."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, batch: LabelBatch) -> Loss:
        """Summed nats of the answers, from :meth:`forward`'s outputs."""
        assert batch.targets is not None
        return self.head.loss(outputs, batch.targets)

    def predict(self, batch: LabelBatch) -> Tensor:
        """Log-probabilities [B, K] of the labels, or the numbers [B, 1]."""
        found: Tensor = self.head(self(batch)[0])
        return found[:, None] if self.answer == "number" else found


class Classifier(SequenceClassifier):
    """The recurrent classifier.

    Args:
        cell: a name of :data:`unrolled.cells.CELLS`. hidden_size: H, of each layer and direction.
        num_layers: recurrent layers. bidirectional: read in both directions.
        pooling: a name of :data:`unrolled.layers.pooling.POOLINGS`.
        recurrent_dropout: see :class:`unrolled.Recurrent`.
        options: those of :class:`SequenceClassifier`.

    >>> import torch
    >>> from unrolled.data.batch import Sequences
    >>> model = Classifier(answer="label", outputs=3, input_size=2, cell="gru", hidden_size=4)
    >>> vectors = Sequences(torch.zeros(2, 5, 2), torch.tensor([5, 3]))
    >>> model.predict(LabelBatch(None, vectors, None)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "max",
        recurrent_dropout: float = 0.0,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        if options.get("words"):
            options["cell"] = cell
        super().__init__(dropout=dropout, **options)
        self.recurrent = Recurrent(
            cell,
            self.read_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            batch_first=True,
            dropout=dropout,
            variational=True,
            recurrent_dropout=recurrent_dropout,
        )
        size = self.recurrent.output_size
        self.pooling = POOLINGS[pooling](size, directions=1 + bidirectional)
        self._add_head(size)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One vector [B, P] for each sequence x [B, T, E]."""
        output, _ = self.recurrent(x, lengths=lengths)
        pooled: Tensor = self.pooling(output, lengths)
        return pooled
