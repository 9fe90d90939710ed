"""Our n-best lists reranked with a translator of the other direction and language models: what it gains.

UNROLLED_DATA=FOLDER python benchmarks/claims/rerank.py [--output runs/claims]
Multi30k, English to German. Uses (and trains, if need be) the runs of multi30k.py with seed 0, an LSTM and a
Kneser-Ney model of the German side. Features: the search's score, log-probabilities by both translators and
both language models. Weights are tuned on the validation part, where p-values mean nothing; test_2016 is
looked at once. Prints a JSON line for each part.
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

LIST, BEAM = 50, 50
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
    ngram = train(place / "kneser-ney", "kneser-ney", text)
    for part, stem in PARTS.items():
        source, target = (files / f"{stem}.lc.norm.tok.{side}.gz" for side in ("en", "de"))
        found, best = place / f"{part}.nbest", place / f"{part}.best"
        search = (
            "predict",
            forward,
            source,
            "--length-penalty",
            str(SEARCHES["en"].length_penalty),
        )
        unrolled(*search, "--n-best", str(LIST), "--beam-size", str(BEAM), to=found)
        unrolled(*search, to=best)
        models = ("--score", f"lstm={lstm}", f"ngram={ngram}", "--reverse", f"back={backward}")
        scored = place / f"{part}.jsonl"
        if not scored.exists():
            unrolled("rerank", found, "--source", source, *models, "--save", scored)
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
