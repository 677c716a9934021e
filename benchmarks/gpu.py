"""ironbind on one GPU, in one command of at most six minutes: `gpu.py [--small] [--wheels DIR] [--only SECTION]`.

Measures what docs/gpu.md shows and writes it there: embeddings of every port against the CPU, agreement of verdicts,
examples a second beside a bare loop, memory, a live calibration, two audits on one card (`gpu_sections.py`). Wants
torch with a GPU, transformers, and no network: `--wheels DIR` takes what else is missing from wheels (.whl) in a
folder, which are unpacked beside the run and change no installation. Each section is a process of its own with a
limit of time: one that fails or takes too long leaves a line, and the others run.

`--small` runs the whole script on the CPU, with narrow towers and few samples, in a few minutes. Its figures say
nothing about a GPU; they are printed, and written to the page only with `--write`.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gpu.md"
WHOLE = 350.0  # seconds for all sections together
SLOW = 10.0  # times as long for a section on a CPU, which other processes may share
# section -> the most seconds that it may take
LIMITS = {"card": 30, "embeddings": 90, "verdicts": 60, "calibration": 50, "two_audits": 60, "speed": 150}


def unpacked(wheels: Path, folder: Path) -> list[str]:
    """The folder that the wheels were unpacked into, for the module path; none without wheels. A wheel is a zip
    archive.
    """
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise SystemExit(f"--wheels {wheels}: expected a folder with .whl files (docs/gpu.md says how to fetch them)")
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return [str(folder)]


def has_gpu(path: list[str]) -> bool:
    """Whether torch sees a GPU; asked in a process of its own, which gives the card free again."""
    asked = [sys.executable, "-c", "import torch; print(torch.cuda.is_available())"]
    answer = subprocess.run(asked, capture_output=True, text=True, env=environment(path), encoding="utf-8")
    return answer.stdout.strip() == "True"


def environment(path: list[str]) -> dict[str, str]:
    """The sections' environment: this copy of ironbind first, unpacked wheels last, so that what is installed wins
    over them.
    """
    modules = [str(ROOT / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    installed = [one for one in sys.path if one.endswith(("site-packages", "dist-packages"))] if path else []
    joined = os.pathsep.join(one for one in (*modules, *installed, *path) if one)
    return {**os.environ, "PYTHONPATH": joined, "HF_HUB_OFFLINE": "1"}


def measured(
    section: str, small: bool, limit: float, folder: Path, path: list[str]
) -> tuple[list[dict[str, Any]], str]:
    """The findings of a section, and what ended it before its time ("" where nothing did)."""
    file = folder / f"{section}.jsonl"
    command = [sys.executable, str(Path(__file__).with_name("gpu_sections.py")), section, str(file)]
    ended = ""
    running = subprocess.Popen(
        [*command, *(["--small"] if small else [])],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(path), cwd=folder,
        start_new_session=True, encoding="utf-8",
    )  # fmt: skip
    try:
        said = running.communicate(timeout=limit)[1]
        if running.returncode:
            last = (said.strip().splitlines() or ["no word"])[-1]
            ended = f"The section ended with an error: {last[:300]}"
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)  # with the processes that it started
        running.wait()
        ended = f"The section was ended after its {limit:.0f} seconds; what it had measured stands above."
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines], ended


def as_markdown(findings: list[dict[str, Any]], ended: str) -> str:
    """One table, then the notes."""
    from ironbind.core.markdown_tables import markdown_table

    heads = [one["head"] for one in findings if "head" in one]
    rows = [one["row"] for one in findings if "row" in one]
    notes = [one["note"] for one in findings if "note" in one] + ([ended] if ended else [])
    return "\n\n".join([*([markdown_table(heads[0], rows)] if heads else []), *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="on the CPU, with narrow towers and few samples")
    parser.add_argument("--wheels", type=Path, help="folder of wheels for modules that this Python lacks")
    parser.add_argument("--only", choices=LIMITS, help="one section")
    parser.add_argument("--write", action="store_true", help="with --small: write docs/gpu.md too")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write (a copy of docs/gpu.md)")
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = unpacked(asked.wheels, folder / "wheels") if asked.wheels else []
        if not asked.small and not has_gpu(path):
            raise SystemExit("no GPU that this PyTorch can use; expected one, or --small for a run on the CPU")
        sys.path[:0], sys.path[len(sys.path) :] = [str(ROOT / "src")], path
        from ironbind import __version__
        from ironbind.core.markdown_tables import put

        tables = {}
        for section, limit in LIMITS.items():
            if asked.only and section != asked.only:
                continue
            room = SLOW * limit if asked.small else min(limit, WHOLE - (time.monotonic() - started))
            if room < 10:
                tables[section] = "Not measured: the six minutes were over."
                continue
            tables[section] = as_markdown(*measured(section, asked.small, room, folder, path))
            print(f"## {section}\n\n{tables[section]}\n", flush=True)
    where = "no GPU: `--small` on the CPU" if asked.small else "one GPU"
    about = (
        f"Measured by `python benchmarks/gpu.py{' --small --write' if asked.small else ''}` ({where}); "
        f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}, ironbind {__version__}."
    )
    print(about)
    if asked.write or not asked.small:
        for section, text in tables.items():
            put(asked.out, section, text)
        put(asked.out, "about", about)


if __name__ == "__main__":
    main()
