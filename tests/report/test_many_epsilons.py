"""Epsilons in every way that they are written, axes with many of them, and the median of the nearest examples."""

import re

import pytest

from ironbind.core.epsilon import Epsilon
from ironbind.core.results import Row
from ironbind.report.charts.curves import axes, curves, positions, x_of
from ironbind.report.number_format import cell, interval
from ironbind.report.panels import Facts

FINE = ("0.25", "0.375", "0.5", "0.75", "1", "1.5", "2", "3", "4", "6", "8", "12", "16")


def row(metric="top1", eps="4/255", threat_model="whitebox", value=50.0, calibration="none") -> Row:
    return Row(
        "toy",
        calibration,
        "image",
        "pixels",
        "zero_shot",
        metric,
        "fmn",
        "linf",
        eps,
        threat_model,
        value,
        value - 1,
        value + 1,
        100,
    )


@pytest.mark.parametrize(
    ("eps", "unit", "value"),
    [
        ("4/255", "/255", 4 / 255), ("0.25/255", "/255", 0.25 / 255), ("0.5", "", 0.5),
        ("1e-3", "", 1e-3), ("5%", "%", 0.05),
        ("20dB", "dB", 0.1), ("-6dB", "dB", 10**0.3), ("0", "", 0.0), ("loud", "", float("inf")),
        ("1/0", "/0", float("inf")),
        ("a/255", "/255", float("inf")),
    ],
)  # fmt: skip
def test_radii_as_they_are_written(eps, unit, value):
    epsilon = Epsilon.from_table(eps)
    assert epsilon.unit == unit
    assert epsilon.value == pytest.approx(value)


def test_less_signal_over_noise_is_a_larger_radius():
    facts = Facts([row(eps=one) for one in ("30dB", "20dB", "40dB")])
    assert facts.epsilons(facts.panels[0]) == ("40dB", "30dB", "20dB")


def ticks(ladder: list[str]) -> tuple[list[str], str]:
    """The numbers under the axis, and its unit."""
    place = positions(tuple(ladder))
    drawn = "".join(map(str, axes(place, max(place.values()))))
    named = re.findall(r'<text x="[\d.]+" y="194" text-anchor="middle" class="tick">([^<]*)</text>', drawn)
    return named, re.search(r'class="tick unit">([^<]*)<', drawn).group(1)


def test_many_epsilons_are_named_as_far_as_they_fit():
    assert ticks([f"{one}/255" for one in FINE]) == (["0", "0.25", "0.5", "1", "2", "4", "8", "16"], "ε × 255")
    assert ticks(["1/255", "2/255", "4/255", "8/255"]) == (["0", "1", "2", "4", "8"], "ε × 255")
    assert ticks([f"{20 + 3 * step}dB" for step in range(13)])[1] == "ε in dB"
    assert ticks(["5%", "10%"]) == (["0", "5", "10"], "ε in %")
    named, unit = ticks(
        [
            "0.00781",
            "0.0117",
            "0.0156",
            "0.0234",
            "0.0312",
            "0.0469",
            "0.0625",
            "0.0938",
            "0.125",
            "0.188",
            "0.25",
            "0.375",
            "0.5",
        ]
    )
    assert unit == "ε"
    assert named[-1] == "0.5"
    assert len(named) < 8
    place = positions(("1/255", "3/255"))
    assert x_of(place["3/255"], max(place.values())) == 288


def test_norms_have_three_digits():
    assert cell(row("median_norm", value=0.12345)) == "0.123"
    assert interval(row("median_norm", value=12.345)) == "11.3–13.3"
    assert cell(row(value=12.345)) == "12.3"


def drawn(rows: list[Row]) -> str:
    return "".join(str(panel.drawing) for one in curves(Facts(rows), {}) for panel in one.panels)


def test_the_median_stands_where_the_curve_crosses_half():
    rows = [row(eps="0", threat_model="clean", value=90.0), row(eps="1/255", value=70.0), row(eps="4/255", value=30.0)]
    assert "median" not in drawn(rows)
    with_median = drawn([*rows, row("median_norm", eps="4/255", value=2.0)])
    assert "median 2" in with_median
    place = positions(("1/255", "4/255"))
    middle = x_of((place["1/255"] + place["4/255"]) / 2, place["4/255"])
    assert f'<line x1="{middle:.2f}" x2="{middle:.2f}"' in with_median
    adaptive = [
        row(eps="0", threat_model="clean", value=80.0, calibration="c"),
        row(threat_model="adaptive", value=60.0, calibration="c"),
    ]
    both = drawn(
        [*rows, *adaptive, row("median_norm", eps="4/255", value=3.0, threat_model="adaptive", calibration="c")]
    )
    assert 'class="median adaptive"' in both
    assert 'class="median whitebox"' not in both
