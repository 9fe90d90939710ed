"""Surnames of 18 languages, by their characters: BLSTM beside a chain for each language and a bag of n-grams.

UNROLLED_DATA=FOLDER python benchmarks/claims/names.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
Of the names a tenth, the same for every seed, is held out to choose by and a tenth to test on; names may
belong to several languages.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import lines, measure, write_rows


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    files = sorted((data_folder() / "names_18").glob("[A-Z]*.txt"))
    rows = [(file.stem, name.strip()) for file in files for name in lines(file) if name.strip()]
    data = {
        "data.label": "1",
        "data.text": "2",
        "data.level": "characters",
        "data.test-share": "0.1",
        "data.train": str(write_rows(chosen.output / "names" / "data" / "names.tsv", rows)),
    }
    counted = {"bag-of-words": ("bag-of-words", {}), "markov": ("markov", {})}
    for seeds, models in ((1, counted), (5, {"recurrent": ("recurrent", {})})):
        measure(
            "names",
            "classification",
            models,
            [data],
            chosen.output,
            metrics=("accuracy", "macro_f1"),
            seeds=seeds,
            split="valid" if chosen.tune else "test",
        )


if __name__ == "__main__":
    main()
