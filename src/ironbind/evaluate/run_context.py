"""The context of a run, built once: the store of its verdicts, seed, batch size, progress, black-box search."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor
from typing_extensions import TypedDict, Unpack

from ironbind.evaluate.store.shared_store import SharedStore
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.numerics import ranks
from ironbind.types import Attack, InputError

AnyStore = VerdictStore | SharedStore
"""Of a single process, or of one of several ranks."""

ProgressCallback = Callable[[str, int, int], None]
"""Called with the current step, how many samples of it are done, and how many there are."""

Witness = Callable[[Sequence[str], Float[Tensor, "b ..."], Sequence[Verdict]], None]
"""Called with sample ids, inputs, and the verdict on each of these inputs, whenever verdicts are computed."""


def no_progress(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


def no_witness(ids: Sequence[str], x: Float[Tensor, "b ..."], verdicts: Sequence[Verdict]) -> None:
    """A witness that does nothing."""


@dataclass(frozen=True)
class RunContext:
    """`store` keeps verdicts and examples, `seed` draws all randomness, `batch_size` samples are attacked at once, and
    check C17b compares `black_box`, a search without gradients, with the attacks (None: that check is skipped).
    `witness` sees every input that gets a verdict.
    """

    store: AnyStore = field(default_factory=VerdictStore)
    seed: int = 0
    batch_size: int = 64
    progress: ProgressCallback = no_progress
    black_box: Attack | None = None
    witness: Witness = no_witness


class RunOptions(TypedDict, total=False):
    """The options of a run (see `run_context`)."""

    out: Path | str | None
    store: AnyStore | None
    seed: int
    batch_size: int
    fresh: bool
    progress: ProgressCallback | None
    black_box: Attack | None


def open_store(folder: Path | None = None, *, fresh: bool = False) -> AnyStore:
    """The store of a run folder (None: of a temporary one), shared where this process is one of several ranks. Raises
    InputError for several ranks without a folder that all of them see.
    """
    group = ranks.current()
    if group.size == 1:
        return VerdictStore(folder, fresh=fresh)
    if folder is None:
        raise InputError(f"{group.size} ranks need a run folder that all of them see; expected out=FOLDER")
    return SharedStore(folder, group, fresh=fresh)


@contextmanager
def run_context(**options: Unpack[RunOptions]) -> Iterator[RunContext]:
    """The context of one run. `out`: run folder whose verdict store is reused and extended, so that a killed run goes
    on where it stopped (None: a temporary one); `fresh` forgets what it stores. `store`: an open one instead, which
    stays open.
    """
    given, out = options.get("store"), options.get("out")
    store = given or open_store(None if out is None else Path(out), fresh=options.get("fresh", False))
    try:
        yield RunContext(
            store,
            options.get("seed", 0),
            options.get("batch_size", 64),
            options.get("progress") or no_progress,
            options.get("black_box"),
        )
    finally:
        if given is None:
            store.close()
