"""The model card: what a run directory's README.md says to whoever finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unrolled import __version__
from unrolled.config import RunConfig
from unrolled.metrics.evaluation import Evaluation


def model_card(
    config: RunConfig,
    description: Mapping[str, Any],
    evaluation: Evaluation | None,
    *,
    unit: str,
    commands: Sequence[str],
) -> str:
    """Markdown: what was trained on what, what it measured, and how to use it.

    Args:
        unit: what the evaluation counts, in the plural.
        commands: what follows ``unrolled`` in its use, with ``{run}`` for the directory's name.
    """
    name = config.output.name
    lines = [
        f"# {name}: {config.task}, {config.model_name}",
        "",
        f"Trained by unrolled {__version__} on `{config.data.train}` with seed {config.seed}. All "
        "options are in `config.toml`.",
        "",
    ]
    if evaluation is not None:
        lines += [
            f"| {evaluation.split} part, {evaluation.examples:,} {unit} | value | 95 % interval |",
            "|---|---|---|",
        ]
        for metric, value in evaluation.metrics.items():
            low, high = evaluation.intervals.get(metric, (None, None))
            interval = "" if low is None or high is None else f"{low:.4g} – {high:.4g}"
            lines.append(f"| {metric} | {value:.4g} | {interval} |")
        lines.append("")
    facts = {k: v for k, v in description.items() if not isinstance(v, (dict, list))}
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += [
        "",
        "```sh",
        *(f"unrolled {command.format(run=name)}" for command in commands),
        "```",
        "",
    ]
    return "\n".join(lines)
