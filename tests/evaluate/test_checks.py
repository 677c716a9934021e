"""Every alarm rings where an evaluation is broken on purpose, and stays silent on a sound one (checks C1 to C22)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from ironbind.attacks import APGD, FGSM, PGD, Square
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import UNCHECKED, Check, Row
from ironbind.evaluate.checks import CHECKS, CheckContext, run_checks, scope_of, with_check_codes
from ironbind.evaluate.checks.check_context import TOO_SMALL
from ironbind.evaluate.checks.encoder_checks import inference_is_plain
from ironbind.evaluate.checks.extent import FRAGILE, SAMPLES, Extent, allowance, extent_within
from ironbind.evaluate.checks.number_checks import examples_are_real
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.selftest.broken_encoders import REFUSED, ZOO, Broken
from ironbind.types import Attacked, Linf
from toys import Constant, Conv, Linear, ToyData, Transformer, audit, white_box

BUDGET = Linf("8/255")
TWO_LOSSES = (PGD(steps=6), PGD(steps=6, loss="ce"))
STRONG = PGD(steps=30)
SQUARE = Square(queries=60)


def audit_context(
    encoder=None, attacks=TWO_LOSSES, budget=BUDGET, data=None, batch_size=64, decisive=None, black_box=None, **more
) -> CheckContext:
    """An audit as a check sees it. `decisive`: the attacks whose verdicts count, where they are not those that a check
    looks at.
    """
    task = zero_shot(encoder or Conv(), data or ToyData(32), "image")
    evaluator = white_box(task, decisive or attacks, [budget], VerdictStore(), "whitebox", batch_size=batch_size)
    context = RunContext(seed=0, batch_size=batch_size, black_box=black_box)
    return CheckContext(task, attacks, budget, evaluator.clean(), evaluator.verdicts_at(0), context, **more)


def broken(name: str) -> Broken:
    """A specimen of the zoo, made of the convolutional toy."""
    return ZOO[name].make(Conv(), zero_shot(Conv(), ToyData(32), "image").load(range(32)))


# ----------------------------------------------------------------------------------------------------- broken attacks


def _result(x, reached) -> Attacked:
    none = torch.zeros(len(x), dtype=torch.int64)
    return Attacked(x, reached, torch.zeros(len(x)), none, none)


@dataclass(frozen=True)
class Idle:
    """Returns what it got."""

    name: str = "idle"

    def __call__(self, embed, x, goal, space, budget, rng):
        embed(x)
        return _result(x.clone(), torch.zeros(len(x), dtype=torch.bool))


@dataclass(frozen=True)
class Boasts(Idle):
    """Claims success everywhere."""

    def __call__(self, *given):
        return super().__call__(*given)._replace(reached=torch.ones(len(given[1]), dtype=torch.bool))


@dataclass(frozen=True)
class Strays(Idle):
    """Leaves its budget."""

    def __call__(self, embed, x, goal, space, budget, rng):
        return _result(x + 2 * budget.radius, torch.zeros(len(x), dtype=torch.bool))


@dataclass(frozen=True)
class Forgets(Idle):
    """Finds examples on its way and returns the clean samples."""

    def __call__(self, *given):
        STRONG(*given)
        return super().__call__(*given)


@dataclass(frozen=True)
class Breaks(Idle):
    """Breaks the samples of some rows and leaves the others as they are."""

    first: int = 0
    last: int = 0

    def rows(self) -> slice:
        return slice(self.first, self.last)

    def __call__(self, embed, x, goal, space, budget, rng):
        y, rows = x.clone(), torch.arange(len(x))[self.rows()]
        if len(rows):
            y[rows] = STRONG(embed, x[rows], goal[rows], space, budget, rng[rows]).x
        return _result(y, torch.zeros(len(x), dtype=torch.bool))


@dataclass(frozen=True)
class Hasty(Breaks):
    """Breaks one sample with every step."""

    steps: int = 1

    def rows(self) -> slice:
        return slice(0, self.steps)


@dataclass(frozen=True)
class Paced(Breaks):
    """Breaks ten samples with a step of the whole radius, fewer with a smaller one."""

    steps: int = 1
    step_size: float = 0.4

    def rows(self) -> slice:
        return slice(0, int(10 * self.step_size))


def all_robust(attack, **more) -> CheckContext:
    """Every sample counts as robust although most could be broken, and this attack is to say why."""
    return audit_context(attacks=(attack,), decisive=(Idle(),), **more)


def twin_of(rows: slice) -> Callable:
    """The examples of an undefended twin that breaks samples of some rows."""

    def examples(indices):
        here = audit_context(decisive=(Idle(),))
        assert indices == here.indices
        return Breaks(first=rows.start, last=rows.stop)(
            here.task.embed, here.x, here.goal, here.task.space, BUDGET, here.rng("twin")
        ).x

    return examples


# --------------------------------------------------------------------------------------------------- broken encoders


class SmallPrint(Conv):
    """Reads what an 8-bit file cannot hold."""

    def read(self, modality, x, space):
        return super().read(modality, x + 40 * (x - (255 * x).round() / 255), space)


class Nervous(Conv):
    """Swings from one end of the margin to the other within a fraction of the budget."""

    def read(self, modality, x, space):
        z = super().read(modality, x, space)
        swing = 60 * torch.pi * (x - (255 * x).round() / 255).flatten(1).sum(dim=1, keepdim=True)
        return z * swing.cos() + z.roll(1, dims=1) * swing.sin()


class Bends(Conv):
    """Smooth, and so bent within the budget that small changes are answered far too weakly: by the square of the way
    to the nearest grey level.
    """

    def read(self, modality, x, space):
        z = super().read(modality, x, space)
        way = 255 * x - (255 * x).round().detach()
        return z + 100 * (way / 8).square().flatten(1).mean(dim=1, keepdim=True) * z.roll(1, dims=1)


class Sociable(Conv):
    """Leans a little towards whoever shares its batch."""

    def read(self, modality, x, space):
        z = super().read(modality, x, space)
        return z + 0.01 * z.mean(dim=0) if modality == "image" else z


class Remembers(Conv):
    """Its state is in no module."""

    passes = 0

    def read(self, modality, x, space):
        self.passes += 1
        return super().read(modality, x + 1e-4 * min(self.passes, 5) * (self.passes > 16), space)


def without(context: CheckContext, sample: int) -> CheckContext:
    verdicts = dict(context.attacked)
    del verdicts[context.task.dataset.ids[sample]]
    return replace(context, attacked=verdicts)


def with_nan(context: CheckContext) -> CheckContext:
    return replace(context, attacked={**context.attacked, context.task.dataset.ids[0]: Verdict(9, float("nan"))})


def calibrated() -> Calibrated:
    return Calibrated(Conv(), {"image": IdentityLinear(16)}, "none_at_all", "linear")


class Unitless(Conv):
    """Nobody knows what its radius means."""

    def extra(self):
        super().extra()
        self.inputs["image"] = replace(self.inputs["image"], space=replace(self.inputs["image"].space, unit=""))


RINGS: dict[tuple[str, str], Callable[[], CheckContext]] = {
    ("C1", "fail"): lambda: audit_context(broken("drifting")),
    ("C2", "fail"): lambda: audit_context(attacks=(Boasts(),)),
    ("C3", "fail"): lambda: audit_context(Unitless()),
    ("C4", "fail"): lambda: audit_context(broken("noisy_embedding")),
    ("C5", "warn"): lambda: audit_context(broken("probabilities")),
    ("C6", "fail"): lambda: audit_context(broken("zero_gradient")),
    ("C6", "warn"): lambda: audit_context(broken("thousandfold")),
    ("C6b", "warn"): lambda: audit_context(broken("thousandfold")),
    ("C7", "warn"): lambda: audit_context(broken("purified")),
    ("C8", "fail"): lambda: audit_context(broken("detached"), attacks=(Idle(),)),
    ("C8", "warn"): lambda: audit_context(broken("shattered")),
    ("C9", "warn"): lambda: audit_context(Nervous()),
    ("C10", "fail"): lambda: all_robust(Strays()),
    ("C10", "warn"): lambda: audit_context(SmallPrint(), budget=Linf("0.45/255")),
    ("C11", "fail"): lambda: audit_context(broken("of_the_batch")),
    ("C11", "warn"): lambda: audit_context(Sociable()),
    ("C12", "fail"): lambda: all_robust(Forgets()),
    ("C13", "fail"): lambda: all_robust(Hasty(steps=2)),
    ("C13", "warn"): lambda: all_robust(Hasty(steps=1)),
    ("C14", "warn"): lambda: all_robust(Hasty(steps=3)),
    ("C14b", "warn"): lambda: all_robust(Paced()),
    ("C15", "fail"): lambda: all_robust(Idle()),
    ("C16", "fail"): lambda: audit_context(broken("reversed_gradient")),
    ("C17", "fail"): lambda: all_robust(Idle(), encoder=Nervous()),
    ("C17b", "fail"): lambda: audit_context(broken("zero_gradient"), black_box=SQUARE),
    ("C17c", "fail"): lambda: all_robust(Idle(), twin=twin_of(slice(0, 4))),
    ("C17c", "warn"): lambda: all_robust(Breaks(first=4, last=8), twin=twin_of(slice(0, 4))),
    ("C18", "warn"): lambda: audit_context(attacks=(PGD(steps=6),)),
    ("C20", "fail"): lambda: all_robust(Idle(), twin=twin_of(slice(0, 4))),
    ("C20", "warn"): lambda: audit_context(calibrated()),
    ("C21", "fail"): lambda: without(audit_context(), 31),
    ("C21", "warn"): lambda: with_nan(audit_context()),
    ("C22", "warn"): lambda: audit_context(broken("noisy_input")),
}


def test_every_status_that_a_check_promises_is_provoked():
    promised = {
        (code, status)
        for code, check in CHECKS.items()
        for status, when in (("fail", check.fails), ("warn", check.warns))
        if when
    }
    assert promised == set(RINGS)


@pytest.mark.parametrize(("code", "status"), RINGS, ids=str)
def test_an_alarm_rings(code, status):
    torch.manual_seed(0)  # some of the broken encoders draw from torch's own generator
    here = RINGS[code, status]()
    _ = here.weights_before
    if code == "C1":
        here.once(CHECKS["C6"].find)
    actual, detail = here.once(CHECKS[code].find)
    assert actual == status, detail
    assert detail


@pytest.mark.parametrize("encoder", [Linear(), Conv(), Transformer()], ids=lambda encoder: encoder.name)
def test_a_sound_audit_rings_nothing(encoder):
    checks = {check.code: check for check in run_checks(audit_context(encoder, black_box=SQUARE), "here")}
    assert set(checks) == set(CHECKS)
    assert {code: check.detail for code, check in checks.items() if check.status in ("warn", "fail")} == {}
    assert {code for code, check in checks.items() if check.status == "skipped"} == {
        "C17c",
        "C20",
    }  # there is no calibration


def test_a_sound_calibrated_audit_rings_nothing_and_knows_its_twin():
    result = audit(zero_shot(calibrated(), ToyData(32), "image"), TWO_LOSSES, BUDGET, black_box=SQUARE)
    assert {check.code: check.detail for check in result.checks if check.status != "pass"} == {}
    assert {check.scope for check in result.checks} == {"image pixels zero_shot, none_at_all, adaptive 8/255"}


@pytest.mark.parametrize("way", [{"to": "text"}, {"of": "text"}])
def test_so_does_a_sound_retrieval(way):
    result = audit(retrieval(Conv(), ToyData(32), "image", **way), TWO_LOSSES, BUDGET, black_box=SQUARE)
    assert {check.code: check.detail for check in result.checks if check.status in ("warn", "fail")} == {}


@pytest.mark.parametrize("attack", [APGD(10), FGSM(), SQUARE], ids=lambda attack: attack.name)
def test_other_attacks_can_be_checked_too(attack):
    statuses = {
        check.code: check.status
        for check in run_checks(audit_context(attacks=(attack,), budget=Linf("24/255")), "here")
    }
    assert set(statuses) == set(CHECKS)
    assert statuses["C2"] == statuses["C10"] == statuses["C12"] == "pass"


# ---------------------------------------------------------------------------------------------------------- the context


def test_a_context_looks_at_what_is_nearest_to_the_boundary_first():
    here = audit_context(budget=Linf("2/255"), data=ToyData(64))
    robust = [sample for sample in here.ids if here.attacked[sample].rank == 1]
    margins = sorted((verdict.margin for verdict in here.attacked.values() if verdict.rank == 1), reverse=True)
    assert [here.attacked[sample].margin for sample in here.ids[:FRAGILE]] == margins[:FRAGILE]
    assert len(here.indices) == len(set(here.indices)) == SAMPLES
    assert len(robust) == int(here.robust.sum()) >= FRAGILE
    assert here.indices != replace(here, run_context=replace(here.run_context, seed=1)).indices  # the others are drawn


@pytest.mark.bits
def test_batches_change_no_finding_but_hold_fewer_rows():
    whole, small = audit_context(data=ToyData(24)), audit_context(data=ToyData(24), batch_size=4)
    assert run_checks(whole, "here") == run_checks(small, "here")


def test_passes_are_counted():
    here = audit_context()
    assert here.passes == {}
    here.gradient("margin")
    assert here.passes["gradient"] == 3 * SAMPLES  # all gradients that checks ask for, in common batches
    _ = here.clean_z
    assert here.passes["forward"] == SAMPLES
    record = audit(here.task, TWO_LOSSES, BUDGET).record
    assert record["check_gradient_passes"] > record["check_forward_passes"] / 20 > 0


def test_state_outside_of_modules_is_noticed():
    here = audit_context(Remembers())
    _ = here.weights_before
    for code in ("C4", "C6", "C13", "C17"):
        here.once(CHECKS[code].find)
    assert here.once(CHECKS["C4"].find)[0] == "pass"  # five passes in a row agreed
    assert here.once(CHECKS["C1"].find)[0] == "fail"


def test_a_short_attack_is_not_taken_for_a_misled_one():
    """What twice the steps break as well is C13's affair, not C15's."""
    here = all_robust(Hasty(steps=12))
    assert here.once(CHECKS["C13"].find)[0] == "fail"
    assert here.once(CHECKS["C15"].find)[0] == "pass"
    assert "twice the steps break too (C13)" in here.once(CHECKS["C15"].find)[1]


# -------------------------------------------------------------------------------------------- beside the numbers


def test_checks_change_no_number_and_cannot_be_left_out_in_silence():
    task = zero_shot(Conv(), ToyData(16), "image")
    with_checks, without = audit(task, PGD(steps=3), BUDGET), audit(task, PGD(steps=3), BUDGET, checks=False)
    assert [replace(row, checks=UNCHECKED) for row in with_checks.rows] == without.rows
    assert [(check.status, check.detail) for check in without.checks] == [("skipped", "left out by the caller")]
    assert all(check.scope == "image pixels zero_shot, none, whitebox 8/255" for check in with_checks.checks)
    assert {row.checks for row in with_checks.select(threat_model="clean")} == {""}
    assert all("C18:warn" in row.checks for row in with_checks.select(threat_model="whitebox"))


def test_nothing_to_check_where_nothing_is_right():
    data = ToyData(8)
    data.classes = data.classes[1:] + data.classes[:1]
    result = audit(zero_shot(Linear(), data, "image"), PGD(steps=1), Linf(0))
    assert [check.status for check in result.checks] == ["skipped"]
    assert {row.checks for row in result.rows} == {UNCHECKED}


def test_an_encoder_without_an_answer_is_checked():
    result = audit(zero_shot(Constant(), ToyData(16), "image"), PGD(steps=2), BUDGET)
    statuses = {check.code: check.status for check in result.checks}
    assert statuses["C6"] == statuses["C16"] == "fail"


def row(threat_model="whitebox", task="zero_shot", calibration="none", space="pixels", eps="4/255") -> Row:
    return Row(
        "tiny", calibration, "image", space, task, "top1", "pgd", "linf", eps, threat_model, 50.0, 40.0, 60.0, 100
    )


def check(code, status, calibration="none", threat_model="whitebox", task="zero_shot") -> Check:
    return Check(code, code, status, "", scope_of("image", "pixels", task, calibration, threat_model, "4/255"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (row(), "C4:fail C6:warn C13:warn"),
        (row(eps="8/255"), "C4:fail C6:warn C13:warn"),  # the checks of one radius stand for all
        (row(task="retrieval:image->text"), "C4:fail C6:warn"),  # another attack, on the same encoder
        (row("clean"), "C4:fail"),
        (row("corrupted"), "C4:fail"),
        (row(space="logmel"), UNCHECKED),
        (row(calibration="infonce", threat_model="adaptive"), "C20:fail"),
        (row(calibration="infonce", threat_model="replayed"), ""),
        (row(calibration="l2", threat_model="adaptive"), UNCHECKED),
    ],
)
def test_a_number_carries_the_checks_that_touch_it(row, expected):
    checks = [
        check("C4", "fail"),
        check("C5", "pass"),
        check("C6", "warn"),
        check("C13", "warn"),
        check("C17c", "skipped"),
        check("C20", "fail", "infonce", "adaptive"),
        Check("C1-C22", "attack checks", "skipped", "left out", row.modality),
        Check("data", "files left out", "warn", "3", "image"),
    ]
    assert with_check_codes([row], checks)[0].checks == expected


def test_c10_says_that_files_do_not_hold_less_than_half_a_level():
    """The pictures of the toys lie on the grid of a file: written to one, an example is its clean sample."""
    context = audit_context(SmallPrint(), budget=Linf("0.45/255"))
    _, detail = examples_are_real(context)
    broken = int(context.run.broken.sum())
    assert f"the radius is below half a level: {broken} of the files are those of the clean samples" in detail
    _, detail = examples_are_real(audit_context(SmallPrint(), budget=Linf("4/255")))
    assert "half a level" not in detail


# ------------------------------------------------------------------------------------------------------- their price


def verdicts(broken: int, standing: int, passes: int) -> dict[str, Verdict]:
    fell = {f"fell {number}": Verdict(2, 0.1, gradient_passes=5) for number in range(broken)}
    stood = {f"stood {number}": Verdict(1, -0.1, gradient_passes=passes) for number in range(standing)}
    return {**fell, **stood}


def test_the_extent_grows_with_what_may_be_spent_and_never_beyond_it():
    sizes = []
    for allowed in (0, 10, 100, 200, 500, 1000, 3000, 10_000):
        extent = extent_within(allowed, verdicts(40, 40, 120), (PGD(steps=20), PGD(steps=20, loss="ce")), SQUARE)
        assert extent.fragile == 0 or extent.fragile >= 2  # a single one is never a finding
        sizes.append((extent.samples, extent.fragile, extent.attacks_again))
    assert sizes == sorted(sizes)
    assert sizes[0] == (1, 0, False)
    assert sizes[-1] == (SAMPLES, FRAGILE, True)


def test_a_large_encoder_gets_no_more_than_a_share_and_a_small_one_something():
    assert allowance(1000.0, 1_000_000_000) == 50
    assert 100 < allowance(0.0, 2_000_000) <= 400
    assert allowance(0.0, 0) == 400
    assert allowance(1e6, 0) == 50_000


@pytest.mark.parametrize("count", [8, 32])
def test_what_the_checks_cost_is_what_was_planned(count):
    task = zero_shot(Conv(), ToyData(count), "image")
    record = audit(task, TWO_LOSSES, BUDGET, black_box=SQUARE).record
    cost = record["check_gradient_passes"] + record["check_forward_passes"] / 3
    assert 0 < cost <= 1.25 * allowance(record["gradient_passes"] + record["forward_passes"] / 3, 0)


def test_a_check_that_an_audit_cannot_pay_for_is_skipped_with_the_reason():
    here = replace(audit_context(), extent=Extent(1, 0, False))
    checks = {check.code: check for check in run_checks(here, "here")}
    for code in ("C2", "C10", "C12", "C13", "C14", "C16"):
        assert (checks[code].status, checks[code].detail) == ("skipped", TOO_SMALL)
    assert {code for code, check in checks.items() if check.status in ("warn", "fail")} == set()
    assert checks["C4"].status == checks["C6"].status == checks["C8"].status == "pass"


def test_a_smooth_answer_that_bends_is_no_step():
    here = audit_context(Bends(), budget=Linf("0.45/255"))
    status, detail = inference_is_plain(here)
    assert status == "pass"
    assert "as it bends" in detail
    for name in ("rounded_inputs", "detector", "compressed"):
        assert inference_is_plain(audit_context(broken(name)))[0] == "warn"


@pytest.mark.parametrize("extent", [Extent(1, 0, False), Extent(4, 0)], ids=str)
@pytest.mark.parametrize("name", [name for name, one in ZOO.items() if one.rings != (REFUSED,)])
def test_faults_of_the_encoder_ring_on_the_smallest_audit_too(name, extent):
    torch.manual_seed(0)
    here = replace(audit_context(broken(name)), extent=extent)
    rang = {check.code for check in run_checks(here, "here") if check.status in ("warn", "fail")}
    assert rang & set(ZOO[name].rings)
