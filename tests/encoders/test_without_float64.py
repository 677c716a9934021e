"""What prepares and transforms inputs does the same on a device that refuses float64 as on the CPU."""

import pytest
import torch

from ironbind.encoders.hf.inputs import Mel
from ironbind.encoders.imagebind.inputs import ImageBindInputs
from ironbind.encoders.languagebind.inputs import LanguageBindInputs
from ironbind.encoders.shared.fbank import fbank, resample_middle
from ironbind.encoders.shared.point_sampling import farthest_points, nearest_points
from pretended import pretended_mps

DRAW = torch.Generator().manual_seed(0)
CLOUD = torch.rand(2, 60, 3, generator=DRAW)
SOUND = 2 * torch.rand(2, 1, 32_000, generator=DRAW) - 1
WINDOW = torch.hann_window(400, periodic=True, dtype=torch.float64)
FILTERS = torch.rand(257, 20, generator=DRAW, dtype=torch.float64)

FUNCTIONS = {
    "clap": (Mel("clap", WINDOW, FILTERS, 160, 512, 1e-10), SOUND),
    "gemma": (Mel("gemma", WINDOW, FILTERS, 160, 512, 1e-3), SOUND),
    "fbank": (fbank, SOUND[:, 0]),
    "imagebind": (ImageBindInputs().log_mel, SOUND),
    "languagebind": (LanguageBindInputs().audio, SOUND),
    "resampling": (lambda sound: resample_middle(sound, 1, 16_000, 100), SOUND[:, 0, :2000]),
    "farthest points": (lambda cloud: farthest_points(cloud, 9), CLOUD),
    "nearest points": (lambda cloud: nearest_points(cloud, cloud[:, :4], 5), CLOUD),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_is_the_same_where_there_is_no_float64(name, monkeypatch):
    function, x = FUNCTIONS[name]
    here = function(x)
    with pretended_mps(monkeypatch) as device:
        there = function(x.to(device))
        assert str(there.device) == device
        assert there.cpu().equal(here)
