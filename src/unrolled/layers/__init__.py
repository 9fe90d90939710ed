"""Layers: cells over time, stacked and in both directions, and what stands around them."""

from unrolled.layers.convert import Conversion, convert
from unrolled.layers.drop_ins import GRU, LSTM, RNN
from unrolled.layers.dropout import VariationalDropout
from unrolled.layers.heads import IdentityHead, Loss, SoftmaxHead
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.session import Session

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Conversion",
    "IdentityHead",
    "Loss",
    "Recurrent",
    "Session",
    "SoftmaxHead",
    "VariationalDropout",
    "convert",
]
