"""Which alarms ring where none should, and which where they must: `false_alarms.py [tables] [sound] [zoo]`, all three
when none is named.

tables: what every check asks and when it rings, and what every specimen of the zoo must ring, from the code. sound: the
checks of ordinary audits of the built-in encoder, six modalities (audio in both spaces), several seeds; uncalibrated
under the default attack and under the quick look, and calibrated heads. zoo: what rang in `ironbind selftest --full`;
`--selftest DIR` takes what `ironbind selftest --full --out DIR` found. Each goes between its markers in docs/checks.md.
"""

import argparse
import inspect
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ironbind.api import audit
from ironbind.calibration.calibrate import calibrate
from ironbind.core.default_budgets import HEADLINE, comparable
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Check
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.evaluate.checks import CHECKS
from ironbind.recipes import CALIBRATIONS
from ironbind.runs.defaults import BLACK_BOX, DEFAULT_ATTACKS, QUICK_LOOK
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.selftest.broken_encoders import ZOO
from ironbind.selftest.selftest import FULL, Trial, selftest
from ironbind.types import Linf

PAGE = Path(__file__).parents[1] / "docs" / "checks.md"
SAMPLES = 50
SEEDS = 2
CALIBRATION = "center_ce_regularised"
TRAIN = 200


# -------------------------------------------------------------------------------------------------------- from the code


def checks_table() -> str:
    """Every check, in the order of its code."""
    order = sorted(CHECKS.items(), key=lambda item: (int("".join(filter(str.isdigit, item[0]))), item[0]))
    asked = [(code, one, " ".join((inspect.getdoc(one.find) or "").split())) for code, one in order]
    return markdown_table(
        ("code", "check", "what it asks", "fails", "warns", "touches", "source"),
        [
            (code, one.name, asks, one.fails or "–", one.warns or "–", one.about, one.source)
            for code, one, asks in asked
        ],
    )


def zoo_table() -> str:
    """Every specimen, and what must ring."""
    return markdown_table(
        ("specimen", "must ring", "why"), [(f"`{name}`", " or ".join(one.rings), one.why) for name, one in ZOO.items()]
    )


# ------------------------------------------------------------------------------------------------------------- measured


class Tally(NamedTuple):
    """The checks of several audits of one kind."""

    kind: str
    place: str
    checks: list[list[Check]]

    def row(self) -> tuple[object, ...]:
        every = [one for audit in self.checks for one in audit]
        rang = Counter(f"{one.code} ({one.status})" for one in every if one.status in ("warn", "fail"))
        said = ", ".join(f"{code} in {count}" for code, count in sorted(rang.items())) or "none"
        return self.place, self.kind, len(self.checks), sum(one.status != "skipped" for one in every), said


def tallies(samples: int, seeds: int) -> Iterator[Tally]:
    """One for every input and kind of audit, at the headline radius."""
    encoder = load_encoder("tiny")
    for modality, space in FULL:
        found: dict[str, list[list[Check]]] = {}
        budget = comparable(Linf(HEADLINE), space)
        for seed in range(seeds):
            task = zero_shot(encoder, load_dataset("world", split="test", n=samples, seed=seed), modality, space=space)
            hardened = calibrate(task, CALIBRATIONS[CALIBRATION](seed=seed), samples=TRAIN)
            for kind, subject, attacks in (
                ("default attack", task, DEFAULT_ATTACKS),
                ("quick look", task, QUICK_LOOK),
                (f"`{CALIBRATION}`, default attack", task.on(hardened), DEFAULT_ATTACKS),
            ):
                checks = audit(subject, attacks, budget, seed=seed, black_box=BLACK_BOX).checks
                found.setdefault(kind, []).append(checks)
        for kind, checks in found.items():
            yield Tally(kind, f"{modality} ({space})", checks)


def sound_table(samples: int, seeds: int) -> str:
    rows = []
    for one in tallies(samples, seeds):
        rows.append(one.row())
        print(*one.row(), sep=" | ", flush=True)
        for checks in one.checks:
            print(
                *(
                    f"    {check.code} {check.status}: {check.detail}"
                    for check in checks
                    if check.status in ("warn", "fail")
                ),
                sep="\n",
            )
    head = ("input", "audit", "seeds", "checks run", "rang")
    about = f"{samples} samples per audit, at 4/255 (waveform: 0.8/255); a seed draws samples, attacks and heads."
    return f"{markdown_table(head, rows)}\n\n{about}"


def found_table(trials: Sequence[Trial]) -> str:
    """What rang in a self-test: a line per encoder, a column per input."""
    places = list(dict.fromkeys((one.modality, one.space) for one in trials))
    encoders = list(dict.fromkeys((one.encoder, one.expected) for one in trials))
    of = {(one.encoder, (one.modality, one.space)): one for one in trials}
    rows = [
        (f"`{name}`", " or ".join(expected) or "nothing", *(_cell(of[name, place]) for place in places))
        for name, expected in encoders
    ]
    passed = sum(one.passed for one in trials)
    head = ("encoder", "must ring", *(f"{modality} ({space})" for modality, space in places))
    return f"{markdown_table(head, rows)}\n\n{passed} of {len(trials)} trials came out as they must."


def _cell(trial: Trial) -> str:
    rang = " ".join(f"**{code}**" if code in trial.expected else code for code in trial.rang) or "–"
    return rang if trial.passed else f"{rang}: **not as it must**"


def trials_in(folder: Path) -> list[Trial]:
    """Those of `ironbind selftest --out`."""
    found = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))["trials"]
    return [Trial(**{**one, "expected": tuple(one["expected"])}) for one in found]


def main(parts: Sequence[str], samples: int, seeds: int, tested: Path | None) -> None:
    torch.set_num_threads(1)
    if "tables" in parts:
        put(PAGE, "checks", checks_table())
        put(PAGE, "zoo", zoo_table())
    if "zoo" in parts:
        put(PAGE, "found", found_table(trials_in(tested) if tested else selftest(full=True)))
    if "sound" in parts:
        put(PAGE, "sound", sound_table(samples, seeds))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("parts", nargs="*", choices=["tables", "sound", "zoo"], default=["tables", "sound", "zoo"])
    options.add_argument("--samples", type=int, default=SAMPLES)
    options.add_argument("--seeds", type=int, default=SEEDS)
    options.add_argument("--selftest", type=Path, help="folder of a self-test, instead of running it")
    given = options.parse_args()
    main(given.parts, given.samples, given.seeds, given.selftest)
