"""What the attack engine costs over a bare loop, and which batches agree bit for bit: `engine.py [--write]`.

Bare loop: PGD written down in twenty lines, parameters frozen, gradient to the input only, a last forward pass that
reads the verdict. Engine: `PGD(steps)`, which also projects, keeps the best iterate, compacts the batch, counts passes
and checks its examples. Both run the same steps on the same samples, in alternating rounds; CPU seconds of the process,
medians; ratios round by round, then their median. "robust": no sample falls, so that both do the same work (target <=
1.05). "falls at once": every sample is wrong from the start, which a bare loop does not notice (target <= 0.3).

`--write` puts the tables into docs/engine.md between its markers. Run it on an idle machine.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ironbind import __version__
from ironbind.attacks import PGD
from ironbind.core.markdown_tables import put
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.encoders.shared.trunk import Trunk
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities.spaces import PIXELS
from ironbind.numerics.norms import into_bounds
from ironbind.numerics.sample_random import PerSample
from ironbind.types import ClassCenters, Embed, InputError, Linf, Space

PAGE = Path(__file__).parents[1] / "docs" / "engine.md"
RADIUS = 1e-5  # so small that nobody falls: the work is that of any robust sample
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class Tower:
    """One way into an encoder: inputs, how they are embedded, and class centers that give every sample a right and a
    wrong label.
    """

    name: str
    space: Space
    x: Tensor
    embed: Embed
    centers: ClassCenters

    def goal(self, right: bool) -> Misclassify:
        with torch.no_grad():
            scores = self.embed(self.x) @ self.centers.z.T
        return Misclassify(self.centers, scores.argmax(dim=1) if right else scores.argmin(dim=1))


def bare_loop(
    embed: Embed, x: Tensor, goal: Misclassify, space: Space, radius: float, steps: int
) -> tuple[Tensor, Tensor]:
    """PGD by hand on the margin, linf."""
    rows = torch.arange(len(x), device=x.device)

    def margin(z: Tensor) -> Tensor:
        scores = z @ goal.centers.z.T
        return scores.scatter(1, goal.label[:, None], -torch.inf).amax(dim=1) - scores[rows, goal.label]

    share = min(1.0, 2.5 / steps) * radius
    current = x + (2 * torch.rand_like(x) - 1) * radius
    current = into_bounds(current, space)
    for _ in range(steps):
        current.requires_grad_(True)
        (gradient,) = torch.autograd.grad(margin(embed(current)).sum(), current)
        with torch.no_grad():
            current = current + share * gradient.sign()
            current = into_bounds(torch.minimum(torch.maximum(current, x - radius), x + radius), space)
    with torch.no_grad():
        return current, margin(embed(current)) >= 0


class PatchTrunk(nn.Module):
    """A stand-in where the built-in encoder's weights are missing: the shared trunk over 4 x 4 patches of a 32 x 32
    picture.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.trunk, self.head = nn.Conv2d(3, 96, 4, 4), Trunk(96, 3, 4), nn.Linear(96, 64)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.trunk(self.stem(x - 0.5).flatten(2).transpose(1, 2))
        return nn.functional.normalize(self.head(tokens.mean(dim=1)), dim=-1)


def towers(name: str, batch: int) -> list[Tower]:
    """Every tower and space of an encoder on the built-in world, or the stand-in ("trunk")."""
    if name == "trunk":
        network = PatchTrunk().requires_grad_(False).eval()
        x = torch.rand((batch, 3, 32, 32), generator=torch.Generator().manual_seed(0))
        rows = nn.functional.normalize(torch.randn((20, 64), generator=torch.Generator().manual_seed(1)), dim=1)
        return [Tower("trunk", PIXELS, x, network, ClassCenters(rows, torch.arange(20), tuple(map(str, range(20)))))]
    encoder, data = load_encoder(name), load_dataset("world", n=batch)
    found = []
    for modality, spec in encoder.inputs.items():
        for space in spec.spaces:
            task = zero_shot(encoder, data, modality, space=space)
            found.append(Tower(f"{modality} {space}", task.space, task.load(range(batch)), task.embed, task.centers))
    return found


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(tower: Tower, steps: int, rounds: int) -> dict[str, float]:
    """Median CPU seconds of engine and bare loop on samples that stand and on samples that fall at once."""
    attack, budget = PGD(steps=steps), Linf(RADIUS)
    rng = PerSample.of(0, [str(i) for i in range(len(tower.x))])
    found: dict[str, float] = {}
    for case, right in (("robust", True), ("falls", False)):
        goal = tower.goal(right)

        def engine(goal: Misclassify = goal) -> Tensor:
            return attack(tower.embed, tower.x, goal, tower.space, budget, rng).reached

        def bare(goal: Misclassify = goal) -> Tensor:
            return bare_loop(tower.embed, tower.x, goal, tower.space, budget.radius, steps)[1]

        if not (engine().all() if not right else not engine().any()) or not bare().equal(engine()):
            raise AssertionError(f"{tower.name}: the samples are not what this comparison needs")
        times: dict[str, list[float]] = {"engine": [], "bare": []}
        for number in range(rounds):
            pair = [("engine", engine), ("bare", bare)]
            for who, work in pair if number % 2 else pair[::-1]:
                times[who].append(seconds(work))
        found |= {f"{case} {who}": statistics.median(spent) for who, spent in times.items()}
        pairs = zip(
            times["engine"], times["bare"], strict=True
        )  # round by round, as the machine's own speed drifts between rounds
        found[f"{case} ratio"] = statistics.median(engine_s / bare_s for engine_s, bare_s in pairs)
    return found


def agreeing(tower: Tower) -> list[int]:
    """Batch sizes whose embeddings *and* input gradients equal, bit for bit, those of the whole batch."""
    weight = torch.randn((len(tower.x), tower.centers.z.shape[1]), generator=torch.Generator().manual_seed(2))

    def both(first: int, size: int) -> tuple[Tensor, Tensor]:
        some = tower.x[first : first + size].clone().requires_grad_(True)
        z = tower.embed(some)
        (gradient,) = torch.autograd.grad((z * weight[first : first + size]).sum(), some)
        return z.detach(), gradient

    z, gradient = both(0, len(tower.x))
    equal = []
    for size in (one for one in SIZES if one < len(tower.x)):
        parts = [both(first, size) for first in range(0, len(tower.x) - size + 1, size)]
        covered = size * len(parts)
        if torch.cat([one for one, _ in parts]).equal(z[:covered]) and torch.cat([one for _, one in parts]).equal(
            gradient[:covered]
        ):
            equal.append(size)
    return equal


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def report(name: str, batch: int, steps: int, rounds: int) -> str:
    """Both tables as Markdown."""
    machine = (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    lines = [
        f"Encoder `{name}`, {batch} samples, {steps} steps, medians of {rounds} alternating "
        f"rounds, one thread. {machine}; ironbind {__version__}.",
        "",
        "| tower | bare loop (CPU s) | engine, robust (CPU s) | ratio | engine, falls at once (CPU s) | ratio |",
        "|---|---|---|---|---|---|",
    ]
    all_towers = towers(name, batch)
    ratios: dict[str, list[float]] = {"robust": [], "falls": []}
    for tower in all_towers:
        t = compare(tower, steps, rounds)
        robust, falls = t["robust ratio"], t["falls ratio"]
        ratios["robust"].append(robust)
        ratios["falls"].append(falls)
        engine, fallen = t["robust engine"], t["falls engine"]
        lines.append(
            f"| {tower.name} | {t['robust bare']:.3f} | {engine:.3f} | {robust:.3f} | {fallen:.3f} | {falls:.3f} |"
        )
        print(lines[-1], flush=True)
    medians = {case: statistics.median(values) for case, values in ratios.items()}
    lines += [
        "",
        f"Median: {medians['robust']:.3f} on robust samples (target <= 1.05), "
        f"{medians['falls']:.3f} on those that fall at once (target <= 0.3).",
        "",
        f"Batch sizes whose embeddings and input gradients agree bit for bit with those of a batch of {batch}:",
        "",
        "| tower | one thread | two threads |",
        "|---|---|---|",
    ]
    for tower in all_towers:
        cells = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cells.append(", ".join(map(str, agreeing(tower))) or "none")
        torch.set_num_threads(1)
        lines.append(f"| {tower.name} | {cells[0]} | {cells[1]} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--encoder", default="tiny", help='a name of `ironbind ls encoders`, or "trunk" for a stand-in without weights'
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/engine.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    name = asked.encoder
    if name != "trunk":
        try:
            load_encoder(name)
        except InputError as error:
            print(f"{error}; measuring the stand-in instead")
            name = "trunk"
    tables = report(name, asked.batch, asked.steps, asked.rounds)
    print(tables)
    if asked.write:
        put(PAGE, "engine", tables)


if __name__ == "__main__":
    main()
