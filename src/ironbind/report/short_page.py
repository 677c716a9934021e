"""A run as a page that a person reads from top to bottom: verdict, headline, curves, gallery, what the checks say. The
complete record is `report.md` of the run folder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ironbind.core.index_results import index_results
from ironbind.core.results import METRICS, CalibrationRecord, Check, Prediction
from ironbind.core.tables.shares import share
from ironbind.report.certificate_tables import certificate_tables
from ironbind.report.charts.curves import curves
from ironbind.report.charts.svg_files import Titled, svg_file
from ironbind.report.corruption_tables import tables
from ironbind.report.headline import plain, verdict
from ironbind.report.markdown import (
    bounds,
    by_epsilon,
    certificate_blocks,
    compatibility,
    corruption_blocks,
    headline_table,
    key_to_numbers,
    table,
    text,
    with_gain,
    with_interval,
)
from ironbind.report.media.gallery import Exhibit, exhibits
from ironbind.report.media.picture_files import PictureFile, picture_file
from ironbind.report.number_format import plural
from ironbind.report.panels import Facts
from ironbind.report.pivots import pivots
from ironbind.report.stored_runs import Run, chance_of, facts_of, failures, rows_of

COLUMNS = 4  # curves side by side


class ShortPage(NamedTuple):
    """Markdown, and the pictures that it shows."""

    markdown: str
    pictures: list[PictureFile]


def short_page(run: Run, title: str, folder: str, introduction: str = "") -> ShortPage:
    """The short page of one run; its pictures are to lie in `folder`, relative to the page. `introduction`: Markdown to
    stand under the verdict.
    """
    facts = facts_of([run])
    drawn = _curve_files(run, facts)
    shown = exhibits(facts, run.result.gallery, run.arrays, run.result.threat_models, run.encoder)
    samples = [picture_file(exhibit) for exhibit in shown]
    corrupted, certified = tables(rows_of([run])), certificate_tables(rows_of([run]))
    said = [plain(verdict(facts, encoder, corrupted, certified)) for encoder in facts.encoders]
    blocks = [f"# {text(title)}", *(text(sentence) for sentence in said)]
    blocks += [
        f"> **Check failed: {text(check.code)} {text(check.name)}** {text(check.detail)} {text(check.scope)}".rstrip()
        for check in failures([run])
    ]
    blocks += [introduction] if introduction else []
    blocks += ["## What survived", headline_table(facts), key_to_numbers()]
    if drawn:
        blocks += ["## Accuracy against the budget", _CURVES, *(_picture(drawing, folder) for drawing in drawn)]
        top1 = [pivot for pivot in pivots(facts, retrieval=False) if pivot.task == "zero_shot"]
        blocks += ["The same numbers:", *by_epsilon(facts, [pivot.only("top1") for pivot in top1])]
    if shown:
        blocks += ["## One sample of each input", _GALLERY, *_gallery(shown, samples, folder)]
    others = _other_tasks(facts)
    if others:
        blocks += ["## Other tasks", *others]
    if certified:
        blocks += ["## Certified", *certificate_blocks(certified, facts.encoders)]
    if corrupted:
        blocks += ["## Corruptions", *corruption_blocks(corrupted)]
    old_index = index_results(rows_of([run]), "R@1")
    if old_index:
        blocks += ["## With an index of the original encoder", compatibility(old_index)]
    blocks += _how_it_was_made(run)
    return ShortPage("\n\n".join(blocks) + "\n", [*drawn, *(picture for picture in samples if picture)])


_CURVES = (
    "Crosses: the uncalibrated encoder under attack. Rings on a dashed line: the calibrated one, *replayed*. Discs: "
    "*adaptive*. Every step to the right doubles what the attacker may change; bands are 95 % Wilson intervals. The "
    "hatched area between replayed and adaptive is robustness that an attacker who knows of the calibration takes away."
)
_GALLERY = (
    "Clean, adversarial, and the difference (amplified). *Replayed*: what the calibrated encoder answers to the "
    "adversarial example of the uncalibrated one; in brackets its accuracy against an attacker who knows of it."
)


def _picture(picture: PictureFile, folder: str) -> str:
    return f"![{text(picture.alt)}]({folder}/{picture.name})"


def _curve_files(run: Run, facts: Facts) -> list[PictureFile]:
    drawn = []
    for chosen in curves(facts, chance_of([run])):
        panels = [Titled(f"{panel.label} {panel.note}".rstrip(), panel.drawing) for panel in chosen.panels]
        name = chosen.calibration or "uncalibrated"
        alt = f"Top-1 accuracy against epsilon, calibration {name}"
        drawn.append(PictureFile(f"curves-{name}.svg", svg_file(panels, COLUMNS, alt).encode("utf-8"), alt))
    return drawn


def _gallery(shown: Sequence[Exhibit], pictures: Sequence[PictureFile | None], folder: str) -> list[str]:
    blocks = []
    for exhibit, picture in zip(shown, pictures, strict=True):
        item = exhibit.item
        answers = [f"Truth: {item.truth}", f"clean: {_answer(item.clean)}", f"adversarial: {_answer(item.adversarial)}"]
        if item.replayed:
            adaptive = f"adaptive accuracy {exhibit.adaptive}" if exhibit.adaptive else "adaptive: NOT MEASURED"
            answers.append(f"{item.calibrated}, replayed: {_answer(item.replayed)} ({adaptive})")
        budget = f"{item.norm} {item.eps}" + (f", {exhibit.meaning}" if exhibit.meaning else "")
        blocks.append(f"**{text(exhibit.label)}**, {text(budget)}. {text('; '.join(answers))}.")
        if picture:
            blocks.append(_picture(picture, folder))
    return blocks


def _answer(predictions: Sequence[Prediction]) -> str:
    return f"{predictions[0].label} ({predictions[0].score:.2f})" if predictions else "no answer"


def _other_tasks(facts: Facts) -> list[str]:
    """Retrieval, illusion and hub at the headline radius: one metric of each, the calibrations that were measured."""
    rows = []
    for panel in facts.panels:
        for task in facts.tasks(panel):
            metrics = facts.metrics(panel, task)
            metric = next((name for name in ("R@1", "resists") if name in metrics), "")
            if task == "zero_shot" or not metric:
                continue
            line = facts.line(panel, task, metric)
            start = (facts.label(panel), task, metric, line.eps or "–", line.n)
            before = (with_interval(line.clean), with_interval(line.attacked))
            for after in line.after:
                if not (after.replayed or after.adaptive):
                    continue
                adaptive = with_gain(after.adaptive, line.attacked, "adaptive: NOT MEASURED")
                replayed = with_gain(after.replayed, line.attacked)
                rows.append((*start, *before, after.calibration, with_interval(after.clean), replayed, adaptive))
            if not any(after.replayed or after.adaptive for after in line.after):
                rows.append((*start, *before, "–", "–", "–", "–"))
    if not rows:
        return []
    head = (
        "input", "task", "metric", "ε", "n", "clean", "attacked", "calibration", "clean after", "replayed", "adaptive",
    )  # fmt: skip
    meanings = [f"- *{name}*: {text(METRICS[name])}." for name in dict.fromkeys(row[2] for row in rows)]
    return [table(head, rows), "\n".join(meanings)]


def _how_it_was_made(run: Run) -> list[str]:
    result = run.result
    blocks = []
    if result.calibrations:
        blocks += ["## What was trained", _calibrations(run)]
    if result.threat_models:
        blocks += ["## Threat model", _threat_models(run)]
    if result.checks:
        blocks += ["## Checks", *_checks(result.checks)]
    if result.record:
        blocks += ["## The run", _record(result.record)]
    return blocks


def _calibrations(run: Run) -> str:
    """One line per calibration and input, its stages added up."""
    groups: dict[tuple[str, str], list[CalibrationRecord]] = {}
    for record in run.result.calibrations:
        groups.setdefault((record.name, f"{record.modality} ({record.space})"), []).append(record)
    head = ("calibration", "input", "trains", "stages", "trainable", "share", "samples seen", "CPU s")
    rows = []
    for (name, place), stages in groups.items():
        most = max(stages, key=lambda stage: stage.trainable)
        parts = most.head if most.parts == "head" else most.parts.replace("+", ", ")
        seen = sum(stage.samples_seen or stage.train_samples * stage.epochs for stage in stages)
        seconds = f"{sum(stage.cpu_seconds for stage in stages):,.0f}"
        trained = share(most.trainable, most.encoder_parameters)
        rows.append((name, place, parts, len(stages), f"{most.trainable:,}", trained, f"{seen:,}", seconds))
    return table(head, rows)


def _threat_models(run: Run) -> str:
    """One line per attacked input and norm; knobs of every attack are in the complete report."""
    head = ("input", "shape", "bounds", "norm", "ε = what it means")
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for record in run.result.threat_models:
        meanings = "; ".join(f"{eps} = {phrase}" for eps, phrase in zip(record.eps, record.meaning, strict=False))
        place = (f"{record.modality} ({record.space})", record.norm)
        row = (place[0], " × ".join(map(str, record.input_shape)), bounds(record.bounds), record.norm, meanings)
        if place not in rows or len(meanings) > len(rows[place][-1]):
            rows[place] = row
    return table(head, rows.values())


def _checks(checks: Sequence[Check]) -> list[str]:
    """How many passed, by check; every one that did not, with what it measured."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for check in checks:
        counts.setdefault((check.code, check.name), Counter())[check.status] += 1
    order = ("pass", "warn", "fail", "skipped")
    rows = [(code, name, *(count[status] or "" for status in order)) for (code, name), count in counts.items()]
    told = [check for check in checks if check.status in ("warn", "fail")]
    lines = [
        f"- **{check.status} {text(check.code)}** {text(check.name)}, {text(check.scope)}: {text(check.detail)}"
        for check in told
    ]
    count = plural(len(checks), "check")
    said = f"{count[0].upper()}{count[1:]} of the numbers above (docs/checks.md says what each asks)."
    return [said, table(("check", "name", *order), rows), *(["\n".join(lines)] if lines else [])]


def _record(record: dict[str, object]) -> str:
    """The facts that a reader needs to judge and repeat it."""
    wanted = ("command", "seed", "machine", "date", "wall_seconds", "cpu_seconds", "gradient_passes", "forward_passes")
    facts = [(name.replace("_", " "), record[name]) for name in wanted if name in record]
    versions = record.get("versions")
    if isinstance(versions, dict):
        facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return table(("fact", "value"), facts)
