"""The dumbbells: bars run from the attacked value to the calibrated ones, whiskers are the rows' intervals."""

import re
from dataclasses import replace

import pytest
import synthetic

from ironbind.report.charts.dumbbell import averages, dumbbells
from ironbind.report.number_format import points
from ironbind.report.panels import Facts, Panel
from ironbind.report.templates_env import breakable


@pytest.fixture(scope="module")
def facts():
    run = synthetic.result()
    return Facts(run.rows, run.calibrations)


def lines_of(drawing):
    """class -> (x1, x2) in percent."""
    found = re.findall(r'<line x1="([\d.]+)%" x2="([\d.]+)%" y1="50%" y2="50%" class="([a-z ]+)">', str(drawing))
    return {name: (float(start), float(end)) for start, end, name in found}


def test_bars_and_whiskers(facts):
    for row, line in zip(dumbbells(facts, facts.headline()), facts.headline(), strict=True):
        assert row.eps == ("0.4/255" if line.panel.space == "waveform" else "4/255")
        for track, after in zip(row.tracks, line.after, strict=True):
            drawn = lines_of(track.drawing)
            assert drawn["lost"] == pytest.approx((line.attacked.value, line.clean.value), abs=0.006)
            assert drawn["seemed"] == pytest.approx((line.attacked.value, after.replayed.value), abs=0.006)
            assert drawn["survived"] == pytest.approx((line.attacked.value, after.adaptive.value), abs=0.006)
            for role, cell in (
                ("clean", line.clean),
                ("whitebox", line.attacked),
                ("replayed", after.replayed),
                ("adaptive", after.adaptive),
            ):
                assert drawn[f"whisker {role}"] == pytest.approx((cell.ci_low, cell.ci_high), abs=0.006)
            assert track.replayed_gain == points(after.replayed.value - line.attacked.value)
            assert track.adaptive_gain == points(after.adaptive.value - line.attacked.value)


def test_a_head_trained_in_two_spaces_sets_the_headline_of_both(facts):
    run = synthetic.result()
    trained = [one for one in run.calibrations if one.modality == "audio" and one.space == "logmel"]
    joint = [replace(one, space="logmel+waveform", eps="4/255+0.2/255") for one in trained]
    both = Facts(run.rows, joint)
    wanted = {panel.space: both.headline_eps(panel) for panel in both.panels if panel.modality == "audio"}
    assert wanted == {"logmel": "4/255", "waveform": "0.2/255"}


def test_replayed_alone_says_so(facts):
    without = Facts([row for row in facts.rows if row.threat_model != "adaptive"])
    for row in dumbbells(without, without.headline()):
        assert {track.adaptive_gain for track in row.tracks} == {"not measured"}
        assert all("adaptive: not measured" in str(track.drawing) for track in row.tracks)


def test_averages_only_over_what_every_line_has(facts):
    lines = facts.headline()
    means = averages(lines)
    assert means["infonce/adaptive"] == pytest.approx(sum(line.after[1].adaptive.value for line in lines) / len(lines))
    fewer = Facts([row for row in facts.rows if (row.modality, row.threat_model) != ("image", "adaptive")]).headline()
    assert "infonce/adaptive" not in averages(fewer)
    assert "infonce/replayed" in averages(fewer)


def test_the_attack_that_hurt_most_counts():
    place = ("image", "pixels", "zero_shot")
    rows = [synthetic.row(*place, metric, "whitebox", value, "4/255", attack=attack) for metric, attack, value in
            (("top1", "PGD", 30), ("top1", "APGD", 20),
            ("mean_rank", "PGD", 3.0), ("mean_rank", "APGD", 5.0))]  # fmt: skip
    facts = Facts(rows)
    panel = Panel("tiny", "image", "pixels", "linf")
    assert facts.cell(panel, "zero_shot", "top1", "whitebox", eps="4/255").value == 20
    assert facts.cell(panel, "zero_shot", "mean_rank", "whitebox", eps="4/255").value == 5


def test_names_break_behind_underscores_and_stay_text():
    assert str(breakable("center_ce<b>+l2")) == "center_<wbr>ce&lt;b&gt;+<wbr>l2"
