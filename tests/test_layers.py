"""Who may import whom: a star, not a web. Reports and `--help` never wait for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ironbind"
FILES = sorted(SOURCE.rglob("*.py"))

NOUNS = {"core", "types"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": {"types"},
    "types": {"core"},
    "numerics": NOUNS,
    "goals": NOUNS | {"numerics"},
    "modalities": NOUNS | {"numerics"},
    "data": NOUNS | {"numerics", "modalities"},
    "encoders": NOUNS | {"numerics", "modalities"},
    "attacks": NOUNS | {"numerics", "goals"},
    "calibration": NOUNS | {"numerics", "goals"},
    "evaluate": NOUNS | {"numerics", "goals"},
    "report": {"core"},
}
# the composition root and what is built on it
EVERYTHING = {"runs", "recipes", "selftest", "api", "cli", "cli_progress", "__main__"}
LINES = 450
LONGER: dict[str, int] = {"cli.py": 520, "audit.py": 460}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at whatever depth, type-checking blocks included."""
    found = set()
    package = ["ironbind", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("ironbind.")}
    return {name for name in names if (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_star(path):
    here = room(path)
    if here in EVERYTHING or here == "__init__":
        return
    assert here in MAY_IMPORT, f"{here} is a new room: say in MAY_IMPORT what it may know"
    assert rooms_of(path) <= MAY_IMPORT[here] | {here}


def test_the_star_is_looked_at():
    """The check above sees what it should: a sibling, a relative import, an import inside a function."""
    assert "numerics" in rooms_of(SOURCE / "attacks" / "engine.py")
    assert "recipes" in rooms_of(SOURCE / "cli.py")  # imported inside functions
    assert {room(path) for path in FILES} >= set(MAY_IMPORT) | EVERYTHING


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) in ("report", "__init__")],
    ids=lambda p: p.name,
)
def test_reports_and_tables_know_no_torch(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"torch", "jaxtyping", "safetensors"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_readable(path):
    assert path.name != "utils.py", "say what it is"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGER.get(path.name, LINES), (
        "look for the missing noun"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_jaxtyping_annotations_are_real(path):
    text = path.read_text(encoding="utf-8")
    assert not ("jaxtyping" in text and "from __future__ import annotations" in text)


@pytest.mark.parametrize(
    "code",
    [
        "import ironbind",
        "import ironbind; ironbind.Result; ironbind.write_report",
        "import ironbind.report, ironbind.core.results, ironbind.core.registry, ironbind.core.errors",
        "import sys; sys.argv = ['ironbind', '--help']; from ironbind.cli import main\ntry: main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['ironbind', '--version']; from ironbind.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
    ids=["import", "lazy names", "report", "help", "version"],
)
def test_torch_stays_out(code):
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nassert 'torch' not in sys.modules, 'torch is loaded'"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
