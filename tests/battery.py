"""Damaged files, read in a child process: a crash, a hang or a burst of memory is seen and told instead of taking the
tests along.
"""

import faulthandler
import gc
import json
import mmap
import os
import pickle
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ironbind.types import InputError

PATIENCE = 30  # seconds for one small file, of the clock: the machine may be busy
SLACK = 16 * 2**20  # bytes beyond twice a healthy file's peak: what an allocator keeps and a decoder's tables take
WORDS = (
    b"-1", b"99999999999999999999", b"nan", b"1e400", b"0.5", b"null", b"true", b'"a"', b"[]", b"{}",
    b'"', b",", b"/", b"../..", "é".encode(), b"\xff", b"{", b"]", b"<", b"", b" ", b"\n", b"\r", b"\t", b"\0",
)  # fmt: skip
ODD = (
    None,
    True,
    -1,
    0.5,
    10**20,
    float("nan"),
    float("inf"),
    "",
    "a\nb",
    "../x",
    "é\0",
    [],
    {},
    [[]],
    {"a": 1},
    "1",
)  # JSON values


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four of: bits flipped, a stretch zeroed or set, bytes inserted, a stretch removed or repeated, the end
    cut, a number or a separator replaced; headers more often. One stretch in eight is a block of up to a quarter of the
    file."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not damaged:
            return b""
        reach = len(damaged) if rng.random() < 0.6 else min(len(damaged), 128)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 17))
        if rng.random() < 1 / 8:
            length = int(rng.integers(1, len(damaged) // 4 + 2))
        kind = rng.integers(8)
        if kind == 0:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        elif kind == 2:
            damaged[at : at + length] = b"\xff" * len(damaged[at : at + length])
        elif kind == 3:
            damaged[at:at] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        elif kind == 4:
            del damaged[at : at + length]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + length]
        elif kind == 6:
            del damaged[at:]
        else:
            end = at + 1
            while damaged[at : at + 1].isdigit() and end < len(damaged) and damaged[end : end + 1].isdigit():
                end += 1
            damaged[at:end] = WORDS[int(rng.integers(len(WORDS)))]
    return bytes(damaged)


@dataclass
class Told:
    """What a child saw: outcomes by name, lines that were wrong, the peaks (bytes) of the healthy file and of the worst
    damaged one.
    """

    outcomes: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    healthy: int = 0
    worst: int = 0
    worst_number: int = -1
    measured: bool = False  # whether the system tells peaks of memory: some refuse to reset them


def batter(read: Callable[[], object], path: Path, count: int, seed: int, names: Sequence[str] = ()) -> Told:
    """`count` mutations of the file at `path`, one after the other in its place, each followed by `read()`, which
    checks what it gets.

    A refusal must be an InputError of one line that names the file, or one of `names` (of a damaged list, what it lists
    may be to blame). The child is killed where one file takes longer than PATIENCE; that, and any other death of it, is
    told in `wrong`.
    """
    data = path.read_bytes()
    progress = mmap.mmap(-1, 8)  # the number of the mutation being read, seen by both processes
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        signal.signal(
            signal.SIGALRM, signal.SIG_DFL
        )  # kills even where C code hangs; pytest's own would wait for it to return
        faulthandler.disable()
        gc.freeze()  # what the parent left must not be finalised here, where its threads do not exist
        with os.fdopen(into, "wb") as pipe:
            try:
                told = _batter(read, path, data, count, seed, names, progress)
            except BaseException:
                told = Told(wrong=[traceback.format_exc()])
            pickle.dump(told, pipe)
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        sent = pipe.read()
    _, status = os.waitpid(child, 0)
    number = int.from_bytes(progress[:8], "little")
    path.write_bytes(data)
    if status or not sent:
        what = (
            f"hangs for {PATIENCE} s"
            if os.WTERMSIG(status) == signal.SIGALRM
            else f"dies of signal {os.WTERMSIG(status)}"
        )
        return Told(wrong=[f"mutation {number} of {path.name} (seed {seed}): {what}"])
    return pickle.loads(sent)


def mutation(data: bytes, seed: int, number: int) -> bytes:
    """The damaged file of that number: any one can be made again without those before it. Every second one of JSON is
    JSON again.
    """
    rng = np.random.default_rng([seed, number])
    if number % 2 and data[:1] in (b"{", b"["):
        return json.dumps(_odd(json.loads(data), rng), ensure_ascii=False).encode()
    return mutate(data, rng)


def _odd(value, rng: np.random.Generator):
    """A JSON value of which one part, at any depth, is replaced by something of another kind or size, or gone."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))] if isinstance(value, dict) else int(rng.integers(len(value)))
        changed = value.copy()
        if rng.random() < 0.1:
            del changed[key]
        else:
            changed[key] = _odd(value[key], rng)
        return changed
    return ODD[int(rng.integers(len(ODD)))]


def _batter(read, path, data, count, seed, names, progress) -> Told:
    told = Told(measured=_peaks_are_told())
    for _ in range(2):  # the first pass imports and fills caches, which is no fault of the file
        before = _reset_peak()
        signal.alarm(PATIENCE)
        read()
        told.healthy = max(0, _peak() - before) if before else 0
    named = (path.name, *names)
    for number in range(count):
        progress[:8] = number.to_bytes(8, "little")
        # a new file, not new content of the old one, which a library may still have open and know by its number
        path.unlink()
        path.write_bytes(mutation(data, seed, number))
        gc.collect(0)
        before = _reset_peak()
        signal.alarm(PATIENCE)
        try:
            read()
        except InputError as error:
            told.outcomes["refused"] += 1
            if "\n" in str(error) or not any(name in str(error) for name in named):
                told.wrong.append(f"{number}: not one line about the file: {str(error)[:300]}")
        except Exception:
            told.wrong.append(f"{number}: {traceback.format_exc()[-1500:]}")
        else:
            told.outcomes["read"] += 1
        finally:
            signal.alarm(0)
        peak = max(0, _peak() - before) if before else 0
        if peak > told.worst:
            told.worst, told.worst_number = peak, number
    if told.worst > 2 * told.healthy + SLACK:
        mebibytes = f"{told.worst / 2**20:.0f} MiB, a healthy file {told.healthy / 2**20:.0f} MiB"
        told.wrong.append(
            f"{told.worst_number}: takes {mebibytes}; expected at most twice as much and {SLACK / 2**20:.0f} MiB"
        )
    return told


def _peaks_are_told() -> bool:
    """Whether a burst of 32 MiB shows. Some sandboxes take the reset without a word and then count no peak."""
    before = _reset_peak()
    bytearray(b"x") * 2**25
    return before > 0 and _peak() - before > 2**24


def _reset_peak() -> int:
    """The process's resident bytes now, from where `_peak` counts again; 0 where the system cannot tell (not Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return 0


def _peak() -> int:
    try:
        return _status("VmHWM")
    except OSError:
        return 0


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
