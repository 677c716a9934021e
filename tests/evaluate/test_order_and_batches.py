"""A table is the same to the last bit whatever the order in which a store gives its rows, the order of the samples, the
batch size, and where an earlier run was killed.
"""

import random
import sqlite3

import pytest
from test_audit import calibrated

from ironbind.api import audit_corrupted
from ironbind.attacks import FMN, PGD
from ironbind.core.results import Result, table_csv
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.illusion import HubTask, IllusionTask
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.modalities.corruptions import CommonCorruption
from ironbind.runs.task_attacks import FittedUniversal
from ironbind.types import Linf
from toys import Conv, ToyData, audit, curve

pytestmark = pytest.mark.bits

N = 13
LADDER = (Linf("1/255"), Linf("4/255"))


class Shuffled(VerdictStore):
    """A store that gives its rows in another order."""

    def __init__(self, folder, seed: int) -> None:
        super().__init__(folder)
        self.draw = random.Random(seed)

    def verdicts(self, key):
        stored = list(super().verdicts(key).items())
        self.draw.shuffle(stored)
        return dict(stored)


class Reordered(ToyData):
    """The same instances in another order."""

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n)
        order = random.Random(seed).sample(range(n), n)
        self.ids, self.labels, self.captions = (
            [part[i] for i in order] for part in (self.ids, self.labels, self.captions)
        )


def zero_shot_audit(data, **options) -> Result:
    """Backbone, replayed, adaptive, and the old index."""
    task = zero_shot(calibrated(Conv()), data, "image")
    return audit(task, (PGD(steps=2), PGD(steps=2, loss="ce")), LADDER, checks=False, **options)


def retrieval_audit(data, **options) -> Result:
    return audit(retrieval(Conv(), data, "image", of="text"), PGD(steps=2), LADDER, checks=False, **options)


def illusion_audit(data, **options) -> Result:
    encoder = Conv()
    task = IllusionTask(encoder, data, "image", encoder.inputs["image"].space_named(None), other="text")
    return audit(task, PGD(steps=3), LADDER, checks=False, **options)


def hub_audit(data, **options) -> Result:
    encoder = Conv()
    task = HubTask(encoder, data, "image", encoder.inputs["image"].space_named(None), other="text")
    return audit(task, PGD(steps=3), LADDER, checks=False, **options)


def corrupted_audit(data, **options) -> Result:
    kinds = (CommonCorruption("gaussian_noise", 3), CommonCorruption("contrast", 5))
    return audit_corrupted(zero_shot(calibrated(Conv()), data, "image"), kinds, LADDER, **options)


def accuracy_curve(data, **options) -> Result:
    task = zero_shot(calibrated(Conv()), data, "image")
    return curve(task, FMN(5), Linf("16/255"), LADDER, checks=False, **options)


def universal_audit(data, **options) -> Result:
    """The perturbation is fitted on other samples, and kept in the run folder."""
    attack = FittedUniversal(samples=16, epochs=2)
    return audit(zero_shot(Conv(), data, "image"), attack, LADDER, checks=False, **options)


AUDITS = [zero_shot_audit, retrieval_audit, illusion_audit, hub_audit, corrupted_audit, accuracy_curve]
EVALUATIONS = {run.__name__: run for run in [*AUDITS, universal_audit]}


@pytest.mark.parametrize("run", AUDITS, ids=lambda run: run.__name__)
def test_tables_depend_neither_on_batches_nor_on_stored_order_nor_on_kills(run, tmp_path):
    whole = run(ToyData(N), out=tmp_path / "whole", batch_size=N).rows
    for batch_size in (1, 3, 5):
        rows = run(ToyData(N), batch_size=batch_size).rows
        assert rows == whole
        assert table_csv(rows) == table_csv(whole)
    for seed in range(2):
        assert run(ToyData(N), store=Shuffled(tmp_path / "whole", seed)).rows == whole
    draw = random.Random(0)
    connection = sqlite3.connect(tmp_path / "whole" / "verdicts.sqlite")
    with connection:
        for key, sample in connection.execute("SELECT audit, sample FROM verdict").fetchall():
            if draw.random() < 0.5:
                connection.execute("DELETE FROM verdict WHERE audit = ? AND sample = ?", (key, sample))
    connection.close()
    assert run(ToyData(N), store=Shuffled(tmp_path / "whole", 0), batch_size=3).rows == whole
    assert run(ToyData(N), out=tmp_path / "whole").rows == whole
    assert (tmp_path / "whole" / "table.csv").read_text(encoding="utf-8") == table_csv(whole)


@pytest.mark.parametrize(
    "run", [zero_shot_audit, retrieval_audit, corrupted_audit, accuracy_curve], ids=lambda run: run.__name__
)
def test_tables_do_not_depend_on_the_order_of_the_samples(run):
    whole = run(ToyData(N)).rows
    for seed in range(2):
        assert run(Reordered(N, seed), batch_size=5).rows == whole
