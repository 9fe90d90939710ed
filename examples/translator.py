"""Teach a network to say numbers in words: how it does on numbers never seen, and where it looks."""

import random
import tempfile
from pathlib import Path

import torch

import unrolled
from unrolled.cli import main
from unrolled.data.segment import START

NAMES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen _ _ twenty thirty forty fifty sixty seventy eighty ninety"""
ONES, TENS = NAMES.split()[:20], NAMES.split()[20:]


def said(n: int) -> str:
    if n >= 100:
        return f"{ONES[n // 100]} hundred {said(n % 100) if n % 100 else ''}".rstrip()
    return ONES[n] if n < 20 else f"{TENS[n // 10]} {ONES[n % 10] if n % 10 else ''}".rstrip()


folder, numbers = Path(tempfile.mkdtemp()), random.Random(0).sample(range(1000), 1000)
(folder / "pairs.tsv").write_text("".join(f"{n}\t{said(n)}\n" for n in numbers))
main(["train", "translation", "--data.train", str(folder / "pairs.tsv"), "--data.source", "1",
      "--data.target", "2", "--data.level", "characters", "--data.target-level", "words",
      "--data.test-share", "0.2", "--model.hidden-size", "64", "--model.embedding-size", "32",
      "--training.learning-rate", "0.005", "--training.batch-size", "32", "--training.average", "0",
      "--training.max-epochs", "15", "--model.dropout", "0.1", "--output", str(folder / "run")])  # fmt: skip
trained = unrolled.load(folder / "run")
print(f"whole numbers right, of those held out: {trained.evaluate().metrics['exact']:.1%}")

network, last = trained.model, START
state = network.start(["439"])
for word in network.encoder.target.encode(said(439)):  # a column for each digit and one for the end
    _, state = network.steps.step(torch.tensor([last]), state)
    looked = network.model.attention(state)[0].detach().numpy().round(2)
    print(f"{network.encoder.target.decode([word]):>8}", looked)
    last = word
