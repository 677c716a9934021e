"""Within data, imports go downwards too: what lists and stores samples knows no layout, and no layout knows the table
of layouts.
"""

import ast
from pathlib import Path

import pytest

import ironbind.data

ROOT = Path(ironbind.data.__file__).parent
LEVELS = (  # a file imports from its own level and from those before it
    ("folder_entries",),
    ("storage", "list_files", "list_by_ranks"),
    ("names", "listing", "read_options", "hubs"),
    ("layout",),
    ("option_types", "layouts", "world"),
    ("__init__",),
    ("export_files", "inspect", "loader_options"),
)
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ironbind.data"):
            modules |= {node.module} if node.module != "ironbind.data" else {"ironbind.data.__init__"}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.startswith("ironbind.data")}
    return {module.split(".")[2] for module in modules}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_downwards(path):
    above = {name for name in imported(path) if LEVEL_OF[name] > LEVEL_OF[room(path)]}
    assert not above
    assert "import_module" not in path.read_text(encoding="utf-8")


def test_every_room_has_a_level():
    assert {room(path) for path in FILES} == set(LEVEL_OF)
