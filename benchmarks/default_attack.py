"""What the default attack leaves standing, attacked again as AutoAttack would: `default_attack.py [--samples 64]
[--write]`.

Every input of the built-in encoder, plain and hardened (`from_pretrained()`), at a radius that about half of the
samples withstand, on samples of the test split under a seed that no default was chosen on. The default attack runs
first; what it leaves standing gets AutoAttack's two white-box stages with AutoAttack's steps: APGD-CE (100 steps) and
APGD-T (100 steps, nine targets), from starts of their own. Whatever falls to them is a verdict that the default got
wrong. A case that is done is kept under --out; --write puts the table into docs/benchmarks.md.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ironbind.attacks import APGD, TargetedAPGD
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.evaluate.attack_variants import attacks_for
from ironbind.evaluate.evaluator import RULES
from ironbind.evaluate.tasks.zero_shot import ZeroShot, zero_shot
from ironbind.numerics.batching import batches
from ironbind.numerics.metrics import wilson
from ironbind.numerics.networks import frozen
from ironbind.numerics.sample_random import PerSample
from ironbind.runs.defaults import DEFAULT_ATTACKS
from ironbind.runs.pretrained import from_pretrained
from ironbind.types import Attack, Linf

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SEED = 11
RADII = {  # of 255; plain and hardened
    ("image", "pixels"): ("1.5", "6"),
    ("video", "pixels"): ("1", "4"),
    ("audio", "logmel"): ("1", "4"),
    ("audio", "waveform"): ("0.4", "1.6"),
    ("point", "unit_sphere"): ("2", "4"),
    ("thermal", "pixels"): ("1.5", "4"),
    ("event", "event_frames"): ("8", "8"),
}
AUTOATTACK: tuple[Attack, ...] = (APGD(100, loss="ce"), TargetedAPGD(100))
GRADIENTS, FORWARDS = 1910, 5978  # of AutoAttack standard on a sample that stands, counted in its code
PASSES = 2 * GRADIENTS + FORWARDS


@dataclass
class Case:
    """What came of one input: how many samples there are, are right, stand after the default, fall to AutoAttack's
    stages after that; passes of the default on those that stand."""

    encoder: str
    modality: str
    space: str
    radius: str
    samples: int
    rules: int = RULES
    right: int = 0
    stand: int = 0
    missed: int = 0
    gradients: int = 0
    forwards: int = 0

    @property
    def place(self) -> str:
        return f"{self.encoder}-{self.modality}-{self.space}-{self.samples}.json"


def cases(samples: int) -> Iterator[Case]:
    for number, encoder in enumerate(("hardened", "plain")):
        for (modality, space), radii in RADII.items():
            yield Case(encoder, modality, space, f"{radii[1 - number]}/255", samples)


def measured(case: Case, batch_size: int = 64) -> Case:
    encoder = from_pretrained() if case.encoder == "hardened" else load_encoder("tiny")
    task = zero_shot(encoder, load_dataset("world", n=case.samples, seed=SEED), case.modality, space=case.space)
    budget = Linf(case.radius)
    default = attacks_for(task, DEFAULT_ATTACKS, (budget,), Path())
    with frozen(task.encoder), torch.no_grad():
        embedded = torch.cat([task.embed(task.load(rows)) for rows in batches(range(case.samples), batch_size)])
        everyone = list(range(case.samples))
        right = (~task.goal(everyone).reached(embedded)).nonzero().squeeze(1).tolist()
    stand, cost = attacked(task, default, right, budget, batch_size)
    left, _ = attacked(task, AUTOATTACK, stand, budget, batch_size)
    return replace(
        case, right=len(right), stand=len(stand), missed=len(stand) - len(left),
        gradients=sum(cost[row][0] for row in stand), forwards=sum(cost[row][1] for row in stand),
    )  # fmt: skip


def attacked(
    task: ZeroShot, attacks: Sequence[Attack], rows: list[int], budget: Linf, batch_size: int, seed: int = SEED
) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """The samples that stand after these attacks, each on what the ones before it left, and passes by sample."""
    cost = dict.fromkeys(rows, (0, 0))
    for attack in attacks:
        left: list[int] = []
        for part in batches(rows, batch_size):
            ids = [task.dataset.ids[row] for row in part]
            rng = PerSample.of(seed, ids, f"{attack.name} {budget} top1")
            with frozen(task.encoder):
                found = attack(task.embed, task.load(part), task.goal(part), task.space, budget, rng)
            for i, row in enumerate(part):
                spent = (int(found.gradient_passes[i]), int(found.forward_passes[i]))
                cost[row] = (cost[row][0] + spent[0], cost[row][1] + spent[1])
            left += [row for row, reached in zip(part, found.reached.tolist(), strict=True) if not reached]
        rows = left
    return rows, cost


def table(done: Sequence[Case]) -> str:
    lines = [
        (
            one.encoder,
            f"{one.modality} ({one.space})",
            one.radius,
            f"{100 * one.right / one.samples:.1f}",
            f"{100 * one.stand / one.samples:.1f}",
            one.missed,
            f"{100 * one.missed / one.samples:.1f}",
            f"{one.gradients / max(one.stand, 1):.0f} + {one.forwards / max(one.stand, 1):.0f}",
            f"{100 * (2 * one.gradients + one.forwards) / max(one.stand, 1) / PASSES:.1f}",
        )
        for one in done
    ]
    head = (
        "encoder", "input", "radius", "clean (%)", "stand after the default (%)", "of these fall to AutoAttack",
        "verdicts that differ (%)", "passes of a sample that stands (gradient + forward)",
        "of AutoAttack standard's (%)",
    )  # fmt: skip
    missed, samples = sum(one.missed for one in done), sum(one.samples for one in done)
    low, high = (100 * share for share in wilson(missed, samples)[1:])
    weights = load_encoder("tiny").weights_sha256[:8]
    text = (
        f"{missed} of {samples} verdicts differ ({100 * missed / samples:.2f} %, 95 % interval {low:.2f} to "
        f"{high:.2f}). World, split test, seed {SEED}, {done[0].samples} samples for each input; weights `{weights}`."
    )
    return f"{markdown_table(head, lines)}\n\n{text}"


def main() -> None:
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--samples", type=int, default=64)
    options.add_argument("--out", type=Path, default=Path("runs/default_attack"), help="where finished cases are kept")
    options.add_argument("--fresh", action="store_true", help="measure every case again")
    options.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    done = []
    for case in cases(given.samples):
        kept = given.out / case.place
        stored = Case(**json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() and not given.fresh else None
        if stored is None or (stored.rules, stored.radius) != (case.rules, case.radius):
            stored = measured(case)
            kept.write_text(json.dumps(asdict(stored)), encoding="utf-8")
        done.append(stored)
        print(stored, flush=True)
    print(table(done))
    if given.write:
        put(PAGE, "default", table(done))


if __name__ == "__main__":
    main()
