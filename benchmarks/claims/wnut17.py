"""WNUT-17, emerging entities (F1 of whole spans), without pretrained vectors: with a CRF, without one, HMM.

UNROLLED_DATA=FOLDER python benchmarks/claims/wnut17.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    folder = data_folder() / "wnut17_ner"
    names = {
        "train": "wnut17train.conll",
        "valid": "emerging.dev.conll",
        "test": "emerging.test.annotated",
    }
    data = {f"data.{part}": str(folder / f"{name}.gz") for part, name in names.items()}
    split = "valid" if chosen.tune else "test"
    for seeds, models in (
        (1, {"hmm": ("hmm", {})}),
        (5, {"crf": ("recurrent", {"model.head": "crf"}), "softmax": ("recurrent", {})}),
    ):
        metrics = ("f1", "precision", "recall")
        measure(
            "wnut17",
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
