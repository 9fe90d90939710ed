r"""The linear-chain conditional random field: a head that scores whole sequences of tags.

Lafferty, McCallum & Pereira (2001, "Conditional random fields"), on the scores of a recurrent network as
Lample et al. (2016, "Neural architectures for named entity recognition", section 2.2):

.. math:: \log p(y \mid x) = s(x, y) - \log \sum_{y'} e^{s(x, y')}, \qquad
          s(x, y) = a_{y_1} + \sum_t e_{t, y_t} + \sum_{t > 1} A_{y_{t-1}, y_t} + b_{y_T}

with emissions e and learned transitions A, start a and end b. Forbidden ones are minus infinity, in
training as in decoding, and are not learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unrolled.decoding import chain
from unrolled.errors import ConfigError, DataError
from unrolled.layers.heads import Loss

Allowed = tuple[Tensor, Tensor, Tensor]


class LinearChainCRF(nn.Module):
    """A chain over K tags: summed negative log-likelihood, best paths, marginals.

    Args:
        num_tags: K.
        allowed: boolean masks (start [K], transitions [K, K], end [K]), True = allowed, as of
            :func:`bio_constraints`; None allows everything. ``transitions[i, j]`` is of j after i.

    >>> crf = LinearChainCRF(3)
    >>> loss = crf.loss(torch.zeros(2, 4, 3), torch.ones(2, 4).long(), torch.tensor([4, 2]))
    >>> loss.count, round(loss.mean.item(), 4)
    (6, 1.0986)

    Raises:
        ConfigError: the masks have the wrong shape, or leave sentences of some length without a path.
    """

    start_allowed: Tensor | None
    transitions_allowed: Tensor | None
    end_allowed: Tensor | None

    def __init__(self, num_tags: int, *, allowed: Allowed | None = None) -> None:
        super().__init__()
        if num_tags < 1:
            raise ConfigError(f"a chain has at least 1 tag, not {num_tags}")
        self.num_tags = num_tags
        self.transitions = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.start = nn.Parameter(torch.zeros(num_tags))
        self.end = nn.Parameter(torch.zeros(num_tags))
        masks = (None, None, None) if allowed is None else _checked(allowed, num_tags)
        for name, mask in zip(("start", "transitions", "end"), masks, strict=True):
            self.register_buffer(f"{name}_allowed", mask)

    def loss(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Loss:
        """The summed negative log-likelihood in nats, counted by tag.

        Args:
            emissions: [B, T, K]. lengths: [B].
            tags: [B, T]. A negative one within a sentence is unknown: the likelihood is that of the
                others, summed over what it might be, and it does not count. After the end: anything.

        Raises:
            ValueError: the shapes do not fit, or a tag is K or more.
            DataError: a sentence's tags break the constraints, so that it would have no probability.
        """
        scores = self._scores()
        real = torch.arange(tags.shape[1], device=lengths.device) < lengths[:, None]
        unknown = real & (tags < 0)
        guessed = unknown.any(1)
        if emissions.dtype in (torch.float16, torch.bfloat16):
            emissions = emissions.float()
        if not bool(guessed.any()):
            gold = chain.score(emissions, tags, *scores, lengths)
        else:
            known = torch.where(unknown, 0, tags)
            gold = chain.score(emissions, known, *scores, torch.where(guessed, 0, lengths))
            rows = guessed.nonzero().squeeze(1)
            steps = torch.arange(self.num_tags, device=tags.device)
            fits = unknown[rows, :, None] | (steps == known[rows, :, None])
            some = torch.where(fits, emissions[rows], -torch.inf)
            summed = chain.log_partition(some, *scores, lengths[rows])
            gold = gold.index_add(0, rows, summed)
        if self.start_allowed is not None and bool((gold == -torch.inf).any()):
            self._explain(tags, lengths)
        nats = chain.log_partition(emissions, *scores, lengths) - gold
        return Loss(nats.sum(), int(real.sum()) - int(unknown.sum()))

    def decode(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The best path of each sentence: [B, T], int64, 0 after its end."""
        return chain.viterbi(emissions, *self._scores(), lengths)[0]

    def n_best(self, emissions: Tensor, lengths: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The n best paths [B, n, T], best first, and the logarithms of their probabilities [B, n].

        Where there are fewer allowed paths, the rest are zeros with minus infinity.
        """
        with torch.no_grad():
            scores = self._scores()
            paths, found = chain.n_best(emissions, *scores, lengths, n)
            return paths, found - chain.log_partition(emissions, *scores, lengths)[:, None]

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The probability of each tag at each position [B, T, K]; zeros after a sentence's end."""
        return chain.marginals(emissions, *self._scores(), lengths)

    def allows(self, tags: Tensor, lengths: Tensor) -> Tensor:
        """Which of the sentences of ``tags`` [B, T] keep the constraints: boolean [B].

        A negative tag, unknown, is taken to fit.
        """
        return ~self._broken(tags, lengths).any(1)

    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        pairs = (
            (self.transitions, self.transitions_allowed),
            (self.start, self.start_allowed),
            (self.end, self.end_allowed),
        )
        a, b, c = (x if ok is None else torch.where(ok, x, -torch.inf) for x, ok in pairs)
        return a, b, c

    def _broken(self, tags: Tensor, lengths: Tensor) -> Tensor:
        """[B, T + 1]: where the step to this tag (the last: to the end) is forbidden."""
        batch, longest = tags.shape
        broken = torch.zeros(batch, longest + 1, dtype=torch.bool, device=tags.device)
        if self.start_allowed is None or self.transitions_allowed is None or not longest:
            return broken
        assert self.end_allowed is not None
        real = torch.arange(longest, device=tags.device) < lengths[:, None]
        known, ids = real & (tags >= 0), tags.clamp_min(0)
        broken[:, 0] = known[:, 0] & ~self.start_allowed[ids[:, 0]]
        follows = self.transitions_allowed[ids[:, :-1], ids[:, 1:]]
        broken[:, 1:-1] = known[:, :-1] & known[:, 1:] & ~follows
        last = (lengths - 1).clamp_min(0)[:, None]
        ends = self.end_allowed[ids.gather(1, last)] | ~known.gather(1, last)
        broken.scatter_(1, lengths[:, None], ~ends | broken.gather(1, lengths[:, None]))
        return broken

    def _explain(self, tags: Tensor, lengths: Tensor) -> None:
        """Raises the error of the first sentence that breaks the constraints, if one does."""
        for row, t in self._broken(tags, lengths).nonzero().tolist():
            length = int(lengths[row])
            step = (
                f"it begins with tag {int(tags[row, 0])}"
                if t == 0
                else f"it ends with tag {int(tags[row, t - 1])}"
                if t == length
                else f"tag {int(tags[row, t])} follows tag {int(tags[row, t - 1])} at token {t + 1}"
            )
            raise DataError(
                f"sentence {row + 1} of the batch breaks the constraints on tags: {step}, which is "
                "forbidden; train without constraints, or allow what the data shows"
            )


def bio_constraints(tags: Sequence[str], seen: Iterable[Sequence[str]] = ()) -> Allowed | None:
    """The masks of tags that mark spans: BIO (B-x, I-x, O) or BIOES (also E-x, S-x; or L-x, U-x).

    Args:
        tags: the K tags by id.
        seen: sequences of tags, as of the training data. What they show is allowed, whatever the scheme
            says, so that no example has the probability zero. Strange tags in them are passed over.

    Returns:
        Boolean masks (start [K], transitions [K, K], end [K]); None unless every tag has such a form and
        one at least begins a span, or if they would leave sentences of some length without a path.

    >>> start, transitions, end = bio_constraints(["O", "B-x", "I-x"])
    >>> start.tolist(), transitions[0].tolist()  # I-x follows neither the start nor O
    ([True, True, False], [True, True, False])
    """
    parts = [tag.partition("-") for tag in tags]
    marks = {mark for mark, _, _ in parts}
    if not all(
        tag == "O" or (part[0] != "O" and part[1]) for tag, part in zip(tags, parts, strict=True)
    ):
        return None
    if not marks <= set("OBIESLU") or "B" not in marks:
        return None
    closed = bool(marks & set("ESLU"))  # spans say where they end
    inner, opens = set("IEL"), {"B", "I"}

    def follows(before: tuple[str, str, str] | None, after: tuple[str, str, str] | None) -> bool:
        if after is not None and after[0] in inner:
            return before is not None and before[0] in opens and before[2] == after[2]
        return not (closed and before is not None and before[0] in opens)

    start = torch.tensor([follows(None, part) for part in parts])
    transitions = torch.tensor([[follows(a, b) for b in parts] for a in parts])
    end = torch.tensor([follows(part, None) for part in parts])
    ids = {tag: number for number, tag in enumerate(tags)}
    for sequence in seen:
        numbers = [ids.get(tag) for tag in sequence]
        if numbers and (first := numbers[0]) is not None:
            start[first] = True
        if numbers and (last := numbers[-1]) is not None:
            end[last] = True
        for before, after in pairwise(numbers):
            if before is not None and after is not None:
                transitions[before, after] = True
    masks = (start, transitions, end)
    return masks if _dead_end(masks) is None else None


def _checked(allowed: Allowed, size: int) -> Allowed:
    start, transitions, end = (torch.as_tensor(mask, dtype=torch.bool) for mask in allowed)
    shapes = [list(mask.shape) for mask in (start, transitions, end)]
    if shapes != [[size], [size, size], [size]]:
        raise ConfigError(
            f"constraints of {size} tags are masks [{size}], [{size}, {size}] and [{size}], not {shapes}"
        )
    length = _dead_end((start, transitions, end))
    if length is not None:
        raise ConfigError(
            f"the constraints leave a sentence of length {length} without a path; allow more"
        )
    return start.clone(), transitions.clone(), end.clone()


def _dead_end(masks: Allowed) -> int | None:
    """The least length, up to 2 K, of which no path is allowed; or None."""
    start, transitions, end = masks
    if bool(
        (start & end & transitions.diagonal()).any()
    ):  # a tag alone makes paths of every length
        return None
    reached = start
    for length in range(1, 2 * len(start) + 1):
        if not bool((reached & end).any()):
            return length
        reached = (reached[:, None] & transitions).any(0)
    return None
