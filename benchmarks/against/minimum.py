"""B: minimum-norm attacks, linf and l2: how near the nearest example found lies."""

import math
import statistics
from collections.abc import Callable
from typing import Any

from torch import Tensor

from against import libraries
from against.contest import OURS, Contest, Row, Settings, our_attack
from against.measured import Measured
from against.page import number, table, thousands
from ironbind.types import L2, Budget, Linf

# Where a knob has the length of a perturbation, the default comes first, made for lengths around 1; then what suited
# those here best in a trial.
STEP_SIZES = {"linf": (1.0, 0.3), "l2": (1.0, 0.1, 0.03)}
ALIKE = 1.05  # gradient passes per sample and step, up to which an attack counts as one of so many steps
UNITS = {"linf": ("1/255", 255.0), "l2": ("intensity", 1.0)}


def wide(norm: str) -> Budget:
    """A budget in which every sample falls: minimum-norm attacks are not bound by it."""
    return Linf(1.0) if norm == "linf" else L2(20.0)


def rows(s: Settings) -> list[Row]:
    n = s.minimum_steps

    def ours(norm: str, name: str, said: str, /, **knobs: Any) -> Row:
        return Row(
            norm, OURS, f"{name}, {said}", lambda c: c.with_ours(our_attack(name, **knobs), wide(norm)), norm=norm
        )

    def peer(norm: str, library: str, said: str, call: Callable[..., Tensor], /, *before: Any, **knobs: Any) -> Row:
        def run(c: Contest) -> Tensor:
            return c.in_batches(lambda x, y: call(*before, c.classifier, x, y, **knobs))

        return Row(norm, library, said, run, norm=norm)

    def foolbox(norm: str, name: str, said: str, /, **knobs: Any) -> Row:
        return peer(norm, "foolbox", f"{name}, {said}", libraries.foolbox, name, **knobs)

    def advlib(norm: str, name: str, said: str, /, **knobs: Any) -> Row:
        return peer(norm, "adv-lib", f"{name}, {said}", libraries.advlib, name, **knobs)

    found, inf = [], math.inf
    for norm, name, order in (("linf", "LInfFMNAttack", inf), ("l2", "L2FMNAttack", 2)):
        found.append(ours(norm, "FMN", f"{n} steps", steps=n))
        for size in STEP_SIZES[norm]:
            found.append(foolbox(norm, name, f"{n} steps, the first {size:g}", steps=n, max_stepsize=size))
            found.append(advlib(norm, "fmn", f"{n} steps, the first {size:g}", norm=order, steps=n, α_init=size))
        found.append(
            peer(norm, "secml-torch", f"FMN, {n} steps, the first 1", libraries.secml_fmn, norm=norm, steps=n, size=1.0)
        )
        found.append(advlib(norm, "df", f"at most {n} steps", norm=order, steps=n))
        found.append(advlib(norm, "fab", f"{n // 10} steps", norm=order, n_iter=n // 10))
    for first in (1.0, 0.1):
        found.append(foolbox("l2", "DDNAttack", f"{n} steps, first norm {first:g}", steps=n, init_epsilon=first))
        found.append(
            advlib(
                "l2", "ddn", f"{n} steps, first norm {first:g}, no quantisation", steps=n, init_norm=first, levels=None
            )
        )
    found.append(advlib("l2", "sdf", f"at most {n} steps", steps=n, df_steps=n))
    found.append(advlib("l2", "alma", f"{n} steps", num_steps=n))
    found += [
        advlib("l2", "alma", f"{steps} steps, the first of length 0.1", num_steps=steps, init_lr_distance=0.1)
        for steps in (n, 10 * n)
    ]
    found.append(ours("l2", "CarliniWagner", f"5 searches of {n} steps", steps=n, searches=5))
    for size in (0.01, 0.003):
        found.append(
            foolbox("l2", "L2CarliniWagnerAttack", f"9 searches of {n} steps of {size:g}", steps=n, stepsize=size)
        )
    found.append(
        advlib("l2", "carlini_wagner_l2", f"9 searches of {n} steps of {size:g}", max_iterations=n, learning_rate=size)
    )
    return found


def distances(one: Measured) -> list[float]:
    """How far the nearest example lies: 0 where the clean sample is wrong already, infinite where none was found."""
    return [
        0.0 if wrong else math.inf if stands else norm
        for wrong, stands, norm in zip(one.wrong, one.stands, one.norms, strict=True)
    ]


def median(one: Measured) -> float:
    return statistics.median(distances(one))


def report(s: Settings, found: dict[Row, Measured]) -> str:
    texts = []
    for norm, (unit, scale) in UNITS.items():
        members = {row: one for row, one in found.items() if row.group == norm}
        header = [
            f"{norm}: attack",
            "library",
            f"median norm ({unit})",
            "not found",
            "CPU s",
            "backward",
            "forward alone",
            "peak memory (MiB)",
        ]
        lines = []
        for row, one in members.items():
            who = f"{libraries.short(row.library)} {one.version}".strip()
            if one.error:
                lines.append([row.attack, who, one.error])
                continue
            missed = sum(map(math.isinf, distances(one)))
            lines.append(
                [
                    row.attack,
                    who,
                    number(scale * median(one), 4),
                    str(missed),
                    number(one.cpu_s),
                    thousands(one.cost.backwards),
                    thousands(one.cost.plain_forwards),
                    number(one.peak_mib),
                ]
            )
        texts += [table(header, lines), compared(norm, members, s.minimum_steps)]
    return "\n\n".join(filter(None, texts))


def compared(norm: str, members: dict[Row, Measured], steps: int) -> str:
    """Our FMN against the best peer of at most so many gradient passes per sample, and against the best of all. Empty
    without either side.
    """
    mine = next((one for row, one in members.items() if row.ours and not one.error), None)
    peers = {row: one for row, one in members.items() if not row.ours and not one.error}
    if mine is None or not peers:
        return ""
    alike = {row: one for row, one in peers.items() if one.cost.backwards <= ALIKE * steps * len(one.stands)}
    said = []
    for who, some in (
        (f"best peer of at most {steps} gradient passes per sample", alike),
        ("best peer at any cost", peers),
    ):
        if some:
            row, best = min(some.items(), key=lambda pair: median(pair[1]))
            ratio, cpu = number(median(mine) / median(best), 4), number(mine.paced / best.paced)
            said.append(
                f"{ratio} of that of the {who} ({libraries.short(row.library)} {row.attack}) at {cpu} of its CPU time"
            )
    return f"{norm}: our FMN's median is {'; '.join(said)}. Asked for: at most 1.02 of the first."
