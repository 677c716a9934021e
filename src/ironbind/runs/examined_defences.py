"""Test-time defences of a job, and the attackers that an audit chooses for each: through its gradients in every way
that it names, past its gate, from the undefended twin, without gradients. The worst of them counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks import APGD, Square
from ironbind.attacks.through import PastGate, Through
from ironbind.calibration.calibrate import training_split
from ironbind.core.results import Check, Result
from ironbind.defences.defence import GRADIENTS, Detector
from ironbind.defences.defended_encoder import AsAttacked, Defended, defend
from ironbind.defences.flagging_encoder import FlaggingEncoder
from ironbind.evaluate.attack_variants import AnyAttack, attacks_for
from ironbind.evaluate.audit_defended import Examined, audit_defended, scores_of, threshold_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.types import Attack, Budget, Dataset, Encoder, InputError, title_of

FALSE_ALARMS = 0.01
"""The share of clean samples that a detector may flag; its threshold is set on samples that are not reported."""
ENOUGH_PASSES = 8
"""An attacker averages so many draws that an estimate costs about so many passes (ours)."""


@dataclass(frozen=True)
class ExaminedDefence:
    """`defence`: a value of DEFENCES. `steps` of each gradient attack, `queries` of the search without gradients (0:
    none), `draws` that a verdict is averaged over where the defence draws; `calibrated_on` so many clean samples of the
    training split a detector's threshold is set.
    """

    defence: Any
    steps: int = 25
    queries: int = 200
    draws: int = 10
    calibrated_on: int = 200

    def with_texts(self, task: ZeroShot) -> Any:
        """The defence, with one prompt a class where it compares with texts and was given none."""
        if getattr(self.defence, "texts", None) != ():
            return self.defence
        template = task.templates[0]
        return replace(self.defence, texts=tuple(template.format(name) for name in task.dataset.classes))


def defended_part(
    defences: Sequence[ExaminedDefence],
    task: ZeroShot,
    attacks: Sequence[AnyAttack],
    budgets: Sequence[Budget],
    context: RunContext,
) -> Result:
    """The audit of all these defences around the encoder of `task`, each against its own attacker. A defence that has
    no meaning in the task's space has no rows and one line among the checks of the data.
    """
    examined: list[Examined] = []
    left_out: list[Check] = []
    place = f"{task.modality} {task.space.name}"
    for each in defences:
        defence = each.with_texts(task)
        reason = defence.unsuitable(task.modality, task.space)
        if reason:
            title = f"{title_of(task.encoder)}+{defence.name}"
            detail = f"{title} has no meaning for {task.modality} in {task.space.name}: {reason}"
            left_out.append(Check("data", "a defence was left out", "skipped", detail, place))
        else:
            examined.append(_examined(each, defend(task.encoder, defence, seed=context.seed), task, context))
    twin = attacks_for(task, attacks, budgets, context.store.folder)
    result = audit_defended(task, twin, budgets, examined, context)
    result.checks += left_out
    result.record[f"defences {place}"] = [each.record for each in examined]
    return result


def _examined(each: ExaminedDefence, deployed: Defended, task: ZeroShot, context: RunContext) -> Examined:
    defence, place = deployed.defence, (task.modality, task.space)
    randomised, passes = defence.randomised(*place), defence.passes(*place)
    cost = passes.forward + passes.gradient
    draws = max(1, round(ENOUGH_PASSES / cost)) if randomised else 1
    views = {way: deployed.as_attacked(way, draws) for way in defence.gradients}
    estimate = views[defence.gradients[0]]
    attacks = [*_through(each, views, task, cost * draws)]
    detects = isinstance(defence, Detector)
    if detects:
        attacks += _past_gate(each, views, defence.acts_above, task, cost * draws)
    attacks += [Square(queries=each.queries)] if each.queries else []
    verdict_draws = [deployed.redrawn(draw) for draw in range(each.draws if randomised else 1)]
    record = {
        "defence": repr(defence),
        "encoder": title_of(deployed),
        "forward_passes_per_query": passes.forward,
        "gradient_passes_per_query": passes.gradient,
        "differentiated": {way: GRADIENTS[way] for way in defence.gradients},
        "attacker_draws": draws,
        "verdict_draws": len(verdict_draws),
        "attacks": [attack.name for attack in attacks],
    }
    flagging = _flagging(each, verdict_draws, views, task, context, record) if detects else None
    return Examined(verdict_draws, estimate, tuple(attacks), flagging, record)


def _embed(encoder: Encoder | FlaggingEncoder, task: ZeroShot) -> Any:
    def embed(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        return encoder.embed(task.modality, x, space=task.space.name).float()

    return embed


def _through(each: ExaminedDefence, views: dict[str, AsAttacked], task: ZeroShot, passes: int) -> list[Attack]:
    """Gradients in every way, on the margin; on the cross-entropy in the first."""
    ways = list(views.items())
    attacks: list[Attack] = [Through(APGD(each.steps), _embed(view, task), way, passes) for way, view in ways]
    way, view = ways[0]
    attacks.insert(1, Through(APGD(each.steps, loss="ce"), _embed(view, task), way, passes))
    return attacks


def _past_gate(
    each: ExaminedDefence, views: dict[str, AsAttacked], threshold: float, task: ZeroShot, passes: int
) -> list[Attack]:
    """Wrong for the undefended encoder, and quiet enough that the gate does not act."""
    way, view = next(iter(views.items()))
    surrogate = FlaggingEncoder(view, threshold, bare=True)
    return [PastGate(APGD(each.steps), _embed(surrogate, task), way, passes)]


def _flagging(
    each: ExaminedDefence,
    deployed: Sequence[Defended],
    views: dict[str, AsAttacked],
    task: ZeroShot,
    context: RunContext,
    record: dict[str, object],
) -> Examined:
    """The defence as a detector at 1 % false alarms: its attacker has to stay below the threshold and be wrong."""
    held = _held_out(task.dataset, each.calibrated_on)
    on = task if held is None else task.over(held)
    scores = scores_of(on, partial(deployed[0].suspicion, task.modality, space=task.space.name), context)
    threshold = threshold_at(scores, FALSE_ALARMS)
    record["threshold"], record["threshold_from"] = threshold, "the audited samples" if held is None else held.name
    way, view = next(iter(views.items()))
    estimate = FlaggingEncoder(view, threshold)
    passes = 2 * view.draws
    attacks: list[Attack] = [
        Through(APGD(each.steps), _embed(FlaggingEncoder(other, threshold), task), name, passes)
        for name, other in views.items()
    ]
    attacks.append(Through(APGD(each.steps, loss="ce"), _embed(estimate, task), way, passes))
    return Examined([FlaggingEncoder(one, threshold) for one in deployed], estimate, tuple(attacks))


def _held_out(dataset: Dataset, samples: int) -> Dataset | None:
    """Clean samples that are not reported; None where the data have no training split."""
    try:
        return training_split(dataset, samples)
    except InputError:
        return None
