"""One `out` for several audits: said where numbers are lost, silent where none are."""

import warnings

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import Result
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import Linf
from toys import Conv, ToyData, audit

ATTACK = PGD(steps=1)


def test_other_radii_and_other_data(tmp_path):
    task = zero_shot(Conv(), ToyData(8), "image")
    audit(task, ATTACK, [Linf("1/255")], out=tmp_path, checks=False)
    with pytest.warns(UserWarning, match=r"2 of its rows are not in the new one, as .* zero_shot top1 at 1/255"):
        audit(task, ATTACK, [Linf("2/255")], out=tmp_path, checks=False)
    assert {row.eps for row in Result.read(tmp_path).rows} == {"0", "2/255"}
    with pytest.warns(UserWarning, match="image"):
        audit(zero_shot(Conv(), ToyData(8), "thermal"), ATTACK, [Linf("2/255")], out=tmp_path, checks=False)


def test_the_same_again_more_radii_and_a_calibration_on_top(tmp_path):
    encoder = Conv()
    bent = IdentityLinear(encoder.dim)
    with torch.no_grad():
        bent.linear.weight[0, 1] += 0.3
    task = zero_shot(encoder, ToyData(8), "image")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit(task, ATTACK, [Linf("1/255")], out=tmp_path, checks=False)
        audit(task, ATTACK, [Linf("1/255")], out=tmp_path, checks=False)
        audit(task, ATTACK, [Linf("1/255"), Linf("2/255")], out=tmp_path, checks=False)
        calibrated = task.on(Calibrated(encoder, {"image": bent}, "bent", "linear"))
        audit(calibrated, ATTACK, [Linf("1/255"), Linf("2/255")], out=tmp_path, checks=False)
