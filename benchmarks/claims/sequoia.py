"""UD French Sequoia, parts of speech (UPOS) of gold tokens: BLSTM tagger without pretrained vectors, HMM.

UNROLLED_DATA=FOLDER python benchmarks/claims/sequoia.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder = data_folder() / "ud_french_sequoia"
    names = {"train": "train", "valid": "dev", "test": "test"}
    data = {f"data.{p}": str(folder / f"fr_sequoia-ud-{n}.conllu.gz") for p, n in names.items()}
    split = "valid" if chosen.tune else "test"
    metrics = ("accuracy", "unknown_accuracy")
    for seeds, models in ((1, {"hmm": ("hmm", {})}), (5, {"recurrent": ("recurrent", {})})):
        measure(
            "sequoia",
            "tagging",
            models,
            [data],
            chosen.output,
            metrics=metrics,
            seeds=seeds,
            split=split,
        )


if __name__ == "__main__":
    main()
