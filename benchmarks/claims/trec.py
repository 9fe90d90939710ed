"""TREC questions, 6 coarse classes: BLSTM and a bag of words and bigrams.

UNROLLED_DATA=FOLDER python benchmarks/claims/trec.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. A tenth of the training
questions is held out to choose by.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import lines, measure, write_rows

RECURRENT: dict[str, str] = {}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder, place = data_folder() / "trec_questions", chosen.output / "trec" / "data"
    data = {"data.label": "1", "data.text": "2"}
    for part, name in (("train", "train.txt.gz"), ("test", "test.txt")):
        rows = (line.split(" ", 1) for line in lines(folder / name))
        coarse = ((label.split(":")[0], question) for label, question in rows)
        data[f"data.{part}"] = str(write_rows(place / f"{part}.tsv", coarse))
    models = {
        "bag-of-words": ("bag-of-words", {}),
        "markov": ("markov", {}),
        "recurrent": ("recurrent", RECURRENT),
    }
    split = "valid" if chosen.tune else "test"
    measure(
        "trec",
        "classification",
        models,
        [data],
        chosen.output,
        metrics=("accuracy",),
        seeds=5,
        split=split,
    )


if __name__ == "__main__":
    main()
