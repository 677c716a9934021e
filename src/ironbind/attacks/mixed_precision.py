"""Attacks that climb on a cheaper copy of the encoder while the encoder itself, in float32, has the last word on every
sample. Ours.
"""

import math
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import reached_and_loss
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

# twice the largest error of a clean margin that was measured, many times the distance of any success that rounding hid
# (docs/precision.md)
NEAR = 0.01


@dataclass(frozen=True)
class MixedPrecision:
    """`attack` on `fast`, an embed that rounds (`encoders.bfloat16.in_bfloat16`); then the embed that the attack is
    called with judges every example.

    A sample that still stands there is attacked once more through that embed, from the clean sample and with the same
    randomness, if `fast` believed it fallen or if its margin loss (a difference of cosines, 0 at success) is within
    `near` of success. Repeated samples end exactly as the plain attack would end them, so with `near=inf` no verdict
    can be weaker than the plain attack's, by construction; it may be stronger, where rounding happened to help. With a
    finite `near` that is so except for samples whose rounded climb ended further away than `near` although the exact
    one would have succeeded; how many those are can only be measured (docs/precision.md).

    `loss` in what comes back is the exact margin loss, whatever the attack pursued. Passes of both precisions add up,
    judging included.
    """

    attack: Attack
    fast: Embed = field(repr=False, compare=False)
    near: float = NEAR

    def __post_init__(self) -> None:
        if not self.near >= 0:
            raise InputError(
                f"near={self.near} is no distance from success; expected 0 or more, or inf to repeat every sample "
                "that stands"
            )

    @property
    def name(self) -> str:
        return f"{self.attack.name}-bf16" + ("" if math.isinf(self.near) else f"~{self.near:g}")

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        rough = self.attack(self.fast, x, goal, space, budget, rng)
        reached, loss = reached_and_loss(embed, rough.x, goal)
        far = loss < -self.near  # a loss that is not a number is not far
        again = (~reached & (rough.reached | ~far)).nonzero().squeeze(1)
        result = Attacked(rough.x.clone(), reached, loss, rough.gradient_passes.clone(), rough.forward_passes + 1)
        if len(again):
            exact = self.attack(embed, x[again], goal[again], space, budget, rng[again])
            result.x[again] = exact.x
            result.reached[again], result.loss[again] = reached_and_loss(embed, exact.x, goal[again])
            result.gradient_passes[again] += exact.gradient_passes
            result.forward_passes[again] += exact.forward_passes + 1
        return result
