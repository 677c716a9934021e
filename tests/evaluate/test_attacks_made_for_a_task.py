"""Attacks that are made for a task: once for every encoder examined, and honestly named when the attacker looks into
none of them.
"""

from dataclasses import dataclass, field

import pytest
import torch

from ironbind.attacks import APGD, EOT, PGD, Ensemble, MixedPrecision, Square, Transfer
from ironbind.attacks.on_alarm import OnAlarm
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import INDEX, THREAT_MODELS
from ironbind.evaluate.attack_variants import to_the_end, with_longer_steps, with_more_steps
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import Attack, AttackFactory, Linf
from toys import Conv, Linear, ToyData, audit

N = 16
LADDER = (Linf("1/255"), Linf("3/255"))


@dataclass(frozen=True)
class Suit:
    """`attack`, and a note of every task it was made for."""

    attack: object
    made: list = field(default_factory=list, compare=False, repr=False)
    name = "suit"

    def for_task(self, task, ladder, folder):
        self.made.append((task.encoder.name, tuple(one.written for one in ladder), folder.is_dir()))
        return self.attack


def task(encoder=None):
    return zero_shot(encoder or Conv(), ToyData(N), "image")


def bent():
    head = IdentityLinear(16)
    with torch.no_grad():
        head.linear.weight[0, 1] += 0.3
    return Calibrated(Conv(), {"image": head}, "bent", "linear")


def without(rows, *columns):
    return [tuple(value for column, value in vars(row).items() if column not in columns) for row in rows]


def test_it_is_no_attack_itself():
    assert isinstance(Suit(PGD()), AttackFactory)
    assert not isinstance(Suit(PGD()), Attack)
    assert not isinstance(PGD(), AttackFactory)


def test_it_is_made_once_for_every_encoder():
    suit = Suit(PGD(steps=3))
    made = audit(task(bent()), suit, LADDER, checks=False)
    assert suit.made == [("conv", ("1/255", "3/255"), True), ("conv+bent", ("1/255", "3/255"), True)]
    plain = audit(task(bent()), PGD(steps=3), LADDER, checks=False)
    assert without(made.rows, "attack") == without(plain.rows, "attack")
    assert {row.attack for row in made.rows} == {"none", "suit"}
    assert made.threat_models == plain.threat_models  # which name the attack that ran, knobs and all


def test_an_ensemble_that_is_made_is_taken_apart(tmp_path):
    stages = (PGD(steps=1), PGD(steps=4, loss="ce"))
    made = audit(task(), Suit(Ensemble("both", stages)), LADDER, checks=False, out=tmp_path)
    assert without(made.rows, "attack") == without(audit(task(), stages, LADDER, checks=False).rows, "attack")
    won = {line.split(",")[14] for line in (tmp_path / "verdicts.csv").read_text().splitlines()[1:]}
    assert {"clean", "pgd1-margin 3/255"} <= won


def test_an_attacker_who_looks_elsewhere_has_a_threat_model_of_his_own():
    attack = Transfer.of(task(Linear()), PGD(steps=4, stop_when_reached=False))
    result = audit(task(bent()), attack, LADDER, checks=False, threat_model="transfer")
    assert {(row.calibration, row.threat_model) for row in result.rows} == {
        (c, t) for c in ("none", "bent") for t in ("clean", "transfer")
    }
    alone = audit(task(), attack, LADDER, checks=False, threat_model="transfer")
    assert [row for row in result.rows if row.calibration == "none" and not row.task.startswith(INDEX)] == alone.rows
    assert {one.knowledge for one in result.threat_models} == {f"transfer: {THREAT_MODELS['transfer']}"}
    white = audit(task(), PGD(steps=4), LADDER, checks=False)
    assert (
        white.value(metric="top1", eps="3/255")
        <= alone.value(metric="top1", eps="3/255")
        < alone.value(metric="top1", eps="0")
    )


@pytest.mark.parametrize(
    "wrap",
    [lambda one: EOT(one, 3), lambda one: MixedPrecision(one, torch.abs), OnAlarm],
    ids=["eot", "mixed", "alarm"],
)
def test_a_wrapped_attack_goes_to_the_end_too(wrap):
    assert to_the_end(wrap(PGD(steps=3))) == wrap(PGD(steps=3, stop_when_reached=False))
    assert to_the_end(EOT(wrap(PGD(steps=3)), 2)) == EOT(wrap(PGD(steps=3, stop_when_reached=False)), 2)
    assert to_the_end(wrap(Square(queries=5))).attack == to_the_end(Square(queries=5))


@pytest.mark.parametrize(
    "wrap", [lambda one: EOT(one, 3), lambda one: MixedPrecision(one, torch.abs)], ids=["eot", "mixed"]
)
def test_a_wrapped_attack_is_checked_like_any_other(wrap):
    assert with_more_steps(wrap(PGD(steps=3)), 2) == wrap(PGD(steps=6))
    assert with_longer_steps(wrap(PGD(steps=10)), 2) == wrap(PGD(steps=10, step_size=0.5))
    assert with_more_steps(wrap(Square()), 2) is None
    assert with_longer_steps(wrap(APGD()), 2) is None
