"""The paper's way to train a head: craft examples once on the frozen backbone, cache clean and adversarial embeddings,
fit in seconds.

Crafting once is valid because the backbone and the centers stay frozen. The gain holds against *replayed* examples;
whether it holds against an adaptive attacker is what the audit measures.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ironbind.calibration.calibrated import apply_head
from ironbind.numerics import ranks
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.content_cache import TENSORS, content_key
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample, seed_of
from ironbind.types import Attack, Budget, InputError, Stage, Task, Views

Progress = Callable[[str, int, int], None]


class Pool(NamedTuple):
    """Cached embeddings of one training task, all on the frozen backbone; n samples."""

    clean: Float[Tensor, "n d"]
    adversarial: Float[Tensor, "n d"]
    label: Int[Tensor, " n"]
    paired: dict[str, Float[Tensor, "n d"]]
    craft_seconds: float


class Fitted(NamedTuple):
    """What fitting a head leaves for its record."""

    losses: list[float]  # mean of each epoch
    samples: int
    craft_seconds: float
    fit_seconds: float


def fit_head(
    head: nn.Module,
    tasks: Sequence[Task],
    stage: Stage,
    number: int,
    seed: int,
    cache: Path | None,
    batch_size: int,
    tell: Progress,
    name: str,
) -> Fitted:
    """Fits `head` to one stage; `tasks`: the training data, one task per space. `number`: of the stage in its recipe
    called `name`.
    """
    centers, modality = tasks[0].centers, tasks[0].modality
    pool = _joined(
        [_pool(task, stage.attack, stage.budget_in(task.space), seed, cache, batch_size, tell) for task in tasks]
    )
    started, losses = time.process_time(), []
    optimiser = torch.optim.Adam(head.parameters(), lr=stage.learning_rate, weight_decay=stage.weight_decay)
    order = torch.Generator().manual_seed(seed_of(seed, modality, "order", number))
    for epoch in range(stage.epochs):
        parts_of_loss: list[float] = []
        for rows in torch.randperm(len(pool.label), generator=order).split(stage.batch_size):
            clean, adversarial = pool.clean[rows], pool.adversarial[rows]
            views = Views(
                clean=clean,
                clean_out=apply_head(head, clean),
                adv_out=apply_head(head, adversarial),
                label=pool.label[rows],
                centers=centers,
                paired={name: z[rows] for name, z in pool.paired.items()},
            )
            loss = stage.objective(views)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            parts_of_loss.append(loss.item() * len(rows))
        losses.append(math.fsum(parts_of_loss) / len(pool.label))
        tell(f"fit {name} {modality}", epoch + 1, stage.epochs)
    return Fitted(losses, len(pool.label), pool.craft_seconds, time.process_time() - started)


def _joined(pools: Sequence[Pool]) -> Pool:
    joined = {name: torch.cat([pool.paired[name] for pool in pools]) for name in pools[0].paired}
    return Pool(
        clean=torch.cat([pool.clean for pool in pools]),
        adversarial=torch.cat([pool.adversarial for pool in pools]),
        label=torch.cat([pool.label for pool in pools]),
        paired=joined,
        craft_seconds=math.fsum(pool.craft_seconds for pool in pools),
    )


def _pool(
    task: Task, attack: Attack, budget: Budget, seed: int, cache: Path | None, batch_size: int, tell: Progress
) -> Pool:
    """Clean and adversarial embeddings of a training task, from the cache when it holds them. Ranks craft on batches of
    their own, and the first one reads and writes the cache.
    """
    if not len(task):
        raise InputError(f"data set {task.dataset.name!r} holds no sample to train on")
    label = torch.tensor(list(task.dataset.labels[: len(task)]), device=task.centers.z.device)
    everyone = range(len(task))
    budget.check_plausible(task.space)
    path = cache / f"{_cache_key(task, attack, budget, seed)}.safetensors" if cache else None
    shape, group = (len(task), task.encoder.dim), ranks.current()

    def fits(entry: dict[str, Tensor]) -> bool:
        return entry["clean"].shape == entry["adversarial"].shape == shape and "craft_seconds" in entry

    stored = group.from_first(lambda: TENSORS.read(path, fits))
    if stored is None:
        crafted = _craft(task, attack, budget, seed, batch_size, tell)
        group.from_first(lambda: TENSORS.write(path, crafted))
        stored = crafted
    clean, adversarial = (stored[name].to(label.device) for name in ("clean", "adversarial"))
    return Pool(clean, adversarial, label, task.paired(everyone), float(stored["craft_seconds"]))


def _craft(task: Task, attack: Attack, budget: Budget, seed: int, batch_size: int, tell: Progress) -> dict[str, Tensor]:
    group, started, parts = ranks.current(), time.process_time(), dict[int, tuple[Tensor, Tensor]]()
    embed = in_full_batches(task.embed)
    for number, rows in group.deal(list(batches(range(len(task)), batch_size))):
        x = task.load(rows)
        rng = PerSample.of(seed, [task.dataset.ids[row] for row in rows], f"train {attack.name} {budget}")
        with frozen(task.encoder):
            attacked = attack(task.embed, x, task.goal(rows), task.space, budget, rng)
            enforce(attacked.x, x, task.space, budget)
            with torch.no_grad():
                parts[number] = embed(x).float().cpu(), embed(attacked.x).float().cpu()
        tell(f"craft {task.modality} {task.space.name}", rows[-1] + 1, len(task))
    shares = group.gather((parts, time.process_time() - started))
    of_all = {number: part for share, _ in shares for number, part in share.items()}
    clean, adversarial = (torch.cat([of_all[number][which] for number in sorted(of_all)]) for which in (0, 1))
    seconds = torch.tensor(math.fsum(spent for _, spent in shares))
    return {"clean": clean, "adversarial": adversarial, "craft_seconds": seconds}


def _cache_key(task: Task, attack: Attack, budget: Budget, seed: int) -> str:
    parts = (
        task.encoder.weights_sha256,
        task.dataset.fingerprint,
        len(task),
        task.modality,
        task.space.name,
        attack,
        budget,
        seed,
        task.centers.names,
        task.centers.label.tolist(),
    )
    return content_key(parts, [task.centers.z])  # the examples were driven away from these very centers
