"""What the tests of several ranks start, under torchrun or as it does: evaluations of toys, each into a folder of its
own.

    ranks_worker.py OUT NAME,NAME,... [RANK:ADDS:END]

The last argument ends a rank when it has stored so many blocks: "kill" by SIGKILL, "full" as a full disk would.
"""

import errno
import os
import signal
import sys
from functools import partial
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "evaluate")]

import torch  # noqa: E402
from test_order_and_batches import EVALUATIONS  # noqa: E402

from ironbind.__main__ import answered, join_ranks  # noqa: E402
from ironbind.evaluate.store.journal import Journal  # noqa: E402
from ironbind.numerics import ranks  # noqa: E402
from toys import ToyData  # noqa: E402

SAMPLES = 30


def end_a_rank(rank: int, adds: int, how: str) -> None:
    """Ends this process, if it is that rank, at its next entry after `adds` of them."""
    if ranks.current().rank != rank:
        return
    add, left = Journal.add, [adds]

    def counted(journal: Journal, entry: dict) -> None:
        left[0] -= 1
        if left[0] < 0 and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(journal.lines))
        add(journal, entry)

    Journal.add = counted


def work(out: Path, names: list[str], fault: str) -> None:
    if fault:
        rank, adds, how = fault.split(":")
        end_a_rank(int(rank), int(adds), how)
    for name in names:
        EVALUATIONS[name](ToyData(SAMPLES), out=out / name)
    print(f"rank {ranks.current().rank} is done")


def end_while_ending(moment: str) -> None:
    """A rank that ends for a reason of its own, and that its launcher ends at that moment: on the way out of what it
    was at, or when it tells the reason.
    """
    join_ranks()

    def full() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "journal")
        finally:
            if moment == "on its way out":
                os.kill(os.getpid(), signal.SIGTERM)

    first_to_tell = ranks.first_to_tell

    def ended_first(line: str) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return first_to_tell(line)

    if moment == "when it tells":
        ranks.first_to_tell = ended_first
    answered(full)


def run(out: str | Path, names: str, fault: str = "") -> None:
    """What a rank does."""
    torch.set_num_threads(1)
    join_ranks()
    answered(partial(work, Path(out), names.split(","), fault))


if __name__ == "__main__":
    run(*sys.argv[1:])
