"""Protein secondary structure, 3 classes of residues (Q3): BLSTM beside a window of 13.

UNROLLED_DATA=FOLDER python benchmarks/claims/protein.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
A tenth of the training chains
is held out to choose by.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import chains, measure

SHARED = {"model.word-dropout": "0", "training.max-epochs": "40", "training.batch-size": "8"}
WINDOW = SHARED | {"model.window": "13", "model.word-size": "0", "model.hidden-size": "40"}
RECURRENT = SHARED | {
    "model.character-hidden": "0",
    "model.word-size": "32",
    "model.hidden-size": "64",
    "model.dropout": "0.5",
}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder, place = data_folder() / "protein_ss", chosen.output / "protein" / "data"
    name = "protein-secondary-structure"
    data = {
        f"data.{p}": str(chains(folder / f"{name}.{p}", place / f"{p}.tsv"))
        for p in ("train", "test")
    }
    split = "valid" if chosen.tune else "test"
    models = {"window": ("window", WINDOW), "recurrent": ("recurrent", RECURRENT)}
    measure(
        "protein",
        "tagging",
        models,
        [data],
        chosen.output,
        metrics=("accuracy",),
        seeds=5,
        split=split,
    )


if __name__ == "__main__":
    main()
