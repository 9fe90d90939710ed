"""Schema-Guided Dialogue, a part: the system's replies by a recurrent network, n-grams and retrieval.

UNROLLED_DATA=FOLDER python benchmarks/claims/dialogue.py [--only MODEL] [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. Choices are made on a
tenth of the training dialogues, the same for every seed (--tune); measured is on the dialogues of dev.

Chosen so: retrieval by one turn (BLEU 8.16; by two 7.18) and 6-grams (3.223 nats; 5-grams 3.231). The
network's settings are not chosen yet: the minutes there were sufficed for five epochs of a smaller one,
which was at 4.06 nats and falling.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import Options, measure

MODELS: dict[str, Options] = {"retrieval": {}, "ngram": {}, "recurrent": {}}


def main() -> None:
    chosen = arguments(__doc__, tune=True, models=tuple(MODELS))
    folder = data_folder() / "sgd_dialogues"
    parts = {"train": "train"} if chosen.tune else {"train": "train", "test": "dev"}
    data = {f"data.{part}": str(folder / name) for part, name in parts.items()}
    for model, options in MODELS.items():
        if chosen.only not in (None, model):
            continue
        measure(
            "dialogue-tuned" if chosen.tune else "dialogue",
            "dialogue",
            {model: (model, options)},
            [{**data, "data.speaker": "SYSTEM"}],
            chosen.output,
            metrics=("nats", "perplexity", "bleu", "exact", "distinct_1", "distinct_2"),
            seeds=3 if model == "recurrent" else 1,
            split="valid" if chosen.tune else "test",
        )


if __name__ == "__main__":
    main()
