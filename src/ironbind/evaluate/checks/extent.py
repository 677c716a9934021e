"""How many samples the checks look at: as many as a small share of the audit's own passes pays for (ours)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ironbind.evaluate.attack_variants import with_longer_steps
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.batching import ROW_QUANTUM
from ironbind.types import Attack

SAMPLES = 24  # per check at most; drawn from the samples that are correct when clean
FRAGILE = 12  # of them at most: the robust ones nearest to the decision boundary, on which attacks are run again
NOISE_DRAWS = 100  # on each of the fragile ones
LEAST_WORK = 4e8  # parameters times passes: what the checks may always spend, less than loading the program takes
MOST_AT_LEAST = 400  # passes that this allows of an encoder without parameters
SHARE = 0.05  # of the audit's passes; the checks' batches are small, where a pass takes up to twice the time per row
FORWARD = 1 / 3  # what a forward pass costs of one with a gradient

# passes a sample, as the checks are written
_GRADIENTS = 3  # C6
_BATCHES_OF_ONE = 8  # forward passes on their own: clean, C1, C4 (4), C7, C15
_BATCHES_OF_MORE = (4, 6)  # forward passes in common batches: noise (C7, C9), finite differences (C8)
_BREAKING = 12  # gradient passes that attacks spend on a sample they break: once more, unbounded, and without a budget
_FEWEST = 2  # fragile samples: a single one that falls is never a finding
_SIZES = (1, 2, 4, 8, 12, 16, 20, SAMPLES)


@dataclass(frozen=True)
class Extent:
    """`samples`: how many a check looks at. `fragile`: on how many of them attacks are run again that were not enough.
    `attacks_again`: whether any attack is run again.
    """

    samples: int = SAMPLES
    fragile: int = FRAGILE
    attacks_again: bool = True


WHOLE = Extent()


def extent_within(
    allowed: float, verdicts: Mapping[str, Verdict], attacks: Sequence[Attack], black_box: Attack | None
) -> Extent:
    """The largest extent whose passes stay within `allowed` (in gradient passes), or the smallest that asks the
    encoder anything: one sample, no attack.

    `verdicts`: under attack, of the samples that could be looked at.
    """
    at_most = [size for size in _SIZES if size <= max(1, len(verdicts))]
    affordable = [size for size in at_most if _asking(size) + _attacking(size, attacks) <= allowed]
    if not affordable:
        return Extent(max((size for size in at_most if _asking(size) <= allowed), default=1), 0, False)
    once = _once(attacks[0], verdicts)
    # once more (C14), twice the steps (C13), half and twice the step size (C14b), noise (C17), black-box search (C17b)
    times = 5 if with_longer_steps(attacks[0], 2.0) is not None else 3
    each = times * once + FORWARD * (NOISE_DRAWS + (_queries(black_box) if black_box else 0))
    # half of it at least for the samples nearest to the boundary, where there are any that it suffices for
    standing = sum(verdict.rank == 1 for verdict in verdicts.values())
    half = [size for size in affordable if _asking(size) + _attacking(size, attacks) <= allowed / 2] or affordable[:1]
    samples = max(half if standing >= _FEWEST else affordable)
    left = allowed - _asking(samples) - _attacking(samples, attacks)
    fragile = min(FRAGILE, samples, int(left / each)) if each else FRAGILE
    return Extent(samples, fragile if fragile >= _FEWEST else 0)


def allowance(spent: float, parameters: int) -> float:
    """Passes that the checks may cost: a share of the audit's own; of a small encoder some in any case."""
    return max(SHARE * spent, min(MOST_AT_LEAST, LEAST_WORK / max(1, parameters)))


def passes_of(verdicts: Mapping[str, Verdict]) -> float:
    """What verdicts cost, in gradient passes; those of fewer samples than a batch is filled up to count for all."""
    gradient = sum(verdict.gradient_passes for verdict in verdicts.values())
    forward = sum(verdict.forward_passes for verdict in verdicts.values())
    return (gradient + FORWARD * forward) * max(1.0, ROW_QUANTUM / max(1, len(verdicts)))


def _filled(rows: int) -> int:
    return ROW_QUANTUM * math.ceil(rows / ROW_QUANTUM)


def _asking(samples: int) -> float:
    """Of the questions to the encoder."""
    alone = ROW_QUANTUM * (3 * max(1, samples // 3) + 1)  # C11
    own = _BATCHES_OF_ONE * _filled(samples)
    common = sum(_filled(count * samples) for count in _BATCHES_OF_MORE)
    return _filled(_GRADIENTS * samples) + FORWARD * (own + common + alone)


def _attacking(samples: int, attacks: Sequence[Attack]) -> float:
    """Of attacks on samples that they break."""
    return _BREAKING * _filled(samples) + 3 * ROW_QUANTUM * len(attacks)


def _once(attack: Attack, verdicts: Mapping[str, Verdict]) -> float:
    """One run of the attack on a sample that it does not break: its steps where it says so, else what all attacks
    together spent on the dearest sample.
    """
    costs = [verdict.gradient_passes + FORWARD * verdict.forward_passes for verdict in verdicts.values()]
    dearest = max(costs, default=0.0)
    knobs: Any = attack
    steps = getattr(knobs, "steps", None)
    if not isinstance(steps, int) or hasattr(knobs, "attack"):
        return dearest
    return min(dearest, steps * int(getattr(knobs, "restarts", 1)))


def _queries(black_box: Attack) -> int:
    return int(getattr(black_box, "queries", 100))
