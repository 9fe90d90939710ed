"""Adding two numbers of five digits, read character by character (Zaremba & Sutskever 2014), beside n-grams.

python benchmarks/claims/addition.py [--tune] [--output runs/claims]
The same command continues an interrupted run. Prints a JSON line for each model. Needs no data.
Target: at least 99 % of the characters of the sum when those before are given, and 95 % of whole sums written
without help, on sums that were never learnt from.
"""

from __future__ import annotations

from corpora import arguments
from labelled import measure

SUMS = {"data.kind": "addition", "data.length": "5"}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    for seeds, models in (
        (1, {"ngram": ("ngram", {"data.examples": "200000"})}),
        (3, {"recurrent": ("recurrent", {})}),
    ):
        measure(
            "addition",
            "execution",
            models,
            [SUMS],
            chosen.output,
            metrics=("characters", "exact", "nats"),
            seeds=1 if chosen.tune else seeds,
            split="valid" if chosen.tune else "test",
        )


if __name__ == "__main__":
    main()
