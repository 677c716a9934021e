"""A run folder -> a folder of evidence: examples as files, clean twins, `examples.csv`, `evidence.json`, the exact
float32 arrays, and the numbers as hubs read them.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ironbind.core.default_budgets import headline_of
from ironbind.core.epsilon import Epsilon, ascending
from ironbind.core.errors import InputError, writing
from ironbind.core.results import Result, Row, table_csv, write_atomically
from ironbind.core.tables.csv_text import csv_text
from ironbind.evaluate.run_context import RunContext, run_context
from ironbind.evaluate.store.verdicts_csv import PLACE, label_of
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.evaluate.verdict_examples import Example
from ironbind.evidence.controls import controls_markdown
from ironbind.evidence.file_forms import FileForm, form_of
from ironbind.evidence.hub_results import eval_results_yaml, model_card
from ironbind.modalities import MODALITIES
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import distance
from ironbind.numerics.sample_random import seed_of
from ironbind.runs.stored_jobs.jobs_file import StoredJob, read_jobs
from ironbind.runs.stored_jobs.open_run import JobEvaluators, open_run
from ironbind.types import backbone_of, calibration_of, title_of

COLUMNS = (
    "sample", "modality", "file", "clean_file", "eps", "norm", "distance", "label", "clean_prediction", "prediction",
    "sha256",
)  # fmt: skip
"""Of `examples.csv`. Paths are relative to the pack; distance, predictions and hash are those of the files."""
ATTACKED = ("whitebox", "adaptive", "transfer")
SAMPLES = 8
RECORD = "evidence.json"
"""Its presence tells a pack from another folder."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exhibits:
    """One number of the table, `row`, and its examples as records. `broken`: samples that the attack turned from right
    to wrong; `missing`: why there are no examples, "" where there are.
    """

    row: Row
    broken: int
    examples: tuple[dict[str, Any], ...]
    missing: str = ""

    @property
    def line(self) -> str:
        """For the terminal: how many examples there are, and how many are still adversarial as files."""
        row = self.row
        counts = (
            f"{len(self.examples)} of {self.broken} broken samples, {self.count('exact_adversarial')} adversarial in "
            f"float32, {self.count('adversarial')} as files"
        )
        whose = f"{row.encoder} {row.calibration}" if "+" in row.encoder else row.calibration
        of_row = f"{row.modality}/{row.space} {row.norm} {row.eps} {row.threat_model} {whose}"
        return f"{of_row}: {'; '.join(part for part in (self.examples and counts, self.missing) if part)}"

    def count(self, fact: str) -> int:
        """Of how many examples a fact is true."""
        return sum(bool(example[fact]) for example in self.examples)


def write_pack(
    folder: Path,
    out: Path,
    *,
    modalities: Sequence[str] = (),
    eps: Sequence[str] = (),
    samples: int = SAMPLES,
    progress: Progress = lambda done, total: None,
) -> tuple[Exhibits, ...]:
    """Writes the evidence of a finished run into `out`: of every zero-shot number under attack (adaptive, white-box,
    transfer) at these `eps` (by default the headline one) up to so many `samples` that the attack turned from right to
    wrong. Examples that the run did not store are crafted again and checked against their verdicts.

    Raises InputError for a folder without a result or jobs, where nothing is attacked or nothing can be had, and for
    `out` that holds something else than a pack.
    """
    folder, out = Path(folder), Path(out)
    result = open_run(folder)
    jobs = read_jobs(folder)
    rows = _chosen(result, modalities, eps)
    _refuse(folder, out)
    found = []
    for number, row in enumerate(rows):
        progress(number, len(rows))
        found.append(_exhibits(folder, result, jobs, row, out, samples))
    progress(len(rows), len(rows))
    if not any(each.examples for each in found):
        reasons = "; ".join(dict.fromkeys(each.missing for each in found))
        raise InputError(f"{folder}: no example can be shown: {reasons}")
    _write_tables(out, folder, result, found)
    return tuple(found)


def _chosen(result: Result, modalities: Sequence[str], eps: Sequence[str]) -> list[Row]:
    rows = [row for row in result.select(task="zero_shot", metric="top1") if row.threat_model in ATTACKED]
    for name in modalities:
        if name not in {row.modality for row in rows}:
            held = ", ".join(dict.fromkeys(row.modality for row in rows)) or "nothing under attack"
            raise InputError(f"--modality {name}: the run attacked {held}")
    rows = [row for row in rows if not modalities or row.modality in modalities]
    if not rows:
        raise InputError(f"run {result.name!r} holds no zero-shot number under attack; expected at least one")
    measured = list(dict.fromkeys(row.eps for row in rows))
    unknown = next((each for each in eps if each not in measured), None)
    if unknown is not None:
        raise InputError(f"--eps {unknown}: the run attacked at {', '.join(measured)}")
    if eps:
        return [row for row in rows if row.eps in eps]
    return [row for row in rows if row.eps == _headline(rows, row)]


def _headline(rows: Sequence[Row], row: Row) -> str:
    alike = {other.eps for other in rows if (other.modality, other.space) == (row.modality, row.space)}
    return headline_of(ascending(alike), row.space)


def _refuse(folder: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; expected a new or empty folder")
    if out.resolve() == folder.resolve() or (out.is_dir() and any(out.iterdir()) and not (out / RECORD).exists()):
        raise InputError(f"--out {out}: holds something else than an evidence pack; expected a new or empty folder")


def _exhibits(folder: Path, result: Result, jobs: Sequence[StoredJob], row: Row, out: Path, samples: int) -> Exhibits:
    place = dict(zip(PLACE, label_of(row), strict=True))
    with run_context(out=folder) as context:
        broken = _broken(result, row, context)
        chosen = sorted(broken, key=lambda sample: seed_of(0, "evidence", sample))[:samples]
        if not chosen:
            return Exhibits(row, 0, (), "the attack turned no sample from right to wrong")
        task = _task(folder, jobs, place, context)
    examples, missing = _examples(result, sorted(chosen), place)
    records = tuple(_written(task, row, example, out, number) for number, example in enumerate(examples))
    return Exhibits(row, len(broken), records, missing)


def _examples(result: Result, samples: list[str], place: dict[str, str]) -> tuple[list[Example], str]:
    """The examples that can be had, and why others cannot, "" where all can."""
    try:
        return result.examples(samples, **place), ""
    except InputError as error:
        if len(samples) == 1:
            return [], str(error)
    found, reasons = [], []  # one that cannot be had does not take the others along
    for sample in samples:
        examples, reason = _examples(result, [sample], place)
        found += examples
        reasons += [reason] if reason else []
    return found, f"{len(reasons)} of {len(samples)} cannot be had: {reasons[0]}" if reasons else ""


def _broken(result: Result, row: Row, context: RunContext) -> list[str]:
    """Ids of the samples that are right when clean and wrong under the attack of the row."""
    clean = next(
        other
        for other in result.rows
        if other.threat_model == "clean"
        and (other.encoder, other.calibration, other.modality, other.space, other.task)
        == (row.encoder, row.calibration, row.modality, row.space, row.task)
    )
    before, after = (
        context.store.verdicts(key) if (key := context.store.labelled(label_of(each))) else {} for each in (clean, row)
    )
    return [sample for sample, verdict in after.items() if verdict.rank > 1 and before[sample].rank == 1]


def _task(folder: Path, jobs: Sequence[StoredJob], place: dict[str, str], context: RunContext) -> ZeroShot:
    """The task behind a number, with the encoder that was attacked."""
    for job in jobs:
        if job.job.modality == place["modality"]:
            for evaluator in JobEvaluators(folder, job, place)(context):
                task = evaluator.task
                own = title_of(task.encoder), calibration_of(task.encoder)
                if isinstance(task, ZeroShot) and own == (place["encoder"], place["calibration"]):
                    return task
    raise InputError(f"{folder}: its jobs hold no audit of {' '.join(place.values())}")


def _written(task: ZeroShot, row: Row, example: Example, out: Path, number: int) -> dict[str, Any]:
    """Writes one example and its twin, reads both back, and says what the files hold."""
    adversarial, clean = (x.double().numpy() for x in (example.adversarial, example.clean))
    form = form_of(row.modality, row.space, adversarial.shape)
    linf = Epsilon.from_table(row.eps).value if row.norm == "linf" else None
    behind = f"{row.encoder}-" if "+" in row.encoder else ""  # a test-time defence
    number_of = f"{behind}{row.calibration}-{row.threat_model}-{row.norm}-{row.eps}"
    of_number = Path(row.modality) / row.space / _safe(number_of)
    stem = f"{number:03d}-{_safe(example.sample)}"
    clean_in_file = form.clean(clean)
    contents = {
        f"examples/{of_number}/{stem}{form.suffix}": (form, form.adversarial(adversarial, clean_in_file, linf)),
        f"examples/{of_number}/{stem}-clean{form.suffix}": (form, clean_in_file),
        f"exact/{of_number}/{stem}.npy": (EXACT, adversarial),
        f"exact/{of_number}/{stem}-clean.npy": (EXACT, clean),
    }
    rate = int(getattr(backbone_of(task.encoder), "sample_rate", 16000))
    for name, (file_form, x) in contents.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with writing(out / name):
            file_form.write(x, out / name, rate)
    names = list(contents)
    hashes = [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names]
    exact, exact_clean = (_predicted(task, EXACT, out / name) for name in names[2:])
    predicted, clean_predicted = (_predicted(task, form, out / name) for name in names[:2])
    label = task.dataset.classes[task.dataset.labels[list(task.dataset.ids).index(example.sample)]]

    def far_apart(file_form: FileForm, name: str, twin: str) -> float:
        x, y = (torch.from_numpy(file_form.read(out / each))[None] for each in (twin, name))
        return float(distance(y, x, task.space, row.norm)[0])

    far, exact_far = far_apart(form, names[0], names[1]), far_apart(EXACT, names[2], names[3])
    return {
        "sample": example.sample,
        "modality": row.modality,
        "file": names[0],
        "clean_file": names[1],
        "eps": row.eps,
        "norm": row.norm,
        "distance": far,
        "label": label,
        "clean_prediction": clean_predicted,
        "prediction": predicted,
        "sha256": hashes[0],
        "clean_sha256": hashes[1],
        "space": row.space,
        "calibration": row.calibration,
        "threat_model": row.threat_model,
        "won_by": example.verdict.won_by,
        "exact_file": names[2],
        "exact_clean_file": names[3],
        "exact_sha256": hashes[2],
        "exact_clean_sha256": hashes[3],
        "exact_distance": exact_far,
        "exact_clean_prediction": exact_clean,
        "exact_prediction": exact,
        "radius": Epsilon.from_table(row.eps).value,
        "within_budget": far <= Epsilon.from_table(row.eps).value * (1 + ROUNDING),
        "adversarial": predicted != label and clean_predicted == label,
        "exact_adversarial": exact != label and exact_clean == label,
    }


EXACT = form_of("", "", ())
ROUNDING = 1e-5  # of the radius: float32 differences, as in `numerics.norms`


def _predicted(task: ZeroShot, form: FileForm, path: Path) -> str:
    """The class that the encoder gives a file, through its own reader and preparation where it reads such files."""
    spec = task.encoder.inputs[task.modality]
    if form.decodes and task.space.name == spec.space.name:
        x = spec.prepare(MODALITIES[task.modality].read(path))[None]
        x = task.bring(x.float())
    else:
        x = torch.from_numpy(form.read(path)).float()[None].to(task.device)
    with frozen(task.encoder), torch.no_grad():
        return task.answers(task.embed(x), 1)[0][0][0]


def _safe(name: str) -> str:
    """A file name from any text: letters, digits, `.`, `-` and `_`, none of the last three in front."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[-80:].strip("._-") or "sample"


def _write_tables(out: Path, folder: Path, result: Result, found: Sequence[Exhibits]) -> None:
    examples = [example for each in found for example in each.examples]
    write_atomically(
        out / "examples.csv",
        csv_text(COLUMNS, ([_csv(example[column]) for column in COLUMNS] for example in examples)),
    )
    write_atomically(out / "table.csv", table_csv(result.rows))
    files = {
        "README.md": model_card(result, found),
        "CONTROLS.md": f"# What this pack shows, and what it does not\n\n{controls_markdown()}\n",
        ".eval_results/ironbind.yaml": eval_results_yaml(result),
    }
    for name, text in files.items():
        write_atomically(out / name, text)
    record = {
        "run": folder.name,
        "record": result.record,
        "numbers": [
            {
                **asdict(each.row),
                "broken": each.broken,
                "written": len(each.examples),
                "exact_adversarial": each.count("exact_adversarial"),
                "adversarial": each.count("adversarial"),
                "within_budget": each.count("within_budget"),
                "missing": each.missing,
            }
            for each in found
        ],
        "checks": [asdict(check) for check in result.checks if check.status != "pass"],
        "examples": examples,
    }
    write_atomically(out / RECORD, json.dumps(record, indent=1))
    named = sorted({example[key] for example in examples for key in example if key.endswith("file")})
    tables = ["examples.csv", "table.csv", RECORD, *files]
    sums = "".join(f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in [*tables, *named])
    write_atomically(out / "SHA256SUMS", sums)


def _csv(cell: Any) -> Any:
    return repr(cell) if isinstance(cell, float) else cell
