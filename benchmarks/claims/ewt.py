"""UD English EWT, parts of speech (UPOS) of gold tokens: BLSTM tagger without pretrained vectors, HMM.

UNROLLED_DATA=FOLDER python benchmarks/claims/ewt.py [--only hmm|recurrent] [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure


def main() -> None:
    chosen = arguments(__doc__, tune=True, models=("hmm", "recurrent"))
    folder = data_folder() / "ud_english_ewt"
    names = {"train": "train", "valid": "dev", "test": "test"}
    data = {f"data.{p}": str(folder / f"en_ewt-ud-{n}.conllu.gz") for p, n in names.items()}
    split = "valid" if chosen.tune else "test"
    metrics = ("accuracy", "unknown_accuracy")
    for model, seeds in (("hmm", 1), ("recurrent", 3)):
        if chosen.only not in (None, model):
            continue
        models = {model: (model, {})}
        measure(
            "ewt",
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
