"""CMUdict, letters to phonemes: an encoder and decoder with attention beside joint n-grams.

UNROLLED_DATA=FOLDER python benchmarks/claims/cmudict.py [--tune] [--only MODEL] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model: the share of words said
wrong (WER) and edits for each phoneme (PER), stress left out, any listed pronunciation right, on validation
(--tune) or test words, which a hash of each word decides. Target: a WER of at most 30 % within 30 minutes on
two cores.
"""

from __future__ import annotations

from corpora import arguments, data_folder
from labelled import measure

NETWORK = {
    "training.batch-size": "128",
    "training.learning-rate": "0.003",
    "training.max-epochs": "7",
}
MODELS = {"joint-ngram": ("joint-ngram", {}, 1), "recurrent": ("recurrent", NETWORK, 1)}


def main() -> None:
    chosen = arguments(__doc__, tune=True, models=list(MODELS))
    data = {"data.train": str(data_folder() / "cmudict" / "cmudict.gz")}
    for name, (model, options, seeds) in MODELS.items():
        if chosen.only in (None, name):
            measure(
                "cmudict",
                "transliteration",
                {name: (model, options)},
                [data],
                chosen.output,
                metrics=("wer", "per", "nats"),
                seeds=1 if chosen.tune else seeds,
                split="valid" if chosen.tune else "test",
            )


if __name__ == "__main__":
    main()
