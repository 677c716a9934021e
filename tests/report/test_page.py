"""Facts about the page and the Markdown, never their bytes."""

import html
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
import synthetic
from markdown_it import MarkdownIt

from ironbind.core.errors import InputError
from ironbind.core.results import Check, Result, table_csv
from ironbind.report import combine, markdown, write_report
from ironbind.report.charts.curves import curves, x_of, y_of
from ironbind.report.number_format import cell, interval
from ironbind.report.panels import Facts
from ironbind.report.pivots import pivots

VOID = {"meta", "link", "img", "input", "br", "wbr", "source", "rect", "hr"}


class Outline(HTMLParser):
    """Checks nesting and keeps what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"


def page_of(folder, run) -> str:
    return write_report(synthetic.write_run(folder, run)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run() -> Result:
    return synthetic.result()


@pytest.fixture(scope="module")
def small() -> Result:
    """Two inputs, where what is on the page does not matter."""
    return synthetic.result(inputs=synthetic.INPUTS[2:4])


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> str:
    return page_of(tmp_path_factory.mktemp("run"), run)


@cache
def variants() -> dict[str, Result]:
    """Runs in which something is missing: pictures, sounds in both spaces, and clouds are in most."""
    full = synthetic.result(inputs=(synthetic.INPUTS[0], *synthetic.INPUTS[2:5]))
    small = synthetic.result(inputs=synthetic.INPUTS[2:4])
    return {
        "one modality": synthetic.result(inputs=(("event", "event_frames"),)),
        "no calibration": synthetic.result(calibrations=()),
        "no gallery": synthetic.result(gallery=False),
        "one eps": replace(full, rows=[row for row in full.rows if row.eps in ("0", "2/255", "0.2/255")]),
        "clean only": replace(full, rows=[row for row in full.rows if row.threat_model == "clean"]),
        "no adaptive": replace(full, rows=[row for row in full.rows if row.threat_model != "adaptive"]),
        "no clean": replace(full, rows=[row for row in full.rows if row.threat_model != "clean"]),
        "retrieval only": replace(full, rows=[row for row in full.rows if row.task != "zero_shot"]),
        "bare": Result("bare", [row for row in full.rows if row.task == "zero_shot"]),
        "odd eps": replace(full, rows=[replace(row, eps="a lot") if row.eps == "8/255" else row for row in full.rows]),
        "two encoders, two norms": replace(
            full,
            rows=small.rows
            + [replace(row, encoder="big") for row in small.rows]
            + [replace(row, norm="l2") for row in small.rows if row.norm == "linf"],
        ),
    }


@pytest.mark.parametrize("name", variants())
def test_renders_whatever_is_missing(name, tmp_path):
    run = variants()[name]
    text = page_of(tmp_path, run)
    Outline(text)
    assert "None" not in re.sub(r"data:[^\"]*|<script.*?</script>", "", text, flags=re.S)
    assert "Undefined" not in text
    assert len(markdown(run).splitlines()) > 5


def test_facts_in_facts_have_a_line_each(run):
    record = {**run.record, "defences": [{"name": "a", "draws": {"of": 1}}, {"name": "b"}], "names": ["c", "d"]}
    written = markdown(replace(run, record=record))
    for line in ("defences · 1 · name | a", "defences · 1 · draws · of | 1", "defences · 2 · name | b", "names | c, d"):
        assert f"| {line} |" in written


def test_every_row_is_on_the_page_and_in_the_markdown(run, page):
    held = {
        id(row)
        for retrieval in (False, True)
        for one in pivots(Facts(run.rows), retrieval)
        for line in one.lines
        for row in line.cells
        if row
    }
    assert held == {id(row) for row in run.rows}
    shown = set(re.findall(r'<td class="number">([\d.]+)<span class="interval">([\d.–]+)</span>', page))
    assert shown >= {(cell(row), interval(row)) for row in run.rows}
    written = markdown(run)
    for row in run.rows:
        assert f" {cell(row)} |" in written


def test_replayed_is_never_without_adaptive(run, page):
    with_replayed = [row for row in re.findall(r"<tr.*?</tr>", page, flags=re.S) if 'class="number replayed"' in row]
    assert len(with_replayed) == (len(synthetic.INPUTS) + 1) * len(synthetic.CALIBRATIONS)
    assert all('class="number adaptive"' in row for row in with_replayed)
    assert all(row.count("+") + row.count("−") + row.count("±") >= 2 for row in with_replayed)
    tracks = re.findall(r'<svg class="dumbbell-track".*?aria-label="([^"]*)"', page)
    assert len(tracks) == 3 * len(synthetic.INPUTS) * len(synthetic.CALIBRATIONS)
    assert all(("replayed" in one) == ("adaptive" in one) for one in tracks)
    for one in (one for retrieval in (False, True) for one in pivots(Facts(run.rows), retrieval)):
        order = [(line.metric, line.calibration, line.threat_model) for line in one.lines]
        for place, (metric, calibration, threat_model) in enumerate(order):
            if threat_model == "replayed":
                assert order[place + 1] == (metric, calibration, "adaptive")


def test_adaptive_not_measured_is_loud(run, tmp_path):
    without = replace(run, rows=[row for row in run.rows if row.threat_model != "adaptive"])
    text = page_of(tmp_path, without)
    assert 'role="alert"' in text
    for table in re.findall(r'<table class="headline">.*?</table>', text, flags=re.S):
        cells = [row for row in re.findall(r"<tr.*?</tr>", table, flags=re.S) if 'class="number replayed"' in row]
        assert cells
        assert all("adaptive: not measured" in row for row in cells)
    for table in re.findall(r'<table class="pivot">.*?</table>', text, flags=re.S):
        assert table.count("adaptive: not measured") == len(re.findall(r'<tr class="replayed">', table))
    for answer in re.findall(r"What center_ce makes of it.*?</p>", text, flags=re.S):
        assert "adaptive: not measured" in answer
    written = markdown(without)
    assert written.count("NOT MEASURED") >= 14


def test_failed_checks_stand_on_top(run, tmp_path):
    failed = replace(
        run, checks=[*run.checks, Check("C10", "within budget", "fail", "3 of 400 exceed it", "video (pixels)")]
    )
    text = page_of(tmp_path, failed)
    assert 0 < text.index("3 of 400 exceed it") < text.index('id="survived"')
    assert "one check failed" in text.lower()
    assert "**Check failed: C10 within budget**" in markdown(failed)


def test_no_banner_without_failures(page):
    assert 'role="alert"' not in page
    assert "one check gave a warning" in re.sub(r"<[^>]*>", "", page)


def test_everything_from_data_is_escaped(run, tmp_path):
    evil = "<script>alert(1)</script>|\"'&"
    nasty = Result(
        evil,
        [
            replace(row, encoder=evil, calibration=evil if row.calibration != "none" else "none")
            for row in run.rows
            if row.task == "zero_shot"
        ],
        [replace(one, unit=evil, goal=evil, attack=evil, meaning=(evil,) * 4) for one in run.threat_models],
        [replace(one, name=evil, objective=evil) for one in run.calibrations],
        [Check(evil, evil, "fail", evil, evil)],
        [
            replace(one, truth=evil, sample=evil, calibrated=evil, clean=(replace(one.clean[0], label=evil),))
            for one in run.gallery
        ],
        {evil: {evil: evil}},
    )
    text = page_of(tmp_path, nasty)
    assert "<script>alert" not in text
    assert html.escape("<script>alert(1)</script>") in text
    assert Outline(text).tags.count("script") == 1
    assert "<script>" not in markdown(nasty).replace("\\<script\\>", "")


def test_page_needs_nothing_from_elsewhere(page):
    for tag, attributes in Outline(page).attributes:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            value = attributes.get(name)
            if value and not value.startswith(("data:", "#")):
                pytest.fail(f"<{tag} {name}={value[:60]}> points elsewhere")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r"https?://", page.replace("http://www.w3.org/2000/svg", ""))


def test_page_is_small(page):
    assert len(page) < 3_000_000


def test_accessible(page):
    outline = Outline(page)
    attributes = outline.attributes
    assert all(one.get("alt") for tag, one in attributes if tag == "img")
    assert all(one.get("aria-label") for tag, one in attributes if tag == "svg" and one.get("role") == "img")
    assert all("scope" in one for tag, one in attributes if tag == "th")
    assert outline.tags.count("caption") == outline.tags.count("table")
    assert dict(attributes[1][1]).get("lang") == "en" or ("html", {"lang": "en"}) in attributes


def test_bands_are_the_intervals_of_the_rows(run):
    facts = Facts(run.rows, run.calibrations)
    first = curves(facts, {"image": 10.0})[0]
    assert first.calibration == "center_ce"
    image = next(one for one in first.panels if one.label.startswith("image"))
    ladder = ("0", "1/255", "2/255", "4/255", "8/255")
    for role, calibration in (("whitebox", "none"), ("replayed", "center_ce"), ("adaptive", "center_ce")):
        rows = [
            run.select(
                modality="image",
                task="zero_shot",
                metric="top1",
                calibration=calibration,
                threat_model="clean" if eps == "0" else role,
                eps=eps,
            )[0]
            for eps in ladder
        ]
        outline = re.search(rf'<path d="M([^"]*)Z" class="band {role}">', str(image.drawing)).group(1)
        drawn = [tuple(float(one) for one in pair.split()) for pair in outline.split("L")]
        x = [x_of(step, 4) for step in range(5)]
        expected = [(x[i], y_of(row.ci_high)) for i, row in enumerate(rows)] + [
            (x[i], y_of(row.ci_low)) for i, row in reversed(list(enumerate(rows)))
        ]
        np.testing.assert_allclose(drawn, expected, atol=0.006)
    assert "chance 10 %" in str(image.drawing)


def test_chance_is_left_out_when_unknown(run):
    assert "chance" not in "".join(str(one.drawing) for one in curves(Facts(run.rows), {})[0].panels)


def test_files_beside_the_page(small, tmp_path):
    folder = synthetic.write_run(tmp_path / "run", small)
    (folder / "table.csv").write_text("old")
    assert write_report(folder) == folder / "report.html"
    assert (folder / "table.csv").read_text() == table_csv(small.rows)
    assert (folder / "report.md").read_text() == markdown(small)
    assert write_report(folder, tmp_path / "elsewhere" / "audit.html") == tmp_path / "elsewhere" / "audit.html"
    assert (tmp_path / "elsewhere" / "table.csv").exists()


def test_same_run_same_bytes(run, tmp_path):
    folder = synthetic.write_run(tmp_path, run)
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_gallery_without_its_arrays(small, tmp_path):
    folder = synthetic.write_run(tmp_path, small)
    (folder / "gallery.npz").unlink()
    text = write_report(folder).read_text()
    Outline(text)
    assert "are not in <code>gallery.npz</code>" in text


def test_broken_inputs_name_the_file(small, tmp_path):
    with pytest.raises(ValueError, match=r"result\.json"):
        write_report(tmp_path)
    folder = synthetic.write_run(tmp_path / "run", small)
    (folder / "gallery.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match=r"gallery\.npz"):
        write_report(folder)
    (folder / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json"):
        write_report(folder)
    Result("empty").write(tmp_path / "empty")
    with pytest.raises(ValueError, match="no rows"):
        write_report(tmp_path / "empty")


def test_combine(tmp_path):
    run = synthetic.result(inputs=synthetic.INPUTS[:2])
    first = synthetic.write_run(tmp_path / "first", run)
    other = replace(run, name="second", rows=[replace(row, encoder="big") for row in run.rows])
    second = synthetic.write_run(tmp_path / "second", other)
    path = combine([first, second], tmp_path / "both")
    text = path.read_text()
    Outline(text)
    assert (tmp_path / "both" / "table.csv").read_text() == table_csv(run.rows + other.rows)
    assert "<strong>tiny.</strong>" in text
    assert "<strong>big.</strong>" in text
    assert text.count('<article class="exhibit">') == 2 * len(run.gallery)


def test_combine_refuses_what_overlaps(small, tmp_path):
    first = synthetic.write_run(tmp_path / "first", small)
    attacked = next(row for row in small.rows if row.threat_model == "whitebox")
    second = synthetic.write_run(tmp_path / "second", replace(small, name="second", rows=[attacked]))
    with pytest.raises(ValueError, match=r"tiny, none, audio, logmel, zero_shot, top1.*first and .*second"):
        combine([first, second], tmp_path / "both")
    with pytest.raises(ValueError, match="twice"):
        combine([first, first], tmp_path / "both")
    with pytest.raises(ValueError, match="overwrite"):
        combine([first, second], first)
    with pytest.raises(ValueError, match="no run folder"):
        combine([], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_markdown_parses_into_whole_tables(run):
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(run))
    heads, widths = [], []
    for token in tokens:
        if token.type == "tr_open":
            widths.append(0)
        elif token.type in ("th_open", "td_open"):
            widths[-1] += 1
        elif token.type == "table_open":
            heads.append(len(widths))
    assert len(heads) >= 8
    for start, end in zip(heads, [*heads[1:], len(widths)], strict=True):
        assert len(set(widths[start:end])) == 1
    assert {token.content for token in tokens if token.type == "inline"} >= {
        "What survived",
        "Calibration",
        "Threat model",
        "Checks",
    }


def test_no_torch():
    code = "import sys, ironbind.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_place_that_cannot_be_written_is_one_line(small, tmp_path):
    folder = synthetic.write_run(tmp_path / "run", small)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "file" / "page.html"):
        with pytest.raises(InputError, match=r"cannot be written \(.*\); expected a folder that can be written"):
            write_report(folder, out)
