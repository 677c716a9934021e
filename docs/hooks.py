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


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """`<!-- help: audit -->` becomes the help of that command."""
    if "<!-- help:" not in markdown:
        return markdown
    lines = []
    for line in markdown.splitlines():
        command = line.removeprefix("<!-- help:").removesuffix("-->").split()
        lines.append(f"```text\n{help_of(command)}\n```" if line.startswith("<!-- help:") else line)
    return "\n".join(lines)


def help_of(command: list[str]) -> str:
    """What `ironbind COMMAND --help` prints."""
    plain = {"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, "-m", "ironbind", *command, "--help"],
        capture_output=True, text=True, encoding="utf-8", check=True, env={**os.environ, **plain},
    )  # fmt: skip
    return run.stdout.strip()
