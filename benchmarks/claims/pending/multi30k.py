"""Multi30k, English to German and back: with attention and without, beside a dictionary, phrases and memory.

UNROLLED_DATA=FOLDER python benchmarks/claims/multi30k.py [--tune] [--only MODEL] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model: BLEU and METEOR of
lower-cased tokenised text, by a beam of 5, on validation (--tune) or test_2016.
"""

from __future__ import annotations

from pathlib import Path

from corpora import arguments, data_folder, train
from labelled import measure

NETWORK = {
    "model.encoder-cell": "lstm",
    "training.learning-rate": "2e-3",
    "training.warmup-steps": "200",
    "training.schedule": "cosine",
    "training.max-minutes": "59",
}
EPOCHS = {"en": "24", "de": "16"}  # by source: an hour on two cores, and on one
# What decides a translator without attention is its last state: it reads backwards, and is as deep as helps.
WITHOUT = {**NETWORK, "model.encoder-cell": "", "model.attention": "fixed", "data.reverse": "true"}
MODELS = {
    "attention": ("recurrent", NETWORK, 2),
    "without": ("recurrent", WITHOUT, 1),
    "phrases": ("phrases", {}, 1),
    "dictionary": ("dictionary", {}, 1),
    "retrieval": ("retrieval", {}, 1),
}


def data() -> dict[str, str]:
    """The files of each part, without their endings."""
    return {"train": "train", "valid": "val", "test": "test_2016_flickr"}


def pairs(source: str, target: str) -> dict[str, str]:
    """The options of a direction's data."""
    files = data_folder() / "multi30k_en_de" / "tok"
    found = {f"data.{part}": str(files / f"{stem}.lc.norm.tok") for part, stem in data().items()}
    return {**found, "data.source": source, "data.target": target}


def epochs(model: str, source: str) -> dict[str, str]:
    """How long a network learns; nothing for a baseline."""
    return {"training.max-epochs": EPOCHS[source]} if model == "recurrent" else {}


def translator(output: Path, source: str, target: str) -> Path:
    """The run of the network with attention and seed 0, trained if it is not there."""
    place = output / "multi30k" / f"{source}-{target} attention-0-0"
    options = {**pairs(source, target), **NETWORK, **epochs("recurrent", source), "seed": "0"}
    return train(place, "recurrent", options, task="translation")


def main() -> None:
    chosen = arguments(__doc__, tune=True, models=list(MODELS))
    split = "valid" if chosen.tune else "test"
    for name, (model, options, seeds) in MODELS.items():
        for source, target in (("en", "de"), ("de", "en")):
            if chosen.only not in (None, name):
                continue
            measure(
                "multi30k",
                "translation",
                {f"{source}-{target} {name}": (model, options | epochs(model, source))},
                [pairs(source, target)],
                chosen.output,
                metrics=("bleu", "meteor", "chrf", "nats"),
                seeds=seeds if source == "en" else 1,
                split=split,
            )


if __name__ == "__main__":
    main()
