"""Decoding in worker processes: the same samples in the same order, errors that name the first bad one, no process left
behind.
"""

import multiprocessing
import os

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.core.samples import Remark
from ironbind.evaluate.inputs.decode_workers import Prepared, decoders, shared
from ironbind.evaluate.inputs.prepared import load_native
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.numerics.processes import can_fork
from ironbind.types import InputError, Linf
from toys import Conv, ToyData, audit

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers are forked")
N = 24


def test_workers_give_the_same_samples_in_the_same_order():
    encoder = Conv()
    alone = load_native(encoder, ToyData(N), "image", range(N))
    with decoders(3):
        data = ToyData(N)
        assert load_native(encoder, data, "image", range(N)).equal(alone)
        assert load_native(encoder, data, "image", [5, 3, 5]).equal(alone[[5, 3, 5]])
        assert data.decoded == 0  # nothing was decoded in this process
        assert load_native(encoder, ToyData(N), "audio", list(reversed(range(N)))).equal(
            load_native(encoder, ToyData(N), "audio", range(N)).flip(0)
        )
    assert multiprocessing.active_children() == []


def test_audits_do_not_notice():
    def rows():
        data = ToyData(N)
        tasks = (zero_shot(Conv(), data, "image"), retrieval(Conv(), data, "audio"))
        return [audit(task, PGD(steps=2), Linf("3/255"), checks=False).rows for task in tasks]

    alone = rows()
    with decoders(2):
        assert rows() == alone


def test_few_samples_and_one_worker_stay_at_home():
    def here(indices):
        return [Prepared(torch.tensor([os.getpid()]), ()) for _ in indices]

    for workers, indices in ((1, range(50)), (0, range(50)), (4, range(7))):
        with decoders(workers):
            assert {int(sample.tensor) for sample in shared("x", indices, here)} == {os.getpid()}
    with decoders(4):
        found = {int(sample.tensor) for sample in shared("x", range(64), here)}
        assert os.getpid() not in found
        assert 1 <= len(found) <= 4
    assert {int(sample.tensor) for sample in shared("x", range(64), here)} == {os.getpid()}


def test_another_data_set_gets_other_workers():
    with decoders(2):
        first = shared(
            "a", range(8), lambda rows: [Prepared(torch.tensor(row), (Remark("is", str(row)),)) for row in rows]
        )
        second = shared("b", range(8), lambda rows: [Prepared(torch.tensor(-row), ()) for row in rows])
        assert [(int(sample.tensor), sample.remarks[0].detail) for sample in first] == [
            (row, str(row)) for row in range(8)
        ]
        assert [int(sample.tensor) for sample in second] == [-row for row in range(8)]
        assert len(multiprocessing.active_children()) <= 2


def test_the_first_bad_sample_is_named():
    def prepare(indices):
        for one in indices:
            if one in (9, 17):
                raise InputError(f"sample {one} cannot be read")
        return [Prepared(torch.zeros(1), ()) for _ in indices]

    with decoders(2):
        with pytest.raises(InputError, match="sample 9 cannot be read"):
            shared("x", range(24), prepare)
        assert len(shared("x", range(8), prepare)) == 8  # the others work on
