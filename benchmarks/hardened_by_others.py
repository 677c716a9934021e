"""What the strongest attack of this repository leaves standing of a hardened set, attacked again by other people's
code: `hardened_by_others.py [--heads shipped-small] [--only image,thermal] [--samples 100] [--write]`.

The strongest attack is that of docs/what-survives.md (the ensemble, then APGD-100 with two restarts on margin and on
cross-entropy) at Linf 4/255. What stands after it is handed, through `encoder.embed` and the class centers, to
AutoAttack standard (pyautoattack) and to Foolbox's PGD of 40 steps. Whatever falls to them is a point that the page
claims too much. It needs the environment of `make peers`; a library that is missing is a cell that says so.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from against import libraries
from against.contest import NotAvailable
from against.meter import Classifier
from default_attack import attacked
from torch import Tensor, nn

from ironbind.core.markdown_tables import markdown_table, put
from ironbind.data import load_dataset
from ironbind.evaluate.attack_variants import attacks_for
from ironbind.evaluate.tasks.zero_shot import ZeroShot, zero_shot
from ironbind.numerics.networks import frozen
from ironbind.runs.defaults import STRONGEST
from ironbind.runs.pretrained import SHIPPED_FOLDERS, from_pretrained
from ironbind.types import Linf

PAGE = Path(__file__).parents[1] / "docs" / "one-percent.md"
BUDGET, BATCH, SEED = Linf("4/255"), 50, 3
PIXELS = ("image", "thermal")  # what AutoAttack takes: planes within [0, 1]


def autoattack(model: Classifier, x: Tensor, label: Tensor) -> Tensor:
    return libraries.autoattack_standard(model, x, label, BUDGET.radius, BATCH, SEED).x


def foolbox_pgd(model: Classifier, x: Tensor, label: Tensor) -> Tensor:
    torch.manual_seed(SEED)
    return libraries.foolbox("LinfPGD", model, x, label, BUDGET.radius, steps=40)


OTHERS: dict[str, tuple[str, Callable[[Classifier, Tensor, Tensor], Tensor]]] = {
    "AutoAttack standard": ("pyautoattack", autoattack),
    "Foolbox PGD-40": ("foolbox", foolbox_pgd),
}


def measured(heads: str, modality: str, samples: int) -> dict[str, int | str]:
    """How many are right, stand after ours, and of these fall to each of the others."""
    hard = from_pretrained(heads)
    task = zero_shot(hard, load_dataset("world", split="test", n=samples, seed=0), modality)
    rows = fallen(task, task.load(range(samples)), list(range(samples)), False)
    counts: dict[str, int | str] = {"right": len(rows)}
    strongest = attacks_for(task, STRONGEST, (BUDGET,), Path())
    rows, _ = attacked(task, strongest, rows, BUDGET, BATCH, SEED)
    counts["stand"] = len(rows)
    x, label = task.load(rows), torch.tensor([task.dataset.labels[row] for row in rows])
    with frozen(task.encoder):
        model = Classifier(nn.ModuleList(hard.adapters[modality].networks), task.embed, task.centers).eval()
        for name, (library, attack) in OTHERS.items():
            try:
                libraries.ready(library)
            except NotAvailable as missing:
                counts[name] = str(missing)
                continue
            examples = attack(model, x.clone(), label.clone())
            if (examples - x).abs().max() > BUDGET.radius * (1 + 1e-4):
                counts[name] = "left the budget"
                continue
            counts[name] = len(fallen(task, examples, rows, True))
    return counts


def fallen(task: ZeroShot, x: Tensor, rows: list[int], reached: bool) -> list[int]:
    """Those of the `rows` whose inputs `x` are misclassified, or (`reached` False) are not."""
    with frozen(task.encoder), torch.no_grad():
        z = torch.cat([task.embed(part) for part in x.split(BATCH)])
    verdicts = task.goal(rows).reached(z).tolist()
    return [row for row, fell in zip(rows, verdicts, strict=True) if fell is reached]


def main() -> None:
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--heads", help="comma-separated sets", default=",".join(SHIPPED_FOLDERS))
    options.add_argument("--only", help="comma-separated inputs", default=",".join(PIXELS))
    options.add_argument("--samples", type=int, default=100)
    options.add_argument("--out", type=Path, default=Path("runs/hardened_by_others"), help="where results are kept")
    options.add_argument("--write", action="store_true", help="put the table of what is kept into docs/one-percent.md")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for heads in given.heads.split(","):
        weights = from_pretrained(heads).weights_sha256[:8]
        for modality in given.only.split(","):
            kept = given.out / f"{heads}-{weights}-{modality}-{given.samples}.json"
            if not kept.exists():
                kept.write_text(json.dumps(measured(heads, modality, given.samples)), encoding="utf-8")
            counts = json.loads(kept.read_text(encoding="utf-8"))
            lines.append((heads, modality, given.samples, *counts.values()))
            print(lines[-1], flush=True)
    fall = [f"of these fall to {one}" for one in OTHERS]
    head = ("set", "input", "samples", "right", "stand after the strongest attack here", *fall)
    if given.write:
        put(PAGE, "others", markdown_table(head, lines))
    else:
        print(markdown_table(head, lines))


if __name__ == "__main__":
    main()
