"""Runs -> one HTML page that needs nothing else: no network, no script to be read, no font."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ironbind.core.index_results import galleries, index_results, telling
from ironbind.core.results import METRICS, THREAT_MODELS, CalibrationRecord, ThreatModelRecord, quick_look, table_csv
from ironbind.core.tables.shares import share
from ironbind.report import number_format as numbers
from ironbind.report.certificate_tables import EMPIRICAL, certificate_charts, certificate_tables
from ironbind.report.charts.curves import curves
from ironbind.report.charts.dumbbell import averages, dumbbells
from ironbind.report.charts.svg import drawing, element, mark
from ironbind.report.corruption_tables import calibration_name, charts, groups, summaries, tables, written
from ironbind.report.headline import verdict
from ironbind.report.markdown import bounds
from ironbind.report.media.gallery import Exhibit, exhibits
from ironbind.report.panels import APART, UNCALIBRATED, Facts, Line, gain, main_eps
from ironbind.report.pivots import calibration_label, pivots
from ironbind.report.stored_runs import Run, chance_of, facts_of, failures, rows_of
from ironbind.report.templates_env import environment

ROLES = {
    "clean": ("clean", "no attack"),
    "whitebox": ("attacked", "uncalibrated"),
    "replayed": ("replayed", "attacker unaware of the calibration: seemed to survive"),
    "adaptive": ("adaptive", "attacker aware of it: survived"),
    "transfer": ("transfer", "examples from another encoder"),
    "corrupted": ("corrupted", "nobody attacks"),
    "certified": ("certified", "proven"),
}

UNFINISHED = "unfinished"  # of a result's record: what is still to come


def page(runs: Sequence[Run], title: str) -> str:
    """The whole page as text."""
    facts = facts_of(runs)
    lines = facts.headline()
    corrupted, certified = tables(rows_of(runs)), certificate_tables(rows_of(runs))
    old_index, index_rest = telling(index_results(rows_of(runs), "R@1"))
    beside = [row for table in certified for line in table.lines for row in line.cells if row]
    encoders = list(dict.fromkeys(row.encoder for row in rows_of(runs)))
    templates = environment(
        cell=numbers.cell,
        interval=numbers.interval,
        alarms=numbers.alarms,
        points=numbers.points,
        share=share,
        gain=gain,
        plural=numbers.plural,
        calibration_label=calibration_label,
        calibration_name=calibration_name,
        written=written,
        legend_mark=legend_mark,
        norm_name=numbers.norm_name,
        bounds=bounds,
        threat_cards=threat_cards,
        calibration_groups=calibration_groups,
    )
    shown = [(run, *_gallery(facts, run)) for run in runs]
    return templates.get_template("page.html").render(
        title=title,
        runs=runs,
        several=len(runs) > 1,
        facts=facts,
        verdicts=[(encoder, verdict(facts, encoder, corrupted, certified)) for encoder in facts.encoders],
        attack_roles=list(dict.fromkeys(line.attacked.threat_model for line in lines if line.attacked)),
        attacked=bool(
            not (corrupted or certified) or any(row.threat_model not in ("clean", *APART) for row in rows_of(runs))
        ),
        certificates=certified,
        certificate_charts=certificate_charts(certified, encoders),
        certified_calibrated=any(line.calibration != UNCALIBRATED for table in certified for line in table.lines),
        certified_beside=[role for role in EMPIRICAL if any(role == row.threat_model for row in beside)],
        corruption_lines=summaries(corrupted, encoders),
        corruption_charts=charts(corrupted, encoders),
        corruption_groups=groups(corrupted, encoders),
        corruption_tables=corrupted,
        old_index=old_index,
        index_rest=index_rest,
        old_galleries=galleries(old_index),
        unfinished=[name for run in runs for name in run.result.record.get(UNFINISHED, ())],
        failed=failures(runs),
        warned=[check for run in runs for check in run.result.checks if check.status == "warn"],
        unmeasured=unmeasured(lines),
        chips=_chips(facts, lines, len(rows_of(runs))),
        quick_look=quick_look(*(row for row in facts.rows if row.metric == "top1")),
        lines=lines,
        average=_average(lines),
        dumbbells=dumbbells(facts, [line for line in lines if line.attacked and line.metric != "mean_rank"]),
        curve_sets=curves(facts, chance_of(runs)),
        retrieval=[(name, dumbbells(facts, of)) for name, of in _retrieval(facts) if of],
        zero_shot_pivots=[pivot for pivot in pivots(facts, retrieval=False)],
        retrieval_pivots=pivots(facts, retrieval=True),
        galleries=shown,
        roles=ROLES,
        threat_models=THREAT_MODELS,
        metrics={name: meaning for name, meaning in METRICS.items() if certified or not name.startswith("certified_")},
        csv="data:text/csv;base64," + base64.b64encode(table_csv(rows_of(runs)).encode()).decode("ascii"),
    )


def legend_mark(role: str) -> Any:
    """A threat model's marker as a small picture for legends and table heads."""
    return drawing(14, 14, _centred(role), label=role, class_="legend-mark")


def unmeasured(lines: Sequence[Line]) -> list[str]:
    """Calibrations with a replayed number and no adaptive one, which a reader must be told before seeing any."""
    return list(
        dict.fromkeys(
            after.calibration for line in lines for after in line.after if after.replayed and not after.adaptive
        )
    )


def _centred(role: str) -> Any:
    return element("g", mark(role), transform="translate(7 7)")


def threat_cards(
    records: Sequence[ThreatModelRecord],
) -> list[tuple[ThreatModelRecord, list[tuple[str, str, list[str]]]]]:
    """Records of the same input and budgets as one card, with its attacks: (knobs, knowledge, the goals pursued so)."""
    cards: dict[ThreatModelRecord, dict[tuple[str, str], list[str]]] = {}
    for record in records:
        card = cards.setdefault(replace(record, goal="", attack="", knowledge=""), {})
        goals = card.setdefault((record.attack, record.knowledge), [])
        if record.goal not in goals:
            goals.append(record.goal)
    return [
        (card, [(attack, knowledge, goals) for (attack, knowledge), goals in attacks.items()])
        for card, attacks in cards.items()
    ]


def calibration_groups(records: Sequence[CalibrationRecord]) -> list[list[CalibrationRecord]]:
    """Records of one recipe together, whatever input they were fitted for."""
    groups: dict[tuple[str, str, str, str], list[CalibrationRecord]] = {}
    for record in records:
        groups.setdefault((record.name, record.head, record.objective, record.attack), []).append(record)
    return list(groups.values())


def _gallery(facts: Facts, run: Run) -> tuple[list[Exhibit], list[Exhibit]]:
    """The first sample of each modality and space, and the others."""
    every = exhibits(facts, run.result.gallery, run.arrays, run.result.threat_models, run.encoder)
    first = {exhibit.label: exhibit for exhibit in reversed(every)}
    return [exhibit for exhibit in every if first[exhibit.label] is exhibit], [
        exhibit for exhibit in every if first[exhibit.label] is not exhibit
    ]


def _average(lines: Sequence[Line]) -> dict[str, Any] | None:
    """Means over the lines at the common epsilon, for the table's last row; None when a mean would be over one line."""
    eps = main_eps(lines)
    used = [line for line in lines if line.eps == eps]
    if len(used) < 2 or len({(line.panel.encoder, line.task == "zero_shot") for line in used}) > 1:
        return None
    names = list(dict.fromkeys(after.calibration for line in used for after in line.after))
    return {"eps": eps, "count": len(used), "of": len(lines), "names": names, "means": averages(used)}


def _retrieval(facts: Facts) -> list[tuple[str, list[Line]]]:
    """Headline lines of recall at 1 in both directions against text."""
    directions = []
    for name, pattern in (
        ("query by the attacked input, find its text", "retrieval:{}->text"),
        ("query by text, find the attacked item", "retrieval:text->{}"),
    ):
        of = [facts.line(panel, pattern.format(panel.modality), "R@1") for panel in facts.panels]
        directions.append((name, [line for line in of if line.clean and line.attacked]))
    return directions


def _chips(facts: Facts, lines: Sequence[Line], count: int) -> list[str]:
    """The facts that a reader wants before anything else."""
    attacks = list(dict.fromkeys(row.attack for row in facts.rows if row.attack != "none"))
    norms = list(dict.fromkeys(row.norm for row in facts.rows if row.norm != "none"))
    modalities = list(dict.fromkeys(panel.modality for panel in facts.panels))
    counts = sorted({line.n for line in lines})
    samples = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"
    chips = [numbers.plural(len(modalities), "modality", "modalities"), f"{samples} samples each"]
    if attacks:
        chips.append(f"attack: {', '.join(attacks)} ({', '.join(map(numbers.norm_name, norms))})")
    return [*chips, f"{count:,} measured numbers"]
