"""Movie review sentences, polarity, 10-fold cross-validation: BLSTM and a bag of words and bigrams.

UNROLLED_DATA=FOLDER python benchmarks/claims/movie_reviews.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. A tenth of the nine folds is
held out to choose by.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import folds, lines, measure

RECURRENT: dict[str, str] = {}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder = data_folder() / "mr_polarity"
    rows = [
        (label, text)
        for label in ("pos", "neg")
        for text in lines(folder / f"rt-polarity.{label}.gz")
    ]
    made = folds(rows, chosen.output / "movie-reviews" / "data")
    columns = {"data.label": "1", "data.text": "2"}
    data = [columns | {"data.train": str(train), "data.test": str(test)} for train, test in made]
    models = {"bag-of-words": ("bag-of-words", {}), "recurrent": ("recurrent", RECURRENT)}
    split = "valid" if chosen.tune else "test"
    measure(
        "movie-reviews",
        "classification",
        models,
        data,
        chosen.output,
        metrics=("accuracy",),
        split=split,
    )


if __name__ == "__main__":
    main()
