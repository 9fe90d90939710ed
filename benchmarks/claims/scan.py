"""SCAN: commands to actions, whole outputs right, on the simple, length and jump splits, beside memory.

UNROLLED_DATA=FOLDER python benchmarks/claims/scan.py [--tune] [--only MODEL] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each split and model.

Seen on validation, simple: 100.0 % with attention (12 minutes on one core), 99.94 % without (5 minutes).
"""

from __future__ import annotations

from pathlib import Path

from corpora import arguments, data_folder
from labelled import lines, measure, write_rows

SPLITS = {"simple": "simple", "length": "length", "jump": "addprim_jump"}
WORDS = {"data.level": "words", "data.no-joint": "true", "data.source": "1", "data.target": "2"}
NETWORK = {
    "training.batch-size": "16",
    "training.schedule": "cosine",
    "training.max-epochs": "10",
    "model.label-smoothing": "0",
}
MODELS = {
    "attention": ("recurrent", NETWORK, 3),
    # Lake & Baroni (2018): no attention, two layers of 200, dropout of a half
    "without": (
        "recurrent",
        {
            **NETWORK,
            "model.cell": "lstm",
            "model.attention": "none",
            "model.no-bidirectional": "true",
            "model.num-layers": "2",
            "model.hidden-size": "200",
            "model.embedding-size": "200",
            "model.dropout": "0.5",
        },
        3,
    ),
    "retrieval": ("retrieval", {}, 1),
}


def pairs(path: Path, to: Path) -> Path:
    """Commands and actions in two columns."""
    rows = (line.removeprefix("IN: ").split(" OUT: ") for line in lines(path))
    return write_rows(to, rows)


def main() -> None:
    chosen = arguments(__doc__, tune=True, models=list(MODELS))
    where = chosen.output / "scan" / "data"
    for split, file in SPLITS.items():
        data = dict(WORDS)
        for part in ("train", "test"):
            found = data_folder() / "scan" / f"tasks_{part}_{file}.txt.gz"
            data[f"data.{part}"] = str(pairs(found, where / f"{split}.{part}.tsv"))
        for name, (model, options, seeds) in MODELS.items():
            if chosen.only in (None, name):
                measure(
                    "scan",
                    "translation",
                    {f"{split} {name}": (model, options)},
                    [data],
                    chosen.output,
                    metrics=("exact",),
                    seeds=1 if chosen.tune else seeds,
                    split="valid" if chosen.tune else "test",
                )


if __name__ == "__main__":
    main()
