"""Our n-best lists reranked with a translator of the other direction and a language model: what it gains.

UNROLLED_DATA=FOLDER python benchmarks/claims/rerank.py [--output runs/claims]
Multi30k, English to German. Uses (and trains, if need be) the runs of multi30k.py with seed 0 and an LSTM of
the German side. Features: log-probabilities by both translators and by the language model, and the number of
words. Weights are tuned on the validation part, where p-values mean nothing; test_2016 is looked at once.
Prints a JSON line for each part.

Seen on validation, where the beam of 5 has 41.44 BLEU; tuned on four fifths and applied to the last, for all
fifths and two ways to cut, and tuned on all:
- these features, lists of 50 (length penalty 2): 42.14 and 42.09; 42.50.
- these features, lists of 100 (length penalty 1): 42.07 and 42.19; 42.71.
- with a Kneser-Ney 5-gram model, too, 50: 41.41 and 41.50; 42.53. The search's score beside the
  log-probability, and no words: 41.42; 42.41. Means of weights tuned on 12 resamples: 42.10 and 41.96.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from corpora import arguments, data_folder, train
from labelled import lines
from multi30k import SEARCHES, data, translator

from unrolled.metrics.comparison import compare

LIST, BEAM, PENALTY = 100, 100, "1"
FEATURES = ("log_prob", "lstm", "back", "words")
PARTS = {"valid": "val", "test": "test_2016_flickr"}
LSTM = {
    "model.embedding-size": "256",
    "model.tied": "true",
    "model.dropout": "0.5",
    "model.input-dropout": "0.3",
    "training.batch-size": "32",
    "training.window": "35",
    "training.max-epochs": "6",
}


def unrolled(*command: str | Path, to: Path | None = None) -> None:
    """Runs a command of the program; what it prints goes to a file, which then appears whole."""
    if to is not None and to.exists():
        return
    words = [sys.executable, "-m", "unrolled", *map(str, command)]
    print(" ".join(["unrolled", *words[3:]]), file=sys.stderr)
    printed = subprocess.run(words, check=True, stdout=subprocess.PIPE if to else None).stdout
    if to is not None:
        part = to.with_suffix(".part")
        part.write_bytes(printed)
        part.rename(to)


def main() -> None:
    output = arguments(__doc__).output
    place = output / "rerank"
    place.mkdir(parents=True, exist_ok=True)
    forward, backward = (translator(output, *way) for way in (("en", "de"), ("de", "en")))
    files = data_folder() / "multi30k_en_de" / "tok"
    text = {"data.level": "words", "data.min-count": "2"}
    text |= {f"data.{p}": str(files / f"{stem}.lc.norm.tok.de.gz") for p, stem in data().items()}
    lstm = train(place / "lstm", "recurrent", text | LSTM)
    for part, stem in PARTS.items():
        source, target = (files / f"{stem}.lc.norm.tok.{side}.gz" for side in ("en", "de"))
        found, best = place / f"{part}.nbest", place / f"{part}.best"
        search = ("predict", forward, source, "--length-penalty")
        wide = ("--n-best", str(LIST), "--beam-size", str(BEAM))
        unrolled(*search, PENALTY, *wide, to=found)
        unrolled(*search, str(SEARCHES["en"].length_penalty), to=best)
        models = ("--score", f"lstm={lstm}", "--reverse", f"back={backward}")
        scored = place / f"{part}.jsonl"
        if not scored.exists():
            given = ("--source", source, *models, "--features", *FEATURES)
            unrolled("rerank", found, *given, "--save", scored)
        weights = place / "weights.json"
        if part == "valid":
            unrolled("rerank", scored, "--tune", "--references", target, "--weights", weights)
        chosen = place / f"{part}.reranked"
        unrolled("rerank", scored, "--weights", weights, "--output", chosen)
        rows = [[[line] for line in lines(path)] for path in (target, chosen, best)]
        compared = compare("text", *rows, metrics=("bleu",), language="de")
        gain = compared.differences["bleu"]
        row = {
            "claim": "rerank",
            "split": part,
            "reranked": round(compared.metrics[0]["bleu"], 2),
            "beam of 5": round(compared.metrics[1]["bleu"], 2),
            "gain": round(gain.difference, 2),
            "interval": [round(gain.low, 2), round(gain.high, 2)],
            "p bootstrap": gain.p_value,
            "p swaps": compared.randomised["bleu"],
            "weights": json.loads(weights.read_text())["weights"],
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
