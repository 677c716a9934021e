"""Corruptions: every one keeps bounds, shape, rows and randomness apart, does something and more of it at every
severity; and each does what its name says, by as much as its row says."""

import math

import pytest
import torch

from ironbind.core.registry import UnknownName
from ironbind.data import load_dataset
from ironbind.encoders.tiny.encoder import PREPARE
from ironbind.evaluate.protocols.corruption import Corruption
from ironbind.modalities import MODALITIES
from ironbind.modalities.corruptions import CORRUPTIONS, SEVERITIES, CommonCorruption, corruptions_for, names_for
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from ironbind.types import Attack, InputError, Space
from pretended import pretended_mps
from toys import rng

LOGMEL, IMU = log_mel(70.0), Space("imu", "m/s^2, rad/s")
N = 5
SHAPES = {  # (modality, space) -> one sample
    ("image", PIXELS): (3, 24, 20), ("thermal", PIXELS): (1, 16, 16), ("video", PIXELS): (8, 3, 16, 12),
    ("audio", WAVEFORM): (1, 500), ("audio", LOGMEL): (3, 20, 30), ("point", UNIT_SPHERE): (80, 3),
    ("event", EVENT_FRAMES): (2, 12, 12), ("imu", IMU): (6, 100),
}  # fmt: skip
CASES = [(modality, space, name) for modality, space in SHAPES for name in names_for(modality, space)]
CERTAIN = (
    "gaussian_blur",
    "brightness",
    "contrast",
    "pixelate",
    "clipping",
    "low_pass",
)  # nothing in them is left to chance


def sample(modality, space, n=N, seed=0):
    x = torch.rand(n, *SHAPES[modality, space], generator=torch.Generator().manual_seed(seed))
    if space in (WAVEFORM, IMU):
        return 0.9 * (2 * x - 1)
    if space is UNIT_SPHERE:
        return torch.nn.functional.normalize(2 * x - 1, dim=-1) * x[..., :1]
    if space is EVENT_FRAMES:
        return x * (x > 0.4)
    return 0.1 + 0.8 * x


def corrupted(name, severity, modality, space, x, generator=None):
    return CommonCorruption(name, severity).corrupt(x, modality, space, generator or rng(len(x)))


def change(name, y, x):
    """How much a corruption changed. Of a shift the distance says nothing: any shift of noise is as far from it as any
    other.
    """
    if name == "time_shift":
        return (y == 0).flatten(1).float().mean(dim=1)
    return (y - x).flatten(1).norm(dim=1)


def test_every_modality_and_every_corruption_has_its_place():
    assert {name for _, _, name in CASES} == set(CORRUPTIONS)
    for modality in MODALITIES.values():
        for space in modality.spaces.values():
            found = corruptions_for(modality.name, space)
            assert found or modality.name == "text"
            assert [(one.name, one.severity) for one in found] == [
                (name, k) for name in names_for(modality.name, space) for k in SEVERITIES
            ]


@pytest.mark.parametrize(("modality", "space", "name"), CASES, ids=lambda one: getattr(one, "name", one))
def test_each_keeps_its_promises(modality, space, name):
    x = sample(modality, space)
    before, changes = x.clone(), []
    for severity in SEVERITIES:
        y = corrupted(name, severity, modality, space, x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert torch.isfinite(y).all()
        assert space.low is None or float(y.min()) >= space.low
        assert space.high is None or float(y.max()) <= space.high
        assert y.equal(corrupted(name, severity, modality, space, x))
        assert y[[3, 1]].equal(
            corrupted(name, severity, modality, space, x[[3, 1]], rng(N)[torch.tensor([3, 1])])
        )  # neighbours do not matter
        changes.append(float(change(name, y, x).mean()))
    assert x.equal(before)
    assert changes[0] > 0
    assert changes == sorted(changes)  # the same randomness, only more of it
    assert changes[4] > 1.3 * changes[0]


WORLD = [(modality, space, name) for modality, space, name in CASES if modality in PREPARE and space is not LOGMEL]


@pytest.fixture(scope="module")
def things():
    """Six instances of the built-in world as the built-in encoder takes them: pictures of 32 pixels."""
    world = load_dataset("world", n=6)
    return {
        modality: torch.stack([prepare(one) for one in world.decode(modality, range(6))])
        for modality, prepare in PREPARE.items()
    }


@pytest.mark.parametrize(("modality", "space", "name"), WORLD, ids=lambda one: getattr(one, "name", one))
def test_small_inputs_feel_every_severity(things, modality, space, name):
    x = things[modality]
    changes = torch.stack([change(name, corrupted(name, severity, modality, space, x), x) for severity in SEVERITIES])
    assert (changes[0] > 0).all()
    assert (changes.mean(dim=1).diff() > 0).all()


@pytest.mark.parametrize("side", [8, 32, 64, 224])
@pytest.mark.parametrize("name", names_for("image", PIXELS))
def test_pictures_of_any_size(side, name):
    """Strictly more at every severity, except where two severities come to the same count of pixels."""
    x = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    found = [corrupted(name, severity, "image", PIXELS, x) for severity in SEVERITIES]
    changes = torch.stack([change(name, one, x).mean() for one in found])
    assert changes[0] > 1e-3 * side
    assert all(
        more > less or one.equal(other)
        for one, other, less, more in zip(found, found[1:], changes, changes[1:], strict=False)
    )
    assert side == 8 or (changes.diff() > 0).all()


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in CERTAIN])
def test_chance_belongs_to_the_sample(name):
    modality, space = next((modality, space) for modality, space, one in CASES if one == name)
    x = sample(modality, space)[:1].expand(8, *SHAPES[modality, space])
    y = corrupted(name, 3, modality, space, x)
    assert not all(y[0].equal(one) for one in y[1:])
    assert y[0].equal(corrupted(name, 3, modality, space, x, rng(8))[0])
    assert not y.equal(corrupted(name, 3, modality, space, x, rng(8, seed=1)))


def test_no_corruption_can_be_taken_for_an_attack():
    assert isinstance(CommonCorruption("jitter"), Corruption)
    assert not isinstance(CommonCorruption("jitter"), Attack)
    assert (CommonCorruption("jitter", 2).norm, CommonCorruption("jitter", 2).written) == ("severity", "2")


def test_each_says_how_strong_it_is():
    assert CommonCorruption("contrast", 1).describe((3, 224, 224)) == "contrast, 0.4 of it kept"
    assert CommonCorruption("contrast", 1).describe((3, 32, 32)) == "contrast, 0.75 of it kept"
    assert (
        CommonCorruption("gaussian_blur", 1).describe((3, 224, 224))
        == "gaussian_blur, standard deviation 1 of 224 pixels"
    )
    assert CommonCorruption("gaussian_blur", 1).describe((3, 32, 32)) == "gaussian_blur, standard deviation 0.4 pixels"
    assert CommonCorruption("white_noise", 5).describe((1, 8000)) == "white_noise, 0 dB below the signal"


def test_what_is_refused():
    with pytest.raises(UnknownName, match="corruption 'fog' is not known"):
        CommonCorruption("fog")
    for severity in (0, 6):
        with pytest.raises(InputError, match=f"severity {severity} is not known"):
            CommonCorruption("jitter", severity)
    with pytest.raises(InputError, match="'jitter' does not suit thermal in pixels; expected gaussian_noise,"):
        corrupted("jitter", 3, "thermal", PIXELS, torch.zeros(1, 1, 4, 4))
    with pytest.raises(InputError, match="does not suit smell in free; expected nothing"):
        corrupted("jitter", 3, "smell", Space("free", "anything"), torch.zeros(1, 4))


# ----------------------------------------------------------------------------------- by as much as the table says


@pytest.mark.parametrize("severity", SEVERITIES)
def test_sounds(severity):
    x = 0.3 * sample("audio", WAVEFORM)
    noisy = corrupted("white_noise", severity, "audio", WAVEFORM, x / 10)
    snr = 20 * torch.log10((x / 10).flatten(1).norm(dim=1) / (noisy - x / 10).flatten(1).norm(dim=1))
    assert torch.allclose(snr, torch.full((N,), float((20, 15, 10, 5, 0)[severity - 1])), atol=1e-3)
    clipped = corrupted("clipping", severity, "audio", WAVEFORM, x)
    share = (0.5, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    assert torch.allclose(clipped.flatten(1).abs().amax(1), share * x.flatten(1).abs().amax(1))
    untouched = x.abs() <= clipped.flatten(1).abs().amax(1)[:, None, None]
    assert clipped[untouched].equal(x[untouched])


def test_every_channel_of_an_inertial_recording_has_its_own_unit():
    x = sample("imu", IMU) * torch.tensor([100.0, 100, 100, 1, 1, 1])[:, None]
    noise = corrupted("white_noise", 3, "imu", IMU, x) - x
    assert torch.allclose(noise.norm(dim=2), 10**-0.5 * x.norm(dim=2), rtol=1e-4)
    assert torch.allclose(corrupted("clipping", 1, "imu", IMU, x).abs().amax(dim=2), 0.5 * x.abs().amax(dim=2))


def test_low_pass_is_a_butterworth_filter():
    n = 1000
    for frequency in (0.05, 0.25, 0.6):
        wave = torch.sin(math.pi * frequency * torch.arange(n))[None, None] / 2
        for severity, cutoff in ((3, 0.25), (4, 0.15)):
            gain = float(corrupted("low_pass", severity, "audio", WAVEFORM, wave).norm() / wave.norm())
            assert gain == pytest.approx((1 + (frequency / cutoff) ** 8) ** -0.5, abs=2e-3)


@pytest.mark.parametrize(("severity", "moved"), [(1, 5), (3, 20), (5, 50)])
def test_time_shift_moves_and_falls_silent(severity, moved):
    x = 0.1 + 0.8 * torch.rand(20, 1, 100, generator=torch.Generator().manual_seed(0))
    y = corrupted("time_shift", severity, "audio", WAVEFORM, x)
    later = [other[0].equal(torch.cat([torch.zeros(moved), one[0, :-moved]])) for one, other in zip(x, y, strict=True)]
    earlier = [other[0].equal(torch.cat([one[0, moved:], torch.zeros(moved)])) for one, other in zip(x, y, strict=True)]
    assert all(one != other for one, other in zip(later, earlier, strict=True))
    assert any(later)
    assert any(earlier)


@pytest.mark.parametrize(("name", "axis"), [("time_mask", -1), ("frequency_mask", -2)])
def test_masks(name, axis):
    x = sample("audio", LOGMEL)
    length = x.shape[axis]
    gone = (corrupted(name, 2, "audio", LOGMEL, x) == 0).movedim(axis, 1).flatten(2)  # 0 is silence
    lines = gone.all(dim=2)
    assert lines.equal(gone.any(dim=2))
    assert lines.sum(dim=1).tolist() == [round(0.2 * length)] * N
    for line in lines:
        assert line.nonzero().squeeze(1).diff().eq(1).all()


def test_gain():
    x = 0.4 + 0.2 * sample("audio", LOGMEL)
    moved = corrupted("gain", 3, "audio", LOGMEL, x) - x
    span = x.flatten(1).amax(1) - x.flatten(1).amin(1)
    assert torch.allclose(moved.abs(), 0.2 * span[:, None, None, None].expand_as(moved), atol=1e-6)


def test_pictures():
    x = torch.rand(2, 3, 80, 70, generator=torch.Generator().manual_seed(0))
    flat = torch.full((2, 3, 80, 70), 0.3)
    for name in ("gaussian_blur", "contrast", "pixelate"):
        assert torch.allclose(corrupted(name, 5, "image", PIXELS, flat), flat, atol=1e-6)
    assert torch.allclose(corrupted("brightness", 2, "image", PIXELS, flat), flat + 0.2)
    assert torch.allclose(
        corrupted("contrast", 1, "image", PIXELS, x).std(dim=(-2, -1)), 0.4 * x.std(dim=(-2, -1)), atol=1e-6
    )
    noise = corrupted("gaussian_noise", 1, "image", PIXELS, torch.full((4, 3, 64, 64), 0.5)) - 0.5
    assert float(noise.std()) == pytest.approx(0.08, rel=0.02)
    hidden = (corrupted("occlusion", 5, "image", PIXELS, x) == 0.5).all(dim=1)
    assert hidden.flatten(1).sum(dim=1).tolist() == [42 * 42] * 2  # 0.6 of the shorter side, 70
    coarse = corrupted("pixelate", 3, "image", PIXELS, x)
    assert coarse.mean(dim=(-2, -1)).allclose(x.mean(dim=(-2, -1)), atol=1e-6)
    assert len(coarse[0, 0].unique()) == 32 * 28


def test_small_pictures_have_strengths_of_their_own():
    flat = torch.full((4, 3, 32, 32), 0.3)
    assert torch.allclose(corrupted("brightness", 2, "image", PIXELS, flat), flat + 0.1)
    assert float((corrupted("gaussian_noise", 1, "image", PIXELS, flat) - flat).std()) == pytest.approx(0.04, rel=0.03)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(corrupted("contrast", 5, "thermal", PIXELS, x).std(), 0.15 * x.std(), atol=1e-6)
    assert len(corrupted("pixelate", 5, "thermal", PIXELS, x).unique()) == 20 * 20


@pytest.mark.parametrize(("side", "severity", "sigma"), [(224, 3, 3.0), (112, 5, 3.0), (48, 5, 1.0), (31, 3, 0.7)])
def test_a_blurred_point_is_a_gaussian(side, severity, sigma):
    point = torch.zeros(1, 3, side, side)
    point[..., side // 2, side // 2] = 1
    blurred = corrupted("gaussian_blur", severity, "image", PIXELS, point)[0, 0].double()
    place = torch.arange(side).double() - side // 2
    assert float((blurred.sum(0) * place**2).sum()) == pytest.approx(sigma**2, rel=0.04)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)


def test_frames():
    x = sample("video", PIXELS)
    for name in ("frame_drop", "frame_freeze"):
        for severity, lost in ((1, 1), (3, 3), (5, 6)):
            y = corrupted(name, severity, "video", PIXELS, x)
            same = (y == x).flatten(2).all(dim=2)
            assert (~same).sum(dim=1).tolist() == [lost] * N
            for one, other, kept in zip(x, y, same, strict=True):
                for frame in range(8):
                    if not kept[frame] and name == "frame_drop":
                        assert not other[frame].any()
                    if not kept[frame] and name == "frame_freeze":
                        assert other[frame].equal(one[max(k for k in range(frame) if kept[k])])
        assert corrupted(name, 5, "video", PIXELS, x[:, :1]).equal(x[:, :1])  # nothing to lose


def test_points():
    x = sample("point", UNIT_SPHERE)

    def distances(cloud):
        return (cloud[:, :, None] - cloud[:, None]).norm(dim=3)  # cdist's matrix product would lose half of the digits

    turned = corrupted("rotation", 5, "point", UNIT_SPHERE, x)
    assert torch.allclose(distances(turned), distances(x), atol=1e-6)
    fitted = torch.linalg.lstsq(x, turned).solution
    angle = torch.acos((fitted.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).rad2deg()
    assert torch.allclose(angle, torch.full((N,), 30.0), atol=0.01)
    assert (torch.linalg.det(fitted) > 0).all()
    thinned = corrupted("dropout", 5, "point", UNIT_SPHERE, x)
    for one, other in zip(x, thinned, strict=True):
        assert len(other.unique(dim=0)) == 20
        assert {tuple(row) for row in other.tolist()} <= {tuple(row) for row in one.tolist()}
    astray = (corrupted("outliers", 5, "point", UNIT_SPHERE, x) != x).any(dim=2)
    assert astray.sum(dim=1).tolist() == [4] * N
    jittered = corrupted("jitter", 2, "point", UNIT_SPHERE, torch.zeros(4, 2000, 3))
    assert float(jittered.std()) == pytest.approx(0.02, rel=0.03)


def test_events():
    x = sample("event", EVENT_FRAMES, n=40)
    held = x > 0
    dropped = corrupted("event_drop", 3, "event", EVENT_FRAMES, x)
    assert dropped[dropped > 0].equal(x[dropped > 0])
    assert float((dropped[held] > 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    hot = corrupted("hot_pixels", 5, "event", EVENT_FRAMES, x)
    assert (hot == 1).all(dim=1).flatten(1).sum(dim=1).tolist() == [14] * 40
    jittered = corrupted("time_jitter", 1, "event", EVENT_FRAMES, x)
    assert (jittered > 0).equal(held)
    middle = (x > 0.45) & (x < 0.75)
    assert float((jittered - x)[middle].std()) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(("modality", "space", "name"), CASES)
def test_where_there_is_no_float64_it_is_the_same(modality, space, name, monkeypatch):
    x = sample(modality, space)
    here = corrupted(name, 4, modality, space, x)
    with pretended_mps(monkeypatch) as device:
        there = corrupted(name, 4, modality, space, x.to(device))
        assert str(there.device) == device
        assert there.cpu().equal(here)
