"""One row = one child process: its peak memory is its own, a crash is a row. What peers did is kept, named by all it
depends on.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from against import libraries
from against.contest import NotAvailable, Row, Settings
from against.measured import Measured
from ironbind import __version__

HERE = Path(__file__).parent
UNRELATED = {"__init__.py", "jobs.py", "page.py", "speed.py", "violations.py"}  # changes there cannot change a row


@dataclass(frozen=True)
class Bench:
    """Where children are started from, where results are kept, and whether kept ones may be used. `identity`: of
    weights and samples.
    """

    script: Path
    folder: Path
    settings: Settings
    identity: str
    reuse: bool = True

    def run(self, rows: Sequence[Row]) -> dict[Row, Measured]:
        """Every row, one after the other; peers are taken from the folder where they are there, ours are always
        measured.
        """
        return {row: self._row(row) for row in rows}

    def _row(self, row: Row) -> Measured:
        try:
            version = libraries.ready(row.library)
        except NotAvailable as error:
            return Measured(error=f"not available: {error}")
        path = self.folder / f"{key(row, version, self.settings, self.identity)}.json"
        if self.reuse and not row.ours and path.is_file():
            return Measured.of(json.loads(path.read_text(encoding="utf-8"))["measured"])
        measured = self._child(row)
        print(f"[{row.label}] {measured}", file=sys.stderr, flush=True)
        if not measured.error:
            self.folder.mkdir(parents=True, exist_ok=True)
            held = {
                "row": row.label,
                "identity": self.identity,
                "settings": asdict(self.settings),
                "measured": measured.held,
            }
            path.with_suffix(".tmp").write_text(json.dumps(held), encoding="utf-8")
            path.with_suffix(".tmp").replace(path)
        return measured

    def _child(self, row: Row) -> Measured:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        command = [
            sys.executable,
            str(self.script),
            "--job",
            json.dumps({"label": row.label, "settings": asdict(self.settings)}),
        ]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=False, encoding="utf-8"
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return (
            Measured.of(json.loads(lines[-1]))
            if lines
            else Measured(error=f"the process ended with status {done.returncode} and no result")
        )


def key(row: Row, version: str, settings: Settings, identity: str) -> str:
    """Names a result: contestant and version, settings, weights and samples, torch, and the code that calls and
    measures.
    """
    code = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")) if path.name not in UNRELATED)
    ).hexdigest()
    text = json.dumps(
        [row.label, row.norm, version, asdict(settings), identity, torch.__version__, code], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def machine() -> str:
    """Processor, cores, system and versions, in a line."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    here = (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    return f"{here}, ironbind {__version__}; one thread"
