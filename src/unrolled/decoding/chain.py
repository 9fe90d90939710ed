r"""Linear chains: sums and best paths over all sequences of tags of a sentence.

A path :math:`y_1 \dots y_T` through K tags has the score

.. math:: s(y) = a_{y_1} + \sum_t e_{t, y_t} + \sum_{t > 1} A_{y_{t-1}, y_t} + b_{y_T},
          \qquad Z = \sum_y e^{s(y)}

with emissions e, transitions A, start a and end b: a conditional random field (Lafferty, McCallum &
Pereira 2001) or, of logarithms of probabilities, a hidden Markov model (Rabiner 1989). Scores of minus
infinity forbid. An empty sentence has one path, of score 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.decoding.forward_backward import Pack, pack, summed

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def log_partition(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> Tensor:
    """The logarithm of Z, the summed exponentials of the scores of all paths.

    Its gradients are the expected counts: of the emissions, the marginals. They cost about as much as
    the value, which is computed with them. Second derivatives are right, but slow.

    Args:
        emissions: [B, T, K]; anything, NaN too, after a sentence's end.
        transitions: [K, K], ``transitions[i, j]`` of j after i. start, end: [K].
        lengths: [B], int64, from 0 to T.

    Returns:
        [B]: 0 for an empty sentence, minus infinity if every path is forbidden (with gradients NaN).

    Raises:
        ValueError: the shapes do not fit, or a length is out of range.

    >>> one = torch.zeros(3)
    >>> log_partition(torch.zeros(1, 2, 3), torch.zeros(3, 3), one, one, torch.tensor([2])).exp()
    tensor([9.])
    """
    _check(emissions, transitions, start, end, lengths)
    return summed(emissions, transitions, start, end, lengths)


def marginals(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> Tensor:
    """The probability of each tag at each position: [B, T, K], zeros after a sentence's end, detached.

    Arguments and errors are those of :func:`log_partition`. NaN where every path is forbidden.
    """
    with torch.enable_grad():
        watched = emissions.detach().requires_grad_()
        a, b, c = (part.detach() for part in (transitions, start, end))
        total = log_partition(watched, a, b, c, lengths).sum()
        return torch.autograd.grad(total, watched)[0]


def score(
    emissions: Tensor,
    tags: Tensor,
    transitions: Tensor,
    start: Tensor,
    end: Tensor,
    lengths: Tensor,
) -> Tensor:
    """The scores [B] of the paths ``tags`` [B, T]; anything after a sentence's end.

    Raises:
        ValueError: the shapes do not fit, a length is out of range, or a tag is not in 0..K-1.
    """
    _check(emissions, transitions, start, end, lengths)
    size, longest = transitions.shape[0], emissions.shape[1]
    if tags.shape != emissions.shape[:2]:
        given = list(tags.shape)
        raise ValueError(f"tags {given} given, {list(emissions.shape[:2])} expected")
    real = torch.arange(longest, device=lengths.device) < lengths[:, None]
    ids = torch.where(real, tags, 0)
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(f"tags are from 0 to {size - 1}, not {int(ids.min())} to {int(ids.max())}")
    if not longest:
        return emissions.sum((1, 2))
    # Embeddings, because their gradients are summed in the same order each time.
    emitted = emissions.gather(2, ids[:, :, None]).squeeze(2)
    followed = F.embedding(ids[:, :-1] * size + ids[:, 1:], transitions.reshape(-1, 1)).squeeze(2)
    last = ids.gather(1, (lengths - 1).clamp_min(0)[:, None])
    edges = F.embedding(ids[:, :1], start[:, None]) + F.embedding(last, end[:, None])
    total = torch.where(real, emitted, 0).sum(1) + torch.where(real[:, 1:], followed, 0).sum(1)
    return total + torch.where(lengths > 0, edges.flatten(), 0)


@torch.no_grad()
def viterbi(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """The best path of each sentence (Viterbi 1967) and its score.

    Arguments and errors are those of :func:`log_partition`.

    Returns:
        Paths [B, T], int64, 0 after a sentence's end, and scores [B]. Where every path is forbidden
        the score is minus infinity and the path means nothing.

    >>> e, zeros = torch.tensor([[[0.0, 2.0], [1.0, 0.0]]]), torch.zeros(2)
    >>> viterbi(e, torch.tensor([[0.0, 0.0], [-5.0, 0.0]]), zeros, zeros, torch.tensor([2]))
    (tensor([[1, 1]]), tensor([2.]))
    """
    _check(emissions, transitions, start, end, lengths)
    batch, longest, _ = emissions.shape
    packed = pack(lengths, longest)
    paths = lengths.new_zeros(batch * longest, dtype=torch.int64)
    scores = emissions.new_zeros(batch)
    if not packed.sizes:
        return paths.view(batch, longest), scores
    best, into = _prefixes(emissions, transitions, start, packed)
    steps = packed.steps(best)
    found, chosen = (best[packed.last] + end).max(1)  # by sentence, longest first
    scores[packed.order] = found
    ids = torch.empty_like(packed.rows)
    walk = packed.steps(ids)
    for t in range(len(walk) - 1, -1, -1):
        if t + 1 < len(walk):  # which tag it came from is asked only along the path
            going = len(walk[t + 1])
            chosen[:going] = (steps[t][:going] + into[chosen[:going]]).argmax(1)
        walk[t].copy_(chosen[: len(walk[t])])
    paths[packed.rows] = ids
    return paths.view(batch, longest), scores


@torch.no_grad()
def n_best(
    emissions: Tensor,
    transitions: Tensor,
    start: Tensor,
    end: Tensor,
    lengths: Tensor,
    n: int,
) -> tuple[Tensor, Tensor]:
    """The n best different paths, best first.

    Arguments are those of :func:`log_partition`.

    Returns:
        Paths [B, n, T], int64, 0 after a sentence's end, and scores [B, n]. Where there are fewer paths
        that are not forbidden, the rest are zeros with a score of minus infinity.

    Raises:
        ValueError: as :func:`log_partition`, or n is below 1.
    """
    _check(emissions, transitions, start, end, lengths)
    if n < 1:
        raise ValueError(f"n, the number of best paths, is at least 1, not {n}")
    batch, longest, _ = emissions.shape
    paths = np.zeros((batch, n, longest), np.int64)
    scores = np.full((batch, n), -np.inf)
    e, a, b, c = (part.double() for part in (emissions, transitions, start, end))
    packed = pack(lengths, longest)
    into, final = a.t().contiguous().cpu().numpy(), c.cpu().numpy()
    prefixes = torch.zeros_like(e)
    if packed.sizes:
        best, _ = _prefixes(e, a, b, packed)
        prefixes.view(-1, len(b))[packed.rows] = best
    tables = zip(prefixes.cpu().numpy(), e.cpu().numpy(), lengths.tolist(), strict=True)
    for row, (prefix, emitted, length) in enumerate(tables):
        if not length:
            scores[row, 0] = 0.0
        else:
            found = _n_best(prefix[:length], emitted[:length], into, final, n)
            for rank, (total, path) in enumerate(found):
                scores[row, rank], paths[row, rank, :length] = total, path
    device = emissions.device
    return torch.from_numpy(paths).to(device), torch.from_numpy(scores).to(device, emissions.dtype)


def _n_best(
    prefix: Floats, emitted: Floats, into: Floats, end: Floats, n: int
) -> Iterator[tuple[float, Integers]]:
    """The n best paths of a sentence by their scores, from its best prefixes [T, K].

    After Lawler (1972): a path that was found splits the rest into those that leave it, read from the
    end, at t for tag i. The best of these is known without a search: the best prefix to (t, i).
    """
    length, size = prefix.shape
    queue: list[tuple[float, int, int]] = []  # minus the score, parent, t * K + i
    found: list[Integers] = []
    top = int((prefix[-1] + end).argmax())
    nearest = (-float(prefix[-1, top] + end[top]), -1, (length - 1) * size + top)
    while True:
        total, parent, place = nearest
        if not total < np.inf:
            return
        t, tag = divmod(place, size)
        path = found[parent].copy() if found else np.zeros(length, np.int64)
        path[t] = tag
        for s in range(t - 1, -1, -1):
            path[s] = (prefix[s] + into[path[s + 1]]).argmax()
        yield -total, path
        found.append(path)
        if len(found) == n:
            return
        # The score of what follows each position of this path, by the tag that is there.
        links = np.append(into[path[1:], path[:-1]], end[path[-1]])
        after = np.cumsum((emitted[np.arange(length), path] + links)[::-1])[::-1]
        stop = t + 1 if len(found) == 1 else t
        ahead = np.vstack([into[path[1:]], end])[:stop]
        ahead[: length - 1] += after[1:, None][:stop]
        ways = prefix[:stop] + ahead
        ways[np.arange(stop), path[:stop]] = -np.inf
        ways = ways.ravel()
        few = min(n - len(found), ways.size)
        for place in np.argpartition(ways, -few)[-few:] if few else ():
            heapq.heappush(queue, (-float(ways[place]), len(found) - 1, int(place)))
        if not queue:
            return
        nearest = heapq.heappop(queue)


def _prefixes(
    emissions: Tensor, transitions: Tensor, start: Tensor, packed: Pack
) -> tuple[Tensor, Tensor]:
    """The score of the best path to each tag of each packed position [N, K], and transitions [to, from]."""
    best = emissions.reshape(-1, len(start))[packed.rows]
    steps = packed.steps(best)
    steps[0].add_(start)
    into = transitions.t().contiguous()
    for before, now in pairwise(steps):
        now.add_((before[: len(now), None] + into).amax(2))
    return best, into


def _check(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> None:
    size = len(start)
    shapes = [list(part.shape) for part in (emissions, transitions, start, end, lengths)]
    batch, longest = (*emissions.shape, 0, 0)[:2]
    if not size or shapes != [[batch, longest, size], [size, size], [size], [size], [batch]]:
        raise ValueError(
            "emissions [B, T, K], transitions [K, K], start [K], end [K] and lengths [B] expected, "
            f"not {', '.join(map(str, shapes))}"
        )
    if batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= longest:
        low, high = int(lengths.min()), int(lengths.max())
        raise ValueError(f"lengths are from 0 to {longest} here, not {low} to {high}")
