"""Corruptions on the page: tables and charts of their own, never a curve of an attack, and every number somewhere to be
read.
"""

import re
from dataclasses import replace
from statistics import fmean

import pytest
import synthetic
from test_page import Outline, page_of

from ironbind.core.results import Result, Row
from ironbind.report import combine, markdown
from ironbind.report.charts.curves import y_of
from ironbind.report.corruption_tables import summaries, tables, written
from ironbind.report.headline import plain, verdict
from ironbind.report.number_format import cell, interval, rounded
from ironbind.report.panels import Facts
from ironbind.report.stored_runs import Run, facts_of

SEVERITIES = ("1", "2", "3", "4", "5")


def worn(calibrations=("none", "l2"), inputs=(("image", "pixels"), ("audio", "logmel")), encoder="tiny") -> list[Row]:
    """Clean rows, two corruptions and noise at two radii; every value can be told from every other."""
    rows = []
    for at, (modality, space) in enumerate(inputs):
        for less, calibration in enumerate(calibrations):
            for metric, top in (("top1", 90), ("top5", 98), ("mean_rank", 1.5)):

                def made(
                    attack,
                    norm,
                    eps,
                    threat,
                    value,
                    modality=modality,
                    space=space,
                    calibration=calibration,
                    metric=metric,
                ):
                    made = synthetic.row(
                        modality, space, "zero_shot", metric, threat, value, eps, calibration, encoder, attack, norm
                    )
                    return replace(made, value=float(value), ci_low=value - 1.0, ci_high=value + 1.0)

                start, worse = top - 5 * less - 2 * at, 1
                if metric == "mean_rank":
                    start, worse = top + less + 0.5 * at, -1
                rows.append(made("none", "none", "0", "clean", start))
                for which, name in enumerate(("gaussian_noise", "contrast")):
                    for step, severity in enumerate(SEVERITIES):
                        rows.append(
                            made(
                                name,
                                "severity",
                                severity,
                                "corrupted",
                                start - worse * ((step + 1) * (3 + 4 * which) + 0.1 * which),
                            )
                        )
                for step, eps in enumerate(("4/255", "8/255")):
                    rows.append(made("random_noise", "linf", eps, "corrupted", start - worse * 0.3 * (step + 1)))
    return rows


@pytest.fixture(scope="module")
def run() -> Result:
    return Result("worn", worn(), record={"classes": 10, "date": "2025-11-23"})


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> str:
    return page_of(tmp_path_factory.mktemp("worn"), run)


def test_every_corrupted_row_is_in_one_table():
    rows = worn()
    held = [row for table in tables(rows) for line in table.lines for row in line.cells if row]
    assert sorted(map(str, held)) == sorted(str(row) for row in rows if row.threat_model == "corrupted")
    assert [(table.norm, table.metric) for table in tables(rows)][:6] == [
        (n, m) for n in ("severity", "linf") for m in ("top1", "top5", "mean_rank")
    ]


def test_means_by_hand():
    rows = worn()
    first = tables(rows)[0]
    values = [
        row.value
        for row in rows
        if (row.modality, row.metric, row.norm, row.calibration) == ("image", "top1", "severity", "none")
    ]
    assert first.mean("none") == pytest.approx(fmean(values))
    assert first.mean("none", "5") == pytest.approx((90 - 15 + 90 - 35.1) / 2)
    assert first.lowest("none").value == min(values)
    line = summaries(tables(rows), ["tiny"])[1]
    assert (line.label, line.calibration, line.corruptions, [row.eps for row in line.noise]) == (
        "image (pixels)",
        "l2",
        2,
        ["4/255", "8/255"],
    )
    assert line.mean == pytest.approx(first.mean("none") - 5)
    ranks = next(table for table in tables(rows) if table.metric == "mean_rank")
    assert ranks.lowest("none").value == max(
        row.value for row in rows if row in [one for line in ranks.of("none") for one in line.cells]
    )


def test_nothing_corrupted_is_drawn_as_an_attack(run, page):
    facts = facts_of([Run(run)])
    assert {row.threat_model for row in facts.rows} == {"clean"}
    assert {panel.norm for panel in facts.panels} == {"none"}
    for absent in ('id="curves"', 'id="survived"', 'id="details"', 'class="dumbbell"'):
        assert absent not in page
    assert page.count("corruptions of") == 0
    assert "What corruptions leave of" in page


def test_every_number_is_on_the_page_and_in_the_markdown(run, page):
    Outline(page)
    assert "None" not in re.sub(r"data:[^\"]*|<script.*?</script>", "", page, flags=re.S)
    shown = set(re.findall(r">([\d.]+)<span class=\"interval\">([\d.–]+)</span>", page))
    assert shown >= {(cell(row), interval(row)) for row in run.rows}
    text = markdown(run)
    for row in run.rows:
        assert f" {cell(row)} |" in text
    for table in tables(run.rows):
        for calibration in table.calibrations:
            mean = table.mean(calibration)
            if table.norm == "severity":
                assert f"{written(mean, table.metric)}</td>" in page
                assert f" {written(mean, table.metric)} |" in text


def test_a_check_that_failed_stands_beside_its_number(run, tmp_path):
    marked = [replace(row, checks="C4:fail" if row.attack == "contrast" else "unchecked") for row in run.rows]
    text = page_of(tmp_path, replace(run, rows=marked))
    section = text[text.index('id="corruptions"') : text.index("</section>", text.index('id="corruptions"'))]
    contrast = [row for row in run.rows if row.attack == "contrast"]
    assert section.count("✗ C4") == len(contrast)
    assert "unchecked" not in section  # attack checks have nothing to say about what nobody attacked
    assert markdown(replace(run, rows=marked)).count("✗ C4 |") == len(contrast)


def test_the_chart_goes_through_the_means(run, page):
    first = tables(run.rows)[0]
    section = page[page.index('id="corruptions"') :]
    drawn = re.findall(r'<path d="([^"]*)" class="curve corrupted">', section)
    assert len(drawn) == 2  # one bold line per input for the uncalibrated encoder
    heights = [float(point.split()[1]) for point in drawn[0].lstrip("M").split("L")]
    expected = [y_of(90), *(y_of(first.mean("none", severity)) for severity in SEVERITIES)]
    assert heights == pytest.approx(expected, abs=0.01)
    assert len(re.findall('class="curve corrupted calibrated"', section)) == 2
    faint = re.findall(r"<title>(gaussian_noise|contrast): 1: [\d.]+ %, 2:", section)
    assert faint == ["gaussian_noise", "contrast"] * 2


def test_the_sentence():
    rows = worn(("none",), (("image", "pixels"),))
    mean = tables(rows)[0].mean("none")
    said = plain(verdict(Facts([row for row in rows if row.threat_model == "clean"]), "tiny", tables(rows)))
    assert said == (
        "Without an attack top-1 accuracy is 90 % on image; no attack was measured; no calibration was tried. "
        f"Under common corruptions, where nobody attacks, {mean:.0f} % remain."
    )
    assert "on average over two inputs" in plain(verdict(Facts(worn()), "tiny", tables(worn())))


def test_beside_an_attack(run, tmp_path):
    """An audit and its corruptions, in one run or in two that begin with the same clean numbers."""
    attacked = synthetic.result(inputs=(("image", "pixels"),), calibrations=(), gallery=False)
    clean = [row for row in attacked.rows if row.threat_model == "clean" and row.task == "zero_shot"]
    corrupted = [row for row in worn(("none",), (("image", "pixels"),)) if row.threat_model == "corrupted"]
    text = page_of(tmp_path / "one", replace(attacked, rows=[*attacked.rows, *corrupted]))
    for present in ('id="survived"', 'id="curves"', 'id="details"', 'id="corruptions"'):
        assert present in text
    assert "Under attack at 4/255" in re.sub("<[^>]*>", "", text)
    first = synthetic.write_run(tmp_path / "attack", attacked)
    unchecked = [replace(row, checks="unchecked") for row in clean]
    second = synthetic.write_run(
        tmp_path / "corruptions", Result("corruptions", [*unchecked, *corrupted], record=attacked.record)
    )
    both = combine([first, second], tmp_path / "both").read_text(encoding="utf-8")
    assert 'id="corruptions"' in both
    table = (tmp_path / "both" / "table.csv").read_text()
    assert table.count(",clean,") == (tmp_path / "attack" / "table.csv").read_text().count(",clean,")
    other = Result("other", [replace(clean[0], value=1.0), *corrupted], record=attacked.record)
    third = synthetic.write_run(tmp_path / "other", other)
    with pytest.raises(
        ValueError, match=r"tiny, none, image, pixels, zero_shot, top1, none, none, 0, clean is in .*attack and .*other"
    ):
        combine([first, third], tmp_path / "both")


# --------------------------------------------------------------------------------------------------------- transfer


def transferred(calibrations=()) -> Result:
    """A run in which nobody looked into the encoder."""
    whole = synthetic.result(inputs=(("image", "pixels"),), calibrations=("l2",), gallery=False)
    rows = []
    for row in whole.rows:
        if row.task == "zero_shot" and (row.calibration == "none" or calibrations):
            threat = {"whitebox": "transfer", "adaptive": "transfer"}.get(row.threat_model, row.threat_model)
            rows += [] if row.threat_model == "replayed" else [replace(row, threat_model=threat)]
    return replace(whole, rows=rows, calibrations=[])


def test_a_transferred_number_is_never_called_an_attack_on_the_encoder(tmp_path):
    run = transferred()
    text = re.sub("<[^>]*>", "", page_of(tmp_path, run))
    said = plain(verdict(Facts(run.rows), "tiny"))
    assert said.startswith("Against examples crafted on another encoder at 4/255 top-1 accuracy falls from ")
    assert "Under attack" not in text
    assert "an attacker who cannot look into this one" in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="curve transfer"' in page
    assert 'class="curve whitebox"' not in page
    assert 'class="mark transfer"' in page


def test_a_calibrated_encoder_under_transfer():
    run = transferred(calibrations=("l2",))
    facts = Facts(run.rows)
    kept = run.value(modality="image", metric="top1", calibration="l2", threat_model="transfer", eps="4/255")
    assert f"; with calibration l2 to {rounded(kept)} %." in plain(verdict(facts, "tiny"))
    assert "replayed" not in plain(verdict(facts, "tiny"))
