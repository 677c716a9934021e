"""What the built-in encoder can do, measured: the tables of docs/built-in-encoder.md. Run by `train_tiny.py
--evaluate`.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ironbind.core.markdown_tables import markdown_table
from ironbind.data.world.dataset import TEMPLATES, World
from ironbind.encoders.tiny.encoder import PREPARE, TinyEncoder, load, tokenize
from ironbind.encoders.tiny.model import TinyModel

MODALITIES = ("image", "video", "audio", "point", "thermal", "event")
PAGE = Path(__file__).parent.parent / "docs" / "built-in-encoder.md"
MARK = "<!-- everything below is written by scripts/train_tiny.py --evaluate -->"


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def prompts(names: tuple[str, ...], templates: tuple[str, ...] = TEMPLATES) -> Tensor:
    """Word numbers `names templates length`."""
    return torch.stack([tokenize([one.format(name) for one in templates]) for name in names])


def class_rows(model: TinyModel, numbers: Tensor) -> Tensor:
    """Unit rows, one per name: the mean over its templates."""
    return F.normalize(model("text", numbers.flatten(0, 1)).unflatten(0, numbers.shape[:2]).mean(1), dim=-1)


# ------------------------------------------------------------------------------------------------------- evaluation


def wilson(hits: int, n: int) -> list[float]:
    """The 95 % interval of a share, in percent."""
    z, p = 1.959964, hits / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round(float(100 * (middle + side * half) / (1 + z * z / n)), 1) for side in (-1, 1)]


def embedded(encoder: TinyEncoder, world: World, modality: str) -> Iterator[Tensor]:
    for begin in range(0, len(world), 64):
        x = torch.stack(
            [PREPARE[modality](one) for one in world.decode(modality, range(begin, min(begin + 64, len(world))))]
        )
        yield encoder.embed(modality, x)


@torch.no_grad()
def evaluate(n: int, gallery: int, attack: int) -> dict[str, Any]:
    """Zero-shot top-1 on three splits, recall@1/5/10 of all pairs, and (attack > 0) top-1 under ten steps of PGD at
    4/255.
    """
    torch.set_num_threads(1)
    encoder = load()
    out: dict[str, Any] = {
        "seed": 0,
        "weights_sha256": encoder.weights_sha256,
        "n": n,
        "gallery": gallery,
        "zero_shot": {},
        "recall": {},
    }
    z: dict[str, Tensor] = {}
    for split in ("test", "held_out_combinations", "held_out_classes"):
        world = World(split, n)
        rows = class_rows(encoder.model, prompts(world.classes))
        label = torch.tensor(world.labels)
        for modality in MODALITIES:
            z[modality] = torch.cat(list(embedded(encoder, world, modality)))
            hits = int(((z[modality] @ rows.T).argmax(1) == label).sum())
            out["zero_shot"].setdefault(modality, {})[split] = {
                "top1": round(100 * hits / n, 1),
                "interval": wilson(hits, n),
                "chance": 100 / len(world.classes),
            }
        if split == "test":
            z["text"] = encoder.embed_text(list(world.captions))
            for a in z:
                for b in z:
                    order = (z[a][:gallery] @ z[b][:gallery].T).argsort(1, descending=True)
                    rank = (order == torch.arange(gallery)[:, None]).nonzero()[:, 1]
                    out["recall"].setdefault(a, {})[b] = [
                        round(100 * float((rank < k).float().mean()), 1) for k in (1, 5, 10)
                    ]
            if attack:
                out["pgd10_4_255"] = {
                    modality: attacked(encoder, world, modality, rows, attack) for modality in MODALITIES
                }
        log(f"{split} done")
    return out


def attacked(encoder: TinyEncoder, world: World, modality: str, rows: Tensor, n: int) -> dict[str, float]:
    """Top-1 of n samples, clean and under ten margin steps at 4/255 in the space an audit attacks (no restarts)."""
    spec = encoder.inputs[modality]
    space = spec.space_named(None)
    x = torch.stack([PREPARE[modality](one) for one in world.decode(modality, range(n))])
    x, label, eps = spec.convert(x, space.name), torch.tensor(world.labels[:n]), 4 / 255
    moved = (x + eps * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 1)).clamp(
        space.low, space.high
    )
    for _ in range(10):
        with torch.enable_grad():
            moved.requires_grad_(True)
            logits = encoder.embed(modality, moved, space.name) @ rows.T
            true = logits.gather(1, label[:, None])[:, 0]
            loss = (logits.scatter(1, label[:, None], -9).amax(1) - true).sum()
            gradient = torch.autograd.grad(loss, moved)[0]
        moved = (moved.detach() + eps / 4 * gradient.sign()).clamp(x - eps, x + eps).clamp(space.low, space.high)
    right = [(encoder.embed(modality, one, space.name) @ rows.T).argmax(1) == label for one in (x, moved)]
    return {
        name: round(100 * float(one.float().mean()), 1) for name, one in zip(("clean", "attacked"), right, strict=True)
    }


def page(card: dict[str, Any]) -> str:
    """The measured half of the page, from the card of the weights."""
    results, training = card["results"], card["training"]

    def cell(one: dict[str, Any]) -> str:
        return f"{one['top1']} ({one['interval'][0]}-{one['interval'][1]})"

    splits = ("test", "held_out_combinations", "held_out_classes")
    zero_shot = [[name, *(cell(results["zero_shot"][name][split]) for split in splits)] for name in MODALITIES]
    names = [*MODALITIES, "text"]
    recalls = [
        [a, *("-" if a == b else " / ".join(f"{r:g}" for r in results["recall"][a][b]) for b in names)] for a in names
    ]
    attacked = [
        [name, results["pgd10_4_255"][name]["clean"], results["pgd10_4_255"][name]["attacked"]] for name in MODALITIES
    ]
    chance = " / ".join(f"{100 * k / results['gallery']:g}" for k in (1, 5, 10))
    phases = [
        (name, phase, f"{prefix}{name}")
        for name in MODALITIES
        for phase, prefix in (("first", ""), ("polish", "polished-"))
    ]
    towers = [
        [
            name,
            card["parameters"][name],
            phase,
            *(training[made][key] for key in ("steps", "batch", "instances", "seconds")),
        ]
        for name, phase, made in phases
        if made in training
    ]
    return "\n\n".join([
        MARK,
        f"Weights sha256 `{card['sha256']}`, {card['bytes'] / 1e6:.2f} MB; Python {card['python']}, "
        f"torch {card['torch']}, numpy {card['numpy']}; {card['machine']}.",
        f"## Zero-shot top-1 (percent, 95 % Wilson interval, n = {results['n']}, world seed {results['seed']})",
        markdown_table(
            ["modality", "test (chance 5)", "held-out class x material (chance 5)", "held-out classes (chance 25)"],
            zero_shot,
        ),
        f"## Retrieval: R@1 / R@5 / R@10 (percent, gallery of {results['gallery']}, rows search columns)",
        f"Chance is {chance}.",
        markdown_table(["query", *names], recalls),
        f"## Top-1 under attack (ten steps of PGD on the margin, linf 4/255, no restarts, n = {results['attacked']})",
        markdown_table(["modality", "clean", "attacked"], attacked),
        "## Training",
        f"Text tower: {card['parameters']['text']} parameters, trained with image. "
        "Seconds are wall time on a machine shared with other work.",
        markdown_table(["tower", "parameters", "phase", "steps", "batch", "different instances", "seconds"], towers),
    ]) + "\n"  # fmt: skip


def write_tables(card_path: Path, n: int, attack: int) -> None:
    """Evaluate the shipped weights, put the results on their card and the tables on their page."""
    results = {**evaluate(n, min(500, n), attack), "attacked": attack}
    card = {**json.loads(card_path.read_text(encoding="utf-8")), "results": results}
    card_path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(PAGE.read_text(encoding="utf-8").split(MARK)[0] + page(card), encoding="utf-8")
    print(json.dumps({name: results[name] for name in ("zero_shot", "pgd10_4_255") if name in results}, indent=1))
