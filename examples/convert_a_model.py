"""One line turns a PyTorch model's recurrent layers into unrolled's: ragged batches and sessions."""

import torch
from torch import nn

import unrolled


class Tagger(nn.Module):
    """A model as one finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.encoder = nn.LSTM(16, 32, num_layers=2, batch_first=True)
        self.output = nn.Linear(32, 5)

    def forward(self, words, **options):
        return self.output(self.encoder(self.embedding(words), **options)[0])


model = Tagger().eval()
words = torch.randint(0, 100, (3, 7))
before = model(words)
print(unrolled.convert(model))
assert torch.allclose(model(words), before, atol=1e-6)

ragged = model(words, lengths=[7, 4, 2])  # no sorting, no packing
assert torch.allclose(ragged[1, :4], model(words[1:2, :4])[0], atol=1e-6)

session = model.encoder.session(batch_size=3)  # one word at a time, state kept in an object
for t in range(7):
    h = session.step(model.embedding(words[:, t]))
assert torch.allclose(model.output(h), before[:, -1], atol=1e-6)
print("streamed and whole agree")
