"""Token streams on disk and the loader: every pair once, exact resume, the same tracks for all."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.batch import LanguageBatch
from unrolled.data.stream import StreamLoader, TokenStream
from unrolled.data.text import tokens
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigError, DataError, RunError


def counting(length: int) -> TokenStream:
    """A stream whose token is its place, so that batches show where they come from."""
    return TokenStream(np.arange(length), vocabulary_size=length)


def epochs(loader: StreamLoader, count: int) -> list[list[LanguageBatch]]:
    return [list(loader) for _ in range(count)]


def same(a: list[LanguageBatch], b: list[LanguageBatch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.tokens, y.tokens) and torch.equal(x.targets, y.targets) and x.fresh == y.fresh
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(("size", "bytes_each"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4)])
def test_written_is_read_in_the_narrowest_type(tmp_path: Path, size: int, bytes_each: int) -> None:
    vocabulary = Vocabulary([str(i) for i in range(size)])  # and <unk>
    text = ["0", str(size - 1), "never seen", "1"]
    stream = TokenStream.write(iter(text), vocabulary, tmp_path / "s")
    assert stream[:].tolist() == [1, size, 0, 2]
    assert stream[1:3].dtype == np.int64
    assert stream[-1] == 2
    assert (len(stream), stream.vocabulary_size, stream.unknown) == (4, size + 1, 1)
    stored = np.asarray(stream)
    assert stored.dtype.itemsize == bytes_each
    assert not stored.flags.owndata
    assert (tmp_path / "s").stat().st_size == 64 + 4 * bytes_each
    assert np.asarray(stream, dtype=np.int64).tolist() == stream[:].tolist()


def test_a_file_stays_when_its_rewriting_fails(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["a"])
    TokenStream.write("aa", vocabulary, tmp_path / "s")

    def breaking() -> object:
        yield from "aaa" * 50_000
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        TokenStream.write(breaking(), vocabulary, tmp_path / "s")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no tokens"):
        TokenStream.write("", vocabulary, tmp_path / "s")
    assert TokenStream.open(tmp_path / "s")[:].tolist() == [1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]
    with pytest.raises(RunError, match="cannot be written"):
        TokenStream.write("a", vocabulary, tmp_path / "absent" / "s")


def test_a_corpus_is_never_held_in_memory(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["x", "\n"])
    tracemalloc.start()
    try:
        stream = TokenStream.write(
            tokens(repeat("x" * 99, 20_000), "characters"), vocabulary, tmp_path / "s"
        )
        loader = StreamLoader(stream, batch_size=4, window=10_000, seed=0)
        for batch in loader:
            assert batch.tokens.shape[0] == 4
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(stream) == 2_000_000
    assert peak < 4_000_000  # a list of the tokens takes 16 MB


def test_truncated_and_altered_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    TokenStream.write("abab", Vocabulary(["a", "b"]), path)
    whole = path.read_bytes()
    wrong_type = whole[:12] + b"\x02" + whole[13:]
    two_bytes = wrong_type + whole[64:]
    large_vocabulary = whole[:24] + (70_000).to_bytes(8, "little") + whole[32:]
    for content in (
        *(whole[:end] for end in range(len(whole))),
        *(whole + b"\x01", b"x" + whole[1:], wrong_type, two_bytes, large_vocabulary),
    ):
        path.write_bytes(content)
        with pytest.raises(RunError, match="delete the file and prepare it again"):
            TokenStream.open(path)
    path.write_bytes(whole[:8] + b"\x02" + whole[9:])
    with pytest.raises(RunError, match="newer than 1"):
        TokenStream.open(path)
    for unreadable in (tmp_path / "absent", tmp_path):
        with pytest.raises(RunError, match="cannot be read"):
            TokenStream.open(unreadable)


@pytest.mark.parametrize("ids", [np.zeros((2, 2), dtype=np.int64), np.zeros(3)])
def test_a_stream_is_flat_integers(ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="integers"):
        TokenStream(ids, vocabulary_size=3)


@settings(deadline=None, max_examples=200)
@given(
    length=st.integers(2, 300),
    batch_size=st.integers(1, 12),
    window=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_each_epoch_has_every_pair_at_most_once(
    length: int, batch_size: int, window: int, seed: int
) -> None:
    loader = StreamLoader(counting(length), batch_size=batch_size, window=window, seed=seed)
    assert 1 <= loader.tracks <= batch_size
    for number, epoch in enumerate(epochs(loader, 3)):
        assert len(epoch) == len(loader)
        assert [batch.fresh for batch in epoch] == [True] + [False] * (len(epoch) - 1)
        assert all(1 <= batch.tokens.shape[1] <= window for batch in epoch)
        whole = torch.cat([batch.tokens for batch in epoch], dim=1)
        targets = torch.cat([batch.targets for batch in epoch], dim=1)
        assert whole.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, whole + 1)  # every target follows its token in the text
        steps = whole.diff(dim=1)
        assert ((steps == 1) | (steps == 2 - length)).all()  # rows run on; one returns to the start
        seen = whole.flatten().tolist()
        assert len(set(seen)) == len(seen) > length - 1 - loader.tracks
        if number == 0:
            assert (steps == 1).all()
        if loader.tracks == 1:
            assert sorted(seen) == list(range(length - 1))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 200), st.integers(1, 6), st.integers(1, 30), st.data())
def test_resuming_anywhere_equals_never_stopping(
    length: int, batch_size: int, window: int, data: st.DataObject
) -> None:
    def fresh() -> StreamLoader:
        return StreamLoader(counting(length), batch_size=batch_size, window=window, seed=7)

    whole = list(chain.from_iterable(epochs(fresh(), 3)))
    stop = data.draw(st.integers(1, len(whole)))
    first = fresh()
    taken: list[LanguageBatch] = []
    while len(taken) < stop:
        for batch in first:
            taken.append(batch)
            if len(taken) == stop:
                break
    second = fresh()
    second.load_state_dict(first.state_dict())
    while len(taken) < len(whole):
        taken.extend(second)
    assert same(taken[: len(whole)], whole)


def test_a_place_saved_with_the_last_batch_ends_the_epoch() -> None:
    loader = StreamLoader(counting(10), batch_size=1, window=3, seed=0)
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    assert loader.state_dict() == {"epoch": 0, "position": 3}
    resumed = StreamLoader(counting(10), batch_size=1, window=3, seed=0)
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == []
    assert resumed.state_dict() == {"epoch": 1, "position": 0}
    assert len(list(resumed)) == 3


def test_offsets_come_from_seed_and_epoch() -> None:
    def starts(seed: int) -> list[int]:
        loader = StreamLoader(counting(1000), batch_size=2, window=100, seed=seed)
        return [int(epoch[0].tokens[0, 0]) for epoch in epochs(loader, 20)]

    assert starts(1) == starts(1) != starts(2)
    assert starts(1)[0] == 0
    assert all(start < 100 for start in starts(1))
    assert len(set(starts(1))) > 10


@pytest.mark.parametrize("processes", [2, 3])
def test_the_rows_of_all_processes_are_the_tracks_of_one(processes: int) -> None:
    one = StreamLoader(counting(100), batch_size=5, window=4, seed=3)
    parts = [
        StreamLoader(
            counting(100), batch_size=5, window=4, seed=3, rows=slice(rank, None, processes)
        )
        for rank in range(processes)
    ]
    for _ in range(3):
        for batch, *shares in zip(one, *parts, strict=True):
            together = torch.empty_like(batch.tokens)
            for rank, share in enumerate(shares):
                together[rank::processes] = share.tokens
            assert torch.equal(together, batch.tokens)
    assert len(one) == len(parts[0])


def test_short_texts_get_fewer_tracks() -> None:
    for length, expected in ((2, 1), (100, 1), (129, 1), (257, 2), (128 * 64 + 1, 64), (10**5, 64)):
        loader = StreamLoader(counting(length), batch_size=64, window=128, seed=0)
        assert loader.tracks == expected
    [batch] = StreamLoader(counting(2), batch_size=64, window=128, seed=0)
    assert (batch.tokens.tolist(), batch.targets.tolist()) == ([[0]], [[1]])
    with pytest.raises(DataError, match="at least 2"):
        StreamLoader(counting(1), batch_size=1, window=1, seed=0)
    with pytest.raises(DataError, match="none for this process"):
        StreamLoader(counting(9), batch_size=2, window=8, seed=0, rows=slice(1, None, 2))


def test_sizes_and_places_are_checked() -> None:
    for batch_size, window, seed in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(ConfigError, match="at least 1"):
            StreamLoader(counting(9), batch_size=batch_size, window=window, seed=seed)
    loader = StreamLoader(counting(9), batch_size=1, window=4, seed=0)
    for place in ({"epoch": 0, "position": 3}, {"epoch": -1, "position": 0}, {"epoch": 0}):
        with pytest.raises(RunError, match="no place"):
            loader.load_state_dict(place)


def test_reading_data_needs_no_torch() -> None:
    code = (
        "import sys; import unrolled.data.stream, unrolled.data.text, unrolled.data.vocabulary, "
        "unrolled.data.synthetic, unrolled.data.python_reference, unrolled.metrics.language, "
        "unrolled.metrics.evaluation; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
