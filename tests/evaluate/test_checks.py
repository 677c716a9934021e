"""The alarms ring where an evaluation is broken on purpose, and stay silent on a sound one (checks C1 to C17; self-test C19)."""

import pytest
import torch

from ironbind.attacks import FGSM, PGD
from ironbind.evaluate.checks import CHECKS
from ironbind.evaluate.run import audit
from ironbind.evaluate.tasks import retrieval, zero_shot
from ironbind.types import Linf
from toys import Constant, Conv, Linear, ToyData, Transformer

LADDER = [Linf("2/255"), Linf("4/255"), Linf("8/255")]


def statuses(encoder, attack=PGD(steps=6), data=None, question=zero_shot, **more) -> dict[str, str]:  # noqa: B008
    result = audit(question(encoder, data or ToyData(16), "image", **more), attack, LADDER)
    return {one.code: one.status for one in result.checks}


@pytest.mark.parametrize("encoder", [Linear(), Conv(), Transformer()], ids=lambda one: one.name)
def test_a_sound_evaluation_passes(encoder):
    found = statuses(encoder)
    assert set(found) == {"C1", *CHECKS}
    assert {code for code, status in found.items() if status == "fail"} == set()
    assert "warn" not in {found[code] for code in ("C2", "C4", "C6", "C8", "C11", "C17")}


@pytest.mark.parametrize("way", [{"to": "text"}, {"of": "text"}])
def test_so_does_a_sound_retrieval(way):
    assert "fail" not in statuses(Conv(), question=retrieval, **way).values()


class Rounded(Conv):
    """Masks its gradient: quantises the input, so that a gradient exists but is a lie (straight through a steep staircase)."""

    def read(self, modality, x, space):
        stairs = (x * 12).round() / 12
        return super().read(modality, stairs + 1e-4 * (x - x.detach()), space) if modality == "image" else super().read(modality, x, space)


class Noisy(Conv):
    """Answers differently every time."""

    def read(self, modality, x, space):
        z = super().read(modality, x, space)
        return z + 0.05 * torch.randn_like(z)


class Backwards(Conv):
    """Its gradient points the wrong way."""

    def read(self, modality, x, space):
        z = super().read(modality, x, space)
        return 2 * z.detach() - z


class Drifting(Conv):
    """Learns while it is being looked at."""

    def read(self, modality, x, space):
        with torch.no_grad():
            self.image += 1e-7
        return super().read(modality, x, space)


def test_masked_gradients_are_noticed():
    found = statuses(Rounded())
    assert found["C8"] == "warn"


def test_noise_is_noticed():
    assert statuses(Noisy())["C4"] == "fail"


def test_a_gradient_that_points_the_wrong_way_is_noticed():
    found = statuses(Backwards())
    assert found["C8"] == "warn"
    assert "fail" in {found["C17"], found["C16"], found["C15"]}


def test_a_gradient_that_vanishes_is_noticed():
    found = statuses(Constant())
    assert found["C6"] == "fail"
    assert found["C16"] == "fail"


def test_drifting_weights_are_noticed():
    assert statuses(Drifting())["C1"] == "fail"


def test_a_weak_attack_is_noticed():
    lazy = PGD(steps=1, step_size=1e-6, random_start=False)
    found = statuses(Conv(), lazy)
    assert found["C15"] == "fail"
    assert statuses(Conv(), FGSM())["C2"] == "pass"


def test_checks_change_no_number_and_can_be_left_out():
    task = zero_shot(Conv(), ToyData(16), "image")
    with_checks, without = audit(task, PGD(steps=3), LADDER), audit(task, PGD(steps=3), LADDER, checks=False)
    assert with_checks.rows == without.rows
    assert [(one.status, one.detail) for one in without.checks] == [("skipped", "left out by the caller")]
    assert all(one.scope == "image pixels zero_shot, none, whitebox 4/255" for one in with_checks.checks)


def test_nothing_to_check_where_nothing_is_right():
    data = ToyData(8)
    data.classes = data.classes[1:] + data.classes[:1]
    result = audit(zero_shot(Linear(), data, "image"), PGD(steps=1), Linf(0))
    assert [one.status for one in result.checks] == ["skipped"]
