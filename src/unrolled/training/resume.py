"""Exact resume: everything that decides the rest of a training, as the files of a checkpoint.

``weights.safetensors`` (tied tensors once), ``optimiser.safetensors``, ``average.safetensors`` (when
the moving average is on), ``rank-K.safetensors`` (random generators and carried state of process K)
and ``state.json`` (counters, place in the data, schedule, best validation, environment).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled import kernels
from unrolled.errors import RunError, TrainingError
from unrolled.training.distributed import Workers
from unrolled.training.live import Live, Position
from unrolled.training.run_directory import RunDirectory
from unrolled.training.snapshot import (
    carried_tensors,
    load_carried,
    load_random_states,
    load_tensors,
    pack,
    random_states,
    unique_tensors,
    unpack,
)

_LOG = logging.getLogger("unrolled.training")


def resume(live: Live, run: RunDirectory) -> bool:
    """Goes to the newest checkpoint of the run, or seeds a beginning; whether there was one.

    Raises:
        RunError: the checkpoint is damaged, newer, or of another model, method or optimiser; or a run that
            was finished goes on with other data.
    """
    _seed(live)
    if run.writer:
        run.check_files()
    steps = run.checkpoints.steps() if run.writer else []
    step = live.workers.agree(steps[-1] if steps else -1)
    if step < 0:
        run.cut_metrics(0)
        return False
    files = live.workers.broadcast_files(run.checkpoints.read(step) if run.writer else {})
    place = run.checkpoints.path(step)
    run.cut_metrics(restore(live, files, place))
    if run.writer:
        digest = hashlib.sha256(pack(unique_tensors(live.model))).hexdigest()[:16]
        _LOG.info("continuing after step %d: loaded weights with sha-256 %s", step, digest)
    return True


def save(live: Live, run: RunDirectory, *, keep: int) -> None:
    """Writes a checkpoint of this very moment; every process must call it.

    Raises:
        TrainingError: a weight is not finite.
        RunError: the disk is full or refuses.
    """
    files = capture(live, metrics_size=run.metrics_size())
    if run.writer:
        best = live.position.best_step
        run.checkpoints.save(live.position.step, files, keep=keep, best=best)
        run.settle()


def keep_best(live: Live, run: RunDirectory) -> None:
    """Puts the weights to keep into the model: the best ones, averaged if there is an average.

    Raises:
        RunError: the best checkpoint is damaged.
    """
    step, store = live.position.best_step, run.checkpoints
    if step is not None and step != live.position.step:
        files = live.workers.broadcast_files(store.read(step) if run.writer else {})
        weights = unpack(files["weights.safetensors"], store.path(step))
        if live.average is not None and "average.safetensors" in files:
            weights |= unpack(files["average.safetensors"], store.path(step))
        load_tensors(live.model, weights, store.path(step))
    elif live.average is not None:
        live.average.copy_to_module()


def environment(workers: Workers) -> dict[str, Any]:
    """What else decides the last bits of the result."""
    cuda = workers.device.type == "cuda"
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(workers.device) if cuda else "cpu",
        "processes": workers.size,
        "executor": kernels.forced(),
        "engine": kernels.isa(),
    }


def _seed(live: Live) -> None:
    """Seeds torch's default generators, each process its own way."""
    draw = np.random.SeedSequence([live.seed, live.workers.rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(draw[0]))


def capture(live: Live, *, metrics_size: int) -> dict[str, bytes]:
    """The files of a checkpoint; every process must call it, only rank 0 needs the result.

    Raises:
        TrainingError: a weight is not finite, so that this is no place to go on from.
    """
    own = random_states(live.workers.device) | carried_tensors(live.carried)
    parts = live.workers.gather(pack(own))
    if live.workers.rank != 0:
        return {}
    weights = unique_tensors(live.model)
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(f"{name} has values that are not finite after the last update")
    tensors, values = live.method.state(live.model)
    files = {"weights.safetensors": pack(weights), "optimiser.safetensors": pack(tensors)}
    if live.average is not None:
        files["average.safetensors"] = pack(live.average.tensors())
    files |= {f"rank-{rank}.safetensors": part for rank, part in enumerate(parts)}
    state = {
        "plan": live.plan,
        "position": asdict(live.position),
        "source": live.source.state_dict(),
        "schedule": live.schedule.state_dict(),
        "method": values,
        "average_updates": 0 if live.average is None else live.average.updates,
        "metrics_size": metrics_size,
        "environment": environment(live.workers),
    }
    return files | {"state.json": (json.dumps(state, indent=1) + "\n").encode()}


def restore(live: Live, files: dict[str, bytes], place: Path) -> int:
    """Continues from the files of a checkpoint; returns the bytes ``metrics.jsonl`` had then.

    Raises:
        RunError: the checkpoint is of another model, method or optimiser.
    """
    state = json.loads(files["state.json"])
    for key, name in live.plan.items():
        if state["plan"].get(key) != name:
            raise RunError(
                f"{place}: trained with {key} {state['plan'].get(key)}, not {name}; "
                "choose that or start again with --overwrite"
            )
    _tell_differences(state["environment"], environment(live.workers))

    def read(name: str) -> dict[str, torch.Tensor]:
        return unpack(files[name], place / name)

    load_tensors(live.model, read("weights.safetensors"), place)
    live.method.load(live.model, read("optimiser.safetensors"), state["method"])
    if live.average is not None and "average.safetensors" in files:
        live.average.load(read("average.safetensors"), state["average_updates"])
    live.schedule.load_state_dict(state["schedule"])
    live.source.load_state_dict(state["source"])
    live.position = Position(**state["position"])
    own = f"rank-{live.workers.rank}.safetensors"
    if state["environment"]["processes"] == live.workers.size:
        tensors = read(own)
        live.carried = _carried(live, tensors)
        load_random_states(tensors, live.workers.device)
    return int(state["metrics_size"])


def _carried(live: Live, tensors: dict[str, torch.Tensor]) -> Any:
    """The carried state; its structure is learnt from a look at the batch that comes next."""
    if "carried.0" not in tensors:
        return None
    place = live.source.state_dict()
    batch = next(iter(live.source), None)
    if batch is None:  # saved with the last batch of an epoch
        batch = next(iter(live.source), None)
    live.source.load_state_dict(place)
    if batch is None or getattr(batch, "fresh", True):
        return None
    training = live.model.training
    live.model.eval()
    devices = [live.workers.device] if live.workers.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        _, template = live.model(batch.to(live.workers.device), None)
    live.model.train(training)
    return load_carried(template, tensors, live.workers.device)


def _tell_differences(before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [
        f"{key} was {before.get(key)}, is {now[key]}" for key in now if before.get(key) != now[key]
    ]
    if changed:
        _LOG.warning(
            "resumed in another environment: %s; the result may differ in the last bits%s",
            "; ".join(changed),
            ", and the carried state and random numbers begin anew"
            if before.get("processes") != now["processes"]
            else "",
        )
