"""Brown, the 16,000 most frequent training words: LSTM, Kneser-Ney 5-gram and their mixture.

Line ends and <unk> are symbols like any other, for every model. Run:
UNROLLED_DATA=FOLDER python benchmarks/claims/brown.py [--output runs/claims]
The same command continues an interrupted run. Prints one JSON line.
"""

from __future__ import annotations

from corpora import arguments, data_folder, report, train

RECURRENT = {
    "model.hidden-size": "512",
    "model.embedding-size": "256",
    "model.tied": "true",
    "model.dropout": "0.5",
    "model.input-dropout": "0.3",
    "model.embedding-dropout": "0.1",
    "training.batch-size": "32",
    "training.window": "35",
    "training.learning-rate": "0.002",
    "training.warmup-steps": "100",
    "training.max-epochs": "5",
    "training.average": "0.998",
    "training.checkpoint-every": "500",
}


def main() -> None:
    options = arguments(__doc__)
    folder = data_folder() / "brown_lm"
    data = {f"data.{part}": str(folder / f"{part}.txt.gz") for part in ("train", "valid", "test")}
    data |= {"data.level": "words", "data.vocabulary-size": "16000"}
    output = options.output / "brown"
    runs = {
        "kneser-ney 5": train(output / "kneser-ney-5", "kneser-ney", data),
        "recurrent": train(output / "recurrent", "recurrent", data | RECURRENT),
    }
    members = {"model.runs": [str(run) for run in runs.values()]}
    runs["mixture"] = train(output / "mixture", "mixture", data | members)
    report("brown", runs, "perplexity")


if __name__ == "__main__":
    main()
