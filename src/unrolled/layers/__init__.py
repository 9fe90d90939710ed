"""Layers: cells over time, stacked and in both directions, and what stands around them."""

from unrolled.layers.convert import Conversion, convert
from unrolled.layers.drop_ins import GRU, LSTM, RNN
from unrolled.layers.dropout import VariationalDropout
from unrolled.layers.embedding import Spelling, TokenEmbedding
from unrolled.layers.heads import IdentityHead, LinearHead, Loss, SigmoidHead, SoftmaxHead
from unrolled.layers.pooling import POOLINGS
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.session import Session
from unrolled.layers.tag_head import TagHead, TagHeads

__all__ = [
    "GRU",
    "LSTM",
    "POOLINGS",
    "RNN",
    "Conversion",
    "IdentityHead",
    "LinearHead",
    "Loss",
    "Recurrent",
    "Session",
    "SigmoidHead",
    "SoftmaxHead",
    "Spelling",
    "TagHead",
    "TagHeads",
    "TokenEmbedding",
    "VariationalDropout",
    "convert",
]
