"""What a reader needs to trust a number: threat model in full, versions, seeds, machine, time."""

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ironbind.core.results import THREAT_MODELS, ThreatModelRecord
from ironbind.evaluate.protocols.white_box import attacked_metrics
from ironbind.numerics.networks import parameter_count
from ironbind.types import Attack, Budget, Encoder, Task, backbone_of


def threat_model_record(
    task: Task, attacks: Sequence[Attack], budgets: Sequence[Budget], knowledge: Sequence[str] = (), top_k: bool = False
) -> ThreatModelRecord:
    """Check C3: everything that an epsilon alone leaves out. `knowledge`: keys of THREAT_MODELS; () for an attacker
    with white-box access. `top_k`: whether every metric was attacked.
    """
    knowledge = knowledge or (
        ["whitebox"] if backbone_of(task.encoder) is task.encoder else ["whitebox", "replayed", "adaptive"]
    )
    return ThreatModelRecord(
        modality=task.modality,
        space=task.space.name,
        unit=task.space.unit,
        bounds=(task.space.low, task.space.high),
        norm=budgets[0].norm,
        eps=tuple(budget.written for budget in budgets),
        radii=tuple(budget.radius for budget in budgets),
        meaning=tuple(task.space.describe(budget.radius) for budget in budgets),
        goal=(
            f"{task.name} among {len(task.centers)}: drive the truth out of the top "
            f"{', '.join(str(k) for _, k in attacked_metrics(task, top_k))}"
        ),
        attack=" then ".join(repr(attack) for attack in attacks),
        knowledge="; ".join(f"{name}: {THREAT_MODELS[name]}" for name in knowledge),
        input_shape=tuple(task.encoder.inputs[task.modality].shape_in(task.space.name)),
    )


def about_run(seed: int) -> dict[str, Any]:
    """Versions, machine, date, seed, command."""

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed as a package"

    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["ironbind", *sys.argv[1:]])
        if sys.argv and sys.argv[0].endswith(("ironbind", "__main__.py"))
        else "Python API",
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            **{package: installed(package) for package in ("ironbind", "torch", "numpy", "safetensors")},
        },
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} "
            "thread(s) per process"
        ),
    }


def about_encoder(encoder: Encoder) -> dict[str, Any]:
    """Name, weights, size, licence."""
    below = backbone_of(encoder)
    return {
        "name": below.name,
        "weights_sha256": below.weights_sha256,
        "parameters": parameter_count(below),
        "dim": below.dim,
        "licence": getattr(below, "licence", ""),
        "citation": getattr(below, "citation", ""),
    }


@contextmanager
def stopwatch(record: dict[str, Any]) -> Iterator[None]:
    """Adds `wall_seconds` and `cpu_seconds` (this process) of the block to the record."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    record["wall_seconds"] = round(record.get("wall_seconds", 0.0) + time.perf_counter() - wall, 2)
    record["cpu_seconds"] = round(record.get("cpu_seconds", 0.0) + time.process_time() - cpu, 2)
