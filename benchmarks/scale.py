"""A million samples in webdataset shards: what a rank pays before its first attacked sample:
`scale.py [--samples 1000000] [--ranks 1,2] [--write]`.

Writes one shard of 10,000 tiny pictures with labels into a temporary folder and links it under as many names as it
takes, so that the disk holds 20 MB and the listing reads every byte of two million members. Each number of ranks is a
launch of its own: list the shards, hash every member (the fingerprint that keys stored verdicts), attack the first
samples. CPU seconds of the busiest rank, as other processes may share the cores; memory is the resident memory of a
rank above what it was before. Files are in the page cache. `--write` puts the table into docs/cluster.md.
"""

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster.md"
IN_SHARD = 10_000
CLASSES = ("star", "ring")


def shards(folder: Path, samples: int) -> None:
    """`samples` samples of 8 x 8 pixels in shards of IN_SHARD, all of them one file on the disk."""
    first = folder / "00000.tar"
    draw = np.random.default_rng(0)
    with tarfile.open(first, "w") as tar:
        for number in range(IN_SHARD):
            picture = io.BytesIO()
            PIL.Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(picture, "PNG")
            for kind, content in (("png", picture.getvalue()), ("cls", str(number % len(CLASSES)).encode())):
                member = tarfile.TarInfo(f"{number:06d}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    for number in range(1, samples // IN_SHARD):
        os.link(first, folder / f"{number:05d}.tar")
    (folder / "classnames.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")


def resident(name: str) -> float:
    """MiB that /proc tells of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measure(folder: Path) -> dict[str, float]:
    """What one rank finds; all of them run this."""
    import torch

    from ironbind.attacks import PGD
    from ironbind.data import load_dataset
    from ironbind.encoders import load_encoder
    from ironbind.evaluate.tasks.zero_shot import zero_shot
    from ironbind.numerics import ranks
    from ironbind.numerics.sample_random import PerSample
    from ironbind.types import Linf

    torch.set_num_threads(1)
    group, encoder = ranks.join(), load_encoder("tiny")
    before, began, started = resident("VmRSS"), time.perf_counter(), time.process_time()
    data = load_dataset("webdataset", folder)
    listed = time.process_time()
    peak = resident("VmHWM")
    fingerprint = data.fingerprint
    hashed = time.process_time()
    task = zero_shot(encoder, data, "image")
    rows = list(range(4))
    rng = PerSample.of(0, [data.ids[row] for row in rows])
    PGD(steps=10)(task.embed, task.load(rows), task.goal(rows), task.space, Linf("4/255"), rng)
    attacked = time.process_time()
    found = {
        "listing": listed - started, "hashing": hashed - listed, "attack": attacked - hashed,
        "wall": time.perf_counter() - began, "peak": peak - before, "kept": resident("VmRSS") - before,
        "samples": len(data), "fingerprint": int(fingerprint[:12], 16),
    }  # fmt: skip
    shares = group.gather(found)
    if len({one["fingerprint"] for one in shares}) > 1:
        raise AssertionError("ranks see different data")
    return {name: max(one[name] for one in shares) for name in found}


def launched(folder: Path, count: int) -> dict[str, float]:
    """`measure` on so many ranks, which start as torchrun starts them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    modules = os.pathsep.join(one for one in (str(ROOT / "src"), os.environ.get("PYTHONPATH", "")) if one)
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": modules}
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--measure", str(folder)],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            encoding="utf-8",
        )
        for rank in range(count)
    ]  # fmt: skip
    said = [one.communicate()[0] for one in running]
    if any(one.returncode for one in running):
        raise SystemExit(f"a rank of {count} ended with an error")
    found: dict[str, float] = json.loads(said[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000, help=f"rounded down to multiples of {IN_SHARD:,}")
    parser.add_argument("--ranks", default="1,2", help="numbers of ranks, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the table into docs/cluster.md")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure)))
        return
    from ironbind.core.markdown_tables import markdown_table, put

    head = ["ranks", "listing (CPU s)", "fingerprint (CPU s)", "attack of the first four samples (CPU s)"]
    head += ["wall seconds to there", "peak while listing (MiB)", "kept (MiB)"]
    rows, fingerprints = [], set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards(folder, asked.samples)
        for count in map(int, asked.ranks.split(",")):
            found = launched(folder, count)
            fingerprints.add(found["fingerprint"])
            cells = [f"{found[key]:.1f}" for key in ("listing", "hashing", "attack", "wall")]
            rows.append([count, *cells, f"{found['peak']:.0f}", f"{found['kept']:.0f}"])
            print(rows[-1], flush=True)
    same = "The fingerprint is the same at each number of ranks." if len(fingerprints) == 1 else "Fingerprints differ."
    table = f"{int(found['samples']):,} samples, {IN_SHARD:,} a shard. {same}\n\n{markdown_table(head, rows)}"
    print(table)
    if asked.write:
        put(PAGE, "scale", table)


if __name__ == "__main__":
    main()
