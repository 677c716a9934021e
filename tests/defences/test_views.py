"""Views: inside bounds, the same shape, what each is said to do."""

import pytest
import torch

from ironbind.defences.views import VIEWS, at_speed, cropped, shifted, time_bin, turned, views_of
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from toys import rng

SPACES = {
    "pixels": (PIXELS, (3, 8, 8)), "waveform": (WAVEFORM, (1, 64)), "logmel": (log_mel(80.0), (1, 8, 16)),
    "unit_sphere": (UNIT_SPHERE, (32, 3)), "event_frames": (EVENT_FRAMES, (2, 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_views_stay_in_the_space(name):
    space, shape = SPACES[name]
    x = space.low + (space.high - space.low) * torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    views = views_of(x, space, rng(2))
    assert len(views) == 1 + len(VIEWS[name])
    assert torch.equal(views[0], x)
    for view in views[1:]:
        assert view.shape == x.shape
        assert view.min() >= space.low
        assert view.max() <= space.high
        assert not torch.equal(view, x)


def test_what_views_do():
    ramp = torch.arange(10.0)[None, None]
    assert shifted(0.2)(ramp, rng(1))[0, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert shifted(-0.2)(ramp, rng(1))[0, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 9, 9]
    assert at_speed(2.0)(ramp, rng(1))[0, 0].tolist() == [0, 0, 0, 1.5, 3.5, 5.5, 7.5, 9, 9, 9]
    torch.testing.assert_close(at_speed(1.0)(ramp, rng(1)), ramp)
    points = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]])
    torch.testing.assert_close(
        turned(90, 2)(points, rng(1)), torch.tensor([[[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]]), atol=1e-6, rtol=0
    )
    events = torch.tensor([[[[0.0, 0.1, 0.5, 0.9, 1.0]]]])
    torch.testing.assert_close(time_bin(0.5, 1.0)(events, rng(1)), torch.tensor([[[[0.0, 0, 0, 0.8, 1.0]]]]))
    torch.testing.assert_close(time_bin(0.0, 0.5)(events, rng(1)), torch.tensor([[[[0.0, 0.2, 1.0, 0, 0]]]]))
    flat = torch.full((1, 3, 6, 6), 0.25)
    torch.testing.assert_close(cropped(0.5, 0, 1)(flat, rng(1)), flat)
