"""Threads, processes, memory, and what the environment asks of the engine."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from against_engine import ENGINE, FACTORIES, needs_engine, threads
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import unrolled
from unrolled import Recurrent

NAMES = ("lstm", "gru", "LeakyVector", "NormalisedLSTM", "elman", "Deep", "mingru", "MGU")


def layers() -> list[Recurrent]:
    torch.manual_seed(1)
    return [Recurrent(FACTORIES[name], 5, 20, num_layers=2) for name in NAMES]


def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    y = layer(x)[0]
    with torch.no_grad():
        inferred = layer(x)[0]
    return [y.detach(), inferred, *torch.autograd.grad(y.square().sum(), [*layer.parameters()])]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@needs_engine
@pytest.mark.parametrize("count", [1, 2])
def test_eight_threads(count: int) -> None:
    """Different layers, and all the same one; each thread sets its own number of threads."""
    made = layers()
    x = torch.randn(7, 9, 5)
    with threads(count):
        expected = [gradients(layer, x) for layer in made]

        def work(index: int) -> bool:
            torch.set_num_threads(count)
            own, shared = made[index], made[0]
            return all(
                same(gradients(own, x), expected[index]) and same(gradients(shared, x), expected[0])
                for _ in range(10)
            )

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


@needs_engine
def test_sessions_in_threads() -> None:
    layer = unrolled.LSTM(5, 20, 2)
    x = torch.randn(50, 3, 5)
    with torch.no_grad():
        expected = layer(x)[0]

    def work(_: int) -> float:
        session = layer.session(3)
        got = torch.stack([session.step(row) for row in x])
        return float((got - expected).abs().max())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(8))) < 1e-5


def child(queue: multiprocessing.Queue[bool], layer: nn.Module, x: Tensor, count: int) -> None:
    torch.set_num_threads(count)
    here = gradients(layer, x)
    queue.put(bool(same(here, gradients(layer, x)) and all(t.isfinite().all() for t in here)))


@needs_engine
@pytest.mark.parametrize("count", [1, 2])
def test_fork_after_use(count: int) -> None:
    """A child has none of its parent's threads, and makes its own."""
    layer, x = layers()[0], torch.randn(7, 40, 5)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with threads(count), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads
        expected = gradients(layer, x)
        process = context.Process(target=child, args=(queue, layer, x, 1))
        process.start()
        assert queue.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0
        assert same(gradients(layer, x), expected)


class Embedded(Dataset[Tensor]):
    """What a layer makes of each item."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            result: Tensor = self.layer(torch.full((6, 2, 5), float(index)))[0]
        return result


@needs_engine
def test_workers_of_a_data_loader() -> None:
    data = Embedded(layers()[0])
    expected = torch.stack([data[i] for i in range(8)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loader = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork")
        assert torch.equal(torch.cat(list(loader)), expected)


@needs_engine
def test_memory_comes_back() -> None:
    made = [Recurrent(FACTORIES[name], 3, 4) for name in NAMES[:4]]
    for layer in made:  # what is kept for good
        gradients(layer, torch.randn(2, 2, 3))
    ENGINE.release()
    start, pooled, _ = ENGINE.memory()
    assert pooled == 0
    shapes = torch.randint(1, 9, (2500, 2)).tolist()
    for steps, batch in shapes:
        x = torch.randn(steps, batch, 3)
        with torch.no_grad():
            for layer in made[:3]:
                layer(x)
        made[3](x)[0].sum().backward()
    in_use, pooled, _ = ENGINE.memory()
    assert in_use == start
    assert pooled < 4 << 20
    ENGINE.set_pool_limit(0)
    try:
        gradients(made[0], torch.randn(2, 2, 3))
        assert ENGINE.memory()[1] == 0
    finally:
        ENGINE.set_pool_limit(256 << 20)


@needs_engine
def test_a_graph_that_is_dropped_gives_its_memory_back() -> None:
    layer = layers()[0]
    x = torch.randn(50, 20, 5)
    gradients(layer, x)
    start = ENGINE.memory()[0]
    y = layer(x)[0]
    assert ENGINE.memory()[0] > start
    del y
    assert ENGINE.memory()[0] == start
    session = layer.session(30)
    del session
    assert ENGINE.memory()[0] == start


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that runs ``code``."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here / "program")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


POISONED = """
from against_engine import Problem, check, threads
for name in ("lstm", "gru", "LeakyVector", "NormalisedLSTM", "Deep", "Wide", "slstm", "minlstm"):
    for count, case in enumerate(("lengths", "zoneout", "resets-reverse")):
        with threads(1 + count % 2):
            check(Problem(name, case, shape=(4, 5, 3, 9)))
import torch, unrolled
from unrolled import kernels
layer, x = unrolled.Recurrent("lstm", 3, 9, num_layers=2), torch.randn(5, 2, 3)
session = layer.session(2)
assert torch.allclose(torch.stack([session.step(row) for row in x]), layer(x)[0], atol=1e-6)
h, w = torch.randn(50, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)
(kernels.linear(h, w).sum() + kernels.linear_cross_entropy(h, w, None, torch.zeros(50).long())).backward()
assert h.grad.isfinite().all() and w.grad.isfinite().all()
print("equal")
"""


@needs_engine
def test_poisoned_memory() -> None:
    """Nothing is read that was not written: the pool's memory begins as NaN."""
    done = python(POISONED, UNROLLED_ENGINE_POISON="1")
    assert done.stdout == "equal\n", done.stderr


USE = """
import torch, unrolled
print(unrolled.kernels.isa())
for layer in (unrolled.LSTM(3, 4), unrolled.Recurrent("mut1", 3, 4), unrolled.Recurrent("mut2", 3, 4)):
    for _ in range(2):
        layer(torch.randn(5, 2, 3))[0].sum().backward()
    layer.session(2).step(torch.randn(2, 3))
unrolled.kernels.linear(torch.randn(50, 5), torch.randn(9, 5))
"""


def test_a_required_engine_that_is_missing() -> None:
    done = python(USE, UNROLLED_ENGINE="0", UNROLLED_REQUIRE_ENGINE="1")
    assert done.returncode == 1
    assert (
        "RuntimeError: UNROLLED_REQUIRE_ENGINE is set, but the native engine is not" in done.stderr
    )


def test_without_the_engine_everything_runs_and_it_is_said_once() -> None:
    done = python(USE, UNROLLED_ENGINE="0", UNROLLED_REQUIRE_ENGINE="")
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert done.stderr.splitlines() == [
        "the engine is not built: cells that torch lacks run in a loop, many times slower"
    ]


def test_the_contracts_without_the_engine(root: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    chosen = "(gru or mut1) and (session or padding)"
    done = subprocess.run(
        [*command, "tests/contracts/test_cells.py", "-k", chosen],
        env=os.environ | {"UNROLLED_ENGINE": "0", "UNROLLED_REQUIRE_ENGINE": ""},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_engine
def test_an_instruction_set_by_name() -> None:
    done = python(USE, UNROLLED_ENGINE_ISA="baseline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "baseline\n", "")


@needs_engine
def test_an_unknown_instruction_set() -> None:
    done = python(USE, UNROLLED_ENGINE_ISA="mmx")
    assert done.returncode == 1
    assert "ValueError: no instruction set 'mmx' on this machine; it has" in done.stderr
    assert "baseline" in done.stderr
