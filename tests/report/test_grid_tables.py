"""Runs as the tables of a paper: every number in its place, missing ones named, the same in all four formats."""

import csv
import re
from dataclasses import replace

import pytest

from ironbind.core.errors import InputError
from ironbind.core.results import Check, Result, Row
from ironbind.report import GRIDS, combine
from ironbind.report.paper_grid.grid_tables import grid_tables
from ironbind.report.paper_grid.writers import grid_latex, latex_text
from ironbind.report.stored_runs import read_run

SEES = {
    "ImageBind": ["image", "video", "audio", "thermal"],
    "UniBind": ["image", "video", "audio", "point", "thermal", "event"],
}
SPACE = {"audio": "logmel", "point": "unit_sphere"}


def rows(
    encoder: str,
    modality: str,
    values: dict,
    task: str = "zero_shot",
    metric: str = "top1",
    n: int = 400,
    checks: str = "",
) -> list[Row]:
    """`values`: (calibration, threat model, eps) -> percent."""
    made = []
    for (calibration, threat_model, eps), value in values.items():
        attacked = ("none", "none") if threat_model == "clean" else ("pgd", "linf")
        flags = checks if threat_model != "clean" else ""
        reach = (max(0.0, value - 5), min(100.0, value + 4))
        made.append(
            Row(
                encoder,
                calibration,
                modality,
                SPACE[modality],
                task,
                metric,
                *attacked,
                eps,
                threat_model,
                value,
                *reach,
                n,
                flags,
            )
        )
    return made


def write(folder, name: str, title: str, data: str, found: list[Row], checks: tuple[Check, ...] = ()) -> None:
    cell = {
        "model": title.lower(),
        "model_title": title,
        "dataset": data,
        "dataset_title": data.upper(),
        "sees": SEES[title],
    }
    Result(
        name,
        found,
        checks=list(checks),
        record={"cell": cell, "data": data, "command": f"ironbind audit paper/{data}", "date": "2026"},
    ).write(folder)


ESC = {
    ("none", "clean", "0"): 66.9, ("none", "whitebox", "2/255"): 12.5, ("none", "whitebox", "4/255"): 3.2,
    ("l2", "clean", "0"): 60.1, ("l2", "replayed", "2/255"): 55.5, ("l2", "adaptive", "2/255"): 14.1,
    ("l2", "replayed", "4/255"): 44.4,
    ("l2", "adaptive", "4/255"): 4.7,
}  # fmt: skip
URBAN = {("none", "clean", "0"): 50.5, ("none", "whitebox", "2/255"): 21.5, ("none", "whitebox", "4/255"): 11.9}
POINT = {("none", "clean", "0"): 75.25, ("none", "whitebox", "2/255"): 8.25, ("none", "whitebox", "4/255"): 0.0}


@pytest.fixture
def folders(tmp_path):
    failed = Check("C4", "checks of gradients", "fail", "they vanish", "audio logmel")
    write(tmp_path / "a", "a", "ImageBind", "esc50", rows("imagebind-huge", "audio", ESC))
    write(
        tmp_path / "b",
        "b",
        "ImageBind",
        "urban",
        rows("imagebind-huge", "audio", URBAN, n=800, checks="C4:fail"),
        (failed,),
    )
    write(
        tmp_path / "c",
        "c",
        "UniBind",
        "esc50",
        rows("unibind", "audio", {key: value / 2 for key, value in ESC.items() if key[0] == "none"}),
    )
    write(tmp_path / "d", "d", "UniBind", "modelnet40", rows("unibind", "point", POINT))
    return [tmp_path / name for name in "abcd"]


def cells(markdown: str, table: str) -> dict[tuple[str, str], list[str]]:
    """(row group, encoder) -> the cells of a Markdown table."""
    found, group = {}, ""
    for line in markdown.split(f"## {table}")[1].split("##")[0].splitlines():
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        if line.startswith("| **"):
            group = parts[0].strip("*")
        elif line.startswith("|") and group:
            found[group, parts[0]] = parts[1:]
    return found


def test_every_number_is_in_its_place(folders, tmp_path):
    page = combine(folders, tmp_path / "out")
    assert page == tmp_path / "out" / "grid.html"
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(GRIDS)
    markdown = (tmp_path / "out" / "grid.md").read_text()
    audio = cells(markdown, "Zero-shot accuracy, Top-1 (%): audio")
    assert "|  | ESC50: clean | ESC50: 2/255 | ESC50: 4/255 | URBAN: clean | URBAN: 2/255 | URBAN: 4/255 |" in markdown
    assert audio == {
        ("uncalibrated", "ImageBind"): ["66.9", "12.5", "3.2", "50.5", "21.5†", "11.9†"],
        ("uncalibrated", "UniBind"): [f"{66.9 / 2:.1f}", f"{12.5 / 2:.1f}", "1.6", "-", "-", "-"],
        ("l2", "ImageBind"): ["60.1", "55.5 / **14.1**", "44.4 / **4.7**", "-", "- / -", "- / -"],
        ("l2", "UniBind"): ["-", "- / -", "- / -", "-", "- / -", "- / -"],
    }
    point = cells(markdown, "Zero-shot accuracy, Top-1 (%): point")
    assert point == {
        ("uncalibrated", "ImageBind"): ["n/a", "n/a", "n/a"],
        ("uncalibrated", "UniBind"): ["75.2", "8.2", "0.0"],
    }
    assert "Check failed in b: C4 checks of gradients" in markdown
    assert "L∞ in logmel. n = 400 to 800; 95 % intervals reach at most 5.0 points" in markdown


def test_latex_is_balanced_and_says_the_same(folders):
    latex = grid_latex([read_run(one) for one in folders], "title 100%")
    assert latex.count("{") == latex.count("}")
    assert (
        latex.count("\\begin{tabular}")
        == latex.count("\\end{tabular}")
        == latex.count("\\toprule")
        == latex.count("\\bottomrule")
        == 2
    )
    table = latex.split("\\end{table}")[0]
    width = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table).group(1))
    for line in re.findall(r"^[^%\\\n].*\\\\$|^ &.*\\\\$", table, re.MULTILINE):
        spans = sum(int(one) - 1 for one in re.findall(r"\\multicolumn\{(\d+)\}", line))
        assert line.count("&") + 1 + spans == width == 11, line
    assert "ImageBind & 60.1 & 55.5 & 14.1 & 44.4 & 4.7 & -- & -- & -- & -- & -- \\\\" in table
    assert "UniBind & 33.5 & \\multicolumn{2}{c}{6.2} & \\multicolumn{2}{c}{1.6} & --" in table.replace("33.4", "33.5")
    assert "\\multicolumn{2}{c}{21.5$^\\dagger$}" in table
    assert (
        latex_text("a_b & 50% {x} \\ ~^ 4/255")
        == r"a\_b \& 50\% \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{} 4/255"
    )


def test_html_and_csv(folders, tmp_path):
    combine(folders, tmp_path / "out" / "mine.html")
    html = (tmp_path / "out" / "mine.html").read_text()
    assert "http" not in html.replace("Content-Security-Policy", "").replace("http-equiv", "")
    for said in (
        "55.5",
        "14.1",
        "n/a",
        "MODELNET40",
        "95 %: 7.5–16.5, n = 400",
        "uncalibrated",
        "C4 checks of gradients",
    ):
        assert said in html
    assert html.count("<tr>") == html.count("</tr>")
    found = list(csv.DictReader((tmp_path / "out" / "grid.csv").open()))
    assert len(found) == 8 + 3 + 3 + 3
    assert {(row["data"], row["model"]) for row in found} == {
        ("esc50", "ImageBind"), ("urban", "ImageBind"), ("esc50", "UniBind"), ("modelnet40", "UniBind"),
    }  # fmt: skip
    assert [row["value"] for row in found if row["threat_model"] == "adaptive"] == ["14.1000", "4.7000"]


def test_two_runs_of_one_cell_are_refused_and_of_two_data_sets_are_not(folders, tmp_path):
    write(tmp_path / "again", "again", "ImageBind", "esc50", rows("imagebind-huge", "audio", ESC))
    with pytest.raises(InputError, match=r"the row esc50, imagebind-huge, .* is in .*a and .*again"):
        combine([*folders, tmp_path / "again"], tmp_path / "out")


def test_one_data_set_has_the_page_too(folders, tmp_path):
    page = combine([folders[0], folders[2]], tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*GRIDS, "report.html", "report.md", "table.csv"}


def test_runs_that_are_no_cells(tmp_path):
    for name in ("x", "y"):
        found = [replace(row, encoder=f"enc{name}") for row in rows("e", "audio", URBAN)]
        Result(name, found, record={"data": "mine"}).write(tmp_path / name)
    (table,) = grid_tables([read_run(tmp_path / name) for name in ("x", "y")])
    assert [line.encoder for line in table.groups[0].lines] == ["encx", "ency"]
    assert table.columns[0].title == "mine"


def test_spaces_radii_and_retrieval(tmp_path):
    ladder = {("none", "whitebox", eps): 10.0 for eps in ("1/255", "2/255", "4/255", "8/255")} | {
        ("none", "clean", "0"): 50.0
    }
    wave = {("none", "whitebox", eps): 20.0 for eps in ("0.2/255", "0.4/255", "0.8/255", "1.6/255")} | {
        ("none", "clean", "0"): 50.0
    }
    found = rows("e", "audio", ladder) + [replace(row, space="waveform") for row in rows("e", "audio", wave)]
    found += rows("e", "audio", URBAN, task="retrieval:audio->text", metric="R@1") + rows(
        "e", "audio", URBAN, task="retrieval:audio->text", metric="R@5"
    )
    found += rows("e", "audio", URBAN, task="retrieval:text->audio", metric="R@1") + rows(
        "e", "audio", URBAN, task="illusion:audio->text", metric="resists"
    )
    Result("x", found, record={"data": "mine"}).write(tmp_path / "x")
    zero_shot, to_text, of_text = grid_tables([read_run(tmp_path / "x")])
    assert [(column.space, column.eps) for column in zero_shot.columns] == [
        ("logmel", ("2/255", "4/255")),
        ("waveform", ("0.4/255", "0.8/255")),
    ]
    assert [column.eps for column in to_text.columns] == [("2/255", "4/255")]
    assert (to_text.title, of_text.title) == (
        "Retrieval of text by the perturbed input, R@1 (%): audio",
        "Retrieval of the perturbed input by text, R@1 (%): audio",
    )  # fmt: skip
    text = GRIDS["grid.md"]([read_run(tmp_path / "x")], "t")
    assert "mine (logmel, L∞): clean" in text
    assert "mine (waveform, L∞): 0.8/255" in text
