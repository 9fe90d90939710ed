"""tinyshakespeare, characters: nats of the last 10 %, everything tuned on the last 5 % of the rest.

Run: UNROLLED_DATA=FOLDER python benchmarks/claims/shakespeare.py [--output runs/claims]
The same command continues an interrupted run. Prints one JSON line.
"""

from __future__ import annotations

from corpora import arguments, data_folder, report, train

RECURRENT = {
    "model.num-layers": "2",
    "model.hidden-size": "512",
    "model.embedding-size": "128",
    "model.dropout": "0.4",
    "training.batch-size": "32",
    "training.window": "64",
    "training.learning-rate": "0.002",
    "training.warmup-steps": "100",
    "training.max-epochs": "14",
    "training.average": "0.998",
    "training.checkpoint-every": "1000",
}


def main() -> None:
    options = arguments(__doc__)
    text = data_folder() / "tinyshakespeare" / "input.txt"
    data = {"data.train": str(text), "data.test-share": "0.1", "data.valid-share": "0.05"}
    output = options.output / "shakespeare"
    runs = {
        "kneser-ney 5": train(output / "kneser-ney-5", "kneser-ney", data),
        "kneser-ney 7": train(output / "kneser-ney-7", "kneser-ney", data | {"model.order": "7"}),
        "recurrent": train(output / "recurrent", "recurrent", data | RECURRENT),
    }
    report("shakespeare", runs, "nats")


if __name__ == "__main__":
    main()
