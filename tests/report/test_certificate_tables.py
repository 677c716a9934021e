"""Certificates on the page: a table and a chart of their own, beside the attack on the encoder without smoothing, and
every number somewhere to be read.
"""

import re
from dataclasses import replace

import pytest
import synthetic
from test_page import Outline, page_of

from ironbind.core.results import Result, Row
from ironbind.report import markdown
from ironbind.report.certificate_tables import CERTIFIED, certificate_charts, certificate_tables, proven
from ironbind.report.headline import plain, verdict
from ironbind.report.number_format import cell, interval
from ironbind.report.panels import Facts
from ironbind.report.stored_runs import Run, facts_of

RADII = {"l2": ("0", "0.25", "0.5", "1.0"), "snr": ("40dB", "30dB", "20dB")}


def proven_rows(calibrations=("none", "noisy"), norms=("l2",), attacked=True, encoder="tiny") -> list[Row]:
    """Clean, attacked and certified rows; every value can be told from every other."""
    rows, value = [], 99.0

    def add(metric, attack, norm, eps, threat, calibration):
        nonlocal value
        value -= 0.7
        made = synthetic.row(
            "audio", "waveform", "zero_shot", metric, threat, value, eps, calibration, encoder, attack, norm
        )
        rows.append(replace(made, value=value, ci_low=value - 1.0, ci_high=value + 1.0))

    for calibration in calibrations:
        add("top1", "none", "none", "0", "clean", calibration)
        for norm in norms:
            for eps in RADII[norm]:
                if attacked and eps != "0":
                    threat = "whitebox" if calibration == "none" else "adaptive"
                    add("top1", "fmn50-margin", norm, eps, threat, calibration)
                for metric in ("certified_top1", "certified_top5"):
                    add(metric, "smoothing0.25-1000", norm, eps, CERTIFIED, calibration)
    return rows


def certified_of(rows):
    return [row for row in rows if row.threat_model == CERTIFIED]


def test_every_number_is_in_a_table():
    rows = proven_rows(norms=("l2", "snr"))
    found = certificate_tables(rows)
    assert [table.norm for table in found] == ["l2", "snr"]
    assert [table.radii for table in found] == [("0", "0.25", "0.5", "1.0"), ("40dB", "30dB", "20dB")]
    held = [row for table in found for line in table.lines for row in line.cells if row]
    assert {row.value for row in certified_of(rows)} <= {row.value for row in held}
    assert len(held) == len(set(held))
    assert [(line.calibration, line.threat_model, line.metric) for line in found[0].lines] == [
        ("none", "whitebox", "top1"),
        ("none", CERTIFIED, "certified_top1"),
        ("none", CERTIFIED, "certified_top5"),
        ("noisy", "adaptive", "top1"),
        ("noisy", CERTIFIED, "certified_top1"),
        ("noisy", CERTIFIED, "certified_top5"),
    ]


def test_a_certificate_is_no_point_of_an_attack():
    facts = Facts(proven_rows())
    assert not certified_of(facts.rows)
    assert {row.threat_model for row in facts.rows} == {"clean", "whitebox", "adaptive"}


def test_the_sentence_tells_what_is_proven():
    rows = proven_rows()
    facts, found = Facts(rows), certificate_tables(rows)
    said = plain(verdict(facts, "tiny", (), found))
    for row in proven(found[0]):
        assert row.eps == "0.5"
        calibrated = " with calibration noisy" if row.calibration == "noisy" else ""
        assert f"Proven for audio within L2 0.5{calibrated}: {row.value:.0f} %." in said
    assert "Proven" not in plain(verdict(facts, "another", (), found))


@pytest.mark.parametrize("attacked", [True, False])
def test_the_page_and_the_markdown_hold_every_number(tmp_path, attacked):
    rows = proven_rows(norms=("l2", "snr"), attacked=attacked)
    result = Result("proofs", rows)
    page, text = page_of(tmp_path, result), markdown(result)
    for row in certified_of(rows):
        assert f"{cell(row)}<" in page
        assert f"{cell(row)} ({interval(row)})" in text
    Outline(page)  # well-formed
    assert 'id="certificates"' in page
    assert ('id="survived"' in page) == attacked
    assert ("What can be proven of" in page) == (not attacked)
    assert "## Certified" in text


def test_charts_start_at_the_clean_number_and_name_themselves():
    found = certificate_tables(proven_rows(norms=("l2", "snr")))
    drawn = certificate_charts(found, ["tiny"])
    assert [name for name, _ in drawn] == ["audio (waveform), L2", "audio (waveform), snr"]
    for _, picture in drawn:
        assert picture.count("<path") >= 4
        labels = re.findall(r"<title>(.*?)</title>", picture)
        assert any("whitebox" in label for label in labels)
        assert any("noisy, certified at" in label for label in labels)


def test_a_failed_check_is_beside_its_number(tmp_path):
    rows = [replace(row, checks="C19:fail") if row.threat_model == CERTIFIED else row for row in proven_rows()]
    page = page_of(tmp_path, Result("proofs", rows))
    assert "✗ C19" in page
    assert "✗ C19" in markdown(Result("proofs", rows))
    assert facts_of([Run(Result("proofs", rows))]).rows
