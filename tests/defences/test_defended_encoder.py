"""A defended encoder is an encoder: names, hashes, refusals, what it composes with, what it draws."""

import math
import re

import pytest
import torch

import ironbind as ib
from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.errors import UnknownName
from ironbind.defences.noise_gate import NoiseGate
from ironbind.numerics.networks import modules_of, parameter_count
from ironbind.recipes import CALIBRATIONS
from ironbind.types import calibration_of, title_of
from toys import Conv, ToyData


@pytest.fixture(scope="module")
def data():
    return ToyData(8)


def test_names_and_hashes():
    encoder = Conv()
    ttc = ib.defend(encoder, "ttc")
    assert (ttc.name, title_of(ttc), calibration_of(ttc)) == ("conv+ttc", "conv+ttc", "none")
    assert title_of(ib.defend(ttc, "quantisation")) == "conv+ttc+quantisation"
    others = (ib.defend(encoder, "ttc", beta=1.0), ib.defend(encoder, "ttc", seed=1), ttc.redrawn(1))
    hashes = {each.weights_sha256 for each in (encoder, ttc, *others)}
    assert len(hashes) == 5
    assert ib.defend(encoder, "ttc").weights_sha256 == ttc.weights_sha256
    assert modules_of(ttc) == modules_of(encoder)
    assert parameter_count(ttc) == parameter_count(encoder)
    assert "ttc" in ib.DEFENCES


def test_a_calibrated_encoder_can_be_defended(data):
    encoder = Conv()
    hard = Calibrated(encoder, {"image": IdentityLinear(encoder.dim)}, "l2", "linear")
    both = ib.defend(hard, "smoothing", n=2)
    assert (both.name, title_of(both), calibration_of(both)) == ("conv+l2+smoothing", "conv+smoothing", "l2")
    rows = ib.audit(ib.zero_shot(both, data, "image"), PGD(2), ib.Linf("4/255"), checks=False).rows
    assert {(row.encoder, row.calibration) for row in rows} == {("conv+smoothing", "l2")}


def test_a_defended_encoder_cannot_be_calibrated(data):
    task = ib.zero_shot(ib.defend(Conv(), "ttc"), data, "image")
    with pytest.raises(ib.InputError, match="calibrate it first, then defend the calibrated one"):
        ib.calibrate(task, CALIBRATIONS["l2"]())


def test_refusals():
    encoder = Conv()
    with pytest.raises(UnknownName, match="did you mean 'ttc'"):
        ib.defend(encoder, "tttc")
    with pytest.raises(ib.InputError, match="defence 'ttc' has no knob epsilon; it has ttc_eps"):
        ib.defend(encoder, "ttc", epsilon="4/255")
    with pytest.raises(ib.InputError, match="has its knobs already"):
        ib.defend(encoder, NoiseGate(), draws=2)
    for name, knobs in (
        ("ttc", {"ttc_numsteps": 0}), ("noise_gate", {"side": "left"}), ("noise_gate", {"response": "none"}),
        ("smoothing", {"rule": "max"}), ("smoothing", {"n": 0}), ("quantisation", {"bits": 0}),
        ("recompression", {"quality": 0}), ("anchors", {"temperature": 0}), ("prompt_consensus", {"rho": 0}),
    ):  # fmt: skip
        with pytest.raises(ib.InputError):
            ib.defend(encoder, name, **knobs)
    with pytest.raises(ib.InputError, match="was given no texts"):
        ib.defend(encoder, "prompt_consensus").embed("image", torch.rand(1, 3, 8, 8))
    with pytest.raises(ib.InputError, match="detects nothing"):
        ib.defend(encoder, "quantisation").suspicion("image", torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("defence", "knobs", "words"),
    [
        ("ttc", {"ttc_numsteps": "3"}, "knob ttc_numsteps is '3'; expected a whole number"),
        ("ttc", {"ttc_numsteps": 2.5}, "knob ttc_numsteps is 2.5; expected a whole number"),
        ("ttc", {"beta": math.nan}, "knob beta is nan; expected a finite number"),
        ("ttc", {"ttc_eps": "-1/255"}, "knob ttc_eps: epsilon '-1/255' must be finite and not negative"),
        ("ttc", {"ttc_stepsize": "far"}, "knob ttc_stepsize: epsilon 'far' is not a number"),
        ("noise_gate", {"threshold": math.nan}, "knob threshold is nan; expected a finite number"),
        ("noise_gate", {"sigma": None}, "knob sigma is None; expected a radius"),
        ("smoothing", {"sigma": math.inf}, "knob sigma is inf; expected a finite number"),
        ("smoothing", {"n": True}, "knob n is True; expected a whole number"),
        ("quantisation", {"bits": 2.5}, "knob bits is 2.5; expected a whole number"),
        ("recompression", {"quality": 75.5}, "knob quality is 75.5; expected a whole number"),
        ("anchors", {"temperature": "warm"}, "knob temperature is 'warm'; expected a finite number"),
        ("anchors", {"rule": 3}, "knob rule is 3; expected a word"),
        ("prompt_consensus", {"texts": "hello"}, "knob texts is 'hello'; expected texts in a tuple or list"),
    ],
)
def test_knobs_of_another_kind_are_refused_when_they_are_given(defence, knobs, words):
    with pytest.raises(ib.InputError, match=re.escape(f"defence '{defence}': {words}")):
        ib.defend(Conv(), defence, **knobs)


def test_radii_may_be_numbers_and_what_is_no_defence_is_refused():
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    answers = [ib.defend(Conv(), "ttc", ttc_eps=eps).embed("image", x) for eps in ("0.25", 0.25)]
    assert answers[0].equal(answers[1])
    with pytest.raises(ib.InputError, match="modality 'smell' is not known to conv.ttc; expected one of image"):
        ib.defend(Conv(), "ttc").embed("smell", x)
    for wrong in (3, ib.DEFENCES["ttc"]):
        with pytest.raises(ib.InputError, match="is no defence; expected a name of DEFENCES"):
            ib.defend(Conv(), wrong)


def test_a_query_draws_by_its_content(data):
    """Alone, in another order, among others: the same draw; another draw: other numbers, as likely."""
    encoder = ib.defend(Conv(), "smoothing", sigma=0.2, n=2)
    x = ib.zero_shot(encoder, data, "image").load(range(4))
    with torch.no_grad():
        together = encoder.embed("image", x)
        alone = torch.cat([encoder.embed("image", x[row : row + 1].expand(4, -1, -1, -1))[:1] for row in (3, 2, 1, 0)])
        torch.testing.assert_close(together.flip(0), alone, atol=1e-6, rtol=0)
        assert not torch.allclose(together, encoder.redrawn(1).embed("image", x), atol=1e-3)
        assert not torch.allclose(together, ib.defend(Conv(), "smoothing", sigma=0.2, n=2, seed=1).embed("image", x))


@pytest.mark.parametrize(
    ("name", "knobs", "codes"),
    [
        ("ttc", {}, ("C4", "C7", "C22")),
        ("smoothing", {"sigma": 0.3, "n": 2}, ("C4", "C22")),
        ("quantisation", {"bits": 4}, ("C6", "C7", "C22")),
        ("noise_gate", {"response": "counterattack"}, ("C4", "C7", "C22")),
    ],
)
def test_alarms_ring_on_a_plain_attack(name, knobs, codes):
    """Judged by an attack that knows nothing of the defence, the table says that it should not be believed."""
    task = ib.zero_shot(ib.defend(Conv(), name, **knobs), ToyData(24), "image")
    result = ib.audit(task, PGD(10), ib.Linf("8/255"))
    rung = {check.code for check in result.checks if check.status in ("warn", "fail")}
    assert set(codes) <= rung
    (row,) = result.select(metric="top1", threat_model="whitebox")
    assert all(code in row.checks for code in codes)


def test_an_undefended_encoder_rings_none_of_them():
    result = ib.audit(ib.zero_shot(Conv(), ToyData(24), "image"), PGD(10), ib.Linf("8/255"))
    assert not {"C4", "C6", "C7", "C22"} & {check.code for check in result.checks if check.status != "pass"}
