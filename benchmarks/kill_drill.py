"""An audit over ranks that is killed again and again, and started anew with another number of ranks each time:
`kill_drill.py [--kills 10] [--samples 200] [--write]`.

Twice: once one rank is killed (SIGKILL) at random moments and the launcher ends the others, once all processes are. A
moment is a random number of verdicts after a start, so that it does not depend on the speed of the machine. The audit
is `ironbind audit world --modality image --attack standard --eps 4/255`; its table must be that of one process without
a kill, byte for byte, and a verdict that lies in a journal when a run is killed must never be computed again. `--write`
puts the table into docs/cluster.md.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ironbind.core.markdown_tables import markdown_table, put
from ironbind.evaluate.store.journal import entries, journals

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster.md"
RANKS_AGAIN = (1, 2, 3)
TABLES = ("table.csv", "verdicts.csv")


def command(ranks: int, samples: int, out: Path) -> list[str]:
    """The audit by so many ranks; by one without a launcher."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    audit = ["-m", "ironbind", "audit", "world", "--modality", "image", "--limit", str(samples)]
    return [sys.executable, *launcher, *audit, "--attack", "standard", "--eps", "4/255", "--out", str(out)]


def started(ranks: int, samples: int, out: Path) -> subprocess.Popen[bytes]:
    modules = os.pathsep.join(one for one in (str(ROOT / "src"), os.environ.get("PYTHONPATH", "")) if one)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": modules}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(ranks, samples, out), env=environment, start_new_session=True, **quiet)


def processes_of(launcher: int) -> dict[int, str]:
    """A process and all that descend from it, with their command lines. Workers are in sessions of their own."""
    parents, lines = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
                )
                lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended
    found = {launcher}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return {process: lines[process] for process in found if process in lines}


def stored(folder: Path) -> Counter[tuple[str, str]]:
    """How often each verdict lies in a journal."""
    found: Counter[tuple[str, str]] = Counter()
    for path in journals(folder):
        found.update(
            (entry["key"], row[0]) for entry in entries(path) if entry["kind"] == "verdicts" for row in entry["rows"]
        )
    return found


def known(folder: Path) -> set[tuple[str, str]]:
    """The verdicts of a run folder: those in journals, and those in the database."""
    found, database = set(stored(folder)), folder / "verdicts.sqlite"
    try:
        with sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=1) as connection:
            return found | set(connection.execute("SELECT audit, sample FROM verdict"))
    except sqlite3.Error:
        return found  # there is none yet


def killed(running: subprocess.Popen[bytes], everyone: bool, draw: random.Random) -> None:
    """Kills one rank, or all processes, and waits until none is left."""
    alive = processes_of(running.pid)
    ranks = [process for process, line in alive.items() if "distributed.run" not in line]
    for process in alive if everyone else [draw.choice(ranks)]:
        os.kill(process, signal.SIGKILL)
    running.wait(timeout=120)
    began = time.monotonic()
    while left := [process for process in alive if Path(f"/proc/{process}").exists()]:
        if time.monotonic() - began > 120:
            raise SystemExit(f"processes {left} go on without the others")
        time.sleep(0.1)


def drill(everyone: bool, kills: int, samples: int, out: Path, draw: random.Random) -> dict[str, int]:
    """One audit, killed so often. What it took and what was computed twice."""
    done, repeated, starts = 0, 0, 0
    while True:
        ranks = 2 if not starts else RANKS_AGAIN[starts % len(RANKS_AGAIN)]
        before = known(out)
        running, further = started(ranks, samples, out), draw.randint(1, max(1, 2 * samples // kills))
        starts += 1
        while done < kills and running.poll() is None and len(known(out)) < len(before) + further:
            time.sleep(0.05)
        if running.poll() is None and done < kills:
            killed(running, everyone, draw)
            done += 1
            now = stored(out)
            repeated += sum(count - (verdict not in before) for verdict, count in now.items())
        elif running.wait():
            raise SystemExit(f"a run of {ranks} ranks ended with {running.returncode}")
        else:
            return {"kills": done, "starts": starts, "repeated": repeated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/cluster.md")
    asked = parser.parse_args()
    draw, rows = random.Random(asked.seed), []
    with tempfile.TemporaryDirectory() as name:
        wanted = Path(name) / "wanted"
        if started(1, asked.samples, wanted).wait():
            raise SystemExit("the audit by one process failed")
        for everyone in (False, True):
            out = Path(name) / ("all" if everyone else "one")
            found = drill(everyone, asked.kills, asked.samples, out, draw)
            same = all((out / table).read_bytes() == (wanted / table).read_bytes() for table in TABLES)
            killed_what = "all processes" if everyone else "one rank"
            rows.append([killed_what, found["kills"], found["starts"], found["repeated"], "yes" if same else "**no**"])
            print(json.dumps(rows[-1]), flush=True)
    head = ["killed", "kills", "starts", "stored verdicts computed again", "same bytes as one process"]
    ranks = "2, then " + ", ".join(map(str, RANKS_AGAIN[1:])) + f", {RANKS_AGAIN[0]} ranks in turn"
    table = f"{asked.samples} images, {ranks}, seed {asked.seed}.\n\n{markdown_table(head, rows)}"
    print(table)
    if asked.write:
        put(PAGE, "kills", table)


if __name__ == "__main__":
    main()
