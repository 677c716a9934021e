"""Faults of the number itself: its definition, whether its examples are real, whether it can be recomputed:
C3, C10, C11, C21.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import ThreatModelRecord
from ironbind.evaluate.checks.check_context import TOO_SMALL, CheckContext, Finding
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
    if not context.runs_again:
        return "skipped", TOO_SMALL
    run = context.run
    try:
        enforce(run.attacked.x, context.x[context.cheap_rows], context.task.space, context.budget)
    except BrokenPostCondition as error:
        return "fail", str(error)
    broken = run.broken.nonzero().squeeze(1)
    if not len(broken):
        return (
            "pass",
            (
                "all examples are finite, within budget and bounds; none is adversarial, so that none could be "
                "lost in a file"
            ),
        )
    back = re_encoded(run.attacked.x[broken], context.task.space)
    space = context.task.space
    if (space.low is not None and bool((back < space.low).any())) or (
        space.high is not None and bool((back > space.high).any())
    ):
        return "fail", f"an example leaves the bounds [{space.low}, {space.high}] when written to a file"
    adversarial = int(context.reached(back, context.cheap_rows[broken]).sum())
    form = f"{1 + STEPS[space.name]:.0f} levels per unit" if space.name in STEPS else "float16"
    if space.name in STEPS and context.budget.norm == "linf" and context.budget.radius * STEPS[space.name] < 0.5:
        alike = (back == re_encoded(context.x[broken], space)).flatten(1).all(dim=1)
        form += f"; the radius is below half a level: {int(alike.sum())} of the files are those of the clean samples"
    detail = (
        f"finite, within budget and bounds; {adversarial} of {len(broken)} adversarial examples stay so when re-encoded"
        f" ({form}; limit 50 %)"
    )
    lost = len(broken) - adversarial  # a single one may have been a hair's breadth beyond the boundary
    return ("warn" if lost > len(broken) / 2 and lost > 1 else "pass"), detail


def verdicts_hold_alone(context: CheckContext) -> Finding:
    """Samples embedded one at a time, in reverse order, in passes of their own, keep their verdicts, clean and
    attacked, and their embeddings, and a few in other company theirs; clean margins are those that the audit stored.
    Nothing depends on the batch or on earlier passes."""
    company, stored = context.company, [context.clean[context.task.dataset.ids[row]] for row in context.company]
    goal: Any = context.task.goal(company)
    z = context.embed(context.task.load(company))
    differ, verdicts = int((goal.rank(z).cpu() != torch.tensor([one.rank for one in stored])).sum()), len(company)
    moved = [(margin - one.margin).abs() for margin, one in zip(goal.margin(z), stored, strict=True)]
    attacked = context.few[: len(context.cheap_rows)] if context.runs_again else context.few[:0]
    attacked_z = context.embed(context.run.attacked.x[attacked]) if len(attacked) else context.clean_z[:0]
    for row in reversed(context.few):
        alone, before = row[None], context.clean[context.ids[int(row)]]
        z = context.embed(context.task.load([context.indices[int(row)]]))
        goal = context.goal[alone]
        differ += int(goal.rank(z)[0]) != before.rank
        moved += [(z[0] - context.clean_z[row]).norm(), (goal.margin(z)[0] - before.margin).abs()]
        verdicts += 1
        if int(row) < len(attacked):
            hit = context.embed(context.run.attacked.x[alone])
            # a verdict on the very border may turn with the last bit
            borderline = float(goal.margin(hit).abs()) < BORDER
            differ += bool(goal.reached(hit) != context.run.broken[alone]) and not borderline
            moved.append((hit[0] - attacked_z[row]).norm())
            verdicts += 1
    furthest = float(torch.stack(moved).max())
    status = "fail" if differ else "warn" if not furthest <= 1e-3 else "pass"
    return (
        status,
        (
            f"{differ} of {verdicts} verdicts change when a sample stands alone or among others, "
            f"embeddings and margins by {furthest:.1e} (limit 1e-3)"
        ),
    )


def number_is_reproducible(context: CheckContext) -> Finding:
    """Every sample of the task has a clean and an attacked verdict that is a number, their share an interval; seed and
    versions are known.
    """
    ids = context.task.dataset.ids[: len(context.task)]
    missing = sum(sample not in context.attacked or sample not in context.clean for sample in ids)
    odd = sum(math.isnan(verdict.margin) for verdict in context.attacked.values())
    about = about_run(context.run_context.seed)
    unknown = [
        name for name, version in about["versions"].items() if not version or version.startswith("not installed")
    ]
    robust = sum(context.attacked[sample].rank == 1 for sample in ids if sample in context.attacked)
    value, low, high = (100 * share for share in wilson(robust, len(ids)))
    detail = (
        f"{value:.1f} % [{low:.1f}, {high:.1f}] of n={len(ids)} stand, seed {context.run_context.seed}, ironbind "
        f"{about['versions']['ironbind']}"
    )
    if missing:
        return "fail", f"{missing} samples have no verdict; {detail}"
    if odd or unknown:
        return "warn", f"{odd} margins are not a number, versions unknown: {', '.join(unknown) or 'none'}; {detail}"
    return "pass", detail
