"""Primate splice junctions (DNA), 3 classes, 10-fold cross-validation: BLSTM beside window, chains, n-grams.

UNROLLED_DATA=FOLDER python benchmarks/claims/splice.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. A tenth of the nine folds is
held out to choose by.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import folds, lines, measure

RECURRENT = {"training.max-epochs": "20"}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    rows = [
        line.split("\t") for line in lines(data_folder() / "splice_junctions" / "splice.tsv.gz")
    ][1:]
    for row in rows:
        row.append(" ".join(f"{place}{base}" for place, base in enumerate(row[2])))
    made = folds(rows, chosen.output / "splice" / "data")
    columns = {"data.label": "1", "data.text": "3", "data.level": "symbols"}
    data = [columns | {"data.train": str(train), "data.test": str(test)} for train, test in made]
    models = {
        "bag-of-words": ("bag-of-words", {}),
        "markov": ("markov", {}),
        "window": ("window", {}),
        "recurrent": ("recurrent", RECURRENT),
    }
    # The only one but the network that knows places: a logistic regression on each base at its place.
    places = [{**of, "data.text": "4", "data.level": "words"} for of in data]
    split = "valid" if chosen.tune else "test"
    for of, chosen_models in (
        (places, {"places": ("bag-of-words", {"model.ngrams": "1"})}),
        (data, models),
    ):
        measure(
            "splice",
            "classification",
            chosen_models,
            of,
            chosen.output,
            metrics=("accuracy",),
            split=split,
        )


if __name__ == "__main__":
    main()
