"""``unrolled rerank NBEST``: the best of each list by weighted features."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.parameters import MANY
from unrolled.cli.scorers import named_runs, with_scores
from unrolled.errors import DataError

if TYPE_CHECKING:
    from unrolled.decoding.rerank import Floats, NBest

_Several = Annotated[tuple[str, ...], MANY]
_Files = Annotated[tuple[Path, ...], MANY]
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``rerank`` App."""
    return single(rerank, "rerank")


def rerank(
    nbest: Path,
    /,
    *,
    tune: _Flag = False,
    references: _Files = (),
    lengths: Path | None = None,
    weights: Path | None = None,
    score: _Several = (),
    reverse: _Several = (),
    source: Path | None = None,
    features: _Several = (),
    output: Path | None = None,
    save: Path | None = None,
    seed: int = 0,
) -> int:
    """Choose the best of each n-best list by weighted features, or tune the weights.

    Args:
        nbest: The lists: a candidate a line (ID ||| TEXT ||| NAME= VALUE …), or a JSON object a line
            with "candidates"; also compressed (.gz).
        tune: Find the weights that maximise BLEU against the references.
        references: One or more files with a reference for each list, tokenised as the candidates.
        lengths: With --tune: texts, a line for each list, whose words count as the references' length, so
            that the chosen texts become as long as these; such as the answers of the search alone.
        weights: JSON; read, or with --tune written (to the standard output when absent).
        score: NAME=RUN: a feature of log-probabilities by a trained model of the language, or of
            the target given the source.
        reverse: NAME=RUN: log-probabilities of the source, by a model trained in the other direction.
        source: A source for each list, a line each, for models that need one.
        features: Use these features alone; the number of words, called words, may be one.
        output: Write the best texts here, a line for each list; to the standard output when absent.
        save: Write the lists with all features here, as JSONL, so that they need not be scored again.
        seed: Of tuning's random weights.
    """
    if not tune and weights is None and save is None:
        raise UsageError("give --weights FILE, or --tune to find them, or --save FILE")
    if tune and not references:
        raise UsageError("--tune needs --references FILE …")
    if tune and output is not None:
        raise UsageError("--tune writes no texts; give --weights FILE instead of --output")
    if lengths is not None and not tune:
        raise UsageError("--lengths is for --tune")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    models = [
        ("--score", named_runs("--score", score)),
        ("--reverse", named_runs("--reverse", reverse)),
    ]
    if save is not None and weights is None and not tune and (output is not None or references):
        flag = "--output" if output is not None else "--references"
        raise UsageError(f"{flag} needs --weights or --tune; --save alone chooses no text")
    from unrolled.data.nbest import nbest_lines, read_column, read_nbest, read_weights, save_lines

    given = None if tune or weights is None else read_weights(weights)  # complain before the work
    lists = read_nbest(nbest)
    truth = [read_column(path, len(lists), "references") for path in references]
    length = None if lengths is None else read_column(lengths, len(lists), "texts")
    if source is not None:
        lists = lists.with_sources(read_column(source, len(lists), "sources"))
    for flag, runs in models:
        lists = with_scores(lists, flag, runs)
    if features:
        lists = lists.only(features)
    if save is not None:
        save_lines(save, nbest_lines(lists))
    if tune:
        return _tune(lists, truth, length, weights, seed)
    if given is None:
        return 0
    chosen = lists.weights(given)
    if truth:
        _report(f"BLEU {_bleu(lists, truth, chosen):.2f}")
    _write(lists.best(chosen), output)
    return 0


def _tune(
    lists: NBest,
    truth: Sequence[Sequence[str]],
    length: Sequence[str] | None,
    weights: Path | None,
    seed: int,
) -> int:
    import numpy as np

    from unrolled.data.nbest import weights_text, write_weights
    from unrolled.decoding.error_rate_training import tune
    from unrolled.metrics.bleu import bleu_counts, bleu_scores

    def counts(texts: Sequence[str], numbers: Sequence[int]) -> Any:
        """What texts add to BLEU, each as the output of the list of that number."""
        if not texts:
            return np.zeros((0, 10), dtype=np.int64)
        found = bleu_counts(texts, [[each[number] for number in numbers] for each in truth])
        if length is not None:
            found[:, 1] = [len(length[number].split()) for number in numbers]
        return found

    empty = np.flatnonzero(np.diff(lists.offsets) == 0).tolist()
    rest = counts([""] * len(empty), empty).sum(0)  # of empty outputs, whatever the weights
    of_all = counts(lists.texts, lists.lists.tolist())
    found = tune(lists, of_all, lambda sums: bleu_scores(sums + rest), seed=seed)
    before, after = (_bleu(lists, truth, each) for each in (found.weights * 0, found.weights))
    if not after:
        raise DataError(
            "BLEU is 0 whatever the weights: no candidate has four words, or none has a word of its "
            "reference; give the references of these lists, tokenised alike"
        )
    _report(
        f"{len(lists):,} lists, {len(lists.texts):,} candidates: BLEU {before:.2f} by the first of each "
        f"list, {after:.2f} by the tuned weights"
    )
    facts = {"metric": "bleu", "score": after, "lists": len(lists)}
    content = weights_text(lists.names, found.weights, **facts)
    if weights is None:
        print(content, end="")
    else:
        write_weights(weights, content)
    return 0


def _bleu(lists: NBest, truth: Sequence[Sequence[str]], weights: Floats) -> float:
    """Of what the weights choose; an empty list gives an empty output."""
    from unrolled.metrics.bleu import bleu

    return bleu(lists.best(weights), truth).score


def _write(texts: Iterable[str], output: Path | None) -> None:
    if output is None:
        for text in texts:
            print(text)
    else:
        from unrolled.data.nbest import save_lines

        save_lines(output, texts)


def _report(text: str) -> None:
    print(text, file=sys.stderr)
