"""The same tables as the page, as GitHub Markdown."""

from collections.abc import Iterable, Sequence

from ironbind.core.index_results import ITSELF, IndexResult, galleries, index_results, telling
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import THREAT_MODELS, Result, Row, quick_look
from ironbind.core.tables.shares import share
from ironbind.report.certificate_tables import CertificateTable, certificate_tables
from ironbind.report.corruption_tables import SEVERITY, calibration_name, label, tables, written
from ironbind.report.corruption_tables import Table as CorruptionTable
from ironbind.report.headline import plain, verdict
from ironbind.report.number_format import alarms, cell, interval, points
from ironbind.report.panels import Facts, Line, gain
from ironbind.report.pivots import Pivot, PivotLine, calibration_label, pivots
from ironbind.report.stored_runs import Run, facts_of, failures, rows_of

_SIGNS = {"pass": "✓ pass", "warn": "⚠ warn", "fail": "✗ FAIL", "skipped": "– skipped"}


def markdown(result: Result) -> str:
    """One run as Markdown: verdict, headline, every number by epsilon, retrieval, calibration, threat model, checks,
    versions.
    """
    return document([Run(result)], f"Robustness audit: {result.name}")


def document(runs: Sequence[Run], title: str) -> str:
    """Several runs as one Markdown document."""
    facts, corrupted, certified = facts_of(runs), tables(rows_of(runs)), certificate_tables(rows_of(runs))
    results = [run.result for run in runs]
    blocks = [
        f"# {text(title)}",
        *(text(plain(verdict(facts, encoder, corrupted, certified))) for encoder in facts.encoders),
    ]
    blocks += [
        f"> **Check failed: {text(check.code)} {text(check.name)}** {text(check.detail)} {text(check.scope)}".rstrip()
        for check in failures(runs)
    ]
    blocks += ["## What survived", headline_table(facts), key_to_numbers()]
    blocks += ["## Zero-shot, by epsilon", *by_epsilon(facts, pivots(facts, retrieval=False))]
    retrieval = pivots(facts, retrieval=True)
    if retrieval:
        blocks += ["## Retrieval, by epsilon", *by_epsilon(facts, retrieval)]
    if certified:
        blocks += ["## Certified", *certificate_blocks(certified, facts.encoders)]
    if corrupted:
        blocks += ["## Corruptions", *corruption_blocks(corrupted)]
    old_index = index_results(rows_of(runs), "R@1")
    if old_index:
        blocks += ["## With an index of the original encoder", compatibility(old_index)]
    if any(result.calibrations for result in results):
        blocks += ["## Calibration", _calibrations(results)]
    if any(result.threat_models for result in results):
        blocks += ["## Threat model", _threat_models(results)]
    if any(result.checks for result in results):
        blocks += ["## Checks", _checks(results)]
    for result in results:
        if result.record:
            blocks += [f"## Record of {text(result.name)}", table(("fact", "value"), _flat(result.record))]
    return "\n\n".join(blocks) + "\n"


def text(value: object) -> str:
    """Anything as Markdown text that means itself, on one line."""
    line = " ".join(str(value).split())
    for sign in "\\`*[]|<>":
        line = line.replace(sign, "\\" + sign)
    return line


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table whose cells are text."""
    return markdown_table(head, ([text(cell) for cell in row] for row in rows))


def with_interval(row: Row | None) -> str:
    """A number, its interval and its alarms, "95.3 (87.1–98.4) ⚠ C13"."""
    return f"{cell(row)} ({interval(row)}) {alarms(row)}".rstrip() if row else "–"


def with_gain(row: Row | None, before: Row | None, missing: str = "–") -> str:
    """The same with the points gained on `before`."""
    if row is None:
        return missing
    return f"{with_interval(row)} {points(gain(row, before))}".rstrip()


def headline_table(facts: Facts) -> str:
    """Every input at its headline epsilon: clean, attacked, and each calibration's three numbers."""
    lines = facts.headline()
    quick = " (quick look)" * any(
        quick_look(line.attacked, *(after.adaptive for after in line.after)) for line in lines
    )
    head = (
        "input",
        "ε",
        "n",
        "clean",
        f"attacked{quick}",
        "calibration",
        "clean after",
        "replayed",
        f"adaptive{quick}",
    )
    rows: list[tuple[object, ...]] = []
    for line in lines:
        start = (
            facts.label(line.panel),
            line.eps or "–",
            line.n,
            with_interval(line.clean),
            with_interval(line.attacked),
        )
        rows += [(*start, *_after(line, index)) for index in range(max(len(line.after), 1))]
    return table(head, rows)


def _after(line: Line, index: int) -> tuple[str, ...]:
    if not line.after:
        return ("–", "–", "–", "–")
    after = line.after[index]
    return (
        after.calibration,
        with_gain(after.clean, line.clean),
        with_gain(after.replayed, line.attacked),
        with_gain(after.adaptive, line.attacked, "adaptive: NOT MEASURED" if after.replayed else "–"),
    )


def key_to_numbers() -> str:
    """What the numbers, the signs beside them and the threat models mean."""
    kinds = "\n".join(f"- *{name}*: {meaning}." for name, meaning in THREAT_MODELS.items())
    signs = "✗ and ⚠ beside a number name the checks that failed or warned about it (docs/checks.md)."
    numbers = "Percent, with 95 % Wilson intervals; signed numbers are points against the uncalibrated encoder."
    return f"{numbers} {signs}\n\n{kinds}"


def by_epsilon(facts: Facts, chosen: Sequence[Pivot]) -> list[str]:
    """One table for all pivots of the same epsilons, so that columns mean the same from top to bottom."""
    groups: dict[tuple[str, ...], list[Pivot]] = {}
    for pivot in chosen:
        groups.setdefault(pivot.eps, []).append(pivot)
    blocks = []
    for eps, members in groups.items():
        head = ("input", "task", "metric", "calibration", "threat model", "clean", *eps[1:])
        blocks.append(table(head, [_pivot_row(facts, pivot, line) for pivot in members for line in pivot.lines]))
    return blocks


def _pivot_row(facts: Facts, pivot: Pivot, line: PivotLine) -> tuple[object, ...]:
    attack = line.attack + ", quick look" * quick_look(*line.cells)
    under = line.threat_model + (f" ({attack})" if line.attack and line.attack != "none" else "")
    if line.missing:
        under = f"{line.threat_model}: NOT MEASURED"
    start = (facts.label(pivot.panel), pivot.task, line.metric, calibration_label(line.calibration), under)
    return (*start, *(f"{cell(row)} {alarms(row)}".rstrip() if row else "" for row in line.cells))


def corruption_blocks(corrupted: Sequence[CorruptionTable]) -> list[str]:
    """One table for all inputs of the same strengths: every corruption with its mean over severities, and random noise
    within every budget.
    """
    encoders = list(dict.fromkeys(table.input.encoder for table in corrupted))
    groups: dict[tuple[str, tuple[str, ...]], list[CorruptionTable]] = {}
    for member in corrupted:
        groups.setdefault((member.norm, member.strengths), []).append(member)
    draws = "common corruptions by severity, and random noise within the budgets of an attack; one draw each."
    blocks = [f"Nobody attacks: {draws}"]
    for (norm, strengths), members in groups.items():
        severe = norm == SEVERITY
        columns = [f"{norm} {strength}" for strength in strengths] + ["mean"] * severe
        rows = [row for member in members for row in _corruption_rows(member, encoders, severe)]
        blocks.append(table(("input", "metric", "calibration", "corruption", "clean", *columns), rows))
    return blocks


def _corruption_rows(member: CorruptionTable, encoders: list[str], severe: bool) -> list[list[str]]:
    rows = []
    start = [label(member.input, encoders), member.metric]
    for line in member.lines:
        clean = cell(member.clean.get(line.calibration))
        cells = [
            f"{cell(row)} {alarms(row) if ':' in row.checks else ''}".rstrip() if row else "" for row in line.cells
        ]
        mean = [written(line.mean, member.metric)] if severe else []
        rows.append([*start, calibration_label(line.calibration), line.name, clean, *cells, *mean])
    for calibration in member.calibrations if severe else ():
        over_corruptions = [member.mean(calibration, strength) for strength in (*member.strengths, None)]
        name = f"mean of {len(member.of(calibration))}"
        written_means = [written(mean, member.metric) for mean in over_corruptions]
        rows.append([*start, calibration_label(calibration), name, "", *written_means])
    return rows


def certificate_blocks(certified: Sequence[CertificateTable], encoders: Sequence[str]) -> list[str]:
    """One table per input and norm: what is proven, and what an attack leaves of the encoder without smoothing."""
    blocks = []
    for member in certified:
        head = (member.name(encoders), "calibration", "by", *member.radii)
        rows = [
            (
                line.metric,
                calibration_name(line.calibration),
                f"{line.threat_model} ({line.attack})",
                *(f"{with_interval(row)}" if row else "" for row in line.cells),
            )
            for line in member.lines
        ]
        blocks.append(table(head, rows))
    return blocks


def compatibility(lines: Sequence[IndexResult]) -> str:
    """Cosine and recall at 1, the original encoder's in brackets, of the results that tell anything; then a sentence
    about the others.
    """
    shown, rest = telling(lines)
    names = galleries(shown)
    head = (
        "input",
        "calibration",
        "cosine",
        *("R@1: own old embedding" if name == ITSELF else f"R@1: its old {name}" for name in names),
    )
    rows = []
    for line in shown:
        searches = [line.search(name) for name in names]
        cells = [f"{cell(search.after)} ({cell(search.before)})" if search else "–" for search in searches]
        rows.append((f"{line.modality} ({line.space})", line.calibration, cell(line.cosine), *cells))
    return "\n\n".join([*([table(head, rows)] if rows else []), *([rest] if rest else [])])


def _calibrations(results: Sequence[Result]) -> str:
    head = (
        "calibration",
        "input",
        "trains",
        "objective",
        "attack",
        "ε",
        "trainable",
        "share",
        "samples",
        "epochs",
        "CPU s (craft + fit)",
        "loss",
    )
    return table(
        head,
        [
            (
                record.name,
                f"{record.modality} ({record.space})",
                record.head if record.parts == "head" else record.parts.replace("+", ", "),
                record.objective,
                record.attack,
                record.eps,
                f"{record.trainable:,}",
                share(record.trainable, record.encoder_parameters),
                f"{record.train_samples:,}",
                record.epochs,
                f"{record.craft_seconds:.1f} + {record.fit_seconds:.1f}",
                f"{record.first_loss:.4g} → {record.last_loss:.4g}",
            )
            for result in results
            for record in result.calibrations
        ],
    )


def _threat_models(results: Sequence[Result]) -> str:
    head = (
        "input",
        "shape",
        "unit",
        "bounds",
        "norm",
        "ε = what it means",
        "goal",
        "attack",
        "knowledge",
        "normalisation",
    )
    return table(
        head,
        [
            (
                f"{record.modality} ({record.space})",
                " × ".join(map(str, record.input_shape)),
                record.unit,
                bounds(record.bounds),
                record.norm,
                "; ".join(f"{eps} = {phrase}" for eps, phrase in zip(record.eps, record.meaning, strict=False)),
                record.goal,
                record.attack,
                record.knowledge,
                record.normalisation,
            )
            for result in results
            for record in result.threat_models
        ],
    )


def bounds(pair: Sequence[float | None]) -> str:
    """ "[0, 1]", or "none"."""
    low, high = pair
    if low is None and high is None:
        return "none"
    return f"[{'−∞' if low is None else f'{low:g}'}, {'∞' if high is None else f'{high:g}'}]"


def _checks(results: Sequence[Result]) -> str:
    rows = [
        (check.code, check.name, _SIGNS.get(check.status, check.status), check.scope, check.detail)
        for result in results
        for check in result.checks
    ]
    return table(("check", "name", "status", "scope", "measured"), rows)


def _flat(record: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            facts += _flat(value, f"{name} · ")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for number, one in enumerate(value, start=1):
                facts += _flat(one, f"{name} · {number} · ")
        else:
            facts.append((name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value))
    return facts
