"""What can be wrong with the number itself: how it was defined, whether its examples are real, whether it can be
recomputed. C3, C10, C11, C21.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import ThreatModelRecord
from ironbind.evaluate.checks.check_context import FEW, CheckContext, Finding
from ironbind.evaluate.provenance import about_run, threat_model_record
from ironbind.numerics.metrics import wilson
from ironbind.numerics.norms import BrokenPostCondition, enforce
from ironbind.types import InputError, Space

# In what precision files hold a space's numbers, as steps per unit; whatever is not listed here is taken to be stored
# in float16
STEPS = {"pixels": 255.0, "waveform": 32767.0}
BORDER = 1e-5  # margins of cosines that float32 cannot tell from zero
OPTIONAL = ("bounds",)  # (None, None) says that a space is unbounded


def threat_model_is_complete(context: CheckContext) -> Finding:
    """Nothing of the threat model is left open, the budget fits the space, and the clean samples lie within its bounds
    (so that normalisation happens inside the encoder)."""
    space = context.task.space
    try:
        context.budget.check(space)
    except InputError as error:
        return "fail", str(error)
    record: ThreatModelRecord = threat_model_record(context.task, context.attacks, [context.budget])
    missing = [
        name for name, value in asdict(record).items() if name not in OPTIONAL and value in ("", None, (), ("",))
    ]
    if missing:
        return "fail", f"the threat model leaves open: {', '.join(missing)}"
    low, high = float(context.x.min()), float(context.x.max())
    if (space.low is not None and low < space.low - 1e-6) or (space.high is not None and high > space.high + 1e-6):
        return (
            "fail",
            (
                f"clean samples reach [{low:.4g}, {high:.4g}], outside the bounds [{space.low}, {space.high}] of "
                f"{space.name}: normalised outside?"
            ),
        )
    return (
        "pass",
        (
            f"{context.budget} in {space.name} ({space.unit}), {record.meaning[0]}; input {record.input_shape}; "
            f"{record.goal}"
        ),
    )


def re_encoded(x: Float[Tensor, "b ..."], space: Space) -> Float[Tensor, "b ..."]:
    """`x` as it comes back from a file: 8 bits per colour, 16 bits per sound sample, else float16."""
    steps = STEPS.get(space.name)
    return (x * steps).round() / steps if steps else x.half().to(x.dtype)


def examples_are_real(context: CheckContext) -> Finding:
    """The attack's examples are finite, within budget and bounds, and still adversarial once written to a file and read
    back.
    """
    run = context.run
    try:
        enforce(run.found.x, context.x, context.task.space, context.budget)
    except BrokenPostCondition as error:
        return "fail", str(error)
    fallen = run.fallen.nonzero().squeeze(1)
    if not len(fallen):
        return (
            "pass",
            (
                "all examples are finite, within budget and bounds; none is adversarial, so that none could be "
                "lost in a file"
            ),
        )
    back = re_encoded(run.found.x[fallen], context.task.space)
    space = context.task.space
    if (space.low is not None and bool((back < space.low).any())) or (
        space.high is not None and bool((back > space.high).any())
    ):
        return "fail", f"an example leaves the bounds [{space.low}, {space.high}] when written to a file"
    kept = int(context.reached(back, fallen).sum())
    form = f"{1 + STEPS[space.name]:.0f} levels per unit" if space.name in STEPS else "float16"
    detail = (
        f"finite, within budget and bounds; {kept} of {len(fallen)} adversarial examples stay so when re-encoded "
        f"({form}; limit 50 %)"
    )
    return ("warn" if kept < len(fallen) / 2 else "pass"), detail


def verdicts_hold_alone(context: CheckContext) -> Finding:
    """Samples embedded one at a time, in reverse order, in passes of their own, keep their verdicts, clean and
    attacked, and their embeddings; clean margins are those that the audit stored. Nothing depends on the batch or on
    what was asked before."""
    differ, moved, few = 0, [], context.everyone[:FEW]
    attacked_z = context.embed(context.run.found.x[few])
    for row in reversed(few):
        alone, stored = row[None], context.clean[context.ids[int(row)]]
        z, hit = (
            context.embed(context.task.load([context.indices[int(row)]])),
            context.embed(context.run.found.x[alone]),
        )
        goal: Any = context.goal[alone]
        differ += int(goal.rank(z)[0]) != stored.rank
        # a verdict on the very border may turn with the last bit
        borderline = float(goal.margin(hit).abs()) < BORDER
        differ += bool(goal.reached(hit) != context.run.fallen[alone]) and not borderline
        moved += [
            (z[0] - context.clean_z[row]).norm(),
            (hit[0] - attacked_z[row]).norm(),
            (goal.margin(z)[0] - stored.margin).abs(),
        ]
    furthest = float(torch.stack(moved).max())
    status = "fail" if differ else "warn" if not furthest <= 1e-3 else "pass"
    return (
        status,
        (
            f"{differ} of {2 * len(few)} verdicts change when a sample stands alone, embeddings and margins by "
            f"{furthest:.1e} (limit 1e-3)"
        ),
    )


def number_is_reproducible(context: CheckContext) -> Finding:
    """Every sample of the task has a clean and an attacked verdict that is a number, their share an interval; seed and
    versions are known.
    """
    ids = context.task.dataset.ids[: len(context.task)]
    missing = sum(one not in context.attacked or one not in context.clean for one in ids)
    odd = sum(math.isnan(one.margin) for one in context.attacked.values())
    about = about_run(context.run_context.seed)
    unknown = [
        name for name, version in about["versions"].items() if not version or version.startswith("not installed")
    ]
    standing = sum(context.attacked[one].rank == 1 for one in ids if one in context.attacked)
    value, low, high = (100 * one for one in wilson(standing, len(ids)))
    said = (
        f"{value:.1f} % [{low:.1f}, {high:.1f}] of n={len(ids)} stand, seed {context.run_context.seed}, ironbind "
        f"{about['versions']['ironbind']}"
    )
    if missing:
        return "fail", f"{missing} samples have no verdict; {said}"
    if odd or unknown:
        return "warn", f"{odd} margins are not a number, versions unknown: {', '.join(unknown) or 'none'}; {said}"
    return "pass", said
