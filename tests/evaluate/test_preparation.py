"""A changed preparation or embedding is noticed although the weights have the same hash; remarks of readers are
counted.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ironbind.attacks import PGD
from ironbind.core.samples import Remark
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import Linf
from toys import Conv, Counting, ToyData, audit

BUDGET = Linf("3/255")
STALE = "stored verdicts of another preparation"


class Prepared(Conv):
    """The toy with a preparation of its own, as a user has one. `weights_sha256` stays that of the toy."""

    def __init__(self, prepare) -> None:
        super().__init__()
        self.name = "conv"
        spec = self.inputs["image"]
        self.inputs = {**self.inputs, "image": replace(spec, prepare=lambda decoded: prepare(spec.prepare(decoded)))}


class Shifted(Conv):
    """The toy with another function between input and embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "conv"

    def embed(self, modality, x, space=None):
        return super().embed(modality, 0.7 * x, space)


class Random(Conv):
    """Never answers the same, whoever seeds torch's own generator."""

    generator = torch.Generator().manual_seed(7)

    def embed(self, modality, x, space=None):
        noise = torch.randn(x.shape, generator=self.generator)
        return super().embed(modality, x + 0.05 * noise, space)


def task(encoder):
    return zero_shot(encoder, ToyData(16), "image")


def run(encoder, out):
    return audit(task(encoder), PGD(steps=1), BUDGET, out=out, checks=False)


@pytest.mark.parametrize("other", [Prepared(torch.zeros_like), Shifted()], ids=["preparation", "embedding"])
def test_verdicts_of_another_preparation_are_not_reused(other, tmp_path):
    fault, mended = run(other, tmp_path), run(Conv(), tmp_path)
    assert mended.value(metric="top1", threat_model="clean") == run(Conv(), tmp_path / "anew").value(
        metric="top1", threat_model="clean"
    )
    assert mended.value(metric="top1", threat_model="clean") != fault.value(metric="top1", threat_model="clean")
    assert [check.name for check in mended.checks if check.name == STALE] == [STALE]
    assert not [check for check in fault.checks if check.name == STALE]


def test_the_same_preparation_goes_on_with_what_is_stored(tmp_path):
    first, encoder = run(Conv(), tmp_path), Counting(Conv())
    assert run(encoder, tmp_path).rows == first.rows
    assert len(encoder.rows) == 1  # the probe


def test_last_bits_of_another_processor_are_no_other_preparation(tmp_path):
    run(Conv(), tmp_path)
    close = Counting(Prepared(lambda x: (x * (1 + 1e-6)).clamp(0, 1)))
    run(close, tmp_path)
    assert len(close.rows) == 1


def test_an_encoder_that_never_answers_the_same_can_go_on_too(tmp_path):
    run(Random(), tmp_path)
    encoder = Counting(Random())
    run(encoder, tmp_path)
    assert len(encoder.rows) == 2  # both are probes


class Remarked(ToyData):
    """Readers have something to say of every second sample."""

    def decode(self, modality, indices):
        samples = super().decode(modality, indices)
        remark = Remark("is one colour throughout", "RGB 0, 0, 0")
        return [
            replace(sample, remarks=(remark,)) if index % 2 else sample
            for index, sample in zip(indices, samples, strict=True)
        ]


def test_remarks_are_counted_in_the_first_run_and_in_one_that_decodes_nothing(tmp_path):
    for _ in range(2):
        result = audit(zero_shot(Conv(), Remarked(16), "image"), PGD(steps=1), BUDGET, out=tmp_path, checks=False)
        (check,) = [check for check in result.checks if check.name == "is one colour throughout"]
        assert (check.code, check.status) == ("data", "warn")
        assert check.detail.startswith("8 of 16 samples, such as ")
        assert check.detail.endswith("RGB 0, 0, 0")


def test_the_store_keeps_remarks_and_probes(tmp_path):
    store = VerdictStore(tmp_path)
    store.add_remarks("data", {"a": [Remark("is silent", "peak 0"), Remark("turned", "", corrected=True)], "b": []})
    store.add_preparation("place", "one", np.arange(3))
    store.close()
    store = VerdictStore(tmp_path)
    assert store.remarks("data") == {"a": [Remark("is silent", "peak 0"), Remark("turned", "", corrected=True)]}
    assert store.remarks("other") == {}
    assert {name: list(probe) for name, probe in store.preparations("place").items()} == {"one": [0, 1, 2]}
