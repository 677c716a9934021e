"""The verdict store: one SQLite file per run, appended to in transactions. It is the cache, the resume after a kill and
the source of every table.

A verdict is keyed by an *audit key* (a hash of everything that decides it: encoder and calibration weights, data,
modality, space, question, attacks, norm and radii so far, seed, threat model) and the sample's id. Adversarial
examples, which replay needs, live in a second file beside it that may be deleted at any time: they are then crafted
again, bit for bit.
"""

import base64
import hashlib
import json
import math
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.errors import InputError, WriteError, no_room, writing
from ironbind.core.samples import Remark
from ironbind.evaluate.store import journal


@dataclass(frozen=True)
class Verdict:
    """One sample under one threat model: the outcome of the worst adversarial example so far.

    `rank`: of the truth, 1 = correct. `margin`: best wrong score minus the true one (>= 0: wrong). `distance`: norm of
    that perturbation, in units of the space. `won_by`: the attack and radius that brought it about ("clean" when none
    did worse than no attack). Passes: the cost at this radius, per sample.
    """

    rank: int
    margin: float
    distance: float = 0.0
    won_by: str = "clean"
    gradient_passes: int = 0
    forward_passes: int = 0

    @property
    def difficulty(self) -> tuple[bool, float]:
        """Sorts samples by how much an attack on them is likely to cost: robust ones far from the boundary last."""
        return self.rank == 1, 0.0 if math.isnan(self.margin) else -self.margin

    def worse_than(self, other: "Verdict") -> bool:
        """Whether this is the worse outcome for the defender: a larger rank, at equal rank a larger margin."""
        return (self.rank, self.margin) > (other.rank, other.margin)


# the column "spent" is older than the field: stores of earlier versions are read as they are
_COLUMNS = ["spent" if column.name == "distance" else column.name for column in fields(Verdict)]


def audit_key(description: Mapping[str, Any]) -> str:
    """A hash of everything that decides a verdict; equal descriptions share verdicts."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode("utf-8")).hexdigest()[:32]


class VerdictStore:
    """Verdicts and examples of one run folder. Several processes of one machine may write the same store at the same
    time (WAL).
    """

    def __init__(self, folder: Path | None = None, *, fresh: bool = False) -> None:
        """`folder=None` keeps everything in a temporary folder that goes with the object. `fresh` forgets what was
        stored.
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="ironbind-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder)  # type: ignore[arg-type]
        self.known_preparations: dict[str, str] = {}  # by place: probed once for each store that is open
        with writing(f"--out {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            at_work = journal.owned(self.folder)
            if fresh:
                for path in [*self.folder.glob("verdicts.sqlite*"), *self.folder.glob("examples.sqlite*")]:
                    path.unlink()
                journal.discard(journal.journals(self.folder))
        self._verdicts = _Database(
            self.folder / "verdicts.sqlite",
            "CREATE TABLE IF NOT EXISTS audit (key TEXT PRIMARY KEY, description TEXT NOT NULL) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS verdict (audit TEXT, sample TEXT, rank INTEGER NOT NULL, margin "
            "REAL, spent REAL, won_by TEXT,"
            " gradient_passes INTEGER, forward_passes INTEGER, PRIMARY KEY (audit, sample)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS label (label TEXT PRIMARY KEY, audit TEXT) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS remark (data TEXT, sample TEXT, kind TEXT, detail TEXT, corrected INTEGER,"
            " PRIMARY KEY (data, sample, kind)) WITHOUT ROWID",
            (
                "CREATE TABLE IF NOT EXISTS preparation (place TEXT, id TEXT, probe BLOB, PRIMARY KEY (place, "
                "id)) WITHOUT ROWID"
            ),
        )
        self._examples = _Database(
            self.folder / "examples.sqlite",
            (
                "CREATE TABLE IF NOT EXISTS example (audit TEXT, sample TEXT, shape TEXT, data BLOB, PRIMARY KEY "
                "(audit, sample))"
            ),
        )

        if not at_work:
            self.take_in_journals()

    def take_in_journals(self) -> None:
        """Takes in what the ranks of an earlier run wrote beside the database, and removes it there."""
        paths = journal.journals(self.folder)
        for path in paths:
            self.take_in(journal.entries(path))
            for entry in journal.entries(path):
                if entry["kind"] == "examples":
                    for sample, place in journal.places_of(path, entry).items():
                        with suppress(ValueError, OSError):  # numbers that were never written: crafted again
                            self.add_examples(entry["key"], [sample], place.read()[None])
        journal.discard(paths)

    def take_in(self, entries: Iterable[journal.Entry]) -> None:
        """Stores what entries of journals hold: verdicts, remarks, probes. What is there already stays as it is."""
        for entry in entries:
            if entry["kind"] == "verdicts":
                verdicts = {sample: Verdict(*fields_of) for sample, *fields_of in entry["rows"]}
                self.add(entry["key"], entry["description"], verdicts)
            elif entry["kind"] == "remarks":
                remarks: dict[str, list[Remark]] = {}
                for sample, kind, detail, corrected in entry["rows"]:
                    remarks.setdefault(sample, []).append(Remark(kind, detail, bool(corrected)))
                self.add_remarks(entry["data"], remarks)
            elif entry["kind"] == "preparation":
                probe = np.frombuffer(base64.b64decode(entry["probe"]), dtype=np.float32)
                self.add_preparation(entry["place"], entry["name"], probe)

    def checkpoint(self) -> None:
        """Folds the write-ahead log of the examples into their file, for those who read it without locks."""
        self._examples.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def verdicts(self, key: str) -> dict[str, Verdict]:
        """Everything stored under an audit key, by sample id."""
        rows = self._verdicts.rows(f"SELECT sample, {', '.join(_COLUMNS)} FROM verdict WHERE audit = ?", key)
        return {sample: Verdict(rank, _number(margin), *rest) for sample, rank, margin, *rest in rows}

    def add(self, key: str, description: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
        """Appends verdicts in one transaction; those already there stay as they are. Raises WriteError where the disk
        is full: then none of them is stored.
        """
        marks = ", ".join(["?", _TEXT, *"?" * len(_COLUMNS)])
        self._verdicts.insert(
            (
                "INSERT OR IGNORE INTO audit VALUES (?, ?)",
                [(key, json.dumps(description, sort_keys=True, default=str))],
            ),
            (
                f"INSERT OR IGNORE INTO verdict VALUES ({marks})",
                [(key, _bytes(sample), *astuple(verdict)) for sample, verdict in verdicts.items()],
            ),
        )

    def add_remarks(self, data: str, remarks: Mapping[str, Sequence[Remark]]) -> None:
        """Keeps what readers remarked of samples, by sample id: a run that goes on does not read them again."""
        rows = [
            (data, sample, remark.kind, remark.detail, remark.corrected)
            for sample, sample_remarks in remarks.items()
            for remark in sample_remarks
        ]
        if rows:
            self._verdicts.insert(("INSERT OR REPLACE INTO remark VALUES (?, ?, ?, ?, ?)", rows))

    def remarks(self, data: str) -> dict[str, list[Remark]]:
        """What is kept of `add_remarks`, by sample id."""
        remarks: dict[str, list[Remark]] = {}
        query = "SELECT sample, kind, detail, corrected FROM remark WHERE data = ? ORDER BY sample, kind"
        for sample, kind, detail, corrected in self._verdicts.rows(query, data):
            remarks.setdefault(sample, []).append(Remark(kind, detail, bool(corrected)))
        return remarks

    def preparations(self, place: str) -> dict[str, np.ndarray]:
        """The probes that were kept of a place, by their id (see `evaluate.preparation`)."""
        rows = self._verdicts.rows("SELECT id, probe FROM preparation WHERE place = ? ORDER BY id", place)
        return {name: np.frombuffer(probe, dtype=np.float32) for name, probe in rows}

    def add_preparation(self, place: str, name: str, probe: np.ndarray) -> None:
        """Keeps a probe."""
        row = (place, name, np.ascontiguousarray(probe, dtype=np.float32).tobytes())
        self._verdicts.insert(("INSERT OR IGNORE INTO preparation VALUES (?, ?, ?)", [row]))

    def label(self, key: str, label: Sequence[str]) -> None:
        """Notes to which numbers of the table the verdicts under an audit key belong (`verdicts_csv.label_of`)."""
        if self.labelled(label) != key:
            self._verdicts.insert(("INSERT OR REPLACE INTO label VALUES (?, ?)", [(json.dumps(list(label)), key)]))

    def labelled(self, label: Sequence[str]) -> str | None:
        """The audit key whose verdicts belong to a number of the table, those of the latest run; None where there are
        none.
        """
        rows = self._verdicts.rows("SELECT audit FROM label WHERE label = ?", json.dumps(list(label)))
        return rows[0][0] if rows else None

    def description(self, key: str) -> dict[str, Any]:
        """What decided the verdicts under an audit key; {} for a key that is not stored."""
        rows = self._verdicts.rows("SELECT description FROM audit WHERE key = ?", key)
        return dict(json.loads(rows[0][0])) if rows else {}

    def counts(self) -> tuple[int, int]:
        """How much is stored: (verdicts, audit keys that they belong to)."""
        return self._verdicts.rows("SELECT COUNT(*), COUNT(DISTINCT audit) FROM verdict")[0]

    def examples(self, key: str, samples: Sequence[str]) -> dict[str, Float[Tensor, "..."]]:
        """The stored adversarial examples among `samples`."""
        return read_examples(self._examples.rows, key, samples)

    def has_examples(self, key: str) -> set[str]:
        """Ids of the samples whose example is stored under an audit key."""
        return samples_with_examples(self._examples.rows, key)

    def add_examples(self, key: str, samples: Iterable[str], x: Float[Tensor, "b ..."]) -> None:
        """Stores one example per sample, exactly (float32). Raises WriteError where the disk is full: then none of them
        is stored.
        """
        rows = [
            (key, _bytes(sample), json.dumps(list(example.shape)), example.cpu().contiguous().numpy().tobytes())
            for sample, example in zip(samples, x, strict=True)
        ]
        self._examples.insert((f"INSERT OR REPLACE INTO example VALUES (?, {_TEXT}, ?, ?)", rows))

    def passes(self) -> tuple[int, int]:
        """Gradient and forward passes of everything stored: (gradient, forward)."""
        sums = "COALESCE(SUM(gradient_passes), 0), COALESCE(SUM(forward_passes), 0)"
        gradient, forward = self._verdicts.rows(f"SELECT {sums} FROM verdict")[0]
        return int(gradient), int(forward)

    def close(self) -> None:
        """Folds the write-ahead logs into the files and releases them."""
        self._verdicts.close()
        self._examples.close()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value  # SQLite stores nan as NULL


# a sample's id may be a file name that is no UTF-8: its bytes are stored as they are, and read back as Python has them
_TEXT = "CAST(? AS TEXT)"


def _bytes(sample: str) -> bytes:
    return sample.encode("utf-8", "surrogateescape")


Rows = Callable[..., list[tuple[Any, ...]]]
"""Runs a query with its parameters on a database of examples."""


def read_examples(rows: Rows, key: str, samples: Sequence[str]) -> dict[str, Float[Tensor, "..."]]:
    """The examples among `samples` that lie under an audit key."""
    examples: dict[str, Tensor] = {}
    query = f"SELECT shape, data FROM example WHERE audit = ? AND sample = {_TEXT}"
    for sample in samples:
        for shape, data in rows(query, key, _bytes(sample)):
            flat = torch.from_numpy(np.frombuffer(data, dtype=np.float32).copy())
            examples[sample] = flat.reshape(json.loads(shape))
    return examples


def samples_with_examples(rows: Rows, key: str) -> set[str]:
    """Ids of the samples whose example lies under an audit key."""
    return {sample for (sample,) in rows("SELECT sample FROM example WHERE audit = ?", key)}


class _Database:
    """One SQLite file whose errors are one line that names it."""

    def __init__(self, path: Path, *schema: str) -> None:
        self.path = path
        with _using(path):
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            for statement in schema:
                self._connection.execute(statement)
            self._connection.commit()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with _using(self.path):
            return self._connection.execute(query, parameters).fetchall()

    def insert(self, *statements: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        """Runs the statements, each with its rows, in one transaction: all of it is stored, or nothing."""
        with _using(self.path), self._connection:
            for statement, rows in statements:
                self._connection.executemany(statement, rows)

    def close(self) -> None:
        with _using(self.path):
            self._connection.close()


@contextmanager
def _using(path: Path) -> Iterator[None]:
    """Raises one line for what SQLite raises within the block: WriteError where the disk is the reason, else
    InputError.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(words in str(error) for words in _NO_ROOM):
            raise WriteError(
                no_room(str(path), str(error) if "full" in str(error) else f"{error}, as of a full disk")
            ) from error
        if "readonly" in str(error) or "unable to open" in str(error):
            raise WriteError(f"{path} cannot be written ({error}); expected a folder that can be written") from error
        if "locked" in str(error):
            raise InputError(
                f"{path} is in use by another run ({error}); wait for it, or pass another --out"
            ) from error
        raise InputError(_unusable(path, error)) from error
    except sqlite3.DatabaseError as error:
        raise InputError(_unusable(path, error)) from error


# SQLite tells a full disk in either way: it depends on which of its files did not fit
_NO_ROOM = ("database or disk is full", "disk I/O error")


def _unusable(path: Path, error: sqlite3.Error) -> str:
    return f"{path} cannot be used as a verdict store ({error}); delete it or pass --fresh"
