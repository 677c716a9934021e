"""Certificates of the built-in encoder in every space that it can be entered in."""

import pytest

import ironbind as ib
from ironbind.certification.smoothing import Smoothing
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.types import L2, Keeping

SPACES = [
    ("image", "pixels"), ("video", "pixels"), ("audio", "waveform"), ("audio", "logmel"), ("point", "unit_sphere"),
    ("thermal", "pixels"), ("event", "event_frames"),
]  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return ib.load_encoder("tiny"), ib.load_dataset("world", n=2)


@pytest.mark.parametrize(("modality", "space"), SPACES)
def test_little_noise_certifies_little(world, modality, space, tmp_path):
    encoder, dataset = world
    task = ib.zero_shot(encoder, dataset, modality, space=space)
    by = Smoothing(0.005, draws=20, selection=12)
    found = by(task, [0, 1], (1, 5), 0, 64, Keeping(tmp_path))
    assert found.radius.shape == found.probability.shape == (2, 2)
    assert (found.radius[:, 0] <= found.radius[:, 1]).all()
    assert 0 < found.radius.max() <= by.largest
    assert ((found.probability >= 0) & (found.probability < 1)).all()
    right = int(found.radius[:, 1].argmax())
    x, within = task.load([right]), L2(0.999 * float(found.radius[right, 1]))
    y = ib.attacks.PGD(steps=1)(
        by.attacked(task.embed, 0), x, task.goal([right], 5), task.space, within, _rng(dataset.ids[right])
    ).x
    enforce(y, x, task.space, within)
    assert not by.refuted(task, right, y, 5, 0, 64)[0]


def _rng(sample: str) -> PerSample:
    return PerSample.of(0, [sample], "test")
