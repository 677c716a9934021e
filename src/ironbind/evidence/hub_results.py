"""The numbers of a run as model hubs read them: `model-index` in a model card, `.eval_results/*.yaml`.

Replayed numbers are left out: a hub shows a number without its threat model's other half.
"""

from collections.abc import Sequence
from typing import Protocol

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import THREAT_MODELS, UNCHECKED, Result, Row

TASKS = {"image": "zero-shot-image-classification", "video": "video-classification", "audio": "audio-classification"}
"""Task types of the Hub; it has none for the other modalities."""
OTHER_TASK = "zero-shot-classification"
SHOWN = ("clean", "whitebox", "adaptive", "transfer")
UNREGISTERED = (
    "# dataset.id is the name that the data set has in the run. The Hub shows an entry where id and task_id are those\n"
    "# of a registered benchmark.\n"
)


class Exhibit(Protocol):
    """What a card says of the examples of one number."""

    @property
    def row(self) -> Row: ...

    @property
    def broken(self) -> int: ...

    @property
    def examples(self) -> tuple[object, ...]: ...

    @property
    def missing(self) -> str: ...

    def count(self, fact: str) -> int: ...


def eval_results_yaml(result: Result) -> str:
    """The `.eval_results/*.yaml` of a run: one entry per top-1 number, in percent."""
    entries = [
        EvalResultEntry(
            dataset_id=_data(result),
            task_id=_metric_name(row),
            value=round(row.value, 4),
            date=result.record.get("date"),
            notes=_notes(row),
        )
        for row in _shown(result)
    ]
    return UNREGISTERED + yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)


def model_card(result: Result, exhibits: Sequence[Exhibit]) -> str:
    """The card: numbers as `model-index` for the Hub, examples and what quantisation left of them for readers."""
    encoder = result.record.get("encoder") or {}
    name = encoder.get("name") or next((row.encoder for row in result.rows), "encoder")
    evaluated = [
        EvalResult(
            task_type=TASKS.get(row.modality, OTHER_TASK),
            dataset_type=_data(result),
            dataset_name=_data(result),
            metric_type="accuracy",
            metric_name=_metric_name(row),
            metric_value=round(row.value, 4),
            verified=False,
        )
        for row in _shown(result)
    ]
    tags = ["ironbind", "adversarial-robustness"]
    data = ModelCardData(model_name=name, eval_results=evaluated, tags=tags)
    blocks = [
        f"---\n{data.to_yaml()}\n---",
        f"# Robustness evidence: {name} on {_data(result)}",
        f"Run `{result.name}` of {str(result.record.get('date', 'no date'))[:10]}, weights sha256 "
        f"`{encoder.get('weights_sha256', 'unknown')}`, data fingerprint "
        f"`{result.record.get('data_fingerprint', 'unknown')}`. Made by `{result.record.get('command', 'unknown')}`.",
        "## Numbers",
        _numbers(result),
        "## Examples",
        _examples(exhibits),
        "## Files",
        FILES,
    ]
    return "\n\n".join(blocks) + "\n"


FILES = """\
- `examples.csv`: one line per adversarial example: its file, the clean twin beside it, the budget, the distance between
  the two files, the class that the encoder gives each of them, and the file's sha256.
- `examples/`: the files. Pictures are PNG (thermal: 16 bits), clips MP4 (lossless), sounds WAV, point clouds PLY. A
  space that no such file holds (log-mel spectrograms, event frames) is an array, `.npy` or `.npz`.
- `exact/`: the same examples and twins in float32, as they were attacked.
- `evidence.json`: all of it with attack, threat model and checks. `table.csv`: the numbers of the run.
- `CONTROLS.md`: which controls of OWASP AISVS and which techniques of MITRE ATLAS this is about.
- `SHA256SUMS`: `sha256sum -c SHA256SUMS` checks every file.

An 8-bit file rounds. Where the budget is on the largest change, the rounded example stays within the budget around the
clean file; below half a grey level that file is the clean one."""


def _numbers(result: Result) -> str:
    lines = [
        (
            f"{row.modality} ({row.space})",
            row.calibration,
            "–" if row.threat_model == "clean" else f"{row.norm} {row.eps}",
            row.threat_model,
            f"{row.value:.1f} ({row.ci_low:.1f}–{row.ci_high:.1f})",
            row.n,
            "not run" if row.checks == UNCHECKED else row.checks or "all passed",
        )
        for row in _shown(result)
    ]
    head = ("input", "calibration", "budget", "threat model", "top-1 (%, 95 %)", "n", "checks")
    shown = dict.fromkeys(row.threat_model for row in _shown(result))
    meanings = "\n".join(f"- **{name}**: {THREAT_MODELS[name]}" for name in shown)
    return f"{markdown_table(head, lines)}\n\n{meanings}"


def _examples(exhibits: Sequence[Exhibit]) -> str:
    lines = [
        (
            f"{each.row.modality} ({each.row.space})",
            each.row.calibration,
            f"{each.row.threat_model} {each.row.norm} {each.row.eps}",
            each.broken,
            len(each.examples),
            each.count("exact_adversarial"),
            each.count("adversarial"),
            each.count("within_budget"),
            each.missing,
        )
        for each in exhibits
    ]
    head = (
        "input", "calibration", "attack", "samples broken", "written", "adversarial in float32",
        "adversarial as a file", "file within budget", "remark",
    )  # fmt: skip
    return markdown_table(head, lines)


def _shown(result: Result) -> list[Row]:
    return [row for row in result.select(task="zero_shot", metric="top1") if row.threat_model in SHOWN]


def _metric_name(row: Row) -> str:
    budget = "clean" if row.threat_model == "clean" else f"{row.norm} {row.eps} {row.threat_model}"
    calibration = "" if row.calibration == "none" else f", {row.calibration}"
    return f"top-1, {row.modality} ({row.space}), {budget}{calibration}"


def _notes(row: Row) -> str:
    checks = "checks not run" if row.checks == UNCHECKED else f"checks: {row.checks or 'all passed'}"
    interval = f"95 % interval {row.ci_low:.2f} to {row.ci_high:.2f}, n = {row.n}"
    return f"zero-shot, percent; attack: {row.attack}; {interval}; {checks}"


def _data(result: Result) -> str:
    return str(result.record.get("data") or "unnamed data")
