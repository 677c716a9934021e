"""E: what one plain PGD run costs as people call it: interleaved rounds in one process, CPU seconds as ratios to a bare
loop of the same round.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from against import libraries
from against.contest import OURS, Contest, NotAvailable, Settings, our_attack
from against.meter import Cost, seconds
from against.page import number, table
from against.subject import Subject, subject
from ironbind.types import Linf

ART = "adversarial-robustness-toolbox"


def bare_loop(c: Contest) -> Tensor:
    """PGD on the cross-entropy by hand, gradient to the input alone; the last iterate, never tested."""
    s = c.settings

    def attack(x: Tensor, y: Tensor) -> Tensor:
        at = x
        for _ in range(s.pgd_steps):
            at = at.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(
                torch.nn.functional.cross_entropy(c.classifier(at), y, reduction="sum"), at
            )
            at = at.detach() + 2.5 / s.pgd_steps * s.eps * gradient.sign()
            at = torch.minimum(torch.maximum(at, x - s.eps), x + s.eps).clamp(0, 1)
        return at

    return c.in_batches(attack)


@dataclass
class Contestant:
    """A call, and what its rounds came to: CPU seconds by whether parameters were frozen, robust accuracy and passes of
    the first frozen run.
    """

    library: str
    call: str
    run: Callable[[Contest], Tensor]
    error: str = ""
    spent: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    accuracy: float = 0.0
    cost: Cost = field(default_factory=Cost)

    def once(self, against: Subject, settings: Settings, frozen: bool) -> None:
        if self.error:
            return
        contest, found = Contest(against.classifier(frozen), against, settings), []
        try:
            if self.library:
                libraries.ready(self.library)
            self.spent[frozen].append(seconds(lambda: found.append(self.run(contest))))
        except NotAvailable as error:
            self.error = f"not available: {error}"
        except Exception as error:  # noqa: BLE001
            self.error = f"crashed: {type(error).__name__}: {libraries.first_line(error)}"
        finally:
            against.network.requires_grad_(False)
        if found and frozen and len(self.spent[True]) == 1:
            stands = ~(against.fallen(against.x) | against.fallen(found[0]))
            self.accuracy = 100 * float(stands.float().mean())
            self.cost = sum(contest.classifier.stages.values(), Cost())


def contestants(s: Settings) -> list[Contestant]:
    """Everybody takes the same number of steps of the same size from the clean sample; the bare loop comes first."""
    eps, n, size = s.eps, s.pgd_steps, 2.5 / s.pgd_steps * s.eps

    def ours(said: str, **knobs: Any) -> Contestant:
        return Contestant(
            OURS,
            said,
            lambda c: c.with_ours(our_attack("PGD", steps=n, loss="ce", random_start=False, **knobs), Linf(eps)),
        )

    def peer(library: str, said: str, call: Callable[..., Tensor], *before: Any, **knobs: Any) -> Contestant:
        return Contestant(
            library, said, lambda c: c.in_batches(lambda x, y: call(*before, c.classifier, x, y, eps=eps, **knobs))
        )

    return [
        Contestant("", "bare loop", bare_loop),
        ours("PGD"),
        ours("PGD, every sample to the end", stop_when_reached=False),
        peer("torchattacks", "PGD", libraries.torchattacks, "PGD", alpha=size, steps=n, random_start=False),
        peer("adv-lib", "pgd_linf", lambda m, x, y, eps: libraries.advlib(
            "pgd_linf", m, x, y, ε=eps, steps=n, random_init=False, absolute_step_size=size)),
        peer("foolbox", "LinfPGD", libraries.foolbox, "LinfPGD", abs_stepsize=size, steps=n, random_start=False),
        peer("secml-torch", "PGD, native", libraries.secml_pgd, steps=n, size=size),
        peer(ART, "ProjectedGradientDescent", libraries.art, "ProjectedGradientDescent", eps_step=size, max_iter=n),
    ]  # fmt: skip


def report(s: Settings) -> str:
    """One row per contestant: ratios to the bare loop with frozen parameters, round by round, then their median."""
    against, everybody = subject("image", s.samples), contestants(s)
    for round_ in range(s.rounds + 1):  # the first one warms up
        for one in everybody if round_ % 2 else everybody[::-1]:
            for frozen in (True, False):
                one.once(against, s, frozen)
        print(f"[E {round_}/{s.rounds}]", file=sys.stderr, flush=True)
    bare = everybody[0].spent[True][1:]
    lines = []
    for one in everybody:
        name = (
            f"{libraries.short(one.library)} {libraries.ready(one.library)}"
            if one.library and not one.error
            else libraries.short(one.library)
        )
        if one.error:
            lines.append([one.call, name, one.error])
            continue
        ratios = [
            number(statistics.median(a / b for a, b in zip(one.spent[frozen][1:], bare, strict=True)))
            for frozen in (True, False)
        ]
        passes = " / ".join(
            f"{count / s.samples:.4g}"
            for count in (one.cost.gradient_forwards, one.cost.plain_forwards, one.cost.backwards)
        )
        lines.append(
            [one.call, name, number(statistics.median(one.spent[True][1:])), *ratios, passes, f"{one.accuracy:.1f}"]
        )
    header = [
        "call", "library", "CPU s, parameters frozen", "ratio, frozen", "ratio, not frozen",
        "passes per sample (forward with gradient / forward / backward)", "robust accuracy (%)",
    ]  # fmt: skip
    return table(header, lines)
