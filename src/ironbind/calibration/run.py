"""The one training loop of heads: craft examples once on the frozen backbone, cache clean and adversarial embeddings, fit in seconds.

Crafting once is valid because the backbone and the centers stay frozen: this is the paper's calibration, whose gain holds against *replayed*
examples. Whether it holds against an adaptive attacker is what the audit measures.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ironbind.calibration import HEADS
from ironbind.calibration.calibrated import Calibrated, apply_head
from ironbind.calibration.objectives import describe
from ironbind.maths.batches import in_full_batches
from ironbind.maths.modules import frozen, parameter_count
from ironbind.maths.norms import enforce
from ironbind.maths.random import PerSample, seed_of
from ironbind.results import CalibrationRecord, write_atomically
from ironbind.types import Attack, Budget, CalibrationRecipe, Dataset, InputError, Task, Views

Progress = Callable[[str, int, int], None]
TRAIN_SAMPLES = 1000


class Pool(NamedTuple):
    """Cached embeddings of one training task, all on the frozen backbone; n samples."""

    clean: Float[Tensor, "n d"]
    adversarial: Float[Tensor, "n d"]
    label: Int[Tensor, " n"]
    paired: dict[str, Float[Tensor, "n d"]]
    craft_seconds: float


def calibrate(
    task: Task | Sequence[Task],
    recipe: CalibrationRecipe,
    train: Dataset | None = None,
    *,
    samples: int = TRAIN_SAMPLES,
    cache: Path | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Calibrated:
    """The tasks' encoder with heads trained by `recipe` on adversarial examples alone: an Encoder again.

    `task`: one zero-shot task or several of one encoder; tasks of the same modality (audio attacked in two spaces) share a head. The data that
    the tasks are audited on are never trained on: `train` is the training data, by default `samples` of the data set's own training split.
    `cache`: folder in which crafted embeddings are kept, so that a killed calibration goes on and further recipes start at once.
    Raises InputError when there is nothing to train on, or for tasks of different encoders.
    """
    tasks = list(task) if isinstance(task, Sequence) else [task]
    if not tasks:
        raise InputError("calibration needs at least one task")
    encoder = tasks[0].encoder
    if any(one.encoder is not encoder for one in tasks):
        raise InputError("calibration trains heads for one encoder at a time; the tasks hold several")
    tell = progress or (lambda what, done, total: None)
    heads: dict[str, nn.Module] = {}
    records: list[CalibrationRecord] = []
    for modality in dict.fromkeys(one.modality for one in tasks):
        here = [one for one in tasks if one.modality == modality]
        training = [one.over(train if train is not None else training_split(one.dataset, samples)) for one in here]
        heads[modality], found = _fit(training, recipe, cache, batch_size, tell)
        records += found
    return Calibrated(encoder, heads, recipe.name, recipe.head, records)


def training_split(dataset: Dataset, samples: int) -> Dataset:
    """`samples` of the data set's own training split. Raises InputError when it has none: what is audited is never trained on."""
    split = getattr(dataset, "split", None)
    if split is None:
        raise InputError(f"data set {dataset.name!r} has no training split of its own; pass other data to train on (train=..., --train-data DIR)")
    return split("train", samples)


def _fit(
    tasks: Sequence[Task], recipe: CalibrationRecipe, cache: Path | None, batch_size: int, tell: Progress
) -> tuple[nn.Module, list[CalibrationRecord]]:
    """One modality's head through all stages of the recipe."""
    encoder, centers, modality = tasks[0].encoder, tasks[0].centers, tasks[0].modality
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, recipe.name, modality, "head"))
        head = HEADS[recipe.head](encoder.dim).to(centers.z.device)
    records = []
    for number, stage in enumerate(recipe.stages):
        pools = [_pool(one, stage.attack, stage.budget_in(one.space), recipe.seed, cache, batch_size, tell) for one in tasks]
        pool = _joined(pools)
        started, losses = time.process_time(), []
        optimiser = torch.optim.Adam(head.parameters(), lr=stage.learning_rate, weight_decay=stage.weight_decay)
        order = torch.Generator().manual_seed(seed_of(recipe.seed, modality, "order", number))
        for epoch in range(stage.epochs):
            total = 0.0
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
                total += loss.item() * len(rows)
            losses.append(total / len(pool.label))
            tell(f"fit {recipe.name} {modality}", epoch + 1, stage.epochs)
        if not all(torch.isfinite(one).all() for one in head.parameters()):
            raise InputError(f"calibration {recipe.name!r} of {modality} diverged (loss {losses[-1]}); try a lower learning rate")
        records.append(
            CalibrationRecord(
                name=recipe.name,
                modality=modality,
                space="+".join(one.space.name for one in tasks),
                head=recipe.head,
                objective=describe(stage.objective),
                attack=stage.attack.name,
                eps="+".join(stage.budget_in(one.space).written for one in tasks),
                trainable=sum(one.numel() for one in head.parameters()),
                encoder_parameters=parameter_count(encoder),
                train_samples=len(pool.label),
                epochs=stage.epochs,
                craft_seconds=round(pool.craft_seconds, 2),
                fit_seconds=round(time.process_time() - started, 2),
                first_loss=losses[0] if losses else float("nan"),
                last_loss=losses[-1] if losses else float("nan"),
            )
        )
    return head, records


def _joined(pools: Sequence[Pool]) -> Pool:
    joined = {name: torch.cat([one.paired[name] for one in pools]) for name in pools[0].paired}
    return Pool(
        clean=torch.cat([one.clean for one in pools]),
        adversarial=torch.cat([one.adversarial for one in pools]),
        label=torch.cat([one.label for one in pools]),
        paired=joined,
        craft_seconds=sum(one.craft_seconds for one in pools),
    )


def _pool(task: Task, attack: Attack, budget: Budget, seed: int, cache: Path | None, batch_size: int, tell: Progress) -> Pool:
    """Clean and adversarial embeddings of a training task, from the cache when it holds them."""
    if not len(task):
        raise InputError(f"data set {task.dataset.name!r} holds no sample to train on")
    label = torch.tensor(list(task.dataset.labels[: len(task)]), device=task.centers.z.device)
    everyone = range(len(task))
    budget.check(task.space)
    path = cache / f"{_cache_key(task, attack, budget, seed)}.safetensors" if cache else None
    stored = _read(path, len(task))
    if stored is None:
        stored = _craft(task, attack, budget, seed, batch_size, tell)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save(stored))
    clean, adversarial = (stored[name].to(label.device) for name in ("clean", "adversarial"))
    return Pool(clean, adversarial, label, task.paired(everyone), float(stored["craft_seconds"]))


def _craft(task: Task, attack: Attack, budget: Budget, seed: int, batch_size: int, tell: Progress) -> dict[str, Tensor]:
    started, clean, adversarial = time.process_time(), [], []
    embed = in_full_batches(task.embed)
    for first in range(0, len(task), batch_size):
        rows = list(range(first, min(first + batch_size, len(task))))
        x = task.load(rows)
        rng = PerSample.of(seed, [task.dataset.ids[row] for row in rows], f"train {attack.name} {budget}")
        with frozen(task.encoder):
            found = attack(task.embed, x, task.goal(rows), task.space, budget, rng)
            enforce(found.x, x, task.space, budget)
            with torch.no_grad():
                clean.append(embed(x).float())
                adversarial.append(embed(found.x).float())
        tell(f"craft {task.modality} {task.space.name}", rows[-1] + 1, len(task))
    seconds = torch.tensor(time.process_time() - started)
    return {"clean": torch.cat(clean).cpu(), "adversarial": torch.cat(adversarial).cpu(), "craft_seconds": seconds}


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
    digest = hashlib.sha256(repr(parts).encode())
    digest.update(task.centers.z.cpu().contiguous().numpy().tobytes())  # the examples were pushed away from these very centers
    return digest.hexdigest()[:24]


def _read(path: Path | None, n: int) -> dict[str, Tensor] | None:
    """A cache entry, or None when it is missing or unreadable (it is then made again)."""
    if path is None or not path.exists():
        return None
    try:
        stored = load_file(path)
    except (SafetensorError, OSError):
        return None
    return stored if len(stored.get("clean", ())) == n else None
