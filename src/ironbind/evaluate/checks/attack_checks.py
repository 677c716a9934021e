"""What can be wrong with the attack, so that it leaves standing what a better one would not: C2 and C12 to C20."""

import math
import re

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.evaluate.checks.check_context import FEW, CheckContext, Finding, longer, paced
from ironbind.numerics.norms import distance, project, steepest_step
from ironbind.types import Attack, Budget, CalibratedEncoder

ROUNDING = 1e-6
# Points of robust accuracy that others may still take of what stands
CONVERGED = 0.5  # more of the same attack
BEATEN = 0.2  # a weaker attack (AutoAttack's allowance for its black-box part)
LUCK = 0.05  # a count is held against the attack when the allowance alone would explain it less often than this


def zero_budget(scene: CheckContext) -> Finding:
    """No attack changes a verdict, or claims to, when it has no budget, sample by sample."""
    few, nothing = scene.everyone[: FEW // 2], Budget(scene.budget.norm, 0.0, "0")
    changed = []
    for attack in scene.attacks:
        found = scene.attack(attack, few, "zero", budget=nothing)
        changed.append(int((scene.reached(found.x, few) | found.reached).sum()))
    status = "fail" if any(changed) else "pass"
    return (
        status,
        f"{sum(changed)} of {len(few) * len(changed)} verdicts change at eps 0 ({len(few)} samples, {len(changed)} attacks)",
    )


def best_is_returned(scene: CheckContext) -> Finding:
    """The first attack returns the best point it has seen, not the last one (silent success, indicator I3)."""
    run = scene.run
    returned = scene.goal.using("margin").loss(scene.embed(run.found.x))
    seen = torch.where(run.hit, run.loss, -torch.inf).amax(dim=0)
    lost = int((run.hit.any(dim=0) & ~run.fallen & ~(returned >= seen - ROUNDING)).sum())
    return (
        "fail" if lost else "pass"
    ), f"{lost} of {len(seen)} samples were adversarial on the way and came back as they were not"


def optimisation_has_finished(scene: CheckContext) -> Finding:
    """Twice the steps of the first attack break none of what is nearest to falling, nor of what is still on its way to
    the goal when the attack ends (incomplete optimisation, indicator I4)."""
    arriving = scene.stands & ~scene.run.fallen & _arriving(scene.run.loss)
    if longer(scene.attacks[0], 2) is None:
        status = "warn" if arriving.any() else "pass"
        return (
            status,
            f"{scene.attacks[0].name} counts no steps that could be doubled; {int(arriving.sum())} samples are on their way when it ends",
        )
    tried = arriving.clone()
    tried[scene.fragile] = True
    rows = tried.nonzero().squeeze(1)
    broken = int(scene.falls_to_longer(rows).sum())
    status = (
        "fail"
        if broken > max(1, len(rows) / 4)
        else "warn"
        if _too_many(scene, broken, len(rows), CONVERGED)
        else "pass"
    )
    return (
        status,
        f"twice the steps break {broken} of the {len(rows)} samples nearest to falling{_worth(scene, broken, CONVERGED)}",
    )


def _too_many(scene: CheckContext, broken: int, tried: int, limit: float) -> bool:
    """Whether so many samples, broken by what should break none, are more than the limit explains, or more than half of
    those tried; one never is.
    """
    return broken > 1 and (_by_luck(scene, broken, limit) < LUCK or 2 * broken > tried)


def _by_luck(scene: CheckContext, broken: int, limit: float) -> float:
    """The chance of so many samples or more if the true loss were the limit (Poisson)."""
    expected = limit / 100 * len(scene.attacked)
    return 1 - math.exp(-expected) * sum(expected**count / math.factorial(count) for count in range(broken))


def _worth(scene: CheckContext, broken: int, limit: float) -> str:
    luck = f", {_by_luck(scene, broken, limit):.2g} by luck" if broken else ""
    return f": {scene.points(broken):.1f} points of {len(scene.attacked)} samples (limit {limit}{luck})"


def _arriving(loss: Float[Tensor, "t s"]) -> Bool[Tensor, " s"]:
    """Samples whose best margin so far gains more than 5 % of its range in the last ten passes (the last quarter of a
    shorter run) and, kept up for as many passes again, would be lifted to zero."""
    passes = len(loss)
    if passes < 4:
        return torch.zeros(loss.shape[1], dtype=torch.bool, device=loss.device)
    window = min(10, passes // 4)
    best = loss.nan_to_num(nan=-2.0).cummax(dim=0).values  # no margin of cosines is lower
    gained = best[-1] - best[-1 - window]
    return (gained > 0.05 * (best[-1] - best[0]).clamp_min(1e-12)) & (best[-1] + gained * passes / window >= 0)


def restarts_suffice(scene: CheckContext) -> Finding:
    """One more restart of the first attack, elsewhere in the budget, breaks nothing that stands."""
    broken, tried = int((scene.run.fallen & scene.stands).sum()), int(scene.stands.sum())
    said = f"one more restart breaks {broken} of {tried} samples left standing{_worth(scene, broken, CONVERGED)}"
    return ("warn" if _too_many(scene, broken, tried, CONVERGED) else "pass"), said


def step_size_suits(scene: CheckContext) -> Finding:
    """Neither half nor twice the step size of the first attack breaks more of what is nearest to falling than one more
    restart with its own does.
    """
    rows, attack = scene.fragile, scene.attacks[0]
    sizes = [other for other in (paced(attack, 0.5), paced(attack, 2.0)) if other is not None]
    if not sizes:
        return "pass", f"{attack.name} has no step size to choose"
    if not len(rows):
        return "pass", "nothing stands that another step size could break"
    again = int(scene.run.fallen[rows].sum())
    half, twice = (int(scene.reached(scene.attack(other, rows, "run").x, rows).sum()) for other in sizes)
    more = max(half, twice) - again
    said = f"half the step size breaks {half}, twice of it {twice}, the same again {again} of the {len(rows)} samples nearest to falling"
    # the better of two alternatives is ahead of one by chance alone: a badly chosen step size costs more than that
    return ("warn" if more > max(1, len(rows) / 4) else "pass"), f"{said} (limit: a quarter more)"


def everything_falls_without_bounds(scene: CheckContext) -> Finding:
    """With a budget as wide as the space the first attack breaks everything; an attack that cannot is being misled
    (indicator I6).
    """
    space = scene.task.space
    low, high = (0.0, 1.0) if space.low is None or space.high is None else (space.low, space.high)
    corner = torch.where(scene.x > (low + high) / 2, low, high).to(scene.x)
    radius = float(distance(corner, scene.x, space, scene.budget.norm).max())
    found = scene.attack(
        scene.attacks[0], scene.everyone, "unbounded", budget=Budget(scene.budget.norm, radius, f"{radius:g}")
    )
    left = 1 - float(scene.reached(found.x).float().mean())
    return ("fail" if left > 0.05 else "pass"), f"{left:.0%} still stand with an unbounded budget (limit 5 %)"


# ------------------------------------------------------------------------------------------- what must be weaker


def _beaten(scene: CheckContext, breaks: str, broken: Bool[Tensor, " b"], tried: int) -> Finding:
    """What another attack ("one step breaks") breaks of what stands. Where twice the steps of the first attack break it
    too, the attack is not misled but short, which is said elsewhere (C13)."""
    rows = (broken & scene.stands).nonzero().squeeze(1)
    short = int(scene.falls_to_longer(rows).sum())
    missed = len(rows) - short
    said = f"{breaks} {len(rows)} of {tried} samples left standing"
    said += f", {short} of which twice the steps break too (C13)" if short else ""
    return ("fail" if _too_many(scene, missed, tried, BEATEN) else "pass"), said + _worth(scene, missed, BEATEN)


def one_step_is_weaker(scene: CheckContext) -> Finding:
    """A single full step breaks no sample that the attacks left standing."""
    _, gradient = scene.gradient("margin")
    if gradient is None:
        return "fail", "there is no gradient to step along"
    stepped = project(
        scene.x + steepest_step(gradient, scene.x, scene.task.space, scene.budget),
        scene.x,
        scene.task.space,
        scene.budget,
    )
    return _beaten(scene, "one step breaks", scene.reached(stepped), int(scene.stands.sum()))


def noise_is_weaker(scene: CheckContext) -> Finding:
    """Random points of the budget break no sample that the attacks left standing: otherwise the attacks are weak or
    misled.
    """
    broken = torch.stack([scene.goal.reached(z) for z in scene.noise_z]).any(dim=0)
    return _beaten(scene, f"{len(scene.noise_z)} random draws break", broken, int(scene.stands.sum()))


def black_box_is_weaker(scene: CheckContext) -> Finding:
    """A search that sees no gradient breaks no sample that the attacks left standing: otherwise gradients mislead."""
    if scene.black_box is None:
        return "skipped", "no black-box search was handed in"
    if not len(scene.fragile):
        return "pass", "nothing stands that a search could break"
    broken = torch.zeros_like(scene.stands)
    broken[scene.fragile] = scene.reached(scene.attack(scene.black_box, scene.fragile, "black box").x, scene.fragile)
    return _beaten(scene, f"{scene.black_box.name} breaks", broken, len(scene.fragile))


def transfer_is_weaker(scene: CheckContext) -> Finding:
    """Examples of the undefended twin break no more samples than attacks on this encoder do (transfer failure,
    indicator I5).
    """
    if scene.twin is None:
        return "skipped", "there is no undefended twin whose examples could be compared"
    by_twin, by_attack = scene.by_twin, scene.run.fallen.clone()
    for attack in scene.attacks[1:]:
        rows = (by_twin & ~by_attack).nonzero().squeeze(1)  # the others matter only where the first one fell behind
        if len(rows):
            by_attack[rows] = scene.reached(scene.attack(attack, rows, "run").x, rows)
    left = (by_twin & ~by_attack).nonzero().squeeze(1)
    by_attack[left] = scene.falls_to_longer(left)  # an attack that is short is not misled (C13)
    missed, ahead = int((by_twin & ~by_attack).sum()), int(by_twin.sum()) - int(by_attack.sum())
    said = (
        f"its twin's examples break {int(by_twin.sum())} of {len(by_twin)} samples, the attack {int(by_attack.sum())}"
    )
    # a single one may be luck; the verdicts count the twin's examples anyway (C20)
    return (
        "fail" if ahead > 0 and missed > 1 else "warn" if missed > 1 else "pass"
    ), f"{said}; it misses {missed} of theirs (limit 1)"


# ---------------------------------------------------------------------------------------------- the worst case


def several_losses(scene: CheckContext) -> Finding:
    """The schedule pursues its goal through more than one loss: none is the strongest everywhere."""
    losses = sorted({one for attack in scene.attacks for one in _losses(attack)})
    return (
        "warn" if len(losses) < 2 else "pass"
    ), f"losses pursued: {', '.join(losses)}; worst case per sample over all of them"


def _losses(attack: Attack) -> list[str]:
    """The losses named in an attack's knobs, those of attacks inside it included; its own name where it names none."""
    return re.findall(r"loss='([^']+)'", repr(attack)) or [attack.name]


def twin_was_used(scene: CheckContext) -> Finding:
    """An attacker who knows of a calibration also owns the encoder underneath: its examples belong to the worst case."""
    if scene.twin is None:
        below = isinstance(scene.task.encoder, CalibratedEncoder)
        return (
            ("warn", "the undefended encoder's examples were not tried")
            if below
            else ("skipped", "there is no undefended encoder underneath")
        )
    missed = int((scene.by_twin & scene.stands).sum())
    replayed = sum("replayed" in one.won_by for one in scene.attacked.values())
    said = f"{missed} samples count as standing although the twin's example breaks them; such examples decided {replayed} verdicts"
    return ("fail" if missed else "pass"), said
