"""tinyshakespeare, characters: nats of the last 10 %, settings tuned on the last 5 % of the rest.

The final models learn from the whole first 90 %, with the settings that were chosen: the end of those 90 %
is the beginning of the play that the test part goes on with, so holding it out measures something else
(``--tune`` trains that way: without the last 5 % of the training part, which choose the best weights).

Run: UNROLLED_DATA=FOLDER python benchmarks/claims/shakespeare.py [--output runs/claims] [--tune]
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
    "training.max-epochs": "12",
    "training.average": "0.998",
    "training.checkpoint-every": "1000",
}


def main() -> None:
    options = arguments(__doc__, tune=True)
    text = data_folder() / "tinyshakespeare" / "input.txt"
    valid = "0.05" if options.tune else "0"
    data = {"data.train": str(text), "data.test-share": "0.1", "data.valid-share": valid}
    output = options.output / ("shakespeare-tune" if options.tune else "shakespeare")
    runs = {
        "kneser-ney 5": train(output / "kneser-ney-5", "kneser-ney", data),
        "kneser-ney 7": train(output / "kneser-ney-7", "kneser-ney", data | {"model.order": "7"}),
        "recurrent": train(output / "recurrent", "recurrent", data | RECURRENT),
    }
    report("shakespeare", runs, "nats", split="valid" if options.tune else "test")


if __name__ == "__main__":
    main()
