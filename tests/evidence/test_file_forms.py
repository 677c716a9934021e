"""What a file holds of an example: nothing is lost that it can hold, and rounding never leaves a budget."""

import numpy as np
import pytest

from ironbind.evidence.file_forms import ARRAY, form_of
from ironbind.modalities import MODALITIES

SPACES = {
    ("image", "pixels"): ((3, 6, 5), ".png"),
    ("thermal", "pixels"): ((1, 6, 5), ".png"),
    ("video", "pixels"): ((4, 3, 8, 6), ".mp4"),
    ("audio", "waveform"): ((1, 300), ".wav"),
    ("audio", "logmel"): ((1, 8, 9), ".npy"),
    ("point", "unit_sphere"): ((20, 3), ".ply"),
    ("event", "event_frames"): ((2, 6, 5), ".npz"),
    ("video", "clips"): ((2, 3, 2, 6, 5), ".npy"),
}


def sample(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def within(clean, radius, seed=1):
    step = np.random.default_rng(seed).choice([-radius, -radius / 3, radius], clean.shape)
    return (clean + step).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("place", SPACES, ids=" ".join)
@pytest.mark.parametrize("eps", [0.4, 1, 3.3, 4, 8])
def test_files_hold_what_they_are_given_and_keep_budgets(place, eps, tmp_path):
    shape, suffix = SPACES[place]
    form = form_of(*place, shape)
    assert form.suffix == suffix
    x, radius = sample(shape), eps / 255
    y = within(x, radius)
    clean = form.clean(x)
    adversarial = form.adversarial(y, clean, radius)
    for name, array in (("clean", clean), ("adversarial", adversarial)):
        path = tmp_path / f"{name}{suffix}"
        form.write(array, path, 16000)
        assert np.allclose(form.read(path), array, rtol=0, atol=1e-12)
    far = np.abs(form.read(tmp_path / f"adversarial{suffix}") - form.read(tmp_path / f"clean{suffix}")).max()
    assert far <= radius + 1e-7
    if form.levels == 255:
        assert far == pytest.approx(np.floor(eps) / 255, abs=1e-12)  # below one grey level the file is the clean one
    elif form.levels is None:
        assert np.array_equal(adversarial, y)
    if form.decodes:
        decoded = MODALITIES[place[0]].read(tmp_path / f"adversarial{suffix}")
        assert decoded.remarks == () or place[0] in ("image", "thermal", "video", "audio", "point")


def test_other_norms_are_rounded_only():
    form = form_of("image", "pixels", (3, 2, 2))
    clean = form.clean(sample((3, 2, 2)))
    y = clean + 0.6 / 255
    assert np.allclose(form.adversarial(y, clean, None) - clean, 1 / 255)


@pytest.mark.parametrize(
    ("place", "shape"),
    [(("image", "pixels"), (4, 3, 6, 5)), (("video", "pixels"), (3, 4, 6, 5)), (("depth", "metres"), (1, 6, 5))],
)
def test_shapes_that_no_file_has_are_arrays(place, shape):
    assert form_of(*place, shape) is ARRAY
