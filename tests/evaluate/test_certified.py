"""Certified accuracy as an evaluation: rows, verdicts, decibels, galleries, and the check that attacks certificates."""

from dataclasses import dataclass, replace

import pytest
import torch

import ironbind as ib
from half_space import half_space_task
from ironbind.api import certify
from ironbind.attacks import EOT, PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.certification.smoothing import Smoothing
from ironbind.core.results import THREAT_MODELS, UNCHECKED
from ironbind.evaluate.protocols.certified import certified
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.numerics.norms import euclidean
from ironbind.types import L2, SNR, Certificates, InputError, Linf
from toys import Conv, Linear, ToyData

BY = Smoothing(0.02, draws=100, selection=20)
RADII = (L2("0.01"), L2("0.02"))
ATTACK = EOT(PGD(steps=2, stop_when_reached=False), draws=2)


def calibrated(encoder, modality="image"):
    head = IdentityLinear(encoder.dim)
    with torch.no_grad():
        head.linear.weight += 0.2 * torch.randn(encoder.dim, encoder.dim, generator=torch.Generator().manual_seed(0))
    return Calibrated(encoder, {modality: head}, "bent", "linear")


def test_the_function_is_no_module():
    """A room of the same name would take its place as soon as it is imported."""
    assert callable(ib.certify)
    assert ib.Smoothing is Smoothing


def test_rows_are_the_share_of_radii_beyond():
    task = half_space_task(12, mislabelled=4)
    result = certify(task, BY, RADII, attack=None)
    store = VerdictStore()
    radii = BY(task, range(12), (1,), 0, 64, _keeping(store)).radius[:, 0]
    for eps in ("0", "0.01", "0.02"):
        (row,) = result.select(metric="certified_top1", eps=eps)
        assert row.value == pytest.approx(100 * float((radii > float(eps)).double().mean()))
        assert (row.norm, row.threat_model, row.attack, row.n) == ("l2", "certified", "smoothing0.02-100", 12)
        assert row.ci_low <= row.value <= row.ci_high
        assert row.checks == UNCHECKED
    assert result.value(metric="certified_top5", eps="0") == 100.0  # two classes
    assert result.value(metric="top1") == pytest.approx(75.0)
    (record,) = result.threat_models
    assert record.knowledge == f"certified: {THREAT_MODELS['certified']}"
    assert "Smoothing(sigma=0.02, draws=100, selection=20, confidence=0.999)" in record.attack


def _keeping(store):
    from ironbind.types import Keeping

    return Keeping(store.folder / "elsewhere")


@pytest.mark.bits
def test_batches_and_restarts_change_nothing(tmp_path):
    whole = certify(half_space_task(), BY, RADII, attack=None, out=tmp_path / "whole")
    certify(half_space_task(), BY, RADII, attack=None, out=tmp_path / "small", batch_size=5)
    for name in ("table.csv", "verdicts.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "small" / name).read_bytes()
    task = half_space_task()
    again = certify(task, BY, RADII, attack=None, out=tmp_path / "whole")
    assert again.rows == whole.rows
    assert task.encoder.rows <= 2 * 12  # the probe of how samples are embedded; no draw, no verdict


def test_a_run_that_is_killed_goes_on_without_paying_twice(tmp_path):
    """Killed between the draws of a sample and its verdict: what was computed for this question still counts."""

    @dataclass(frozen=True)
    class Killed(Smoothing):
        def __call__(self, *arguments):
            super().__call__(*arguments)
            raise KeyboardInterrupt

        def __repr__(self):
            return repr(BY)

    whole = certify(half_space_task(), BY, RADII, attack=None, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        certify(half_space_task(), Killed(0.02, 100, 20), RADII, attack=None, out=tmp_path / "killed")
    task = half_space_task()
    result = certify(task, BY, RADII, attack=None, out=tmp_path / "killed")
    assert result.rows == whole.rows
    assert result.record["forward_passes"] == whole.record["forward_passes"]
    # the probe of how samples are embedded, and top 5 of a sample whose truth was not first
    assert task.encoder.rows <= 8 + 100 * sum(
        row.value < 100 for row in result.select(metric="certified_top1", eps="0")
    )


def test_other_radii_and_other_centers_cost_no_pass(tmp_path):
    task, store = half_space_task(), VerdictStore(tmp_path)
    certify(task, BY, RADII, attack=None, store=store)
    task.encoder.rows = 0
    certify(task, BY, [*RADII, L2("0.005")], attack=None, store=store)
    assert task.encoder.rows == 0
    turned = replace(task.given_centers, z=torch.nn.functional.normalize(task.given_centers.z + 0.01, dim=1))
    other = replace(task, given_centers=turned)
    result = certify(other, BY, RADII, attack=None, store=store)
    assert result.rows
    # clean verdicts of a new question are one pass each; draws that the first question left out are the rest
    assert task.encoder.rows <= 12 + 100 * sum(row.n for row in result.select(metric="certified_top1", eps="0"))
    store.close()


def test_decibels_are_those_of_each_sound():
    task = zero_shot(Linear(), ToyData(8), "audio", space="waveform")
    lengths, by = euclidean(task.load(range(8))), Smoothing(0.02, draws=100, selection=20)
    result = certify(task, by, [SNR(40), SNR(20), L2("0.02")], attack=None)
    store = VerdictStore()
    radii = by(task, range(8), (1,), 0, 64, _keeping(store)).radius[:, 0]
    for decibels in (40, 20):
        share = float((radii > 10 ** (-decibels / 20) * lengths).double().mean())
        (row,) = result.select(metric="certified_top1", norm="snr", eps=f"{decibels}dB")
        assert row.value == pytest.approx(100 * share)
    assert [row.norm for row in result.select(metric="certified_top1")] == ["l2", "l2", "snr", "snr"]


def test_an_item_stays_among_the_first_k_of_a_gallery():
    """Both directions; a larger k is certified no less."""
    for way in ({"to": "text"}, {"of": "text"}):
        task = retrieval(Linear(), ToyData(16), "image", **way)
        result = certify(task, Smoothing(0.05, draws=100, selection=20), L2("0.02"), attack=ATTACK)
        shares = [result.value(metric=f"certified_R@{k}", eps="0.02") for k in (1, 5, 10)]
        assert shares == sorted(shares)
        assert shares[-1] > 0
        assert [check.status for check in result.checks if check.code == "C19"] == ["pass"]


def test_a_calibrated_encoder_comes_with_its_backbone():
    task = zero_shot(Conv(), ToyData(8), "image")
    result = certify(task.on(calibrated(task.encoder)), BY, RADII, attack=None)
    assert {(row.calibration, row.threat_model) for row in result.rows} == {
        (name, threat) for name in ("none", "bent") for threat in ("clean", "certified")
    }
    assert len(result.rows) == len({(row.calibration, row.metric, row.eps, row.threat_model) for row in result.rows})


def test_certificates_are_attacked():
    result = certify(half_space_task(), BY, RADII, attack=ATTACK)
    (check,) = [check for check in result.checks if check.code == "C19"]
    assert check.status == "pass"
    assert "0 of 8 certified samples broken within their own radius by eot2(pgd2-margin)" in check.detail
    assert all(row.checks == "" for row in result.select(threat_model="certified"))
    assert result.record["check_gradient_passes"] > 0


@dataclass(frozen=True)
class Boasting(Smoothing):
    """Many times the radius that is proven."""

    def __call__(self, *arguments):
        found = super().__call__(*arguments)
        return Certificates(6 * found.radius, found.probability, found.forward_passes)


def test_a_certifier_that_promises_too_much_is_found_out():
    by = Boasting(0.02, draws=100, selection=20)
    result = certify(half_space_task(), by, RADII, attack=replace(ATTACK, attack=PGD(5, stop_when_reached=False)))
    (check,) = [check for check in result.checks if check.code == "C19"]
    assert check.status == "fail"
    assert {row.checks for row in result.select(threat_model="certified")} == {"C19:fail"}
    assert {row.checks for row in result.select(threat_model="clean")} == {UNCHECKED}


@pytest.mark.parametrize("radius", [Linf("4/255"), SNR(30)])
def test_radii_that_noise_does_not_certify(radius):
    with pytest.raises(InputError, match="linf|waveform"):
        certified(half_space_task(2), BY, radius, RunContext())


def test_there_is_no_example_behind_a_proof(tmp_path):
    result = certify(half_space_task(2), BY, RADII, attack=None)
    with pytest.raises(InputError):
        result.example(half_space_task(2).dataset.ids[0], threat_model="certified", eps="0.01")
