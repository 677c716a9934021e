"""The pictures, sounds and clouds: they hold the arrays that were given, and amplify by the factor they print."""

import base64
import io
import json
import wave

import numpy as np
import pytest
import synthetic
from PIL import Image

from ironbind.report.media import gallery
from ironbind.report.media import images as pictures
from ironbind.report.media import point_clouds as points
from ironbind.report.media import waveforms as sound
from ironbind.report.panels import Facts


def decoded(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def exhibits(**kwargs):
    run = synthetic.result(**kwargs)
    rng = np.random.default_rng(5)
    arrays = {
        f"{item.key}/{name}": array
        for item in run.gallery
        for name, array in synthetic.samples(item.modality, item.space, rng).items()
    }
    return (
        run,
        arrays,
        gallery.exhibits(Facts(run.rows, run.calibrations), run.gallery, arrays, run.threat_models, "tiny"),
    )


def test_each_modality_has_its_triptych():
    run, arrays, shown = exhibits()
    assert [(one.item.modality, one.item.space) for one in shown] == list(synthetic.INPUTS)
    for one in shown:
        assert [view.title for view in one.views[:2]] == ["Clean", "Adversarial"]
        assert one.views[2].title.startswith(("Difference × ", "Displacement × "))
        assert one.meaning.endswith("grey levels")


def test_image_pixels_survive():
    run, arrays, shown = exhibits(inputs=(("image", "pixels"),))
    clean, adversarial = arrays["image-pixels/clean"], arrays["image-pixels/adversarial"]
    np.testing.assert_array_equal(decoded(shown[0].views[0].image), (255 * clean.transpose(1, 2, 0)).round())
    np.testing.assert_array_equal(decoded(shown[0].views[1].image), (255 * adversarial.transpose(1, 2, 0)).round())
    factor = int(shown[0].views[2].title.split()[-1])
    expected = 255 * (0.5 + factor * (adversarial - clean).transpose(1, 2, 0))
    np.testing.assert_allclose(decoded(shown[0].views[2].image), expected, atol=0.51)


@pytest.mark.parametrize(
    ("largest", "factor"),
    [(4 / 255, 10), (8 / 255, 5), (1 / 255, 50), (0.4 / 255, 100), (0.3, 1), (0.0, 1), (1e-7, 50000)],
)
def test_amplification(largest, factor):
    assert pictures.amplification(np.array([0.0, -largest])) == factor


def test_events_are_blue_and_red_on_dark():
    frame = np.zeros((2, 1, 3), np.float32)
    frame[0, 0, 0], frame[1, 0, 1] = 1, 1
    off, on, nothing = pictures.picture_of("event", 2)(frame)[0].astype(int)
    assert off[2] > 200 > off[0]
    assert on[0] > 200 > on[2]
    assert nothing.max() < 40


@pytest.mark.parametrize(
    ("modality", "shape", "size"),
    [
        ("audio", (3, 16, 20), (16, 60)),
        ("imu", (6, 50), (6, 50)),
        ("depth", (1, 9, 8), (9, 8)),
        ("event", (3, 9, 8), (9, 8)),
        ("thermal", (3, 9, 8), (9, 8)),
    ],
)
def test_other_encoders_shapes_and_ranges(modality, shape, size):
    clean = np.random.default_rng(0).normal(-4, 3, shape).astype(np.float32)
    arrays = {"k/clean": clean, "k/adversarial": clean + 0.1}
    item = synthetic.GalleryItem("k", modality, "own", "s", "cup", "linf", "4/255", (), ())
    views = gallery.exhibits(Facts([]), [item], arrays, [], "tiny")[0].views
    assert [decoded(view.image).shape[:2] for view in views] == [size] * 3
    assert len(np.unique(decoded(views[0].image))) > 20
    assert decoded(views[2].image).std(axis=(0, 1)).max() < 1  # the same change everywhere


def test_low_frequencies_at_the_bottom():
    mel = np.zeros((1, 8, 4), np.float32)
    mel[0, 0] = 1
    picture = pictures.picture_of("audio", 1)(mel).sum(-1)
    assert picture[-1].min() > picture[0].max()


def test_tone_is_where_it_belongs_in_the_spectrogram():
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    uri, _ = sound.spectrogram(tone)
    brightness = decoded(uri).astype(int).sum((1, 2))
    assert np.argmax(brightness) == pytest.approx(
        len(brightness) * 0.75, abs=2
    )  # 1000 of 4000 Hz, counted from the bottom


def test_video_moves_and_has_a_still():
    run, arrays, shown = exhibits(inputs=(("video", "pixels"),))
    moving = Image.open(io.BytesIO(base64.b64decode(shown[0].views[0].image.partition(",")[2])))
    assert moving.n_frames == 8
    np.testing.assert_array_equal(
        decoded(shown[0].views[0].still), (255 * arrays["video-pixels/clean"][0].transpose(1, 2, 0)).round()
    )
    assert [title for title, _ in shown[0].strips] == ["clean", "adversarial", "× 10"]


def test_large_pictures_are_shrunk():
    assert max(decoded(pictures.png(np.zeros((900, 300, 3), np.uint8))).shape) == pictures.LARGEST_SIDE


def test_player_holds_the_waveform():
    _, arrays, shown = exhibits(inputs=(("audio", "waveform"),))
    for view, name in zip(shown[0].views[:2], ("waveform", "waveform_adversarial"), strict=True):
        with wave.open(io.BytesIO(base64.b64decode(view.audio.partition(",")[2]))) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            heard = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        np.testing.assert_allclose(heard, arrays[f"audio-waveform/{name}"], atol=1 / 32767)


def test_logmel_plays_the_clean_sound_only():
    _, _, shown = exhibits(inputs=(("audio", "logmel"),))
    assert [bool(view.audio) for view in shown[0].views] == [True, False, False]


def test_cloud_scene_holds_the_points():
    _, arrays, shown = exhibits(inputs=(("point", "unit_sphere"),))
    scene = json.loads(shown[0].views[1].scene)
    np.testing.assert_allclose(np.reshape(scene["to"], (-1, 3)), arrays["point-unit_sphere/adversarial"], atol=5.1e-4)
    assert str(shown[0].views[0].drawing).count("<circle") == 256


def test_farthest_point_is_the_brightest():
    clean = np.zeros((3, 3))
    colours, farthest = points.displacement_colours(clean, np.array([[0, 0, 0], [0.1, 0, 0], [0.4, 0, 0]]))
    assert farthest == pytest.approx(0.4)
    assert colours[2] > colours[1] > colours[0]


def test_huge_clouds_are_thinned():
    assert len(points.chosen(50_000)) == points.MOST_POINTS


def test_bars_mark_truth_and_error():
    run, _, shown = exhibits(inputs=(("image", "pixels"),))
    one = shown[0]
    assert [bar.truth for bar in one.clean] == [True, False, False, False, False]
    assert one.adversarial[0].wrong
    assert not one.adversarial[0].truth
    assert not any(bar.wrong for bar in one.adversarial[1:])
    assert max(bar.width for bars in (one.clean, one.adversarial, one.replayed) for bar in bars) == 100
    adaptive = run.value(
        modality="image", task="zero_shot", metric="top1", threat_model="adaptive", calibration="center_ce", eps="4/255"
    )
    assert one.adaptive == f"{adaptive:.1f} %"
