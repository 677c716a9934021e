"""The ranks of one launch under `torchrun`: processes that run the same program, each on a share of the samples.

Every rank takes every step. Within `deal`, ranks work on blocks of their own and must not wait for each other; outside
of it they may gather, and what they decide must follow from what they all know. Without a launcher there is one rank,
and none of this costs anything. Everything else is torch.distributed's: no scheduler, no launcher of our own.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from ironbind.core.errors import InputError
from ironbind.launcher import local_rank, several_ranks

T = TypeVar("T")
LOST = (
    "a rank of this run has ended; what was computed is stored, run the same command to continue, with any number "
    "of ranks"
)
PATIENCE = timedelta(days=2)
"""How long a rank waits for one that is still at work; one that has ended is noticed at once."""
GOLDEN = 0.6180339887498949


class RankLost(InputError):
    """Another rank has ended while this one waited for it."""


class Ranks(Protocol):
    """The processes of a launch, seen from one of them. `rank`: its number, from 0; `size`: how many there are."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def backend(self) -> str:
        """What carries messages: "gloo", "nccl and gloo"; "" for a single process."""
        ...

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order, on all of them."""
        ...

    def from_first(self, compute: Callable[[], T]) -> T:
        """What `compute` returns on the first rank, on all of them; what it raises is raised on all of them."""
        ...

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over the ranks, the same bits on all of them; in place."""
        ...

    def deal(self, blocks: Sequence[T]) -> Iterator[tuple[int, T]]:
        """The blocks that fall to this rank, with their numbers: each rank takes the next one when it is free."""
        ...

    @property
    def dealing(self) -> bool:
        """Whether this rank is at work on blocks of its own, where it must not wait for others."""
        ...


@dataclass
class SingleProcess:
    """One process: it gets every block, and its own value is all there is to gather."""

    rank = 0
    size = 1
    backend = ""
    dealing = False

    def gather(self, value: T) -> list[T]:
        return [value]

    def from_first(self, compute: Callable[[], T]) -> T:
        return compute()

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def deal(self, blocks: Sequence[T]) -> Iterator[tuple[int, T]]:
        yield from enumerate(blocks)


@dataclass
class ProcessGroup:
    """The ranks of torch.distributed's default group. `store`: the launcher's, which counts the blocks handed out."""

    rank: int
    size: int
    backend: str
    store: Any
    _deals: int = field(default=0, init=False)
    _dealing: bool = field(default=False, init=False)

    @property
    def dealing(self) -> bool:
        return self._dealing

    def gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        with self._waiting("gather"):
            distributed.all_gather_object(values, value)
        return values

    def from_first(self, compute: Callable[[], T]) -> T:
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            alone, self._dealing = self._dealing, True  # the others are waiting, and would wait for ever
            try:
                outcome[0] = compute()
            except InputError as error:
                outcome[1] = error
            finally:
                self._dealing = alone
        with self._waiting("wait for the first rank"):
            distributed.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        value: T = outcome[0]
        return value

    def sum(self, tensor: Tensor) -> Tensor:
        with self._waiting("sum"):
            distributed.all_reduce(tensor)
        return tensor

    def deal(self, blocks: Sequence[T]) -> Iterator[tuple[int, T]]:
        self._deals += 1
        counter, self._dealing = f"deal {self._deals}", True
        try:
            while True:
                try:
                    number = self.store.add(counter, 1) - 1
                except RuntimeError as error:
                    raise _lost() from error
                if number >= len(blocks):
                    return
                yield number, blocks[number]
        finally:
            self._dealing = False

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        if self._dealing:
            raise RuntimeError(f"a rank cannot {what} while it is at work on a block of its own")
        try:
            yield
        except RuntimeError as error:  # what gloo and nccl raise when a peer closes its connection
            raise _lost() from error


def _lost() -> RankLost:
    return RankLost(LOST)


_current: Ranks = SingleProcess()


def current() -> Ranks:
    """The ranks that this process belongs to."""
    return _current


def join() -> Ranks:
    """Joins the ranks of the launcher, once per process; where there is none, the process is alone. CPU tensors and
    objects travel by gloo, those of a GPU by nccl.
    """
    global _current
    if not several_ranks() or isinstance(_current, ProcessGroup):
        return _current
    accelerated = torch.cuda.is_available() and distributed.is_nccl_available()
    if accelerated:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))
    # of every start of the workers its own counters: the launcher's store outlives a restart
    store = distributed.PrefixStore(f"ironbind {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if accelerated else "gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE
    )
    atexit.register(distributed.destroy_process_group)
    _current = ProcessGroup(rank, size, "nccl and gloo" if accelerated else "gloo", store)
    return _current


def refuse_unlike(**loaded: str) -> None:
    """Raises InputError, on every rank, where ranks hold other content than the first: `loaded` is a fingerprint of
    each thing ("weights", "data"). All ranks must call this.
    """
    held = current().gather(loaded)
    for rank, own in enumerate(held):
        for what, fingerprint in own.items():
            first = held[0][what]
            if fingerprint != first:
                raise InputError(
                    f"rank {rank} sees other {what} ({fingerprint[:12]}) than rank 0 ({first[:12]}); expected the same "
                    "files on every machine"
                )


def first_to_tell(line: str) -> bool:
    """Whether no other rank has told the user this line yet: several ranks end for the same reason."""
    if not isinstance(_current, ProcessGroup):
        return True
    try:
        return bool(_current.store.add(f"told {line}", 1) == 1)
    except RuntimeError:  # the launcher is gone as well
        return _current.rank == 0


def interleaved(items: Sequence[T]) -> list[T]:
    """The items in an order in which every stretch holds some from everywhere: of samples sorted by difficulty, every
    block then costs about the same (multiples of the golden ratio modulo 1, a sequence of low discrepancy).
    """
    order = sorted(range(len(items)), key=lambda place: (place * GOLDEN) % 1.0)
    # `order` lists places by rank of their fraction; its inverse spreads neighbours apart
    spread = [0] * len(items)
    for position, place in enumerate(order):
        spread[place] = position
    return [items[position] for position in spread]


def shrinking_blocks(items: Sequence[T], ranks: int, largest: int, smallest: int = 12) -> list[list[T]]:
    """The items in blocks that shrink towards the end, so that ranks that take them on demand end together: an equal
    share of what is left, within the limits (guided self-scheduling, Polychronopoulos and Kuck 1987). Every block costs
    all steps of an attack once, however few its samples: hence the smallest. A single process gets the largest.
    """
    blocks: list[list[T]] = []
    first = 0
    while first < len(items):
        share = largest if ranks == 1 else -(-(len(items) - first) // ranks)
        size = min(largest, max(min(smallest, -(-len(items) // ranks)), share))
        blocks.append(list(items[first : first + size]))
        first += size
    return blocks
