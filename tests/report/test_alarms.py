"""Checks that did not pass are beside the numbers that they touch: on the page, in Markdown, CSV and the terminal."""

import csv
import io
import json
from dataclasses import replace

import pytest
from synthetic import result, write_run

from ironbind.core.results import COLUMNS, UNCHECKED, UNRECORDED, Result, table_csv
from ironbind.report import markdown
from ironbind.report.number_format import alarms
from ironbind.report.page import page
from ironbind.report.stored_runs import Run
from ironbind.report.terminal import summary


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        ("", ""),
        ("C4:fail", "✗ C4"),
        ("C13:warn", "⚠ C13"),
        ("C4:fail C13:warn C6:fail", "✗ C4 C6 ⚠ C13"),
        (UNCHECKED, UNCHECKED),
        (UNRECORDED, UNRECORDED),
    ],
)
def test_what_stands_beside_a_number(checks, told):
    assert alarms(replace(result().rows[0], checks=checks)) == told
    assert alarms(None) == ""


@pytest.fixture
def rung():
    """A run whose attacked image numbers are not to be believed."""
    run = result()
    run.rows = [
        replace(row, checks="C6:fail C13:warn" if row.modality == "image" and row.threat_model == "whitebox" else "")
        for row in run.rows
    ]
    return run


def test_the_page_says_so(rung):
    touched = [row for row in rung.rows if row.checks]
    text = page([Run(rung)], "title")
    assert text.count("✗ C6 ⚠ C13") == len(touched) + 1  # each once in the details, the headline one twice
    assert "✗ C6" not in page([Run(result())], "title")


def test_so_does_the_markdown(rung):
    text = markdown(rung)
    assert (
        text.count("✗ C6 ⚠ C13") == sum(bool(row.checks) for row in rung.rows) + 2
    )  # the headline has a line per calibration
    lines = [line for line in text.splitlines() if line.startswith("| image (pixels) | 4/255")]
    assert [line.count("✗ C6") for line in lines] == [1, 1]  # the clean number beside it is not touched


def test_so_does_the_csv(rung):
    lines = list(csv.DictReader(io.StringIO(table_csv(rung.rows))))
    assert {line["checks"] for line in lines if line["modality"] == "image" and line["threat_model"] == "whitebox"} == {
        "C6:fail C13:warn"
    }
    assert {line["checks"] for line in lines if line["modality"] == "audio"} == {""}
    assert COLUMNS[-1] == "checks"


def test_so_does_the_terminal(rung, tmp_path):
    lines = summary(write_run(tmp_path, rung)).splitlines()
    assert "✗ C6 ⚠ C13 at 4/255" in next(line for line in lines if line.split()[0] == "image")
    assert "✗" not in next(line for line in lines if line.split()[0] == "thermal")


def test_a_result_of_before_is_read_and_says_that_it_does_not_know():
    old = json.loads(result().to_json())
    for row in old["rows"]:
        del row["checks"]
    read = Result.from_json(json.dumps(old))
    assert {row.checks for row in read.rows} == {UNRECORDED}
    assert [row.value for row in read.rows] == [row.value for row in result().rows]


def test_rows_that_differ_in_their_checks_alone_are_one(rung):
    for first, second in ((UNCHECKED, "C6:fail"), ("C6:fail", UNCHECKED), (UNCHECKED, "")):
        one, other = (Result("part", [replace(rung.rows[0], checks=checks)]) for checks in (first, second))
        one.absorb(other)
        assert [row.checks for row in one.rows] == [second if first == UNCHECKED else first]
