"""Multi30k without attention, English to German and back: what multi30k.py leaves out until it is tuned.

UNROLLED_DATA=FOLDER PYTHONPATH=benchmarks/claims python benchmarks/claims/pending/multi30k_without.py
[--tune] [--output runs/claims]. The same command continues an interrupted run. Prints a JSON line for each
direction.
"""

from __future__ import annotations

from corpora import arguments
from labelled import measure
from multi30k import METRICS, NETWORK, SEARCHES, directed, pairs

# One vector of the source, read backwards, beside every input.
WITHOUT = {**NETWORK, "model.encoder-cell": "", "model.attention": "fixed", "data.reverse": "true"}


def main() -> None:
    chosen = arguments(__doc__, tune=True)
    for source, target in (("en", "de"), ("de", "en")):
        measure(
            "multi30k",
            "translation",
            {f"{source}-{target} without": ("recurrent", directed(WITHOUT, source))},
            [pairs(source, target)],
            chosen.output,
            metrics=METRICS,
            split="valid" if chosen.tune else "test",
            search=SEARCHES[source],
        )


if __name__ == "__main__":
    main()
