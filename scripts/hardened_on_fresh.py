"""The shipped adapters on samples that nobody has looked at: is what the page claims particular to the samples it was measured on?

    python scripts/hardened_on_fresh.py    # two processes, about four minutes; writes its table into docs/what-survives.md

Parts were added to the training after looking at numbers of the reported samples (seed 0 of the test split). This asks the same of seed 1, by one
attack, on both.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import torch
from hardened_evaluation import PAGE, N

from ironbind.attacks import APGD
from ironbind.data import load_dataset
from ironbind.encoders.tiny import load
from ironbind.maths.modules import frozen
from ironbind.maths.random import PerSample
from ironbind.recipes.audits import SIX
from ironbind.recipes.hub import from_pretrained
from ironbind.recipes.tasks import zero_shot
from ironbind.tables import markdown_table, put
from ironbind.types import Linf

ATTACK, BUDGET, BATCH = APGD(40, loss="ce"), Linf("4/255"), 100
SEEDS = (0, 1)


def measure(modality: str, seed: int) -> tuple[float, float, float, float, float]:
    """Clean before and after, cosine of new to old clean embeddings, attacked before and after; in percent but for the cosine."""
    torch.set_num_threads(1)
    encoder = load()
    hard = from_pretrained(encoder=encoder)
    data = load_dataset("world", split="test", n=N, seed=seed)
    task = zero_shot(encoder, data, modality)
    rows, x, goal = range(N), task.load(range(N)), task.goal(range(N))
    with torch.no_grad():
        old, new = task.embed(x), task.on(hard).embed(x)
    clean = [100 * float((~goal.reached(z)).float().mean()) for z in (old, new)]
    stood = []
    for who in (encoder, hard):
        with frozen(who):
            left = 0
            for first in range(0, N, BATCH):
                some = rows[first : first + BATCH]
                rng = PerSample.of(0, [data.ids[row] for row in some], "fresh")
                found = ATTACK(task.on(who).embed, x[first : first + BATCH], task.goal(some), task.space, BUDGET, rng)
                left += int((~found.reached).sum())
        stood.append(100 * left / N)
    return clean[0], clean[1], float((old * new).sum(1).mean()), stood[0], stood[1]


def main() -> None:
    asked = list(product(SIX, SEEDS))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(asked, pool.map(measure, *zip(*asked, strict=True)), strict=True))
    head = ("input", "samples", "clean before", "clean after", "cosine", "attacked before", "adaptive", "gain")

    def line(name: str, seed: int, one: tuple[float, ...]) -> tuple[str, ...]:
        clean, after, cosine, before, held = one
        said = "reported" if seed == SEEDS[0] else "fresh"
        return name, said, f"{clean:.1f}", f"{after:.1f}", f"{cosine:.4f}", f"{before:.1f}", f"{held:.1f}", f"{held - before:+.1f}"

    lines = [line(modality, seed, found[modality, seed]) for modality, seed in asked]
    for seed in SEEDS:
        lines.append(line("mean", seed, tuple(sum(column) / len(SIX) for column in zip(*(found[one, seed] for one in SIX), strict=True))))
    put(PAGE, "fresh", markdown_table(head, lines))


if __name__ == "__main__":
    main()
