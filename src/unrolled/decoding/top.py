"""The likeliest continuations of prefixes, always the same ones: equal sums go by prefix, then by token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

BLOCK = 64  # tokens: one pass finds the best of each block, and only the best blocks are searched
INSIDE = np.arange(BLOCK)


class Continuations(NamedTuple):
    """The likeliest continuations of each of S groups of prefixes, best first."""

    sums: Floats  # [S, N], with the prefix's own log-probability
    rows: Integers  # [S, N], which prefix, in 0..S*K-1
    tokens: Integers  # [S, N]
    gains: Floats  # [S, N], the token's log-probability
    finite: bool  # whether the likeliest token of every row has a finite log-probability


def continuations(scores: Floats, log_probs: Tensor, count: int) -> Continuations:
    """The ``count`` largest sums of a prefix's score and a token's log-probability, of each group.

    Args:
        scores: of the prefixes [S, K]; minus infinity forbids.
        log_probs: [S * K, V]. If NaN or infinity is among them, so that ``finite`` is False, the rest
            of the answer is right only for rows that are minus infinity throughout.
        count: N is the smaller of this and K * V.

    >>> continuations(np.array([[-0.5, 0.0]]), torch.tensor([[0.0, -1.0], [-2.0, -0.5]]), 2).rows
    array([[0, 1]])
    """
    groups, width = scores.shape
    size = log_probs.shape[1]
    count = min(count, width * size)
    more = min(count + 1, width * size)  # one more, to see whether a tie was cut
    if log_probs.dtype not in (torch.float32, torch.float64):
        log_probs = log_probs.float()
    pays = size >= 1000 and log_probs.numel() >= 30_000 and width * size >= 2 * more * BLOCK
    if pays and log_probs.device.type == "cpu":
        sums, places, finite = _searched_by_blocks(scores, log_probs.contiguous(), more)
    else:
        sums, places, finite = _searched(scores, log_probs, more)
    equal = sums[:, 1:] == sums[:, :-1]
    if equal.any():
        if more > count:
            for group in np.flatnonzero(equal[:, -1] & (sums[:, -1] > -np.inf)):
                whole = log_probs[group * width : (group + 1) * width].double().cpu().numpy()
                whole = (whole + scores[group, :, None]).ravel()
                tied = np.flatnonzero(whole >= sums[group, -1])
                places[group] = tied[np.argsort(-whole[tied], kind="stable")[:more]]
        order = np.lexsort((places, -sums))
        sums = np.take_along_axis(sums, order, axis=1)
        places = np.take_along_axis(places, order, axis=1)
    sums, places = sums[:, :count], places[:, :count]
    tokens = places % size
    rows = places // size
    if groups > 1:
        rows += np.arange(0, groups * width, width)[:, None]
    if log_probs.device.type != "cpu":
        chosen = torch.from_numpy(rows * size + tokens).to(log_probs.device)
        gains = log_probs.take(chosen).double().cpu().numpy()
    else:
        gains = log_probs.numpy()[rows, tokens].astype(np.float64)
    return Continuations(sums, rows, tokens, gains, finite)


def likeliest(log_probs: Tensor) -> tuple[Floats, Integers]:
    """The largest value of each row [R, V] and its place: the first, of equal ones; NaN above all.

    >>> likeliest(torch.tensor([[0.25, 0.5, 0.5]]))
    (array([0.5]), array([1]))
    """
    if log_probs.device.type != "cpu":
        best, where = log_probs.max(dim=1)
        return best.double().cpu().numpy(), where.cpu().numpy()
    table = (log_probs if log_probs.dtype == torch.float64 else log_probs.float()).numpy()
    places: Integers = table.argmax(1)  # several times quicker than torch's
    return table[np.arange(len(table)), places].astype(np.float64), places


def _searched(scores: Floats, log_probs: Tensor, count: int) -> tuple[Floats, Integers, bool]:
    """The largest sums of all, and where they are among the K * V of their group."""
    given = torch.from_numpy(scores).to(log_probs.device)
    sums = log_probs.double() + given.view(-1, 1)
    found, places = sums.view(len(scores), -1).topk(count, dim=1)
    finite = bool(log_probs.amax(1).isfinite().all())
    return found.cpu().numpy(), places.cpu().numpy(), finite


def _searched_by_blocks(
    scores: Floats, log_probs: Tensor, count: int
) -> tuple[Floats, Integers, bool]:
    """The same, on a processor, where ``topk`` of long rows is slow."""
    groups, size = len(scores), log_probs.shape[1]
    whole = size // BLOCK * BLOCK
    full = log_probs if whole == size else log_probs[:, :whole]
    tops = full.reshape(len(log_probs), -1, BLOCK).amax(2)
    if whole < size:
        tops = torch.cat([tops, log_probs[:, whole:].amax(1, keepdim=True)], dim=1)
    blocks = tops.shape[1]
    maxima = tops.numpy()
    peaks = maxima.max(1)
    finite = bool(peaks.min() > -np.inf and peaks.max() < np.inf)  # False for NaN too
    reach = (maxima + scores.reshape(-1, 1)).reshape(groups, -1)
    best = torch.from_numpy(reach).topk(count, dim=1, sorted=False).indices.numpy()  # [S, N]
    prefix, block = best // blocks, best % blocks
    tokens = (block * BLOCK)[:, :, None] + INSIDE
    if whole < size:
        beyond = tokens >= size
        tokens = np.minimum(tokens, size - 1)
    every = np.arange(groups)[:, None]
    places = tokens + (prefix * size)[:, :, None]  # [S, N, BLOCK], among the K * V of the group
    if groups > 1:
        few = log_probs.numpy().reshape(groups, -1)[every[:, :, None], places]
    else:
        few = log_probs.numpy().ravel()[places]
    sums = few + scores[every, prefix][:, :, None]
    if whole < size:
        sums[beyond] = -np.inf
    found, inside = torch.from_numpy(sums.reshape(groups, -1)).topk(count, dim=1)
    return found.numpy(), places.reshape(groups, -1)[every, inside.numpy()], finite
