"""Who may import whom: a star, not a web. Reports and `--help` never wait for torch."""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ironbind"
FILES = sorted(SOURCE.rglob("*.py"))

NOUNS = {"core", "types"}
"""`types` is the face of `core`."""
LIBRARY = NOUNS | {
    "numerics", "goals", "modalities", "data", "encoders", "attacks", "defences", "calibration", "evaluate",
    "certification", "report",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "types": {"core"},
    "numerics": NOUNS | {"launcher"},
    "goals": NOUNS | {"numerics"},
    "modalities": NOUNS | {"numerics"},
    "data": NOUNS | {"numerics", "modalities"},
    "encoders": NOUNS | {"numerics", "modalities"},
    "attacks": NOUNS | {"numerics", "goals"},
    "defences": NOUNS | {"numerics", "modalities"},
    "calibration": NOUNS | {"numerics", "goals"},
    "evaluate": NOUNS | {"numerics", "goals"},
    "certification": NOUNS | {"numerics", "goals"},
    "deployment": NOUNS | {"numerics", "encoders", "calibration", "ironbind"},
    "report": {"core"},
    "gate": {"core", "modalities"},  # the names of modalities: its table, which loads none of them
    "index_guard": {"core", "ironbind"},
    # the composition root, and what is built on it
    "runs": LIBRARY | {"index_guard"},
    "recipes": LIBRARY | {"runs"},
    "evidence": LIBRARY | {"runs"},
    "selftest": LIBRARY | {"runs", "recipes"},
    "api": LIBRARY | {"runs", "recipes"},
    "cli_data": LIBRARY | {"recipes", "cli_progress"},
    "cli_events": {"core", "launcher", "numerics"},
    "cli_progress": {"core", "launcher"},
    "cli_certify": LIBRARY | {"runs", "recipes", "cli_events", "cli_progress"},
    "cli_export": LIBRARY | {"deployment", "runs"},
    "cli_index": {"core", "index_guard", "report", "cli_progress"},
    "cli_finished_runs": {"core", "report", "gate", "evidence", "cli_progress"},
    "cli": LIBRARY
    | {
        "deployment",
        "runs",
        "recipes",
        "selftest",
        "api",
        "cli_data",
        "cli_events",
        "cli_progress",
        "cli_finished_runs",
        "cli_export",
        "cli_certify",
        "cli_index",
        "ironbind",
    },
    "console_text": set(),
    "launcher": set(),
    "__main__": {"cli", "console_text", "core", "launcher", "numerics"},
    "ironbind": set(),  # imports nothing before it is asked for
}
LINES = 500
FILES_IN_A_FOLDER = 16
FAMILY = {"encoder.py", "inputs.py", "model.py"}
"""Of every family of encoders; `core/encoder.py` holds the noun."""


def module(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def room(name: str) -> str:
    """The folder or file of a module directly below the package; of the package itself its own name."""
    return name.split(".")[1] if "." in name else name


def imported(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at whatever depth, type-checking blocks included."""
    names = set()
    package = ["ironbind", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            members = {f"{source}.{alias.name}" for alias in node.names}
            names |= (members & set(MODULES)) | ({source} if members - set(MODULES) else set())
    return names


@cache  # not while tests are collected, which every process does
def graph() -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    return {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of two or more nodes, each of which reaches all others of its group (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for neighbour in graph[node]:
            if neighbour not in number:
                visit(neighbour)
            if neighbour in stack:
                lowest[node] = min(lowest[node], lowest[neighbour])
        if lowest[node] == number[node]:
            at = stack.index(node)
            groups.append(set(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in number:
            visit(node)
    return [group for group in groups if len(group) > 1]


def test_every_room_is_in_the_table():
    """A new room: say in MAY_IMPORT what it may know."""
    assert {room(name) for name in MODULES} == set(MAY_IMPORT)


def test_imports_follow_the_star():
    offenders = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if room(other) not in MAY_IMPORT.get(room(name), set()) | {room(name)}
    ]
    assert not offenders


def test_no_two_files_import_each_other():
    assert not circles(graph())


def test_the_checks_see_what_they_should():
    """A sibling, a relative import, an import inside a function; a circle of three."""
    assert "ironbind.numerics.norms" in graph()["ironbind.attacks.engine"]
    assert "ironbind.recipes.request" in graph()["ironbind.cli"]  # imported inside functions
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [{"a", "b", "c"}]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_reports_and_tables_know_no_torch():
    heavy = {"torch", "jaxtyping", "safetensors"}
    files = [path for path in FILES if path.relative_to(SOURCE).parts[0] in ("report", "gate", "__init__.py")]
    assert not [path.name for path in files if {name.split(".")[0] for name in imported(path)} & heavy]


def test_files_stay_readable():
    """A long file lacks a noun; a file called utils.py does not say what it is."""
    lines = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > LINES or name.endswith("utils.py")}


def test_folders_stay_small():
    """Of Python files, without `__init__.py`."""
    count = Counter(str(path.parent.relative_to(SOURCE)) for path in FILES if path.name != "__init__.py")
    assert not {folder: files for folder, files in count.items() if files > FILES_IN_A_FOLDER}


def test_no_two_files_have_one_name():
    families = {path.parent for path in SOURCE.glob("encoders/*/encoder.py")}
    folders = defaultdict(list)
    for path in FILES:
        if path.name not in ("__init__.py", "__main__.py") and not (path.name in FAMILY and path.parent in families):
            folders[path.name].append(str(path.parent.relative_to(SOURCE)))
    assert not {name: where for name, where in folders.items() if len(where) > 1}


def test_jaxtyping_annotations_are_real():
    texts = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert not [
        name for name, text in texts.items() if "jaxtyping" in text and "from __future__ import annotations" in text
    ]


HELP = (
    "import sys; sys.argv = ['ironbind', '{}']; from ironbind.__main__ import main\ntry: main()\nexcept "
    "SystemExit: pass"
)


@pytest.mark.parametrize(
    "code",
    [
        "import ironbind",
        "import ironbind; ironbind.Result; ironbind.write_report",
        "import ironbind.report, ironbind.core.results, ironbind.core.registry, ironbind.core.errors",
        "import ironbind.gate.gate, ironbind.gate.renderings, ironbind.gate.settings",
        HELP.format("--help"),
        HELP.format("--version"),
    ],
    ids=["import", "lazy names", "report", "gate", "help", "version"],
)
def test_torch_stays_out(code):
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nassert 'torch' not in sys.modules, 'torch is loaded'"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
