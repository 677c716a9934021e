"""Hubs against the guard of an index, and the cost of a scan: `index_guard.py` prints the tables of
docs/index-guard.md; `--write` puts them there.

Galleries: the first instances of the world's split "test" in one modality. The guard asks captions of another seed of
that split. Hubs are perturbed instances of the split "tune", whose captions are the attacker's known queries. Each hub
enters the gallery alone. The guard calibrates itself on the gallery, without a clean reference.
"""

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ironbind.attacks import APGD
from ironbind.core.default_budgets import comparable
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import write_atomically
from ironbind.core.tables.intervals import clopper_pearson
from ironbind.data.world.dataset import World
from ironbind.encoders import load_encoder
from ironbind.goals.hub import Hub
from ironbind.goals.undetected_hub import HubLimits, UndetectedHub
from ironbind.index_guard.attacker import Knowledge, knowledge, silent_score
from ironbind.index_guard.index_scan import Looked, ScanSettings, look_through, scan_index
from ironbind.index_guard.nearest_rows import nearest_rows
from ironbind.index_guard.read_index import read_index
from ironbind.index_guard.stored_rows import StoredRows
from ironbind.numerics.networks import frozen
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Encoder, Linf

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "index-guard.md"
MODALITIES = ("image", "video", "audio", "point", "thermal", "event")
ROWS, QUERIES = 10_000, 5_000
STEPS, SOFTNESS = 100, 0.03
STARTS = 3  # perturbed instances for each hub: the attacker keeps the best by the queries that he knows
ALERT_BUDGET = 0.2  # per cent


@dataclass(frozen=True)
class Setting:
    """One line of the table: `known` queries, all or of one concept, `quiet` to the guard; `radius` of a perturbed
    input, as for images, "" for a vector that is written into the index.
    """

    radius: str
    known: int
    of_one_concept: bool = False
    quiet: bool = False

    @property
    def name(self) -> str:
        kind = "input" if self.radius else "vector"
        return kind + (", one concept" if self.of_one_concept else "") + (", adaptive" if self.quiet else "")


SETTINGS = (
    *(Setting("", known) for known in (1, 10, 100, 1000)),
    Setting("", 100, of_one_concept=True),
    Setting("", 1000, quiet=True),
    Setting("16/255", 1000),
    Setting("64/255", 1000),
    Setting("16/255", 100, of_one_concept=True),
    Setting("16/255", 1000, quiet=True),
)


def gallery(encoder: Encoder, modality: str, cache: Path) -> np.ndarray:
    """The rows of a gallery, kept in `cache`."""
    path = cache / f"{modality}-{ROWS}.npy"
    if not path.exists():
        world = World("test", ROWS)
        parts = [embedded(encoder, world, modality, range(a, min(ROWS, a + 100))) for a in range(0, ROWS, 100)]
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(parts))
    return np.load(path)


def embedded(encoder: Encoder, world: World, modality: str, indices: Sequence[int]) -> np.ndarray:
    x = torch.stack([encoder.inputs[modality].prepare(each) for each in world.decode(modality, indices)])
    with torch.no_grad():
        return encoder.embed(modality, x).float().numpy()


def captions(encoder: Encoder, world: World) -> np.ndarray:
    texts = list(world.captions)
    with torch.no_grad():
        return torch.cat([encoder.embed_text(texts[a : a + 100]) for a in range(0, len(texts), 100)]).float().numpy()


def hubs(encoder: Encoder, modality: str, setting: Setting, guard: Knowledge, count: int) -> np.ndarray:
    """Embeddings of so many hubs, each among the first k of as many known queries as possible; of concept hubs, each of
    one concept, in turn. STARTS instances are tried for each.
    """
    world = World("tune", STARTS * count)
    concepts: Sequence[int | None] = range(len(guard.of_concept)) if setting.of_one_concept else (None,)
    x = torch.stack([encoder.inputs[modality].prepare(each) for each in world.decode(modality, range(len(world)))])
    out = []
    for place, concept in enumerate(concepts):
        rows = np.arange(place * STARTS, len(x), len(concepts) * STARTS)[:, None] + np.arange(STARTS)
        rows = rows[(rows < len(x)).all(axis=1)].ravel()
        if not len(rows):
            continue
        everyone = np.arange(len(guard.queries))
        pursued = (everyone if concept is None else np.flatnonzero(guard.concept == concept))[: setting.known]
        last = torch.from_numpy(guard.last[pursued]).float()
        goal: Hub | UndetectedHub = Hub(torch.from_numpy(guard.queries[pursued]), last, softness=SOFTNESS)
        if setting.quiet:
            # the limit is a share of all queries, of which those of this concept are a part
            part = 1.0 if concept is None else float((guard.concept == concept).mean())
            limits = HubLimits(guard.share / part, torch.from_numpy(guard.of_concept).float(), guard.concepts)
            goal = UndetectedHub(goal, last, torch.from_numpy(guard.concept[pursued]), limits)
        rng = PerSample.of(0, [world.ids[row] for row in rows], "index guard")
        z = perturbed(encoder, modality, setting.radius, x[rows], goal, rng)
        best = goal.loss(z).reshape(-1, STARTS).argmax(dim=1)
        out.append(z.reshape(-1, STARTS, z.shape[1])[torch.arange(len(best)), best].numpy())
    return np.concatenate(out)


def perturbed(
    encoder: Encoder, modality: str, radius: str, x: torch.Tensor, goal: Hub | UndetectedHub, rng: PerSample
) -> torch.Tensor:
    """Embeddings of perturbed inputs; without a radius the embedding itself climbs (Adam), the best of all steps."""
    space = encoder.inputs[modality].space
    with frozen(encoder):
        if radius:
            attack = APGD(steps=STEPS, stop_when_reached=False)
            budget = comparable(Linf(radius), space.name)
            x = attack(lambda at: encoder.embed(modality, at).float(), x, goal, space, budget, rng).x
        with torch.no_grad():
            z = encoder.embed(modality, x).float()
    if radius:
        return z
    best, reached = z.clone(), goal.loss(z)
    free = z.clone().requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.02)
    for _ in range(STEPS):
        optimiser.zero_grad()
        unit = torch.nn.functional.normalize(free, dim=1)
        loss = goal.loss(unit)
        (-loss.sum()).backward()
        better = loss.detach() > reached
        best[better], reached[better] = unit.detach()[better], loss.detach()[better]
        optimiser.step()
    return best


def measured(looked: Looked, items: np.ndarray) -> tuple[int, int, float, float]:
    """Hubs within the alert budget, hubs flagged, mean share of the guard's queries that return a hub first, and among
    the first k.
    """
    counts = looked.counts_of(StoredRows("hubs", items))
    scores, natural = looked.baseline.scores(counts), np.zeros(ROWS)
    natural[looked.counts.rows] = looked.baseline.scores(looked.counts)
    allowed = np.sort(natural)[-int(ALERT_BUDGET / 100 * (ROWS + 1))]  # the last natural row that would be reviewed
    result = looked.result("check", counts, len(items), None)
    first = (items.astype(np.float64) @ looked.queries.z.astype(np.float64).T >= looked.pool.scores[:, 0]).mean()
    return (
        int((scores > allowed).sum()),
        len(result.flagged),
        float(first),
        float(counts.total.mean() / len(looked.queries)),
    )


def attack_lines(encoder: Encoder, modality: str, cache: Path, count: int) -> list[tuple[str, ...]]:
    """The lines of one gallery. What was measured is kept in `cache`, line by line, and read back from there."""
    stored = cache / f"lines-{modality}-{ROWS}-{QUERIES}-{STEPS}-{count}-{STARTS}.json"
    kept: dict[str, tuple[str, ...]] = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    wanted = ["none", *map(repr, SETTINGS)]
    if not all(name in kept for name in wanted):
        asked = captions(encoder, World("test", QUERIES, 1))
        known = captions(encoder, World("tune", 3000))
        index = StoredRows(modality, gallery(encoder, modality, cache))
        looked = look_through(index, StoredRows("captions", asked), ScanSettings(queries=QUERIES))
        guard = knowledge(looked, known, silent_score(looked))  # an attacker who knows the guard
        clean = looked.result("scan", looked.counts, ROWS, None)
        largest = f"largest {100 * int(looked.counts.total.max()) / QUERIES:.1f}"
        kept["none"] = (modality, "none", "–", "–", largest, "–", "–", f"{len(clean.flagged)} rows")
    for setting in SETTINGS:
        if repr(setting) in kept:
            continue
        items = hubs(encoder, modality, setting, guard, count)
        reviewed, flagged, first, share = measured(looked, items)
        space = encoder.inputs[modality].space.name
        budget = comparable(Linf(setting.radius), space).written if setting.radius else "–"
        kept[repr(setting)] = (
            modality, setting.name, budget, str(setting.known), f"{100 * share:.1f}", f"{100 * first:.1f}",
            _share(reviewed, len(items)), _share(flagged, len(items)),
        )  # fmt: skip
        print(" | ".join(kept[repr(setting)]), flush=True)
        write_atomically(stored, json.dumps(kept, indent=1))
    return [tuple(kept[name]) for name in wanted]


def attack_table(cache: Path, count: int, modalities: Sequence[str]) -> str:
    encoder = load_encoder("tiny")
    lines = [line for modality in modalities for line in attack_lines(encoder, modality, cache, count)]
    head = (
        "gallery",
        "hub",
        "radius",
        "known queries",
        "top 10, % of queries",
        "first, %",
        "recall at 0.2 %",
        "flagged",
    )
    said = (
        f"Galleries of {ROWS:,} rows, {QUERIES:,} queries of the guard, {count} hubs a line, each alone in the "
        f"gallery, the best of {STARTS} instances by the known queries; {STEPS} steps of APGD (inputs) or Adam "
        "(vectors). Recall and flagged in %, with 95 % intervals (Clopper-Pearson)."
    )
    return f"{markdown_table(head, lines)}\n\n{said}"


def cost_table(cache: Path, rows: int) -> str:
    """A scan of synthetic rows beside FAISS's own flat search for the same queries, in one process with one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    path = cache / f"synthetic-{rows}.npy"
    rng = np.random.default_rng(0)
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.standard_normal((rows, 128), dtype=np.float32))
    asked = np.random.default_rng(1).standard_normal((2000, 128), dtype=np.float32)
    resident: list[int] = []
    before = _anonymous()
    index = read_index(path)
    seconds = time.process_time()
    scan_index(index, StoredRows("queries", asked), progress=lambda done, total: resident.append(_anonymous()))
    scan = time.process_time() - seconds
    memory = max(*resident, _anonymous()) - before
    seconds = time.process_time()
    nearest_rows(index, asked, "cosine", 10)
    search = time.process_time() - seconds
    flat = faiss.IndexFlatIP(128)
    for first in range(0, rows, 100_000):
        block = index.z[first : first + 100_000].copy()
        faiss.normalize_L2(block)
        flat.add(block)
    queries = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    seconds = time.process_time()
    flat.search(queries, 10)
    own = time.process_time() - seconds
    lines = [
        ("FAISS, flat search of 10", "1.00", f"{rows * 128 * 4 / 2**20:.0f} MiB (the index)"),
        ("search of 10 alone", f"{search / own:.2f}", "–"),
        ("whole scan", f"{scan / own:.2f}", f"{memory / 2**20:.0f} MiB, beside the mapped file"),
    ]
    said = f"{rows:,} synthetic rows of 128, {len(asked):,} queries, CPU seconds of one process with one thread."
    return f"{markdown_table(('what', 'CPU time, FAISS = 1', 'memory'), lines)}\n\n{said}"


def _anonymous() -> int:
    """Bytes of memory of this process that no file backs (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", status)[0])


def _share(hits: int, n: int) -> str:
    value, low, high = (100 * each for each in clopper_pearson(hits, n))
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "index-guard", help="where galleries are kept")
    parser.add_argument("--hubs", type=int, default=15, help="of each line")
    parser.add_argument("--modality", default=",".join(MODALITIES))
    parser.add_argument("--scale", action="store_true", help="measure the cost of a scan instead of hubs")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the scan that is measured")
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.scale:
        part, text = "index-guard-cost", cost_table(arguments.cache, arguments.rows)
    else:
        part, text = (
            "index-guard",
            attack_table(arguments.cache, arguments.hubs, arguments.modality.split(",")),
        )
    print(text)
    if arguments.write:
        put(PAGE, part, text)


if __name__ == "__main__":
    main()
