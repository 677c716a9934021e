"""What readers remarked of the audited samples, counted: a line for each kind of remark in the result."""

from collections import defaultdict

from ironbind.core.results import Check
from ironbind.core.samples import Remark
from ironbind.evaluate.evaluator import data_key
from ironbind.evaluate.run_context import RunContext
from ironbind.types import Task


def remark_checks(task: Task, context: RunContext) -> list[Check]:
    """One entry per kind: how many of the samples it applies to, and an example. A correction that a reader made is for
    information ("pass"), a doubt about files is a warning.
    """
    by_kind: dict[str, list[tuple[str, Remark]]] = defaultdict(list)
    audited = set(task.dataset.ids[: len(task)])
    for sample, remarks in context.store.remarks(data_key(task)).items():
        for remark in remarks if sample in audited else ():
            by_kind[remark.kind].append((sample, remark))
    checks = []
    for kind in sorted(by_kind):
        sample, remark = by_kind[kind][0]
        example = f"{sample}: {remark.detail}" if remark.detail else sample
        status = "pass" if remark.corrected else "warn"
        detail = f"{len(by_kind[kind])} of {len(audited)} samples, such as {example}"
        checks.append(Check("data", kind, status, detail, task.modality))
    return checks
