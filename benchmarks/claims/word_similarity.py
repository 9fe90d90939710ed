"""Vectors of words from small texts (skip-gram, CBOW, GloVe, PPMI-SVD) on judged similarities and analogies.

UNROLLED_DATA=FOLDER python benchmarks/claims/word_similarity.py [--only MODEL] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each text and model: means over three
seeds. Texts: Brown (1.16M words) and tinyshakespeare (speeches, words split from punctuation). Options were
chosen by MEN on Brown, which is therefore no test.
"""

from __future__ import annotations

import gzip
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

from corpora import arguments, data_folder, minutes, train
from labelled import lines

from unrolled.tasks import load

SIMILARITY = ("WS-353-ALL", "WS-353-SIM", "WS-353-REL", "SIMLEX-999", "MEN-TR-3k", "RG-65", "MC-30")
MODELS: dict[str, dict[str, str]] = {
    "skip-gram": {},
    "cbow": {},
    "glove": {"training.max-epochs": "8"},
    "ppmi-svd": {"model.negative": "5"},
}
SEEDS = 3


def brown(folder: Path) -> Iterator[str]:
    for part in ("train", "valid", "test"):
        yield from lines(folder / "brown_lm" / f"{part}.txt.gz")


def shakespeare(folder: Path) -> Iterator[str]:
    for line in lines(folder / "tinyshakespeare" / "input.txt"):
        yield " ".join(re.findall(r"\w+(?:'\w+)*|[^\w\s]", line))


def speeches(texts: Iterator[str]) -> Iterator[str]:
    """Speeches instead of the lines of verse: they end with an empty line."""
    held: list[str] = []
    for text in texts:
        if text:
            held.append(text)
        elif held:
            yield " ".join(held)
            held = []
    yield " ".join(held)


def written(path: Path, texts: Iterator[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for text in texts:
            file.write(text.encode() + b"\n")
    return path


def measured(run: Path, folder: Path) -> dict[str, float]:
    trained = load(run)
    found: dict[str, float] = {}
    for name in SIMILARITY:
        evaluation = trained.evaluate(folder / "word_similarity" / f"EN-{name}.txt")
        found[name] = evaluation.metrics["spearman"]
        found[f"{name} pairs"] = evaluation.examples
    evaluation = trained.evaluate(folder / "word_analogies" / "questions-words.txt.gz")
    names = ("semantic", "syntactic", "accuracy", "accuracy_mul")
    found |= {name: evaluation.metrics.get(name, 0.0) for name in names}
    return found | {"questions": evaluation.examples, "minutes": minutes(run) or 0.0}


def main() -> None:
    chosen = arguments(__doc__, models=tuple(MODELS))
    folder, output = data_folder(), chosen.output / "word-similarity"
    texts = {"brown": brown(folder), "shakespeare": speeches(shakespeare(folder))}
    for text, given in texts.items():
        data = {"data.train": str(written(output / "data" / f"{text}.txt.gz", given))}
        for model in [chosen.only] if chosen.only else MODELS:
            rows = []
            for seed in range(SEEDS):
                run = train(
                    output / text / f"{model}-{seed}",
                    model,
                    {**data, **MODELS[model], "seed": str(seed)},
                    task="embeddings",
                )
                rows.append(measured(run, folder))
            found: dict[str, object] = {"claim": "word_similarity", "text": text, "model": model}
            for name in rows[0]:
                values = [row[name] for row in rows]
                found[name] = round(statistics.mean(values), 4)
                if name in SIMILARITY:
                    found[f"{name} deviation"] = round(statistics.stdev(values), 4)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
