"""Our n-best lists reranked with a translator of the other direction and a language model: what it gains.

UNROLLED_DATA=FOLDER python benchmarks/claims/rerank.py [--output runs/claims]
Multi30k, English to German. Uses (and trains, if need be) the runs of multi30k.py with seed 0 and an LSTM of
the German side. Features: log-probabilities by both translators and by the language model, and the number of
words. Weights are tuned on the validation part, where p-values mean nothing, in two ways: for BLEU, and for
BLEU with the length of the beam's texts in the references' place. The first was measured on test_2016, at one
look, and lost by making the outputs longer; the second was made after that, and is judged by the parts that
had not been looked at, test_2017 and test_2018 (Flickr), together.
Prints a JSON line for each part and way, and what weights reach on fifths that they were not tuned on.

Seen on validation, where the beam of 5 has 41.44 BLEU; tuned on four fifths and applied to the last, for all
fifths and two ways to cut, and tuned on all:
- these features, lists of 50 (length penalty 2): 42.14 and 42.09; 42.50.
- these features, lists of 100 (length penalty 1): 42.07 and 42.19; 42.71.
- with a Kneser-Ney 5-gram model, too, 50: 41.41 and 41.50; 42.53. The search's score beside the
  log-probability, and no words: 41.42; 42.41. Means of weights tuned on 12 resamples: 42.10 and 41.96.
- for the length of the beam's texts, lists of 100: 41.89 and 42.01; 42.52.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from corpora import arguments, data_folder, train
from labelled import lines
from multi30k import SEARCHES, data, translator

from unrolled.metrics.bleu import bleu
from unrolled.metrics.comparison import compare

LIST, BEAM, PENALTY = 100, 100, "1"
FEATURES = ("log_prob", "lstm", "back", "words")
PARTS = {
    "valid": "val",
    "test_2016": "test_2016_flickr",
    "test_2017": "test_2017_flickr",
    "test_2018": "test_2018_flickr",
}
FRESH = ("test_2017", "test_2018")  # together what the second way is judged by
WAYS = ("for BLEU", "as long as the beam's")
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


def scored(part: str, place: Path, forward: Path, lstm: Path, backward: Path) -> Path:
    """The lists of a part with all features, and beside them the beam's texts, PART.best."""
    source = side(part, "en")
    found, best = place / f"{part}.nbest", place / f"{part}.best"
    search = ("predict", forward, source, "--length-penalty")
    wide = ("--n-best", str(LIST), "--beam-size", str(BEAM))
    unrolled(*search, PENALTY, *wide, to=found)
    unrolled(*search, str(SEARCHES["en"].length_penalty), to=best)
    models = ("--score", f"lstm={lstm}", "--reverse", f"back={backward}")
    lists = place / f"{part}.jsonl"
    if not lists.exists():
        given = ("--source", source, *models, "--features", *FEATURES)
        unrolled("rerank", found, *given, "--save", lists)
    return lists


def side(part: str, language: str) -> Path:
    """The texts of a part in a language."""
    return data_folder() / "multi30k_en_de" / "tok" / f"{PARTS[part]}.lc.norm.tok.{language}.gz"


def report(place: Path, way: str, *parts: str) -> None:
    """Prints the scores of what that way chose in these parts together, beside the beam's."""
    systems = [[side(part, "de") for part in parts]]
    systems += [[place / f"{part}.{name}" for part in parts] for name in (way, "best")]
    rows = [[[line] for path in paths for line in lines(path)] for paths in systems]
    words = [sum(len(text.split()) for [text] in texts) for texts in rows]
    compared = compare("text", *rows, metrics=("bleu",), language="de")
    gain = compared.differences["bleu"]
    row = {
        "claim": "rerank",
        "split": " and ".join(parts),
        "tuned": way,
        "reranked": round(compared.metrics[0]["bleu"], 2),
        "beam of 5": round(compared.metrics[1]["bleu"], 2),
        "gain": round(gain.difference, 2),
        "interval": [round(gain.low, 2), round(gain.high, 2)],
        "p bootstrap": gain.p_value,
        "p swaps": compared.randomised["bleu"],
        "words, % of the references'": [round(100 * each / words[0], 1) for each in words[1:]],
    }
    print(json.dumps(row), flush=True)


def cross_validated(place: Path, way: str, cut: int, folds: int = 5) -> None:
    """Prints the score on validation of weights that are tuned on the other four fifths of it."""
    names = ("valid.jsonl", "valid.best")
    lists, best, truth = (
        list(lines(p)) for p in (*(place / n for n in names), side("valid", "de"))
    )
    chosen = [""] * len(lists)
    work = place / "fold"
    work.mkdir(exist_ok=True)
    for fold in np.array_split(np.random.default_rng(cut).permutation(len(lists)), folds):
        held = np.zeros(len(lists), dtype=bool)
        held[fold] = True
        for name, rows in (("lists.jsonl", lists), ("best", best), ("truth", truth)):
            kept = [row for row, out in zip(rows, held, strict=True) if not out]
            (work / name).write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")
        rest = [row for row, out in zip(lists, held, strict=True) if out]
        (work / "held.jsonl").write_text("".join(f"{row}\n" for row in rest), encoding="utf-8")
        tuning = ("rerank", work / "lists.jsonl", "--tune", "--references", work / "truth")
        same = () if way == WAYS[0] else ("--lengths", work / "best")
        unrolled(*tuning, *same, "--weights", work / "weights.json")
        applied = ("--weights", work / "weights.json", "--output", work / "held")
        unrolled("rerank", work / "held.jsonl", *applied)
        for number, text in zip(np.flatnonzero(held), lines(work / "held"), strict=True):
            chosen[number] = text
    score, beam = (round(bleu(texts, [truth]).score, 2) for texts in (chosen, best))
    row = {"claim": "rerank", "split": "valid, by fifths", "cut": cut, "tuned": way}
    print(json.dumps(row | {"reranked": score, "beam of 5": beam}), flush=True)


def main() -> None:
    output = arguments(__doc__).output
    place = output / "rerank"
    place.mkdir(parents=True, exist_ok=True)
    forward, backward = (translator(output, *way) for way in (("en", "de"), ("de", "en")))
    text = {"data.level": "words", "data.min-count": "2"}
    files = data_folder() / "multi30k_en_de" / "tok"
    text |= {f"data.{p}": str(files / f"{stem}.lc.norm.tok.de.gz") for p, stem in data().items()}
    lstm = train(place / "lstm", "recurrent", text | LSTM)
    lists = {part: scored(part, place, forward, lstm, backward) for part in PARTS}
    for way in WAYS:
        weights = place / f"{way}.json"
        tuning = ("rerank", lists["valid"], "--tune", "--references", side("valid", "de"))
        same = () if way == WAYS[0] else ("--lengths", place / "valid.best")
        if not weights.exists():
            unrolled(*tuning, *same, "--weights", weights)
        print(json.dumps({"tuned": way} | json.loads(weights.read_text())["weights"]), flush=True)
        for part in PARTS:
            chosen = place / f"{part}.{way}"
            unrolled("rerank", lists[part], "--weights", weights, "--output", chosen)
            report(place, way, part)
        report(place, way, *FRESH)
        for cut in range(2):
            cross_validated(place, way, cut)


if __name__ == "__main__":
    main()
