"""Commands and options that the documentation names exist. What each page's own examples do, its own test tries."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from typer.main import get_command

from ironbind.cli import app
from ironbind.recipes import AUDITS, CALIBRATIONS
from test_command_line_options import OPTIONS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "reference").glob("*.md")),
]  # fmt: skip
COMMAND = re.compile(r"ironbind ((?:(?:world|data|index) )?[a-z]+)(?![:\w.])([^`\n#]*)")
OPTION = re.compile(r"(?<!\S)--[a-z][\w-]*")


def commands(page: Path) -> list[tuple[int, str, str]]:
    """Line, command, and what follows it, of every command that a page spells out."""
    return [
        (number, match[1], match[2])
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for match in COMMAND.finditer(line)
        if match[1] in OPTIONS
    ]


def test_the_pages_are_read():
    named = {command for page in PAGES for _, command, _ in commands(page)}
    assert named >= {"audit", "calibrate", "ablate", "demo", "report", "selftest", "ls", "data check", "data centers"}
    assert commands(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_of_commands_exist(page):
    unknown = [
        f"line {number}: ironbind {command} {option}"
        for number, command, rest in commands(page)
        for option in OPTION.findall(rest)
        if option not in OPTIONS[command].split()
    ]
    assert not unknown


BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def lines_to_run(page: Path) -> list[list[str]]:
    """The words of every command of ironbind in the page's blocks of commands, without comments."""
    text = "".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("ironbind ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_taken_by_the_parser(page):
    """Every command of a block is parsed by the program's own parser: arguments, options, numbers, choices."""
    refused = []
    for words in lines_to_run(page):
        group: Any = get_command(app)
        rest = list(words)
        while hasattr(group, "commands"):
            group = group.commands[rest.pop(0)]
        try:
            group.make_context(" ".join(words[:1]), rest)
        except ClickException as error:
            refused.append(f"{' '.join(words)}: {error.format_message()}")
    assert not refused


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_prose_names_exist(page):
    """`--option` in a sentence is one of some command, or of a script that the page names."""
    text = page.read_text(encoding="utf-8")
    scripts = [path for path in [*ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py")] if path.name in text]
    known = " ".join([*OPTIONS.values(), *(path.read_text(encoding="utf-8") for path in scripts)])
    assert not [option for option in re.findall(r"`(--[a-z][\w-]*)", text) if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_of_commands_exist(page):
    tables = {"audit": AUDITS, "calibrate": CALIBRATIONS}
    recipes = [(number, command, rest.split()[0]) for number, command, rest in commands(page) if rest.strip()]
    unknown = [
        f"line {number}: {recipe}"
        for number, command, recipe in recipes
        if command in tables
        and re.fullmatch(r"[a-z][\w/-]*", recipe)
        and recipe not in tables[command]
        and not recipe.startswith("mteb/")  # the installed mteb knows its tasks
    ]
    assert not unknown
