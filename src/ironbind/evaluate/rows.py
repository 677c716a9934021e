"""Verdicts as rows of the table."""

from collections.abc import Mapping
from typing import Any

from ironbind.core.results import Row
from ironbind.evaluate.evaluator import Evaluator, Strength
from ironbind.evaluate.protocols.white_box import attacked_metrics
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.numerics.metrics import mean_interval, wilson
from ironbind.types import calibration_of, title_of


def clean_rows(evaluator: Evaluator) -> list[Row]:
    """The rows without attack; the store notes which of its verdicts they are about."""
    rows = rows_of(evaluator, evaluator.clean(), "clean", None)
    evaluator.context.store.label(evaluator.key(0), label_of(rows[-1]))
    return rows


def rows_at(evaluator: Evaluator, index: int, attack: str = "") -> list[Row]:
    """The rows under `strengths[index]`, evaluated where they are not stored; the store notes which of its verdicts
    they are about. `attack`: "" for the protocol's own name of it.
    """
    verdicts, strength = evaluator.verdicts_at(index), evaluator.strengths[index]
    rows = rows_of(evaluator, verdicts, evaluator.protocol.threat_model, strength, attack)
    evaluator.context.store.label(evaluator.key(index + 1), label_of(rows[-1]))
    return rows


def rows_of(
    evaluator: Evaluator,
    verdicts: Mapping[str, Verdict],
    threat_model: str,
    strength: Strength | None,
    attack: str = "",
) -> list[Row]:
    """One row per metric: shares in percent with Wilson intervals, and the mean rank of the worst example found (a
    lower bound: attacks stop at their goal). Metrics that were not attacked have no row under attack: a top-5 that
    nobody pursued would be read as one that was.
    """
    task, protocol = evaluator.task, evaluator.protocol
    attack = attack or protocol.label or "+".join(stage.name for stage in protocol.attacks)
    common: dict[str, Any] = {
        "encoder": title_of(task.encoder),
        "calibration": calibration_of(task.encoder),
        "modality": task.modality,
        "space": task.space.name,
        "task": task.name,
        "attack": attack if strength else "none",
        "norm": strength.norm if strength else "none",
        "eps": strength.written if strength else "0",
        "threat_model": threat_model,
        "n": len(verdicts),
    }
    ranks = [verdict.rank for verdict in verdicts.values()]
    rows = []
    # corruptions have no goal, so that every metric is measured
    metrics = task.metrics if strength is None else attacked_metrics(task, getattr(protocol, "top_k", True))
    for metric, k in metrics:
        value, low, high = (100 * share for share in wilson(sum(rank <= k for rank in ranks), len(ranks)))
        rows.append(Row(metric=metric, value=value, ci_low=low, ci_high=high, **common))
    mean = mean_interval([float(rank) for rank in ranks])
    return [*rows, Row(metric="mean_rank", value=mean.value, ci_low=mean.low, ci_high=mean.high, **common)]
