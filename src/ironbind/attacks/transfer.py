"""Examples from another encoder: the attacker owns a surrogate and may ask the target nothing but whether an example
works.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import reached_and_loss, worst_of
from ironbind.numerics.norms import enforce
from ironbind.types import Attack, Attacked, Budget, ClassCenters, Embed, Goal, InputError, SampleRandom, Space, Task


@dataclass(frozen=True)
class Transfer:
    """`attacks` crafted on a `surrogate`, judged on the encoder under attack, which gives no gradient away.

    The surrogate takes the same inputs and answers the same question over its own `centers`, whose classes must be
    those of the goal. Of the examples that the attacks craft, each sample keeps the one that does best on the *target*;
    once one works there, the sample leaves. Let the attacks climb to their end (`stop_when_reached=False`): an example
    that barely fools the surrogate says little about another encoder.

    Gradient passes are the surrogate's, forward passes both encoders'. `loss` in what comes back is the target's
    margin. The repr, by which verdicts are stored, knows the surrogate by `surrogate_name` alone: let it tell weights
    apart, as `Transfer.of` does. Raises InputError for no attacks, and for goals that the surrogate cannot be asked
    (`asked_of`).
    """

    attacks: tuple[Attack, ...]
    surrogate: Embed = field(repr=False, compare=False)
    centers: ClassCenters = field(repr=False, compare=False)
    surrogate_name: str

    def __post_init__(self) -> None:
        if not self.attacks:
            raise InputError("Transfer has no attacks; expected at least one to craft examples with")

    @classmethod
    def of(cls, task: Task, *attacks: Attack) -> "Transfer":
        """From the encoder of `task`, asked about the same data in the same space: "tiny@1f0c77e2" names it with its
        weights.
        """
        return cls(attacks, task.embed, task.centers, f"{task.encoder.name}@{task.encoder.weights_sha256[:8]}")

    @property
    def name(self) -> str:
        return f"transfer-{self.surrogate_name}({', '.join(attack.name for attack in self.attacks)})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        budget.check(space)
        elsewhere = asked_of(goal, self.centers)
        result = None
        rows = torch.arange(len(x), device=x.device)
        for attack in self.attacks:
            candidate = attack(self.surrogate, x[rows], elsewhere[rows], space, budget, rng[rows])
            enforce(candidate.x, x[rows], space, budget)
            reached, loss = reached_and_loss(embed, candidate.x, goal[rows])
            attacked = candidate._replace(reached=reached, loss=loss, forward_passes=candidate.forward_passes + 1)
            result = attacked if result is None else worst_of(result, attacked, rows)
            rows = (~result.reached).nonzero().squeeze(1)
            if not len(rows):
                break
        assert result is not None
        return result


def asked_of(goal: Goal, centers: ClassCenters) -> Goal:
    """The same goal over another encoder's `centers`. Raises InputError for a goal without class centers, or over other
    classes.
    """
    own: Any = getattr(goal, "centers", None)
    if not isinstance(own, ClassCenters):
        raise InputError(
            f"goal {type(goal).__name__} compares with no class centers, so no surrogate can be asked it; expected "
            "one over classes"
        )
    if own.names != centers.names:
        raise InputError(
            f"the surrogate's {len(centers)} classes are not the {len(own)} classes of the goal; expected the same, "
            "in the same order"
        )
    held: Any = goal
    return replace(held, centers=centers)
