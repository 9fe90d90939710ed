r"""Sequence to sequence: an encoder reads the source, a decoder says the target symbol by symbol.

.. math::
   m_1 \dots m_S &= \mathrm{Encoder}(x_1 \dots x_S), \qquad
   p(y \mid x) = \prod_t p(y_t \mid y_{<t}, m_1 \dots m_S)

(Sutskever, Vinyals & Le 2014; review, section 4.2.) The encoder is a stack of recurrent layers in one or both
directions. What the decoder knows of the source is one of

* ``none``: the encoder's final state is its first state (Sutskever et al. 2014);
* ``fixed``: besides, one vector of the source stands beside every input (Cho et al. 2014; the joint language
  and translation model of Auli et al. 2013);
* ``global``: attention after the recurrent layers (Luong et al. 2015, without input feeding);
* ``bahdanau``, ``conditional``, ``luong``: attention within the first layer's steps
  (:mod:`unrolled.cells.attentive`), further layers above it.

With attention the first state is :math:`\tanh(W \bar m + b)` of the mean place. The readout is
:math:`\tanh(W [h; c; x])`, then a softmax whose weights may be the target's embeddings (Press & Wolf 2017).
Input and attention weights start normal after He et al. (2015), recurrent ones orthogonal.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled import kernels
from unrolled.cells import Cell, GatedCell, cell_named
from unrolled.cells.attentive import ATTENTIVE, AttentiveCell, AttentiveState
from unrolled.cells.cell import Prepared
from unrolled.cells.deferred import Product, collect
from unrolled.cells.scores import Attention, Memory
from unrolled.data.batch import PairsBatch, Sequences
from unrolled.layers.dropout import embed
from unrolled.layers.heads import Loss, SoftmaxHead
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.steps import Steps
from unrolled.models.scheduled_sampling import ScheduledSampling
from unrolled.models.translating import Translating
from unrolled.state import map_state

FEW = 64  # rows of a step that take prepared products: 1.18 times as fast at 5 rows, 0.96 at 160

AttentionKind = Literal["conditional", "bahdanau", "luong", "global", "fixed", "none"]


class _Ready(NamedTuple):
    """What many steps use: the memory, as the cell's ``begin`` made it, and products with the weights."""

    memory: Any
    upper: Steps | None
    readout: Product
    head: Product


class Seq2Seq(nn.Module):
    """An encoder and a decoder.

    Args:
        source_size, target_size: symbols of either side. shared: one embedding for both sides.
        cell: a name of :data:`unrolled.cells.CELLS`, for both. hidden_size: H of each direction and layer.
        num_layers: recurrent layers of encoder and of decoder. embedding_size: E.
        bidirectional: read the source in both directions.
        attention: what the decoder knows of the source, see above.
        score: ``additive``, ``general`` or ``dot``; empty for additive, or general in luong and global.
        residual: from the second layer on, add each layer's input to its output; above a layer that looks
            in its steps, from the third.
        tied: the output layer has the target embedding's weights.
        embedding_dropout: of embedded symbols' units. dropout: of annotations, between layers and
            before the output. label_smoothing: in training, the share of each target that is spread over
            all symbols (:func:`unrolled.kernels.linear_cross_entropy`).
        scheduled_sampling, sampling_steps: in training, the share of inputs that the model says itself,
            and the batches until it is reached (:mod:`unrolled.models.scheduled_sampling`); 0 is off.

    >>> model = Seq2Seq(7, 9, hidden_size=8, embedding_size=6)
    >>> source = Sequences(torch.tensor([[3, 4, 2], [5, 2, 0]]), torch.tensor([3, 2]))
    >>> log_probs, state = model.step(torch.tensor([1, 1]), model.start_from(source))
    >>> log_probs.shape, model.attention(state).shape
    (torch.Size([2, 9]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        shared: bool = False,
        cell: str = "gru",
        encoder_cell: str = "",
        hidden_size: int = 256,
        num_layers: int = 1,
        embedding_size: int = 256,
        bidirectional: bool = True,
        attention: AttentionKind = "conditional",
        score: str = "",
        residual: bool = False,
        tied: bool = True,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        scheduled_sampling: float = 0.0,
        sampling_steps: int = 10_000,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), {label_smoothing} given")
        self.target_size, self.label_smoothing = target_size, label_smoothing
        self.kind = attention
        self.embedding = nn.Parameter(torch.empty(target_size, embedding_size).normal_(0, 0.1))
        if shared and source_size != target_size:
            raise ValueError("shared embeddings need one vocabulary for both sides")
        self.source_embedding: nn.Parameter | None = None
        if not shared:
            table = torch.empty(source_size, embedding_size).normal_(0, 0.3)
            self.source_embedding = nn.Parameter(table)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.annotation_dropout = nn.Dropout(dropout)
        self.output_dropout = nn.Dropout(dropout)
        self.encoder = Recurrent(
            encoder_cell or cell,
            embedding_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            residual=residual,
        )
        size = self.encoder.output_size
        self.first: AttentiveCell | None = None
        self.look: Attention | None = None
        factory = cell_named(cell)
        score = score or ("general" if attention in ("luong", "global") else "additive")
        if attention in ATTENTIVE:
            self.first = ATTENTIVE[attention](
                embedding_size, hidden_size, memory_size=size, cell=factory, score=score
            )
        below = embedding_size + (size if attention == "fixed" else 0)
        layers = num_layers
        if self.first is not None:
            below, layers = self.first.output_size, num_layers - 1
        self.upper: Recurrent | None = None
        if layers:
            self.upper = Recurrent(
                cell, below, hidden_size, layers, dropout=dropout, residual=residual
            )
        if attention == "global":
            self.look = Attention(hidden_size, size, score=score)
        read = self._read_size(size) + embedding_size
        self.readout = nn.Linear(read, embedding_size if tied else hidden_size)
        weight = self.embedding if tied else None
        self.head = SoftmaxHead(self.readout.out_features, target_size, weight=weight)
        self.bridges = nn.ModuleList(self._bridges(size))
        self.sampling: ScheduledSampling | None = None
        if scheduled_sampling:
            self.sampling = ScheduledSampling(scheduled_sampling, sampling_steps)
        self._packed = Prepared()  # weights of the steps
        _initialise(self)

    def _read_size(self, annotation_size: int) -> int:
        """The size of what the readout sees beside the embedded symbol."""
        context = annotation_size if self.kind in ("conditional", "bahdanau", "global") else 0
        hidden = self.first.hidden_size if self.first else 0
        if self.upper is not None:
            hidden = self.upper.output_size
        return hidden + context

    def _decoder_states(self, rows: int) -> list[Any]:
        """The initial states of the decoder's layers: of an attentive cell its inner one."""
        found = [] if self.first is None else [self.first.initial_state(rows).cell]
        return found + ([] if self.upper is None else list(self.upper.initial_state(rows)))

    def _bridges(self, annotation_size: int) -> list[nn.Module]:
        """From the encoder to the decoder's first states; none where the states themselves fit."""
        states = self._decoder_states(1)
        given = self.encoder.initial_state(1)
        self.handed = not self.attends and [map_state(torch.numel, s) for s in states] == [
            map_state(torch.numel, s) for s in given
        ]
        if self.handed:
            return []
        size = (
            annotation_size if self.attends else sum(part.numel() for s in given for part in s[:1])
        )
        return [nn.Linear(size, part.numel()) for state in states for part in state]

    @property
    def attends(self) -> bool:
        """Whether the decoder looks at the single places of the source."""
        return self.first is not None or self.look is not None

    def encode(self, source: Sequences) -> tuple[Tensor, tuple[Any, ...]]:
        """The annotations [B, S, C] and the encoder's final states."""
        table = self.embedding if self.source_embedding is None else self.source_embedding
        x = self.embedding_dropout(embed(source.values, table))
        output, final = self.encoder(x.transpose(0, 1), lengths=source.lengths)
        return self.annotation_dropout(output.transpose(0, 1)), final

    def begin(self, source: Sequences) -> tuple[Memory | None, Tensor | None, tuple[Any, ...]]:
        """The memory, the fixed vector [B, C], and the decoder's first states, by layer."""
        annotations, final = self.encode(source)
        rows = len(annotations)
        memory = None
        if self.first is not None:
            memory = self.first.attention.remember(annotations, source.lengths)
        elif self.look is not None:
            memory = self.look.remember(annotations, source.lengths)
        mean = None
        if self.attends or self.kind == "fixed":
            mean = annotations.sum(1) / source.lengths[:, None].clamp_min(1)
        if self.handed:
            states = list(final)
        else:
            given = mean if self.attends else torch.cat([state[0] for state in final], -1)
            made = iter([torch.tanh(bridge(given)) for bridge in self.bridges])
            states = [map_state(lambda _: next(made), s) for s in self._decoder_states(rows)]
        return memory, mean if self.kind == "fixed" else None, self._started(states)

    def _started(self, states: list[Any]) -> tuple[Any, ...]:
        """The states of the layers, an attentive cell's whole."""
        if self.first is None:
            return tuple(states)
        inner = states[0]
        zeros = inner[0].new_zeros(len(inner[0]), self.first.output_size)
        return (AttentiveState(inner, zeros, zeros[:, :0]), *states[1:])

    def decode(
        self,
        x: Tensor,
        memory: Any,
        fixed: Tensor | None,
        states: tuple[Any, ...],
        upper: Steps | None = None,
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Runs the decoder's layers over embedded symbols [R, T, E]: what the readout sees, the states.

        Args:
            memory: a :class:`~unrolled.cells.scores.Memory`, what a cell's ``begin`` made of one, or None.
            upper: for a single step, the layers above the first, prepared.
        """
        steps = x.transpose(0, 1)
        h, following = steps, list(states)
        if self.first is not None:
            if len(steps) == 1:
                y, following[0] = self.first(x[:, 0], states[0], memory)
                h = y[None]
            else:
                h, following[0] = kernels.run(self.first, steps, states[0], context=memory)
        elif fixed is not None:
            h = torch.cat([steps, fixed.expand(len(steps), *fixed.shape)], -1)
        if self.upper is not None:
            context = h[..., self.first.hidden_size :] if self.first is not None else None
            above = states[self.first is not None :]
            if upper is None:
                h, final = self.upper(h, above)
            else:
                y, final = upper(h[0], above)
                h = y[None]
            following[self.first is not None :] = final
            if context is not None and self.kind != "luong":
                h = torch.cat([h, context], -1)
        if self.look is not None:
            query = h.transpose(0, 1).reshape(-1, h.shape[-1])  # sequence by sequence
            context, _ = self.look(query, memory)
            h = torch.cat([h, context.view(h.shape[1], h.shape[0], -1).transpose(0, 1)], -1)
        return h.transpose(0, 1), tuple(following)

    def read(self, h: Tensor, x: Tensor) -> Tensor:
        """What the softmax layer sees, [..., K]."""
        return torch.tanh(
            kernels.linear(torch.cat([h, x], -1), self.readout.weight, self.readout.bias)
        )

    def forward(self, batch: PairsBatch, state: Any = None) -> tuple[Tensor, None]:
        """What the softmax layer sees at every real target, [targets, K]; there is no state to carry."""
        assert batch.inputs is not None
        read = batch.inputs.values
        if self.training and self.sampling is not None:
            read = self.sampling(self, batch.source, read)
        memory, fixed, states = self.begin(batch.source)
        x = self.embedding_dropout(embed(read, self.embedding))
        h, _ = self.decode(x, memory, fixed, states)
        real = batch.inputs.mask.flatten().nonzero().flatten()
        rows = [part.reshape(-1, part.shape[-1])[real] for part in (h, x)]
        return self.output_dropout(self.read(*rows)), None

    def loss(self, outputs: Tensor, batch: PairsBatch) -> Loss:
        """Summed nats of the real targets; in training with label smoothing."""
        assert batch.inputs is not None
        assert batch.targets is not None
        targets = batch.targets[batch.inputs.mask]
        return self.head.loss(outputs, targets, self.label_smoothing if self.training else 0.0)

    def start_from(self, source: Sequences) -> Translating:
        """The state of the step protocol before the first symbol of each source's target."""
        return Translating(*self.begin(source))

    def step(self, tokens: Tensor, state: Translating) -> tuple[Tensor, Translating]:
        """Reads symbols [R]; log-probabilities [R, V] of the next ones and the new state."""
        x = embed(tokens.to(self.embedding.device), self.embedding)
        ready = state.ready(self._prepare)
        fixed = state.fixed_rows()
        upper = ready.upper if len(tokens) <= FEW else None
        h, states = self.decode(x[:, None], ready.memory, fixed, state.states, upper)
        read = torch.tanh(ready.readout(torch.cat([h[:, 0], x], -1)))
        return torch.log_softmax(ready.head(read), -1), state.after(states)

    def _prepare(self, memory: Memory | None) -> _Ready:
        """What the steps over a memory share."""
        looked = memory
        if self.first is not None:
            looked = self.first.begin(memory, self._product)[1]
        upper = None
        if self.upper is not None and not self.training and Steps.fits(self.upper.cells()):
            cells, residual = self.upper.cells(), self.upper.options.residual
            upper = Steps(cells, self._product, residual=residual)
        readout = self._product(self.readout.weight, self.readout.bias)
        return _Ready(looked, upper, readout, self._product(self.head.weight, self.head.bias))

    def _product(self, weight: Tensor, bias: Tensor | None) -> Product:
        """The product with a weight in steps: packed once where no gradient is asked for."""
        if torch.is_grad_enabled():
            return collect(weight, bias)
        kept = self._packed.get(id(weight))
        if kept is None or not kept.current(weight, bias):
            kept = self._packed[id(weight)] = kernels.Packed(weight, bias)
        return cast(Product, kept)

    def attention(self, state: Translating) -> Tensor:
        """Where the step that led to this state looked, [R, S].

        Raises:
            ValueError: the model has no attention within its steps.
        """
        if self.first is None:
            raise ValueError(f"a model with attention {self.kind!r} looks nowhere in its steps")
        return cast(Tensor, state.states[0].weights)


def _initialise(model: Seq2Seq) -> None:
    """Input weights normal (He), recurrent blocks orthogonal, biases zero, forget gates open."""
    cells: list[Cell] = [*model.encoder.cells()]
    if model.first is not None:
        cells += model.first.gated()
    if model.upper is not None:
        cells += model.upper.cells()
    for cell in cells:
        if isinstance(cell, GatedCell):
            _initialise_cell(cell)
    for layer in (model.readout, *cast(list[nn.Linear], list(model.bridges))):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def _initialise_cell(cell: GatedCell) -> None:
    hidden = cell.hidden_size
    parameters = dict(cell.named_parameters())
    with torch.no_grad():
        if getattr(cell, "recurrent_init", "uniform") != "uniform":
            return
        nn.init.kaiming_normal_(parameters["weight_ih"], nonlinearity="linear")
        if "weight_hh" in parameters:
            for block in torch.split(parameters["weight_hh"], hidden):
                nn.init.orthogonal_(block)
        for name in ("bias_ih", "bias_hh"):
            if name in parameters:
                parameters[name].zero_()
        if "f" in cell.gates and "bias_ih" in parameters:
            place = cell.gates.index("f")
            parameters["bias_ih"][place * hidden : (place + 1) * hidden] = 1.0
