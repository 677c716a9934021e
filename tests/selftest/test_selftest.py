"""`ironbind selftest`: what it prints and writes, and that it fails when an alarm stays silent or rings falsely."""

import json

import pytest
from typer.testing import CliRunner

from ironbind.attacks import EOT, PGD
from ironbind.certification.smoothing import Smoothing
from ironbind.cli import app
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.selftest import broken_encoders as zoo
from ironbind.selftest import selftest
from ironbind.types import Budget
from toys import Conv, ToyData


@pytest.fixture
def toys(monkeypatch):
    """The self-test on the toy encoder, with two specimens and a short certified attack."""
    monkeypatch.setattr(
        selftest, "zero_shot", lambda encoder, data, modality, space: zero_shot(Conv(), ToyData(24), modality)
    )
    monkeypatch.setattr(selftest, "ZOO", {name: zoo.ZOO[name] for name in ("zero_gradient", "detached")})
    monkeypatch.setattr(selftest, "CERTIFIED", (("l2", "standard"),))
    monkeypatch.setattr(selftest, "SMOOTHING", Smoothing(0.05, draws=60, selection=20))
    monkeypatch.setattr(selftest, "CERTIFICATE_ATTACK", EOT(PGD(3, stop_when_reached=False), draws=2))


def run(*arguments: str):
    return CliRunner().invoke(app, ["selftest", *arguments])


def test_a_healthy_tool_passes(toys, tmp_path):
    done = run("--out", str(tmp_path), "--seed", "3")
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith("6 of 6 trials came out as they must")
    for word in ("sound", "zero_gradient", "detached", "refused", "waves"):
        assert word in done.output
    told = json.loads((tmp_path / "selftest.json").read_text())
    assert told["passed"] is True
    assert told["record"]["seed"] == 3
    assert [one["encoder"] for one in told["trials"]] == [
        "sound", "zero_gradient", "detached", "waves (standard)", "smoothing0.05-60", "smoothing0.05-60 times 8",
    ]  # fmt: skip
    assert told["trials"][1]["rang"]["C6"] == "fail"
    assert run("--out", str(tmp_path), "--seed", "3").exit_code == 0
    again = json.loads((tmp_path / "selftest.json").read_text())
    assert again["trials"] == told["trials"]


def test_an_alarm_that_stays_silent_fails_it(toys, monkeypatch):
    monkeypatch.setattr(selftest, "ZOO", {"zero_gradient": zoo.ZOO["zero_gradient"]._replace(rings=("C3",))})
    monkeypatch.setattr(selftest, "CERTIFIED", ())
    monkeypatch.setattr(selftest, "SMOOTHED", ())
    done = run()
    assert done.exit_code == 1
    assert "image zero_gradient: none of C3 rang" in done.output


def test_a_certificate_that_an_attack_breaks_fails_it(toys, monkeypatch):
    monkeypatch.setattr(selftest, "ZOO", {})
    monkeypatch.setattr(selftest, "CERTIFIED", ())
    monkeypatch.setattr(selftest, "SMOOTHED", ((8.0, ()),))
    done = run()
    assert done.exit_code == 1
    assert "image smoothing0.05-60 times 8: C19 rang" in done.output


def test_a_false_alarm_fails_it(toys, monkeypatch):
    broken = zoo.ZOO["zero_gradient"].make(Conv(), None)
    monkeypatch.setattr(
        selftest, "zero_shot", lambda encoder, data, modality, space: zero_shot(broken, ToyData(24), modality)
    )
    monkeypatch.setattr(selftest, "ZOO", {})
    monkeypatch.setattr(selftest, "CERTIFIED", ())
    monkeypatch.setattr(selftest, "SMOOTHED", ())
    done = run()
    assert done.exit_code == 1
    assert "image sound: C6" in done.output


def test_an_attack_beyond_its_bound_fails_it(toys, monkeypatch):
    monkeypatch.setattr(selftest, "ZOO", {})
    monkeypatch.setattr(selftest.Waves, "safe", lambda self, x, *rest: x.flatten(1)[:, 0] > -1)  # claims too much
    monkeypatch.setattr(selftest, "SMOOTHED", ())
    done = run()
    assert done.exit_code == 1
    assert "proven samples fell" in done.output


def test_the_radius_is_the_largest_with_half_of_them_proven():
    found = selftest.half_proven("linf", lambda budget: sum(budget.radius < 0.1 * (1 + one) for one in range(10)), 10)
    assert isinstance(found, Budget)
    assert 0.59 < found.radius < 0.6
