"""What climbing in bfloat16 saves, and whether the verdicts stay: `precision.py {time,verdicts} [--write]`.

time: PGD on a ViT-B-sized trunk with random weights where no sample falls or comes near: on float32, and mixed
(bfloat16 climb, float32 verdicts); also one forward-backward pass of each way to hold the copy. Rounds alternate their
order; CPU seconds of the process, one thread; ratios to float32 round by round, then their median.

verdicts: the built-in encoder on the built-in world, every tower and space: the plain float32 attack against the same
attack through `MixedPrecision`, sample by sample. "boasted": the copy claims a success that float32 denies. "hidden":
the copy's climb ends without one, boasted or real, where the plain attack succeeds. "weaker": the plain attack
succeeds, the mixed one does not; "stronger": the other way round. "repeated": samples that met the float32 attack as
well, and the passes they took there, as a share of the plain attack's.

`--write` puts the part's tables into docs/precision.md between its markers.
"""

import argparse
import math
import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from ironbind import __version__
from ironbind.attacks import PGD
from ironbind.attacks.mixed_precision import NEAR, MixedPrecision
from ironbind.core.default_budgets import comparable
from ironbind.core.markdown_tables import put
from ironbind.data import load_dataset
from ironbind.encoders import bfloat16 as half
from ironbind.encoders import load_encoder
from ironbind.encoders.bfloat16 import in_bfloat16
from ironbind.encoders.from_callable import from_callable
from ironbind.encoders.shared.trunk import Trunk
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities.spaces import PIXELS
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Attacked, Budget, ClassCenters, Embed, Goal, InputSpec, Linf, Space

PAGE = Path(__file__).parents[1] / "docs" / "precision.md"
LADDER = ("1/255", "2/255", "4/255")
SMALL_RADIUS = 1e-4  # nobody falls: the work is that of any robust sample


@dataclass(frozen=True)
class ExtraTask:
    """All that an attack is called with, but for the embed."""

    embed: Embed
    fast: Embed
    x: Tensor
    goal: Goal
    space: Space
    rng: PerSample

    def run(self, attack: Attack, embed: Embed, budget: Budget) -> Attacked:
        return attack(embed, self.x, self.goal, self.space, budget, self.rng)


class Vit(nn.Module):
    """A ViT around the shared trunk: 16 x 16 patches of a 224 x 224 picture and a class token, 197 tokens."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.stem, self.cls = nn.Conv2d(3, width, 16, 16), nn.Parameter(torch.zeros(1, 1, width))
        self.trunk, self.norm, self.head = Trunk(width, depth, heads), nn.LayerNorm(width), nn.Linear(width, 512)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        tokens = torch.cat(
            [self.cls.expand(len(x), -1, -1), self.stem((x - 0.5) / 0.25).flatten(2).transpose(1, 2)], dim=1
        )
        return self.head(self.norm(self.trunk(tokens))[:, 0])


def vit(batch: int, width: int = 768, depth: int = 12, heads: int = 12) -> tuple[Vit, ExtraTask]:
    """The network, and the question whether its clean answers can be changed: class 0 is what it says to all, the other
    classes lie at random.
    """
    torch.manual_seed(0)
    network = Vit(width, depth, heads).requires_grad_(False).eval()
    spec = InputSpec("image", (3, 224, 224), PIXELS, lambda decoded: decoded)
    encoder = from_callable("vit", {"image": network.forward}, inputs={"image": spec}, model=network)
    copied = in_bfloat16(encoder)
    x = torch.rand((batch, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    rows = F.normalize(torch.randn((100, 512), generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.no_grad():
        rows[0] = F.normalize(encoder.embed("image", x).mean(dim=0), dim=0)
    centers, label = (
        ClassCenters(rows, torch.arange(100), tuple(map(str, range(100)))),
        torch.zeros(batch, dtype=torch.long),
    )
    rng = PerSample.of(0, [str(i) for i in range(batch)])
    return network, ExtraTask(
        lambda x: encoder.embed("image", x),
        lambda x: copied.embed("image", x),
        x,
        Misclassify(centers, label),
        PIXELS,
        rng,
    )


# ------------------------------------------------------------------------------------------------------------ time


def rounds_of(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float, float, float]]:
    """Median CPU seconds per work, and the median, least and largest of its ratio to the first one, round by round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works) if number % 2 else list(works)[::-1]:
            started = time.process_time()
            works[name]()
            times[name].append(time.process_time() - started)
    first = times[next(iter(works))]
    found = {}
    for name, spent in times.items():
        ratios = [one / base for one, base in zip(spent, first, strict=True)]
        found[name] = (statistics.median(spent), statistics.median(ratios), min(ratios), max(ratios))
        print(name, found[name], flush=True)
    return found


@contextmanager
def fused_attention() -> Iterator[None]:
    """The copy with torch's fused attention kernel instead of two products."""
    most, half.MOST_KEYS = half.MOST_KEYS, 0
    try:
        yield
    finally:
        half.MOST_KEYS = most


def passes_table(batch: int, rounds: int) -> str:
    network, asked = vit(batch)
    linears = _linears_in_bfloat16(vit(batch)[0])

    def gradient(embed: Embed) -> Tensor:
        x = asked.x.clone().requires_grad_(True)
        return torch.autograd.grad(asked.goal.loss(embed(x)).sum(), x)[0].flatten(1)

    def autocast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.normalize(network(x).float(), dim=-1)

    def fused(x: Tensor) -> Tensor:
        with fused_attention():
            return asked.fast(x)

    embeds: dict[str, Embed] = {
        "float32": asked.embed,
        "autocast": autocast,
        "Linear layers alone in bfloat16": lambda x: F.normalize(linears(x), dim=-1),
        "trunk in bfloat16, fused attention": fused,
        "trunk in bfloat16, attention by products (`in_bfloat16`)": asked.fast,
    }
    exact = gradient(asked.embed)
    alike = {name: F.cosine_similarity(gradient(embed), exact) for name, embed in embeds.items()}
    found = rounds_of({name: lambda embed=embed: gradient(embed) for name, embed in embeds.items()}, rounds)  # type: ignore[misc]
    lines = [
        "| forward and backward pass | CPU s | ratio (least to largest) | least cosine of input gradients to float32 |",
        "|---|---|---|---|",
    ]
    for name, (seconds, ratio, least, largest) in found.items():
        lines.append(
            f"| {name} | {seconds:.3f} | {ratio:.3f} ({least:.3f} to {largest:.3f}) | {alike[name].min():.5f} |"
        )
    return "\n".join(lines)


class _Rounded(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to(torch.bfloat16)).float()


def _linears_in_bfloat16(network: Vit) -> Vit:
    for part in list(network.trunk.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Linear):
                setattr(part, name, _Rounded(child))
    return network


def attack_table(batch: int, steps: int, rounds: int) -> str:
    _, asked = vit(batch)
    plain, budget = PGD(steps=steps), Linf(SMALL_RADIUS)
    mixed = MixedPrecision(plain, asked.fast)
    found: dict[str, Attacked] = {}

    def keeping(name: str, attack: Attack, embed: Embed) -> Callable[[], None]:
        return lambda: found.update({name: asked.run(attack, embed, budget)})

    names = ("float32", "mixed")
    works = {names[0]: keeping("plain", plain, asked.embed), names[1]: keeping("mixed", mixed, asked.embed)}
    times = rounds_of(works, rounds)
    if found["plain"].reached.any():
        raise AssertionError("samples fell; this comparison needs robust ones")
    lines = [f"| PGD-{steps}, {batch} robust samples | CPU s | ratio (least to largest) |", "|---|---|---|"]
    lines += [
        f"| {name} | {seconds:.2f} | {ratio:.3f} ({least:.3f} to {most:.3f}) |"
        for name, (seconds, ratio, least, most) in times.items()
    ]
    if (found["mixed"].gradient_passes > steps).any():
        raise AssertionError("samples were repeated; this comparison needs clear ones")
    lost = float((found["plain"].loss - found["mixed"].loss).abs().max())
    lines += [
        "",
        "Nobody fell and nobody was repeated; the exact margins of the two examples of a sample "
        f"differ by at most {lost:.1e}.",
    ]
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------- verdicts


def verdict_table(samples: int, steps: int) -> str:
    encoder, data = load_encoder("tiny"), load_dataset("world", n=samples)
    copied = in_bfloat16(encoder)
    lines = [
        "| tower | radius | loss | stand in float32 | boasted | hidden | stand mixed | weaker | "
        "stronger | repeated (passes) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    sums: Counter[str] = Counter()
    error, farthest = 0.0, 0.0
    for modality, spec in encoder.inputs.items():
        for space in spec.spaces:
            task = zero_shot(encoder, data, modality, space=space)
            rng, fast = PerSample.of(0, data.ids[:samples]), task.on(copied).embed
            asked = ExtraTask(task.embed, fast, task.load(range(samples)), task.goal(range(samples)), task.space, rng)
            with torch.no_grad():
                error = max(
                    error, float((asked.goal.loss(task.embed(asked.x)) - asked.goal.loss(fast(asked.x))).abs().max())
                )
            for radius, loss in ((one, by) for one in LADDER for by in ("margin", "ce")):
                row, distance = verdicts(asked, PGD(steps=steps, loss=loss), comparable(Linf(radius), space))
                sums.update(row)
                farthest = max(farthest, distance)
                share = 100 * row["passes again"] / row["passes"]
                counts = (
                    f"{row['stand']} | {row['boasted']} | {row['hidden']} | {row['stand mixed']} | "
                    f"{row['weaker']} | {row['stronger']}"
                )
                written = comparable(Linf(radius), space).written
                lines.append(
                    f"| {modality} {space} | {written} | {loss} | {counts} | {row['repeated']} ({share:.1f} %) |"
                )
                print(lines[-1], flush=True)
    asked_of = samples * (len(lines) - 2)
    lines += [
        "",
        f"Together, of {asked_of} verdicts: boasted {sums['boasted']}, hidden {sums['hidden']} "
        f"(the farthest {farthest:.4f} short of success); "
        f"weaker {sums['weaker']}, stronger {sums['stronger']}; repeated {sums['repeated']} "
        f"({100 * sums['repeated'] / asked_of:.1f} %), with "
        f"{100 * sums['passes again'] / sums['passes']:.1f} % of the plain attack's passes. With "
        f"`near=inf`: weaker {sums['weaker with inf']}. "
        f"The largest error of a clean margin was {error:.4f}.",
    ]
    return "\n".join(lines)


def verdicts(asked: ExtraTask, attack: Attack, budget: Budget) -> tuple[dict[str, int], float]:
    """One row of counts, and how far from success the farthest hidden one was."""
    plain, rounded = asked.run(attack, asked.embed, budget), asked.run(attack, asked.fast, budget)
    mixed, strict = (
        asked.run(MixedPrecision(attack, asked.fast, near), asked.embed, budget) for near in (NEAR, math.inf)
    )
    with torch.no_grad():
        z = asked.embed(rounded.x)
        exact, margin = asked.goal.reached(z), asked.goal.loss(z)
    hidden = plain.reached & ~exact & ~rounded.reached
    again = mixed.gradient_passes - rounded.gradient_passes
    counts = {
        "stand": ~plain.reached, "stand mixed": ~mixed.reached, "boasted": rounded.reached & ~exact, "hidden": hidden,
        "weaker": plain.reached & ~mixed.reached, "stronger": mixed.reached & ~plain.reached, "repeated": again > 0,
        "weaker with inf": plain.reached & ~strict.reached, "passes": plain.gradient_passes, "passes again": again,
    }  # fmt: skip
    return {name: int(one.sum()) for name, one in counts.items()}, float(-margin[hidden].min()) if hidden.any() else 0.0


# ------------------------------------------------------------------------------------------------------------ page


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        has = "with" if any("avx512_bf16" in line for line in lines) else "without"
        return f"{next(line.partition(': ')[2] for line in lines if line.startswith('model name'))} {has} avx512_bf16"
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("time", "verdicts"))
    parser.add_argument("--batch", type=int, default=8, help="time: samples")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="time: of whole attacks; single passes get twice as many")
    parser.add_argument("--samples", type=int, default=100, help="verdicts: of the built-in world, per row")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/precision.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    if asked.part == "time":
        tables = "\n\n".join(
            [attack_table(asked.batch, asked.steps, asked.rounds), passes_table(asked.batch, 2 * asked.rounds)]
        )
        what = (
            "ViT-B-sized trunk (width 768, 12 blocks, 12 heads, 197 tokens), random weights, batch "
            f"{asked.batch}; {asked.rounds} alternating "
        )
        what += f"rounds of attacks, {2 * asked.rounds} of passes"
    else:
        tables = verdict_table(asked.samples, asked.steps)
        what = f"Built-in encoder, PGD-{asked.steps}, {asked.samples} samples per row, near = {NEAR:g}"
    machine = (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    what += (
        f", one thread. {machine}; ironbind {__version__}; load of the machine {before:.1f} at the "
        f"start, {os.getloadavg()[0]:.1f} at the end."
    )
    tables = f"{what}\n\n{tables}"
    print(tables)
    if asked.write:
        put(PAGE, asked.part, tables)


if __name__ == "__main__":
    main()
