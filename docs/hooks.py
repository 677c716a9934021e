"""What `make docs` does beside mkdocs: pages that the navigation does not name are added to it, and the page of the
command line is written from the command line's own help.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FURTHER = "Further pages"


def on_config(config: Any) -> Any:
    """A page that somebody adds is found without a change of mkdocs.yml."""
    named = set(pages_in(config.nav))
    further = [path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in named]
    if further:
        config.nav.append({FURTHER: further})
    return config


def pages_in(nav: Any) -> list[str]:
    """Every page of a navigation, at whatever depth."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_in(part)]


EVERY_COMMAND = "<!-- help of every command -->"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The help of every command, in place of its mark."""
    if EVERY_COMMAND not in markdown:
        return markdown
    sections = [f"## ironbind {name}\n\n```text\n{help_of(name.split())}\n```" for name in command_names()]
    return markdown.replace(EVERY_COMMAND, "\n\n".join(sections))


def command_names() -> list[str]:
    """Every command of the program, groups in front: "data check"."""
    from typer.main import get_command

    from ironbind.cli import app

    def names(group: Any, *path: str) -> list[str]:
        return [
            found
            for name, command in group.commands.items()
            for found in (names(command, *path, name) if hasattr(command, "commands") else [" ".join([*path, name])])
        ]

    return names(get_command(app))


def help_of(command: list[str]) -> str:
    """What `ironbind COMMAND --help` prints."""
    plain = {"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, "-m", "ironbind", *command, "--help"],
        capture_output=True, text=True, encoding="utf-8", check=True, env={**os.environ, **plain},
    )  # fmt: skip
    return run.stdout.strip()
