"""The short page of a run, and the docs that are made of it: what must be on it, and what must not."""

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import refresh_docs
import synthetic
from markdown_it import MarkdownIt
from PIL import Image

from ironbind.core.errors import InputError
from ironbind.core.results import Check, Result
from ironbind.report.charts.svg import drawing
from ironbind.report.charts.svg_files import Titled, svg_file
from ironbind.report.markdown import document
from ironbind.report.short_page import short_page
from ironbind.report.stored_runs import Run, read_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthetic.write_run(tmp_path_factory.mktemp("run"), synthetic.result())


@pytest.fixture(scope="module")
def run(folder) -> Run:
    return read_run(folder)


@pytest.fixture(scope="module")
def page(run):
    return short_page(run, "A run", "pictures", "An introduction.")


def tables(markdown: str) -> list[list[list[str]]]:
    """Rows of cells of every table."""
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in block.splitlines()] for block in blocks
    ]


def test_it_is_a_fraction_of_the_record_and_begins_with_the_verdict(run, page):
    whole = document([run], "A run")
    assert page.markdown.count("\n") < whole.count("\n") / 2
    lines = page.markdown.splitlines()
    assert lines[0] == "# A run"
    assert lines[2] == whole.splitlines()[2]  # the sentence of the complete report
    assert lines[4] == "An introduction."


def test_every_replayed_number_has_its_adaptive_one_beside_it(page):
    seen = 0
    for rows in tables(page.markdown):
        head = rows[0]
        if "replayed" in head:
            assert head[head.index("replayed") + 1] == "adaptive"
            seen += 1
        if "threat model" in head:
            at = head.index("threat model")
            models = [row[at].split()[0] for row in rows[2:]]
            assert all(models[i + 1] == "adaptive" for i, model in enumerate(models) if model == "replayed")
            seen += 1
    assert seen >= 3
    for line in page.markdown.splitlines():
        if "replayed:" in line and line.startswith("**"):
            assert "adaptive accuracy" in line or "adaptive: NOT MEASURED" in line


def test_without_adaptive_numbers_the_page_says_so(run):
    rows = [row for row in run.result.rows if row.threat_model != "adaptive"]
    page = short_page(Run(replace(run.result, rows=rows), run.arrays), "A run", "pictures").markdown
    assert page.count("NOT MEASURED") > len(synthetic.INPUTS)
    assert "adaptive accuracy" not in page


def test_pictures_are_files_that_can_be_opened_and_all_of_them_are_shown(page):
    shown = re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", page.markdown)
    assert sorted(shown) == sorted(picture.name for picture in page.pictures)
    assert len(shown) == len(synthetic.INPUTS) + len(synthetic.CALIBRATIONS)
    for picture in page.pictures:
        assert picture.alt
        if picture.name.endswith(".png"):
            with Image.open(io.BytesIO(picture.content)) as opened:
                assert opened.width > 2 * opened.height > 200  # three side by side
        else:
            root = ElementTree.fromstring(picture.content)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert len(root.findall("{http://www.w3.org/2000/svg}svg")) >= 3


def test_svg_files_stand_alone(page):
    """Colours and patterns that they use are in them; nothing is fetched."""
    for picture in page.pictures:
        if picture.name.endswith(".svg"):
            text = picture.content.decode("utf-8")
            assert set(re.findall(r"var\((--[a-z-]+)\)", text)) <= set(re.findall(r"(--[a-z-]+):", text))
            assert set(re.findall(r"url\(#(\w+)\)", text)) <= set(re.findall(r'id="(\w+)"', text))
            assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


def test_a_title_is_text():
    text = svg_file([Titled("<b> & co", drawing(10, 20, label="x"))] * 3, 2, 'a "label"')
    root = ElementTree.fromstring(text)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert titles == ["<b> & co"] * 3


def test_checks_are_counted_and_those_that_did_not_pass_are_told(run):
    checks = [
        Check("C1", "parameters unchanged", "pass", "no difference", "image"),
        Check("C1", "parameters unchanged", "pass", "no difference", "audio"),
        Check("C4", "the encoder is deterministic", "fail", "two passes differ by 0.3", "image"),
        Check("C13", "optimisation has finished", "warn", "2 of 11", "audio"),
    ]
    page = short_page(Run(replace(run.result, checks=checks), run.arrays), "A run", "pictures").markdown
    assert "| C1 | parameters unchanged | 2 |  |  |  |" in page
    assert "- **fail C4** the encoder is deterministic, image: two passes differ by 0.3" in page
    assert "- **warn C13** optimisation has finished, audio: 2 of 11" in page
    assert "> **Check failed: C4 the encoder is deterministic**" in page
    assert "no difference" not in page


def test_a_run_of_which_little_is_known(run):
    rows = [row for row in run.result.rows if row.threat_model == "clean" and row.calibration == "none"]
    page = short_page(Run(Result("little", rows)), "Little", "pictures")
    assert page.pictures == []
    assert "## What survived" in page.markdown
    for absent in ("## Checks", "## Threat model", "## The run", "## What was trained", "## Accuracy"):
        assert absent not in page.markdown


def test_the_docs_are_written_from_a_run(tmp_path):
    made = synthetic.result()
    made.record |= {"wall_seconds": 151.2, "cpu_seconds": 290.4}
    folder = synthetic.write_run(tmp_path / "run", made)
    (tmp_path / "docs" / "demo").mkdir(parents=True)
    (tmp_path / "docs" / "demo" / "old.png").write_bytes(b"of the run before")
    refresh_docs.main(folder, tmp_path)
    page = (tmp_path / "docs" / "demo.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(demo/([^)]+)\)", page))
    assert shown == {path.name for path in (tmp_path / "docs" / "demo").iterdir()}
    html = MarkdownIt("commonmark").enable("table").render(page)
    assert html.count("<img") == len(shown)
    with pytest.raises(InputError, match="result.json"):
        refresh_docs.main(tmp_path / "nothing", tmp_path)


def test_the_page_in_the_repository_is_short_and_its_pictures_are_there():
    docs = refresh_docs.ROOT / "docs"
    page = (docs / "demo.md").read_text(encoding="utf-8")
    assert page.count("\n") < 400
    shown = set(re.findall(r"\(demo/([^)]+)\)", page))
    assert shown == {path.name for path in (docs / "demo").iterdir()}
    for target in re.findall(r"\]\(([a-z-]+\.md)\)", page):
        assert (docs / target).is_file()
