"""``unrolled compare-outputs REFERENCE A B``: two systems on the same examples, and whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from unrolled.cli import UsageError, single
from unrolled.cli.parameters import MANY

if TYPE_CHECKING:
    from unrolled.metrics.comparison import Comparison

_Kind = Literal["auto", "labels", "tags", "spans", "numbers", "text"]
_Metric = Literal["bleu", "meteor", "chrf", "ter", "wer", "exact"]
_Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


def command(arguments: Sequence[str] = ()) -> App:
    """The ``compare-outputs`` App."""
    return single(compare_outputs, "compare-outputs")


def compare_outputs(
    reference: Path,
    a: Path,
    b: Path | None = None,
    /,
    *,
    kind: _Kind = "auto",
    column: str | None = None,
    references: Annotated[tuple[Path, ...], MANY] = (),
    metrics: Annotated[tuple[_Metric, ...], MANY] = (),
    language: str = "en",
    samples: int = 2000,
    seed: int = 0,
    as_json: _Json = False,
) -> int:
    """Score one or two files of answers against the truth, and say whether the two differ.

    Each file holds a label, a number or the tags of a sentence on each line, or columns (CoNLL-U too)
    with a blank line between sentences; with --kind text a translation or another text, its tokens parted
    by spaces, on each line; also compressed (.gz).

    Args:
        reference: The true answers.
        a: What the first system answered.
        b: What the second system answered; without it the first alone is scored.
        kind: What the answers are; seen by their form when auto, which never takes them for texts.
        column: Of files with columns, the tags': its number from 1, or from the end with a minus; the
            last, or upos in CoNLL-U, when absent.
        references: Of texts, further files of true answers, one or more.
        metrics: Of texts, a score to report, the chief one first; one or more. All when absent.
        language: Of texts, whose stems METEOR compares: a two-letter code or a name.
        samples: Draws of the bootstrap, and swaps of the test by randomisation.
        seed: Equal seeds draw equal samples.
        as_json: Print one line of JSON.
    """
    if samples < 1:
        raise UsageError(f"--samples {samples}: expected 1 or more")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    if kind != "text" and (references or metrics or language != "en"):
        given = "--references" if references else "--metrics" if metrics else "--language"
        raise UsageError(f"{given}: expected only with --kind text")
    from unrolled.data.outputs import read_outputs, read_texts
    from unrolled.metrics.comparison import Kind, compare

    found: Kind
    systems = [a] if b is None else [a, b]
    if kind == "text":
        found, files = "text", read_texts([reference, *references], *systems)
    else:
        found, files = read_outputs(reference, *systems, kind=kind, column=column)
    truth, one, *two = (each.rows for each in files)
    comparison = compare(
        found,
        *(truth, one, two[0] if two else one),
        samples=samples,
        seed=seed,
        metrics=metrics or None,
        language=language,
    )
    if two:
        print(comparison.to_json() if as_json else report(comparison))
    else:
        print(alone(comparison, as_json=as_json))
    return 0


def alone(comparison: Comparison, *, as_json: bool) -> str:
    """The scores of A: a line each, or one of JSON."""
    from unrolled.metrics.evaluation import json_line

    metrics, intervals = comparison.metrics[0], comparison.intervals[0]
    if as_json:
        content = {"kind": comparison.kind, "examples": comparison.examples, "metrics": metrics}
        return json_line({**content, "intervals": intervals, "notes": comparison.notes})
    width = max(map(len, metrics))
    scores = [
        f"{name:{width}}  {_interval(name, metrics[name], intervals[name])}" for name in metrics
    ]
    return "\n".join([_heading(comparison), *scores, *comparison.notes])


def _heading(comparison: Comparison) -> str:
    unit = "sentences" if comparison.kind in ("tags", "spans") else "examples"
    return f"{comparison.kind}, {comparison.examples} {unit}"


def report(comparison: Comparison) -> str:
    """A comparison as a table and a sentence."""
    from unrolled.metrics.comparison import shown

    swaps = ("p (swaps)",) if comparison.randomised else ()
    rows: list[tuple[str, ...]] = [("", "A", "B", "A − B", "p", *swaps)]
    for name, found in comparison.differences.items():
        scores = [
            _interval(name, metrics[name], intervals[name])
            for metrics, intervals in zip(comparison.metrics, comparison.intervals, strict=True)
        ]
        difference = _interval(name, found.difference, (found.low, found.high), sign="+")
        p_values = [found.p_value, *(comparison.randomised[name] for _ in swaps)]
        shorter = (shown(p_value).removeprefix("= ") for p_value in p_values)
        rows.append((name, *scores, difference, *shorter))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_heading(comparison)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    if (test := comparison.mcnemar) is not None:
        what = "labels" if comparison.kind == "labels" else "tags"
        lines.append(
            f"McNemar, {what} that only A has right: {test.only_first}, only B: {test.only_second}; "
            f"exact p {shown(test.exact)}, by chi-square with correction {shown(test.corrected)}"
        )
    return "\n".join([*lines, *comparison.notes, comparison.conclusion()])


def _interval(name: str, value: float, ends: tuple[float, float], *, sign: str = "") -> str:
    from unrolled.metrics.comparison import written

    middle, low, high = (written(name, each, sign=sign) for each in (value, *ends))
    return f"{middle} [{low}, {high}]"
