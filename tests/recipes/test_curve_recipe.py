"""The recipe `curve`: jobs from a request, on toys from end to end, and its page."""

import pickle
from dataclasses import replace

import pytest

from ironbind.attacks import EOT, FMN, CarliniWagner
from ironbind.core.results import Result
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM
from ironbind.recipes import AUDITS
from ironbind.recipes.accuracy_curves import widest
from ironbind.recipes.calibrations import l2
from ironbind.recipes.request import AuditRequest
from ironbind.report.terminal import summary
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.job import CheckSpec, TrainingSpec
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.task_attacks import InBfloat16
from ironbind.types import InputError, Linf, Space
from toys import Conv, ToyData

IMAGE = AuditRequest(modalities=("image",), limit=16)
NO_SEARCH = CheckSpec(black_box=None)


@pytest.fixture
def toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", 16)))


def job(**more):
    (made,) = AUDITS["curve"](replace(IMAGE, **more))
    assert pickle.loads(pickle.dumps(made)) == made
    return made


def test_linf_has_a_ladder_other_norms_go_as_far_as_anything_goes():
    plain = job()
    assert plain.curve == (FMN(50), FMN(50, loss="dlr"))
    assert not plain.attacks
    assert [one.written for one in plain.budgets["pixels"]][::6] == ["0.25/255", "2/255", "16/255"]
    assert [one.written for one in job(norm="l2").budgets["pixels"]] == ["56"]  # the root of 3 x 32 x 32, rounded up
    assert job(modalities=("audio",), space="waveform").budgets["waveform"][-1].written == "3.2/255"
    assert [one.written for one in job(modalities=("audio",), space="waveform", norm="snr").budgets["waveform"]] == [
        "0dB"
    ]


def test_epsilons_are_the_largest_radius_or_all_of_them():
    one = job(norm="l2", eps=("2",)).budgets["pixels"]
    assert (len(one), one[0].written, one[-1].written) == (13, "0.0312", "2")
    assert job(eps=("8/255", "1/255")).budgets["pixels"] == (Linf("8/255"), Linf("1/255"))


def test_attacks_that_seek_the_nearest_example():
    assert job(steps=30).curve == (FMN(30), FMN(30, loss="dlr"))
    assert job(attack="fmn", steps=30).curve == (FMN(30),)
    assert job(attack="carlini_wagner,fmn", norm="l2").curve == (CarliniWagner(), FMN())


def test_an_attack_that_is_wrapped_in_python(toys, tmp_path):
    averaged = replace(job(), curve=(EOT(FMN(4), 2),), checks=CheckSpec("not asked here", None))
    run_jobs([averaged], tmp_path / "run")
    result = Result.read(tmp_path / "run")
    assert {row.attack for row in result.rows} == {"none", "eot2(fmn4-margin)"}
    # a nearest example lies on the boundary, where bfloat16 and float32 disagree
    with pytest.raises(InputError, match="attack 'fmn4-margin-bf16' seeks an example within a budget, not the nearest"):
        run_jobs([replace(averaged, curve=(InBfloat16(FMN(4)),))], tmp_path / "refused")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"attack": "pgd"}, "'pgd20-margin' does not seek the nearest example; expected fmn or carlini_wagner"),
        ({"attack": "standard"}, "does not seek the nearest example"),
        ({"attack": "carlini_wagner"}, "knows l2, snr, not --norm linf"),
        ({"modalities": ("audio",), "eps": ("1/255",)}, "--eps 1/255 has no meaning for audio without a space"),
    ],
)
def test_what_makes_no_sense_is_refused(more, message):
    with pytest.raises(InputError, match=message):
        job(**more)


def test_the_widest_budget_of_a_space():
    assert widest("l2", PIXELS, (3, 4, 3)).radius == 6
    assert widest("l1", WAVEFORM, (1, 10)).radius == 20
    assert widest("pointwise_l2", UNIT_SPHERE, (100, 3)).radius == 4  # the diagonal of the cube, 3.46, rounded up
    assert widest("event_share", EVENT_FRAMES, (2, 8, 8)).radius == 1
    assert widest("snr", WAVEFORM, (1, 10)).written == "0dB"
    with pytest.raises(
        InputError, match=r"--norm l2 in 'free', which has no bounds, needs a largest radius; say --eps"
    ):
        widest("l2", Space("free", "anything"), (4,))


def test_from_a_request_to_a_page(toys, tmp_path):
    made = replace(job(norm="l2"), curve=(FMN(12),), checks=NO_SEARCH)
    page = run_jobs([made], tmp_path)
    result = Result.read(tmp_path)
    assert {row.metric for row in result.rows} == {"top1", "quartile1_norm", "median_norm", "quartile3_norm"}
    assert len({row.eps for row in result.rows}) == 14
    assert {row.threat_model for row in result.rows} == {"clean", "whitebox"}
    (median,) = result.select(metric="median_norm")
    assert f"median {median.value:.3g}" in page.read_text()
    assert f"median {median.value:.3g}" in summary(tmp_path)
    assert not result.gallery


def test_calibrated_encoders_have_curves_of_their_own(toys, tmp_path):
    made = replace(job(), curve=(FMN(8),), training=TrainingSpec((l2(),), samples=16), checks=NO_SEARCH)
    page = run_jobs([made], tmp_path).read_text()
    result = Result.read(tmp_path)
    assert {(row.calibration, row.threat_model) for row in result.rows} == {
        ("none", "clean"), ("none", "whitebox"), ("l2", "clean"), ("l2", "adaptive"),
    }  # fmt: skip
    assert not [row for row in result.rows if row.checks == "unchecked"]
    assert len(result.rows) == len({replace(row, checks="") for row in result.rows})
    assert "median adaptive" in page
