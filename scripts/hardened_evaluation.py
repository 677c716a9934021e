"""What the shipped adapters hold against, measured: the tables of docs/what-survives.md. Run by `harden_tiny.py
--evaluate`.

Every case and modality is one run folder, which can be read on with `ironbind report`; a killed evaluation goes on
where it was.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ironbind.attacks import APGD
from ironbind.core.budget import budget_of
from ironbind.core.markdown_tables import inside, markdown_table, put
from ironbind.core.results import CalibrationRecord, Result, Row
from ironbind.encoders.tiny.encoder import load
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.request import SIX
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.defaults import QUICK_LOOK, STRONGEST
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import CheckSpec, Job, TrainingSpec
from ironbind.runs.pretrained import SHIPPED, SHIPPED_FOLDABLE, SHIPPED_SMALL
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import Budget

PAGE = Path(__file__).parent.parent / "docs" / "what-survives.md"
ONE_PERCENT_PAGE = PAGE.with_name("one-percent.md")
LENGTHS = {"l2": 1.0, "l1": 24.0}
ORIGINS = {SHIPPED_SMALL: (SHIPPED, SHIPPED_FOLDABLE)}  # from which sets one went on, or took parts
HEADS = ("center_ce", "l2")  # of the paper, trained live to compare with
STANDS = (
    "event",
)  # most of its samples stand by themselves: heads have little to promise, and attacking what stands takes longest
N, FEWER = 500, 200
BEFORE = "linf-alone"  # folder of what the sets trained within Linf alone stand
EXPORTED = "exported"  # folder of the shipped adapters, one modality each
FULL = "full-"  # folders of towers whose weights were all trained, to compare with
FULL_RECIPE = "full"
FIRST = "part-1"  # folder of the adapters after the first part of their training
NO_YARDSTICK = (
    "Not run at this length yet (`harden_tiny.py --only image --full` does); "
    "at 10,000 samples: [hardening](hardening.md)."
)
UNCHECKED = "run in the main evaluation of the same encoder"


@dataclass(frozen=True)
class Case:
    """One run: what the adapters were not trained for, or the claim itself ("main")."""

    name: str
    title: str
    modalities: tuple[str, ...] = SIX
    split: str = "test"
    eps: str = "4/255"
    norm: str = "linf"
    in_waveform: bool = False
    task: str = "zero_shot"
    metric: str = "top1"
    strongest: bool = False  # attacked with all there is, and on more samples

    def budget(self, modality: str) -> Budget:
        """Of the case, in the space that the modality is attacked in. "l2": half of the longest way in the Linf ball
        that was trained on; "l1": 24 times that number, as AutoAttack's radii for pictures of this size are (12 and
        0.5).
        """
        if self.norm not in LENGTHS:
            return budget_of(self.norm, self.eps)
        spec = load().inputs[modality]
        length = 4 / 255 * math.sqrt(math.prod(spec.shape_in(spec.space_named(None).name))) / 2
        return budget_of(self.norm, f"{LENGTHS[self.norm] * length:.2g}")

    def space(self, modality: str) -> str:
        return "waveform" if self.in_waveform else load().inputs[modality].space_named(None).name

    def job(self, modality: str, adapters: Path, heads: Sequence[str] = HEADS) -> Job:
        """The audit of this modality: its encoder without and with the `adapters` in a folder, and with the paper's
        `heads` beside them.
        """
        main, most = self.name == "main", self.strongest
        job = Job(
            modality,
            EncoderSpec(heads=str(adapters)),
            DataSpec(options={"split": self.split, "n": N if most else FEWER, "seed": 0}),
            spaces=(self.space(modality),),
            budgets={self.space(modality): (self.budget(modality),)},
            attacks=STRONGEST if most else QUICK_LOOK,
            training=TrainingSpec(
                tuple(CALIBRATIONS[name]() for name in heads) if main and modality not in STANDS else ()
            ),
            gallery_items=0,
            checks=CheckSpec("" if main else UNCHECKED),
        )
        if self.task == "zero_shot":
            return job
        return job.asking(ExtraTask("illusion", ("text",), everywhere=True, attacks=(APGD(50),)))


CASES = (
    Case("main", "trained for", strongest=True),
    Case("l2", "L2, half the length", norm="l2"),
    Case("twice", "Linf 8/255", eps="8/255"),
    Case("combinations", "combinations never trained on", split="held_out_combinations"),
    Case("classes", "classes never trained on", split="held_out_classes"),
    Case("illusion", "taken for a chosen text", task="illusion:{}->text", metric="resists"),
    Case("waveform", "waveform, 0.8/255", ("audio",), eps="0.8/255", in_waveform=True),
)
STRONGEST_L2 = Case("l2-strongest", "L2, half the length", norm="l2", strongest=True)
NORMS = (
    Case("linf", "Linf 4/255"),
    CASES[2],
    CASES[1],
    Case("l1", "L1, 24 times the number of L2", norm="l1"),
    Case("pointwise", "each point by 0.05", ("point",), norm="pointwise_l2", eps="0.05"),
    Case("events", "5 % of the events", ("event",), norm="event_share", eps="5 %"),
    Case("snr", "waveform, 40 dB below the sound", ("audio",), norm="snr", eps="40 dB", in_waveform=True),
)  # the last three: of one input each, a column together


def evaluate(work: Path, modality: str, cases: Sequence[Case] = CASES, heads: Sequence[str] = HEADS) -> None:
    """Runs whatever case of this modality was not run on its adapters as they are now. Training one further leaves the
    others' results valid.
    """
    for trained in yardsticks(work).get(modality, ()):
        _unless_done(replace(CASES[0].job(modality, trained), training=TrainingSpec()), evaluated(work, trained))
    for case in cases:
        if modality in case.modalities:
            _unless_done(case.job(modality, work / EXPORTED / modality, heads), folder_of(work, case, modality))


def evaluate_norms(work: Path, modality: str, before: Path) -> None:
    """The adapters as they are now, and those in the folder `before`, whose training saw Linf alone, in every norm."""
    now = work / EXPORTED / modality
    _unless_done(STRONGEST_L2.job(modality, now, ()), folder_of(work, STRONGEST_L2, modality))
    for case in NORMS:
        if modality in case.modalities:
            _unless_done(case.job(modality, now, ()), folder_of(work, case, modality))
            _unless_done(case.job(modality, before, ()), folder_of(work / BEFORE, case, modality))


def _unless_done(job: Job, folder: Path) -> None:
    assert job.encoder.heads is not None
    now = json.loads((Path(job.encoder.heads) / "calibration.json").read_text(encoding="utf-8"))["weights_sha256"]
    if not (folder / "result.json").exists() or Result.read(folder).record.get("adapters") != now:
        print(f"{time.strftime('%H:%M:%S')} {folder}", flush=True)
        run_jobs([replace(job, about={"adapters": now})], folder)


def folder_of(work: Path, case: Case, modality: str) -> Path:
    return work / f"evaluated-{case.name}" / modality


def found_of(work: Path, case: Case, modality: str) -> Result:
    return Result.read(folder_of(work, case, modality))


def yardsticks(work: Path) -> dict[str, tuple[Path, Path]]:
    """The modalities that were trained with all weights, too: where that lies, and the adapters that saw the same
    samples.
    """
    return {
        one: (work / f"{FULL}{one}", work / FIRST / one)
        for one in SIX
        if (work / f"{FULL}{one}" / "calibration.json").exists()
    }


def evaluated(work: Path, trained: Path) -> Path:
    """Where the evaluation of a yardstick's side lies."""
    return work / "-".join(["evaluated", *trained.relative_to(work).parts])


# ---------------------------------------------------------------------------------------------------------- the tables


def write_tables(work: Path, main: Result, new: Sequence[str], page: Path = PAGE) -> None:
    """Puts every table between its marks on the page. `main`: what the strongest attack found of all inputs; `new`: the
    inputs that were evaluated here, whose lines are replaced where a table needs more than that.
    """

    def read(trained: Path) -> Result:
        return Result.read(evaluated(work, trained))

    texts = {"claim": claim(main), "index": index(main), "curve": curves(shipped_records(main))}
    partly = {"untrained": untrained, "norms": norms, "heads": heads}
    texts |= {name: with_lines(page, name, table(work, new)) for name, table in partly.items()}
    if beside := yardsticks(work):
        texts["cost"] = cost({one: (read(whole), read(part)) for one, (whole, part) in beside.items()})
    if new:
        texts["alarms"] = alarms(work, new)
    for name, text in texts.items():
        put(page, name, text)


def with_lines(page: Path, name: str, table: str) -> str:
    """The table between the marks of the page with the lines of another in the place of those of the same input."""
    old = inside(page.read_text(encoding="utf-8"), name)

    def input_of(line: str) -> str:
        return line.strip("| ").split(" ")[0]

    head, rows = table.splitlines()[:2], table.splitlines()[2:]
    replaced = {input_of(line) for line in rows}
    rows += [line for line in old.splitlines()[2:] if input_of(line) not in replaced]
    return "\n".join([*head, *sorted(rows, key=lambda line: SIX.index(input_of(line)))])


def shipped_records(result: Result, name: str = SHIPPED) -> dict[str, list[CalibrationRecord]]:
    """What was recorded of each modality's training, part by part, with that of the set it went on from."""
    names = (name, *ORIGINS.get(name, ()))
    return {
        modality: [one for one in result.calibrations if one.name in names and one.modality == modality]
        for modality in SIX
    }


def cell(result: Result, modality: str, calibration: str, model: str, case: Case = CASES[0]) -> Row:
    """The number of a case: the worst over its attacks."""
    found = result.select(
        modality=modality,
        calibration=calibration,
        threat_model=model,
        task=case.task.format(modality),
        metric=case.metric,
        space=case.space(modality),
    )
    return min(found, key=lambda row: row.value)


def claim(result: Result, name: str = SHIPPED) -> str:
    """The shipped adapters of this name under the attack that knows them."""
    head = (
        "input",
        "clean before",
        "clean after",
        "attacked before",
        "replayed",
        "**adaptive** (95 %)",
        "gain",
        "parameters",
        "of its tower",
        "samples",
        "CPU s",
    )
    lines, gains, losses = [], [], []
    records = {one: parts for one, parts in shipped_records(result, name).items() if parts}
    for modality in records:
        get = partial(cell, result, modality)
        clean, after, before, last = (
            get("none", "clean"), get(name, "clean"), get("none", "whitebox"), get(name, "adaptive")
        )  # fmt: skip
        gains.append(last.value - before.value)
        losses.append(after.value - clean.value)
        parts = records[modality]
        share = f"{100 * parts[-1].trainable / parts[-1].tower_parameters:.1f} %"
        cost = (
            f"{parts[-1].trainable:,}",
            share,
            f"{sum(one.samples_seen for one in parts):,}",
            f"{sum(one.cpu_seconds for one in parts):.0f}",
        )
        seemed, held = get(name, "replayed").value, f"**{last.value:.1f}** ({last.ci_low:.1f}–{last.ci_high:.1f})"
        shown = (f"{number:.1f}" for number in (clean.value, after.value, before.value, seemed))
        lines.append((f"{modality} ({last.space})", *shown, held, f"{gains[-1]:+.1f}", *cost))
    mean = sum(gains) / len(gains)
    won, lost = (
        f"{mean:+.1f} points (lowest {min(gains):+.1f})",
        f"{sum(losses) / len(losses):+.1f} (lowest {min(losses):+.1f})",
    )
    said = f"Mean gain {won}, clean accuracy {lost}; n = {N}."
    return f"{markdown_table(head, lines)}\n\n{said}"


def heads(work: Path, inputs: Sequence[str]) -> str:
    """The paper's heads: what replay promises, and what is left of it."""
    head = (
        "input",
        "heads",
        "clean before",
        "clean after",
        "attacked before",
        "replayed",
        "promised",
        "adaptive",
        "won",
    )
    lines = []
    for modality in inputs:
        result = found_of(work, CASES[0], modality)
        for name in HEADS if any(row.calibration == HEADS[0] for row in result.rows) else ():
            get = partial(cell, result, modality)
            before, seemed, held = (
                get("none", "whitebox").value,
                get(name, "replayed").value,
                get(name, "adaptive").value,
            )
            cells = (get("none", "clean").value, get(name, "clean").value, before, seemed)
            lines.append(
                (
                    modality,
                    name,
                    *(f"{one:.1f}" for one in cells),
                    f"{seemed - before:+.1f}",
                    f"{held:.1f}",
                    f"{held - before:+.1f}",
                )
            )
    return markdown_table(head, lines)


def index(result: Result, name: str = SHIPPED) -> str:
    """The old index, asked by the hardened encoder."""
    head = (
        "input",
        "cosine, new to old",
        "R@10, its own old embedding",
        "R@10 text: old queries",
        "new queries",
        "R@10 image: old queries",
        "new queries",
    )
    lines = []
    for modality in (one for one in SIX if result.select(modality=one, calibration=name)):

        def value(calibration: str, other: str, metric: str, modality: str = modality) -> str:
            found = result.select(
                modality=modality, calibration=calibration, task=f"index:{modality}->{other}", metric=metric
            )
            return (
                f"{found[0].value:.3f}" if found and metric == "cosine" else f"{found[0].value:.1f}" if found else "–"
            )

        others = [
            value(who, other, "R@10") if other != modality else "–"
            for other in ("text", "image")
            for who in ("none", name)
        ]
        lines.append((modality, value(name, modality, "cosine"), value(name, modality, "R@10"), *others))
    return markdown_table(head, lines)


def untrained(work: Path, inputs: Sequence[str]) -> str:
    """Per input and case: attacked before -> adaptive after (clean after)."""
    others = CASES[1:]
    lines = []
    for modality in inputs:
        cells = []
        for case in others:
            if modality not in case.modalities:
                cells.append("")
                continue
            get = partial(cell, found_of(work, case, modality), modality, case=case)
            before, after = get("none", "whitebox").value, get(SHIPPED, "adaptive").value
            budget = f" at {case.budget(modality).written}" if case.norm == "l2" else ""
            clean = "" if case.metric == "resists" else f" (clean {get(SHIPPED, 'clean').value:.1f})"
            cells.append(f"{before:.1f} → **{after:.1f}**{clean}{budget}")
        lines.append((modality, *cells))
    return markdown_table(("input", *(case.title for case in others)), lines)


def norms(work: Path, inputs: Sequence[str]) -> str:
    """Trained within what against attacked within what: adaptive accuracy."""
    own = [case for case in NORMS if len(case.modalities) == 1]
    common = [case for case in NORMS if case not in own]
    head = ("input", "trained within", "clean", *(case.title for case in common), "its own", "L2, strongest attack")
    lines = []
    for modality in inputs:
        if not (work / BEFORE).exists() or not folder_of(work / BEFORE, common[0], modality).exists():
            continue
        most = cell(found_of(work, STRONGEST_L2, modality), modality, SHIPPED, "adaptive", STRONGEST_L2)
        for folder, said in ((work / BEFORE, "Linf"), (work, "Linf and L2")):

            def stands(case: Case, folder: Path = folder, modality: str = modality) -> str:
                held = cell(found_of(folder, case, modality), modality, SHIPPED, "adaptive", case)
                return f"{held.value:.1f}"

            clean = cell(found_of(folder, common[0], modality), modality, SHIPPED, "clean", common[0]).value
            last = "".join(f"{stands(case)} ({case.title})" for case in own if modality in case.modalities)
            seen = (
                f"**{most.value:.1f}** ({most.ci_low:.1f}–{most.ci_high:.1f}) at {most.eps}" if folder == work else ""
            )
            lines.append((modality, said, f"{clean:.1f}", *map(stands, common), last, seen))
    return markdown_table(head, lines)


def curves(records: dict[str, list[CalibrationRecord]]) -> str:
    """Adaptive accuracy on the validation samples against samples seen, one line per part of the training."""
    shares = range(0, 101, 25)
    about = ("input", "trained against", "distillation", "parameters", "CPU ms per sample", "samples before", "samples")
    head = (*about, *(f"{share} %" for share in shares))
    lines = []
    for modality, parts in records.items():
        before = 0
        for one in parts:
            cells = []
            for share in shares:
                _, clean, adaptive = min(
                    one.curve, key=lambda point, one=one, share=share: abs(point[0] - share / 100 * one.steps)
                )
                cells.append(f"{adaptive:.0f} ({clean:.0f})")
            weight = one.objective.split()[-2]
            pace = f"{1000 * one.cpu_seconds / one.samples_seen:.1f}"
            facts = (
                f"{one.attack} at {one.eps}",
                weight,
                f"{one.trainable:,}",
                pace,
                f"{before:,}",
                f"{one.samples_seen:,}",
            )
            lines.append((modality, *facts, *cells))
            before += one.samples_seen
    return markdown_table(head, lines)


def cost(beside: dict[str, tuple[Result, Result]]) -> str:
    """Full adversarial fine-tuning and adapters on the same samples, by modality."""
    head = ("input", "what trains", "parameters", "clean", "adaptive", "cosine, new to old", "samples", "CPU s")
    lines = []
    for modality, pair in beside.items():
        for result, name, what in zip(pair, (FULL_RECIPE, SHIPPED), ("all weights", "adapters"), strict=True):
            (one,) = (record for record in result.calibrations if (record.name, record.modality) == (name, modality))
            cosine = result.value(modality=modality, calibration=name, metric="cosine")
            clean, held = (cell(result, modality, name, model).value for model in ("clean", "adaptive"))
            seen = (f"{one.samples_seen:,}", f"{one.cpu_seconds:.0f}")
            lines.append(
                (modality, what, f"{one.trainable:,}", f"{clean:.1f}", f"**{held:.1f}**", f"{cosine:.3f}", *seen)
            )
    return markdown_table(head, lines) if lines else NO_YARDSTICK


def alarms(work: Path, inputs: Sequence[str]) -> str:
    """The checks on the hardened encoders."""
    checks = [check for one in inputs for check in found_of(work, CASES[0], one).checks]
    about = [one for one in checks if f", {SHIPPED}, " in one.scope]
    counted = {status: sum(one.status == status for one in about) for status in ("pass", "warn", "fail", "skipped")}
    said = ", ".join(f"{count} {status}" for status, count in counted.items())
    rung = [
        f"- {one.code} {one.name} ({one.scope}): {one.status}, {one.detail}"
        for one in about
        if one.status in ("warn", "fail")
    ]
    return "\n".join([f"{len(about)} checks on {', '.join(inputs)}: {said}.", *rung])
