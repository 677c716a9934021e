"""The shipped adapters on samples that nobody has looked at: is what the page claims particular to the samples it was
measured on?

    python scripts/hardened_on_fresh.py                        # two processes, about six minutes; writes its table
                                                               # into docs/what-survives.md
    python scripts/hardened_on_fresh.py --heads shipped-small  # of a set below one percent: into docs/one-percent.md

Parts were added to the training after looking at numbers of the reported samples (seed 0 of the test split). This asks
the same of seed 1, by one attack, on both.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context

import torch
from hardened_evaluation import ONE_PERCENT_PAGE, PAGE, N, cell

from ironbind.api import audit
from ironbind.attacks import APGD
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.data import load_dataset
from ironbind.encoders.tiny.encoder import load
from ironbind.recipes.request import SIX
from ironbind.runs.pretrained import SHIPPED, SHIPPED_FOLDERS, from_pretrained
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import Linf

ATTACK, BUDGET = APGD(40, loss="ce"), Linf("4/255")
SEEDS = (0, 1)


def measure(name: str, modality: str, seed: int) -> tuple[float, float, float, float, float]:
    """Clean before and after, cosine of new to old clean embeddings, attacked before and after; in percent but for the
    cosine.
    """
    torch.set_num_threads(1)
    encoder = load()
    task = zero_shot(encoder, load_dataset("world", split="test", n=N, seed=seed), modality)
    result = audit(task.on(from_pretrained(name, encoder)), ATTACK, BUDGET, checks=False)
    get = partial(cell, result, modality)
    cosine = result.value(calibration=name, metric="cosine")
    return (
        get("none", "clean").value,
        get(name, "clean").value,
        cosine,
        get("none", "whitebox").value,
        get(name, "adaptive").value,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", choices=tuple(SHIPPED_FOLDERS), default=SHIPPED, help="the set that is asked")
    heads = parser.parse_args().heads
    inputs = [one for one in SIX if one in from_pretrained(heads).modalities]
    asked = list(product(inputs, SEEDS))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(asked, pool.map(partial(measure, heads), *zip(*asked, strict=True)), strict=True))
    head = ("input", "samples", "clean before", "clean after", "cosine", "attacked before", "adaptive", "gain")

    def line(name: str, seed: int, one: tuple[float, ...]) -> tuple[str, ...]:
        clean, after, cosine, before, held = one
        said = "reported" if seed == SEEDS[0] else "fresh"
        return (
            name,
            said,
            f"{clean:.1f}",
            f"{after:.1f}",
            f"{cosine:.4f}",
            f"{before:.1f}",
            f"{held:.1f}",
            f"{held - before:+.1f}",
        )

    lines = [line(modality, seed, found[modality, seed]) for modality, seed in asked]
    for seed in SEEDS:
        lines.append(
            line(
                "mean",
                seed,
                tuple(sum(column) / len(inputs) for column in zip(*(found[one, seed] for one in inputs), strict=True)),
            )
        )
    page, mark = (PAGE, "fresh") if heads == SHIPPED else (ONE_PERCENT_PAGE, heads.replace(SHIPPED, "fresh"))
    put(page, mark, markdown_table(head, lines))


if __name__ == "__main__":
    main()
