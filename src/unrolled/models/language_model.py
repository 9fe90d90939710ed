r"""A recurrent language model: the next symbol's probabilities from all symbols before it.

.. math::
   x^{(t)} &= E_{w^{(t)}}, \quad h^{(t)} = F(x^{(t)}, h^{(t-1)}) \\
   p(w^{(t+1)} = k \mid w^{(1)} \dots w^{(t)}) &= \mathrm{softmax}(W_{yh} h^{(t)} + b_y)_k

(Elman 1990; Mikolov et al. 2010; review, sections 3 and 4.1.) Dropout masks are drawn once per window
(Gal & Ghahramani 2016) and input and output embeddings may be tied (Inan et al. 2017; Press & Wolf 2017).
``weight_hh`` starts orthogonal, one block per gate, and forget gates open (bias 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.cells import LSTM, Cell, Jordan, cell_named
from unrolled.data.batch import LanguageBatch
from unrolled.layers.dropout import VariationalDropout, embed
from unrolled.layers.heads import IdentityHead, Loss, SoftmaxHead
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.session import Session
from unrolled.state import detach


class Symbols(Protocol):
    """A text as numbers: an array, or a stream mapped from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.int64]: ...


class LanguageModel(nn.Module):
    """A language model over V symbols.

    Args:
        vocabulary_size: V.
        start_token: the symbol taken to stand before a text (a line's end).
        cell: a name of :data:`unrolled.cells.CELLS`.
        hidden_size: H. num_layers: recurrent layers. embedding_size: E; 0 for H.
        tied: the output layer shares the embedding's weights; if H differs from E, a linear layer
            maps between them.
        dropout: between layers and before the output. input_dropout: of embedded inputs.
        embedding_dropout: of whole symbols. zoneout, recurrent_dropout, weight_dropout, residual: see
            :class:`unrolled.Recurrent`.

    >>> model = LanguageModel(10, cell="gru", hidden_size=8)
    >>> log_probs, state = model.step(torch.tensor([3, 4]), model.start(2))
    >>> log_probs.shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        start_token: int = 0,
        cell: str = "lstm",
        hidden_size: int = 512,
        num_layers: int = 1,
        embedding_size: int = 0,
        tied: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        zoneout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.vocabulary_size, self.start_token = vocabulary_size, start_token
        self.embedding_dropout = embedding_dropout
        embedding_size = embedding_size or hidden_size
        self.embedding = nn.Parameter(torch.empty(vocabulary_size, embedding_size))
        nn.init.uniform_(self.embedding, -0.1, 0.1)
        self.input_dropout = VariationalDropout(input_dropout)
        options: dict[str, Any] = {}
        owns_output = _owns_output(cell)
        if owns_output:
            if num_layers > 1 or tied:
                raise ValueError(f"the cell {cell!r} is a whole network: one layer, not tied")
            options = {"output_size": vocabulary_size, "output_activation": "softmax"}
        self.recurrent = Recurrent(
            cell,
            embedding_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout,
            variational=True,
            residual=residual,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            weight_dropout=weight_dropout,
            **options,
        )
        self.output_dropout = VariationalDropout(0.0 if owns_output else dropout)
        self.projection: nn.Module = nn.Identity()
        self.head: SoftmaxHead | IdentityHead = IdentityHead()
        if not owns_output:
            size = self.recurrent.output_size
            if tied and size != embedding_size:
                self.projection = nn.Linear(size, embedding_size)
            weight = self.embedding if tied else None
            self.head = SoftmaxHead(
                embedding_size if tied else size, vocabulary_size, weight=weight
            )
        _initialise(self.recurrent)

    def forward(self, batch: LanguageBatch, state: Any = None) -> tuple[Tensor, Any]:
        """The hidden states [B, T, H] before the head, and the state to carry to the next window."""
        state = None if batch.fresh else state
        return self._hidden(batch.tokens, state, training=self.training)

    def loss(self, outputs: Tensor, batch: LanguageBatch) -> Loss:
        """Summed nats of the targets, from :meth:`forward`'s outputs."""
        return self.head.loss(outputs, batch.targets)

    def _hidden(self, tokens: Tensor, state: Any, *, training: bool) -> tuple[Tensor, Any]:
        x = embed(tokens, self.embedding, rate=self.embedding_dropout, training=training)
        x = self.input_dropout(x) if training else x
        h, state = self.recurrent.run(x, state, training=training)
        return self.projection(self.output_dropout(h) if training else h), state

    def start(self, batch_size: int) -> Any:
        """The state before any symbol."""
        return self.recurrent.initial_state(batch_size)

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Reads tokens [B] (None: the start symbol); log-probabilities [B, V] and the new state.

        Never with dropout, whatever mode the model is in.
        """
        if tokens is None:
            rows = state[0][0].shape[0]
            tokens = torch.full((rows,), self.start_token, device=self.embedding.device)
        column = tokens.to(self.embedding.device)[:, None]
        h, state = self._hidden(column, state, training=False)
        return self.head(h[:, 0]), state

    def session(self, batch_size: int = 1) -> Session:
        """A session: ``step(tokens [B]) -> log-probabilities [B, V]``, without dropout."""
        return Session(self.step, self.start, batch_size)

    def log_probabilities(
        self, ids: Symbols, *, tracks: int = 1, window: int = 512
    ) -> NDArray[np.float64]:
        """ln p(w_t | w_<t) of every symbol of a text, float64 [N], without dropout.

        Args:
            ids: the text, [N] (anything that slices to int64 arrays).
            tracks: read so many stretches at once, each but the first beginning without its past:
                quicker and slightly pessimistic. 1 is exact.
            window: symbols per call.
        """
        length = -(-len(ids) // tracks)
        found = np.empty((tracks, length))
        with torch.no_grad():
            state = None
            for start, tokens, targets in self._windows(ids, tracks, length, window):
                h, state = self._hidden(tokens, state, training=False)
                nats = -self.head(h).gather(-1, targets[:, :, None])[:, :, 0]
                found[:, start : start + window] = -nats.double().cpu().numpy()
                state = detach(state)
        return found.reshape(-1)[: len(ids)]

    def _windows(
        self, ids: Symbols, tracks: int, length: int, window: int
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(first step, tokens, targets), each [tracks, window]; the text padded with start tokens."""
        for start in range(0, length, window):
            stop = min(start + window, length)
            rows = np.full((tracks, stop - start + 1), self.start_token)
            for track in range(tracks):
                first = track * length + start  # of the targets; one token earlier is the context
                if first >= len(ids):
                    continue
                known = ids[max(first - 1, 0) : track * length + stop]
                offset = 1 if first == 0 else 0
                rows[track, offset : offset + len(known)] = known
            block = torch.from_numpy(rows).to(self.embedding.device)
            yield start, block[:, :-1], block[:, 1:]


def _owns_output(cell: str) -> bool:
    factory = cell_named(cell)
    target = getattr(factory, "func", factory)
    return isinstance(target, type) and issubclass(target, Cell) and target.owns_output


def _initialise(layer: Recurrent) -> None:
    """Orthogonal recurrent blocks, zero biases, forget gates open; other parameters as the cell's."""
    for cell in layer.cells():
        parameters = dict(cell.named_parameters())
        own = getattr(cell, "recurrent_init", "uniform") != "uniform"
        if own or isinstance(cell, Jordan) or "weight_hh" not in parameters:
            continue
        weight, hidden = parameters["weight_hh"], cell.hidden_size
        with torch.no_grad():
            for block in torch.split(weight, hidden):
                nn.init.orthogonal_(block)
            for name in ("bias_ih", "bias_hh"):
                if name in parameters:
                    parameters[name].zero_()
            gates = getattr(cell, "gates", ())
            if isinstance(cell, LSTM) and "f" in gates:
                parameters["bias_ih"][hidden : 2 * hidden] = 1.0
