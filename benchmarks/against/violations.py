"""D: who keeps the budget outside of pictures? Every library's PGD, APGD and Square on tensors of seven spaces, budgets
in their units.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from against import libraries
from against.contest import OURS, Contest, NotAvailable, Settings, our_attack
from against.meter import Classifier
from against.page import number, table
from against.subject import DECIBELS, Subject, subject
from ironbind.types import Linf

# modality, space (None: the encoder's own), radius in the space's unit
CASES = (
    ("image", None, 4 / 255),
    ("video", None, 4 / 255),
    ("thermal", None, 4 / 255),
    ("event", None, 4 / 255),
    ("audio", "waveform", 0.01),
    ("audio", DECIBELS.name, 1.0),
    ("point", None, 0.02),
)
SLACK = 1e-4  # of the radius; float32 rounding at 80 dB stays below
STEPS, QUERIES = 10, 200
ART = "adversarial-robustness-toolbox"
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Call:
    """One library's attack as its users call it; the space's bounds are handed over where the library takes bounds."""

    library: str
    name: str
    run: Callable[[Contest, float], Tensor]


def calls(steps: int = STEPS, queries: int = QUERIES) -> list[Call]:
    """Steps of a quarter of the radius wherever a library asks for a size."""

    def ours(name: str, **knobs: Any) -> Call:
        return Call(OURS, name, lambda c, eps: c.with_ours(our_attack(name, **knobs), Linf(eps)))

    def peer(library: str, said: str, call: Callable[[Classifier, Tensor, Tensor, float, Bounds], Tensor]) -> Call:
        def run(c: Contest, eps: float) -> Tensor:
            bounds = (c.subject.space.low, c.subject.space.high)
            return c.in_batches(lambda x, y: call(c.classifier, x, y, eps, bounds))

        return Call(library, said, run)

    def art(said: str, name: str, knobs: Callable[[float], dict[str, Any]]) -> Call:
        return peer(
            ART, said, lambda m, x, y, eps, bounds: libraries.art(name, m, x, y, bounds=bounds, eps=eps, **knobs(eps))
        )

    def torchattacks(name: str, knobs: Callable[[float], dict[str, Any]]) -> Call:
        return peer(
            "torchattacks", name, lambda m, x, y, eps, _: libraries.torchattacks(name, m, x, y, eps=eps, **knobs(eps))
        )

    def advlib(name: str, knobs: Callable[[float], dict[str, Any]]) -> Call:
        return peer("adv-lib", name, lambda m, x, y, eps, _: libraries.advlib(name, m, x, y, **knobs(eps)))

    pgd = {"steps": steps, "rel_stepsize": 0.25}
    return [
        ours("PGD", steps=steps),
        ours("APGD", steps=steps),
        ours("Square", queries=queries),
        peer(
            "foolbox",
            "LinfPGD",
            lambda m, x, y, eps, bounds: libraries.foolbox("LinfPGD", m, x, y, eps=eps, bounds=bounds, **pgd),
        ),
        peer(
            "secml-torch",
            "PGD, native",
            lambda m, x, y, eps, bounds: libraries.secml_pgd(m, x, y, eps, steps, eps / 4, bounds),
        ),
        art("PGD", "ProjectedGradientDescent", lambda eps: {"eps_step": eps / 4, "max_iter": steps}),
        art(
            "APGD",
            "AutoProjectedGradientDescent",
            lambda eps: {"eps_step": 2 * eps, "max_iter": steps, "nb_random_init": 1},
        ),
        art("Square", "SquareAttack", lambda _: {"max_iter": queries}),
        torchattacks("PGD", lambda eps: {"alpha": eps / 4, "steps": steps}),
        torchattacks("APGD", lambda _: {"steps": steps}),
        torchattacks("Square", lambda _: {"n_queries": queries}),
        peer("pyautoattack", "APGD-CE", lambda m, x, y, eps, _: libraries.pyautoattack_apgd(m, x, y, eps, steps)),
        peer("pyautoattack", "Square", lambda m, x, y, eps, _: libraries.pyautoattack_square(m, x, y, eps, queries)),
        advlib("pgd_linf", lambda eps: {"ε": eps, "steps": steps, "relative_step_size": 0.25}),
        advlib("apgd", lambda eps: {"eps": eps, "norm": float("inf"), "n_iter": steps}),
    ]


def verdict(against: Subject, found: Tensor, eps: float) -> str:
    """ "kept" or "BROKEN 12x" (the largest change over the radius), and how many of the right samples fell."""
    if found.shape != against.x.shape:
        return f"BROKEN: shape {tuple(found.shape)}"
    if not torch.isfinite(found).all():
        return "BROKEN: not finite"
    used = float((found.double() - against.x.double()).abs().max()) / eps
    low, high = against.space.low, against.space.high
    leaves = (low is not None and float(found.min()) < low - SLACK * eps) or (
        high is not None and float(found.max()) > high + SLACK * eps
    )
    right = ~against.fallen(against.x)
    fell = f"{int((right & against.fallen(found)).sum())} of {int(right.sum())} fell"
    said = f"BROKEN {number(used)}x" if used > 1 + SLACK else "kept, nothing changed" if used == 0 else "kept"
    return f"{said}{', out of bounds' if leaves else ''} ({fell})"


def attempt(call: Call, against: Subject, eps: float, settings: Settings) -> str:
    """One cell of the table."""
    try:
        libraries.ready(call.library)
        return verdict(against, call.run(Contest(against.classifier(), against, settings), eps), eps)
    except NotAvailable as error:
        return f"not available: {error}"
    except Exception as error:  # noqa: BLE001
        print(
            f"[D] {call.library} {call.name} on {against.name}: {type(error).__name__}: {libraries.first_line(error)}",
            file=sys.stderr,
        )
        return "fails"


def heading(against: Subject, eps: float) -> str:
    radius = f"{number(255 * eps)}/255" if against.space.low == 0 and against.space.high == 1 else f"{eps:g}"
    return f"{against.name} {tuple(against.x.shape[1:])}, {radius}"


def report(s: Settings) -> str:
    """The table: one row per attack, one column per space; then who kept the budget wherever it ran, who broke it."""
    subjects = [(subject(modality, s.samples, space), eps) for modality, space, eps in CASES]
    lines = []
    for call in calls(queries=min(s.queries, QUERIES)):
        lines.append(
            [
                f"{libraries.short(call.library)} {call.name}",
                *(attempt(call, against, eps, s) for against, eps in subjects),
            ]
        )
        print(f"[D] {' | '.join(lines[-1])}", file=sys.stderr, flush=True)
    return f"{table(['attack', *(heading(*one) for one in subjects)], lines)}\n\n{summary(lines)}"


def summary(lines: list[list[str]]) -> str:
    """Who kept the budget in every space, who broke it in some without a word, who does not run everywhere."""
    everywhere = [
        name for name, *cells in lines if all(cell.startswith("kept") and "bounds" not in cell for cell in cells)
    ]
    broken = [name for name, *cells in lines if any(cell.startswith("BROKEN") for cell in cells)]
    fails = [name for name, *cells in lines if any(cell.startswith("fails") for cell in cells)]
    named = (
        ("Kept in every space", everywhere),
        ("Broken in some space without an error", broken),
        ("Fails in some space", fails),
    )
    return " ".join(f"{what}: {', '.join(who) or 'nobody'}." for what, who in named)
