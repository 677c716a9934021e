"""Radii as people write them by mistake: refused in one line, with what was probably meant."""

import pytest

from ironbind.core.epsilon import Epsilon, radii
from ironbind.modalities.spaces import PIXELS
from ironbind.types import L2, InputError, Linf


@pytest.mark.parametrize(("text", "meant"), [("0,03", "0.03"), ("1/255,0,5", "0.5"), ("2,05", "2.05")])
def test_a_decimal_comma_is_refused(text, meant):
    with pytest.raises(InputError, match=f"a comma separates radii; did you mean {meant}"):
        radii(text)


@pytest.mark.parametrize("text", ["1/255, 2/255", "0.0,5", "1,5", "0,1/255", "1,0", "30dB,20dB", "5%,10%", ""])
def test_other_commas_separate(text):
    assert radii(text) == tuple(part.strip() for part in text.split(",") if part)


@pytest.mark.parametrize(
    ("radius", "meant"), [("8", "; did you mean 8/255[?]"), ("1.5", "any other$"), ("255", "any other$")]
)
def test_a_radius_wider_than_the_space_is_refused(radius, meant):
    with pytest.raises(InputError, match=f"epsilon '{radius}' is wider than pixels itself.*{meant}"):
        Linf(radius).check_plausible(PIXELS)


def test_every_radius_within_the_space_is_taken():
    for budget in (Linf("1"), Linf("8/255"), L2("8")):
        budget.check_plausible(PIXELS)


@pytest.mark.parametrize(
    ("written", "value", "unit"), [("4/255", 4 / 255, "/255"), ("5 %", 0.05, "%"), ("0.5", 0.5, ""), (0.25, 0.25, "")]
)
def test_epsilons_are_read_in_one_place(written, value, unit):
    epsilon = Epsilon.parse(written)
    assert (epsilon.value, epsilon.unit) == (pytest.approx(value), unit)
    assert epsilon.number() == pytest.approx(float(str(written).partition("/")[0].strip(" %")))
