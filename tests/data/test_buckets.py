"""Batches by length: every example once an epoch, exact resume, rows of several processes."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unrolled.data.buckets import BucketLoader, in_order
from unrolled.errors import ConfigError, DataError, RunError

Ids = NDArray[np.int64]
LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=120).map(np.array)


def loader(lengths: Ids, **options: Any) -> BucketLoader[list[int]]:
    return BucketLoader(lengths, lambda rows: rows.tolist(), **({"seed": 0} | options))


def padded(lengths: Ids, rows: list[int] | Ids) -> int:
    return len(rows) * int(lengths[rows].max())


@given(LENGTHS, st.integers(1, 40), st.integers(0, 3), st.booleans())
def test_each_epoch_has_every_example_once(
    lengths: Ids, batch_size: int, seed: int, shuffle: bool
) -> None:
    source = loader(lengths, batch_size=batch_size, seed=seed, shuffle=shuffle)
    for _ in range(3):
        epoch = list(source)
        assert len(epoch) == len(source) == -(-len(lengths) // batch_size)
        assert sorted(chain.from_iterable(epoch)) == list(range(len(lengths)))
        sizes = {len(batch) for batch in epoch}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


@given(LENGTHS, st.integers(1, 40), st.integers(1, 300), st.integers(1, 4), st.booleans())
def test_the_most_tokens_are_kept(
    lengths: Ids, batch_size: int, most: int, processes: int, shuffle: bool
) -> None:
    processes = min(processes, len(lengths))
    source = loader(
        lengths, batch_size=batch_size, max_tokens=most, shuffle=shuffle, rows=slice(0, None, 1)
    )
    for _ in range(3):
        epoch = list(source)
        assert len(epoch) == len(source)
        assert sorted(chain.from_iterable(epoch)) == list(range(len(lengths)))
        for batch in epoch:
            assert 1 <= len(batch) <= batch_size
            assert len(batch) == 1 or padded(lengths, batch) <= most
    shares = [
        loader(lengths, batch_size=batch_size, max_tokens=most, rows=slice(rank, None, processes))
        for rank in range(processes)
    ]
    for epoch in zip(*shares, strict=True):
        assert all(epoch)  # no process without an example


@given(LENGTHS, st.integers(1, 40), st.integers(0, 300))
def test_in_order(lengths: Ids, batch_size: int, most: int) -> None:
    batches = in_order(lengths, batch_size, max_tokens=most)
    together = np.concatenate(batches)
    assert together.tolist() == np.argsort(lengths, kind="stable").tolist()
    for batch in batches:
        assert batch.dtype == np.int64
        assert 1 <= len(batch) <= batch_size
        assert not most or len(batch) == 1 or padded(lengths, batch) <= most


def test_in_order_of_nothing_is_nothing() -> None:
    assert in_order(np.zeros(0, dtype=np.int64), 3) == []
    assert in_order(np.zeros(0, dtype=np.int64), 3, max_tokens=9) == []


@settings(max_examples=50)
@given(LENGTHS, st.integers(1, 20), st.sampled_from([0, 100]), st.data())
def test_resuming_anywhere_equals_never_stopping(
    lengths: Ids, batch_size: int, most: int, data: st.DataObject
) -> None:
    def fresh() -> BucketLoader[list[int]]:
        return loader(lengths, batch_size=batch_size, seed=7, max_tokens=most)

    source = fresh()
    whole = [batch for _ in range(3) for batch in source]
    stop = data.draw(st.integers(1, len(whole)))
    first = fresh()
    taken: list[list[int]] = []
    while len(taken) < stop:
        for batch in first:
            taken.append(batch)
            if len(taken) == stop:
                break
    second = fresh()
    second.load_state_dict(first.state_dict())
    while len(taken) < len(whole):
        taken.extend(second)
    assert taken[: len(whole)] == whole


def test_every_position_resumes() -> None:
    lengths = np.arange(50)
    whole = list(loader(lengths, batch_size=4))
    for position in range(len(whole) + 1):
        source = loader(lengths, batch_size=4)
        source.load_state_dict({"epoch": 0, "position": position})
        assert list(source) == whole[position:]
        assert source.state_dict() == {"epoch": 1, "position": 0}


def test_the_place_moves_before_a_batch_is_handed_out() -> None:
    source = loader(np.arange(9), batch_size=3)
    places = [source.state_dict() for _ in source]
    assert places == [{"epoch": 0, "position": position} for position in (1, 2, 3)]
    iterator = iter(source)
    for _ in range(3):
        next(iterator)
    resumed = loader(np.arange(9), batch_size=3)
    resumed.load_state_dict(source.state_dict())
    assert list(resumed) == []
    assert resumed.state_dict() == {"epoch": 2, "position": 0}


def test_order_comes_from_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 200)

    def epochs(seed: int) -> list[list[list[int]]]:
        source = loader(lengths, batch_size=8, seed=seed)
        return [list(source) for _ in range(3)]

    assert epochs(1) == epochs(1) != epochs(2)
    first, second, _ = epochs(1)
    assert {tuple(sorted(batch)) for batch in first} != {tuple(sorted(batch)) for batch in second}
    longest = [lengths[batch].max() for batch in first]
    assert longest != sorted(longest)  # short and long batches come in no order
    by_length = loader(lengths, batch_size=8, shuffle=False)
    once = list(by_length)
    assert once == list(by_length) == [rows.tolist() for rows in in_order(lengths, 8)]


def test_little_is_padded() -> None:
    lengths = np.random.default_rng(0).gamma(2, 8, 10_000).astype(np.int64) + 1
    real = lengths.sum()
    batches = list(loader(lengths, batch_size=32))
    assert sum(padded(lengths, batch) for batch in batches) < 1.15 * real
    at_random = np.split(np.random.default_rng(0).permutation(10_000)[:9984], 312)
    assert sum(padded(lengths, batch) for batch in at_random) > 2 * real


def test_a_very_long_example_makes_a_small_batch() -> None:
    lengths = np.array([5000, *[20] * 200])
    batches = list(loader(lengths, batch_size=64, max_tokens=2048))
    [long] = [batch for batch in batches if 0 in batch]
    assert long == [0]
    assert min(len(batch) for batch in batches if batch is not long) > 20


@pytest.mark.parametrize("most", [0, 60])
@pytest.mark.parametrize("processes", [2, 3])
def test_the_rows_of_all_processes_are_the_batches_of_one(processes: int, most: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 20, 100)
    one = loader(lengths, batch_size=7, max_tokens=most)
    parts = [
        loader(lengths, batch_size=7, max_tokens=most, rows=slice(rank, None, processes))
        for rank in range(processes)
    ]
    for _ in range(3):
        for batch, *shares in zip(one, *parts, strict=True):
            assert [batch[rank::processes] for rank in range(processes)] == shares
    assert len({tuple(part.state_dict().items()) for part in (one, *parts)}) == 1


def test_no_process_is_left_without_a_row() -> None:
    for batch_size, most in ((1, 0), (1, 5), (64, 1)):
        parts = [
            loader(np.arange(10), batch_size=batch_size, max_tokens=most, rows=slice(rank, None, 4))
            for rank in range(4)
        ]
        for shares in zip(*parts, strict=True):
            assert all(shares)
    for count, rows in ((3, slice(3, None, 4)), (3, slice(0, None, 4)), (9, slice(4, None, 4))):
        with pytest.raises(DataError, match="fewer processes or more data"):
            loader(np.ones(count, dtype=np.int64), batch_size=2, rows=rows)


def test_sizes_and_lengths_are_checked() -> None:
    for wrong in ({"batch_size": 0}, {"batch_size": 1, "max_tokens": -1}):
        with pytest.raises(ConfigError, match="at least"):
            loader(np.arange(4), **wrong)
    with pytest.raises(ConfigError, match="seed is at least 0"):
        loader(np.arange(4), batch_size=1, seed=-1)
    with pytest.raises(DataError, match="no examples"):
        loader(np.zeros(0, dtype=np.int64), batch_size=1)
    for lengths in (np.zeros((2, 2), dtype=np.int64), np.zeros(3), np.array([1, -1])):
        with pytest.raises(ValueError, match="lengths are"):
            loader(lengths, batch_size=1)
        with pytest.raises(ValueError, match="lengths are"):
            in_order(lengths, 1)
    with pytest.raises(ConfigError, match="batch size"):
        in_order(np.arange(3), 0)


@pytest.mark.parametrize(
    "place",
    [
        *({"epoch": 0, "position": 4}, {"epoch": 0, "position": -1}, {"epoch": -1, "position": 0}),
        *({"epoch": 0}, {}, {"position": 1}, {"epoch": None, "position": None}),
        *({"epoch": "0", "position": "1"}, {"epoch": 0.0, "position": 1.5}),
        *({"epoch": [0], "position": {}}, {"epoch": True, "position": True}),
    ],
)
def test_hostile_places_are_refused(place: dict[str, Any]) -> None:
    source = loader(np.arange(9), batch_size=3)
    next(iter(source))
    with pytest.raises(RunError, match=r"no place .* of 3 batches per epoch; the data, batch size"):
        source.load_state_dict(place)
    assert source.state_dict() == {"epoch": 0, "position": 1}


def test_reading_labelled_data_needs_no_torch() -> None:
    code = (
        "import sys; import unrolled.data.buckets, unrolled.data.columns, unrolled.data.records, "
        "unrolled.data.vectors; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
