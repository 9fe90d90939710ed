"""What the claims on labels share: data in the forms that `unrolled train` reads, and means over seeds."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corpora import minutes, train

from unrolled.tasks import load

Row = Sequence[str]
Options = Mapping[str, str | list[str]]


def lines(path: Path) -> Iterator[str]:
    """Lines of UTF-8 text, also compressed."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:  # type: ignore[operator]
        for line in file:
            yield line.rstrip("\n")


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """TSV without a header; white space within a field becomes one space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file, "excel-tab", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        writer.writerows([" ".join(field.split()) for field in row] for row in rows)
    return path


def write_sentences(path: Path, sentences: Iterable[Iterable[Row]]) -> Path:
    """Columns with a blank line after each sentence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for sentence in sentences:
            file.writelines("\t".join(token) + "\n" for token in sentence)
            file.write("\n")
    return path


def snips(folder: Path, to: Path, part: str) -> tuple[Path, Path]:
    """A part of Snips: its slots in columns, its intents in TSV (text, intent)."""

    def of(name: str) -> list[str]:
        [path] = (folder / part).glob(f"{name}*")
        return list(lines(path))

    words, slots, intents = of("seq.in"), of("seq.out"), of("label")
    tagged = (zip(w.split(), s.split(), strict=True) for w, s in zip(words, slots, strict=True))
    return (
        write_sentences(to / f"slots.{part}.tsv", tagged),
        write_rows(to / f"intents.{part}.tsv", zip(words, intents, strict=True)),
    )


def chains(path: Path, to: Path) -> Path:
    """Protein chains in columns: residue, class."""
    sentences: list[list[Row]] = []
    begun = False
    for line in lines(path):
        token = line.split()
        if len(token) == 2 and len(token[0]) == 1:
            if not begun:
                sentences.append([])
            sentences[-1].append(token)
            begun = True
        else:  # <>, <end>, end, comments
            begun = False
    return write_sentences(to, sentences)


def phrases(path: Path, *, whole: bool) -> list[tuple[str, int]]:
    """Text and label of the trees' roots, or of all their nodes, each pair once."""
    found: dict[tuple[str, int], None] = {}
    for line in lines(path):
        stack: list[tuple[int, list[str]]] = []
        for token in re.findall(r"\(\d|[^\s()]+|\)", line):
            if token.startswith("(") and len(token) == 2:
                stack.append((int(token[1]), []))
            elif token == ")":
                label, words = stack.pop()
                if stack:
                    stack[-1][1].extend(words)
                if not (whole and stack):
                    found[" ".join(words), label] = None
            else:
                stack[-1][1].append(token)
    return list(found)


def folds(rows: Sequence[Row], to: Path, count: int = 10) -> list[tuple[Path, Path]]:
    """Files to learn from and to test on, for each of so many random folds (always the same)."""
    order = list(rows)
    random.Random(0).shuffle(order)
    made = []
    for fold in range(count):
        learnt = [row for i, row in enumerate(order) if i % count != fold]
        held = order[fold::count]
        place = to / f"fold{fold}"
        made.append((write_rows(place / "train.tsv", learnt), write_rows(place / "test.tsv", held)))
    return made


def measure(
    claim: str,
    task: str,
    models: Mapping[str, tuple[str, Options]],
    data: Sequence[Options],
    output: Path,
    *,
    metrics: Sequence[str],
    seeds: int = 1,
    split: str = "test",
    **evaluation: object,
) -> None:
    """Trains each model on each of the data sets (folds) with each seed; prints one JSON line for each model.

    Args:
        models: by name in the report: the model of the task and its options.
        data: options of the data; more than one are folds of one set.
        metrics: names of the evaluation; the mean over runs, their standard deviation, all values.
        seeds: runs with seeds 0 to seeds - 1. split: ``test``, or ``valid`` while settings are chosen.
        evaluation: what else ``evaluate`` is told.
    """
    for name, (model, options) in models.items():
        values: dict[str, list[float]] = {metric: [] for metric in metrics}
        took: list[float] = []
        for fold, where in enumerate(data):
            for seed in range(seeds):
                place = output / claim / f"{name}-{fold}-{seed}"
                run = train(place, model, {**where, **options, "seed": str(seed)}, task=task)
                scores = load(run).evaluate(split=split, **evaluation)
                found = json.loads(scores.to_json())["metrics"]
                for metric in metrics:
                    if metric in found:
                        values[metric].append(round(found[metric], 5))
                took.append(minutes(run) or 0.0)
        row: dict[str, object] = {"claim": claim, "model": name, "split": split, "runs": len(took)}
        for metric, each in values.items():
            if each:
                spread = statistics.stdev(each) if len(each) > 1 else 0.0
                row[metric] = {
                    "mean": round(statistics.mean(each), 4),
                    "sd": round(spread, 4),
                    "all": each,
                }
        print(json.dumps({**row, "minutes": round(sum(took), 1)}), flush=True)
