"""C: the whole ensembles, sample by sample: `bindattack("standard")` and AutoAttack standard."""

from collections.abc import Sequence

import torch

from against import libraries
from against.contest import OURS, Contest, Found, Row, Settings, our_attack
from against.measured import Measured
from against.page import number, table, thousands
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Linf

MINE, THEIRS = "bindattack standard", "AutoAttack standard"


def rows(s: Settings) -> list[Row]:
    def autoattack(c: Contest) -> Found:
        return libraries.autoattack_standard(
            c.classifier, c.subject.x.clone(), c.subject.label.clone(), s.eps, s.batch, s.seed
        )

    return [Row("ensemble", "pyautoattack", THEIRS, autoattack), Row("ensemble", OURS, MINE, bindattack)]


def bindattack(c: Contest) -> Found:
    """Its stages as an audit runs them: batch by batch, each with randomness of its own on what still stands, verdicts
    in passes of their own.
    """
    settings, subject, budget = c.settings, c.subject, Linf(c.settings.eps)
    goal, judge = subject.goal(), in_full_batches(c.classifier.embed)
    examples, won = subject.x.clone(), [""] * len(subject.x)

    def fallen(rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), c.classifier.during("verdicts"):
            return goal[rows].reached(judge(examples[rows]))

    ensemble = our_attack("bindattack", "standard")
    for rows in torch.arange(len(examples)).split(settings.batch):
        standing = rows[~fallen(rows)]
        for stage in ensemble.stages:
            if not len(standing):
                break
            rng = PerSample.of(
                settings.seed, [subject.ids[int(row)] for row in standing], f"{stage.name} {budget} top1"
            )
            with c.classifier.during(stage.name):
                found = stage(c.classifier.embed, subject.x[standing], goal[standing], subject.space, budget, rng)
            examples[standing] = found.x
            fell = fallen(standing)
            for row in standing[fell].tolist():
                won[row] = stage.name
            standing = standing[~fell]
    return Found(examples, won)


def agreement(ours_stands: Sequence[bool], theirs_stands: Sequence[bool]) -> dict[str, int]:
    """How many samples: both say stands, both say fallen, only ours felled it, only theirs did."""
    pairs = list(zip(map(bool, ours_stands), map(bool, theirs_stands), strict=True))
    return {
        "both stand": pairs.count((True, True)),
        "both fallen": pairs.count((False, False)),
        "fallen to ours only": pairs.count((False, True)),
        "fallen to theirs only": pairs.count((True, False)),
    }


HEADER = (
    "ensemble",
    "robust accuracy (%)",
    "CPU s",
    "forward with gradient",
    "forward",
    "backward",
    "peak memory (MiB)",
    "largest radius used (of it)",
)


def report(s: Settings, found: dict[Row, Measured]) -> str:
    lines, stages = [], []
    for row, one in found.items():
        if one.error:
            lines.append([row.attack, one.error])
            continue
        cost = one.cost
        lines.append(
            [
                f"{row.attack} ({row.library} {one.version})",
                f"{one.accuracy:.1f}",
                number(one.cpu_s),
                thousands(cost.gradient_forwards),
                thousands(cost.plain_forwards),
                thousands(cost.backwards),
                number(one.peak_mib),
                f"{max(one.norms) / s.eps:.4f}",
            ]
        )
        for stage, part in one.stages.items():
            stages.append(
                [
                    row.attack,
                    stage,
                    "" if "verdicts" in stage else str(one.won.count(stage)),
                    number(part.cpu_s),
                    thousands(part.gradient_forwards),
                    thousands(part.plain_forwards),
                    thousands(part.backwards),
                ]
            )
    texts = [table(HEADER, lines)]
    by_name = {row.attack: one for row, one in found.items() if not one.error}
    if len(by_name) == 2:
        texts.append(compared(by_name[MINE], by_name[THEIRS]))
    if stages:
        stages = [one for one in stages if one[1]]
        header = ("ensemble", "stage", "felled", "CPU s", "forward with gradient", "forward", "backward")
        texts += ["Stage by stage (each attacks what the ones before it left standing):", table(header, stages)]
    return "\n\n".join(texts)


def compared(mine: Measured, theirs: Measured) -> str:
    """Agreement and ratios beside what was asked for, and the samples that only AutoAttack felled."""
    counts = agreement(mine.stands, theirs.stands)
    share = 100 * (counts["both stand"] + counts["both fallen"]) / len(mine.stands)
    missed = [
        (i, theirs.won[i])
        for i, (one, other) in enumerate(zip(mine.stands, theirs.stands, strict=True))
        if one and not other
    ]
    passes, gradients = mine.cost.passes / theirs.cost.passes, mine.cost.backwards / max(theirs.cost.backwards, 1)
    said = [
        f"Per sample ({len(mine.stands)}): {', '.join(f'{name} {count}' for name, count in counts.items())}.",
        f"Agreement {share:.2f} % (asked for: at least 99.5 %, and none that falls to theirs only).",
        f"Ours over theirs: CPU time {number(mine.paced / theirs.paced)}, forward and backward "
        f"passes {number(passes)} (asked for: at most 0.25), "
        f"backward passes alone {number(gradients)}.",
    ]
    if missed:
        said.append(f"Fallen to theirs only: {', '.join(f'sample {i} ({stage})' for i, stage in missed)}.")
    return " ".join(said)
