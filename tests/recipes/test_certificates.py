"""The recipe behind `ironbind certify`: jobs from a request, on toys from end to end, in a table, a page, a gate."""

import csv
import pickle
from dataclasses import replace

import pytest

from ironbind.attacks import FMN
from ironbind.certification.smoothing import Smoothing
from ironbind.core.results import Result
from ironbind.gate.gate import gate
from ironbind.gate.settings import settings
from ironbind.recipes.certificates import certificates
from ironbind.recipes.request import AuditRequest
from ironbind.report.terminal import summary
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.stored_jobs.jobs_file import read_jobs
from ironbind.runs.stored_jobs.open_run import open_run
from ironbind.types import L2, SNR, InputError
from toys import Conv, ToyData

IMAGE = AuditRequest(modalities=("image",), limit=8, norm="l2", eps=("0.02", "0.05"))
QUICK = {"sigma": 0.05, "draws": 60, "selection": 20}


@pytest.fixture
def toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", 8)))


def test_radii_and_noise_of_every_space():
    (image,) = certificates(AuditRequest(modalities=("image",), norm="l2"))
    assert pickle.loads(pickle.dumps(image)) == image
    assert image.certificate.certifier == Smoothing(0.25, 1000, 100, 0.999)
    assert [each.written for each in image.certificate.radii["pixels"]] == ["0.125", "0.25", "0.5", "0.75", "1.0"]
    assert image.curve == (FMN(50), FMN(50, loss="dlr"))
    assert image.budgets["pixels"] == image.certificate.radii["pixels"]
    assert not image.attacks
    (sound,) = certificates(AuditRequest(modalities=("audio",), norm="l2", space="waveform"), attacked=False)
    assert sound.certificate.certifier.sigma == pytest.approx(0.1)
    assert [each for each in sound.certificate.radii["waveform"] if each.norm == "snr"] == [
        SNR(decibels) for decibels in (20, 25, 30, 35, 40)
    ]
    assert [each.written for each in sound.budgets["waveform"]] == ["40dB", "35dB", "30dB", "25dB", "20dB"]
    assert not sound.curve
    (loud,) = certificates(AuditRequest(modalities=("audio",), norm="snr", space="waveform"))
    assert {each.norm for each in loud.certificate.radii["waveform"]} == {"snr"}
    (named,) = certificates(AuditRequest(modalities=("image",), norm="l2", eps=("0.3",)), sigma=0.5)
    assert named.certificate.radii["pixels"] == (L2("0.3"),)
    assert named.certificate.certifier.sigma == 0.5
    assert len(certificates(AuditRequest(norm="l2"))) == 6


def test_what_cannot_be_certified_is_one_line():
    for request, recipe, words in (
        (AuditRequest(norm="linf"), "world", "--norm linf: noise certifies Euclidean lengths"),
        (AuditRequest(norm="snr", modalities=("image",)), "world", "waveform"),
        (AuditRequest(norm="snr", eps=("30",), modalities=("image",)), "world", "waveform"),
        (AuditRequest(norm="l2"), "hub", "recipe 'hub' cannot be certified; expected one of world, folder, data"),
        (AuditRequest(norm="l2", eps=("one",)), "world", "epsilon 'one'"),
    ):
        with pytest.raises(InputError, match=words):
            certificates(request, recipe)


def test_a_run_from_end_to_end(toys, tmp_path):
    jobs = [
        replace(job, curve=(FMN(4),), checks=CheckSpec("too long for a test", None))
        for job in certificates(IMAGE, **QUICK, retrieval=True)
    ]
    page = run_jobs(jobs, tmp_path).read_text()
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    certified = [row for row in rows if row["threat_model"] == "certified"]
    assert {(row["metric"], row["norm"], row["eps"]) for row in certified if row["task"] == "zero_shot"} == {
        (metric, "l2", eps) for metric in ("certified_top1", "certified_top5") for eps in ("0", "0.02", "0.05")
    }
    assert {row["task"] for row in certified} == {"zero_shot", "retrieval:image->text", "retrieval:text->image"}
    assert {row["checks"] for row in certified} == {""}
    assert {row["threat_model"] for row in rows} == {"clean", "whitebox", "certified"}
    assert "What is proven" in page
    assert "certified l2: " in summary(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "## Certified" in text
    assert "certified (smoothing0.05-60)" in text
    assert [each.job for each in read_jobs(tmp_path)] == jobs
    with pytest.raises(InputError):
        open_run(tmp_path).example("0-0", threat_model="certified", eps="0.02", task="zero_shot")
    assert (tmp_path / "cache" / "noisy").is_dir()


def test_a_certificate_can_be_required(toys, tmp_path):
    run_jobs(certificates(IMAGE, **QUICK, attacked=False), tmp_path)
    share = Result.read(tmp_path).value(metric="certified_top1", eps="0.02")
    assert share > 0
    met = gate(tmp_path, settings([f"image 0.02 certified >= {share / 2}"], compare="value"))
    assert met.met
    assert not gate(tmp_path, settings(["image 0.02 certified >= 100.5"], compare="value")).met


def test_data_without_classes_are_certified_by_retrieval(tmp_path, monkeypatch):
    bare = Job("image", spaces=("pixels",), attacks=(), extra_tasks=(ExtraTask("retrieval", ("text",)),))
    monkeypatch.setattr("ironbind.recipes.certificates.RECIPES", {"data": lambda request: [bare]})
    (job,) = certificates(IMAGE, "data", **QUICK)
    assert not job.certificate.classes
    assert not job.extra_tasks
    assert not job.curve
    assert [extra.kind for extra in job.certificate.extra_tasks] == ["retrieval"]
