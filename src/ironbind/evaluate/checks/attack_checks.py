"""Faults of the attack, which then leaves samples robust that a better one breaks: C2 and C12 to C20."""

import math
import re

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.evaluate.attack_variants import briefly, with_longer_steps, with_more_steps
from ironbind.evaluate.checks.check_context import TOO_SMALL, CheckContext, Finding
from ironbind.evaluate.checks.encoder_checks import more_than
from ironbind.evaluate.checks.extent import NOISE_DRAWS
from ironbind.numerics.norms import distance, project, steepest_step
from ironbind.types import Attack, Budget, backbone_of

ROUNDING = 1e-6
# Percentage points of robust accuracy that another attack may still take
CONVERGED = 0.5  # more of the same attack
BEATEN = 0.2  # a weaker attack (AutoAttack's allowance for its black-box part)
LUCK = 0.05  # a count is a finding when the allowance alone would explain it less often than this


def zero_budget(context: CheckContext) -> Finding:
    """No attack changes a verdict, or claims to, when it has no budget, sample by sample; a few steps of each tell."""
    if not context.extent.attacks_again:
        return "skipped", TOO_SMALL
    few, no_budget = context.few[:4], Budget(context.budget.norm, 0.0, "0")
    changed = []
    for attack in context.attacks:
        attacked = context.attack(briefly(attack), few, "zero", budget=no_budget)
        changed.append(int((context.reached(attacked.x, few) | attacked.reached).sum()))
    status = "fail" if any(changed) else "pass"
    return (
        status,
        (
            f"{sum(changed)} of {len(few) * len(changed)} verdicts change at eps 0 ({len(few)} samples, "
            f"{len(changed)} attacks)"
        ),
    )


def best_is_returned(context: CheckContext) -> Finding:
    """The first attack returns the best point it has seen, not the last one (silent success, indicator I3)."""
    if not context.runs_again:
        return "skipped", TOO_SMALL
    run = context.run
    returned = context.goal[context.cheap_rows].using("margin").loss(context.embed(run.attacked.x))
    best_seen = torch.where(run.hit, run.loss, -torch.inf).amax(dim=0)
    lost = int((run.hit.any(dim=0) & ~run.broken & ~(returned >= best_seen - ROUNDING)).sum())
    return (
        "fail" if lost else "pass"
    ), f"{lost} of {len(best_seen)} samples were adversarial on the way and came back as they were not"


def optimisation_has_finished(context: CheckContext) -> Finding:
    """Twice the steps of the first attack break no robust sample nearest to the decision boundary, and none that is
    still on its way to the goal when the attack ends (incomplete optimisation, indicator I4)."""
    if not context.runs_again or not (len(context.fragile) or context.nothing_stands):
        return "skipped", TOO_SMALL
    rows = context.cheap_rows
    still_improving = context.robust[rows] & ~context.run.broken & _still_improving(context.run.loss)
    if with_more_steps(context.attacks[0], 2) is None:
        status = "warn" if still_improving.any() else "pass"
        return (
            status,
            (
                f"{context.attacks[0].name} counts no steps that could be doubled; {int(still_improving.sum())} "
                "samples are on their way when it ends"
            ),
        )
    candidates = still_improving.clone()
    candidates[context.fragile] = True
    rows = candidates.nonzero().squeeze(1)
    broken = int(context.broken_by_more_steps(rows).sum())
    status = (
        "fail"
        if broken > max(1, len(rows) / 4)
        else "warn"
        if _too_many(context, broken, len(rows), CONVERGED)
        else "pass"
    )
    return (
        status,
        (
            f"twice the steps break {broken} of the {len(rows)} samples nearest to "
            f"falling{_points(context, broken, CONVERGED)}"
        ),
    )


def _too_many(context: CheckContext, broken: int, count: int, limit: float) -> bool:
    """Whether so many samples of `count`, broken by what should break none, are more than the limit explains, or more
    than half; a single one never is.
    """
    return broken > 1 and (_chance(context, broken, limit) < LUCK or 2 * broken > count)


def _chance(context: CheckContext, broken: int, limit: float) -> float:
    """The chance of so many samples or more if the true loss were the limit (Poisson)."""
    expected = limit / 100 * len(context.attacked)
    return 1 - math.exp(-expected) * sum(expected**count / math.factorial(count) for count in range(broken))


def _points(context: CheckContext, broken: int, limit: float) -> str:
    luck = f", {_chance(context, broken, limit):.2g} by luck" if broken else ""
    return f": {context.points(broken):.1f} points of {len(context.attacked)} samples (limit {limit}{luck})"


def _still_improving(loss: Float[Tensor, "t s"]) -> Bool[Tensor, " s"]:
    """Samples whose best margin so far gains more than 5 % of its range in the last ten passes (the last quarter of a
    shorter run) and, kept up for as many passes again, would be lifted to zero."""
    passes = len(loss)
    if passes < 4:
        return torch.zeros(loss.shape[1], dtype=torch.bool, device=loss.device)
    window = min(10, passes // 4)
    best = loss.nan_to_num(nan=-2.0).cummax(dim=0).values  # no margin of cosines is lower
    gained = best[-1] - best[-1 - window]
    return (gained > 0.05 * (best[-1] - best[0]).clamp_min(1e-12)) & (best[-1] + gained * passes / window >= 0)


def restarts_suffice(context: CheckContext) -> Finding:
    """One more restart of the first attack, elsewhere in the budget, breaks no robust sample."""
    if not context.runs_again or not (len(context.fragile) or context.nothing_stands):
        return "skipped", TOO_SMALL
    robust = len(context.fragile)
    broken = int(context.run.broken[context.fragile].sum())
    detail = f"one more restart breaks {broken} of {robust} samples left standing{_points(context, broken, CONVERGED)}"
    return ("warn" if _too_many(context, broken, robust, CONVERGED) else "pass"), detail


def step_size_suits(context: CheckContext) -> Finding:
    """Neither half nor twice the step size of the first attack breaks more of the robust samples nearest to the
    decision boundary than one more restart with its own does.
    """
    rows, attack = context.fragile, context.attacks[0]
    sizes = [other for other in (with_longer_steps(attack, 0.5), with_longer_steps(attack, 2.0)) if other is not None]
    if not sizes:
        return "pass", f"{attack.name} has no step size to choose"
    if not len(rows):
        return (
            ("pass", "nothing stands that another step size could break")
            if context.nothing_stands
            else (
                "skipped",
                TOO_SMALL,
            )
        )
    repeated = int(context.run.broken[rows].sum())
    half, twice = (int(context.reached(context.attack(other, rows, "run").x, rows).sum()) for other in sizes)
    more = max(half, twice) - repeated
    detail = (
        f"half the step size breaks {half}, twice of it {twice}, the same again {repeated} of the {len(rows)} "
        "samples nearest to falling"
    )
    # the better of two alternatives is ahead of one by chance alone: a badly chosen step size costs more than that
    return ("warn" if more > max(1, len(rows) / 4) else "pass"), f"{detail} (limit: a quarter more)"


def unbounded_attack_succeeds(context: CheckContext) -> Finding:
    """With a budget as wide as the space the first attack breaks every sample; an attack that cannot is misled
    (indicator I6).
    """
    if not context.extent.attacks_again:
        return "skipped", TOO_SMALL
    space = context.task.space
    low, high = (0.0, 1.0) if space.low is None or space.high is None else (space.low, space.high)
    corner = torch.where(context.x > (low + high) / 2, low, high).to(context.x)
    radius = float(distance(corner, context.x, space, context.budget.norm).max())
    attacked = context.attack(
        context.attacks[0], context.all_rows, "unbounded", budget=Budget(context.budget.norm, radius, f"{radius:g}")
    )
    left, total = int((~context.reached(attacked.x)).sum()), len(context.indices)
    return (
        "fail" if more_than(left, total, 0.05) else "pass"
    ), f"{left / total:.0%} still stand with an unbounded budget (limit 5 %)"


# ------------------------------------------------------------------------------------------- what must be weaker


def _weaker_attack_finding(context: CheckContext, breaks: str, broken: Bool[Tensor, " b"], count: int) -> Finding:
    """What another attack ("one step breaks") breaks of the robust samples. Where twice the steps of the first attack
    break a sample too, the attack is not misled but short, which is reported elsewhere (C13)."""
    rows = (broken & context.robust).nonzero().squeeze(1)
    short = int(context.broken_by_more_steps(rows).sum())
    missed = len(rows) - short
    detail = f"{breaks} {len(rows)} of {count} samples left standing"
    detail += f", {short} of which twice the steps break too (C13)" if short else ""
    return ("fail" if _too_many(context, missed, count, BEATEN) else "pass"), detail + _points(context, missed, BEATEN)


def one_step_is_weaker(context: CheckContext) -> Finding:
    """A single full step breaks no sample that is robust to the attacks."""
    _, gradient = context.gradient("margin")
    if gradient is None:
        return "fail", "there is no gradient to step along"
    stepped = project(
        context.x + steepest_step(gradient, context.x, context.task.space, context.budget),
        context.x,
        context.task.space,
        context.budget,
    )
    return _weaker_attack_finding(context, "one step breaks", context.reached(stepped), int(context.robust.sum()))


def noise_is_weaker(context: CheckContext) -> Finding:
    """Random points of the budget break no sample that is robust to the attacks: otherwise the attacks are weak or
    misled.
    """
    if not len(context.fragile):
        return ("pass", "nothing stands that noise could break") if context.nothing_stands else ("skipped", TOO_SMALL)
    broken = torch.zeros_like(context.robust)
    broken[context.fragile] = context.broken_by_noise(context.fragile)
    return _weaker_attack_finding(context, f"{NOISE_DRAWS} random draws break", broken, len(context.fragile))


def black_box_is_weaker(context: CheckContext) -> Finding:
    """A search that sees no gradient breaks no sample that is robust to the attacks: otherwise gradients mislead."""
    if context.run_context.black_box is None:
        return "skipped", "no black-box search was handed in"
    if not len(context.fragile):
        return (
            ("pass", "nothing stands that a search could break") if context.nothing_stands else ("skipped", TOO_SMALL)
        )
    broken = torch.zeros_like(context.robust)
    broken[context.fragile] = context.reached(
        context.attack(context.run_context.black_box, context.fragile, "black box").x, context.fragile
    )
    return _weaker_attack_finding(context, f"{context.run_context.black_box.name} breaks", broken, len(context.fragile))


def transfer_is_weaker(context: CheckContext) -> Finding:
    """Examples of the undefended twin break no more samples than attacks on this encoder do (transfer failure,
    indicator I5).
    """
    if context.twin is None:
        return "skipped", "there is no undefended twin whose examples could be compared"
    if not context.runs_again:
        return "skipped", TOO_SMALL
    by_twin, by_attack = context.broken_by_twin[context.cheap_rows], context.run.broken.clone()
    for attack in context.attacks[1:]:
        rows = (by_twin & ~by_attack).nonzero().squeeze(1)  # the others matter only where the first one broke less
        if len(rows):
            by_attack[rows] = context.reached(context.attack(attack, rows, "run").x, rows)
    left = (by_twin & ~by_attack).nonzero().squeeze(1)
    by_attack[left] = context.broken_by_more_steps(left)  # an attack that is short is not misled (C13)
    missed, ahead = int((by_twin & ~by_attack).sum()), int(by_twin.sum()) - int(by_attack.sum())
    detail = (
        f"its twin's examples break {int(by_twin.sum())} of {len(by_twin)} samples, the attack {int(by_attack.sum())}"
    )
    # a single one may be luck; the verdicts count the twin's examples anyway (C20)
    return (
        "fail" if ahead > 0 and missed > 1 else "warn" if missed > 1 else "pass"
    ), f"{detail}; it misses {missed} of theirs (limit 1)"


# ---------------------------------------------------------------------------------------------- the worst case


def several_losses(context: CheckContext) -> Finding:
    """The schedule pursues its goal through more than one loss: none is the strongest everywhere."""
    losses = sorted({loss for attack in context.attacks for loss in _losses(attack)})
    return (
        "warn" if len(losses) < 2 else "pass"
    ), f"losses pursued: {', '.join(losses)}; worst case per sample over all of them"


def _losses(attack: Attack) -> list[str]:
    """The losses named in an attack's knobs, those of attacks inside it included; its own name where it names none."""
    return re.findall(r"loss='([^']+)'", repr(attack)) or [attack.name]


def twin_was_used(context: CheckContext) -> Finding:
    """An attacker who knows of a calibration also owns the encoder underneath: its examples belong to the worst
    case.
    """
    if context.twin is None:
        below = backbone_of(context.task.encoder) is not context.task.encoder
        return (
            ("warn", "the undefended encoder's examples were not tried")
            if below
            else ("skipped", "there is no undefended encoder underneath")
        )
    missed = int((context.broken_by_twin & context.robust).sum())
    replayed = sum("replayed" in verdict.won_by for verdict in context.attacked.values())
    detail = (
        f"{missed} samples count as standing although the twin's example breaks them; such examples decided "
        f"{replayed} verdicts"
    )
    return ("fail" if missed else "pass"), detail
