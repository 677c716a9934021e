"""The same tables as the page, as GitHub Markdown."""

from collections.abc import Iterable, Sequence

from ironbind.core.index_results import ITSELF, IndexResult, galleries, served
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import THREAT_MODELS, Result, Row
from ironbind.report.corruption_tables import SEVERITY, label, tables, written
from ironbind.report.corruption_tables import Table as Worn
from ironbind.report.headline import plain, verdict
from ironbind.report.number_format import alarms, cell, interval, points, share
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
    facts, worn = facts_of(runs), tables(rows_of(runs))
    results = [run.result for run in runs]
    blocks = [f"# {text(title)}", *(text(plain(verdict(facts, encoder, worn))) for encoder in facts.encoders)]
    blocks += [
        f"> **Check failed: {text(one.code)} {text(one.name)}** {text(one.detail)} {text(one.scope)}".rstrip()
        for one in failures(runs)
    ]
    blocks += ["## What survived", _headline(facts), _key()]
    blocks += ["## Zero-shot, by epsilon", *_by_epsilon(facts, pivots(facts, retrieval=False))]
    retrieval = pivots(facts, retrieval=True)
    if retrieval:
        blocks += ["## Retrieval, by epsilon", *_by_epsilon(facts, retrieval)]
    if worn:
        blocks += ["## Corruptions", *_corruptions(worn)]
    old_index = served(rows_of(runs))
    if old_index:
        blocks += ["## With an index of the original encoder", _compatibility(old_index)]
    if any(one.calibrations for one in results):
        blocks += ["## Calibration", _calibrations(results)]
    if any(one.threat_models for one in results):
        blocks += ["## Threat model", _threat_models(results)]
    if any(one.checks for one in results):
        blocks += ["## Checks", _checks(results)]
    for one in results:
        if one.record:
            blocks += [f"## Record of {text(one.name)}", table(("fact", "value"), _flat(one.record))]
    return "\n\n".join(blocks) + "\n"


def text(value: object) -> str:
    """Anything as Markdown text that means itself, on one line."""
    written = " ".join(str(value).split())
    for sign in "\\`*[]|<>":
        written = written.replace(sign, "\\" + sign)
    return written


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table whose cells are text."""
    return markdown_table(head, ([text(one) for one in row] for row in rows))


def _with_interval(row: Row | None) -> str:
    return f"{cell(row)} ({interval(row)}) {alarms(row)}".rstrip() if row else "–"


def _with_gain(row: Row | None, before: Row | None, missing: str = "–") -> str:
    if row is None:
        return missing
    won = points(gain(row, before))
    return f"{_with_interval(row)} {won}".rstrip()


def _headline(facts: Facts) -> str:
    head = ("input", "ε", "n", "clean", "attacked", "calibration", "clean after", "replayed", "adaptive")
    rows: list[tuple[object, ...]] = []
    for line in facts.headline():
        start = (
            facts.label(line.panel),
            line.eps or "–",
            line.n,
            _with_interval(line.clean),
            _with_interval(line.attacked),
        )
        rows += [(*start, *_after(line, index)) for index in range(max(len(line.after), 1))]
    return table(head, rows)


def _after(line: Line, index: int) -> tuple[str, ...]:
    if not line.after:
        return ("–", "–", "–", "–")
    one = line.after[index]
    missing = "**not measured**" if one.replayed else "–"
    return (
        one.calibration,
        _with_gain(one.clean, line.clean),
        _with_gain(one.replayed, line.attacked),
        _with_gain(one.adaptive, line.attacked, "adaptive: NOT MEASURED" if missing != "–" else "–"),
    )


def _key() -> str:
    kinds = "\n".join(f"- *{name}*: {meaning}." for name, meaning in THREAT_MODELS.items())
    signs = "✗ and ⚠ beside a number name the checks that failed or warned about it (docs/checks.md)."
    return f"Percent, with 95 % Wilson intervals; signed numbers are points against the uncalibrated encoder. {signs}\n\n{kinds}"


def _by_epsilon(facts: Facts, found: Sequence[Pivot]) -> list[str]:
    """One table per ladder of epsilons, so that columns mean the same from top to bottom."""
    ladders: dict[tuple[str, ...], list[Pivot]] = {}
    for one in found:
        ladders.setdefault(one.eps, []).append(one)
    blocks = []
    for ladder, members in ladders.items():
        head = ("input", "task", "metric", "calibration", "threat model", "clean", *ladder[1:])
        blocks.append(table(head, [_pivot_row(facts, pivot, line) for pivot in members for line in pivot.lines]))
    return blocks


def _pivot_row(facts: Facts, pivot: Pivot, line: PivotLine) -> tuple[object, ...]:
    under = line.threat_model + (f" ({line.attack})" if line.attack and line.attack != "none" else "")
    if line.missing:
        under = f"{line.threat_model}: NOT MEASURED"
    start = (facts.label(pivot.panel), pivot.task, line.metric, calibration_label(line.calibration), under)
    return (*start, *(f"{cell(one)} {alarms(one)}".rstrip() if one else "" for one in line.cells))


def _corruptions(worn: Sequence[Worn]) -> list[str]:
    """One table per ladder of strengths: every corruption with its mean over severities, and random noise within every
    budget.
    """
    encoders = list(dict.fromkeys(one.input.encoder for one in worn))
    ladders: dict[tuple[str, tuple[str, ...]], list[Worn]] = {}
    for one in worn:
        ladders.setdefault((one.norm, one.strengths), []).append(one)
    blocks = [
        "Nobody attacks: common corruptions by severity, and random noise within the budgets of an attack; one draw each."
    ]
    for (norm, strengths), members in ladders.items():
        severe = norm == SEVERITY
        head = (
            "input",
            "metric",
            "calibration",
            "corruption",
            "clean",
            *(f"{norm} {one}" for one in strengths),
            *(["mean"] if severe else []),
        )
        rows: list[list[str]] = []
        for one in members:
            start = [label(one.input, encoders), one.metric]
            for line in one.lines:
                row = [*start, calibration_label(line.calibration), line.name, cell(one.clean.get(line.calibration))]
                cells = [
                    f"{cell(each)} {alarms(each) if ':' in each.checks else ''}".rstrip() if each else ""
                    for each in line.cells
                ]
                rows.append([*row, *cells, *([written(line.mean, one.metric)] if severe else [])])
            for calibration in one.calibrations if severe else ():
                row = [*start, calibration_label(calibration), f"mean of {len(one.of(calibration))}", ""]
                means = [one.mean(calibration, strength) for strength in (*strengths, None)]
                rows.append([*row, *(written(each, one.metric) for each in means)])
        blocks.append(table(head, rows))
    return blocks


def _compatibility(lines: Sequence[IndexResult]) -> str:
    """Cosine and recall at 10, the original encoder's in brackets."""
    names = galleries(lines)
    head = (
        "input",
        "calibration",
        "cosine",
        *("R@10: own old embedding" if one == ITSELF else f"R@10: its old {one}" for one in names),
    )
    rows = []
    for line in lines:
        found = [line.search(name) for name in names]
        cells = [f"{cell(one.after)} ({cell(one.before)})" if one else "–" for one in found]
        rows.append((f"{line.modality} ({line.space})", line.calibration, cell(line.cosine), *cells))
    return table(head, rows)


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
                one.name,
                f"{one.modality} ({one.space})",
                one.head if one.parts == "head" else one.parts.replace("+", ", "),
                one.objective,
                one.attack,
                one.eps,
                f"{one.trainable:,}",
                share(one.trainable, one.encoder_parameters),
                f"{one.train_samples:,}",
                one.epochs,
                f"{one.craft_seconds:.1f} + {one.fit_seconds:.1f}",
                f"{one.first_loss:.4g} → {one.last_loss:.4g}",
            )
            for result in results
            for one in result.calibrations
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
                f"{one.modality} ({one.space})",
                " × ".join(map(str, one.input_shape)),
                one.unit,
                bounds(one.bounds),
                one.norm,
                "; ".join(f"{eps} = {phrase}" for eps, phrase in zip(one.eps, one.meaning, strict=False)),
                one.goal,
                one.attack,
                one.knowledge,
                one.normalisation,
            )
            for result in results
            for one in result.threat_models
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
        (one.code, one.name, _SIGNS.get(one.status, one.status), one.scope, one.detail)
        for result in results
        for one in result.checks
    ]
    return table(("check", "name", "status", "scope", "measured"), rows)


def _flat(record: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found += _flat(value, f"{name} · ")
        else:
            found.append((name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value))
    return found
