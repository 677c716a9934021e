"""Test-time defences of a job, and the attackers that an audit chooses for each: through its gradients in every way
that it names, past its gate, from the undefended twin, without gradients. The worst of them counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks import APGD, PGD, Square
from ironbind.attacks.through import Account, PastGate, Through
from ironbind.calibration.calibrate import training_split
from ironbind.core.results import Check, Result
from ironbind.defences.defence import GRADIENTS, Detector
from ironbind.defences.defended_encoder import AsAttacked, Defended, defend
from ironbind.defences.flagging_encoder import FlaggingEncoder
from ironbind.evaluate.attack_variants import AnyAttack, attacks_for
from ironbind.evaluate.audit_defended import Examined, audit_defended, scores_of, threshold_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.types import Attack, Budget, Dataset, Embed, InputError, title_of

FALSE_ALARMS = 0.01
"""The share of clean samples that a detector may flag; its threshold is set on samples that are not reported."""
MOMENTUM, STEP_SIZE = 0.9, 0.05
"""Of gradient steps on fresh draws: on the built-in images shorter or longer ones, twice as many, or twice the draws a
step left as much (ours)."""
DEAR = 8
"""Passes of a query from which half as many steps on fresh draws are taken."""


@dataclass(frozen=True)
class ExaminedDefence:
    """`defence`: a value of DEFENCES. `steps` of each gradient attack; a defence that draws is climbed four times as
    long (twice where a query is dear), on fresh draws at every step. `queries` of the search without gradients (0:
    none). `draws` that a verdict is averaged over where the defence draws, `estimates` that its attacker judges his
    examples by. `calibrated_on`: so many clean samples of the training split set a detector's threshold.
    """

    defence: Any
    steps: int = 25
    queries: int = 100
    draws: int = 10
    estimates: int = 8
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
    checks: bool = True,
) -> Result:
    """The audit of all these defences around the encoder of `task`, each against its own attacker. A defence that has
    no meaning in the task's space has no rows and one line among the checks of the data.
    """
    examined, left_out = examined_in(defences, task, context)
    twin = attacks_for(task, attacks, budgets, context.store.folder)
    result = audit_defended(task, twin, budgets, examined, context, checks)
    result.checks += left_out
    result.record[f"defences {task.modality} {task.space.name}"] = [each.record for each in examined]
    return result


def examined_in(
    defences: Sequence[ExaminedDefence], task: ZeroShot, context: RunContext
) -> tuple[list[Examined], list[Check]]:
    """The defences that have a meaning in the task's space, with their attackers; and why the others have none."""
    examined, left_out = [], []
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
    return examined, left_out


def _examined(each: ExaminedDefence, deployed: Defended, task: ZeroShot, context: RunContext) -> Examined:
    defence, place = deployed.defence, (task.modality, task.space)
    attacker = _Attacker(each, deployed, task)
    randomised, passes = attacker.randomised, defence.passes(*place)
    attacks = attacker.through()
    detector: Any = defence if isinstance(defence, Detector) else None
    attacks += attacker.past_gate(detector.acts_above) if detector else []
    attacks += [Square(queries=each.queries)] if each.queries else []
    draws = [deployed.redrawn(draw) for draw in range(each.draws if randomised else 1)]
    estimates = attacker.estimates()
    record = {
        "defence": repr(defence),
        "encoder": title_of(deployed),
        "forward_passes_per_query": passes.forward,
        "gradient_passes_per_query": passes.gradient,
        "differentiated": {way: GRADIENTS[way] for way in defence.gradients},
        "attacker_draws": len(estimates),
        "verdict_draws": len(draws),
        "attacks": [attack.name for attack in attacks],
    }
    flagging = _flagging(attacker, draws, context, record) if detector else None
    return Examined(draws, estimates, tuple(attacks), flagging, record)


@dataclass(frozen=True)
class _Attacker:
    """What the attacker of one defence on one task has."""

    each: ExaminedDefence
    deployed: Defended
    task: ZeroShot

    @property
    def randomised(self) -> bool:
        return self.deployed.defence.randomised(self.task.modality, self.task.space)

    @property
    def cost(self) -> int:
        passes = self.deployed.defence.passes(self.task.modality, self.task.space)
        return passes.forward + passes.gradient

    def estimates(self) -> list[AsAttacked]:
        """The defence as computed on draws of his own; the first way of its gradients gives the same values as any."""
        way = self.deployed.defence.gradients[0]
        number = self.each.estimates if self.randomised else 1
        return [self.deployed.as_attacked(way, f"estimate {draw}") for draw in range(number)]

    def account(self, way: str, seen: Callable[[AsAttacked], Any] = lambda view: view) -> Account:
        """The defence differentiated in one way, with fresh draws at every step; `seen`: an encoder around it."""
        task = self.task

        def anew() -> Embed:
            steps = count()

            def embed(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b e"]:
                view = seen(self.deployed.as_attacked(way, f"step {next(steps)}"))
                z: Tensor = view.embed(task.modality, x, space=task.space.name)
                return z.float()

            return embed

        return anew

    def climb(self, loss: str = "margin", dear: bool = False) -> Attack:
        """A gradient attack: on a function, or on one that is drawn afresh at every step."""
        if not self.randomised:
            return APGD(self.each.steps, loss=loss)
        steps = (2 if dear or self.cost >= DEAR else 4) * self.each.steps
        return PGD(steps, step_size=STEP_SIZE, momentum=MOMENTUM, loss=loss, stop_when_reached=False)

    def through(self) -> list[Attack]:
        """Gradients in every way, on the margin; on the cross-entropy too, in the first way, where nothing is drawn."""
        ways = self.deployed.defence.gradients
        attacks: list[Attack] = [Through(self.climb(), self.account(way), way, self.cost) for way in ways]
        if not self.randomised:
            attacks.insert(1, Through(self.climb("ce"), self.account(ways[0]), ways[0], self.cost))
        return attacks

    def past_gate(self, threshold: float) -> list[Attack]:
        """Wrong for the undefended encoder, and such that the gate does not act."""
        way = self.deployed.defence.gradients[0]
        account = self.account(way, lambda view: FlaggingEncoder(view, threshold, bare=True))
        return [PastGate(self.climb(), account, way, self.cost)]

    def below(self, threshold: float) -> list[Attack]:
        """Wrong behind the defence, and not flagged; it begins with what was found without the second condition."""
        way = self.deployed.defence.gradients[0]
        account = self.account(way, lambda view: FlaggingEncoder(view, threshold))
        return [Through(self.climb(dear=True), account, f"unflagged-{way}", 2 * self.cost)]


def _flagging(
    attacker: _Attacker, draws: Sequence[Defended], context: RunContext, record: dict[str, object]
) -> Examined:
    """The defence as a detector at 1 % false alarms: its attacker has to stay below the threshold and be wrong."""
    task, held = attacker.task, _held_out(attacker.task.dataset, attacker.each.calibrated_on)
    on = task if held is None else task.over(held)
    scores = scores_of(on, partial(draws[0].suspicion, task.modality, space=task.space.name), context)
    threshold = threshold_at(scores, FALSE_ALARMS)
    record["threshold"], record["threshold_from"] = threshold, "the audited samples" if held is None else held.name
    estimates = [FlaggingEncoder(one, threshold) for one in attacker.estimates()]
    return Examined([FlaggingEncoder(one, threshold) for one in draws], estimates, tuple(attacker.below(threshold)))


def _held_out(dataset: Dataset, samples: int) -> Dataset | None:
    """Clean samples that are not reported; None where the data have no training split."""
    try:
        return training_split(dataset, samples)
    except InputError:
        return None
