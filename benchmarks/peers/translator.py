"""The encoder–decoder of benchmarks/translation.py in plain torch, written to be fast: the peer.

Fused nn.GRU layers in the encoder and above the attentive layer, packed sources, one product for the readout
of all steps, keys computed once, batches of like length, a fused Adam; in use a beam batched over sentences,
with finished sentences dropped, sources not copied for the rows of a beam, and no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

START, END = 1, 2


class Translator(nn.Module):
    """Bidirectional GRU encoder; a decoder of a conditional GRU and a GRU above it."""

    def __init__(self, ours: nn.Module, *, dropout: float) -> None:
        super().__init__()
        w = {name: p.detach().clone() for name, p in ours.named_parameters()}
        self.source = nn.Embedding.from_pretrained(w["source_embedding"], freeze=False)
        self.target = nn.Embedding.from_pretrained(w["embedding"], freeze=False)
        size, hidden = w["embedding"].shape[1], w["first.first.weight_hh"].shape[1]
        self.encoder = nn.GRU(
            size, hidden, 2, bidirectional=True, batch_first=True, dropout=dropout
        )
        self.encoder.load_state_dict({n: w[f"encoder.{n}"] for n in self.encoder.state_dict()})
        self.first, self.second = nn.GRUCell(size, hidden), nn.GRUCell(2 * hidden, hidden)
        for cell, name in ((self.first, "first.first."), (self.second, "first.second.")):
            cell.load_state_dict({n: w[name + n] for n in cell.state_dict()})
        self.upper = nn.GRU(3 * hidden, hidden, batch_first=True)
        self.upper.load_state_dict({n: w[f"upper.{n}"] for n in self.upper.state_dict()})
        self.query = _linear(w["first.attention.weight_query"], None)
        self.key = _linear(w["first.attention.weight_key"], w["first.attention.bias"])
        self.score = nn.Parameter(w["first.attention.weight_score"])
        self.bridges = nn.ModuleList(
            _linear(w[f"bridges.{i}.weight"], w[f"bridges.{i}.bias"]) for i in range(2)
        )
        self.readout = _linear(w["readout.weight"], w["readout.bias"])
        self.bias = nn.Parameter(w["head.bias"])
        self.dropout = nn.Dropout(dropout)
        self.hidden = hidden

    def encode(
        self, source: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        packed = pack_padded_sequence(
            self.dropout(self.source(source)), lengths, batch_first=True, enforce_sorted=False
        )
        values, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True)
        values = self.dropout(values)
        hidden = torch.arange(values.shape[1]) >= lengths[:, None]
        mean = values.sum(1) / lengths[:, None]
        return values, self.key(values), hidden, [torch.tanh(b(mean)) for b in self.bridges]

    def attend(self, h: Tensor, values: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        """Contexts of h [N, K, H]."""
        energies = torch.tanh(keys[:, None] + self.query(h)[:, :, None]) @ self.score
        weights = torch.softmax(energies.masked_fill(hidden[:, None], -torch.inf), -1)
        return torch.bmm(weights, values)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """What the softmax layer sees, [B, T, E]."""
        values, keys, hidden, (h, above) = self.encode(source, lengths)
        x = self.dropout(self.target(inputs))
        states, contexts = [], []
        for step in x.unbind(1):
            h = self.first(step, h)
            c = self.attend(h[:, None], values, keys, hidden)[:, 0]
            h = self.second(c, h)
            states.append(h)
            contexts.append(c)
        context = torch.stack(contexts, 1)
        top, _ = self.upper(torch.cat([torch.stack(states, 1), context], -1), above[None])
        return self.dropout(torch.tanh(self.readout(torch.cat([top, context, x], -1))))

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor, smoothing: float) -> Tensor:
        logits = F.linear(outputs[mask], self.target.weight, self.bias)
        return F.cross_entropy(logits, targets[mask], reduction="sum", label_smoothing=smoothing)

    @torch.inference_mode()
    def beam(self, source: Tensor, lengths: Tensor, *, size: int, limit: int) -> list[list[int]]:
        """The best output of each sentence, by log-probability alone."""
        values, keys, hidden, (h, above) = self.encode(source, lengths)
        count, v = len(source), len(self.bias)
        h, above = (part.repeat_interleave(size, 0) for part in (h, above))
        scores = torch.full((count, size), -torch.inf)
        scores[:, 0] = 0
        tokens = torch.full((count * size,), START)
        history = torch.zeros(count * size, 0, dtype=torch.int64)
        live, best = torch.arange(count), [(-torch.inf, [])] * count
        ended = torch.zeros(count, dtype=torch.int64)
        for step in range(limit):
            x = self.target(tokens)
            between = self.first(x, h)
            c = self.attend(between.view(len(live), size, -1), values, keys, hidden)
            c = c.view(len(between), -1)
            h = self.second(c, between)
            above = self.upper(torch.cat([h, c], -1)[:, None], above[None].contiguous())[1][0]
            read = torch.tanh(self.readout(torch.cat([above, c, x], -1)))
            log_probs = F.log_softmax(F.linear(read, self.target.weight, self.bias), -1)
            total = (scores.view(-1, 1) + log_probs).view(len(live), -1)
            found, places = total.topk(2 * size, -1)
            origin, symbol = places // v, places % v
            is_end = symbol == END
            for row, column in is_end.nonzero().tolist():
                if column < size:
                    number = int(live[row])
                    ended[row] += 1
                    if found[row, column] > best[number][0]:
                        path = history[row * size + int(origin[row, column])].tolist()
                        best[number] = (float(found[row, column]), path)
            found = found.masked_fill(is_end, -torch.inf)
            scores, kept = found.topk(size, -1)
            rows = origin.gather(1, kept) + torch.arange(len(live))[:, None] * size
            tokens, rows = symbol.gather(1, kept).view(-1), rows.view(-1)
            history = torch.cat([history[rows], tokens[:, None]], 1)
            h, above = h[rows], above[rows]
            bound = torch.tensor([best[int(n)][0] for n in live])
            done = (ended >= size) | (scores[:, 0] <= bound)
            if step == limit - 1:
                done[:] = True
            if done.any():
                for row in done.nonzero().flatten().tolist():
                    number = int(live[row])
                    if best[number][0] == -torch.inf:
                        best[number] = (float(scores[row, 0]), history[row * size].tolist())
                going = ~done
                if not going.any():
                    break
                every = going.repeat_interleave(size)
                live, ended, scores = live[going], ended[going], scores[going]
                values, keys, hidden = values[going], keys[going], hidden[going]
                h, above, tokens, history = h[every], above[every], tokens[every], history[every]
        return [path for _, path in best]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias)
    return made
