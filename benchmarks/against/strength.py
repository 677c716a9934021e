"""A: single attacks at one radius, linf. ironbind's APGD-CE, APGD-T and Square beside those of the libraries, at equal
passes.

AutoAttack's APGD with n steps takes n + 1 gradient passes per sample (one at the start), its Square with n queries n +
1 forward passes. Ours is given just as many, and lets a sample leave at its first success.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from against import libraries
from against.contest import OURS, Contest, Row, Settings, our_attack
from against.measured import Measured
from against.page import number, table, thousands
from ironbind.types import Linf

REFERENCE = "pyautoattack"
ART = "adversarial-robustness-toolbox"


def rows(s: Settings) -> list[Row]:
    eps, inf = s.eps, float("inf")

    def ours(name: str, **knobs: Any) -> Callable[[Contest], Tensor]:
        return lambda c: c.with_ours(our_attack(name, **knobs), Linf(eps))

    def peer(call: Callable[..., Tensor], *before: Any, **knobs: Any) -> Callable[[Contest], Tensor]:
        return lambda c: c.in_batches(lambda x, y: call(*before, c.classifier, x, y, eps=eps, **knobs))

    n, t, q = s.steps, s.targets, s.queries
    ce, targeted, square = f"{n} steps", f"{n} steps, {t} targets", f"{q} queries"
    our_ce = ours("APGD", steps=n + 1, loss="ce")
    their_ce = peer(libraries.pyautoattack_apgd, steps=n, seed=s.seed)
    return [
        Row("APGD-CE", OURS, f"{n + 1} steps", our_ce),
        Row(
            "APGD-CE",
            OURS,
            f"{n + 1} steps, once more for what stands",
            ours("APGD", steps=n + 1, restarts=2, loss="ce"),
        ),
        Row("APGD-CE", REFERENCE, ce, their_ce),
        Row("APGD-CE", "adv-lib", ce, peer(libraries.advlib, "apgd", norm=inf, n_iter=n, loss_function="ce")),
        Row("APGD-CE", "torchattacks", ce, peer(libraries.torchattacks, "APGD", steps=n, seed=s.seed)),
        Row(
            "APGD-CE",
            ART,
            ce,
            peer(
                libraries.art,
                "AutoProjectedGradientDescent",
                eps_step=2 * eps,
                max_iter=n,
                nb_random_init=1,
                loss_type="cross_entropy",
            ),
        ),
        Row("APGD-CE", OURS, f"{n + 1} steps", our_ce, frozen=False),
        Row("APGD-CE", REFERENCE, ce, their_ce, frozen=False),
        Row("APGD-T", OURS, f"{n + 1} steps, {t} targets", ours("TargetedAPGD", steps=n + 1, targets=t, loss="dlr")),
        Row("APGD-T", REFERENCE, targeted, peer(libraries.pyautoattack_apgd_targeted, steps=n, targets=t, seed=s.seed)),
        Row("APGD-T", "adv-lib", targeted, peer(libraries.advlib, "apgd_targeted", norm=inf, n_iter=n, num_targets=t)),
        Row(
            "APGD-T",
            "torchattacks",
            targeted,
            peer(libraries.torchattacks, "APGDT", steps=n, seed=s.seed, n_classes=t + 1),
        ),
        Row("Square", OURS, f"{q + 1} queries", ours("Square", queries=q + 1)),
        Row("Square", REFERENCE, square, peer(libraries.pyautoattack_square, queries=q, seed=s.seed)),
        Row("Square", "torchattacks", square, peer(libraries.torchattacks, "Square", n_queries=q, seed=s.seed)),
    ]


HEADER = (
    "attack",
    "knobs",
    "library",
    "robust accuracy (%)",
    "CPU s",
    "forward with gradient",
    "forward",
    "backward",
    "peak memory (MiB)",
    f"CPU time over {REFERENCE}'s",
    f"passes over {REFERENCE}'s",
    "largest radius used (of it)",
)


def report(s: Settings, found: dict[Row, Measured]) -> str:
    """The table, then what ours makes of pyautoattack's, attack by attack."""
    lines, verdicts = [], []
    groups = list(dict.fromkeys(row.group for row in found))
    for group in groups:
        members = {row: one for row, one in found.items() if row.group == group}
        reference = next(
            (one for row, one in members.items() if row.library == REFERENCE and row.frozen and not one.error), None
        )
        for row, one in members.items():
            who = f"{libraries.short(row.library)} {one.version}".strip() + (
                "" if row.frozen else ", parameters not frozen"
            )
            if one.error:
                lines.append([group, row.attack, who, one.error])
                continue
            ratios = (
                [number(one.paced / reference.paced), number(one.cost.passes / reference.cost.passes)]
                if reference
                else ["", ""]
            )
            lines.append(
                [
                    group,
                    row.attack,
                    who,
                    f"{one.accuracy:.1f}",
                    number(one.cpu_s),
                    thousands(one.cost.gradient_forwards),
                    thousands(one.cost.plain_forwards),
                    thousands(one.cost.backwards),
                    number(one.peak_mib),
                    *ratios,
                    f"{max(one.norms) / s.eps:.4f}",
                ]
            )
        mine = next((one for row, one in members.items() if row.ours and not one.error), None)
        if mine and reference:
            verdicts.append(compared(group, mine, reference))
    return "\n\n".join([table(HEADER, lines), *verdicts])


def compared(group: str, mine: Measured, reference: Measured) -> str:
    """One sentence: the gap in robust accuracy, and who felled what the other did not."""
    gap = mine.accuracy - reference.accuracy
    pairs = list(zip(mine.stands, reference.stands, strict=True))
    return (
        f"{group}: ours {gap:+.1f} points against {REFERENCE} (asked for: at most +0.5; "
        f"{'met' if gap <= 0.5 else 'NOT met'}); "
        f"{pairs.count((False, True))} samples fell to ours only, {pairs.count((True, False))} to theirs only."
    )
