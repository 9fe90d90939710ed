"""``unrolled rescore LATTICE … --model RUN``: the best readings of lattices by a trained model.

A language model, or with the source of each lattice a model of translation.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.scorers import needs_source
from unrolled.cli.searching import Others, opened
from unrolled.errors import ConfigError, DataError

if TYPE_CHECKING:
    from unrolled.decoding.lattice import Lattice

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
    others: Others = None,
    source: Path | None = None,
    n_best: int = 0,
    lm_scale: float | None = None,
    old_lm_scale: float = 0.0,
    word_penalty: float | None = None,
    exact: _Flag = False,
    history: int | None = None,
    beam: int | None = None,
) -> int:
    """Print the best reading of each lattice by a trained model, or the n best.

    Args:
        lattices: Files: HTK's standard lattice format (SLF), or a line "from to word [acoustic [language]]"
            for each arc and a blank line between lattices; also compressed (.gz).
        model: The run directory of a language model, or of a translation, whose targets the readings are.
        others: Runs whose models are averaged with it, step by step.
        source: A source for each lattice, a line each, for a translation.
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
    trained = opened(model, others)
    if not hasattr(trained, "rescore"):
        raise ConfigError(
            f"--model {model}: rescores no lattices; expected a language model or a translation"
        )
    sources = _sources(trained, model, source)
    read: Iterable[Lattice] = itertools.chain.from_iterable(map(read_lattices, lattices))
    if sources is not None:
        read = list(read)
        if len(read) != len(sources):
            raise DataError(
                f"{len(sources)} lines for {len(read)} lattices; expected one each", path=source
            )
    dropped = 0
    for number, lattice in enumerate(read):
        told = {} if sources is None else {"source": sources[number]}
        paths = trained.rescore(lattice, options, **told)
        lines = _readings(paths, number, n_best)
        dropped += len(paths) - len(lines)
        for line in lines:
            print(line, flush=True)
    if dropped:
        print(f"{dropped} readings that the model holds impossible are left out", file=sys.stderr)
    return 0


def _sources(trained: Any, model: Path, source: Path | None) -> list[str] | None:
    """A source for each lattice; None where the model reads none."""
    if not needs_source(trained):
        if source is not None:
            raise ConfigError(
                f"--model {model}: a language model reads no source; leave out --source"
            )
        return None
    if source is None:
        raise ConfigError(
            f"--model {model}: a translation is told its source; give --source FILE, a line for each "
            "lattice"
        )
    from unrolled.data.text import read_lines

    return list(read_lines(source))


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
        if math.isfinite(path.new_lm + path.score)
    ]
