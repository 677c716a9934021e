"""The documentation as a site: every page is reachable, every public name is in the reference, the first hour runs, and
so do the notebooks. `make docs` builds it, strictly.
"""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ironbind as ib
from ironbind.__main__ import main
from test_command_line_options import OPTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
HOUR = (DOCS / "first-hour.md").read_text(encoding="utf-8")

sys.path[:0] = [str(ROOT / "scripts"), str(DOCS)]
import hooks  # noqa: E402 - of mkdocs.yml, no package
import run_notebooks  # noqa: E402
from readme_table import MARK, PAGES  # noqa: E402


def test_every_page_of_the_navigation_is_there():
    named = re.findall(r":? ?([\w/-]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.M)
    assert len(named) > 20
    assert not [page for page in named if not (DOCS / page).is_file()]
    assert {path.stem for path in run_notebooks.NOTEBOOKS} == {Path(name).stem for name in named if "ipynb" in name}


def test_links_of_pages_lead_to_pages():
    """Within docs/: what lies beside it is not on the site, and `make docs` fails on such a link."""
    pages = [*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md")]
    prose = {page.name: re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S) for page in pages}
    links = [
        (name, link)
        for name, text in prose.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if not re.match(r"[a-z]+:|#", link)
    ]
    assert len(links) > 50
    targets = {link: (DOCS / link.partition("#")[0]).resolve() for _, link in links}
    assert not [(name, link) for name, link in links if not targets[link].is_relative_to(DOCS)]
    assert not [(name, link) for name, link in links if not targets[link].exists() and "reference" not in name]


def test_the_large_table_is_on_both_first_pages():
    tables = [page.read_text(encoding="utf-8").split(f"<!-- {MARK}: ")[1] for page in PAGES]
    assert tables[0] == tables[1]
    assert tables[0].count("|") > 50


def test_every_public_name_is_in_the_reference():
    missing = [name for name in ib.__all__ if name != "__version__" and not re.search(rf"ib\.{name}\b", REFERENCE)]
    missing = [name for name in missing if not re.search(rf"^::: \S+\.{name}$", REFERENCE, flags=re.M)]
    assert not missing


def test_what_the_reference_names_exists():
    from importlib import import_module

    for name in re.findall(r"^::: (\S+)$", REFERENCE, flags=re.M):
        module, _, attribute = name.rpartition(".")
        try:
            found = import_module(name)
        except ModuleNotFoundError:
            found = getattr(import_module(module), attribute)
        assert found.__doc__, name


def test_every_command_is_in_the_reference():
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert hooks.EVERY_COMMAND in page
    assert set(hooks.command_names()) == set(OPTIONS)
    assert "--limit" in hooks.help_of(["audit"])
    shown = hooks.on_page_markdown("# A page\n\n<!-- no mark -->", None, None, None)
    assert shown == "# A page\n\n<!-- no mark -->"


def test_pages_that_the_navigation_does_not_name_are_added_to_it():
    config = SimpleNamespace(nav=["index.md", {"Guides": [{"One": "hardening.md"}]}], docs_dir=str(DOCS))
    found = hooks.on_config(config).nav[-1][hooks.FURTHER]
    assert "attacks.md" in found
    assert not {"index.md", "hardening.md"} & set(found)


def test_figures_of_the_new_pages_are_there():
    for page in ("index.md", "first-hour.md"):
        figures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (DOCS / page).read_text(encoding="utf-8"))
        assert figures
        assert not [figure for figure in figures if not (DOCS / figure).is_file()]


@pytest.mark.timeout(900)
def test_the_first_hour_runs(tmp_path, monkeypatch, capsys):
    """Its commands and its Python, in the order of the page, with an attack of two steps on half as many samples."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(bash|python)\n(.*?)```", HOUR, flags=re.S)
    assert [kind for kind, _ in blocks].count("bash") >= 5
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "first-hour.md", "exec"), {"__name__": "__main__"})
            continue
        for line in text.splitlines():
            words = line.split()
            assert words[0] == "ironbind"
            quick = ["--steps", "2", "--limit", "8"] if words[1] == "audit" else []
            monkeypatch.setattr("sys.argv", [*words, *quick])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code, line
    printed = capsys.readouterr().out
    assert printed.count("Example(") == 8
    for folder in ("first", "hardened", "mine"):
        assert (tmp_path / "runs" / folder / "report.html").is_file()


@pytest.mark.parametrize("path", run_notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_with_their_outputs(path):
    """A reader of the site sees what each cell gave; no cell is empty or holds an error."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert any(cell["outputs"] for cell in code)
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("path", run_notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path):
    """Slow: audits and trainings of about a minute each."""
    if "ironbind export" in path.read_text(encoding="utf-8") and "export" not in OPTIONS:
        pytest.skip("this version has no command export")
    cells = [cell for cell in run_notebooks.run(path)["cells"] if cell["cell_type"] == "code"]
    answers = [text for cell in cells for out in cell["outputs"] for text in out.get("data", {}).get("text/plain", [])]
    assert "False" not in answers  # what a notebook compares is equal
    assert "True" in answers
