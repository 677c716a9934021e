"""The few lines a run prints when it is done."""

from pathlib import Path
from statistics import fmean

from ironbind.core.default_budgets import headline_of
from ironbind.core.epsilon import Epsilon
from ironbind.core.results import Result, Row, beside_undefended, quick_look
from ironbind.report.number_format import alarms, cell

SHOWN = 5  # warnings about data, and lines of a kind
LONGEST = 240  # characters of a warning
QUESTIONS = ("retrieval", "illusion", "hub")


def summary(out: Path) -> str:
    """Zero-shot Top-1 per modality: clean, attacked at the headline radius, replayed / adaptive for every calibration;
    what corruptions leave; the same of retrieval, hubs and other questions, on average where there are many of a kind.
    """
    result = Result.read(out)
    rows = beside_undefended(result.rows)
    top1 = [row for row in rows if (row.task, row.metric) == ("zero_shot", "top1")]
    proven = result.select(threat_model="certified")
    lines = []
    for modality, space in dict.fromkeys((row.modality, row.space) for row in top1):
        here = [row for row in top1 if (row.modality, row.space) == (modality, space)]
        start = f"{modality:>8} {space:<12} {_value(here, 'none', 'clean', '0')} ->"
        corrupted = [row for row in here if row.threat_model == "corrupted"]
        attacked = [row for row in here if row not in corrupted]
        certified = [row for row in proven if (row.modality, row.space) == (modality, space)]
        if len({row.threat_model for row in attacked}) > 1 or not (corrupted or certified):
            lines.append(f"{start} {_attacked(attacked, space)}{_medians(result, modality, space)}")
        for calibration in dict.fromkeys(row.calibration for row in corrupted):
            of_calibration = [row for row in corrupted if row.calibration == calibration]
            lines.append(
                f"{start} {_corrupted(of_calibration)}" + (f"  {calibration}" if calibration != "none" else "")
            )
        lines += _certified(f"{modality:>8} {space:<12}", certified)
    asked = [row for row in rows if row.task.partition(":")[0] in QUESTIONS and row.threat_model != "certified"]
    return "\n".join([*lines, *_other_questions(asked), *_data_warnings(result)])


def _other_questions(rows: list[Row]) -> list[str]:
    """A line per question and input, by its first metric; of more than SHOWN of a kind one line of means."""
    first: dict[tuple[str, str, str, str], str] = {}
    for row in rows:
        if row.metric != "mean_rank":
            first.setdefault((row.modality, row.space, row.task, row.encoder), row.metric)
    kinds: dict[tuple[str, str], list[list[Row]]] = {}
    for (modality, space, task, encoder), metric in first.items():
        place = [row for row in rows if (row.modality, row.space, row.task, row.encoder, row.metric)
                 == (modality, space, task, encoder, metric)]  # fmt: skip
        kinds.setdefault((task.partition(":")[0], metric), []).append(place)
    lines = []
    for (kind, metric), places in kinds.items():
        if len(places) <= SHOWN:
            for place in places:
                one = place[0]
                start = f"{one.modality:>8} {one.space:<12} {_value(place, 'none', 'clean', '0')} ->"
                lines.append(f"{start} {_attacked(place, one.space)}  {one.task} {metric}")
        else:
            lines.append(f"{kind:>8} {metric}, means of {len(places)}: {_means(places)}")
    return lines


def _means(places: list[list[Row]]) -> str:
    """Of several questions, each at the radius that is shown of its space."""
    found: dict[tuple[str, str], list[float]] = {}
    for rows in places:
        written = list(dict.fromkeys(row.eps for row in rows if row.eps != "0"))
        shown = {"0", headline_of(written, rows[0].space)} if written else {"0"}
        for row in rows:
            if row.eps in shown:
                found.setdefault((row.threat_model, row.calibration), []).append(row.value)
    said = {"clean": "clean", "whitebox": "attacked"}
    parts = [
        f"{fmean(values):.1f} % {said.get(model, model)}{'' if calibration == 'none' else f' with {calibration}'}"
        for (model, calibration), values in found.items()
        if len(values) == len(places)
    ]
    return ", ".join(parts) + " (quick look)" * quick_look(*(row for rows in places for row in rows))


def _data_warnings(result: Result) -> list[str]:
    """What is to be known of the data before their numbers are believed, the first few."""
    warnings = list(
        dict.fromkeys(
            f"  {check.scope.partition(' ')[0]} data: {check.name}: {_shortened(check.detail)}"
            for check in result.checks
            if check.code == "data" and check.status == "warn"
        )
    )
    more = [f"  and {len(warnings) - SHOWN} more about data in the report"] if len(warnings) > SHOWN else []
    return [*warnings[:SHOWN], *more]


def _shortened(detail: str) -> str:
    return detail if len(detail) <= LONGEST else f"{detail[:LONGEST]}..."


def _attacked(rows: list[Row], space: str) -> str:
    written = list(dict.fromkeys(row.eps for row in rows if row.eps != "0"))
    eps = headline_of(written, space) if written else "0"
    transferred = any(row.threat_model == "transfer" for row in rows)
    line = f"{_value(rows, 'none', 'transfer' if transferred else 'whitebox', eps)} at {eps:<9}" + (
        " transferred" if transferred else ""
    )
    for calibration in dict.fromkeys(row.calibration for row in rows if row.calibration != "none"):
        if transferred:
            line += f"  {calibration}: {_value(rows, calibration, 'transfer', eps)}"
        else:
            replayed, adaptive = (_value(rows, calibration, protocol, eps) for protocol in ("replayed", "adaptive"))
            line += f"  {calibration}: {replayed} replayed, {adaptive} adaptive"
    return line + "  (quick look)" * quick_look(*rows)


def _medians(result: Result, modality: str, space: str) -> str:
    """The median distance of the nearest adversarial examples, for every encoder for which they were searched."""
    medians = result.select(task="zero_shot", metric="median_norm", modality=modality, space=space)
    parts = []
    for row in medians:
        calibration = "" if row.calibration == "none" else f" with {row.calibration}"
        parts.append(f"  median {cell(row)}{Epsilon.from_table(row.eps).unit}{calibration}")
    return "".join(parts)


def _corrupted(rows: list[Row]) -> str:
    """Of one calibration: the mean over corruptions and severities, the worst, and noise at the largest radius."""
    severe = [row for row in rows if row.norm == "severity"]
    noise = [row for row in rows if row.norm != "severity"]
    parts = []
    if severe:
        worst = min(severe, key=lambda row: row.value)
        count = len({row.attack for row in severe})
        many = f"{count} corruption{'s' if count > 1 else ''}"
        lowest = f"worst {worst.value:.1f} %: {worst.attack} {worst.eps}"
        parts.append(f"{fmean(row.value for row in severe):5.1f} % under {many} ({lowest})")
    if noise:
        parts.append(f"{noise[-1].value:.1f} % under noise at {noise[-1].eps}")
    return ", ".join(parts)


def _certified(start: str, rows: list[Row]) -> list[str]:
    """A line per encoder, first metric and norm: the certified share at every radius."""
    lines = []
    for calibration, norm in dict.fromkeys((row.calibration, row.norm) for row in rows):
        own = [row for row in rows if (row.calibration, row.norm, row.metric) == (calibration, norm, rows[0].metric)]
        shares = ", ".join(f"{row.value:.1f} %{alarms(row) and ' ' + alarms(row)} at {row.eps}" for row in own)
        lines.append(f"{start} certified {norm}: {shares}" + (f"  {calibration}" if calibration != "none" else ""))
    return lines


def _value(rows: list[Row], calibration: str, threat_model: str, eps: str) -> str:
    rows_here = [
        row for row in rows if (row.calibration, row.threat_model, row.eps) == (calibration, threat_model, eps)
    ]
    return (
        f"{rows_here[0].value:5.1f} %{' ' * bool(alarms(rows_here[0]))}{alarms(rows_here[0])}"
        if rows_here
        else "    -  "
    )
