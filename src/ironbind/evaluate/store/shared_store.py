"""The store of one of several ranks: what `VerdictStore` is to a single process.

The first rank has the run folder's database, the others have not. Each rank writes what it computes to a journal of its
own, at once. Whatever is read of verdicts is read by all ranks together: then everything new is gathered, the first
rank's database takes it in, and all get the same answer. Examples are read where they lie, by whoever needs them.
"""

import base64
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ironbind.core.samples import Remark
from ironbind.evaluate.store.journal import Entry, ExamplePlace, Journal, Ownership
from ironbind.evaluate.store.verdict_store import (
    Verdict,
    VerdictStore,
    read_examples,
    samples_with_examples,
)
from ironbind.numerics.ranks import Ranks

T = TypeVar("T")


class SharedStore:
    """The verdicts and examples of a run folder, for one of several ranks. Methods that read verdicts, remarks, probes
    or counts must be called by every rank; those that add, and those about examples, by any.
    """

    def __init__(self, folder: Path, ranks: Ranks, *, fresh: bool = False) -> None:
        """`fresh` forgets what was stored. Raises what `VerdictStore` raises, on every rank."""
        self.folder, self._ranks = Path(folder), ranks
        self.known_preparations: dict[str, str] = {}
        self._database: VerdictStore | None = None
        self._ownership: Ownership | None = None
        run = ranks.from_first(lambda: self._open(fresh))
        self._journal = Journal(self.folder, run, ranks.rank)
        self._new: list[Entry] = []
        self._examples: dict[str, dict[str, ExamplePlace]] = {}
        self._earlier = StoredExamples(self.folder / "examples.sqlite")

    def _open(self, fresh: bool) -> str:
        """On the first rank: the database, which takes in what a killed run left. The name of this run."""
        self._database = VerdictStore(self.folder, fresh=fresh)
        self._database.checkpoint()
        run = uuid4().hex[:8]
        self._ownership = Ownership(self.folder, run)
        return run

    def verdicts(self, key: str) -> dict[str, Verdict]:
        """Everything stored under an audit key by any rank, by sample id."""
        return self._read(lambda database: database.verdicts(key))

    def add(self, key: str, description: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
        """Appends verdicts of this rank. Raises WriteError where the disk is full."""
        rows = [[sample, *astuple(verdict)] for sample, verdict in verdicts.items()]
        self._add({"kind": "verdicts", "key": key, "description": dict(description), "rows": rows})

    def add_remarks(self, data: str, remarks: Mapping[str, Sequence[Remark]]) -> None:
        """Keeps what readers remarked of samples, by sample id."""
        rows = [
            [sample, remark.kind, remark.detail, remark.corrected]
            for sample, sample_remarks in remarks.items()
            for remark in sample_remarks
        ]
        if rows:
            self._add({"kind": "remarks", "data": data, "rows": rows})

    def remarks(self, data: str) -> dict[str, list[Remark]]:
        """What is kept of `add_remarks`, by sample id."""
        return self._read(lambda database: database.remarks(data))

    def preparations(self, place: str) -> dict[str, np.ndarray]:
        """The probes that were kept of a place, by their id."""
        return self._read(lambda database: database.preparations(place))

    def add_preparation(self, place: str, name: str, probe: np.ndarray) -> None:
        """Keeps a probe."""
        content = base64.b64encode(np.ascontiguousarray(probe, dtype=np.float32).tobytes()).decode("ascii")
        self._add({"kind": "preparation", "place": place, "name": name, "probe": content})

    def label(self, key: str, label: Sequence[str]) -> None:
        """Notes to which numbers of the table the verdicts under an audit key belong."""
        if self._database is not None:
            self._database.label(key, label)

    def labelled(self, label: Sequence[str]) -> str | None:
        """The audit key whose verdicts belong to a number of the table; None where there are none."""
        return self._read(lambda database: database.labelled(label))

    def description(self, key: str) -> dict[str, Any]:
        """What decided the verdicts under an audit key; {} for a key that is not stored."""
        return self._read(lambda database: database.description(key))

    def counts(self) -> tuple[int, int]:
        """How much is stored: (verdicts, audit keys that they belong to)."""
        return self._read(lambda database: database.counts())

    def passes(self) -> tuple[int, int]:
        """Gradient and forward passes of everything stored: (gradient, forward)."""
        return self._read(lambda database: database.passes())

    def examples(self, key: str, samples: Sequence[str]) -> dict[str, Float[Tensor, "..."]]:
        """The stored adversarial examples among `samples`."""
        places = self._examples.get(key, {})
        examples = {sample: places[sample].read() for sample in samples if sample in places}
        return {**self._earlier.examples(key, [sample for sample in samples if sample not in examples]), **examples}

    def has_examples(self, key: str) -> set[str]:
        """Ids of the samples whose example is stored under an audit key, as far as this rank knows."""
        return self._earlier.samples(key) | set(self._examples.get(key, ()))

    def add_examples(self, key: str, samples: Iterable[str], x: Float[Tensor, "b ..."]) -> None:
        """Stores one example per sample, exactly (float32). Raises WriteError where the disk is full."""
        places = self._journal.add_examples(key, samples, x)
        self._examples.setdefault(key, {}).update(places)
        self._new.append({"kind": "places", "key": key, "places": places})

    def close(self) -> None:
        """The database takes in all journals, examples included; every rank waits for that."""
        self._gather()
        self._journal.close()
        self._earlier.close()
        self._ranks.from_first(self._fold)

    def _fold(self) -> None:
        assert self._database is not None
        assert self._ownership is not None
        self._ownership.release()
        self._database.take_in_journals()
        self._database.close()

    def _add(self, entry: Entry) -> None:
        self._journal.add(entry)
        self._new.append(entry)
        if self._ownership is not None:
            self._ownership.touch()

    def _gather(self) -> None:
        """Everything that any rank has added since the last time, on all of them; the database takes it in."""
        gathered = [entry for share in self._ranks.gather(self._new) for entry in share]
        self._new = []
        for entry in gathered:
            if entry["kind"] == "places":
                self._examples.setdefault(entry["key"], {}).update(entry["places"])
        if self._database is not None:
            self._database.take_in(entry for entry in gathered if entry["kind"] != "places")

    def _read(self, read: Callable[[VerdictStore], T]) -> T:
        self._gather()

        def first() -> T:
            assert self._database is not None
            return read(self._database)

        return self._ranks.from_first(first)


class StoredExamples:
    """The examples that a run folder's database held when this run began: read without locks, as no rank writes there
    while the run lasts.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        if path.exists() and path.stat().st_size:
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            self._connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")

    def samples(self, key: str) -> set[str]:
        """Ids of the samples whose example is stored under an audit key."""
        return samples_with_examples(self._rows, key)

    def examples(self, key: str, samples: Sequence[str]) -> dict[str, Float[Tensor, "..."]]:
        """The stored examples among `samples`."""
        return read_examples(self._rows, key, samples)

    def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        if self._connection is None:
            return []
        with closing(self._connection.execute(query, parameters)) as cursor:
            return cursor.fetchall()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
