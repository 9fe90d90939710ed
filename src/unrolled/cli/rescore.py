"""``unrolled rescore LATTICE … --model RUN``: the best readings of lattices by a trained language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.errors import ConfigError

HISTORY = 4  # words of a history that count, unless told otherwise
BEAM = 100  # histories that a node keeps, unless told otherwise
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``rescore`` App."""
    return single(rescore, "rescore")


def rescore(
    lattices: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    model: Path,
    n_best: int = 0,
    lm_scale: float | None = None,
    old_lm_scale: float = 0.0,
    word_penalty: float | None = None,
    exact: _Flag = False,
    history: int | None = None,
    beam: int | None = None,
) -> int:
    """Print the best reading of each lattice by a trained language model, or the n best.

    Args:
        lattices: Files: HTK's standard lattice format (SLF), or a line "from to word [acoustic [language]]"
            for each arc and a blank line between lattices; also compressed (.gz).
        model: The run directory of a language model.
        n_best: Print so many readings of each lattice, with their scores, as unrolled rerank reads them;
            0 is off.
        lm_scale: Factor of the model's log-probabilities; the lattice's own when absent.
        old_lm_scale: Factor of the language model scores that the lattice brings.
        word_penalty: Added for each word; the lattice's own when absent.
        exact: Give every history a state of its own, and keep all; for small lattices.
        history: Histories that agree in so many last words share a state; 4 when absent.
        beam: Keep so many histories at each node; 0 keeps all; 100 when absent.
    """
    if not lattices:
        raise UsageError("expected one or more files of lattices")
    if n_best < 0:
        raise UsageError(f"--n-best {n_best}: expected 0 or more")
    if exact and (history is not None or beam is not None):
        raise UsageError("--exact keeps all histories; leave out --history and --beam")
    from unrolled import tasks
    from unrolled.data.lattices import read_lattices
    from unrolled.decoding.lattice_rescoring import RescoringOptions

    kept = BEAM if beam is None else beam
    options = RescoringOptions(
        n_best=max(1, n_best),
        lm_scale=lm_scale,
        old_lm_scale=old_lm_scale,
        word_penalty=word_penalty,
        history=None if exact else HISTORY if history is None else history,
        beam=None if exact or kept == 0 else kept,
    )
    trained: Any = tasks.load(model)
    if not hasattr(trained, "rescore"):
        raise ConfigError(f"--model {model}: rescores no lattices; expected a language model")
    number = 0
    for path in lattices:
        for lattice in read_lattices(path):
            for line in _readings(trained.rescore(lattice, options), number, n_best):
                print(line, flush=True)
            number += 1
    return 0


def _readings(paths: Sequence[Any], number: int, n_best: int) -> list[str]:
    """One lattice's lines."""
    from unrolled.data.nbest import moses_line

    if not n_best:
        return [" ".join(paths[0].words)]
    return [
        moses_line(
            number,
            " ".join(path.words),
            {
                "acoustic": path.acoustic,
                "old_lm": path.old_lm,
                "lm": path.new_lm,
                "words": len(path.words),
            },
            path.score,
        )
        for path in paths
    ]
