"""Snips: slots (F1 of whole spans) by a tagger with a CRF, intents by a classifier, beside baselines.

UNROLLED_DATA=FOLDER python benchmarks/claims/snips.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure, snips

SLOTS = {"model.head": "crf"}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    split = "valid" if chosen.tune else "test"
    place = chosen.output / "snips" / "data"
    parts = {p: snips(data_folder() / "snips", place, p) for p in ("train", "valid", "test")}
    slots = {f"data.{part}": str(files[0]) for part, files in parts.items()}
    intents = {f"data.{part}": str(files[1]) for part, files in parts.items()}
    intents |= {"data.text": "1", "data.label": "2"}
    for seeds, models in (
        (1, {"slots hmm": ("hmm", {})}),
        (5, {"slots crf": ("recurrent", SLOTS), "slots softmax": ("recurrent", {})}),
    ):
        measure(
            "snips",
            "tagging",
            models,
            [slots],
            chosen.output,
            metrics=("f1",),
            seeds=seeds,
            split=split,
        )
    for seeds, models in (
        (1, {"intent bag": ("bag-of-words", {})}),
        (5, {"intent recurrent": ("recurrent", {})}),
    ):
        metrics = ("accuracy",)
        measure(
            "snips",
            "classification",
            models,
            [intents],
            chosen.output,
            metrics=metrics,
            seeds=seeds,
            split=split,
        )


if __name__ == "__main__":
    main()
