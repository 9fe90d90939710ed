"""Words cut anew: the same text, as without dropout at rate 0, and equal draws in equal places."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.recut import WAYS, Recutter
from unrolled.data.segment import Kind, Segmenter
from unrolled.errors import ConfigError

SONG = "row row row your boat gently down the stream merrily merrily life is but a dream"
SEGMENTER = Segmenter.fit([SONG], kind="bpe", size=60)

texts = st.text(alphabet="rowmeily stadn☂<", max_size=40)


@given(texts)
def test_without_dropout_it_is_the_segmenter(text: str) -> None:
    assert Recutter(SEGMENTER, 0.0, seed=0).encode(text) == SEGMENTER.encode(text)


@given(texts, st.sampled_from([0.1, 0.5, 0.99]))
def test_a_cut_is_the_same_text(text: str, rate: float) -> None:
    found = Recutter(SEGMENTER, rate, seed=0).encode(text)
    assert SEGMENTER.decode(found) == SEGMENTER.decode(SEGMENTER.encode(text))
    assert found.count(0) == SEGMENTER.encode(text).count(0)  # unknown ones are not cut


def test_equal_seeds_draw_equal_cuts() -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(1)
        recutter = Recutter(SEGMENTER, 0.5, seed=seed)
        recutter.encode("dream")  # what was cut before does not matter to what a word's cuts are
        torch.manual_seed(2)
        drawn.append([recutter.encode(SONG) for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({tuple(ids) for ids in drawn[0]}) == 3


def test_more_dropout_more_pieces() -> None:
    counts = [
        sum(len(Recutter(SEGMENTER, rate, seed=0).encode(SONG)) for _ in range(20))
        for rate in (0.0, 0.1, 0.4, 0.9)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 20 * len(SEGMENTER.encode(SONG))
    assert counts[-1] > 0.8 * 20 * len(SONG)


def test_a_join_is_left_out_with_its_probability() -> None:
    """Of a word that one join makes, 1 - p of all cuts are whole."""
    segmenter = Segmenter.fit(["b b"], kind="bpe", size=6)  # the pieces " ", "b" and " b"
    ways = 0
    for seed in range(60):
        recutter = Recutter(segmenter, 0.25, seed=seed)
        ways += sum(len(way) == 1 for way in recutter._ways_of("b"))
    share = ways / (60 * WAYS)
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / (60 * WAYS)) ** 0.5


@pytest.mark.parametrize("kind", ["words", "characters", "unigram"])
def test_other_kinds_are_refused(kind: Kind) -> None:
    other = Segmenter.fit([SONG], kind=kind, size=40)
    with pytest.raises(ConfigError, match=f"of the level bpe, not of {kind}; set it to 0"):
        Recutter(other, 0.1, seed=0)
