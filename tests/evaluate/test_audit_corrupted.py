"""Corruptions as an audit: every number is what the corrupted inputs say themselves, stored and resumed like any other;
nobody attacks.
"""

from dataclasses import dataclass, replace

import pytest
import torch

from ironbind.api import audit_corrupted
from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import THREAT_MODELS, UNCHECKED, Result
from ironbind.evaluate.protocols.corruption import Corruption, RandomNoise
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.modalities.corruptions import CommonCorruption, corruptions_for
from ironbind.modalities.corruptions.pictures import CONTRAST
from ironbind.numerics.norms import distance
from ironbind.numerics.sample_random import PerSample
from ironbind.types import InputError, Linf
from toys import Brightness, Conv, Counting, ToyData, audit, corrupted, rng

N = 24
FEW = (CommonCorruption("gaussian_noise", 1), CommonCorruption("gaussian_noise", 5), CommonCorruption("contrast", 5))


def image(encoder=None, n=N):
    return zero_shot(encoder or Conv(), ToyData(n), "image")


def bent(encoder):
    head = IdentityLinear(encoder.dim)
    with torch.no_grad():
        head.linear.weight += 0.3 * torch.randn(encoder.dim, encoder.dim, generator=torch.Generator().manual_seed(0))
    return Calibrated(encoder, {"image": head}, "bent", "linear")


def test_every_corruption_and_every_radius_has_its_rows():
    task = image()
    result = audit_corrupted(task, corruptions_for("image", task.space), (Linf("4/255"), Linf("8/255")))
    top1 = result.select(metric="top1")
    assert len(top1) == 1 + 6 * 5 + 2
    assert {row.threat_model for row in result.rows} == {"clean", "corrupted"}
    severe = result.select(metric="top1", norm="severity")
    assert {(row.attack, row.eps) for row in severe} == {
        (one.name, one.written) for one in corruptions_for("image", task.space)
    }
    assert [(row.attack, row.eps) for row in result.select(metric="top1", norm="linf")] == [
        ("random_noise", "4/255"),
        ("random_noise", "8/255"),
    ]
    assert {row.n for row in result.rows} == {N}
    assert {row.checks for row in result.rows} == {UNCHECKED}
    assert result.value(metric="top1", attack="gaussian_noise", eps="5") < result.value(
        metric="top1", threat_model="clean"
    )
    noise, severities = result.threat_models
    assert (noise.norm, noise.eps, severities.norm, severities.eps) == (
        "linf",
        ("4/255", "8/255"),
        "severity",
        ("1", "2", "3", "4", "5"),
    )
    assert (
        "gaussian_noise, standard deviation 0.04; gaussian_blur" in severities.meaning[0]
    )  # 8 pixels are a small picture
    assert noise.knowledge == severities.knowledge == f"corrupted: {THREAT_MODELS['corrupted']}"
    assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    "make", [image, lambda: retrieval(Conv(), ToyData(N), "image"), lambda: zero_shot(Conv(), ToyData(N), "audio")]
)
def test_numbers_are_those_of_the_corrupted_inputs(make):
    task = make()
    one = corruptions_for(task.modality, task.space)[2]
    x = task.load(range(N))
    y = one.corrupt(x, task.modality, task.space, PerSample.of(3, task.dataset.ids, f"corruption {one.name}"))
    assert not y.equal(x)
    ranks = task.goal(range(N)).rank(task.embed(y))
    result = audit_corrupted(task, [one], seed=3, batch_size=7)
    for metric, k in task.metrics:
        assert result.value(metric=metric, attack=one.name) == pytest.approx(
            100 * (ranks <= k).float().mean().item(), abs=1e-4
        )
    assert result.value(metric="mean_rank", attack=one.name) == pytest.approx(ranks.float().mean().item())


def test_a_severity_stands_alone():
    """Nobody carries a verdict over: whom a slight corruption hurt may be right under a severe one."""
    task, store = image(), VerdictStore()
    both = corrupted(task, FEW[:2], store)
    reversed_ = corrupted(task, FEW[1::-1])
    assert both.verdicts_at(1) == reversed_.verdicts_at(0)
    assert both.verdicts_at(0) == reversed_.verdicts_at(1)


def test_it_goes_on_where_it_stopped(tmp_path):
    class Tired(Counting):
        left = 10**9

        def embed(self, modality, x, space=None):
            if self.left <= 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().embed(modality, x, space)

    encoder = Tired(Conv())
    whole = audit_corrupted(image(encoder), FEW, Linf("4/255"), batch_size=8)
    passes = len(encoder.rows)
    encoder.left = passes // 2
    with pytest.raises(KeyboardInterrupt):
        audit_corrupted(image(encoder), FEW, Linf("4/255"), batch_size=8, out=tmp_path)
    encoder.left, before = 10**9, len(encoder.rows)
    again = audit_corrupted(image(encoder), FEW, Linf("4/255"), batch_size=8, out=tmp_path)
    assert again.rows == whole.rows
    assert len(encoder.rows) - before == passes - passes // 2 + 1  # one more probe of how samples are embedded
    before = len(encoder.rows)
    assert audit_corrupted(image(encoder), FEW, Linf("4/255"), out=tmp_path).rows == whole.rows
    assert len(encoder.rows) == before + 1
    assert Result.read(tmp_path).rows == whole.rows
    samples = {line.split(",")[9] for line in (tmp_path / "verdicts.csv").read_text().splitlines()[1:]}
    assert samples == set(ToyData(N).ids)


def test_clean_verdicts_are_shared_with_an_attack(tmp_path):
    encoder = Counting(Conv())
    audit(image(encoder), PGD(steps=1), Linf("4/255"), out=tmp_path, checks=False)
    before = len(encoder.rows)
    audit_corrupted(image(encoder), FEW[:1], out=tmp_path)
    assert len(encoder.rows) == before + 2  # a probe, and the corrupted batch alone


def test_what_decides_a_verdict_is_in_its_key(monkeypatch):
    def key(number=1, task=None, corruptions=FEW, **more):
        return corrupted(task or image(), corruptions, **more).key(number)

    same = key()
    assert key(batch_size=1) == key(corruptions=FEW[:1]) == same
    assert key(0) == key(0, seed=1)  # clean is clean
    different = [
        key(2),
        key(3),
        key(seed=1),
        key(task=image(n=8)),
        key(corruptions=[RandomNoise(Linf("4/255"))]),
        key(0),
    ]
    assert len({same, *different}) == 1 + len(different)
    before = key(3)
    monkeypatch.setattr(
        "ironbind.modalities.corruptions.pictures.CONTRAST", replace(CONTRAST, small=(0.7, 0.5, 0.4, 0.3, 0.2))
    )
    assert key(3) != before


def test_a_calibrated_encoder_and_its_backbone():
    """Nobody crafts anything, so that nothing is replayed and nothing adaptive."""
    task, backbone = image(bent(Conv())), image()
    result = audit_corrupted(task, FEW)
    assert {(row.calibration, row.threat_model) for row in result.rows} == {
        (c, t) for c in ("none", "bent") for t in ("clean", "corrupted")
    }
    assert [row for row in result.rows if row.calibration == "none"] == audit_corrupted(backbone, FEW).rows
    assert [one.scope for one in result.checks] == [
        "image pixels zero_shot, none, corrupted",
        "image pixels zero_shot, bent, corrupted",
    ]


# ------------------------------------------------------------------------------------------------------------ noise


def test_noise_keeps_its_budget():
    task, budget = image(), Linf("4/255")
    x = task.load(range(N))
    y = RandomNoise(budget).corrupt(x, "image", task.space, rng(N))
    assert isinstance(RandomNoise(budget), Corruption)
    used = distance(y, x, task.space, "linf")
    assert (used <= budget.radius + 1e-6).all()
    assert (used > 0.8 * budget.radius).all()


def test_noise_that_costs_much_is_told():
    """An encoder that sees the mean brightness alone hardly notices noise; the convolution does at a radius of half the
    range.
    """
    steady, shaken = (audit_corrupted(image(one), [], Linf("128/255")) for one in (Brightness(), Conv()))
    (quiet,), (told,) = steady.checks, shaken.checks
    assert (quiet.code, quiet.status, told.status) == ("C23", "pass", "warn")
    lost = shaken.value(metric="top1", threat_model="clean") - shaken.value(metric="top1", threat_model="corrupted")
    assert f"costs up to {lost:.1f} points (random_noise 128/255; limit 5)" in told.detail


def test_a_calibration_that_costs_much_is_told():
    result = audit_corrupted(image(bent(Conv())), FEW)
    before, after = (
        sum(row.value for row in result.select(metric="top1", calibration=one, norm="severity")) / len(FEW)
        for one in ("none", "bent")
    )
    assert before - after > 5
    assert [one.status for one in result.checks] == ["pass", "warn"]
    assert f"{before - after:.1f} points less than without calibration" in result.checks[1].detail


# ---------------------------------------------------------------------------------------------------------- refusals


@dataclass(frozen=True)
class Mine:
    """A user's own corruption."""

    change: object
    name = "mine"
    norm = "severity"
    written = "1"

    def describe(self, shape):
        return "mine"

    def corrupt(self, x, modality, space, rng):
        return self.change(x)


def test_anybodys_corruption_is_welcome():
    result = audit_corrupted(image(), [Mine(lambda x: 1 - x)])
    assert result.value(metric="top1", attack="mine") < result.value(metric="top1", threat_model="clean")


def test_what_is_refused():
    task = image()
    with pytest.raises(InputError, match="nothing to examine image in pixels under"):
        audit_corrupted(task, [])
    with pytest.raises(InputError, match="given for space 'waveform'"):
        audit_corrupted(task, [], Linf("4/255", "waveform"))
    with pytest.raises(InputError, match="'jitter' does not suit image in pixels"):
        audit_corrupted(task, [CommonCorruption("jitter")])
    for change in (lambda x: x[:, :1], lambda x: x / 0):
        with pytest.raises(
            InputError,
            match=r"corruption 'mine' \(severity 1\) gives .*expected finite numbers of shape \(24, 3, 8, 8\)",
        ):
            audit_corrupted(task, [Mine(change)])
    with pytest.raises(InputError, match="holds no sample"):
        audit_corrupted(image(n=0), FEW)
