"""Whether a launcher such as torchrun started this process, read from its environment without loading torch."""

import os

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in the environment of a rank."""


def several_ranks() -> bool:
    """Whether this process is one of several ranks."""
    return all(name in os.environ for name in LAUNCHED) and os.environ["WORLD_SIZE"] != "1"


def rank() -> int:
    """The number of this process among the ranks; 0 where it is the only one."""
    return int(os.environ["RANK"]) if several_ranks() else 0


def local_rank() -> int:
    """The number of this rank among those of its machine: the GPU that it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))
