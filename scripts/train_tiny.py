"""Train the built-in encoder on the built-in world, evaluate it, and write its weights, their card and their tables.

    python scripts/train_tiny.py --work runs/tiny              # everything: about two hours of one core, resumable
    python scripts/train_tiny.py --work runs/tiny --export     # (again) the shipped files from the checkpoints python
    scripts/train_tiny.py --evaluate                    # the tables of docs/built-in-encoder.md from the shipped
    weights

First image and text learn together, every instance seen once; then every other tower, each alone, learns to meet the
frozen two on a large pool (40,960 instances, about four rounds). A second phase polishes each tower alone, the text
side frozen, on instances never seen before, until more of them hardly help: hardening, which also trains on fresh
instances, must not be credited with what plain training would have brought. Loss: contrast of sample and caption,
cross-entropy against prompts of the class names and of their definitions, contrast of sample and image; the text tower
also learns that a name means its definition, for all 24 names, while no sample of the four held-out classes is ever
drawn.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812
from tiny_evaluation import MODALITIES, class_rows, log, prompts, write_tables
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ironbind.data.world.dataset import CLASSES, HELD_OUT_CLASSES, SHAPES, World, caption, definition
from ironbind.encoders.tiny.encoder import LENGTH, PREPARE, WEIGHTS, WORDS, tokenize
from ironbind.encoders.tiny.model import MEL_FRAMES, MELS, POINTS, TinyModel

FIRST_SEED = 1_000_000
BATCH = 256
CHUNK = 256
PARTS = 1
STEPS = {"image": 800, "video": 600, "audio": 600, "point": 600, "thermal": 700, "event": 700}
POLISH = {
    "image": 2000,
    "video": 1000,
    "audio": 800,
    "point": 600,
    "thermal": 600,
    "event": 1000,
}  # steps of the second phase
DEFINED = ("a {} thing.", "something {}.", "this is a {} thing.")
CARD = WEIGHTS.with_suffix(".json")


class Pool:
    """The rendered training split, prepared and packed, one memory-mapped array per modality in the work folder."""

    DTYPES = {
        "image": np.uint8,
        "video": np.uint8,
        "audio": np.float16,
        "point": np.float16,
        "thermal": np.uint16,
        "event": np.float16,
    }
    FULL = {"image": 255, "video": 255, "thermal": 65535}

    def __init__(self, work: Path, size: int) -> None:
        model = TinyModel(2 + len(WORDS), LENGTH)
        self.work, self.size, self.log_mel = work, size, model.log_mel
        self.shapes = {
            "image": (3, 32, 32),
            "video": (8, 3, 32, 32),
            "audio": (1, MELS, MEL_FRAMES),
            "point": (POINTS, 3),
        }
        self.shapes |= {"thermal": (1, 32, 32), "event": (2, 32, 32)}

    def array(self, modality: str) -> np.ndarray:
        path, shape = self.work / f"pool-{modality}.npy", (self.size, *self.shapes[modality])
        if not path.exists():
            np.lib.format.open_memmap(path, "w+", self.DTYPES[modality], shape).flush()
        return np.lib.format.open_memmap(path, "r+")

    def done(self, part: int) -> Path:
        return self.work / f"pool-part-{part}.done"

    def render(self, part: int, parts: int) -> None:
        """Render this part of the pool (chunk by chunk, resumable by part)."""
        torch.set_num_threads(1)
        arrays, start = {modality: self.array(modality) for modality in MODALITIES}, time.monotonic()
        for begin in range(part * CHUNK, self.size, parts * CHUNK):
            rendered = World("train", CHUNK, FIRST_SEED + begin).render(MODALITIES, range(CHUNK))
            for modality, samples in rendered.items():
                x = torch.stack([PREPARE[modality](one) for one in samples])
                x = self.log_mel(x) if modality == "audio" else x
                packed = (x * self.FULL.get(modality, 1)).numpy()
                arrays[modality][begin : begin + CHUNK] = packed.round() if modality in self.FULL else packed
            if begin // CHUNK % 16 == part:
                log(f"pool: {begin + CHUNK} of {self.size}, {time.monotonic() - start:.0f} s")
        self.done(part).write_text(f"{time.monotonic() - start:.0f}", encoding="utf-8")

    def batches(self, modalities: tuple[str, ...], first: int, last: int, seed: int) -> Iterator[dict[str, Tensor]]:
        """Batches number `first` to `last`: every instance once, in an order of the seed, before any comes again."""
        arrays = {modality: np.load(self.work / f"pool-{modality}.npy", mmap_mode="r") for modality in modalities}
        texts = torch.cat(
            [tokenize(World("train", CHUNK, FIRST_SEED + begin).captions) for begin in range(0, self.size, CHUNK)]
        )
        per_round = self.size // BATCH
        for step in range(first, last):
            order = np.random.default_rng([seed, step // per_round]).permutation(self.size)
            rows = np.sort(order[step % per_round * BATCH :][:BATCH])
            batch = {"text": texts[rows], "label": torch.from_numpy(rows % CHUNK % len(CLASSES))}
            for modality, array in arrays.items():
                batch[modality] = torch.from_numpy(array[rows].astype(np.float32)) / self.FULL.get(modality, 1)
            yield batch


class Fresh(Dataset[dict[str, Tensor]]):
    """Item k is a whole batch in these modalities, no instance ever twice: their word numbers, of captions that vary,
    and their labels.
    """

    def __init__(
        self, first: int, last: int, modalities: tuple[str, ...] = ("image",), seed: int = 2 * FIRST_SEED
    ) -> None:
        self.first, self.last, self.modalities, self.seed = first, last, modalities, seed
        self.log_mel = TinyModel(2 + len(WORDS), LENGTH).log_mel

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step = self.first + item
        world = World("train", BATCH, self.seed + step)
        batch = {
            "text": tokenize(varied_captions(world, np.random.default_rng(step))),
            "label": torch.tensor(world.labels),
        }
        for modality, samples in world.render(self.modalities, range(BATCH)).items():
            x = torch.stack([PREPARE[modality](one) for one in samples])
            batch[modality] = self.log_mel(x) if modality == "audio" else x
        return batch


def varied_captions(world: World, rng: np.random.Generator) -> list[str]:
    """Captions half of which leave some parts out, and some of which give a definition for the name."""
    texts = []
    for i in range(len(world)):
        thing, short = world.thing(i), rng.random() < 0.5
        kept = {part: not short or rng.random() < 0.6 for part in ("size", "colour", "material", "lean", "way", "mate")}
        text = caption(thing, kept.__getitem__)
        name = SHAPES[thing.shape].name
        texts.append(text.replace(f" {name}", f" {definition(name)} thing", 1) if rng.random() < 0.2 else text)
    return texts


def contrast(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of paired unit rows."""
    logits, target = scale * a @ b.T, torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def learning_rate(step: int, steps: int, peak: float = 2e-3) -> float:
    """A linear rise over 100 steps, then half a cosine down to nothing."""
    return float(peak * min((step + 1) / 100, 0.5 * (1 + np.cos(np.pi * step / steps))))


def train(modality: str, steps: int, work: Path, seed: int, pool: int, polish: bool = False) -> None:
    """Train one tower (image: with text) and leave `<modality>.pt` in `work`, with a checkpoint every 100 steps on the
    way.

    `polish`: the second phase instead, which leaves `polished-<modality>.pt`; it begins where the first phase ended
    (or, in another work folder, with the shipped weights), on fresh instances, text and (for the other towers) image
    frozen.
    """
    ended = work / (f"polished-{modality}.pt" if polish else f"{modality}.pt")
    if ended.exists():
        log(f"{modality}: done already")
        return
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = TinyModel(2 + len(WORDS), LENGTH)
    first = modality == "image" and not polish
    if polish:
        begin_polishing(model, modality, work)
    elif not first:
        for name in ("image", "text"):
            model.towers[name].load_state_dict(torch.load(work / "image.pt", weights_only=True)[name])
            model.towers[name].requires_grad_(False)
    trained = ("image", "text") if first else (modality,)
    scales = torch.nn.Parameter(torch.tensor([2.7, 2.7, 2.7]))
    parameters = [*(p for name in trained for p in model.towers[name].parameters()), scales]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
    )
    names = prompts((*CLASSES, *HELD_OUT_CLASSES))
    said = prompts(tuple(definition(name) for name in (*CLASSES, *HELD_OUT_CLASSES)), DEFINED)
    begin, spent = 0, 0.0
    checkpoint = work / f"{'polished-' if polish else ''}{modality}.checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["steps"] == steps:
            for name in trained:
                model.towers[name].load_state_dict(kept["towers"][name])
            optimiser.load_state_dict(kept["optimiser"])
            scales.data.copy_(kept["scales"])
            begin, spent = kept["step"], kept["spent"]
            log(f"{modality}: resumed at step {begin}")
    with torch.no_grad():
        rows, defined = (class_rows(model, one)[: len(CLASSES)] for one in (names, said))
    if first or polish:
        both = tuple(dict.fromkeys(("image", modality)))
        fresh = Fresh(begin, steps, both, (5 if polish else 2) * FIRST_SEED)
        batches = DataLoader(fresh, batch_size=None, num_workers=1, prefetch_factor=4)
    else:
        batches = Pool(work, pool).batches(("image", modality), begin, steps, seed)
    start = time.monotonic()
    hits = []
    for step, batch in enumerate(batches, begin):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 1e-3 if polish else 2e-3)
        scale = scales.exp().clamp(max=100)
        z = model(modality, batch[modality])
        if first:
            one = slice(step % 3, step % 3 + 1)  # one template a step
            text, named, meant = (
                model("text", batch["text"]),
                class_rows(model, names[:, one]),
                class_rows(model, said[:, one]),
            )
            rows, defined = named[: len(CLASSES)], meant[: len(CLASSES)]
            loss = 0.3 * contrast(named, meant, scale[2])
        else:
            with torch.no_grad():
                text, picture = (
                    model("text", batch["text"]),
                    None if modality == "image" else model("image", batch["image"]),
                )
            loss = torch.zeros(()) if picture is None else 0.3 * contrast(z, picture, scale[2])
        logits = scale[1] * z @ rows.T
        loss = loss + contrast(z, text, scale[0]) + F.cross_entropy(logits, batch["label"])
        loss = loss + 0.3 * F.cross_entropy(scale[1] * z @ defined.T, batch["label"])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        hits.append((logits.argmax(1) == batch["label"]).float().mean().item())
        done = step + 1
        if done % 50 == 0:
            now = spent + time.monotonic() - start
            log(
                f"{modality}: step {done}/{steps}, loss {loss.item():.3f}, "
                f"top-1 of fresh batches {100 * np.mean(hits[-50:]):.1f} %, {now:.0f} s"
            )
        if done % 100 == 0 and done < steps:
            towers = {name: model.towers[name].state_dict() for name in trained}
            state = {
                "towers": towers,
                "optimiser": optimiser.state_dict(),
                "scales": scales.data,
                "step": done,
                "steps": steps,
            }
            torch.save({**state, "spent": spent + time.monotonic() - start}, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
    towers = {name: model.towers[name].state_dict() for name in trained}
    facts = {
        "steps": steps,
        "batch": BATCH,
        "instances": steps * BATCH if first or polish else min(pool, steps * BATCH),
        "seed": seed,
        "seconds": round(spent + time.monotonic() - start),
    }
    torch.save({**towers, "facts": facts}, ended)
    checkpoint.unlink(missing_ok=True)


def begin_polishing(model: TinyModel, modality: str, work: Path) -> None:
    """Loads the first phase's towers; all but `modality` are frozen. Image is polished before the others, which then
    meet the polished one.
    """
    model.load_state_dict({name: one.float() for name, one in safetensors.torch.load_file(WEIGHTS).items()})
    for name in ("image.pt", f"{modality}.pt", *([] if modality == "image" else ["polished-image.pt"])):
        if (work / name).exists():
            kept = torch.load(work / name, weights_only=True)
            kept.pop("facts")
            for tower, state in kept.items():
                model.towers[tower].load_state_dict(state)
    for name, tower in model.towers.items():
        tower.requires_grad_(name == modality)


def train_all(work: Path, seed: int, scale_steps: float, pool: int) -> None:
    """Image and text while the pool is rendered, then the others, two processes at a time; what is done is not done
    again.
    """
    steps = {name: max(int(count * scale_steps), 1) for name, count in STEPS.items()}

    def job(*arguments: object) -> list[str]:
        return [
            sys.executable,
            __file__,
            "--work",
            str(work),
            "--seed",
            str(seed),
            "--pool",
            str(pool),
            *map(str, arguments),
        ]

    def tower(name: str) -> list[str]:
        return job("--only", name, "--steps", steps[name])

    maker = Pool(work, pool)
    for modality in MODALITIES:
        maker.array(modality)
    first = [job("--render-part", part) for part in range(PARTS) if not maker.done(part).exists()]
    run([*([] if (work / "image.pt").exists() else [tower("image")]), *first], at_once=1 + PARTS)
    run(
        [tower(name) for name in ("video", "event", "thermal", "audio", "point") if not (work / f"{name}.pt").exists()],
        at_once=2,
    )
    polish(work, seed, scale_steps, pool)


def polish(work: Path, seed: int, scale_steps: float, pool: int) -> None:
    """The second phase of all towers, image first."""

    def job(name: str) -> list[str]:
        knobs = [
            "--work",
            work,
            "--seed",
            seed,
            "--pool",
            pool,
            "--only",
            name,
            "--steps",
            max(int(POLISH[name] * scale_steps), 1),
        ]
        return [sys.executable, __file__, "--polish", *map(str, knobs)]

    run([job("image")], at_once=1)
    run([job(name) for name in ("event", "audio", "video", "thermal", "point")], at_once=2)


def run(waiting: list[list[str]], at_once: int) -> None:
    """Run commands, so many at a time. Raises SystemExit when one fails."""
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(subprocess.Popen(waiting.pop(0)))
        time.sleep(1)
        for process in [one for one in running if one.poll() is not None]:
            if process.returncode:
                raise SystemExit(
                    f"training stopped: {' '.join(map(str, process.args))} ended with {process.returncode}"
                )
            running.remove(process)


def export(work: Path, weights: Path) -> None:
    """The shipped weights, in half precision, from whatever towers are trained (an untrained one keeps its initial
    values).
    """
    torch.manual_seed(0)
    model = TinyModel(2 + len(WORDS), LENGTH)
    facts: dict[str, object] = {}
    if weights.exists():  # a tower that is not in the work folder stays what it is
        model.load_state_dict({name: one.float() for name, one in safetensors.torch.load_file(weights).items()})
        facts = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))["training"]
    for modality in MODALITIES:
        for made in (modality, f"polished-{modality}"):
            if (work / f"{made}.pt").exists():
                kept = torch.load(work / f"{made}.pt", weights_only=True)
                facts[made] = kept.pop("facts")
                for name, state in kept.items():
                    model.towers[name].load_state_dict(state)
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(
        safetensors.torch.save({name: one.half().contiguous() for name, one in model.state_dict().items()})
    )
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = {
        "sha256": sha256,
        "bytes": weights.stat().st_size,
        "parameters": dict(model.parameters_per_modality()),
        "training": facts,
        **machine(),
    }
    weights.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    log(f"{weights.name}: {weights.stat().st_size / 1e6:.2f} MB, sha256 {sha256[:12]}")


def machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="where checkpoints go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=MODALITIES, help="train this tower alone")
    parser.add_argument("--steps", type=int, help="with --only: batches of 256")
    parser.add_argument(
        "--polish",
        action="store_true",
        help="the second phase alone (from the shipped weights where the work folder holds no first one)",
    )
    parser.add_argument(
        "--scale-steps", type=float, default=1.0, help="shorten (0.1) or lengthen (2) the whole training"
    )
    parser.add_argument("--export", action="store_true", help="write the shipped files from the checkpoints and stop")
    parser.add_argument(
        "--evaluate", action="store_true", help="recompute the tables from the shipped weights and stop"
    )
    parser.add_argument("--n", type=int, default=1000, help="instances per split in --evaluate")
    parser.add_argument("--attack", type=int, default=200, help="instances attacked in --evaluate")
    parser.add_argument("--pool", type=int, default=40960, help="instances rendered for all towers but image and text")
    parser.add_argument("--render-part", type=int, help="render this part of the pool and stop")
    given = parser.parse_args()
    if given.evaluate:
        write_tables(CARD, given.n, given.attack)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    if given.render_part is not None:
        Pool(given.work, given.pool).render(given.render_part, PARTS)
        return
    if given.only and not given.export:
        train(
            given.only,
            given.steps or (POLISH if given.polish else STEPS)[given.only],
            given.work,
            given.seed,
            given.pool,
            given.polish,
        )
        return
    if given.polish:
        polish(given.work, given.seed, given.scale_steps, given.pool)
    elif not given.export:
        train_all(given.work, given.seed, given.scale_steps, given.pool)
    export(given.work, WEIGHTS)


if __name__ == "__main__":
    main()
