"""What `ironbind demo` costs in a unit that is the same on all machines: CPU seconds of the demo, over CPU seconds of
960 forward-and-backward passes of the built-in encoder's image tower, in batches of 64, with one thread.

    python benchmarks/demo_cost.py              # runs the demo into a temporary folder, the tower before and after it
    python benchmarks/demo_cost.py --samples 8  # fewer samples, for a try

Both are measured in one run, one after the other, because the speed of a machine drifts. Printed besides: when the
first attacked number and the first page were there, and passes of attacks and checks. Other load on the machine moves
seconds, not passes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.evaluate.inputs.prepared import load_native
from ironbind.numerics.networks import frozen

PASSES, BATCH = 960, 64


def unit_seconds() -> float:
    """CPU seconds of the passes, after one batch that does not count."""
    encoder = load_encoder("tiny")
    x = load_native(encoder, load_dataset("world", split="train", n=BATCH, seed=0), "image", range(BATCH))
    with frozen(encoder):
        for batch in range(1 + PASSES // BATCH):
            if batch == 1:
                started = time.process_time()
            at = x.clone().requires_grad_(True)
            torch.autograd.grad(encoder.embed("image", at).sum(), at)
    return time.process_time() - started


def watched(command: list[str], page: Path) -> tuple[float, float, float]:
    """Runs a command; wall seconds until its first line about an attack, until the page is there, and until its end."""
    started, first, shown = time.monotonic(), float("nan"), float("nan")
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, encoding="utf-8"
    )
    assert process.stderr is not None
    for line in process.stderr:
        now = time.monotonic() - started
        sys.stderr.write(f"{now:7.1f}  {line}")
        if "attacked at" in line and first != first:
            first = now
        if page.exists() and shown != shown:
            shown = now
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return first, shown, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "ironbind", "demo", "--out", str(out), "--workers", str(given.workers)]
        if given.samples:
            command += ["--samples", str(given.samples)]
        before = unit_seconds()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        first, page, whole = watched(command, out / "report.html")
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        after = unit_seconds()
        record = json.loads((out / "result.json").read_text(encoding="utf-8"))["record"]
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    unit = (before + after) / 2
    print(
        f"demo: {cpu:.0f} CPU s = {cpu / unit:.0f} units of {unit:.2f} CPU s ({before:.2f} before, {after:.2f} after)"
    )
    print(f"first attacked number after {first:.0f} s, page after {page:.0f} s, end after {whole:.0f} s (wall)")
    for kind in ("gradient", "forward"):
        print(f"{kind} passes: attacks {record[f'{kind}_passes']:,}, checks {record[f'check_{kind}_passes']:,}")


if __name__ == "__main__":
    main()
