"""`ironbind calibrate` on toys: one head per modality, each on data of its own, refused before anything is trained."""

import pytest

from ironbind.calibration.calibrated import load_calibrated
from ironbind.recipes import train as training
from ironbind.recipes.train import train
from ironbind.types import InputError
from toys import Conv, ToyData


@pytest.fixture
def toys(monkeypatch):
    """The encoder and the data are toys; what was asked for is remembered."""
    encoder, asked = Conv(), []

    def load(name, path=None, **options):
        asked.append((name, path, options))
        return ToyData(options.get("limit") or options["n"], seed=len(asked))

    monkeypatch.setattr(training, "encoder_for", lambda name, options: encoder)
    monkeypatch.setattr(training, "load_dataset", load)
    return encoder, asked


def test_every_modality_trains_on_its_own_folder_in_all_its_spaces(toys, tmp_path):
    encoder, asked = toys
    heads = train("l2", tmp_path, modalities=("thermal", "audio"), data="somewhere", samples=16)
    assert [(name, path, options["modality"]) for name, path, options in asked] == [
        ("folder", "somewhere", "thermal"),
        ("folder", "somewhere", "audio"),
    ]
    assert [(one.modality, one.space, one.train_samples) for one in heads.records] == [("thermal", "pixels", 16), ("audio", "waveform+logmel", 32)]
    again = load_calibrated(encoder, tmp_path)
    assert again.weights_sha256 == heads.weights_sha256
    assert sorted(again.heads) == ["audio", "thermal"]


def test_a_modality_said_twice_is_trained_once(toys, tmp_path):
    twice = train("l2", tmp_path / "twice", modalities=("thermal", "thermal"), samples=16)
    assert [(one.modality, one.train_samples) for one in twice.records] == [("thermal", 16)]


def test_what_cannot_be_trained_shows_before_the_first_is(toys, tmp_path):
    heard = []
    with pytest.raises(InputError, match="does not take modality 'point'"):
        train("l2", tmp_path, modalities=("thermal", "point"), samples=16, listener=heard.append)
    assert not heard
    with pytest.raises(InputError, match="--modality is missing: say what somewhere holds"):
        train("l2", tmp_path, data="somewhere")
