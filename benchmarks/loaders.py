"""What loading costs: `loaders.py [NAMES] [--count 64] [--write]`: samples decoded per second and core, and peak
memory, for each layout.

Writes a set of each layout into a temporary folder, with samples of the sizes that the real ones have (loader_sets.py),
then loads it in a process of its own and decodes every sample, one by one. Files are in the page cache: this is the
cost of decoding, not of the disk. Seconds are CPU seconds of one thread, so a busy machine changes them little. `peak`
is the process's peak resident memory above what it was before loading. `--write` puts the table into docs/datasets.md
between its markers.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from loader_sets import SETS, Made

PAGE = Path(__file__).parents[1] / "docs" / "datasets.md"
PASSES = 3
KEPT = 2**24  # bytes: blocks up to this size are not given back to the system


def resident(name: str) -> float:
    """MiB that /proc tells of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(name: str, root: Path, options: dict[str, Any]) -> dict[str, float]:
    """Loads and decodes one set in this process: once for the peak, then, with everything imported and set up, PASSES
    times for the time.

    The fastest pass counts. A large block is freed first, after which glibc keeps what is freed for the next sample, as
    it does in any process that has run an encoder; otherwise every 500 x 375 picture is faulted in page by page anew,
    at 2.7 times the cost (480 instead of 1,300 a second here).
    """
    from ironbind.data import load_dataset
    from ironbind.modalities import MODALITIES

    for modality in MODALITIES:
        MODALITIES[modality]  # imported
    np.ones(KEPT, np.uint8).sum()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak counts from here
    listing, decoding, peak = [], [], 0.0
    for number in range(1 + PASSES):
        started = time.process_time()
        data = load_dataset(name, root, **options)
        loaded = time.process_time()
        for row in range(len(data)):
            data.decode(data.modalities[0], [row])
        if number:
            listing.append(loaded - started)
            decoding.append(time.process_time() - loaded)
        else:
            peak = resident("VmHWM") - before
    return {"n": len(data), "load": min(listing), "rate": len(data) / min(decoding), "peak": peak}


def in_own_process(made: Made, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        root.mkdir()
        made.write(root, max(4, round(count * made.share)), np.random.default_rng(0))
        asked = json.dumps({"name": made.name, "root": str(root), "options": made.options})
        run = subprocess.run(
            [sys.executable, __file__, "--measure", asked],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if run.returncode:
            raise SystemExit(f"{made.name}: {run.stderr[-2000:]}")
        found: dict[str, float] = json.loads(run.stdout)
        return found


def row_of(made: Made, found: dict[str, float]) -> str:
    load = 1e6 * found["load"] / found["n"]
    return (
        f"| {made.name} | {made.sample} | {found['n']:.0f} | {load:.0f} | {found['rate']:.3g} | {found['peak']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="layouts (default: all)")
    parser.add_argument("--count", type=int, default=64, help="samples of each; a tenth as many videos")
    parser.add_argument("--write", action="store_true", help="put the table into docs/datasets.md")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        what = json.loads(asked.measure)
        print(json.dumps(measure(what["name"], Path(what["root"]), what["options"])))
        return
    if asked.write and asked.names:
        parser.error("--write needs all layouts")
    unknown = set(asked.names) - {made.name for made in SETS}
    if unknown:
        parser.error(f"no set for {', '.join(sorted(unknown))}")
    lines = [
        "| data set | a sample | samples | list, µs a sample | samples/s/core | peak, MiB |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for made in SETS:
        if not asked.names or made.name in asked.names:
            lines.append(row_of(made, in_own_process(made, asked.count)))
            print(lines[-1], flush=True)
    if asked.write:
        import ironbind
        from ironbind.core.markdown_tables import put

        machine = (
            f"{platform.machine()}, {os.cpu_count()} cores, Linux; Python "
            f"{platform.python_version()}, numpy {np.__version__}"
        )
        said = f"{machine}; ironbind {ironbind.__version__}; load of the machine {os.getloadavg()[0]:.1f} at the end."
        put(PAGE, "loaders", "\n".join([said, "", *lines]))


if __name__ == "__main__":
    main()
