"""One search per sample says what an audit at every radius would: rows, quartiles, calibrated encoders, resume,
refusals.
"""

import csv
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from ironbind.attacks import EOT, FMN, PGD, CarliniWagner
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.default_budgets import round_up, spanning
from ironbind.evaluate.attack_variants import seeks_nearest
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.illusion import HubTask, IllusionTask
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.norms import distance
from ironbind.types import L2, SNR, Attacked, Budget, EventShare, InputError, Linf
from toys import Conv, Counting, ToyData, audit, curve, nearest

N = 24
ATTACK = FMN(15)
LARGEST = Linf("16/255")
RADII = tuple(Linf(one) for one in ("1/255", "2/255", "3/255", "5/255", "8/255"))


def pictures(encoder=None, n=N):
    return zero_shot(encoder or Conv(), ToyData(n), "image")


def searched(task, **more) -> tuple[Evaluator, torch.Tensor]:
    """A search by hand, and its examples."""
    search = nearest(task, (ATTACK,), LARGEST, keep_examples=True, **more)
    search.verdicts_at(0)
    return search, search.examples(0, range(len(task)))


@pytest.fixture(scope="module")
def found():
    """The curve of the plain encoder."""
    return curve(pictures(), ATTACK, LARGEST, RADII, checks=False)


@dataclass(frozen=True)
class Ready:
    """Examples that somebody else found, by sample id, for whoever's budget allows them."""

    examples: dict = field(hash=False)
    name = "ready"

    def __call__(self, embed, x, goal, space, budget, rng):
        y = torch.stack([self.examples[one] for one in rng.ids])
        y = torch.where((distance(y, x, space, budget.norm) <= budget.radius).reshape(-1, 1, 1, 1), y, x)
        ones = torch.ones(len(x), dtype=torch.int64)
        return Attacked(y, goal.reached(embed(y)), goal.loss(embed(y)), 0 * ones, ones)


def test_a_curve_is_what_an_audit_of_the_same_examples_finds(found):
    task = pictures()
    _, y = searched(task)
    laddered = audit(task, Ready(dict(zip(task.dataset.ids, y, strict=True))), RADII, checks=False)
    for eps in ("0", *(one.written for one in RADII)):
        mine, theirs = (result.select(metric="top1", eps=eps)[0] for result in (found, laddered))
        assert replace(mine, attack="") == replace(theirs, attack="")
    shares = [found.value(metric="top1", eps=one.written) for one in RADII]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 50 > shares[-1]


def test_it_is_at_least_as_strong_as_an_audit_of_every_radius():
    found, laddered = (
        curve(pictures(), FMN(30), LARGEST, RADII, checks=False),
        audit(pictures(), PGD(20), RADII, checks=False),
    )
    for one in RADII:
        assert found.value(metric="top1", eps=one.written) <= laddered.value(metric="top1", eps=one.written)


def test_quartiles_are_those_of_the_distances(found):
    task = pictures()
    _, y = searched(task)
    far = 255 * distance(y, task.load(range(N)), task.space, "linf").double().numpy()
    for metric, share in (("quartile1_norm", 0.25), ("median_norm", 0.5), ("quartile3_norm", 0.75)):
        (row,) = found.select(metric=metric)
        assert row.value == pytest.approx(np.quantile(far, share, method="inverted_cdf"), rel=1e-5)
        assert row.ci_low <= row.value <= row.ci_high
        assert (row.eps, row.threat_model, row.n) == ("8/255", "whitebox", N)


def test_a_quartile_beyond_the_search_has_no_row():
    found = curve(pictures(), ATTACK, Linf("3/255"), checks=False)
    stand = found.value(metric="top1", eps="3/255")
    assert 25 < stand < 75
    assert [row.metric for row in found.rows if row.metric.endswith("_norm")] == ["quartile1_norm", "median_norm"][
        : 2 - (stand >= 50)
    ]
    assert all(row.ci_high <= 3.001 for row in found.rows if row.metric.endswith("_norm"))


def test_radii_that_nobody_named_span_what_was_found():
    found = curve(pictures(), ATTACK, LARGEST, checks=False)
    written = list(dict.fromkeys(row.eps for row in found.rows if row.eps != "0"))
    assert len(written) == 13
    assert found.value(metric="top1", eps=written[-1]) == 0
    assert found.value(metric="top1", eps=written[-3]) > 0  # half of the largest
    assert found.threat_models[0].eps == tuple(written)
    assert "within 16/255" in found.threat_models[0].goal


def test_every_radius_has_verdicts_of_its_own(tmp_path):
    found = curve(pictures(), ATTACK, LARGEST, RADII, out=tmp_path, checks=False)
    with (tmp_path / "verdicts.csv").open() as file:
        lines = list(csv.DictReader(file))
    for one in RADII:
        mine = [line for line in lines if line["eps"] == one.written]
        assert len(mine) == N
        assert 100 * sum(line["correct"] == "1" for line in mine) / N == pytest.approx(
            found.value(metric="top1", eps=one.written)
        )
        assert all(float(line["spent"]) <= one.radius + 1e-6 for line in mine)
    # passes are those of the search, however many radii are read off: clean, gradients, and what the attack and the
    # verdict of its example took
    assert found.record["gradient_passes"] == ATTACK.steps * sum(
        line["correct"] == "1" for line in lines if line["eps"] == "0"
    )


@pytest.mark.bits
def test_a_sample_does_not_feel_its_batch(found):
    assert curve(pictures(), ATTACK, LARGEST, RADII, batch_size=5, checks=False).rows == found.rows


def test_two_attacks_count_by_the_nearer_example():
    task = pictures()
    store = VerdictStore()
    alone = [nearest(task, (one,), L2(3.0), store).verdicts_at(0) for one in (FMN(2), CarliniWagner(30, searches=3))]
    both = nearest(task, (FMN(2), CarliniWagner(30, searches=3)), L2(3.0), store).verdicts_at(0)
    for one, verdict in both.items():
        far = [found[one].distance if found[one].rank > 1 else np.inf for found in alone]
        assert verdict.distance == min(far)
        assert verdict.gradient_passes == sum(found[one].gradient_passes for found in alone)
    assert len({verdict.won_by for verdict in both.values()}) > 1


# ------------------------------------------------------------------------------------------------------- calibrated


def calibrated(bend: float = 0.0) -> Calibrated:
    head = IdentityLinear(Conv().dim)
    with torch.no_grad():
        head.linear.weight[0, 1] += bend
    return Calibrated(Conv(), {"image": head}, "bent", "linear")


def test_a_calibrated_encoder_is_searched_through_everything_and_its_backbone_comes_along(found):
    alone, found = found, curve(pictures(calibrated(0.3)), ATTACK, LARGEST, RADII, checks=False)
    assert {(row.calibration, row.threat_model) for row in found.rows} == {
        ("none", "clean"), ("none", "whitebox"), ("bent", "clean"), ("bent", "adaptive"),
    }  # fmt: skip
    assert [replace(row, checks="") for row in found.rows if row.calibration == "none"] == [
        replace(row, checks="") for row in alone.rows
    ]
    assert "adaptive: " in found.threat_models[0].knowledge
    assert "replayed: " not in found.threat_models[0].knowledge


@dataclass(frozen=True)
class OnlyOnce:
    """Finds the nearest examples the first time that it is called, and nothing afterwards."""

    calls: list = field(default_factory=list, compare=False)
    name = "once"
    minimum_norm: ClassVar[bool] = True

    def __call__(self, embed, x, goal, space, budget, rng):
        self.calls.append(len(x))
        return ATTACK(embed, x, goal, space, budget if len(self.calls) == 1 else Budget(budget.norm, 0.0, "0"), rng)


def test_the_backbones_nearest_examples_are_tried_on_the_calibrated_encoder():
    """The head changes nothing yet, so that they break it exactly where they break the backbone."""
    found = curve(pictures(calibrated()), OnlyOnce(), LARGEST, RADII, checks=False)
    for one in RADII:
        assert (
            found.value(metric="top1", eps=one.written, calibration="bent")
            == found.value(metric="top1", eps=one.written, calibration="none")
            < 100
        )


def test_lost_examples_are_found_again():
    task = pictures()
    search, y = searched(task)
    search.context.store._examples.insert(("DELETE FROM example", [()]))
    assert search.examples(0, [7, 3]).equal(y[[7, 3]])


# --------------------------------------------------------------------------------------------------------- the store


class Interrupted(Counting):
    """Is stopped after so many passes."""

    def __init__(self, after: int) -> None:
        super().__init__(Conv())
        self.after = after

    def embed(self, modality, x, space=None):
        if len(self.rows) == self.after:
            raise KeyboardInterrupt
        return super().embed(modality, x, space)


@pytest.mark.bits
def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    options = {"batch_size": 4, "checks": False}
    whole = Counting(Conv())
    complete = curve(pictures(whole), ATTACK, LARGEST, RADII, out=tmp_path / "whole", **options)
    per_batch = len(whole.rows) // (N // 4)
    with pytest.raises(KeyboardInterrupt):
        curve(pictures(Interrupted(4 * per_batch)), ATTACK, LARGEST, RADII, out=tmp_path / "cut", **options)
    again = Counting(Conv())
    assert curve(pictures(again), ATTACK, LARGEST, RADII, out=tmp_path / "cut", **options).rows == complete.rows
    assert 0 < len(again.rows) < 3.5 * per_batch + 1
    idle = Counting(Conv())
    assert curve(pictures(idle), ATTACK, LARGEST, RADII[:2], out=tmp_path / "cut", **options).select(
        eps="1/255"
    ) == complete.select(eps="1/255")
    assert len(idle.rows) == 1  # other radii cost nothing but a probe


# ------------------------------------------------------------------------------------------------- on the boundary


@dataclass(frozen=True)
class ShortOf:
    """Claims success a little short of the boundary, as where every pass of an encoder rounds differently."""

    by: float
    name = "short"
    minimum_norm: ClassVar[bool] = True

    def __call__(self, embed, x, goal, space, budget, rng):
        found = FMN(30)(embed, x, goal, space, budget, rng)
        return found._replace(
            x=torch.where(found.reached.reshape(-1, 1, 1, 1), x + (1 - self.by) * (found.x - x), found.x)
        )


def test_an_example_that_is_not_confirmed_is_moved_beyond_the_boundary():
    task = pictures()
    exact = nearest(task, (FMN(30),), LARGEST, VerdictStore()).verdicts_at(0)
    moved = nearest(task, (ShortOf(0.004),), LARGEST, VerdictStore()).verdicts_at(0)
    for one, verdict in exact.items():
        assert moved[one].rank > 1
        assert verdict.distance * 0.99 <= moved[one].distance <= verdict.distance * 1.011


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("attack", "largest", "radii", "message"),
    [
        (PGD(), LARGEST, None, "attack 'pgd20-margin' seeks an example within a budget, not the nearest one"),
        ((ATTACK, PGD()), LARGEST, None, "attack 'pgd20-margin' seeks"),
        (ATTACK, LARGEST, (Linf("17/255"),), "radius '17/255' lies beyond '16/255'"),
        (ATTACK, LARGEST, (L2("0.1"),), "radius '0.1' is of norm l2, but the search is of norm linf"),
        (ATTACK, Linf(0), None, "epsilon '0' leaves nothing to search"),
        (ATTACK, Linf("4/255", "waveform"), None, "given for space 'waveform'"),
        (CarliniWagner(), LARGEST, None, "norm 'linf' needs another attack"),
    ],
)
def test_what_cannot_be_read_off_is_refused(attack, largest, radii, message):
    with pytest.raises(InputError, match=message):
        curve(pictures(), attack, largest, radii, checks=False)


def test_tasks_without_a_first_place_are_refused_others_are_not():
    task = pictures(n=60)
    with pytest.raises(InputError, match="has no metric of the first place"):
        curve(HubTask(task.encoder, task.dataset, "image", task.space, None, "text"), ATTACK, LARGEST)
    illusion = IllusionTask(task.encoder, task.dataset, "image", task.space, 8, "text")
    found = curve(illusion, ATTACK, Linf("64/255"), (Linf("8/255"), Linf("64/255")), checks=False)
    assert found.value(metric="resists", eps="64/255") < found.value(metric="resists", eps="0") == 100


def test_wrappers_seek_what_their_attack_seeks():
    assert seeks_nearest(FMN())
    assert seeks_nearest(EOT(FMN(), 3))
    assert not seeks_nearest(EOT(PGD(), 3))


def test_checks_are_those_of_an_audit():
    found = curve(pictures(), ATTACK, LARGEST, RADII)
    assert {"C1", "C6", "C12", "C16", "C22"} <= {one.code for one in found.checks}
    assert not [one for one in found.checks if one.status == "fail"]
    assert all(one.scope.endswith("whitebox 3/255") for one in found.checks)
    assert found.select(eps="3/255")[0].checks != "unchecked"
    assert curve(pictures(), ATTACK, LARGEST, RADII, checks=False).rows[-1].checks == "unchecked"


# ------------------------------------------------------------------------------------------------------------- radii


def test_ladders_are_written_as_their_largest_is():
    written = [one.written for one in spanning(Linf("16/255"))]
    assert written == [
        f"{one}/255" for one in ("0.25", "0.375", "0.5", "0.75", "1", "1.5", "2", "3", "4", "6", "8", "12", "16")
    ]
    assert [one.written for one in spanning(SNR("20 dB"))][:2] == ["56dB", "53dB"]
    assert [one.written for one in spanning(EventShare("10 %"))][-3:] == ["5%", "7.5%", "10%"]
    assert [one.written for one in spanning(L2(0.5, "pixels"))][0] == "0.00781"
    for top in (Linf("16/255"), SNR("20 dB"), EventShare("10 %"), L2(0.5, "pixels")):
        ladder = spanning(top)
        assert [one.radius for one in ladder] == sorted(one.radius for one in ladder)
        assert ladder[-1] == top
        assert {one.space for one in ladder} == {top.space}
        assert ladder[0].radius == pytest.approx(top.radius / 64, rel=0.02)


@pytest.mark.parametrize(
    ("radius", "like", "written"),
    [
        (1.3 / 255, Linf("16/255"), "2/255"),
        (0.117, L2(2), "0.125"),
        (37.0, L2(55), "64"),
        (0.0093, EventShare("50 %"), "1%"),
        (0.01, SNR("0 dB"), "39dB"),
    ],
)
def test_rounding_up_to_what_reads_well(radius, like, written):
    up = round_up(radius, like)
    assert up.written == written
    assert up.radius >= radius
    assert like.epsilon.number(up.radius) == pytest.approx(float(written.strip("dB%").partition("/")[0]))


def test_no_noise_at_all_is_given_as_200_decibels():
    assert SNR("30 dB").epsilon.number(0.0) == 200
