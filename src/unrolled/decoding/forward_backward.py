r"""The sum over all paths of a linear chain, forwards and backwards.

With products of scaled probabilities (Rabiner 1989, section V.A), one matrix product a step,

.. math::
   p_t = (p_{t-1} e^A) \odot e^{e_t} / c_t, \qquad q_{t-1} = (q_t \odot e^{e_t}) (e^A)^\top / d_t, \qquad
   \frac{\partial \log Z}{\partial e_t} = \frac{p_t \odot q_t}{n_t}, \quad n_t = p_t \cdot q_t

in double precision, where c, d and the largest e are chosen so that the largest entry of each vector is
1. What underflows is then below 1e-308, and changes log Z and its gradients by less than rounding as long
as all of c, d and n are above 1e-140. Sentences where one is not, which takes scores that
contradict each other by 300 nats, are done again with logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

FLOOR = 1e-140  # below this, what has underflowed may count


class Pack(NamedTuple):
    """The real positions of a batch, step by step, the longest sentence first."""

    rows: Tensor  # [N], where each stands among the B * T
    sizes: list[int]  # how many sentences each step has
    order: Tensor  # [sentences that are not empty], longest first
    last: Tensor  # the last position of each of these, in 0..N-1

    def steps(self, values: Tensor) -> tuple[Tensor, ...]:
        """Views of packed values [N, ...], one for each step."""
        return torch.split(values, self.sizes)


def pack(lengths: Tensor, longest: int) -> Pack:
    """The positions of sentences of ``lengths`` [B] in a tensor [B, longest, ...].

    >>> pack(torch.tensor([1, 2]), 3).rows
    tensor([3, 0, 4])
    """
    ordered, order = lengths.cpu().sort(descending=True, stable=True)
    order = order[: int((ordered > 0).sum())]
    ordered = ordered[: len(order)]
    steps = torch.arange(int(ordered[0]) if len(order) else 0)[:, None]
    going = ordered > steps  # [T, B]
    rows = (order * longest + steps)[going]
    sizes = going.sum(1)
    first = sizes.cumsum(0) - sizes
    last = first[ordered - 1] + torch.arange(len(order))
    device = lengths.device
    return Pack(rows.to(device), sizes.tolist(), order.to(device), last.to(device))


def summed(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> Tensor:
    """log Z [B]; see :func:`unrolled.decoding.chain.log_partition`, which also checks the arguments."""
    emissions = emissions.to(torch.promote_types(emissions.dtype, torch.float32))
    transformed = torch._C._are_functorch_transforms_active()
    if transformed or torch.autograd.forward_ad._current_level >= 0:
        return plain(emissions, transitions, start, end, lengths)
    apply: Callable[..., Tensor] = _LogPartition.apply
    return apply(emissions, transitions, start, end, lengths)


def plain(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> Tensor:
    """log Z [B] with logarithms and autograd: slow, but differentiable in every way and any number of
    times. The oracle of the rest."""
    longest = int(lengths.max()) if len(lengths) else 0
    real = torch.arange(emissions.shape[1], device=lengths.device) < lengths[:, None]
    emissions = torch.where(real[:, :, None], emissions, 0)
    alpha = start + emissions[:, 0] if longest else emissions.sum(1)
    for t in range(1, longest):
        following = _log_sum(alpha[:, :, None] + transitions, 1) + emissions[:, t]
        alpha = torch.where(real[:, t, None], following, alpha)
    return torch.where(lengths > 0, _log_sum(alpha + end, 1), 0)


def _log_sum(scores: Tensor, dim: int) -> Tensor:
    """As logsumexp, with gradients of zero, not NaN, where all is minus infinity."""
    largest = scores.detach().amax(dim, keepdim=True).nan_to_num(nan=torch.nan)
    total = (scores - largest).exp().sum(dim)
    nothing = total == 0
    return torch.where(
        nothing, -torch.inf, torch.where(nothing, 1, total).log() + largest.squeeze(dim)
    )


class Sums(NamedTuple):
    """What one pass forwards and one backwards give for N packed positions, in double precision."""

    total: Tensor  # log Z of the B sentences
    forward: Tensor  # p, [N, K]
    marginal: Tensor  # [N, K]
    weighted: Tensor  # [N, K]; counts of pairs are p[t - 1] weighted[t] exp(A), summed over t
    weights: Tensor  # exp(A), to a factor
    again: Tensor  # which of the B sentences were done with logarithms
    pairs: Tensor  # of those, the expected counts of transitions [again, K, K]


def forward_backward(
    emissions: Tensor,
    transitions: Tensor,
    start: Tensor,
    end: Tensor,
    lengths: Tensor,
    packed: Pack,
) -> Sums:
    """Both passes; arguments in double precision."""
    e = emissions.reshape(-1, len(start))[packed.rows]
    e_exp, e_largest = _shifted(e)
    a_exp, a_largest = _shifted(transitions.flatten())
    a_exp = a_exp.view_as(transitions)
    start_exp, start_largest = _shifted(start)
    end_exp, end_largest = _shifted(end)
    p, q, weighted = (torch.empty_like(e) for _ in range(3))
    c, d = torch.empty_like(e_largest), torch.ones_like(e_largest)
    ps, qs, ws, es, cs, ds = (packed.steps(x) for x in (p, q, weighted, e_exp, c, d))
    for t, (now, factor) in enumerate(zip(ps, cs, strict=True)):
        if t:
            torch.mm(ps[t - 1][: len(now)], a_exp, out=now).mul_(es[t])
        else:
            torch.mul(es[0], start_exp, out=now)
        now.div_(torch.amax(now, 1, keepdim=True, out=factor))
    backwards = a_exp.t()
    for t in range(len(qs) - 1, -1, -1):
        going = packed.sizes[t + 1] if t + 1 < len(qs) else 0
        if going:
            now, factor = qs[t][:going], ds[t][:going]
            torch.mm(ws[t + 1], backwards, out=now)
            now.div_(torch.amax(now, 1, keepdim=True, out=factor))
        qs[t][going:] = end_exp
        torch.mul(es[t], qs[t], out=ws[t])
    marginal = q.mul_(p)
    n = marginal.sum(1, keepdim=True)
    marginal.div_(n)
    weighted.div_(c * n)
    batch, longest = emissions.shape[:2]
    logs = c.log() + e_largest
    logs[packed.last] += n[packed.last].log() + end_largest
    logs[: packed.sizes[0]] += start_largest
    logs[packed.sizes[0] :] += a_largest
    total = _spread(logs, packed, batch * longest).view(batch, longest).sum(1)
    poor = ~(torch.minimum(torch.minimum(c, d), n) >= FLOOR)
    pairs = e.new_zeros(0, len(start), len(start))
    again = lengths.new_zeros(0)
    if bool(poor.any()):
        marked = _spread(poor, packed, batch * longest).view(batch, longest)
        again = marked.any(1).nonzero().squeeze(1)
        inside = marked.any(1).repeat_interleave(longest)[packed.rows]
        p[inside], weighted[inside] = 0.0, 0.0
        scores = (transitions, start, end)
        total[again], chances, pairs = _by_logarithms(emissions[again], *scores, lengths[again])
        filled = e.new_zeros(emissions.shape)
        filled[again] = chances
        marginal[inside] = filled.view(-1, len(start))[packed.rows[inside]]
    return Sums(total, p, marginal, weighted, a_exp, again, pairs)


def _by_logarithms(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """log Z [B], marginals [B, T, K] and expected counts of transitions [B, K, K]."""
    real = torch.arange(emissions.shape[1], device=lengths.device) < lengths[:, None]
    e = torch.where(real[:, :, None], emissions, 0)
    alpha, beta = torch.empty_like(e), torch.empty_like(e)
    for t in range(e.shape[1]):
        came = (
            _log_sum(alpha[:, t - 1, :, None] + transitions, 1) if t else start.expand(len(e), -1)
        )
        alpha[:, t] = torch.where(real[:, t, None], came + e[:, t], alpha[:, t - 1])
    total = _log_sum(alpha[:, -1] + end, 1)
    pairs = e.new_zeros(len(e), len(start), len(start))
    beta[:, -1] = end
    for t in range(e.shape[1] - 2, -1, -1):
        ahead = transitions + (e[:, t + 1] + beta[:, t + 1])[:, None]  # [B, from, to]
        goes_on = real[:, t + 1, None]
        beta[:, t] = torch.where(goes_on, _log_sum(ahead, 2), end)
        both = (alpha[:, t, :, None] + ahead - total[:, None, None]).exp_()
        pairs += torch.where(goes_on[:, :, None], both, 0)
    chances = (alpha + beta - total[:, None, None]).exp_()
    return total, torch.where(real[:, :, None], chances, 0), pairs


def _shifted(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Exponentials of scores [..., K] over their largest, and the largest [..., 1]."""
    largest = scores.amax(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    return (scores - largest).exp_(), largest


def _spread(values: Tensor, packed: Pack, positions: int) -> Tensor:
    """Packed values [N, ...] at their places among all positions; zeros elsewhere."""
    return values.new_zeros(positions, *values.shape[1:]).index_copy_(0, packed.rows, values)


class _LogPartition(torch.autograd.Function):
    """log Z; its gradients, the expected counts, are formed with it and only weighted later."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        transitions: Tensor,
        start: Tensor,
        end: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        packed = pack(lengths, emissions.shape[1])
        ctx.sizes = packed.sizes
        if not packed.sizes:
            ctx.save_for_backward(emissions, transitions, start, end, lengths)
            return emissions.new_zeros(len(lengths))
        e, a, b, c = (part.double() for part in (emissions, transitions, start, end))
        sums = forward_backward(e, a, b, c, lengths, packed)
        places = (packed.rows, packed.order, packed.last)
        ctx.save_for_backward(emissions, transitions, start, end, lengths, *places, *sums[1:])
        return sums.total.to(emissions.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        emissions, transitions, start, end, lengths, *rest = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            inputs = [x for x in (emissions, transitions, start, end) if x.requires_grad]
            total = plain(emissions, transitions, start, end, lengths)
            found = iter(torch.autograd.grad(total, inputs, grad, create_graph=True))
            return *(next(found) if need else None for need in ctx.needs_input_grad[:4]), None
        if not ctx.sizes:
            made = (torch.zeros_like(x) for x in (emissions, transitions, start, end))
            return *made, None
        rows, order, last, p, marginal, weighted, weights, again, pairs = rest
        packed = Pack(rows, ctx.sizes, order, last)
        batch, longest, size = emissions.shape
        grad = grad.double()
        by_row = grad.repeat_interleave(longest)[rows][:, None]
        counts = marginal * by_row
        d_transitions = None
        if ctx.needs_input_grad[1]:
            first, number = ctx.sizes[0], torch.tensor(ctx.sizes, device=rows.device)
            before = torch.arange(first, len(rows), device=rows.device)
            before -= number[:-1].repeat_interleave(number[1:])
            d_transitions = weights * (p[before].t() @ (weighted[first:] * by_row[first:]))
            if len(again):
                d_transitions += (pairs * grad[again, None, None]).sum(0)
            d_transitions = d_transitions.to(transitions.dtype)
        d_emissions = _spread(counts.to(emissions.dtype), packed, batch * longest)
        d_start, d_end = counts[: ctx.sizes[0]].sum(0), counts[last].sum(0)
        return (
            d_emissions.view(batch, longest, size),
            d_transitions,
            d_start.to(start.dtype),
            d_end.to(end.dtype),
            None,
        )
