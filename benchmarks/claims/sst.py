"""Stanford Sentiment Treebank, 2 and 5 classes, trained on all phrases: BLSTM and a bag of n-grams.

UNROLLED_DATA=FOLDER python benchmarks/claims/sst.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. Tested on whole sentences.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure, phrases, write_rows

RECURRENT = {"training.max-epochs": "3", "training.batch-size": "64"}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder, place = data_folder() / "sst_trees", chosen.output / "sst" / "data"
    found = {
        part: phrases(folder / f"{name}.txt.gz", whole=part != "train")
        for part, name in (("train", "train"), ("valid", "dev"), ("test", "test"))
    }
    split = "valid" if chosen.tune else "test"
    for classes in (2, 5):
        data = {"data.label": "1", "data.text": "2"}
        for part, pairs in found.items():
            rows = [(str(label), text) for text, label in pairs]
            if classes == 2:
                signs = {"0": "negative", "1": "negative", "3": "positive", "4": "positive"}
                rows = [(signs[label], text) for label, text in rows if label != "2"]
            data[f"data.{part}"] = str(
                write_rows(place / f"{part}{classes}.tsv", dict.fromkeys(rows))
            )
        for seeds, name, options in ((1, "bag-of-words", {}), (3, "recurrent", RECURRENT)):
            measure(
                "sst",
                "classification",
                {f"{name} {classes}": (name, options)},
                [data],
                chosen.output,
                metrics=("accuracy",),
                seeds=1 if chosen.tune else seeds,
                split=split,
            )


if __name__ == "__main__":
    main()
