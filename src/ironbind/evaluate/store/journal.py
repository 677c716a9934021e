"""What a rank stores while others run: a journal of its own, appended to, that nobody else writes and anybody may read.

Ranks share a folder, perhaps over a network, where locks of a database cannot be relied on. So each rank appends to
`ranks/<run>-<rank>.jsonl` (verdicts, remarks, probes: one line each) and `ranks/<run>-<rank>.f32` (examples, exactly),
and the first rank's database takes them in: during the run as they are gathered, and when a run starts in the folder of
one that was killed. A line that was cut in the middle is no line.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.errors import InputError, writing

FOLDER = "ranks"
HEARTBEAT = 5.0  # seconds between two signs of life of a run
SILENCE = 60.0  # seconds without one after which a run on another machine counts as ended

Entry = dict[str, Any]


@dataclass(frozen=True)
class ExamplePlace:
    """Where an example lies: a file, the byte that it begins at, its shape."""

    file: str
    offset: int
    shape: tuple[int, ...]

    def read(self) -> Float[Tensor, "..."]:
        """The example, on the CPU. Raises ValueError where the file ends before it does."""
        count = int(np.prod(self.shape, dtype=np.int64))
        with open(self.file, "rb") as file:
            file.seek(self.offset)
            return torch.from_numpy(np.fromfile(file, np.float32, count)).reshape(self.shape)


class Journal:
    """The journal of one rank of one run. Raises WriteError where the disk is full: nothing of that entry counts."""

    def __init__(self, folder: Path, run: str, rank: int) -> None:
        self.lines = folder / FOLDER / f"{run}-{rank}.jsonl"
        self.numbers = self.lines.with_suffix(".f32")
        with writing(self.lines):
            self.lines.parent.mkdir(parents=True, exist_ok=True)
            self._lines = open(self.lines, "ab")  # noqa: SIM115 - open for as long as the run lasts
            self._numbers = open(self.numbers, "ab")  # noqa: SIM115

    def add(self, entry: Entry) -> None:
        """Appends an entry. It is on the disk of the machine when this returns, should the process be killed."""
        with writing(self.lines):
            self._lines.write(json.dumps(entry, default=str).encode("ascii") + b"\n")
            self._lines.flush()

    def add_examples(self, key: str, samples: Iterable[str], x: Float[Tensor, "b ..."]) -> dict[str, ExamplePlace]:
        """Appends examples, and says where each lies."""
        places: dict[str, ExamplePlace] = {}
        with writing(self.numbers):
            for sample, example in zip(samples, x.detach().cpu().contiguous(), strict=True):
                places[sample] = ExamplePlace(str(self.numbers), self._numbers.tell(), tuple(example.shape))
                self._numbers.write(example.numpy().tobytes())
            self._numbers.flush()
        entry = {"kind": "examples", "key": key, "places": [[name, at.offset, at.shape] for name, at in places.items()]}
        self.add(entry)
        return places

    def close(self) -> None:
        self._lines.close()
        self._numbers.close()


def journals(folder: Path) -> list[Path]:
    """The journals that lie in a run folder."""
    return sorted((folder / FOLDER).glob("*.jsonl"))


def entries(journal: Path) -> Iterator[Entry]:
    """What a journal holds, in order; a last line that was cut is left out."""
    with open(journal, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def places_of(journal: Path, entry: Entry) -> dict[str, ExamplePlace]:
    """Where the examples of an entry lie."""
    numbers = str(journal.with_suffix(".f32"))
    return {sample: ExamplePlace(numbers, offset, tuple(shape)) for sample, offset, shape in entry["places"]}


def discard(paths: Sequence[Path]) -> None:
    """Removes journals that a database has taken in."""
    for path in paths:
        path.with_suffix(".f32").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with suppress(OSError):  # another run has come in the meantime
            folder.rmdir()


class Ownership:
    """The sign that a run is at work in a folder, with its machine and process, kept fresh by `touch`."""

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / FOLDER / f"{run}.owner"
        self._touched = time.monotonic()
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")

    def touch(self) -> None:
        """A sign of life, at most one every few seconds."""
        if time.monotonic() - self._touched > HEARTBEAT and self.path.exists():
            self._touched = time.monotonic()
            os.utime(self.path)

    def release(self) -> None:
        self.path.unlink(missing_ok=True)


def owned(folder: Path) -> bool:
    """Whether this process is the first rank of a run that is at work in a run folder. Raises InputError where another
    run is; a sign of one that has ended is removed.
    """
    for path in sorted((folder / FOLDER).glob("*.owner")):
        try:
            owner = json.loads(path.read_text(encoding="utf-8"))
            host, process, age = str(owner["host"]), int(owner["pid"]), time.time() - path.stat().st_mtime
        except (OSError, ValueError, OverflowError, KeyError, TypeError):
            continue  # gone in the meantime, or cut
        here = host == socket.gethostname()
        if here and process == os.getpid():
            return True
        if (here and _alive(process)) or (not here and age < SILENCE):
            raise InputError(
                f"{folder} is in use by another run (process {process} on {host}); wait for it, or pass another --out"
            )
        path.unlink(missing_ok=True)
    return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
