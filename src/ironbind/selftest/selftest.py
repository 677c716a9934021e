"""Check C19: ironbind tested on encoders whose faults, or whose robustness, are known. The test fails where a check
misses a fault, and where one warns without reason.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ironbind.attacks import bindattack
from ironbind.certification.smoothing import Smoothing
from ironbind.core.default_budgets import HEADLINE, comparable
from ironbind.core.results import Check, Result, write_atomically
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.evaluate.audit import audit
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.protocols.certified import CertifiedRadius, TopK, certificates_hold
from ironbind.evaluate.provenance import about_run
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.runs.defaults import BLACK_BOX, CERTIFICATE_ATTACK, QUICK_LOOK
from ironbind.runs.progress import Listener, Progress, no_listener
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.selftest.broken_encoders import REFUSED, ZOO
from ironbind.selftest.certified_encoder import Boasting, Waves
from ironbind.types import Budget, Encoder, InputError, Linf

SAMPLES = 24
BRIEF = (("image", "pixels"),)
FULL = (
    ("image", "pixels"),
    ("video", "pixels"),
    ("audio", "logmel"),
    ("audio", "waveform"),
    ("point", "unit_sphere"),
    ("thermal", "pixels"),
    ("event", "event_frames"),
)
CERTIFIED = (("linf", "thorough"), ("l2", "standard"))
SMOOTHED = ((1.0, ()), (8.0, ("C19",)))
"""Certificates as they are proven, and with radii that promise so many times too much."""
SMOOTHING = Smoothing(0.05, draws=200)


@dataclass(frozen=True)
class Trial:
    """The self-test of one encoder. `expected`: codes of which at least one must warn or fail; () for an encoder on
    which none may. `rang`: code -> "warn" or "fail". `passed`: whether the outcome is the expected one; `found`: the
    outcome in a phrase.
    """

    modality: str
    space: str
    encoder: str
    expected: tuple[str, ...]
    rang: dict[str, str]
    passed: bool
    found: str


def selftest(
    seed: int = 0, full: bool = False, samples: int = SAMPLES, listener: Listener = no_listener
) -> list[Trial]:
    """The zoo, the sound encoder and a provably robust one under the attacks and checks of an ordinary audit, on the
    built-in encoder and world; its certificates, and some that promise too much, under attack.

    `full`: all six modalities, audio in both its spaces, rather than images alone.
    """
    trials: list[Trial] = []
    encoder = load_encoder("tiny")
    for modality, space in FULL if full else BRIEF:
        task = zero_shot(encoder, load_dataset("world", split="test", n=samples, seed=seed), modality, space=space)
        total = 1 + len(ZOO) + len(CERTIFIED) + len(SMOOTHED)
        for done, trial in enumerate(_trials(task, seed)):
            trials.append(trial)
            listener(
                Progress(f"{modality} {space}" if modality == "audio" else modality, trial.encoder, done + 1, total)
            )
    return trials


def _trials(task: ZeroShot, seed: int) -> Iterator[Trial]:
    yield zoo_trial(task, "sound", task.encoder, (), seed)
    clean = task.load(range(len(task)))
    for name, specimen in ZOO.items():
        yield zoo_trial(task, name, specimen.make(task.encoder, clean), specimen.rings, seed)
    for norm, setting in CERTIFIED:
        yield certified_trial(task, norm, setting, seed)
    with TemporaryDirectory() as folder:  # draws of the noise, which all certificates of the encoder rest on
        for factor, expected in SMOOTHED:
            yield smoothed_trial(task, factor, expected, seed, Path(folder))


def zoo_trial(task: ZeroShot, name: str, encoder: Encoder, expected: tuple[str, ...], seed: int) -> Trial:
    """An ordinary audit of `encoder` at the headline radius."""
    budget = comparable(Linf(HEADLINE), task.space.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # several specimens draw from torch's own generator
        try:
            result = audit(task.on(encoder), QUICK_LOOK, budget, RunContext(seed=seed, black_box=BLACK_BOX))
            alarms, finding = _alarms(result.checks), _accuracies(result)
        except InputError as error:
            alarms, finding = {REFUSED: "fail"}, str(error).split(";")[0]
    passed = bool(set(expected) & set(alarms)) if expected else not alarms
    return Trial(task.modality, task.space.name, name, expected, alarms, passed, finding)


def _alarms(checks: Sequence[Check]) -> dict[str, str]:
    return {check.code: check.status for check in checks if check.status in ("warn", "fail")}


def _accuracies(result: Result) -> str:
    clean, attacked = (result.value(metric="top1", threat_model=model) for model in ("clean", "whitebox"))
    return f"{clean:.0f} % clean, {attacked:.0f} % at {result.select(threat_model='whitebox')[0].eps}"


def certified_trial(task: ZeroShot, norm: str, setting: str, seed: int) -> Trial:
    """`bindattack` against an encoder whose robustness is known, at the radius where half of its samples are
    proven robust: none of those may be broken. In linf, where the bound is exact, at least half of the others must be.
    """
    indices = list(range(len(task)))
    x, label = task.load(indices), torch.tensor([task.dataset.labels[index] for index in indices])
    waves = Waves(task.encoder.inputs[task.modality], task.space.name, x, seed=seed)
    question = ZeroShot(
        waves, task.dataset, task.modality, task.space, given_centers=waves.centers(x, label, task.dataset.classes)
    )
    right = question.goal(indices).rank(waves.embed(task.modality, x)) == 1

    def proven(budget: Budget) -> torch.Tensor:
        return right & waves.safe(x, label, question.centers, task.space, budget)

    budget = half_proven(norm, lambda budget: int(proven(budget).sum()), int(right.sum()))
    store = VerdictStore()
    result = audit(question, bindattack(setting), budget, RunContext(store, seed), checks=False)
    key = store.labelled(label_of(result.select(threat_model="whitebox")[0]))
    assert key is not None
    verdicts = store.verdicts(key)
    store.close()
    robust = torch.tensor([verdicts[task.dataset.ids[index]].rank == 1 for index in indices])
    safe = proven(budget)
    broken, others_broken, others = (
        int((safe & ~robust).sum()),
        int((right & ~safe & ~robust).sum()),
        int((right & ~safe).sum()),
    )
    finding = (
        f"{broken} of {int(safe.sum())} proven samples fell, {others_broken} of the {others} others, "
        f"{norm} {budget.written}"
    )
    return Trial(
        task.modality,
        task.space.name,
        f"waves ({setting})",
        (),
        {},
        not broken and (norm != "linf" or 2 * others_broken >= others),
        finding,
    )


def smoothed_trial(task: ZeroShot, factor: float, expected: tuple[str, ...], seed: int, folder: Path) -> Trial:
    """Certificates of the encoder by randomised smoothing, attacked within `factor` times their radius. Its draws are
    kept in `folder`.
    """
    by = SMOOTHING if factor == 1 else Boasting(SMOOTHING, factor)
    store = VerdictStore(folder)
    evaluator = Evaluator(task, CertifiedRadius(by, (TopK(1),)), RunContext(store, seed))
    check = certificates_hold(evaluator, CERTIFICATE_ATTACK)
    proven = any(verdict.distance for verdict in evaluator.verdicts_at(0).values())
    store.close()
    rang = _alarms([check])
    passed = bool(set(expected) & set(rang)) if expected else proven and not rang
    return Trial(task.modality, task.space.name, by.name, expected, rang, passed, check.detail)


def half_proven(norm: str, count: Callable[[Budget], int], total: int) -> Budget:
    """The largest radius (to 1 %) at which at least half of `total` samples are still proven robust."""
    low, high = 1e-8, 1e4
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if 2 * count(Budget(norm, middle, f"{middle:.3g}")) >= total else (low, middle)
    return Budget(norm, low, f"{low:.3g}")


# -------------------------------------------------------------------------------------------------------- what is shown


def table(trials: Sequence[Trial]) -> Any:
    """A rich table: for each encoder the checks that had to warn or fail, and those that did."""
    from rich.table import Table

    shown = Table(
        "encoder", "must ring", "rang", "found", "", title="self-test: alarms that must ring, and some that must not"
    )
    for trial in trials:
        alarms = (
            " ".join(f"[bold]{code}[/bold]" if code in trial.expected else code for code in trial.rang) or "nothing"
        )
        expected = " or ".join(trial.expected) or "nothing"
        shown.add_row(
            f"{trial.modality} {trial.encoder}",
            expected,
            alarms,
            trial.found,
            "[green]✓[/green]" if trial.passed else "[red]✗[/red]",
        )
    return shown


def verdict(trials: Sequence[Trial]) -> str:
    """The last line: how many trials came out as they must, and which did not."""
    wrong = [trial for trial in trials if not trial.passed]
    line = f"{len(trials) - len(wrong)} of {len(trials)} trials came out as they must"
    return line + "".join(f"; {trial.modality} {trial.encoder}: {_failure(trial)}" for trial in wrong)


def _failure(trial: Trial) -> str:
    if trial.expected:
        return f"none of {', '.join(trial.expected)} rang"
    return f"{', '.join(trial.rang)} rang" if trial.rang else trial.found


def write(trials: Sequence[Trial], folder: Path, seed: int) -> Path:
    """Writes `selftest.json` into `folder`: the trials, and the record of the run."""
    path = folder / "selftest.json"
    about = {
        "record": about_run(seed),
        "passed": all(trial.passed for trial in trials),
        "trials": [asdict(trial) for trial in trials],
    }
    write_atomically(path, json.dumps(about, indent=1))
    return path
