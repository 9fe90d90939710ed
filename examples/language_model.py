"""Train a character language model from Python, compare it with Kneser-Ney, stream a sample."""

import tempfile
from pathlib import Path

import unrolled
from unrolled.cli import main
from unrolled.data.python_reference import split

folder = Path(tempfile.mkdtemp())
text = split().train[:20_000]
(folder / "text.txt").write_text(text, encoding="utf-8")
data = ["--data.train", str(folder / "text.txt"), "--data.test-share", "0.1"]
train = ["train", "language-modelling"]

main([*train, *data, "--output", str(folder / "lstm"), "--model.hidden-size", "64",
      "--training.max-epochs", "12", "--training.learning-rate", "0.01", "--training.batch-size", "8",
      "--training.window", "32"])  # fmt: skip
main([*train, "kneser-ney", *data, "--output", str(folder / "kneser-ney")])

for name in ("lstm", "kneser-ney"):
    model = unrolled.load(folder / name)
    print(name, round(model.evaluate().metrics["bits"], 3), "bits per character")
print("".join(unrolled.load(folder / "lstm").generate(prompt="The ", length=60, seed=1)))
