"""The verdict store: one SQLite file per run, appended to in transactions. It is the cache, the resume after a kill and
the source of every table.

A verdict is keyed by an *audit key* (a hash of everything that decides it: encoder and calibration weights, data,
modality, space, question, attacks, norm and radii so far, seed, threat model) and the sample's id. Adversarial
examples, which replay needs, live in a second file beside it that may be deleted at any time: they are then crafted
again, bit for bit.
"""

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import InputError


@dataclass(frozen=True)
class Verdict:
    """One sample under one threat model: what the worst example found so far does to it.

    `rank`: of the truth, 1 = correct. `margin`: best wrong score minus the true one (>= 0: wrong). `distance`: norm of
    that perturbation, in units of the space. `won_by`: the attack and radius that brought it about ("clean" when none
    did worse than no attack). Passes: what this rung cost, per sample.
    """

    rank: int
    margin: float
    distance: float = 0.0
    won_by: str = "clean"
    gradient_passes: int = 0
    forward_passes: int = 0

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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InputError(f"--out {self.folder}: {error.strerror}; expected a folder that can be written") from None
        if fresh:
            for path in [*self.folder.glob("verdicts.sqlite*"), *self.folder.glob("examples.sqlite*")]:
                path.unlink()
        self._verdicts = _connect(
            self.folder / "verdicts.sqlite",
            "CREATE TABLE IF NOT EXISTS audit (key TEXT PRIMARY KEY, description TEXT NOT NULL) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS verdict (audit TEXT, sample TEXT, rank INTEGER NOT NULL, margin REAL, spent REAL, won_by TEXT,"
            " gradient_passes INTEGER, forward_passes INTEGER, PRIMARY KEY (audit, sample)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS label (label TEXT PRIMARY KEY, audit TEXT) WITHOUT ROWID",
        )
        self._examples = _connect(
            self.folder / "examples.sqlite",
            "CREATE TABLE IF NOT EXISTS example (audit TEXT, sample TEXT, shape TEXT, data BLOB, PRIMARY KEY (audit, sample))",
        )

    def verdicts(self, key: str) -> dict[str, Verdict]:
        """Everything stored under an audit key, by sample id."""
        found = self._verdicts.execute(f"SELECT sample, {', '.join(_COLUMNS)} FROM verdict WHERE audit = ?", (key,))
        return {sample: Verdict(rank, _number(margin), *rest) for sample, rank, margin, *rest in found}

    def add(self, key: str, description: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
        """Appends verdicts in one transaction; those already there stay as they are."""
        marks = ", ".join("?" * (2 + len(_COLUMNS)))
        with self._verdicts:
            self._verdicts.execute(
                "INSERT OR IGNORE INTO audit VALUES (?, ?)", (key, json.dumps(description, sort_keys=True, default=str))
            )
            self._verdicts.executemany(
                f"INSERT OR IGNORE INTO verdict VALUES ({marks})",
                [(key, sample, *astuple(one)) for sample, one in verdicts.items()],
            )

    def label(self, key: str, label: Sequence[str]) -> None:
        """Notes which numbers of the table the verdicts under an audit key stand behind (see `verdict_table.label_of`)."""
        if self.labelled(label) != key:
            with self._verdicts:
                self._verdicts.execute("INSERT OR REPLACE INTO label VALUES (?, ?)", (json.dumps(list(label)), key))

    def labelled(self, label: Sequence[str]) -> str | None:
        """The audit key whose verdicts stand behind a number of the table, those of the latest run; None where there
        are none.
        """
        row = self._verdicts.execute("SELECT audit FROM label WHERE label = ?", (json.dumps(list(label)),)).fetchone()
        return row[0] if row else None

    def examples(self, key: str, samples: Sequence[str]) -> dict[str, Float[Tensor, "..."]]:
        """The stored adversarial examples among `samples`."""
        found: dict[str, Tensor] = {}
        for sample in samples:
            row = self._examples.execute(
                "SELECT shape, data FROM example WHERE audit = ? AND sample = ?", (key, sample)
            ).fetchone()
            if row:
                found[sample] = torch.from_numpy(np.frombuffer(row[1], dtype=np.float32).copy()).reshape(
                    json.loads(row[0])
                )
        return found

    def has_examples(self, key: str) -> set[str]:
        """Ids of the samples whose example is stored under an audit key."""
        return {sample for (sample,) in self._examples.execute("SELECT sample FROM example WHERE audit = ?", (key,))}

    def add_examples(self, key: str, samples: Iterable[str], x: Float[Tensor, "b ..."]) -> None:
        """Stores one example per sample, exactly (float32)."""
        rows = [
            (key, sample, json.dumps(list(one.shape)), one.cpu().contiguous().numpy().tobytes())
            for sample, one in zip(samples, x, strict=True)
        ]
        with self._examples:
            self._examples.executemany("INSERT OR REPLACE INTO example VALUES (?, ?, ?, ?)", rows)

    def passes(self) -> tuple[int, int]:
        """Gradient and forward passes spent on everything stored: (gradient, forward)."""
        row = self._verdicts.execute(
            "SELECT COALESCE(SUM(gradient_passes), 0), COALESCE(SUM(forward_passes), 0) FROM verdict"
        ).fetchone()
        return int(row[0]), int(row[1])

    def close(self) -> None:
        """Folds the write-ahead logs into the files and releases them."""
        self._verdicts.close()
        self._examples.close()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value  # SQLite stores nan as NULL


def _connect(path: Path, *schema: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for statement in schema:
            connection.execute(statement)
        connection.commit()
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} cannot be used as a verdict store ({error}); delete it or pass --fresh") from None
    return connection
