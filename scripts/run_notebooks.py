"""Runs the notebooks of docs/notebooks, each in an empty folder and one namespace, and with --write stores what their
cells print and show. Needs no Jupyter: a cell is Python, and a line that begins with "!" a command.

    python scripts/run_notebooks.py --write
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def run(path: Path) -> dict[str, Any]:
    """The notebook with the outputs of its cells. Raises what a cell raises, with its text."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        os.chdir(folder)
        try:
            for number, cell in enumerate(cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
                source = "".join(cell["source"])
                try:
                    cell["outputs"] = outputs(source, namespace)
                except BaseException as error:
                    raise RuntimeError(f"{path.name}, cell {number + 1}: {error}\n{source}") from error
                cell["execution_count"] = number + 1
        finally:
            os.chdir(before)
    return notebook


def outputs(source: str, namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints, and what its last expression is, in the form of a notebook."""
    lines = [f"__run__({line[1:].strip()!r})" if line.startswith("!") else line for line in source.splitlines()]
    body = ast.parse("\n".join(lines)).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    namespace["__run__"] = lambda command: printed.write(shell(command))
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace) if last else None
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)})
    if value is not None and not isinstance(last and last.value, ast.Call) or hasattr(value, "_repr_png_"):
        data = {"text/plain": [repr(value)]}
        if hasattr(value, "_repr_png_"):
            data = {"image/png": base64.b64encode(value._repr_png_()).decode(), "text/plain": ["a picture"]}
        found.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data})
    return found


def shell(command: str) -> str:
    """What a command prints on stdout. Raises RuntimeError with its messages for an exit code other than 0."""
    if command.startswith("ironbind "):  # of this interpreter, whatever is on the path
        command = f'"{sys.executable}" -m {command}'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="Which notebooks; all of them when left out.")
    parser.add_argument("--write", action="store_true", help="Store the outputs in the files.")
    given = parser.parse_args()
    for path in NOTEBOOKS:
        if given.names and path.stem not in given.names:
            continue
        notebook = run(path)
        if given.write:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: ran")


if __name__ == "__main__":
    main()
